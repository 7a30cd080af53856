/**
 * TFTP packets, bytes to messages and back (RFC 1350, RFC 2347).
 *
 * Any bytes at all decode to a packet or throw `Malformed`. What is behind a packet's end is not looked at: a Pi 5 pads its
 * frames with zeroes (raspberrypi/firmware#1898), and some clients put a NUL too many behind the mode.
 */
import { TFTP_ERROR_TEXT_BYTES_MAX, TFTP_OPTIONS_MAX, TFTP_REQUEST_BYTES_MAX } from '../base/limits.js';
import { Malformed } from '../base/malformed.js';
import { printable, printableAscii } from '../base/printable.js';
import { DATA_HEADER_BYTES, Opcode } from './constants.js';

export type TftpPacket = TftpRequest | TftpData | TftpAck | TftpError | TftpOptionAck | TftpUnknown;

/** RRQ or WRQ. */
export interface TftpRequest {
  readonly kind: 'rrq' | 'wrq';
  /** As asked, read as UTF-8; what is not UTF-8 becomes U+FFFD, so that no odd spelling of "/" or "." gets through. */
  readonly path: string;
  /** Lower case. */
  readonly mode: string;
  readonly options: TftpOptions;
}

/** Lower-case name to value as written, in the order asked. */
export type TftpOptions = ReadonlyMap<string, string>;

export interface TftpData {
  readonly kind: 'data';
  /** 0 to 65535. */
  readonly block: number;
  /** A view of the packet. */
  readonly payload: Uint8Array;
}

export interface TftpAck {
  readonly kind: 'ack';
  /** 0 to 65535. */
  readonly block: number;
}

export interface TftpError {
  readonly kind: 'error';
  readonly code: number;
  readonly message: string;
}

export interface TftpOptionAck {
  readonly kind: 'oack';
  readonly options: TftpOptions;
}

export interface TftpUnknown {
  readonly kind: 'unknown';
  readonly opcode: number;
}

/** The first two bytes; undefined if there are fewer. Tells whether an answer to a faulty packet is safe. */
export function opcodeOf(bytes: Uint8Array): number | undefined {
  const [high, low] = bytes;
  return high === undefined || low === undefined ? undefined : high * 0x100 + low;
}

export function decodePacket(bytes: Uint8Array): TftpPacket {
  const opcode = opcodeOf(bytes);
  if (opcode === undefined) throw new Malformed(`a packet of ${bytes.length} bytes has no opcode`);
  switch (opcode) {
    case Opcode.RRQ:
      return decodeRequest('rrq', bytes);
    case Opcode.WRQ:
      return decodeRequest('wrq', bytes);
    case Opcode.DATA:
      return { kind: 'data', block: secondWord(bytes), payload: bytes.subarray(DATA_HEADER_BYTES) };
    case Opcode.ACK:
      return { kind: 'ack', block: secondWord(bytes) };
    case Opcode.ERROR:
      return { kind: 'error', code: secondWord(bytes), message: decodeErrorText(bytes) };
    case Opcode.OACK:
      return { kind: 'oack', options: readOptions(readStrings(bytes)) };
    default:
      return { kind: 'unknown', opcode };
  }
}

/**
 * RRQ and WRQ (RFC 1350 figure 5-1, RFC 2347):
 *
 *      2 bytes    string   1 byte    string   1 byte   string  1 byte   string  1 byte
 *     ┌────────┬──────────┬───┬──────────┬───┬────────┬───┬────────┬───┬ ─ ─
 *     │ 1 or 2 │ filename │ 0 │   mode   │ 0 │ option │ 0 │ value  │ 0 │  …
 *     └────────┴──────────┴───┴──────────┴───┴────────┴───┴────────┴───┴ ─ ─
 */
export function encodeRequest(request: TftpRequest): Uint8Array {
  const opcode = request.kind === 'rrq' ? Opcode.RRQ : Opcode.WRQ;
  return encodeStrings(opcode, [request.path, request.mode, ...[...request.options].flat()]);
}

/**
 * OACK (RFC 2347): only options that were asked for, each with what was agreed on.
 *
 *      2 bytes   string  1 byte   string  1 byte
 *     ┌───────┬────────┬───┬────────┬───┬ ─ ─
 *     │   6   │ option │ 0 │ value  │ 0 │  …
 *     └───────┴────────┴───┴────────┴───┴ ─ ─
 */
export function encodeOptionAck(options: TftpOptions): Uint8Array {
  return encodeStrings(Opcode.OACK, [...options].flat());
}

/**
 * ACK (RFC 1350 figure 5-3):
 *
 *      2 bytes  2 bytes
 *     ┌───────┬─────────┐
 *     │   4   │  block  │
 *     └───────┴─────────┘
 */
