import { CPIO_CONTENT_BYTES_MAX, CPIO_NAME_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { unreachable } from '../../base/unreachable.js';

/** One member of a cpio archive. */
export interface CpioEntry {
  /** Without `./` or `/` in front. As the archive says otherwise: it may hold anything. */
  readonly path: string;
  readonly sizeBytes: number;
}

export interface CpioVisitor {
  /** Answers whether `content` is wanted; more than CPIO_CONTENT_BYTES_MAX is never handed over. */
  entry(entry: CpioEntry): boolean;
  content(entry: CpioEntry, bytes: Uint8Array): void;
}

/**
 * Reads cpio archives one behind the other, in pieces of any size, the way Linux unpacks them (init/initramfs.c):
 *
 *     "070701" | 13 fields of 8 hex digits | name, NUL | pad to 4 | content | pad to 4 | next header …
 *                [6] size        [11] length of name with its NUL
 *
 * The last entry is called `TRAILER!!!`; behind it zeroes, then another archive or something else. People forget that padding
 * counts from the start of the archive, and that the length of the name includes the NUL. "070702" has a checksum that Linux
 * does not look at.
 */
export class CpioReader {
  readonly #visitor: CpioVisitor;
  #state: CpioState = { at: 'between' };
  #position = 0;

  constructor(visitor: CpioVisitor) {
    this.#visitor = visitor;
  }

  /** True where the archive may end: nothing begun, or its trailer was read. */
  get isComplete(): boolean {
    return this.#state.at === 'between';
  }

  /**
   * Takes the next bytes and answers how many of them belong to the archive: fewer than given where, between two archives,
   * something else begins. Throws Malformed; what was visited before was read well.
   */
  feed(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length) {
      const rest = bytes.subarray(taken);
      if (this.#state.at === 'between' && !this.#mayBegin(rest)) return taken + countZeroes(rest);
      const step = this.#step(rest);
      taken += step;
      this.#position += step;
    }
    return taken;
  }

  #mayBegin(rest: Uint8Array): boolean {
    const next = rest[countZeroes(rest)];
    return next === undefined || next === DIGIT_ZERO;
  }

  #step(rest: Uint8Array): number {
    switch (this.#state.at) {
      case 'between': {
        const zeroes = countZeroes(rest);
        // Padding counts from here on: an archive begins.
        if (zeroes < rest.length) {
          this.#position = -zeroes;
          this.#state = headerState();
        }
        return zeroes;
      }
      case 'padding': {
        const length = Math.min(-this.#position & 3, rest.length);
        if (length === (-this.#position & 3)) this.#state = this.#state.next;
        return length;
      }
      case 'header':
        return this.#collect(this.#state, rest, (collected) => this.#onHeader(collected));
      case 'name':
        return this.#collect(this.#state, rest, (collected) => this.#onName(collected));
      case 'content':
        return this.#collect(this.#state, rest, (collected) => this.#onContent(collected));
      case 'skipping': {
        const length = Math.min(this.#state.leftBytes, rest.length);
        const leftBytes = this.#state.leftBytes - length;
        this.#state = leftBytes > 0 ? { at: 'skipping', leftBytes } : { at: 'padding', next: headerState() };
        return length;
      }
      default:
        return unreachable(this.#state);
    }
  }

  #collect<State extends Collecting>(state: State, rest: Uint8Array, onFull: (state: State) => void): number {
    const length = Math.min(state.bytes.length - state.filled, rest.length);
    state.bytes.set(rest.subarray(0, length), state.filled);
    state.filled += length;
    if (state.filled === state.bytes.length) onFull(state);
    return length;
  }

  #onHeader({ bytes }: Collecting): void {
    const text = Buffer.from(bytes).toString('latin1');
    if (text.startsWith('070707')) throw new Malformed('cpio of the old kind ("070707"); Linux needs `cpio -H newc`');
    if (!/^07070[12][0-9a-fA-F]{104}$/.test(text)) throw new Malformed('no cpio header ("070701") where one should be');
    const field = (index: number) => Number.parseInt(text.slice(6 + index * 8, 14 + index * 8), 16);
    const nameBytes = field(NAME_LENGTH_FIELD);
    if (nameBytes < 1 || nameBytes > CPIO_NAME_BYTES_MAX) throw new Malformed(`a name of ${nameBytes} bytes in cpio`);
    this.#state = { at: 'name', bytes: new Uint8Array(nameBytes), filled: 0, sizeBytes: field(SIZE_FIELD) };
  }

  #onName({ bytes, sizeBytes }: CollectingName): void {
    const end = bytes.indexOf(0);
    const name = Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
    if (name === TRAILER) {
      this.#state = { at: 'between' };
      return;
    }
    const entry = { path: name.replace(/^(\.?\/)+/, ''), sizeBytes };
    const wanted = this.#visitor.entry(entry) && sizeBytes > 0 && sizeBytes <= CPIO_CONTENT_BYTES_MAX;
    const body: CpioState = wanted
      ? { at: 'content', bytes: new Uint8Array(sizeBytes), filled: 0, entry }
      : { at: 'skipping', leftBytes: sizeBytes };
    this.#state = { at: 'padding', next: sizeBytes > 0 ? body : headerState() };
  }

  #onContent({ bytes, entry }: CollectingContent): void {
    this.#visitor.content(entry, bytes);
    this.#state = { at: 'padding', next: headerState() };
  }
}

interface Collecting {
  readonly bytes: Uint8Array;
  filled: number;
}
interface CollectingName extends Collecting {
  readonly sizeBytes: number;
}
interface CollectingContent extends Collecting {
  readonly entry: CpioEntry;
}

type CpioState =
  | { readonly at: 'between' }
  | ({ readonly at: 'header' } & Collecting)
  | ({ readonly at: 'name' } & CollectingName)
  | ({ readonly at: 'content' } & CollectingContent)
  | { readonly at: 'skipping'; readonly leftBytes: number }
  /** To the next multiple of four; may be no byte at all. */
  | { readonly at: 'padding'; readonly next: CpioState };

const HEADER_BYTES = 110;
/** Of the thirteen fields behind the magic, counted from 0. */
const SIZE_FIELD = 6;
const NAME_LENGTH_FIELD = 11;
const TRAILER = 'TRAILER!!!';
const DIGIT_ZERO = 0x30;

function headerState(): CpioState {
  return { at: 'header', bytes: new Uint8Array(HEADER_BYTES), filled: 0 };
}

function countZeroes(bytes: Uint8Array): number {
  let count = 0;
  while (count < bytes.length && bytes[count] === 0) count += 1;
  return count;
}
