import { ipv4FromBytes } from '../base/addresses.js';
import type { HeldConnection, HeldEndpoint } from './connection-hold.js';
import { libcFunction, SystemCallError } from './libc.js';
import { getsockname, intBytes } from './socket-calls.js';
import { socketPlace } from './socket-place.js';

/** Who is at its ends; undefined if it is no connection of the network, or none any more. */
export function endsOf(descriptor: number): HeldConnection | undefined {
  try {
    const local = endpoint(localAddress(descriptor));
    const peer = endpoint(peerAddress(descriptor));
    return local && peer && { local, peer };
  } catch (error) {
    if (error instanceof SystemCallError) return undefined;
    throw error;
  }
}

/** An IPv4 peer of an IPv6 socket sends IPv4 packets. */
function endpoint(address: Uint8Array): HeldEndpoint | undefined {
  const place = socketPlace(Buffer.from(address));
  if (place.kind === 'ipv4') return place;
  if (place.kind !== 'ipv6') return undefined;
  const isMapped = Buffer.from(address.subarray(8, 20)).equals(MAPPED);
  return isMapped ? { address: ipv4FromBytes(address.subarray(20)), port: place.port } : place;
}

/** ::ffff:0:0/96 (RFC 4291, 2.5.5.2). */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** struct sockaddr_in or sockaddr_in6. Throws SystemCallError. */
export function localAddress(descriptor: number): Uint8Array {
  return addressBy(getsockname, descriptor);
}

/** The same. */
export function peerAddress(descriptor: number): Uint8Array {
  return addressBy(getpeername, descriptor);
}

function addressBy(ask: typeof getsockname, descriptor: number): Uint8Array {
  const address = Buffer.alloc(ADDRESS_BYTES_MAX);
  const length = intBytes(address.length);
  ask.now(descriptor, address, length);
  return address.subarray(0, length.readInt32LE());
}

const getpeername = libcFunction('getpeername', 'int getpeername(int fd, void *address, void *addressLength)');

/** struct sockaddr_in6. */
const ADDRESS_BYTES_MAX = 28;
