import { assertInside, type BlockDevice, type Extent, type ZeroOptions } from '../../src/block/block-device.js';
import type { Medium } from '../../src/block/flush-queue.js';

const SECTOR_BYTES = 512;
const ZEROES = new Uint8Array(SECTOR_BYTES);

/** What each sector holds; one that is not listed holds zeroes. */
export type Sectors = ReadonlyMap<number, Uint8Array>;

/**
 * A disk with a cache that forgets. Until a flush, each sector that was written may be on the medium in any of the versions that were
 * written since, or in the one before: sectors survive one by one, in any order, and one of them never by half. After a number of
 * operations the power goes: nothing is done any more, and nothing is answered.
 */
export class PowerCutDevice implements BlockDevice, Medium {
  readonly rotational = false;
  readonly failure = undefined;
  readonly sizeBytes: number;
  readonly #stable: Map<number, Uint8Array>;
  /** Since the last flush, oldest first. */
  readonly #versions = new Map<number, Uint8Array[]>();
  #operationsLeft: number;
  readonly #off: () => void;
  isOff = false;

  constructor(
    sizeBytes: number,
    content: Sectors,
    cut: { readonly afterOperations: number; readonly off: () => void },
  ) {
    this.sizeBytes = sizeBytes;
    this.#stable = new Map(content);
    this.#operationsLeft = cut.afterOperations;
    this.#off = cut.off;
  }

  /** What may be found on the medium now. */
  survivors(chance: { fraction(): number }): Map<number, Uint8Array> {
    const found = new Map(this.#stable);
    for (const [sector, versions] of this.#versions) {
      const which = Math.floor(chance.fraction() * (versions.length + 1)) - 1;
      const version = versions[which];
      if (version !== undefined) found.set(sector, version);
    }
    return found;
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#operation();
    this.readNow(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    assertInside(this, offset, target.length);
    for (let done = 0; done < target.length; ) {
      const at = offset + done;
      const sector = this.#now(Math.floor(at / SECTOR_BYTES));
      const part = sector.subarray(
        at % SECTOR_BYTES,
        Math.min(SECTOR_BYTES, (at % SECTOR_BYTES) + target.length - done),
      );
      target.set(part, done);
      done += part.length;
    }
    return true;
  }

  async prefetch(): Promise<void> {}

  /** In whole sectors: what lies over a file never writes less. */
  async write(offset: number, source: Uint8Array, { durable }: { readonly durable: boolean }): Promise<void> {
    assertInside(this, offset, source.length);
    if (offset % SECTOR_BYTES !== 0 || source.length % SECTOR_BYTES !== 0) throw new Error('half a sector was written');
    const content = Uint8Array.from(source);
    await this.#operation();
    this.#put(offset, content);
    if (durable) await this.flush();
  }

  async flush(): Promise<void> {
    // What is written while it runs may come too late for it.
    const concerned = new Map([...this.#versions].map(([sector, versions]) => [sector, versions.length]));
    await this.#operation();
    for (const [sector, count] of concerned) this.#flushed(sector, count);
  }

  /** Of a thread that waits for it; false where the power has gone. */
  writeNow(offset: number, source: Uint8Array): boolean {
    const isWritten = this.#hasPower();
    if (isWritten) this.#put(offset, Uint8Array.from(source));
    return isWritten;
  }

  /** Likewise. */
  flushNow(): boolean {
    const isFlushed = this.#hasPower();
    if (isFlushed) for (const [sector, versions] of this.#versions) this.#flushed(sector, versions.length);
    return isFlushed;
  }

  async discard(offset: number, lengthBytes: number): Promise<void> {
    await this.#operation();
    this.#put(offset, new Uint8Array(lengthBytes));
  }

  async zero(offset: number, lengthBytes: number, { durable }: ZeroOptions): Promise<void> {
    await this.#operation();
    this.#put(offset, new Uint8Array(lengthBytes));
    if (durable) await this.flush();
  }

  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return [{ offset, lengthBytes, kind: 'data' }];
  }

  async close(): Promise<void> {}

  listen(): void {}

  async reopen(): Promise<void> {}

  #now(sector: number): Uint8Array {
    return this.#versions.get(sector)?.at(-1) ?? this.#stable.get(sector) ?? ZEROES;
  }

  #flushed(sector: number, count: number): void {
    const versions = this.#versions.get(sector) ?? [];
    const last = versions.splice(0, count).at(-1);
    if (last !== undefined) this.#stable.set(sector, last);
    if (versions.length === 0) this.#versions.delete(sector);
  }

  #put(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; done += SECTOR_BYTES) {
      const sector = (offset + done) / SECTOR_BYTES;
      const versions = this.#versions.get(sector) ?? [];
      versions.push(bytes.subarray(done, done + SECTOR_BYTES));
      this.#versions.set(sector, versions);
    }
  }

  async #operation(): Promise<void> {
    // Operations that were begun together overtake each other.
    await Promise.resolve();
    if (!this.#hasPower()) await new Promise(() => {});
  }

  /** For one operation. */
  #hasPower(): boolean {
    this.#operationsLeft -= 1;
    if (this.#operationsLeft >= 0 && !this.isOff) return true;
    if (!this.isOff) {
      this.isOff = true;
      this.#off();
    }
    return false;
  }
}
