import type { Ipv4Address } from '../base/addresses.js';
import { TFTP_KNOWN_PEERS_MAX, TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND } from '../base/limits.js';
import { RecentMap } from '../base/recent-map.js';

/** Who is refused with a word: whoever has acknowledged something always, of all others so many a second. */
export class RefusalGate {
  readonly #known = new RecentMap<Ipv4Address, true>(TFTP_KNOWN_PEERS_MAX);
  #secondBeganMs = Number.NEGATIVE_INFINITY;
  #leftInSecond = 0;

  /** It is where it says it is. */
  noteKnown(address: Ipv4Address): void {
    this.#known.set(address, true);
  }

  mayTell(address: Ipv4Address, nowMs: number): boolean {
    // On loopback nobody is looked for.
    if (this.#known.get(address) !== undefined || address.startsWith('127.')) return true;
    if (nowMs - this.#secondBeganMs >= 1_000) {
      this.#secondBeganMs = nowMs;
      this.#leftInSecond = TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND;
    }
    this.#leftInSecond -= 1;
    return this.#leftInSecond >= 0;
  }
}
