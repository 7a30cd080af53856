import type { Duplex } from 'node:stream';
import { Malformed } from '../../base/malformed.js';
import type { ByteSource } from '../wire/byte-source.js';
import type { ChunkHead, Descriptor } from '../wire/chunk-wire.js';
import { Command, CommandFlag, ReplyFlag } from '../wire/constants.js';
import {
  EXTENDED_REQUEST_BYTES,
  encodeExtendedRequest,
  encodeRequest,
  type NbdRequest,
  REQUEST_BYTES,
} from '../wire/transmission-wire.js';
import { NbdDisconnected, NbdFailed } from './client-errors.js';
import { Assembly, type ReplyStyle, readReplyHead } from './client-replies.js';

interface Pending {
  /** What a READ fills; empty for the others. */
  readonly target: Uint8Array;
  readonly assembly: Assembly;
  resolve(extents: readonly Descriptor[]): void;
  reject(error: Error): void;
}

interface RequestParts {
  readonly command: number;
  readonly flags?: number;
  readonly offset?: number;
  readonly lengthBytes?: number;
  readonly payload?: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/**
 * An export in use. Calls may overlap: each is on its way at once, and settles when its own reply comes. Rejects with
 * NbdFailed (the server's errno) or NbdDisconnected; checks nothing by itself, so that a test can ask for nonsense.
 */
export class NbdDisk {
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
  readonly #replies: ReplyStyle;
  readonly #stream: Duplex;
  readonly #source: ByteSource;
  readonly #pending = new Map<bigint, Pending>();
  #nextCookie = 1n;
  #failure: Error | undefined;

  constructor(
    stream: Duplex,
    source: ByteSource,
    facts: { readonly sizeBytes: number; readonly transmissionFlags: number; readonly replies: ReplyStyle },
  ) {
    this.#stream = stream;
    this.#source = source;
    this.sizeBytes = facts.sizeBytes;
    this.transmissionFlags = facts.transmissionFlags;
    this.#replies = facts.replies;
    void this.#receive();
  }

  /** `unfragmented`: DF. */
  async read(
    offset: number,
    lengthBytes: number,
    options: { readonly unfragmented?: boolean } = {},
  ): Promise<Uint8Array> {
    const target = new Uint8Array(lengthBytes);
    const flags = options.unfragmented ? CommandFlag.Df : 0;
    await this.#request({ command: Command.Read, flags, offset, lengthBytes }, target);
    return target;
  }

  /** `durable`: FUA. `payload` may not change until this resolves. */
  write(offset: number, payload: Uint8Array, options: { readonly durable?: boolean } = {}): Promise<void> {
    const flags = options.durable ? CommandFlag.Fua : 0;
    return this.#do({ command: Command.Write, flags, offset, lengthBytes: payload.length, payload });
  }

  flush(): Promise<void> {
    return this.#do({ command: Command.Flush });
  }

  trim(offset: number, lengthBytes: number, options: { readonly durable?: boolean } = {}): Promise<void> {
    return this.#do({ command: Command.Trim, flags: options.durable ? CommandFlag.Fua : 0, offset, lengthBytes });
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    options: { readonly durable?: boolean; readonly keepAllocated?: boolean; readonly fast?: boolean } = {},
  ): Promise<void> {
    const flags =
      (options.durable ? CommandFlag.Fua : 0) |
      (options.keepAllocated ? CommandFlag.NoHole : 0) |
      (options.fast ? CommandFlag.FastZero : 0);
    return this.#do({ command: Command.WriteZeroes, flags, offset, lengthBytes });
  }

  /** Brings the range into the server's memory, if it likes. */
  cache(offset: number, lengthBytes: number): Promise<void> {
    return this.#do({ command: Command.Cache, offset, lengthBytes });
  }

  /** What lies where from `offset` on, as `base:allocation` calls it. `one`: REQ_ONE. */
  blockStatus(
    offset: number,
    lengthBytes: number,
    options: { readonly one?: boolean } = {},
  ): Promise<readonly Descriptor[]> {
    const flags = options.one ? CommandFlag.ReqOne : 0;
    return this.#request({ command: Command.BlockStatus, flags, offset, lengthBytes });
  }

  /** DISC: the server finishes what is under way and closes. Resolves when it has. */
  async disconnect(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      if (this.#stream.closed) resolve();
      else this.#stream.once('close', resolve);
    });
    this.#send({ command: Command.Disc }, 0n);
    await closed;
  }

  /** Drops the connection; what is under way rejects. */
  destroy(): void {
    this.#stream.destroy();
  }

  async #do(parts: RequestParts): Promise<void> {
    await this.#request(parts);
  }

  /** Resolves with the extents of a BLOCK_STATUS; there are none in other replies. */
  #request(parts: RequestParts, target: Uint8Array = NOTHING): Promise<readonly Descriptor[]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const cookie = this.#nextCookie;
    this.#nextCookie += 1n;
    return new Promise((resolve, reject) => {
      const assembly = new Assembly(parts.offset ?? 0, target);
      this.#pending.set(cookie, { target, assembly, resolve, reject });
      this.#send(parts, cookie);
    });
  }

  #send({ command, flags = 0, offset = 0, lengthBytes = 0, payload = NOTHING }: RequestParts, cookie: bigint): void {
    const header = this.#header({ command, flags, cookie, offset: BigInt(offset), lengthBytes });
    this.#stream.cork();
    this.#stream.write(header);
    if (payload.length > 0) this.#stream.write(payload);
    process.nextTick(() => this.#stream.uncork());
  }

  #header(request: NbdRequest): Uint8Array {
    const isExtended = this.#replies === 'extended';
    const header = new Uint8Array(isExtended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES);
    const payload = request.command === Command.Write ? CommandFlag.PayloadLen : 0;
    if (isExtended) encodeExtendedRequest({ ...request, flags: request.flags | payload }, header);
    else encodeRequest(request, header);
    return header;
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#receiveOne();
    } catch (error) {
      this.#failure = error instanceof Error ? error : new NbdDisconnected(String(error));
      this.#stream.destroy();
      for (const { reject } of this.#pending.values()) reject(this.#failure);
      this.#pending.clear();
    }
  }

  async #receiveOne(): Promise<void> {
    const head = await readReplyHead(this.#source, this.#replies);
    const pending = this.#pending.get(head.cookie);
    if (pending === undefined) throw new Malformed(`a reply to ${head.cookie}, which nobody asked`);
    const failure =
      head.kind === 'simple' ? await this.#takeSimple(pending, head.error) : await this.#takeChunk(pending, head);
    if (failure === 'moreToCome') return;
    this.#pending.delete(head.cookie);
    if (failure === undefined) pending.resolve(pending.assembly.extents);
    else pending.reject(failure);
  }

  async #takeSimple({ target }: Pending, error: number): Promise<NbdFailed | undefined> {
    if (error !== 0) return new NbdFailed(error);
    await this.#source.fill(target);
    return undefined;
  }

  async #takeChunk({ assembly }: Pending, head: ChunkHead): Promise<NbdFailed | 'moreToCome' | undefined> {
    await assembly.take(this.#source, head);
    if ((head.flags & ReplyFlag.Done) === 0) return 'moreToCome';
    assembly.finish();
    return assembly.failure;
  }
}
