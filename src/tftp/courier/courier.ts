/**
 * Deliveries in a thread of their own. Node's way of a datagram through its event loop costs twice what dnsmasq needs for it;
 * this thread does nothing but wait for ACKs and send the next blocks, out of memory that both threads share. Requests, files
 * and disks stay where they are: the courier asks for what is not in memory yet.
 */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../base/clock.js';
import { TFTP_COURIER_STOP_MS } from '../../base/limits.js';
import type { Log } from '../../base/log.js';
import { unreachable } from '../../base/unreachable.js';
import { WakeUp } from '../../os/event-poll.js';
import type { Carrier, CarrierJob, RunningDelivery } from '../carrier.js';
import type { TransferEvent } from '../transfer.js';
import type { Endpoint } from '../udp-socket.js';
import { FileSupply } from './file-supply.js';
import { type CourierBeginning, type FromCourier, SIGNS_BYTES, Sign, type ToCourier } from './messages.js';

export interface Courier extends Carrier {
  /** Ends what is being delivered, without a word to the peers; resolves when the thread is gone, which is ended from outside if it does not go. */
  stop(): Promise<void>;
}

export interface CourierOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What the thread runs; tests have it fail. */
  readonly thread?: URL;
}

/** Its thread starts at once, and anew with the next delivery should it ever end by itself. */
export function startCourier(options: CourierOptions): Courier {
  return new ThreadedCourier(options);
}

class ThreadedCourier implements Courier {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #code: URL;
  readonly #wakeUp = new WakeUp();
  readonly #deliveries = new Map<number, DistantDelivery>();
  #thread: Worker | undefined;
  #lastId = 0;

  constructor({ clock, log, thread = new URL('./courier-thread.js', import.meta.url) }: CourierOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#code = thread;
    this.#thread = this.#startThread();
  }

  deliver(job: CarrierJob): RunningDelivery {
    this.#thread ??= this.#startThread();
    this.#lastId += 1;
    const id = this.#lastId;
    const delivery = new DistantDelivery(id, job, this.#clock.nowMs(), {
      tell: (message) => this.#tell(message),
      over: () => this.#deliveries.delete(id),
      bug: (error) => this.#log.error({ err: error }, 'tftp.bug'),
    });
    this.#deliveries.set(id, delivery);
    delivery.begin();
    return delivery;
  }

  async stop(): Promise<void> {
    const thread = this.#thread;
    if (thread !== undefined) {
      const gone = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
      this.#tell({ kind: 'stop' });
      const late = this.#clock.after(TFTP_COURIER_STOP_MS, () => void thread.terminate());
      await gone;
      late.cancel();
    }
    this.#wakeUp.close();
  }

  #startThread(): Worker {
    const workerData: CourierBeginning = { wakeUpDescriptor: this.#wakeUp.descriptor };
    const thread = new Worker(this.#code, {
      workerData,
      // Its sockets are opened by libc and closed by Node, which would warn of each.
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES, maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
    });
    thread.on('message', (message: FromCourier) => this.#told(message));
    thread.on('error', (error) => this.#log.error({ err: error }, 'tftp.bug'));
    thread.once('exit', () => this.#threadGone(thread));
    return thread;
  }

  #tell(message: ToCourier): void {
    this.#thread?.postMessage(message);
    this.#wakeUp.ring();
  }

  #told(message: FromCourier): void {
    const delivery = this.#deliveries.get(message.id);
    switch (message.kind) {
      case 'noPort':
        delivery?.noPort(message.because);
        break;
      case 'hold':
        delivery?.supply.hold();
        break;
      case 'want':
        delivery?.supply.want(message.offset, message.lengthBytes);
        break;
      case 'progress':
        delivery?.supply.progress(message.from, message.at);
        break;
      case 'stranger':
        delivery?.spokenToBy(message.stranger);
        break;
      case 'ended':
        delivery?.ended(message.end);
        break;
      default:
        unreachable(message);
    }
  }

  #threadGone(thread: Worker): void {
    if (this.#thread === thread) this.#thread = undefined;
    const because = 'the thread that delivers files has ended';
    for (const delivery of [...this.#deliveries.values()]) {
      delivery.ended({ outcome: 'error', because, sentBytes: 0, bug: undefined });
    }
  }
}

interface DistantDeliveryTies {
  tell(message: ToCourier): void;
  over(): void;
  bug(error: unknown): void;
}

/** A delivery in the other thread, as this one sees it. */
class DistantDelivery implements RunningDelivery {
  readonly supply: FileSupply;
  readonly #id: number;
  readonly #job: CarrierJob;
  readonly #ties: DistantDeliveryTies;
  readonly #signs = new Float64Array(new SharedArrayBuffer(SIGNS_BYTES));

  constructor(id: number, job: CarrierJob, nowMs: number, ties: DistantDeliveryTies) {
    this.#id = id;
    this.#job = job;
    this.#ties = ties;
    this.#signs[Sign.QuietSinceMs] = nowMs;
    this.supply = new FileSupply(id, job.file, ties);
  }

  get confirmed(): boolean {
    return this.#signs[Sign.Confirmed] === 1;
  }

  /** A peer that waits for what our disk has not given yet is not quiet. */
  get quietSinceMs(): number {
    if (this.supply.isAwaited) return Number.POSITIVE_INFINITY;
    return this.#signs[Sign.QuietSinceMs] ?? 0;
  }

  begin(): void {
    const { from, to, mode, agreement, file } = this.#job;
    const { sizeBytes } = file;
    const { buffer: signs } = this.#signs;
    this.#ties.tell({ kind: 'deliver', id: this.#id, from, to, mode, agreement, sizeBytes, signs });
  }

  handle(event: TransferEvent): void {
    this.#ties.tell({ kind: 'event', id: this.#id, event });
  }

  spokenToBy(stranger: Endpoint): void {
    if (this.#job.answers(stranger.address)) this.#ties.tell({ kind: 'turnAway', id: this.#id, stranger });
  }

  noPort(because: string): void {
    this.#close();
    this.#job.noPort(because);
  }

  ended(end: Parameters<CarrierJob['ended']>[0]): void {
    this.#close();
    this.#job.ended(end);
  }

  #close(): void {
    this.supply.close();
    this.#ties.over();
  }
}

/** Of TFTP_TRANSFERS_MAX transfers with a packet each; the files' bytes are shared and lie outside. */
const HEAP_MEBIBYTES = 64;
/** What a packet leaves behind is gone with the next; a small space is swept in less than a millisecond. */
const YOUNG_MEBIBYTES = 8;
