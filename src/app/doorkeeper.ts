import type { Clock } from '../base/clock.js';
import { TURNED_AWAY_LOG_AGAIN_MS, TURNED_AWAY_LOGGED_MAX } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { News } from '../base/news.js';
import type { Audience } from './audience.js';

/** Asks the audience on behalf of the servers, and says in the log whom they turned away, and what would let them in. */
export class Doorkeeper {
  readonly #audience: Audience;
  readonly #log: Log;
  readonly #news: News;
  #unsaidCount = 0;

  constructor(audience: Audience, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#audience = audience;
    this.#log = log;
    this.#news = new News(clock, { againMs: TURNED_AWAY_LOG_AGAIN_MS, max: TURNED_AWAY_LOGGED_MAX });
  }

  /** For a server: whether who comes from this address is answered. */
  answers(service: 'tftp' | 'nbd' | 'http'): (peer: string) => boolean {
    return (peer) => {
      if (this.#audience.includes(peer)) return true;
      // Node knows no address of one that has hung up already: there is nobody to be turned away, and nothing to allow.
      if (peer === '') return false;
      this.#turnedAway(service, peer);
      return false;
    };
  }

  /** One line for each peer and service, so that a board that asks every second is said once; of a crowd of forged addresses a few. */
  #turnedAway(service: string, peer: string): void {
    if (!this.#news.isNews(`${service} ${peer}`)) {
      this.#unsaidCount += 1;
      return;
    }
    const unsaid = this.#unsaidCount === 0 ? {} : { unsaidCount: this.#unsaidCount };
    this.#unsaidCount = 0;
    const remedy = `if it should be served, add ${peer} or its network to server.allow`;
    this.#log.warn({ service, peer, remedy, ...unsaid }, 'peer.turned_away');
  }
}
