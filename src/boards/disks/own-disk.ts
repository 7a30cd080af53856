import type { Clock } from '../../base/clock.js';
import type { BlockDevice } from '../../block/block-device.js';
import { BlockError } from '../../block/block-error.js';
import { ClosedDevice } from '../../block/closed-device.js';
import { SwitchingDevice } from '../../block/switching-device.js';
import { type WatchedDevice, watched } from '../../block/watched-device.js';
import { BoardDisk, type DiskVerdict, type Held, type SnapshotFacts } from './board-disk.js';
import { DiskFolder, DiskRefused } from './disk-folder.js';
import type { LayerTree } from './layer-tree.js';
import type { BoardDiskOptions } from './open-disk.js';

/** An image that is pinned, as a disk over it asks for it. */
export interface PinnedBase {
  readonly device: BlockDevice;
  /** Which version a fresh disk lies over; throws DiskRefused where that is not known now. */
  version(): Promise<string>;
  /** Throws DiskRefused where the image is another version, or it is not known yet whether it is. */
  mustBe(version: string): void;
}

export interface OwnDiskOptions
  extends Pick<BoardDiskOptions, 'board' | 'disksPath' | 'sizeBytes' | 'disks' | 'allowance' | 'fit'> {
  readonly image: PinnedBase;
  readonly clock: Clock;
  /** It is thrown away when the board boots again. */
  readonly isVolatile: boolean;
}

export interface DiskSpace {
  readonly snapshots: readonly SnapshotFacts[];
  readonly currentBytes: number;
}

/**
 * The disk of a board that shares its image with others: what is put behind `device` when it can be. Where it can't be, because the
 * image was changed or a layer is damaged, that is this board's trouble alone: it is told why, and may be tried again.
 */
export class OwnDisk {
  readonly device: WatchedDevice;
  readonly medium: SwitchingDevice;
  readonly #options: OwnDiskOptions;
  #disk: BoardDisk | undefined;
  #unusable: string | undefined = 'it is being opened';
  /** A boot was seen since it was used last: it begins anew for whoever uses it next. */
  #isSpent = false;
  #deciding: Promise<void> = Promise.resolve();
  #lastTurn: Promise<unknown> = Promise.resolve();

  constructor(options: OwnDiskOptions) {
    this.#options = options;
    this.medium = new SwitchingDevice(new ClosedDevice(options.disksPath, options.sizeBytes));
    this.device = watched(this.medium);
  }

  /** Why nobody can have it; undefined if somebody can. */
  get unusable(): string | undefined {
    return this.#unusable ?? this.#changedMeanwhile();
  }

  get isVolatile(): boolean {
    return this.#options.isVolatile;
  }

