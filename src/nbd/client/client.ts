import { createConnection, type Socket } from 'node:net';
import type { Clock } from '../../base/clock.js';
import {
  NBD_CLIENT_PATIENCE_MS,
  NBD_LIST_ENTRIES_MAX,
  NBD_NAME_BYTES_MAX,
  NBD_OPTION_REPLY_BYTES_MAX,
} from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { ByteSource } from '../wire/byte-source.js';
import { ClientFlag, EXPORT_NAME_ZEROES, HandshakeFlag, Info, Option, OptionReply } from '../wire/constants.js';
import {
  decodeExportNameReply,
  decodeGreeting,
  decodeInfoReply,
  decodeName,
  decodeOptionReplyHeader,
  decodeServerEntry,
  type ExportFacts,
  encodeClientFlags,
  encodeExportRequest,
  encodeOption,
  GREETING_BYTES,
  type InfoReply,
  isOptionError,
  OPTION_REPLY_HEADER_BYTES,
} from '../wire/handshake-wire.js';
import {
  decodeMetaContext,
  encodeMetaContextRequest,
  type MetaContext,
  type MetaContextRequest,
} from '../wire/meta-context-wire.js';
import { NbdDisk } from './client-disk.js';
import { NbdDisconnected, NbdRefused } from './client-errors.js';
import type { ReplyStyle } from './client-replies.js';

/** Our own client: what pretend boards, tests and the demo attach disks with. Simple replies, as Linux, unless it is asked for more. */

export interface NbdTarget {
  readonly host: string;
  readonly port: number;
  /** The address to come from; the system's choice otherwise. */
  readonly localAddress?: string;
  /** For connecting and for each option; NBD_CLIENT_PATIENCE_MS otherwise. */
  readonly patienceMs?: number;
  /** What to answer to the greeting; both flags otherwise. Without NO_ZEROES is how old clients are. */
  readonly clientFlags?: number;
}

