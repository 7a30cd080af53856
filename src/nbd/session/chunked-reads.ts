import { NBD_PIECE_BYTES, NBD_SPARSE_READ_BYTES_MIN, NBD_STREAMED_BYTES } from '../../base/limits.js';
import { BlockError } from '../../block/block-error.js';
import type { ErrnoName } from '../wire/constants.js';
import type { NbdRequest } from '../wire/transmission-wire.js';
import type { DeviceReader } from './device-reader.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay, Running } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { type Run, runsOf } from './sparse-runs.js';

interface Failure {
  readonly errno: ErrnoName;
  readonly at: number;
}

/**
 * READs whose replies come in chunks. Zeroes that the device knows of are told, not sent; other replies may come between two
 * chunks, and a failure in the middle ends this request and no connection.
 */
export class ChunkedReads {
  readonly #world: SessionWorld;
  readonly #underWay: RequestsUnderWay;
  readonly #replies: Replies;
  readonly #reader: DeviceReader;

  constructor(world: SessionWorld, underWay: RequestsUnderWay, replies: Replies, reader: DeviceReader) {
    this.#world = world;
    this.#underWay = underWay;
    this.#replies = replies;
    this.#reader = reader;
  }

  start(request: NbdRequest): void {
    const { lengthBytes } = request;
    const offset = Number(request.offset);
    // Counts as more than it takes, so that there are few of them at a time: one is read while another is sent.
    const running = this.#underWay.begin(request, Math.min(lengthBytes, NBD_PIECE_BYTES));
    this.#underWay.task(() => this.#read(running, offset, offset + lengthBytes));
  }

  /** What is read was asked for by a client that has taken all before it: one that takes none costs the memory of one chunk. */
  async #read(running: Running, offset: number, end: number): Promise<void> {
    const reply = this.#underWay.answeringInPieces(running);
    await this.#readAll(running, offset, end);
    reply.sent();
  }

  async #readAll(running: Running, offset: number, end: number): Promise<void> {
    for (let at = offset; at < end; at += NBD_PIECE_BYTES) {
      for (const run of await this.#runs(at, Math.min(at + NBD_PIECE_BYTES, end))) {
        const outcome = await this.#sendRun(running.request, run, end);
        if (outcome === 'taken') continue;
        if (outcome === 'gone') this.#over(running);
        else this.#replies.failed(running, outcome.errno, outcome.at);
        return;
      }
    }
    this.#over(running);
  }

  #over(running: Running): void {
    this.#underWay.measure(running, undefined);
    this.#underWay.release(running);
  }

  async #sendRun(request: NbdRequest, run: Run, end: number): Promise<'taken' | 'gone' | Failure> {
    const { form, pool } = this.#world;
    const runEnd = run.offset + run.lengthBytes;
    if (run.isZero) {
      const hole = form.encodeHole(request, run.offset, run.lengthBytes, runEnd === end);
      return (await this.#send(hole)) ? 'taken' : 'gone';
    }
    for (let at = run.offset; at < runEnd; at += NBD_STREAMED_BYTES) {
      const lengthBytes = Math.min(NBD_STREAMED_BYTES, runEnd - at);
      const chunk = pool.take(form.dataHeadBytes + lengthBytes);
      const errno = await this.#reader.fill(at, chunk.subarray(form.dataHeadBytes));
      if (errno !== undefined) return { errno, at };
      form.encodeDataHead(request, at, at + lengthBytes === end, chunk);
      if (!(await this.#send(chunk))) return 'gone';
    }
    return 'taken';
  }

  async #runs(from: number, to: number): Promise<readonly Run[]> {
    const whole = { offset: from, lengthBytes: to - from, isZero: false };
    if (whole.lengthBytes < NBD_SPARSE_READ_BYTES_MIN) return [whole];
    try {
      return runsOf(await this.#world.device.extents(from, whole.lengthBytes));
    } catch (error) {
      if (error instanceof BlockError) return [whole]; // if the disk is broken, the read will say so
      throw error;
    }
  }

  /** Whether it arrived in the kernel. */
  #send(chunk: Uint8Array): Promise<boolean> {
    const { outbox, pool } = this.#world;
    return new Promise((resolve) => {
      outbox.send(chunk, (arrived) => {
        if (arrived) pool.give(chunk);
        resolve(arrived);
      });
    });
  }
}
