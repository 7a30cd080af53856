import { ipv4FromBytes } from '../base/addresses.js';
import { AF_INET, AF_INET6, AF_UNIX } from './socket-calls.js';

/** What a socket is bound to. */
export type SocketPlace =
  | { readonly kind: 'ipv4' | 'ipv6'; readonly address: string; readonly port: number }
  /** `@name` for an abstract one. */
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'unknown'; readonly family: number };

/** For people. */
export function placeText(place: SocketPlace): string {
  switch (place.kind) {
    case 'ipv4':
    case 'ipv6':
      return `${place.address} port ${place.port}`;
    case 'unix':
      return place.path;
    default:
      return `address family ${place.family}`;
  }
}

/** Whether it is bound to all addresses: 0.0.0.0, or :: (which by default has the IPv4 ones too). */
export function isEverywhere(place: SocketPlace): boolean {
  return (place.kind === 'ipv4' && place.address === '0.0.0.0') || (place.kind === 'ipv6' && place.address === '::');
}

/** Of a struct sockaddr: its first two bytes are the family, what follows depends on that (ip(7), ipv6(7), unix(7)). */
export function socketPlace(bytes: Buffer): SocketPlace {
  const family = bytes.length < 2 ? 0 : bytes.readUInt16LE(0);
  if (family === AF_INET)
    return { kind: 'ipv4', address: ipv4FromBytes(bytes.subarray(4)), port: bytes.readUInt16BE(2) };
  if (family === AF_INET6)
    return { kind: 'ipv6', address: ipv6Text(bytes.subarray(8, 24)), port: bytes.readUInt16BE(2) };
  if (family === AF_UNIX) return { kind: 'unix', path: unixPath(bytes.subarray(2)) };
  return { kind: 'unknown', family };
}

/** Up to the NUL that ends it; the NUL that begins an abstract name is written as `@`, and an unnamed socket has nothing. */
function unixPath(bytes: Buffer): string {
  if (bytes.length === 0) return '(no name)';
  if (bytes[0] === 0) return `@${bytes.subarray(1).toString('utf8')}`;
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end < 0 ? bytes.length : end).toString('utf8');
}

/** The longest run of zeroes as `::` (RFC 5952), which is what URL makes of any spelling. */
function ipv6Text(bytes: Buffer): string {
  const groups = bytes.toString('hex').match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
