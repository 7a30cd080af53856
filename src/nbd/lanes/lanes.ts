/**
 * Connections whose clients use a disk, in threads of their own. Node's way of a request through its event loop and its pool of
 * threads costs several times what a C server needs for it; a lane does nothing but wait for requests, read from the page cache,
 * write and answer. All lanes wait for all connections, so one that is kept waiting by a disk leaves the others to the rest of
 * them. Whatever needs thought is handed to the main thread, which has to know of it or tell of its failure.
 */

import { Worker } from 'node:worker_threads';
import { type Clock, passed, systemUptimeMs, type Timer } from '../../base/clock.js';
import { codeOf } from '../../base/errors.js';
import {
  NBD_CONNECTIONS_MAX,
  NBD_LANE_LOOK_MS,
  NBD_LANE_RETRY_MS,
  NBD_LANE_STUCK_MS,
  NBD_LANES_MIN,
  NBD_LANES_PER_DISK,
  NBD_LANES_STOP_MS,
} from '../../base/limits.js';
import type { Log } from '../../base/log.js';
import type { SharedFile } from '../../block/shared-file.js';
import { WakeUp } from '../../os/event-poll.js';
import { StreamPoll } from '../../os/stream-poll.js';
import type { RequestTally } from '../meter.js';
import { CarriedConnection, type CarriedTies } from './carried-connection.js';
import { LANE_COMMANDS, LaneCounts } from './lane-counts.js';
import { LaneDesk } from './lane-desk.js';
import { END_TOKEN, GENERATION_MAX, LaneTable } from './lane-table.js';
import type { FromLane, LaneBeginning, ToLane } from './messages.js';

export interface LanesOptions {
  readonly clock: Clock;
  readonly log: Log;
}

interface LaneDisk {
  readonly board: string;
  file: SharedFile;
  /** Of its requests, per command: what was told to the meter. */
  readonly told: (readonly number[])[];
}

/** Threads are started with the first connection. */
export class Lanes {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #table = LaneTable.create();
  readonly #poll = new StreamPoll();
  readonly #ending = new WakeUp();
  /** With when each can take connections, or has ended. */
  readonly #threads = new Map<Worker, Promise<void>>();
  #online = 0;
  /** Of threads that have not ended. */
  readonly #counts = new Set<LaneCounts>();
  readonly #desks = new Set<LaneDesk>();
  /** Of those that have, all together. */
  readonly #countsBefore = new LaneCounts();
  readonly #connections = new Map<number, CarriedConnection>();
  readonly #disks: LaneDisk[] = [];
  #generation = 0;
  #looking: Timer | undefined;
  #isStopping = false;
  #noneBeforeMs = Number.NEGATIVE_INFINITY;

  constructor({ clock, log }: LanesOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#poll.addForAll(this.#ending.descriptor, END_TOKEN);
  }

