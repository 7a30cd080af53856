/** UDP sockets with what node:dgram cannot set before it binds: the interface, above all. */
import { createSocket, type Socket } from 'node:dgram';
import { closeSync } from 'node:fs';
import { type Ipv4Address, ipv4ToBytes } from '../base/addresses.js';
import { libcFunction, SystemCallError } from './libc.js';

export interface UdpSocketPlace {
  readonly address: Ipv4Address;
  /** 0: one that is free. */
  readonly port: number;
  /** Receives and sends by this interface only, whatever the routes say (SO_BINDTODEVICE); empty: by any. */
  readonly interfaceName: string;
}

/** The socket could not be had: `code` is errno's name, the message says what to do. */
export class UdpSocketError extends Error {
  override readonly name = 'UdpSocketError';
  readonly code: string;
  readonly place: UdpSocketPlace;

  constructor(code: string, place: UdpSocketPlace) {
    super(`UDP ${place.address}:${place.port} on ${place.interfaceName}: ${code}${advice(code)}`);
    this.code = code;
    this.place = place;
  }
}

/**
 * Bound and receiving when it returns. It shares its address with other sockets that share it too (SO_REUSEADDR) and may
 * send to broadcast addresses. Throws UdpSocketError.
 */
export function openUdpSocket(place: UdpSocketPlace): Socket {
  const descriptor = openDescriptor(place);
  const socket = createSocket('udp4');
  try {
    // Takes the descriptor over: closing the socket closes it.
    return socket.bind({ fd: descriptor });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

const calls = {
  socket: libcFunction('socket', 'int socket(int domain, int type, int protocol)'),
  setsockopt: libcFunction(
    'setsockopt',
    'int setsockopt(int fd, int level, int name, const void *value, unsigned int length)',
  ),
  bind: libcFunction('bind', 'int bind(int fd, const void *address, unsigned int length)'),
};

/** Linux, the same on x86-64 and arm64 (asm-generic/socket.h, bits/socket.h, bits/socket_type.h). */
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;

function openDescriptor(place: UdpSocketPlace): number {
  const descriptor = attempt(place, () => calls.socket.now(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  try {
    attempt(place, () => {
      setOption(descriptor, SO_REUSEADDR, intOption(1));
      setOption(descriptor, SO_BROADCAST, intOption(1));
      setOption(descriptor, SO_BINDTODEVICE, Buffer.from(`${place.interfaceName}\0`));
      const address = socketAddress(place);
      calls.bind.now(descriptor, address, address.length);
    });
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return descriptor;
}

function setOption(descriptor: number, name: number, value: Buffer): void {
  calls.setsockopt.now(descriptor, SOL_SOCKET, name, value, value.length);
}

function intOption(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

/**
 * struct sockaddr_in (ip(7)): the family in the machine's order, little-endian on both of our platforms, the rest in the network's.
 *
 *   family (2) | port (2) | address (4) | zeroes (8)
 */
function socketAddress({ address, port }: UdpSocketPlace): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipv4ToBytes(address), 4);
  return bytes;
}

function attempt<Result>(place: UdpSocketPlace, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    if (error instanceof SystemCallError) throw new UdpSocketError(error.code, place);
    throw error;
  }
}

function advice(code: string): string {
  switch (code) {
    case 'EACCES':
      return ': ports below 1024 need root or CAP_NET_BIND_SERVICE';
    case 'EPERM':
      return ': binding to an interface needs CAP_NET_RAW here';
    case 'EADDRINUSE':
      return ': another program has this port and does not share it (for dnsmasq, set bind-dynamic there)';
    case 'EADDRNOTAVAIL':
      return ': no such address on this machine';
    case 'ENODEV':
      return ': there is no such interface';
    default:
      return '';
  }
}
