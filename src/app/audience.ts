import { NETWORK_ABSENCES_MAX } from '../base/limits.js';
import { addressBytes, contains, LOOPBACK, prefixBitsOf, type Subnet, subnetOf, subnetText } from '../base/subnets.js';
import type { InterfaceVerdict } from '../os/network-interfaces.js';

/**
 * Who is answered: this machine, the subnets of the served interfaces, and what the inventory allows besides. By the peer's address,
 * whichever way it came in: TFTP, NBD and HTTP all ask here. (DHCP has no peers with addresses; it goes by interface.)
 */
export class Audience {
  #always: readonly Subnet[] = [];
  readonly #served = new Map<string, { readonly subnet: Subnet; absences: number }>();

  constructor(allow: readonly Subnet[]) {
    this.allow(allow);
  }

  /** In place of those that were allowed before. */
  allow(allow: readonly Subnet[]): void {
    this.#always = [...LOOPBACK, ...allow];
  }

  /**
   * Told at each look what there is now. A subnet that is gone still counts for NETWORK_ABSENCES_MAX looks, as long as its listeners
   * are kept: a board whose request comes right after the cable was put back must not find a closed door.
   */
  look(verdicts: readonly InterfaceVerdict[]): void {
    for (const seen of this.#served.values()) seen.absences += 1;
    for (const subnet of servedSubnets(verdicts)) this.#served.set(subnetText(subnet), { subnet, absences: 0 });
    for (const [text, { absences }] of this.#served) if (absences > NETWORK_ABSENCES_MAX) this.#served.delete(text);
  }

  /** An address as Node has it; what is none is not answered. */
  includes(peer: string): boolean {
    const address = addressBytes(peer);
    if (address === undefined) return false;
    for (const { subnet } of this.#served.values()) if (contains(subnet, address)) return true;
    return this.#always.some((subnet) => contains(subnet, address));
  }
}

/**
 * Of every address of every served interface. Of a point-to-point one that is its own address alone, since Node does not tell the
 * address of the other end.
 */
export function servedSubnets(verdicts: readonly InterfaceVerdict[]): readonly Subnet[] {
  const addresses = verdicts.flatMap((verdict) => (verdict.answer === 'serve' ? verdict.interface.addresses : []));
  return addresses.flatMap(({ address, netmask }) => {
    const bytes = addressBytes(address);
    return bytes === undefined ? [] : [subnetOf(bytes, prefixBitsOf(netmask))];
  });
}
