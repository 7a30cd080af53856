import {
  asState,
  BlockState,
  blocksIn,
  claimedIn,
  HIGH_BITS,
  LOW_BITS,
  maskOf,
  trailingZeroes,
  unclaimed,
} from './block-states.js';

/** What is recorded and claimed at once; also the unit in which an overlay takes space. Of page caches and of most filesystems. */
export const OVERLAY_BLOCK_BYTES = 4096;

/** Blocks that one sector of the map on the disk tells of: 127 words of 16 blocks, and the checksum's word. */
export const BLOCKS_PER_SECTOR = 127 * 16;
const WORDS_PER_SECTOR = BLOCKS_PER_SECTOR / 16;

/** Sectors of the map that get their place in the file together: one page of it. */
const SECTORS_RESERVED_TOGETHER = 8;

export interface ClaimOptions {
  /** The owner alone may say it. */
  readonly takesZero: boolean;
  /** Otherwise they will be zeroes, and what was granted is left as it is. */
  readonly takesSpace: boolean;
}

export interface SectorRange {
  readonly first: number;
  readonly end: number;
}

/** The states that one sector of the map should have on the disk. */
export interface SectorStates {
  readonly sector: number;
  /** Two bits for each block, lowest first; none is claimed. */
  readonly words: Uint32Array;
}

/**
 * Which blocks of an overlay are its own, in memory that several threads share: two bits for each block, 4 MiB for a disk of 64 GiB.
 * Pages of it that nobody touched are none of the process's.
 *
 * Who wants to make a block the overlay's own claims it first, writes the block, then says that it is; so of two who want to, only
 * one does, and nobody reads what is half written. Threads other than the owner's leave blocks of zeroes to the owner, and all that
 * touches a sector of the map that has no place in the file yet.
 *
 * It also keeps which sectors of it differ from those on the disk. One counts as undurable from its change on until it was flushed:
 * with none, everybody may flush the file alone and has flushed the map too.
 */
export class BlockMap {
  readonly blockCount: number;
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #sectors: Int32Array;
  /** For each sector, how many threads are about to change it, or have just done so. */
  readonly #changing: Int32Array;
  /** For each sector, 1 if it was ever written down. */
  readonly #recorded: Int32Array;
  readonly #fields: Int32Array;

  constructor(memory: SharedArrayBuffer, blockCount: number) {
    const sectorCount = sectorCountOf(blockCount);
    this.memory = memory;
    this.blockCount = blockCount;
    this.#fields = new Int32Array(memory, 0, FIELDS);
    this.#sectors = new Int32Array(memory, FIELDS * 4, sectorCount);
    this.#changing = new Int32Array(memory, (FIELDS + sectorCount) * 4, sectorCount);
    this.#recorded = new Int32Array(memory, (FIELDS + 2 * sectorCount) * 4, sectorCount);
    this.#words = new Int32Array(memory, (FIELDS + 3 * sectorCount) * 4, sectorCount * WORDS_PER_SECTOR);
  }