  /** Resolves when there are lanes, or when it is known that there can be none: then `carry` says so. */
  async ready(): Promise<void> {
    for (let missing = NBD_LANES_MIN - this.#threads.size; missing > 0; missing -= 1) this.#startThread();
    await Promise.all(this.#threads.values());
  }

  /** Takes a connection: from its `begin` on it is served, and nobody else may read from its descriptor or write to it. Undefined if there is no room, or no lane. */
  carry(board: string, file: SharedFile, ties: CarriedTies): CarriedConnection | undefined {
    const disk = this.#diskOf(board, file);
    const record = this.#freeRecord();
    if (disk === undefined || record === undefined) return undefined;
    if (this.#online === 0) return undefined;
    this.#generation = (this.#generation % GENERATION_MAX) + 1;
    const generation = this.#generation;
    const place = { table: this.#table, poll: this.#poll, desks: this.#desks, record, generation, disk };
    const connection = new CarriedConnection(place, ties, () => this.#connections.delete(record));
    if (!connection.join()) return undefined;
    this.#connections.set(record, connection);
    this.#look();
    return connection;
  }

  /** What was done since the last call. */
  tallies(): readonly RequestTally[] {
    return this.#disks.flatMap(({ board, told }, disk) =>
      LANE_COMMANDS.map((command, index) => {
        const sums = LaneCounts.sum([this.#countsBefore, ...this.#counts].map((counts) => counts.of(disk, index)));
        const before = told[index] ?? [];
        told[index] = sums;
        const [count = 0, bytes = 0, seconds = 0, ...perBound] = sums.map((sum, at) => sum - (before[at] ?? 0));
        return { board, command, count, bytes, seconds, perBound };
      }),
    );
  }

  /** Connections are closed before. Resolves when no thread is left, but for those that wait for a disk: what they do is nobody's any more. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#looking?.cancel();
    const gone = [...this.#threads.keys()].map((thread) => new Promise((resolve) => thread.once('exit', resolve)));
    this.#ending.ring();
    const late = passed(this.#clock, NBD_LANES_STOP_MS).then(() => 'late' as const);
    if ((await Promise.race([Promise.all(gone), late])) === 'late') return;
    this.#ending.close();
    this.#poll.close();
  }

  #diskOf(board: string, file: SharedFile): number | undefined {
    const known = this.#disks.findIndex((disk) => disk.file === file && disk.board === board);
    if (known >= 0) return known;
    if (this.#disks.length === LaneCounts.disksMax) return undefined;
    this.#disks.push({ board, file, told: [] });
    const disk = this.#disks.length - 1;
    this.#tell(disk, file);
    return disk;
  }

  /** Lanes look when they meet a disk that they don't know, or that was replaced. */
  #tell(disk: number, file: SharedFile): void {
    for (const thread of this.#threads.keys()) thread.postMessage({ disk, file: file.told } satisfies ToLane);
    file.whenReplaced((next) => {
      const known = this.#disks[disk];
      if (known !== undefined) known.file = next;
      this.#tell(disk, next);
    });
  }

  #freeRecord(): number | undefined {
    for (let record = 0; record < NBD_CONNECTIONS_MAX; record += 1) if (!this.#connections.has(record)) return record;
    return undefined;
  }

  /** Where there can't be one now, that is not tried again before NBD_LANE_RETRY_MS: who asks for one may ask often. */
  #startThread(): void {
    if (this.#isStopping || this.#clock.nowMs() < this.#noneBeforeMs) return;
    try {
      this.#start(new LaneCounts(), new LaneDesk());
    } catch (error) {
      this.#tellEnd(error);
    }
  }

  #start(counts: LaneCounts, desk: LaneDesk): void {
    const workerData: LaneBeginning = {
      table: this.#table.told,
      pollDescriptor: this.#poll.descriptor,
      counts: counts.memory,
      desk: desk.memory,
    };
    const thread = new Worker(new URL('./lane-thread.js', import.meta.url), {
      workerData,
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES, maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
    });
    for (const [disk, { file }] of this.#disks.entries())
      thread.postMessage({ disk, file: file.told } satisfies ToLane);
    thread.on('message', (message: FromLane) => this.#told(message));
    thread.on('error', (error) => this.#tellEnd(error));
    let isOnline = false;
    const ready = new Promise<void>((resolve) => {
      thread.once('message', () => {
        isOnline = true; // its first word
        this.#online += 1;
        resolve();
      });
      thread.once('exit', () => {
        if (isOnline) {
          this.#online -= 1;
          this.#countsBefore.take(counts);
        }
        this.#threads.delete(thread);
        this.#counts.delete(counts);
        this.#desks.delete(desk);
        resolve();
      });
    });
    this.#threads.set(thread, ready);
    this.#counts.add(counts);
    this.#desks.add(desk);
  }

  /** A process without descriptors or memory left can't start a thread; that is no bug, and connections go on without. */
  #tellEnd(error: unknown): void {
    this.#noneBeforeMs = this.#clock.nowMs() + NBD_LANE_RETRY_MS;
    const code = codeOf(error);
    if (LACKS.has(code)) this.#log.warn({ because: code }, 'nbd.lane.missing');
    else this.#log.error({ err: error }, 'nbd.lane.bug');
  }

  #told(message: FromLane): void {
    if (message.kind === 'ready') return;
    if (message.kind === 'synced') this.#disks[message.disk]?.file.syncIsOver();
    else this.#connections.get(message.record)?.told(message);
  }

  /** As long as there are connections: whether there is a lane that can serve them. */
  #look(): void {
    if (this.#looking !== undefined || this.#isStopping) return;
    this.#looking = this.#clock.after(NBD_LANE_LOOK_MS, () => {
      this.#looking = undefined;
      if (this.#connections.size === 0) return;
      const stuckSinceMs = systemUptimeMs() - NBD_LANE_STUCK_MS;
      const isStuck = [...this.#counts].every(({ busySinceMs }) => busySinceMs > 0 && busySinceMs < stuckSinceMs);
      const most = NBD_LANES_MIN + NBD_LANES_PER_DISK * new Set(this.#disks.map(({ file }) => file.disk)).size;
      if (isStuck && this.#threads.size < most) this.#startThread();
      this.#look();
    });
  }
}

/** Descriptors, threads, memory. */
const LACKS: ReadonlySet<unknown> = new Set([
  'EMFILE',
  'ENFILE',
  'ERR_WORKER_INIT_FAILED',
  'ERR_MEMORY_ALLOCATION_FAILED',
]);
/** What a lane keeps lies outside. */
const HEAP_MEBIBYTES = 16;
const YOUNG_MEBIBYTES = 2;
