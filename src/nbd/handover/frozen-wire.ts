/**
 * A board's connections as they lie in `state/handover/NAME` between two processes: a line of JSON, then the CRC-32 of that line in hex.
 * Bytes are Base64, numbers of 64 bits are decimal texts. A program reads what the one before it has written, so a version that it
 * does not know is a later one's.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { Malformed } from '../../base/malformed.js';
import type { HostTime } from '../../os/host-time.js';
import { Command, Errno, type ErrnoName } from '../wire/constants.js';
import type { FrozenConnection } from './frozen-connection.js';

/** All that one board had open. */
export interface FrozenBoard {
  readonly board: string;
  /** What its disk lay on: another one is not what its kernel knows. */
  readonly disk: string;
  /** When that was written last, in nanoseconds; undefined where nobody knows. */
  readonly modified: string | undefined;
  readonly at: HostTime;
  /** What stands in for it in the packet filter: it may not be ours by name any more, where the state folder was moved. */
  readonly hold: string | undefined;
  readonly connections: readonly FrozenConnection[];
}

const VERSION = 1;

const bytes = z.base64().transform((text): Uint8Array => Buffer.from(text, 'base64'));
const u32 = z.number().int().min(0).max(0xffff_ffff);
const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt)
  .refine((number) => number < 1n << 64n);
const length = z.number().int().min(0);
const request = z.object({ flags: u32, command: u32, cookie: u64, offset: u64, lengthBytes: length });
const errno = z.string().transform((name, context): ErrnoName => {
  if (isErrnoName(name)) return name;
  context.addIssue({ code: 'custom', message: 'no errno' });
  return z.NEVER;
});

const TCP = z.object({
  ...{ local: bytes, peer: bytes, sendSequence: u32, receiveSequence: u32, unacknowledged: bytes, unsent: bytes },
  ...{ segmentBytes: u32, options: u32, sendScale: u32, receiveScale: u32, timestamp: u32, window: bytes },
});

const LEFT_OF_WRITE = z.object({
  pieces: z.array(z.object({ at: length, bytes })),
  hasCome: z.boolean(),
  failure: errno.optional(),
});

const CONNECTION = z.object({
  board: z.string(),
  peer: z.string(),
  terms: z.object({ replies: z.enum(['simple', 'structured', 'extended']), tellsAllocation: z.boolean() }),
  socket: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('tcp'), tcp: TCP }),
    z.object({ kind: z.literal('stored'), name: z.string() }),
  ]),
  input: bytes,
  begun: z
    .object({ request, leftBytes: length })
    .refine(({ request: { lengthBytes }, leftBytes }) => leftBytes <= lengthBytes)
    .optional(),
  unanswered: z.array(
    z
      .object({ request, write: LEFT_OF_WRITE.optional() })
      .refine(({ request: { command, lengthBytes }, write }) =>
        command === Command.Write
          ? (write?.pieces ?? []).every(({ at, bytes }) => at + bytes.length <= lengthBytes)
          : write === undefined && command !== Command.Disc,
      ),
  ),
  unsent: bytes,
});

const FILE = z.object({
  version: z.literal(VERSION),
  board: z.string(),
  disk: z.string(),
  modified: z.string().optional(),
  hold: z
    .string()
    .regex(/^[A-Za-z0-9_]{1,60}$/)
    .optional(),
  hostBoot: z.string().optional(),
  uptimeMs: z.number(),
  connections: z.array(CONNECTION),
});

export function encodeFrozenBoard({ board, disk, modified, at, hold, connections }: FrozenBoard): string {
  const line = JSON.stringify({
    version: VERSION,
    board,
    disk,
    modified,
    ...at,
    hold,
    connections: asWords(connections),
  });
  return `${line}\n${checksum(line)}\n`;
}

/** Payloads, replies and whatever else is kept of the peers: nearly all of what is written. */
export function bytesUnderWay({ connections }: FrozenBoard): number {
  const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
  const all = connections.map(({ socket, input, unsent, unanswered }) => {
    const queued = socket.kind === 'tcp' ? socket.tcp.unacknowledged.length + socket.tcp.unsent.length : 0;
    const payloads = unanswered.flatMap(({ write }) => write?.pieces.map(({ bytes }) => bytes.length) ?? []);
    return queued + input.length + unsent.length + sum(payloads);
  });
  return sum(all);
}

/** Throws Malformed. */
export function decodeFrozenBoard(board: string, text: string): FrozenBoard {
  const [line = '', sum = ''] = text.split('\n');
  if (checksum(line) !== sum) throw new Malformed('it is damaged: its checksum does not fit');
  const parsed = FILE.safeParse(parsedJson(line));
  if (!parsed.success) throw new Malformed(`it is another program's: ${z.prettifyError(parsed.error).split('\n')[0]}`);
  const { hostBoot, uptimeMs, disk, modified, hold, connections } = parsed.data;
  const isOthers = parsed.data.board !== board || connections.some((connection) => connection.board !== board);
  if (isOthers) throw new Malformed(`it is that of ${JSON.stringify(parsed.data.board)}`);
  return { board, disk, modified, at: { hostBoot, uptimeMs }, hold, connections: connections.map(asFrozen) };
}

/** What may be missing is undefined here, and not merely not there. */
function asFrozen({ begun, unanswered, ...connection }: z.output<typeof CONNECTION>): FrozenConnection {
  return {
    ...connection,
    begun,
    unanswered: unanswered.map((each) => ({
      request: each.request,
      write: each.write && { ...each.write, failure: each.write.failure },
    })),
  };
}

/** Not by what JSON.stringify would have called: a Buffer makes a list of numbers of itself first. */
function asWords(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64');
  if (Array.isArray(value)) return value.map(asWords);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, asWords(each)]));
}

function parsedJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new Malformed('it is no JSON');
  }
}

function isErrnoName(name: string): name is ErrnoName {
  return Object.hasOwn(Errno, name);
}

function checksum(line: string): string {
  return crc32(line).toString(16).padStart(8, '0');
}