/** Rejects with Node's error if nobody listens, `Malformed` if that is no newstyle NBD server, `NbdDisconnected`. */
export async function connectNbd(target: NbdTarget, clock: Clock): Promise<NbdHaggling> {
  const { host, port, localAddress, patienceMs = NBD_CLIENT_PATIENCE_MS } = target;
  const socket = createConnection({
    host,
    port,
    noDelay: true,
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  const patience = clock.after(patienceMs, () => socket.destroy(new NbdDisconnected('no answer in time')));
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const source = new ByteSource(socket);
    const offered = decodeGreeting(await source.exactly(GREETING_BYTES));
    const clientFlags = target.clientFlags ?? offered & (ClientFlag.FixedNewstyle | ClientFlag.NoZeroes);
    socket.write(encodeClientFlags(clientFlags));
    const zeroes = (offered & HandshakeFlag.NoZeroes) === 0 || (clientFlags & ClientFlag.NoZeroes) === 0;
    return new NbdHaggling(socket, source, { clock, patienceMs, zeroes });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    patience.cancel();
  }
}

interface HagglingFacts {
  readonly clock: Clock;
  readonly patienceMs: number;
  /** The reply to EXPORT_NAME ends in 124 of them. */
  readonly zeroes: boolean;
}

/** A connection that has no export yet. One option at a time: each method waits for its final reply. */
export class NbdHaggling {
  readonly #socket: Socket;
  readonly #source: ByteSource;
  readonly #facts: HagglingFacts;
  #replies: ReplyStyle = 'simple';

  constructor(socket: Socket, source: ByteSource, facts: HagglingFacts) {
    this.#socket = socket;
    this.#source = source;
    this.#facts = facts;
  }

  /** Names of the exports. */
  async list(): Promise<readonly string[]> {
    const bodies = await this.#ask(Option.List, new Uint8Array(0));
    return bodies.map((body) => decodeServerEntry(body).exportName);
  }

  /** What the server tells of an export, without using it. */
  async info(exportName: string, infoRequests: readonly number[] = [Info.BlockSize]): Promise<readonly InfoReply[]> {
    const bodies = await this.#ask(Option.Info, encodeExportRequest({ exportName, infoRequests }));
    return bodies.map(decodeInfoReply);
  }

  /** Replies in chunks from then on. */
  async structuredReplies(): Promise<void> {
    await this.#ask(Option.StructuredReply, new Uint8Array(0));
    this.#replies = 'structured';
  }

  /** Requests and replies in the long headers from then on. */
  async extendedHeaders(): Promise<void> {
    await this.#ask(Option.ExtendedHeaders, new Uint8Array(0));
    this.#replies = 'extended';
  }

  /** Those that the server has for this export, and that match. */
  listMetaContexts(exportName: string, queries: readonly string[] = []): Promise<readonly MetaContext[]> {
    return this.#metaContexts(Option.ListMetaContext, { exportName, queries });
  }

  /** Those that can be asked for by `blockStatus` from then on. */
  setMetaContexts(exportName: string, queries: readonly string[]): Promise<readonly MetaContext[]> {
    return this.#metaContexts(Option.SetMetaContext, { exportName, queries });
  }

  /** Uses the export: nothing more can be asked of this object afterwards. After NbdRefused it can. */
  async go(exportName: string, infoRequests: readonly number[] = []): Promise<NbdDisk> {
    const bodies = await this.#ask(Option.Go, encodeExportRequest({ exportName, infoRequests }));
    const facts = bodies.map(decodeInfoReply).find((info) => info.kind === 'export');
    if (facts === undefined) throw new Malformed('a server that accepts GO must tell the size');
    return this.#use(facts);
  }

  /** As clients did before GO: a server that refuses closes the connection. */
  async exportName(exportName: string): Promise<NbdDisk> {
    const facts = await this.#patiently(async () => {
      this.#socket.write(encodeOption(Option.ExportName, new TextEncoder().encode(exportName)));
      const bytes = await this.#source.exactly(10 + (this.#facts.zeroes ? EXPORT_NAME_ZEROES : 0));
      return decodeExportNameReply(bytes);
    });
    return this.#use(facts);
  }

  /** Takes leave as the protocol wants it. */
  async abort(): Promise<void> {
    await this.#ask(Option.Abort, new Uint8Array(0));
    this.#socket.destroy();
  }

  /** Drops the connection. */
  destroy(): void {
    this.#socket.destroy();
  }

  async #metaContexts(option: number, request: MetaContextRequest): Promise<readonly MetaContext[]> {
    return (await this.#ask(option, encodeMetaContextRequest(request))).map(decodeMetaContext);
  }

  #use({ sizeBytes, transmissionFlags }: ExportFacts): NbdDisk {
    if (sizeBytes > BigInt(Number.MAX_SAFE_INTEGER)) throw new Malformed(`an export of ${sizeBytes} bytes`);
    return new NbdDisk(this.#socket, this.#source, {
      sizeBytes: Number(sizeBytes),
      transmissionFlags,
      replies: this.#replies,
    });
  }

  /** Bodies of the replies before the final ACK. */
  #ask(option: number, body: Uint8Array): Promise<readonly Uint8Array[]> {
    return this.#patiently(async () => {
      this.#socket.write(encodeOption(option, body));
      const bodies: Uint8Array[] = [];
      while (bodies.length <= NBD_LIST_ENTRIES_MAX) {
        const { reply, body: answer } = await this.#optionReply(option);
        if (reply === OptionReply.Ack) return bodies;
        if (isOptionError(reply)) throw new NbdRefused(reply, decodeName(answer.subarray(0, NBD_NAME_BYTES_MAX)));
        bodies.push(answer.slice());
      }
      throw new Malformed(`more than ${NBD_LIST_ENTRIES_MAX} replies to option ${option}`);
    });
  }

  async #optionReply(option: number): Promise<{ readonly reply: number; readonly body: Uint8Array }> {
    const header = decodeOptionReplyHeader(await this.#source.exactly(OPTION_REPLY_HEADER_BYTES));
    if (header.option !== option) throw new Malformed(`a reply to option ${header.option}, asked was ${option}`);
    if (header.lengthBytes > NBD_OPTION_REPLY_BYTES_MAX) throw new Malformed(`a reply of ${header.lengthBytes} bytes`);
    return { reply: header.reply, body: await this.#source.exactly(header.lengthBytes) };
  }

  async #patiently<T>(action: () => Promise<T>): Promise<T> {
    const { clock, patienceMs } = this.#facts;
    const patience = clock.after(patienceMs, () => this.#socket.destroy(new NbdDisconnected('no answer in time')));
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof NbdRefused)) this.#socket.destroy();
      throw error;
    } finally {
      patience.cancel();
    }
  }
}
