import { NBD_PIECE_BYTES, NBD_SPARSE_READ_BYTES_MIN } from '../base/limits.js';
import { BlockError } from '../block/block-error.js';
import type { ErrnoName } from './constants.js';
import type { DeviceReader } from './device-reader.js';
import type { Replies } from './replies.js';
import type { RequestsUnderWay, Running } from './requests-under-way.js';
import type { SessionWorld } from './session-world.js';
import { type Run, runsOf } from './sparse-runs.js';
import type { NbdRequest } from './transmission-wire.js';

type Piece =
  | { readonly kind: 'chunks'; readonly chunks: readonly Uint8Array[] }
  | { readonly kind: 'failed'; readonly errno: ErrnoName; readonly at: number };

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
    const running = this.#underWay.begin(request, Math.min(lengthBytes, 2 * NBD_PIECE_BYTES));
    this.#underWay.task(() => this.#read(running, offset, offset + lengthBytes));
  }

  /** One piece goes to the peer while the next is read. */
  async #read(running: Running, offset: number, end: number): Promise<void> {
    let sent = Promise.resolve(true);
    for (let at = offset; at < end; at += NBD_PIECE_BYTES) {
      const piece = await this.#prepare(running.request, at, Math.min(at + NBD_PIECE_BYTES, end), end);
      if (!(await sent)) break;
      if (piece.kind === 'failed') {
        this.#replies.failed(running, piece.errno, piece.at);
        return;
      }
      sent = this.#send(piece.chunks);
    }
    await sent;
    this.#underWay.measure(running, undefined);
    this.#underWay.release(running);
  }

  async #prepare(request: NbdRequest, from: number, to: number, end: number): Promise<Piece> {
    const { form, pool } = this.#world;
    const chunks: Uint8Array[] = [];
    for (const { offset, lengthBytes, isZero } of await this.#runs(from, to)) {
      const isLast = offset + lengthBytes === end;
      if (isZero) {
        chunks.push(form.encodeHole(request, offset, lengthBytes, isLast));
        continue;
      }
      const chunk = pool.take(form.dataHeadBytes + lengthBytes);
      const errno = await this.#reader.fill(offset, chunk.subarray(form.dataHeadBytes));
      if (errno !== undefined) return { kind: 'failed', errno, at: offset };
      form.encodeDataHead(request, offset, isLast, chunk);
      chunks.push(chunk);
    }
    return { kind: 'chunks', chunks };
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

  /** Whether all of them arrived in the kernel. */
  async #send(chunks: readonly Uint8Array[]): Promise<boolean> {
    const { outbox, pool } = this.#world;
    const arrivals = chunks.map(
      (chunk) =>
        new Promise<boolean>((resolve) => {
          outbox.send(chunk, (arrived) => {
            if (arrived) pool.give(chunk);
            resolve(arrived);
          });
        }),
    );
    return (await Promise.all(arrivals)).every((arrived) => arrived);
  }
}
