import { sinceText } from '../base/amounts.js';
import type { Clock, Timer } from '../base/clock.js';
import { CERTIFICATE_ENDS_SOON_MS, CERTIFICATE_LOG_AGAIN_MS, CERTIFICATE_LOOK_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { type DatedCertificate, dayOf } from '../inventory/tls-files.js';

/** Says in time that a certificate ends, once a day. A connection that is there outlives it; a board that boots does not get in. */
export class Certificates {
  #all: readonly DatedCertificate[];
  readonly #clock: Clock;
  readonly #log: Log;
  #saidMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(all: readonly DatedCertificate[], { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#all = all;
    this.#clock = clock;
    this.#log = log;
  }

  /** Looks, and goes on looking. */
  start(): void {
    this.#timer?.cancel();
    if (this.#all.length === 0) return;
    if (this.#clock.nowMs() - this.#saidMs >= CERTIFICATE_LOG_AGAIN_MS && this.#say())
      this.#saidMs = this.#clock.nowMs();
    this.#timer = this.#clock.after(CERTIFICATE_LOOK_MS, () => this.start());
  }

  /** Others that were read in their place: what is to be said of them is. */
  replace(all: readonly DatedCertificate[]): void {
    this.#all = all;
    this.#saidMs = Number.NEGATIVE_INFINITY;
    this.start();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Negative once it is over. */
  secondsLeft(): readonly (readonly [use: DatedCertificate['use'], seconds: number])[] {
    return this.#all.map((one) => [one.use, leftMs(one, this.#clock.today()) / 1000]);
  }

  #say(): boolean {
    const today = this.#clock.today();
    const ending = this.#all.filter((one) => endsSoon(one, today));
    for (const one of ending) {
      const { use, file, subject, validTo } = one;
      const facts = {
        use,
        file,
        subject,
        validTo,
        remedy: 'have a new one issued, then `brambleboot reload`',
      };
      if (leftMs(one, today) > 0) this.#log.warn({ ...facts, left: leftText(one, today) }, 'nbd.certificate.ending');
      else this.#log.error(facts, 'nbd.certificate.expired');
    }
    return ending.length > 0;
  }
}

export function endsSoon(certificate: DatedCertificate, today: Date): boolean {
  return leftMs(certificate, today) < CERTIFICATE_ENDS_SOON_MS;
}

/** `20 days 4 h, until 2027-01-31`. */
export function leftText(certificate: DatedCertificate, today: Date): string {
  return `${sinceText(Math.max(0, leftMs(certificate, today)))}, until ${dayOf(certificate.validTo)}`;
}

function leftMs({ validTo }: DatedCertificate, today: Date): number {
  return validTo.getTime() - today.getTime();
}
