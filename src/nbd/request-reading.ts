import { NBD_LANE_INPUT_BYTES } from '../base/limits.js';
import type { CarriedTies } from './lanes/carried-connection.js';
import type { Lanes } from './lanes/lanes.js';
import type { ServedDisk } from './served-disk.js';
import type { BufferPool } from './session/buffer-pool.js';
import type { Transport } from './transport.js';
import type { ByteQueue } from './wire/byte-queue.js';
import { Command } from './wire/constants.js';
import type { BegunPayload, RequestFraming } from './wire/framing.js';
import { COMPACT_REQUESTS } from './wire/transmission-wire.js';

/** What it needs of its connection, and whom it tells. */
export interface ReadingTies extends Pick<CarriedTies, 'over' | 'failed'> {
  readonly transport: Transport;
  /** What came and was not looked at. */
  readonly queue: ByteQueue;
  readonly pool: BufferPool;
  readonly lanes: Pick<Lanes, 'ready' | 'carry'>;
  /** Whether the connection is still at this. */
  isOn(): boolean;
  /** Whether it may change hands: not once it is to be closed, or handed on. */
  mayMove(): boolean;
  /** What had to wait for us may go on. */
  advance(): void;
}

/**
 * Where the requests of a client that has a disk are read: by the lanes, which hand over what is not for them, or here, where they
 * can't have it.
 */
export class RequestReading {
  readonly disk: ServedDisk;
  readonly #ties: ReadingTies;
  /** Where it is read here. */
  #framing: RequestFraming | undefined;
  /** On its way to the lanes, before they have it. */
  #moving: Promise<unknown> | undefined;
  /** It is read here until what it had sent to the process before is dealt with. */
  #isForLanes = false;

  constructor(disk: ServedDisk, ties: ReadingTies) {
    this.disk = disk;
    this.#ties = ties;
  }

  /** Bytes of a payload that has not come whole. */
  get collectedBytes(): number {
    return this.#framing?.collectedBytes ?? 0;
  }

  get isInLanes(): boolean {
    return this.#framing === undefined;
  }

  /** Whether the next request has to wait for something on our side, or is none of ours. */
  get isHeldUp(): boolean {
    return this.#framing === undefined || !this.disk.hasRoom();
  }

  async begin(): Promise<void> {
    const moving = this.#toLanes();
    this.#moving = moving.catch(() => {});
    await moving;
  }

  /** As the process before us left it. */
  resume(begun: BegunPayload | undefined): void {
    this.#readHere(begun);
    this.#isForLanes = true;
  }

  /** Looks at the next request; false if it has not come whole. */
  takeOne(): boolean {
    const arrival = this.#framing?.next();
    if (arrival === undefined) return false;
    if (arrival.request.command === Command.Disc) this.#ties.over({ kind: 'disconnect' });
    else this.disk.start(arrival);
    return true;
  }

  /** It goes to the lanes now, and looks at nothing more: a client that always has more to send would not come to an end by itself. */
  get movesOn(): boolean {
    if (!this.#isForLanes || this.#framing === undefined || !this.#ties.mayMove()) return false;
    return this.#framing.isBetweenRequests && this.#ties.queue.length <= NBD_LANE_INPUT_BYTES;
  }

  moveOn(): void {
    if (!this.movesOn) return;
    this.#isForLanes = false;
    void this.begin()
      .then(() => this.#ties.advance())
      .catch(this.#ties.failed);
  }

  /** Back here from the lanes: resolves when they are through with it. */
  async fetch(): Promise<void> {
    const { queue, transport } = this.#ties;
    const fetched = await transport.fetch();
    if (!this.#ties.isOn() || this.#framing !== undefined) return;
    queue.push(this.disk.goOn(fetched));
    transport.readBuffered();
    this.#readHere();
  }

  /** Out of this process: what of a payload has come goes back into the queue, in front. Only once `moved`. */
  leaveOff(): BegunPayload | undefined {
    const { queue } = this.#ties;
    const left = this.#framing?.leaveOff();
    const rest = queue.take(queue.length);
    for (const bytes of [left?.collected, rest]) if (bytes !== undefined) queue.push(bytes);
    return left?.begun;
  }

  /** Resolves when it is either here or in the lanes. */
  async moved(): Promise<void> {
    await this.#moving;
  }

  /** Or here, where they can't have it. */
  async #toLanes(): Promise<void> {
    if (await this.#carry()) return;
    if (this.#ties.isOn() && this.#framing === undefined) this.#readHere();
  }

  async #carry(): Promise<boolean> {
    const { queue, transport, lanes, mayMove, over, failed } = this.#ties;
    const { board, terms } = this.disk.use;
    // Nobody but our own client has headers of the other length, and what comes by TLS is for OpenSSL alone.
    const mayBe = terms.requests === COMPACT_REQUESTS && !transport.isSecured;
    if (board.disk.shared === undefined || !mayBe) return false;
    this.#framing = undefined;
    // Until there are lanes nobody looks at what comes.
    transport.pause();
    await Promise.all([transport.flushed(), lanes.ready()]);
    transport.readBuffered();
    if (!mayMove() || queue.length > NBD_LANE_INPUT_BYTES) return false;
    // Not before: another may have taken its place meanwhile.
    const file = board.disk.shared;
    if (file === undefined) return false;
    const input = queue.take(queue.length) ?? new Uint8Array(0);
    const isCarried = transport.carry(lanes, board.name, file, {
      input,
      form: this.disk.laneForm,
      handed: (arrival) => this.disk.handed(arrival),
      over,
      failed,
    });
    if (!isCarried) queue.push(input);
    return isCarried;
  }

  #readHere(begun?: BegunPayload): void {
    const framing = this.disk.framing(this.#ties.queue, this.#ties);
    if (begun !== undefined) framing.goOn(begun);
    this.#framing = framing;
  }
}
