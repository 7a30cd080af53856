import { reasonOf } from '../../base/errors.js';
import { PINS_MAX } from '../../base/limits.js';
import type { Pin } from './pin.js';
import type { PinFolder } from './pin-folder.js';

/** What is done in the folder. */
export type PinStore = Pick<PinFolder, 'path' | 'pathOf' | 'list' | 'read' | 'write' | 'remove'>;

export interface PinFault {
  /** The file, or the folder. */
  readonly path: string;
  readonly because: string;
}

export type PinFound =
  | { readonly answer: 'pin'; readonly pin: Pin }
  /** Its file is there, but can't be used. */
  | { readonly answer: 'faulty'; readonly fault: PinFault }
  | { readonly answer: 'unknown' };

/** All versions that are known, in memory and on disk. Memory is ahead where the disk is full; what is missing there is written as soon as it can be. */
export class Pins {
  readonly #store: PinStore;
  readonly #pins = new Map<string, Pin>();
  readonly #faults = new Map<string, PinFault>();
  /** Where the folder could not be read: then nobody knows what there is. */
  #folderFault: PinFault | undefined;
  readonly #unwritten = new Set<string>();
  /** One after the other: each is written beside its place first, under one name. */
  #writing: Promise<void> = Promise.resolve();

  constructor(store: PinStore) {
    this.#store = store;
  }

  /** Answers what can't be used. None of it is removed: somebody may mend it. */
  async load(): Promise<readonly PinFault[]> {
    const { path } = this.#store;
    try {
      const ids = await this.#store.list();
      for (const id of ids.slice(0, PINS_MAX)) await this.#read(id);
      const faults = [...this.#faults.values()];
      const unread = ids.slice(PINS_MAX);
      for (const id of unread)
        this.#faults.set(id, { path: this.#store.pathOf(id), because: 'it was not read: there are too many' });
      if (unread.length === 0) return faults;
      return [
        ...faults,
        { path, because: `there are ${unread.length} more of these than the ${PINS_MAX} that are read` },
      ];
    } catch (error) {
      this.#folderFault = { path, because: reasonOf(error) };
      return [this.#folderFault];
    }
  }

  all(): Iterable<Pin> {
    return this.#pins.values();
  }

  find(id: string): PinFound {
    const pin = this.#pins.get(id);
    if (pin !== undefined) return { answer: 'pin', pin };
    const fault = this.#faults.get(id) ?? this.#folderFault;
    return fault === undefined ? { answer: 'unknown' } : { answer: 'faulty', fault };
  }

  pathOf(id: string): string {
    return this.#store.pathOf(id);
  }

  /** At once in memory; answers why it could not be written. */
  async put(pin: Pin): Promise<string | undefined> {
    this.#pins.set(pin.id, pin);
    this.#unwritten.add(pin.id);
    return this.write(pin.id);
  }

  /** Unless it is written. Answers why that could not be. */
  write(id: string): Promise<string | undefined> {
    const written = this.#writing.then(() => this.#write(id));
    this.#writing = written.then(() => {});
    return written;
  }

  /** What is owed to the disk. Answers why it could not be paid. */
  async writeAll(): Promise<string | undefined> {
    let because: string | undefined;
    for (const id of [...this.#unwritten]) because = (await this.write(id)) ?? because;
    return because;
  }

  /** Those that can't be read stay. Rejects with what Node says of the disk. */
  async removeBut(kept: ReadonlySet<string>): Promise<number> {
    const gone = [...this.#pins.keys()].filter((id) => !kept.has(id));
    for (const id of gone) {
      this.#pins.delete(id);
      this.#unwritten.delete(id);
    }
    const removed = this.#writing.then(() => this.#store.remove(gone));
    this.#writing = removed.catch(() => {});
    await removed;
    return gone.length;
  }

  async #read(id: string): Promise<void> {
    const path = this.#store.pathOf(id);
    try {
      const verdict = await this.#store.read(id);
      if (verdict.answer === 'pin') this.#pins.set(id, verdict.pin);
      else this.#faults.set(id, { path, because: verdict.because });
    } catch (error) {
      this.#faults.set(id, { path, because: reasonOf(error) });
    }
  }

  async #write(id: string): Promise<string | undefined> {
    const pin = this.#pins.get(id);
    if (pin === undefined || !this.#unwritten.has(id)) return undefined;
    if (this.#pins.size + this.#faults.size > PINS_MAX) return `there are ${PINS_MAX} versions of images already`;
    try {
      await this.#store.write(pin);
      if (this.#pins.get(id) === pin) this.#unwritten.delete(id);
      return undefined;
    } catch (error) {
      return reasonOf(error);
    }
  }
}
