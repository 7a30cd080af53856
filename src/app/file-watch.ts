import type { Clock, Timer } from '../base/clock.js';
import { INVENTORY_LOOK_MS } from '../base/limits.js';

/**
 * Tells that a file has changed, once it is left alone: an editor empties a file before it writes it, or puts another in its place. It is
 * looked at again and again, since that works for all of these, on NFS, and for a single file that is mounted into a container; no
 * notification of the kernel's does.
 */
export class FileWatch {
  readonly #sight: () => Promise<string>;
  readonly #clock: Clock;
  readonly #changed: () => void;
  #timer: Timer | undefined;
  #isOn = false;
  /** What was told of, or was there at the first look. */
  #known: string | undefined;
  #last: string | undefined;

  /** `sight` answers another text when the file may be another. */
  constructor(
    sight: () => Promise<string>,
    { clock, changed }: { readonly clock: Clock; readonly changed: () => void },
  ) {
    this.#sight = sight;
    this.#clock = clock;
    this.#changed = changed;
  }

  /** `known`: the sight that there was when it was read last; a change since then is told of. */
  set(isOn: boolean, known: string): void {
    this.#known = known;
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    this.#timer?.cancel();
    if (isOn) this.#lookLater();
  }

  stop(): void {
    this.#isOn = false;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    this.#timer = this.#clock.after(INVENTORY_LOOK_MS, () => {
      void this.#look().finally(() => {
        if (this.#isOn) this.#lookLater();
      });
    });
  }

  async #look(): Promise<void> {
    const now = await this.#sight();
    const isSettled = now === this.#last;
    this.#last = now;
    if (!this.#isOn || !isSettled || now === this.#known) return;
    this.#known = now;
    this.#changed();
  }
}
