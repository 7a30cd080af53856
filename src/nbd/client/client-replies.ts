import { Malformed } from '../../base/malformed.js';
import type { ByteSource } from '../wire/byte-source.js';
import {
  type ChunkBody,
  type ChunkHead,
  DATA_OFFSET_BYTES,
  type Descriptor,
  decodeChunkBody,
  decodeExtendedHead,
  decodeStructuredHead,
  EXTENDED_HEAD_BYTES,
  STRUCTURED_HEAD_BYTES,
} from '../wire/chunk-wire.js';
import { Magic, ReplyFlag, ReplyType } from '../wire/constants.js';
import { decodeSimpleReply, SIMPLE_REPLY_BYTES } from '../wire/transmission-wire.js';
import { NbdFailed } from './client-errors.js';

/** What our client reads replies with. */
export type ReplyStyle = 'simple' | 'structured' | 'extended';

/** The front of a reply, or of one of its chunks. */
export type ReplyHead =
  | { readonly kind: 'simple'; readonly cookie: bigint; readonly error: number }
  | ({ readonly kind: 'chunk' } & ChunkHead);

export async function readReplyHead(source: ByteSource, style: ReplyStyle): Promise<ReplyHead> {
  if (style === 'extended') return { kind: 'chunk', ...decodeExtendedHead(await source.exactly(EXTENDED_HEAD_BYTES)) };
  const first = await source.exactly(SIMPLE_REPLY_BYTES);
  if (style === 'simple' || new DataView(first.buffer, first.byteOffset).getUint32(0) !== Magic.StructuredReply) {
    return { kind: 'simple', ...decodeSimpleReply(first) };
  }
  const rest = await source.exactly(STRUCTURED_HEAD_BYTES - SIMPLE_REPLY_BYTES);
  return { kind: 'chunk', ...decodeStructuredHead(Buffer.concat([first, rest])) };
}

/** One reply that is put together from its chunks. */
export class Assembly {
  /** Where in the export the READ begins, and what its data fills; empty for other commands. */
  readonly #offset: number;
  readonly #target: Uint8Array;
  #coveredBytes = 0;
  #extents: readonly Descriptor[] = [];
  #failure: NbdFailed | undefined;

  constructor(offset: number, target: Uint8Array) {
    this.#offset = offset;
    this.#target = target;
  }

  get failure(): NbdFailed | undefined {
    return this.#failure;
  }

  /** What a BLOCK_STATUS was told. */
  get extents(): readonly Descriptor[] {
    return this.#extents;
  }

  /** Rejects with Malformed where the server breaks the protocol. */
  async take(source: ByteSource, head: ChunkHead): Promise<void> {
    if (head.type === ReplyType.OffsetData && head.lengthBytes > DATA_OFFSET_BYTES) {
      const at = new DataView(Uint8Array.from(await source.exactly(DATA_OFFSET_BYTES)).buffer).getBigUint64(0);
      await source.fill(this.#place(at, head.lengthBytes - DATA_OFFSET_BYTES));
      return;
    }
    if (head.lengthBytes > CHUNK_BYTES_MAX) throw new Malformed(`a chunk of ${head.lengthBytes} bytes`);
    this.#accept(decodeChunkBody(head.type, await source.exactly(head.lengthBytes)), head);
  }

  /** The last chunk was taken. */
  finish(): void {
    if (this.#failure === undefined && this.#coveredBytes !== this.#target.length) {
      throw new Malformed(`${this.#coveredBytes} of ${this.#target.length} bytes, and no error`);
    }
  }

  #accept(body: ChunkBody, { flags }: ChunkHead): void {
    switch (body.kind) {
      case 'none':
        if ((flags & ReplyFlag.Done) === 0) throw new Malformed('a NONE that is not the last chunk');
        break;
      case 'hole':
        this.#place(body.offset, body.lengthBytes).fill(0);
        break;
      case 'blockStatus':
      case 'blockStatusExtended':
        this.#extents = body.extents;
        break;
      case 'error':
        this.#failure ??= new NbdFailed(body.error, body.sentence);
        break;
      case 'errorAt':
        this.#failure ??= new NbdFailed(body.error, body.sentence, Number(body.offset));
        break;
      default:
        throw new Malformed(`a chunk ${body.kind} out of place`);
    }
  }

  #place(offset: bigint, lengthBytes: number): Uint8Array {
    const from = Number(offset) - this.#offset;
    if (from < 0 || from + lengthBytes > this.#target.length) {
      throw new Malformed(`${lengthBytes} bytes at ${offset}, which nobody asked for`);
    }
    this.#coveredBytes += lengthBytes;
    return this.#target.subarray(from, from + lengthBytes);
  }
}

/** Of chunks without data: a BLOCK_STATUS may have 2²⁰ extents. */
const CHUNK_BYTES_MAX = 8 + 16 * 2 ** 20;
