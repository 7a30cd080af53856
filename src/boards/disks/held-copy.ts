import type { Clock } from '../../base/clock.js';
import { LAYER_COPY_BYTES, PROMOTED_PIECES_AT_ONCE_MAX } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { ChangeWatcher, WatchedChange, WatchedDevice } from '../../block/watched-device.js';

/** How far it is. */
export interface CopyOptions {
  readonly progress: (doneBytes: number, ofBytes: number) => void;
  /** It ends with the signal's reason. */
  readonly signal: AbortSignal;
}

/**
 * Copies a disk that is in use, as it is at one instant: all that was answered before is in it, and nothing that was asked for later,
 * also where another disk is put in its place meanwhile.
 * A change of what is not copied yet waits until that is: a piece of LAYER_COPY_BYTES. The target is new: what reads as zeroes is left out.
 */
export class HeldCopy implements ChangeWatcher {
  readonly #disk: WatchedDevice;
  /** It is read from here, whatever becomes of the disk. */
  #source: BlockDevice;
  #isReplaced = false;
  readonly #target: BlockDevice;
  readonly #options: CopyOptions & { readonly clock: Clock };
  readonly #pieceCount: number;
  /** Those that are copied, or are being. */
  readonly #begun: Uint8Array;
  readonly #copying = new Map<number, Promise<void>>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  #doneBytes = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(disk: WatchedDevice, target: BlockDevice, options: CopyOptions & { readonly clock: Clock }) {
    this.#disk = disk;
    this.#source = disk;
    this.#target = target;
    this.#options = options;
    this.#pieceCount = Math.ceil(disk.sizeBytes / LAYER_COPY_BYTES);
    this.#begun = new Uint8Array(this.#pieceCount);
  }

  /** For how long the change was held that was held longest. */
  heldMs = 0;

  /** From when this is called the disk is held. Resolves when all of it is copied, and on stable storage. Throws BlockError. */
  async run(): Promise<void> {
    const watch = this.#disk.watch(this);
    const { device, release } = this.#disk.pin();
    this.#source = device;
    try {
      // Other threads make changes that nobody is told of, until they know.
      await watch.only('all');
      for (let first = 0; first < this.#pieceCount; first += PIECES_LOOKED_AT) {
        await this.#copyRange(first, Math.min(this.#pieceCount, first + PIECES_LOOKED_AT));
      }
      await Promise.all(this.#copying.values());
    } finally {
      watch.stop();
      release();
    }
    if (this.#failure !== undefined) throw this.#failure.error;
    await this.#target.flush();
  }

  changing(offset: number, lengthBytes: number): WatchedChange | undefined {
    if (this.#isReplaced) return undefined;
    const waits: Promise<void>[] = [];
    const end = Math.ceil((offset + lengthBytes) / LAYER_COPY_BYTES);
    for (let piece = Math.floor(offset / LAYER_COPY_BYTES); piece < end; piece += 1) {
      const isDone = this.#begun[piece] === 1 && !this.#copying.has(piece);
      if (!isDone && this.#failure === undefined) waits.push(this.#copy(piece));
    }
    return waits.length === 0 ? undefined : { ready: this.#held(waits), over: () => {} };
  }

  /** What is copied from then on is changed by nobody. */
  replacing(): void {
    this.#isReplaced = true;
  }

  async #held(waits: readonly Promise<void>[]): Promise<void> {
    const { clock } = this.#options;
    const sinceMs = clock.nowMs();
    await Promise.all(waits);
    this.heldMs = Math.max(this.heldMs, clock.nowMs() - sinceMs);
  }

  async #copyRange(first: number, end: number): Promise<void> {
    const offset = first * LAYER_COPY_BYTES;
    const extents = await this.#source.extents(offset, Math.min(end * LAYER_COPY_BYTES, this.#disk.sizeBytes) - offset);
    const data = extents.filter(({ kind }) => kind === 'data');
    for (let piece = first; piece < end && this.#failure === undefined; piece += 1) {
      this.#options.signal.throwIfAborted();
      const from = piece * LAYER_COPY_BYTES;
      const hasData = data.some(
        (each) => each.offset < from + LAYER_COPY_BYTES && from < each.offset + each.lengthBytes,
      );
      if (hasData) await this.#copy(piece);
      else this.#skip(piece);
    }
  }

  /** Zeroes since before it was held: whoever has changed it since has had it copied. */
  #skip(piece: number): void {
    if (this.#begun[piece] === 1) return;
    this.#begun[piece] = 1;
    this.#tell(piece);
  }

  /** Never rejects: the change that waits for it is not to blame, and goes on. */
  #copy(piece: number): Promise<void> {
    const known = this.#copying.get(piece);
    if (known !== undefined) return known;
    if (this.#begun[piece] === 1 || this.#failure !== undefined) return Promise.resolve();
    this.#begun[piece] = 1;
    const copying = this.#inTurn(() => this.#copyNow(piece))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#copying.delete(piece));
    this.#copying.set(piece, copying);
    return copying;
  }

  /** Each has its bytes in memory while it is copied. */
  async #inTurn(copy: () => Promise<void>): Promise<void> {
    while (this.#running >= PROMOTED_PIECES_AT_ONCE_MAX) await new Promise<void>((go) => this.#waiting.push(go));
    this.#running += 1;
    try {
      await copy();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #copyNow(piece: number): Promise<void> {
    const offset = piece * LAYER_COPY_BYTES;
    const length = Math.min(LAYER_COPY_BYTES, this.#disk.sizeBytes - offset);
    for (const extent of await this.#source.extents(offset, length)) {
      if (extent.kind !== 'data') continue;
      const bytes = new Uint8Array(extent.lengthBytes);
      await this.#source.read(extent.offset, bytes);
      // Who wrote zeroes need not have them take space.
      if (bytes.some((byte) => byte !== 0)) await this.#target.write(extent.offset, bytes, { durable: false });
    }
    this.#tell(piece);
  }

  #tell(piece: number): void {
    const { sizeBytes } = this.#disk;
    this.#doneBytes += Math.min(LAYER_COPY_BYTES, sizeBytes - piece * LAYER_COPY_BYTES);
    this.#options.progress(this.#doneBytes, sizeBytes);
  }
}

/** Asked for at once where there is data: 64 MiB. */
const PIECES_LOOKED_AT = 64;
