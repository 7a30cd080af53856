import { networkInterfaces } from 'node:os';
import type { Ipv4Address } from '../base/addresses.js';
import { unreachable } from '../base/unreachable.js';
import type { ServerAddress } from '../inventory/inventory.js';

/** What boards on this interface are told to ask. */
export function addressOn(
  wanted: ServerAddress,
  found: { readonly name: string; readonly address: Ipv4Address },
): Ipv4Address {
  switch (wanted.kind) {
    case 'primary':
      return found.address;
    case 'one':
      return wanted.address;
    case 'byInterface':
      return wanted.addresses.get(found.name) ?? found.address;
    default:
      return unreachable(wanted);
  }
}

/** What a virtual cmdline.txt names, given the address that its board asked: that one, unless the inventory says otherwise. */
export function addressForBoot(wanted: ServerAddress): (askedAt: Ipv4Address) => Ipv4Address {
  return (askedAt) => addressOn(wanted, { name: interfaceOf(askedAt), address: askedAt });
}

/** A trial on one machine: then nothing of it should be open to the LAN. */
export function isLoopbackOnly(interfaces: readonly string[] | undefined): boolean {
  const present = networkInterfaces();
  return interfaces?.every((name) => present[name]?.every(({ internal }) => internal) ?? false) ?? false;
}

function interfaceOf(address: Ipv4Address): string {
  const found = Object.entries(networkInterfaces()).find(([, entries]) =>
    entries?.some((entry) => entry.address === address),
  );
  return found?.[0] ?? '';
}
