/** Which interfaces are served, and by what addresses. */
import { networkInterfaces } from 'node:os';
import type { Ipv4Address, MacAddress } from '../base/addresses.js';
import { libcFunction } from './libc.js';

/** One that is up and has an IPv4 address. */
export interface NetworkInterface {
  readonly name: string;
  /** The primary one: the first that the kernel lists, and the source of what is sent to broadcast. */
  readonly address: Ipv4Address;
  readonly netmask: Ipv4Address;
  /** All of them, the primary one first. */
  readonly addresses: readonly InterfaceAddress[];
  /** All zeroes where it has none (loopback, tunnels). */
  readonly mac: MacAddress;
  /** What reaches everybody there; on loopback 255.255.255.255 reaches nobody. */
  readonly broadcast: Ipv4Address;
}

export interface InterfaceAddress {
  readonly address: Ipv4Address;
  readonly netmask: Ipv4Address;
}

export type InterfaceVerdict =
  | { readonly answer: 'serve'; readonly name: string; readonly interface: NetworkInterface }
  /** The configuration names it, but there is no such interface. */
  | { readonly answer: 'missing'; readonly name: string }
  /** It is there, but down, without a cable or without an IPv4 address: all the same to Node. */
  | { readonly answer: 'notReady'; readonly name: string };

/**
 * The interfaces that the configuration names, each with what can be said of it, or where it names none
 * (`wanted` undefined) every one worth serving: up, with an IPv4 address and a MAC, and none that leads to containers or tunnels.
 */
export function chooseInterfaces(
  wanted: readonly string[] | undefined,
  interfaces: readonly NetworkInterface[] = listInterfaces(),
  exists: (name: string) => boolean = interfaceExists,
): readonly InterfaceVerdict[] {
  if (wanted === undefined) return interfaces.filter(isWorthServing).map(serve);
  return [...new Set(wanted)].map((name) => {
    const found = interfaces.find((candidate) => candidate.name === name);
    if (found) return serve(found);
    return { answer: exists(name) ? 'notReady' : 'missing', name };
  });
}

/** Every interface that is up and has an IPv4 address, loopback too, in the kernel's order. */
export function listInterfaces(): readonly NetworkInterface[] {
  const byName = new Map<string, { readonly mac: MacAddress; readonly addresses: InterfaceAddress[] }>();
  for (const [label, entries] of Object.entries(networkInterfaces())) {
    // An address with a label ("eth0:1", from ifconfig's days) is listed as if it were an interface, and is none.
    const name = label.replace(/:.*$/, '');
    for (const { family, address, netmask, mac } of entries ?? []) {
      if (family !== 'IPv4') continue;
      const known = byName.get(name);
      if (known) known.addresses.push({ address, netmask });
      else byName.set(name, { mac, addresses: [{ address, netmask }] });
    }
  }
  return [...byName].flatMap(([name, { mac, addresses }]) => {
    const [primary] = addresses;
    if (primary === undefined) return [];
    return [{ name, ...primary, addresses, mac, broadcast: broadcastOf(primary.address) }];
  });
}

const NO_MAC: MacAddress = '00:00:00:00:00:00';

/** Docker's bridges, virtual machines' and containers' ends of a cable, and tunnels: no Pi boots there. */
const CONTAINERS_AND_TUNNELS = /^(docker|veth|tun|wg|br-[0-9a-f]+$)/;

/** Those that one could have meant, by name. */
export function servableNames(interfaces: readonly NetworkInterface[] = listInterfaces()): readonly string[] {
  return interfaces.filter(isWorthServing).map(({ name }) => name);
}

function isWorthServing({ name, mac, address }: NetworkInterface): boolean {
  return mac !== NO_MAC && !isLoopback(address) && !CONTAINERS_AND_TUNNELS.test(name);
}

function serve(found: NetworkInterface): InterfaceVerdict {
  return { answer: 'serve', name: found.name, interface: found };
}

function broadcastOf(address: Ipv4Address): Ipv4Address {
  return isLoopback(address) ? '127.255.255.255' : '255.255.255.255';
}

function isLoopback(address: Ipv4Address): boolean {
  return address.startsWith('127.');
}

/** Not by /sys/class/net: a container may have that of another network. */
const indexOf = libcFunction('if_nametoindex', 'unsigned int if_nametoindex(const char *name)');

/** The kernel's number for it (if_nametoindex(3)), another one when it is deleted and made anew; 0 if there is none. */
export function interfaceIndex(name: string): number {
  return indexOf.now(name);
}

function interfaceExists(name: string): boolean {
  return interfaceIndex(name) > 0;
}
