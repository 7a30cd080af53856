import { FAT_DIRECTORY_BYTES_MAX, FAT_FILE_RUNS_MAX } from '../../base/limits.js';
import { DiskFault } from '../disk-fault.js';
import { Turn } from '../turn.js';
import { type AllocationTable, NOT_LOADED, TableMark } from './allocation-table.js';
import { clusterOffset, type FatGeometry, FIRST_CLUSTER, isDataCluster } from './geometry.js';

/** Bytes that lie together, on the device that the volume was opened on. */
export interface ByteRun {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Whose chain it is, so that a fault can say it. */
export interface ChainStart {
  readonly cluster: number;
  /** Where that cluster number stands: bytes from the start of the device. */
  readonly namedAt: number;
  /** `file "config.txt"`, `directory "overlays"`. */
  readonly owner: string;
}

/** As much of a chain as `sizeBytes` takes, in file order. What comes behind is not looked at: a file may have room to grow. */
export async function fileRuns(
  table: AllocationTable,
  geometry: FatGeometry,
  start: ChainStart,
  sizeBytes: number,
): Promise<readonly ByteRun[]> {
  if (sizeBytes === 0) return [];
  const wanted = Math.ceil(sizeBytes / geometry.clusterBytes);
  const walk = new ChainWalk(table, geometry, start);
  if ((await walk.take(wanted)) < wanted)
    throw walk.fault(`end of chain after ${walk.taken} clusters`, `${wanted} clusters for ${sizeBytes} bytes`);
  return walk.runs(sizeBytes);
}

/** A directory has no size: its chain is followed to the end, which must come within 65,536 entries. */
export async function directoryRuns(
  table: AllocationTable,
  geometry: FatGeometry,
  start: ChainStart,
): Promise<readonly ByteRun[]> {
  const most = Math.ceil(FAT_DIRECTORY_BYTES_MAX / geometry.clusterBytes);
  const walk = new ChainWalk(table, geometry, start);
  if ((await walk.take(most + 1)) > most) throw walk.fault(`more than ${most} clusters`, 'at most 65,536 entries');
  return walk.runs(walk.taken * geometry.clusterBytes);
}

/**
 * Follows one chain cluster by cluster. Each step is checked before it is taken: the number must be one of the volume's
 * clusters, and one where this chain has not been yet. Two files that share clusters are not noticed: both are read as they are.
 */
class ChainWalk {
  readonly #table: AllocationTable;
  readonly #geometry: FatGeometry;
  readonly #start: ChainStart;
  /** One bit for each cluster. Exact where a count of steps would notice a loop too late, and 16 KiB for 512 MiB of clusters of 4 KiB. */
  readonly #visited: Uint8Array;
  readonly #firstClusters: number[] = [];
  readonly #clusterCounts: number[] = [];
  /** Whose entry was read last; 0 while it is the directory's word that is followed. */
  #cluster = 0;
  #taken = 0;

  constructor(table: AllocationTable, geometry: FatGeometry, start: ChainStart) {
    this.#table = table;
    this.#geometry = geometry;
    this.#start = start;
    this.#visited = new Uint8Array(Math.ceil((geometry.clusterCount + FIRST_CLUSTER) / 8));
  }

  get taken(): number {
    return this.#taken;
  }

  /** Takes `wanted` clusters, or fewer where the chain ends before; answers how many. */
  async take(wanted: number): Promise<number> {
    const turn = new Turn();
    const { endFrom } = TableMark[this.#geometry.type];
    let next = this.#start.cluster;
    for (;;) {
      this.#step(next);
      if (this.#taken === wanted) return wanted;
      next = this.#table.entryNow(this.#cluster);
      if (next === NOT_LOADED) {
        next = await this.#table.load(this.#cluster);
        turn.spend(256);
      }
      if (next >= endFrom) return this.#taken;
      if (turn.spend(1)) await turn.letOthersRun();
    }
  }

  runs(sizeBytes: number): ByteRun[] {
    let left = sizeBytes;
    return this.#firstClusters.map((cluster, index) => {
      const runBytes = (this.#clusterCounts[index] ?? 0) * this.#geometry.clusterBytes;
      const lengthBytes = Math.min(runBytes, left);
      left -= lengthBytes;
      return { offset: clusterOffset(this.#geometry, cluster), lengthBytes };
    });
  }

  /** A fault about the entry that was read last. */
  fault(value: string, sound: string): DiskFault {
    const { owner, namedAt } = this.#start;
    if (this.#cluster === 0)
      return new DiskFault({ structure: `first cluster of ${owner}`, offset: namedAt, value, sound });
    const offset = this.#table.placeOf(this.#cluster);
    return new DiskFault({
      structure: `FAT entry of cluster ${this.#cluster}, in the chain of ${owner},`,
      offset,
      value,
      sound,
    });
  }

  #step(next: number): void {
    if (!isDataCluster(this.#geometry, next)) throw this.fault(this.#describe(next), this.#soundNumbers());
    const byte = this.#visited[next >> 3] ?? 0;
    const bit = 1 << (next & 7);
    if ((byte & bit) !== 0) throw this.fault(`${next}`, 'a cluster where the chain has not been yet');
    this.#visited[next >> 3] = byte | bit;
    const last = this.#clusterCounts.length - 1;
    if (this.#taken > 0 && next === this.#cluster + 1) {
      this.#clusterCounts[last] = (this.#clusterCounts[last] ?? 0) + 1;
    } else {
      if (last + 1 >= FAT_FILE_RUNS_MAX) throw this.fault(`${next}`, `in at most ${FAT_FILE_RUNS_MAX} runs`);
      this.#firstClusters.push(next);
      this.#clusterCounts.push(1);
    }
    this.#cluster = next;
    this.#taken += 1;
  }

  #describe(entry: number): string {
    if (entry === 0) return '0 (free)';
    if (entry === 1) return '1 (reserved)';
    return entry === TableMark[this.#geometry.type].bad ? `${entry} (bad)` : `${entry}`;
  }

  #soundNumbers(): string {
    return `from ${FIRST_CLUSTER} to ${this.#geometry.clusterCount + 1}`;
  }
}