  /** Tries to open it, unless it is open. Rejects with bugs only. */
  open(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#disk !== undefined) return;
      try {
        this.#disk = await this.device.replaced(() => this.#open());
        this.#unusable = undefined;
      } catch (error) {
        this.#unusable = sentenceOf(error);
      }
    });
  }

  /** Versions of images that its layers lie over. Throws DiskRefused where that can't be read. */
  async bases(): Promise<ReadonlySet<string>> {
    if (this.#disk !== undefined) return this.#disk.bases;
    const tree = await this.#tree();
    return new Set(tree?.layers.map(({ base }) => base));
  }

  /** Of a disk that is open. */
  get snapshotCount(): number | undefined {
    return this.#disk?.snapshotCount;
  }

  /** A sentence if there is no snapshot of that name. */
  missing(snapshot: string): string | undefined {
    return this.#disk?.missing(snapshot);
  }

  isOn(snapshot: string): boolean {
    return this.#disk?.isOn(snapshot) ?? true;
  }

  isUntouched(offset: number, lengthBytes: number): boolean {
    return this.#disk?.isUntouched(offset, lengthBytes) ?? false;
  }

  async space(): Promise<DiskSpace | undefined> {
    const disk = this.#disk;
    if (disk === undefined) return undefined;
    return { snapshots: await disk.snapshots(), currentBytes: await disk.currentBytes() };
  }

  async strangers(): Promise<readonly string[]> {
    return (await this.#disk?.strangers()) ?? [];
  }

  /** The board may go on meanwhile. */
  snapshot(name: string): Promise<DiskVerdict<Held>> {
    return this.#whenOpen((disk) => disk.snapshot(name));
  }

  /** Nobody may write to it. */
  rollback(name: string): Promise<DiskVerdict> {
    return this.#whenOpen((disk) => this.device.replaced(() => disk.rollback(name)));
  }

  /** Nobody may write to it. */
  reset(): Promise<DiskVerdict> {
    return this.#whenOpen((disk) =>
      told(async () => {
        const base = await this.#options.image.version();
        return this.device.replaced(() => disk.reset(base));
      }),
    );
  }

  /** As reset; and one that can't be opened is put aside as it is, with its snapshots, and a new one takes its place. Nothing is lost by it. */
  async resetOrPutAside(): Promise<DiskVerdict<{ readonly aside?: string }>> {
    await this.open();
    return this.#disk === undefined ? told(() => this.#beginAnew()) : this.reset();
  }

  /** Nobody may write to it if it lies on that snapshot. */
  drop(name: string): Promise<DiskVerdict> {
    return this.#whenOpen((disk) => disk.drop(name));
  }

  /**
   * The board has read its kernel: what it has written is of no more use to it, if nobody has the disk any more (`isAbandoned`).
   * Whoever has it and answers, or takes leave, has not booted, whoever it was that asked for a kernel in that board's name.
   */
  spend(isAbandoned: Promise<boolean>): void {
    if (!this.#options.isVolatile) return;
    this.#deciding = this.#deciding.then(async () => {
      this.#isSpent ||= await isAbandoned;
    });
  }

  /** Before a client that has got the writer lock uses it. */
  begin(): Promise<DiskVerdict> {
    const begun = this.#deciding.then(() => this.#begin());
    // Who comes next, by another connection, waits for the same.
    this.#deciding = begun.then(() => {});
    return begun;
  }

  /** What was not flushed is not made durable by it. */
  async close(): Promise<void> {
    await this.#lastTurn;
    await this.#disk?.close();
  }

  async #begin(): Promise<DiskVerdict> {
    if (!this.#isSpent) return { answer: 'done' };
    const verdict = await this.reset();
    this.#isSpent = verdict.answer === 'refused';
    return verdict;
  }

  async #beginAnew(): Promise<DiskVerdict<{ readonly aside?: string }>> {
    // First: where nothing new could be made, what is there stays where it is.
    await this.#options.image.version();
    const folder = this.#folder();
    const isWorthless = await this.#isWorthless();
    let aside: string | undefined;
    await this.#inTurn(async () => {
      if (this.#disk === undefined) aside = await folder.putAside(this.#options.clock.today());
    });
    await this.open();
    if (this.#disk === undefined) {
      if (aside !== undefined) await folder.putBack(aside);
      return { answer: 'refused', because: this.#unusable ?? 'it is not open' };
    }
    if (aside === undefined) return { answer: 'done' };
    if (!isWorthless) return { answer: 'done', aside };
    await folder.removeAside(aside);
    return { answer: 'done' };
  }

  /** It would have been thrown away at the board's next boot, and there is no snapshot of it. */
  async #isWorthless(): Promise<boolean> {
    if (!this.#options.isVolatile) return false;
    const tree = await this.#tree().catch(() => undefined);
    return tree?.snapshots.length === 0;
  }

  async #open(): Promise<BoardDisk> {
    const { image, clock, isVolatile: _, ...rest } = this.#options;
    const tree = await this.#tree();
    const base = tree === undefined ? await image.version() : undefined;
    const baseOf = (version: string) => {
      image.mustBe(version);
      return image.device;
    };
    return BoardDisk.open({ ...rest, base, baseOf }, clock, this.medium);
  }

  #tree(): Promise<LayerTree | undefined> {
    return this.#folder().read();
  }

  #folder(): DiskFolder {
    const { disksPath, board } = this.#options;
    return new DiskFolder(disksPath, board);
  }

  /** An image may be written to while it is used, whatever it is locked with. */
  #changedMeanwhile(): string | undefined {
    try {
      for (const version of this.#disk?.basesInUse ?? []) this.#options.image.mustBe(version);
      return undefined;
    } catch (error) {
      return sentenceOf(error);
    }
  }

  async #whenOpen<Done>(action: (disk: BoardDisk) => Promise<DiskVerdict<Done>>): Promise<DiskVerdict<Done>> {
    await this.open();
    const disk = this.#disk;
    if (disk === undefined) return { answer: 'refused', because: this.#unusable ?? 'it is not open' };
    return action(disk);
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    const turn = this.#lastTurn.then(action);
    this.#lastTurn = turn.catch(() => {});
    return turn;
  }
}

async function told<Done>(action: () => Promise<DiskVerdict<Done>>): Promise<DiskVerdict<Done>> {
  try {
    return await action();
  } catch (error) {
    return { answer: 'refused', because: sentenceOf(error) };
  }
}

/** What is no fault of the medium, the files or the image is a bug. */
function sentenceOf(error: unknown): string {
  if (error instanceof DiskRefused) return `${error.message}; ${error.remedy}`;
  if (error instanceof BlockError) return error.message;
  if (error instanceof Error && 'code' in error) return error.message;
  throw error;
}