export function encodeAck(block: number): Uint8Array {
  return Uint8Array.of(0, Opcode.ACK, (block >> 8) & 0xff, block & 0xff);
}

/**
 * DATA (RFC 1350 figure 5-2), header only: the payload is put behind it by whoever has it, so that no block is copied twice.
 * A block shorter than the negotiated size, an empty one too, is the last.
 *
 *      2 bytes  2 bytes    0 to blksize bytes
 *     ┌───────┬─────────┬─────────── ─ ─
 *     │   3   │  block  │ payload
 *     └───────┴─────────┴─────────── ─ ─
 */
export function writeDataHeader(packet: Uint8Array, block: number): void {
  packet[0] = 0;
  packet[1] = Opcode.DATA;
  packet[2] = (block >> 8) & 0xff;
  packet[3] = block & 0xff;
}

export function encodeData(block: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(DATA_HEADER_BYTES + payload.length);
  writeDataHeader(packet, block);
  packet.set(payload, DATA_HEADER_BYTES);
  return packet;
}

/**
 * ERROR (RFC 1350 figure 5-4). The message is netascii for people: cut at TFTP_ERROR_TEXT_BYTES_MAX, and what is not
 * printable ASCII is a question mark, for it may quote what a peer sent.
 *
 *      2 bytes   2 bytes    string   1 byte
 *     ┌───────┬───────────┬─────────┬───┐
 *     │   5   │ ErrorCode │ message │ 0 │
 *     └───────┴───────────┴─────────┴───┘
 */
export function encodeError(code: number, message: string): Uint8Array {
  const text = printableAscii(message).slice(0, TFTP_ERROR_TEXT_BYTES_MAX);
  const packet = new Uint8Array(DATA_HEADER_BYTES + text.length + 1);
  packet.set([0, Opcode.ERROR, (code >> 8) & 0xff, code & 0xff]);
  packet.set(new TextEncoder().encode(text), DATA_HEADER_BYTES);
  return packet;
}

/** The 16 bits that stand for a block counted without end, or for the distance between two, negative ones too. */
export function wireBlockOf(block: number): number {
  return block & 0xffff;
}

function decodeRequest(kind: 'rrq' | 'wrq', bytes: Uint8Array): TftpRequest {
  if (bytes.length > TFTP_REQUEST_BYTES_MAX) throw new Malformed(`a request of ${bytes.length} bytes`);
  const [path, mode, ...rest] = readStrings(bytes);
  if (path === undefined || mode === undefined) throw new Malformed('a request whose file name or mode has no end');
  return { kind, path, mode: mode.toLowerCase(), options: readOptions(rest) };
}

/**
 * Of an option given twice the first counts (RFC 2347 forbids it): what has been judged once can't be replaced afterwards.
 * A name whose value has no end is dropped, as is an empty name: that is padding.
 */
function readOptions(strings: readonly string[]): TftpOptions {
  const options = new Map<string, string>();
  for (let index = 0; index + 1 < strings.length && options.size < TFTP_OPTIONS_MAX; index += 2) {
    const name = strings[index]?.toLowerCase() ?? '';
    if (name !== '' && !options.has(name)) options.set(name, strings[index + 1] ?? '');
  }
  return options;
}

/** The NUL-terminated strings behind the opcode; what follows the last NUL is not one. */
function readStrings(bytes: Uint8Array): string[] {
  const strings: string[] = [];
  let start = 2;
  for (;;) {
    const end = bytes.indexOf(0, start);
    if (end === -1 || end >= TFTP_REQUEST_BYTES_MAX) return strings;
    strings.push(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(start, end)));
    start = end + 1;
  }
}

function decodeErrorText(bytes: Uint8Array): string {
  const text = bytes.subarray(DATA_HEADER_BYTES, DATA_HEADER_BYTES + TFTP_ERROR_TEXT_BYTES_MAX);
  const end = text.indexOf(0);
  return printable(new TextDecoder().decode(end === -1 ? text : text.subarray(0, end)));
}

function secondWord(bytes: Uint8Array): number {
  const [, , high, low] = bytes;
  if (high === undefined || low === undefined) throw new Malformed(`a packet of ${bytes.length} bytes is cut short`);
  return high * 0x100 + low;
}

/** A NUL in a string would be taken for its end: that is a bug of ours. */
function encodeStrings(opcode: number, strings: readonly string[]): Uint8Array {
  if (strings.some((text) => text.includes('\0'))) throw new RangeError('a string of a TFTP packet holds no NUL');
  const body = new TextEncoder().encode(strings.map((text) => `${text}\0`).join(''));
  const packet = new Uint8Array(2 + body.length);
  packet[1] = opcode;
  packet.set(body, 2);
  return packet;
}
