import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { ByteQueue } from '../../src/nbd/wire/byte-queue.js';
import {
  type ChunkBody,
  type ChunkHead,
  decodeChunkBody,
  decodeStructuredHead,
  STRUCTURED_HEAD_BYTES,
} from '../../src/nbd/wire/chunk-wire.js';
import { Option, OptionReply } from '../../src/nbd/wire/constants.js';
import {
  decodeOptionReplyHeader,
  decodeServerEntry,
  encodeClientFlags,
  encodeExportRequest,
  encodeOption,
  GREETING_BYTES,
  OPTION_REPLY_HEADER_BYTES,
} from '../../src/nbd/wire/handshake-wire.js';
import { decodeSimpleReply, SIMPLE_REPLY_BYTES } from '../../src/nbd/wire/transmission-wire.js';

/** A client that says whatever a test wants, in bytes, and reads only when it is told to. */
export class RawNbd {
  readonly socket: Socket;
  readonly #queue = new ByteQueue();
  /** The socket, or TLS over it. */
  #stream: Duplex;
  #isClosed = false;
  #wake: () => void = () => {};

  /** `place`: a port, or the path of a Unix socket. */
  constructor(place: number | string, localAddress = '127.0.0.1') {
    this.socket = connect(
      typeof place === 'string' ? { path: place } : { host: '127.0.0.1', port: place, localAddress, noDelay: true },
    );
    this.#stream = this.socket;
    this.#listen();
  }

  /** Resolves when the kernel has taken the bytes, or the connection is gone. */
  send(...parts: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => this.#stream.write(Buffer.concat(parts), () => resolve()));
  }

  /** Exactly so many bytes; undefined if the connection ends before. */
  async receive(length: number): Promise<Uint8Array | undefined> {
    this.#stream.resume();
    for (;;) {
      const bytes = this.#queue.take(length);
      if (bytes !== undefined) return bytes;
      if (this.#isClosed) return undefined;
      await this.#next();
    }
  }

  async optionReply(): Promise<
    { readonly option: number; readonly reply: number; readonly body: Uint8Array } | undefined
  > {
    const header = await this.receive(OPTION_REPLY_HEADER_BYTES);
    if (header === undefined) return undefined;
    const { option, reply, lengthBytes } = decodeOptionReplyHeader(header);
    const body = await this.receive(lengthBytes);
    return body === undefined ? undefined : { option, reply, body };
  }

  /** Names of the disks that it is shown; undefined if the connection ends before. */
  async listed(): Promise<readonly string[] | undefined> {
    await this.send(encodeOption(Option.List, new Uint8Array(0)));
    const names: string[] = [];
    for (;;) {
      const answer = await this.optionReply();
      if (answer === undefined) return undefined;
      if (answer.reply !== OptionReply.Server) return names;
      names.push(decodeServerEntry(answer.body).exportName);
    }
  }

  /** The first reply's code. */
  async optionReplyTo(option: Uint8Array): Promise<number | undefined> {
    await this.send(option);
    return (await this.optionReply())?.reply;
  }

  async reply(): Promise<{ readonly error: number; readonly cookie: bigint } | undefined> {
    const header = await this.receive(SIMPLE_REPLY_BYTES);
    return header === undefined ? undefined : decodeSimpleReply(header);
  }

  async chunkHead(): Promise<ChunkHead | undefined> {
    const head = await this.receive(STRUCTURED_HEAD_BYTES);
    return head === undefined ? undefined : decodeStructuredHead(head);
  }

  /** One chunk; data is a view: look at it before the next. */
  async chunk(): Promise<(ChunkHead & { readonly body: ChunkBody }) | undefined> {
    const head = await this.chunkHead();
    const bytes = head === undefined ? undefined : await this.receive(head.lengthBytes);
    if (head === undefined || bytes === undefined) return undefined;
    return { ...head, body: decodeChunkBody(head.type, bytes) };
  }

  /** Resolves when the connection is gone, reading and dropping what still comes. */
  async ended(): Promise<void> {
    this.#stream.resume();
    while (!this.#isClosed) {
      this.#queue.clear();
      await this.#next();
    }
  }

  /** Past the greeting. */
  async greeted(flags = 3): Promise<this> {
    await this.receive(GREETING_BYTES);
    await this.send(encodeClientFlags(flags));
    return this;
  }

  /** Past STARTTLS and its reply: the next byte has to be TLS. */
  async tlsPromised(): Promise<this> {
    await this.send(encodeOption(Option.StartTls, new Uint8Array(0)));
    assert.equal((await this.optionReply())?.reply, OptionReply.Ack);
    return this;
  }

  /** Over TLS from here on. Rejects with what OpenSSL says; in TLS 1.3 a server that turns us away says so only later. */
  async overTls(options: ConnectionOptions): Promise<TLSSocket> {
    await this.tlsPromised();
    return this.tls(options);
  }

  /** The same where it is promised already. */
  async tls(options: ConnectionOptions): Promise<TLSSocket> {
    this.socket.removeAllListeners('data');
    const secured = connectTls({ ...options, socket: this.socket });
    this.#stream = secured;
    this.#listen();
    await new Promise((resolve, reject) => {
      secured.once('secureConnect', resolve);
      secured.once('error', reject);
      secured.once('close', () => reject(new Error('closed')));
    });
    return secured;
  }

  /** Through GO, ready for requests; reads nothing from here on unless asked. */
  async transmitting(exportName = 'node1'): Promise<this> {
    await this.greeted();
    return this.gone(exportName);
  }

  /** The same where it has haggled already. */
  async gone(exportName = 'node1'): Promise<this> {
    await this.send(encodeOption(Option.Go, encodeExportRequest({ exportName, infoRequests: [] })));
    await this.optionReply();
    await this.optionReply();
    this.#stream.pause();
    return this;
  }

  /** The same with replies in chunks. */
  async transmittingInChunks(exportName = 'node1'): Promise<this> {
    await this.greeted();
    await this.send(
      encodeOption(Option.StructuredReply, new Uint8Array(0)),
      encodeOption(Option.Go, encodeExportRequest({ exportName, infoRequests: [] })),
    );
    for (let left = 3; left > 0; left -= 1) await this.optionReply();
    this.socket.pause();
    return this;
  }

  destroy(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  #listen(): void {
    this.#stream.on('error', () => {});
    this.#stream.on('data', (chunk: Uint8Array) => {
      this.#queue.push(chunk);
      this.#wake();
    });
    this.#stream.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
    this.#stream.pause();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** One that is gone when the test is over. */
export function rawNbd(context: TestContext, place: number | string, localAddress?: string): RawNbd {
  const raw = new RawNbd(place, localAddress);
  context.after(() => raw.destroy());
  return raw;
}
