import { Malformed } from './malformed.js';

/** Six bytes as `dc:a6:32:01:02:03`, lower case. */
export type MacAddress = string;

/** Dotted quad, `192.168.1.10`. */
export type Ipv4Address = string;

/** What a peer that comes by a Unix socket is called has this in front, where one of the network has its address. */
export const UNIX_PEER_PREFIX = 'unix:';

/** A process of this host. */
export function isUnixPeer(peer: string): boolean {
  return peer.startsWith(UNIX_PEER_PREFIX);
}

/** A process of this host, by whichever way it came. */
export function isOnThisHost(peer: string): boolean {
  return isUnixPeer(peer) || peer === '::1' || /^127\./.test(peer);
}

/** Accepts colons or dashes between the bytes, any case. */
export function parseMac(text: string): MacAddress {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) throw new Malformed(`"${text}" is not a MAC address`);
  return text.toLowerCase().replaceAll('-', ':');
}

export function macFromBytes(bytes: Uint8Array): MacAddress {
  return [...bytes.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function macToBytes(mac: MacAddress): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}

export function parseIpv4(text: string): Ipv4Address {
  const parts = text.split('.');
  const sound = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  if (!sound) throw new Malformed(`"${text}" is not an IPv4 address`);
  return text;
}

export function ipv4ToBytes(address: Ipv4Address): Uint8Array {
  return Uint8Array.from(address.split('.'), Number);
}

export function ipv4FromBytes(bytes: Uint8Array): Ipv4Address {
  return [...bytes.subarray(0, 4)].join('.');
}

/** An IPv4 peer of an IPv6 socket reads `::ffff:192.168.1.5`; here every address has one spelling. */
export function plainAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped?.[1] ?? address;
}
