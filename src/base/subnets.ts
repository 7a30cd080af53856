/**
 * Addresses as bits, and networks of them. Never compared as text: to a prefix of text `10.0.0.1` is the neighbour of `10.0.0.12`,
 * which is how nbd-server let strangers in (CVE-2013-6410, CVE-2013-7441).
 */
import { type Ipv4Address, ipv4ToBytes, parseIpv4 } from './addresses.js';
import { unlessMalformed } from './malformed.js';

/** All addresses of one family whose first `prefixBits` bits are these. */
export interface Subnet {
  /** Four bytes, or sixteen of IPv6; zeroes behind the prefix. */
  readonly address: Uint8Array;
  readonly prefixBits: number;
}

/** This machine and no other (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3). */
export const LOOPBACK: readonly Subnet[] = [
  { address: Uint8Array.of(127, 0, 0, 0), prefixBits: 8 },
  { address: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), prefixBits: 128 },
];

/**
 * The bytes of an IPv4 or IPv6 address, undefined if the text is neither. `::ffff:192.168.1.5` is how an IPv4 peer of an IPv6 socket
 * reads, and becomes the four bytes that it is; a zone (`fe80::1%eth0`) is no part of the address.
 */
export function addressBytes(text: string): Uint8Array | undefined {
  if (!text.includes(':')) return ipv4Bytes(text);
  const bytes = ipv6Bytes(text.replace(/%.*$/s, ''));
  return bytes !== undefined && contains(IPV4_MAPPED, bytes) ? bytes.slice(12) : bytes;
}

/**
 * `10.0.0.0/8`, or an address alone; undefined for anything else, also where bits are set behind the prefix. A network of mapped IPv4
 * addresses (`::ffff:10.0.0.0/104`) is the IPv4 one.
 */
export function parseSubnet(text: string): Subnet | undefined {
  const [written = '', prefix, more] = text.split('/');
  const address = addressBytes(written);
  if (address === undefined || more !== undefined || written.includes('%')) return undefined;
  const lengthBits = address.length * 8;
  if (prefix === undefined) return { address, prefixBits: lengthBits };
  if (!/^(0|[1-9]\d{0,2})$/.test(prefix)) return undefined;
  const mapped = address.length === 4 && written.includes(':');
  const prefixBits = Number(prefix) - (mapped ? IPV4_MAPPED.prefixBits : 0);
  if (prefixBits < 0 || prefixBits > lengthBits) return undefined;
  const subnet = subnetOf(address, prefixBits);
  return contains({ address: subnet.address, prefixBits: lengthBits }, address) ? subnet : undefined;
}

/** False for an address of the other family, whatever the prefix. */
export function contains({ address, prefixBits }: Subnet, candidate: Uint8Array): boolean {
  if (candidate.length !== address.length) return false;
  const whole = prefixBits >> 3;
  for (let index = 0; index < whole; index += 1) if (candidate[index] !== address[index]) return false;
  const rest = prefixBits & 7;
  return rest === 0 || ((candidate[whole] ?? 0) ^ (address[whole] ?? 0)) >> (8 - rest) === 0;
}

/** The network that an address of so many prefix bits lies in. */
export function subnetOf(address: Uint8Array, prefixBits: number): Subnet {
  const network = address.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, prefixBits - index * 8));
    return byte & (0xff00 >> kept);
  });
  return { address: network, prefixBits };
}

/** 24 for `255.255.255.0`; of a mask with holes, which Linux refuses, the ones in front. */
export function prefixBitsOf(netmask: Ipv4Address): number {
  const bits = [...ipv4ToBytes(netmask)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return bits.indexOf('0') < 0 ? 32 : bits.indexOf('0');
}

/** `192.168.1.0/24`; a network of one address is that address alone. */
export function subnetText({ address, prefixBits }: Subnet): string {
  const text = address.length === 4 ? address.join('.') : ipv6Text(address);
  return prefixBits === address.length * 8 ? text : `${text}/${prefixBits}`;
}

const IPV4_MAPPED: Subnet = {
  address: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0),
  prefixBits: 96,
};

function ipv4Bytes(text: string): Uint8Array | undefined {
  const address = unlessMalformed(() => parseIpv4(text));
  return address === undefined ? undefined : ipv4ToBytes(address);
}

/** RFC 4291 section 2.2: eight groups; `::` once, for one or more of zero; the last two may be dotted. */
function ipv6Bytes(text: string): Uint8Array | undefined {
  const [, before = '', dotted] = /^(.*:)([0-9.]*\.[0-9.]*)$/.exec(text) ?? [];
  const last = dotted === undefined ? undefined : ipv4Bytes(dotted);
  if (dotted !== undefined && last === undefined) return undefined;
  const written = last === undefined ? text : `${before}${groupsText(last).join(':')}`;
  const [head = '', tail, more] = written.split('::');
  if (more !== undefined) return undefined;
  const front = head === '' && tail !== undefined ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = 8 - front.length - back.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...front, ...Array<string>(missing).fill('0'), ...back];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Uint8Array.from(
    groups.map((group) => Number.parseInt(group, 16)).flatMap((group) => [group >> 8, group & 255]),
  );
}

/** Lower case, the longest run of zeroes as `::` (RFC 5952). */
function ipv6Text(address: Uint8Array): string {
  const text = groupsText(address).join(':');
  const runs = text.match(/\b0(:0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return text;
  const at = text.search(new RegExp(`\\b${longest}\\b`));
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`;
}

function groupsText(bytes: Uint8Array): readonly string[] {
  const groups: string[] = [];
  for (let index = 0; index < bytes.length; index += 2)
    groups.push((((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)).toString(16));
  return groups;
}