  static create(blockCount: number): BlockMap {
    const sectorCount = sectorCountOf(blockCount);
    const words = FIELDS + 3 * sectorCount + sectorCount * WORDS_PER_SECTOR;
    const map = new BlockMap(new SharedArrayBuffer(words * 4), blockCount);
    Atomics.store(map.#fields, Field.Granted, UNLIMITED);
    return map;
  }

  get sectorCount(): number {
    return this.#sectors.length;
  }

  /** Claimed ones are Base. */
  stateOf(block: number): BlockState {
    const word = unclaimed(Atomics.load(this.#words, block >>> 4));
    return asState((word >>> ((block & 15) * 2)) & 3);
  }

  /**
   * The end of the run that begins with `block`, which was found in that state; `end` at most. It is not asked again: another thread
   * may have changed it meanwhile, and what follows it is not like what it has become.
   */
  endOfRun(state: BlockState, block: number, end: number): number {
    const pattern = Math.imul(state, LOW_BITS);
    for (let at = block + 1; at < end; at = (at | 15) + 1) {
      const differing = (unclaimed(Atomics.load(this.#words, at >>> 4)) ^ pattern) >>> ((at & 15) * 2);
      if (differing !== 0) return Math.min(end, at + (trailingZeroes(differing) >>> 1));
    }
    return end;
  }

  /** Whether all of them are in that state. */
  isAll(state: BlockState, first: number, end: number): boolean {
    return this.stateOf(first) === state && this.endOfRun(state, first, end) === end;
  }

  /**
   * Claims those that are Base; the caller's from then on are they and those that are Own. False, and nothing changed, where somebody
   * else has claimed one, so many were not granted, or one is Zero and `takesZero` is not said: that is for the owner, who keeps others from it by other means.
   */
  claim(first: number, end: number, how: ClaimOptions): boolean {
    for (let at = first; at < end; at = (at | 15) + 1) {
      if (this.#claimInWord(at, end, how)) continue;
      this.unclaim(first, at, how);
      return false;
    }
    return true;
  }

  /** What was claimed so is Base again. */
  unclaim(first: number, end: number, { takesSpace }: Pick<ClaimOptions, 'takesSpace'>): void {
    const count = this.#change(
      first,
      end,
      (word, mask) => word & ~(claimedIn(word) & mask),
      (word, mask) => blocksIn(claimedIn(word) & mask),
    );
    if (takesSpace) this.#giveBack(count);
  }

  /** How many blocks may still be claimed; undefined: as many as there are. */
  get granted(): number | undefined {
    const granted = Atomics.load(this.#fields, Field.Granted);
    return granted === UNLIMITED ? undefined : granted;
  }

  /** The owner's: so many more. The first time it is told, there is a limit. */
  grant(count: number): void {
    Atomics.compareExchange(this.#fields, Field.Granted, UNLIMITED, 0);
    Atomics.add(this.#fields, Field.Granted, count);
  }

  /** The owner's: none is granted any more. Answers how many were. */
  takeBack(): number {
    for (;;) {
      const granted = this.granted ?? 0;
      if (granted <= 0) return 0;
      if (Atomics.compareExchange(this.#fields, Field.Granted, granted, 0) === granted) return granted;
    }
  }

  /**
   * Of who has claimed them. Another thread may see a block's new state at once, write to it, and flush before this one goes on: so
   * its sector is undurable before that, after it, and until this is over cannot be taken for good.
   */
  set(state: BlockState, first: number, end: number): void {
    const [from, to] = [sectorOf(first), sectorOf(end - 1)];
    for (let sector = from; sector <= to; sector += 1) {
      Atomics.add(this.#changing, sector, 1);
      this.#markUndurable(sector);
    }
    const pattern = Math.imul(state, LOW_BITS);
    const fromZero = this.#change(
      first,
      end,
      (word, mask) => (word & ~mask) | (pattern & mask),
      (word, mask) => blocksIn(unclaimed(word) & HIGH_BITS & mask),
    );
    // Those were not claimed, and take space from now on.
    if (state === BlockState.Own) this.#giveBack(-fromZero);
    for (let sector = from; sector <= to; sector += 1) {
      this.#markUndurable(sector);
      Atomics.sub(this.#changing, sector, 1);
    }
  }

  /** What the file says: all that is not among these is Base. Whoever reads meanwhile sees each word as it was or as it is; nobody may change any. */
  load(all: Iterable<SectorStates>): void {
    const found = new Map([...all].map(({ sector, words }) => [sector, words]));
    this.#sectors.fill(Sector.Unreserved);
    Atomics.store(this.#fields, Field.Undurable, 0);
    this.#recorded.fill(0);
    for (const sector of found.keys()) {
      this.reserved(groupOf(sector));
      this.wasRecorded(sector);
    }
    for (let index = 0; index < this.#words.length; index += 1) {
      const word = found.get(Math.floor(index / WORDS_PER_SECTOR))?.[index % WORDS_PER_SECTOR] ?? 0;
      if (Atomics.load(this.#words, index) !== (word | 0)) Atomics.store(this.#words, index, word | 0);
    }
  }

  /** Whether every sector that tells of these has its place in the file. */
  isReserved(first: number, end: number): boolean {
    for (let sector = sectorOf(first); sector <= sectorOf(end - 1); sector += 1) {
      if (Atomics.load(this.#sectors, sector) === Sector.Unreserved) return false;
    }
    return true;
  }

  /** Of the sectors that tell of these blocks: in groups, those that have no place yet. */
  unreserved(first: number, end: number): SectorRange[] {
    const groups: SectorRange[] = [];
    for (let group = groupOf(sectorOf(first)); group.first <= sectorOf(end - 1); group = groupOf(group.end)) {
      if (Atomics.load(this.#sectors, group.first) === Sector.Unreserved) groups.push(group);
    }
    return groups;
  }

  /** The owner's: a whole group, always. */
  reserved(group: SectorRange): void {
    for (let sector = group.first; sector < Math.min(group.end, this.sectorCount); sector += 1) {
      Atomics.compareExchange(this.#sectors, sector, Sector.Unreserved, Sector.Durable);
    }
  }

  /** False: a flush of the file alone leaves something behind. */
  get isDurable(): boolean {
    return Atomics.load(this.#fields, Field.Undurable) === 0;
  }

  /** What the owner alone writes down: who writes it for the first time has to count it. */
  isRecorded(sector: number): boolean {
    return Atomics.load(this.#recorded, sector) === 1;
  }

  /** The owner's: it is on stable storage. */
  wasRecorded(sector: number): void {
    Atomics.store(this.#recorded, sector, 1);
  }

  /**
   * Of the owner, who writes the map down from now on, and nobody else begins to until `endOwnersRecord`. True where another thread is
   * at it: until that has ended its sync.
   */
  beginOwnersRecord(): boolean {
    // Each says so before looking at the other: so one of two sees it.
    Atomics.store(this.#fields, Field.OwnerRecords, 1);
    return Atomics.load(this.#fields, Field.LaneRecords) === 1;
  }

  endOwnersRecord(): void {
    Atomics.store(this.#fields, Field.OwnerRecords, 0);
  }

  /** Of another thread, that is the only one to sync the file. False: the owner writes the map down. */
  beginRecord(): boolean {
    Atomics.store(this.#fields, Field.LaneRecords, 1);
    if (Atomics.load(this.#fields, Field.OwnerRecords) === 0) return true;
    this.endRecord();
    return false;
  }

  endRecord(): void {
    Atomics.store(this.#fields, Field.LaneRecords, 0);
  }

  /** Of who writes it down: what has to be, as it is now. Each is undurable until `nowDurable` is told of it. */
  takeUndurable(): SectorStates[] {
    const taken: SectorStates[] = [];
    if (this.isDurable) return taken;
    for (let sector = 0; sector < this.sectorCount; sector += 1) {
      // Said before the states are looked at: who changes one meanwhile says the other again.
      const was = Atomics.compareExchange(this.#sectors, sector, Sector.Undurable, Sector.Durable);
      if (was !== Sector.Undurable) continue;
      // Who has said so already, and has not changed it yet, may be seen to have done so before it says it again.
      if (Atomics.load(this.#changing, sector) > 0) this.#markUndurable(sector);
      taken.push({ sector, words: this.#statesOf(sector) });
    }
    return taken;
  }

  nowDurable(sectors: readonly SectorStates[]): void {
    Atomics.sub(this.#fields, Field.Undurable, sectors.length);
  }

  /** They could not be written. */
  notDurable(sectors: readonly SectorStates[]): void {
    for (const { sector } of sectors) {
      if (Atomics.exchange(this.#sectors, sector, Sector.Undurable) === Sector.Undurable) {
        Atomics.sub(this.#fields, Field.Undurable, 1); // it counts already, anew
      }
    }
  }

  #statesOf(sector: number): Uint32Array {
    const from = sector * WORDS_PER_SECTOR;
    return Uint32Array.from({ length: WORDS_PER_SECTOR }, (_, index) =>
      unclaimed(Atomics.load(this.#words, from + index)),
    );
  }

  #markUndurable(sector: number): void {
    // Counted first: whoever finds it said need not count it, and goes on.
    Atomics.add(this.#fields, Field.Undurable, 1);
    if (Atomics.exchange(this.#sectors, sector, Sector.Undurable) === Sector.Undurable) {
      Atomics.sub(this.#fields, Field.Undurable, 1);
    }
  }

  #claimInWord(at: number, end: number, { takesZero, takesSpace }: ClaimOptions): boolean {
    const index = at >>> 4;
    const mask = maskOf(at, end);
    for (;;) {
      const word = Atomics.load(this.#words, index);
      const here = word & mask;
      if ((claimedIn(word) & mask) !== 0) return false;
      if (!takesZero && (here & HIGH_BITS) !== 0) return false;
      const base = ~(here | (here >>> 1)) & mask & LOW_BITS;
      const claimed = word | base | (base << 1);
      const count = takesSpace ? blocksIn(base) : 0;
      if (!this.#take(count)) return false;
      if (Atomics.compareExchange(this.#words, index, word, claimed) === word) return true;
      this.#giveBack(count);
    }
  }

  #take(count: number): boolean {
    if (count === 0 || this.granted === undefined) return true;
    if (Atomics.sub(this.#fields, Field.Granted, count) >= count) return true;
    this.#giveBack(count);
    return false;
  }

  #giveBack(count: number): void {
    if (count !== 0 && this.granted !== undefined) Atomics.add(this.#fields, Field.Granted, count);
  }

  /** Answers the sum of what `counted` says of each word that was changed, as it was: once, however often it was tried. */
  #change(first: number, end: number, changed: OfWord, counted: OfWord): number {
    let sum = 0;
    for (let at = first; at < end; at = (at | 15) + 1) {
      const index = at >>> 4;
      const mask = maskOf(at, end);
      for (;;) {
        const word = Atomics.load(this.#words, index);
        if (Atomics.compareExchange(this.#words, index, word, changed(word, mask) | 0) !== word) continue;
        sum += counted(word, mask);
        break;
      }
    }
    return sum;
  }
}

type OfWord = (word: number, mask: number) => number;

export function sectorCountOf(blockCount: number): number {
  return Math.ceil(blockCount / BLOCKS_PER_SECTOR);
}

function sectorOf(block: number): number {
  return Math.floor(block / BLOCKS_PER_SECTOR);
}

function groupOf(sector: number): SectorRange {
  const first = sector - (sector % SECTORS_RESERVED_TOGETHER);
  return { first, end: first + SECTORS_RESERVED_TOGETHER };
}

const FIELDS = 4;
const Field = { Undurable: 0, Granted: 1, OwnerRecords: 2, LaneRecords: 3 } as const;
/** Below all that a count may come to. */
const UNLIMITED = -(2 ** 31);
const Sector = { Unreserved: 0, Durable: 1, Undurable: 2 } as const;
