import { bytesText, durationText } from '../../base/amounts.js';
import { IMAGE_BOARDS_NAMED_MAX, IMAGE_DIGEST_RETRY_MS, IMAGE_LOOK_MS } from '../../base/limits.js';
import type { BlockError } from '../../block/block-error.js';
import type { Pin } from './pin.js';
import type { PinFault } from './pins.js';

/** What is wrong, where, and what to do. */
export interface Refusal {
  readonly problem: string;
  readonly remedy: string;
}

/** What lies there is another version than the one that the boards' overlays were made over. */
export function isAnother(pin: Pin, now: Pin, boards: readonly string[]): Refusal {
  return {
    problem: `${now.file} is no longer what it was: ${overlaysOf(boards)} over the version ${versionText(pin)}, and there is now ${contentText(now)}`,
    remedy: wayOut(boards),
  };
}

/** The same size and another time or inode, and nothing to compare the content with. */
export function cantBeDecided(pin: Pin, now: Pin, boards: readonly string[]): Refusal {
  const touched =
    pin.seen?.kind === 'file' && pin.seen.inode === now.seen?.inode
      ? `if it was only touched, give it its time back (touch -d @${secondsText(pin.seen.mtimeNs)} '${now.file}') and restart the server; else `
      : '';
  return {
    problem: `whether ${now.file} is still what it was can't be told: ${overlaysOf(boards)} over the version ${versionText(pin)}, whose digest was not finished when it was touched or replaced`,
    remedy: `${touched}${wayOut(boards)}`,
  };
}

/** Written to, cut or grown while it is open. */
export function wasWritten(pin: Pin): Refusal {
  return {
    problem: `${pin.file} was written to while it is in use: it is no longer the version ${versionText(pin)}`,
    remedy: `end the program that writes to it and put that version back: it is looked at every ${durationText(IMAGE_LOOK_MS)}. To go on with what is there now, restart the server, and it says which boards have to be reset. Boards that run on it may have read something of both: start them anew`,
  };
}

export function isCompared(
  now: Pin,
  { doneBytes, ofBytes }: { readonly doneBytes: number; readonly ofBytes: number },
): Refusal {
  const percent = ofBytes === 0 ? 100 : Math.floor((doneBytes / ofBytes) * 100);
  return {
    problem: `${now.file} was touched, copied or replaced: all of it is being compared with what it was (${percent} % of ${bytesText(ofBytes)})`,
    remedy: 'wait until that is through: then the board is let in, or it is said what was changed',
  };
}

export function cantBeRead(now: Pin, because: string): Refusal {
  return {
    problem: `${now.file} was touched, copied or replaced, and could not be compared with what it was: ${because}`,
    remedy: `see the host's kernel log (dmesg) for the disk under it; it is tried again after ${durationText(IMAGE_DIGEST_RETRY_MS)}`,
  };
}

export function isUnknown(id: string, path: string, boards: readonly string[]): Refusal {
  return {
    problem: `${overlaysOf(boards)} over version ${id} of an image, and nothing is known of that: ${path} is not there`,
    remedy: `put that file back from a backup of the state folder, or give up what the board has written: ${resetOf(boards)}`,
  };
}

export function isFaulty(id: string, { path, because }: PinFault, boards: readonly string[]): Refusal {
  return {
    problem: `${overlaysOf(boards)} over version ${id} of an image, which ${path} should tell of: ${because}`,
    remedy: `make it readable, or put it back from a backup of the state folder, or give up what the board has written: ${resetOf(boards)}`,
  };
}

export function cantBePinned(now: Pin, path: string, because: string): Refusal {
  return {
    problem: `no overlay can be made over ${now.file}, since ${path} can't be written: ${because}`,
    remedy:
      'make space on the disk of the state folder, or make it writable; of versions of images that no board needs any more, `brambleboot reset BOARD` frees those of that board',
  };
}

/** Of an image that could not be opened at all, which is only read. */
export function cantBeOpened(error: BlockError): Refusal {
  return {
    problem: error.message,
    remedy: OPENING_REMEDIES[error.code] ?? "see the host's kernel log (dmesg) for the disk under it",
  };
}

const OPENING_REMEDIES: Readonly<Partial<Record<BlockError['code'], string>>> = {
  EBUSY: 'stop that program: boards read this image and their overlays depend on what it was',
  ENOENT: 'correct the path; it is relative to the inventory',
  EACCES: 'make the file readable for the user that the server runs as',
  EPERM: 'make the file readable for the user that the server runs as',
  EINVAL: 'name an image file or a block device',
};

function wayOut(boards: readonly string[]): string {
  return `put that version back, there or under another name (an image of its own in the inventory), and \`brambleboot promote ${only(boards)} FILE\` makes a whole image of a board's disk before you replace it again; or give up what the board has written: ${resetOf(boards)}`;
}

function resetOf(boards: readonly string[]): string {
  return `\`brambleboot reset ${only(boards)}\``;
}

function only(boards: readonly string[]): string {
  return boards.length === 1 ? (boards[0] ?? 'BOARD') : 'BOARD';
}

function overlaysOf(boards: readonly string[]): string {
  if (boards.length === 0) return 'an overlay lies';
  const named = boards.slice(0, IMAGE_BOARDS_NAMED_MAX);
  const more = boards.length - named.length;
  const all = more === 0 ? named : [...named, `${more} more`];
  const last = all.length > 1 ? ` and ${all.at(-1)}` : '';
  const names = `${(last === '' ? all : all.slice(0, -1)).join(', ')}${last}`;
  return boards.length === 1 ? `the overlay of ${names} lies` : `the overlays of ${names} lie`;
}

/** "pinned on 2026-11-20 at 21:14 UTC (16013942784 bytes, SHA-256 3fa4c21b09de…)" */
function versionText({ pinnedAt, ...pin }: Pin): string {
  const [day = '', time = ''] = pinnedAt.toISOString().split('T');
  return `pinned on ${day} at ${time.slice(0, 5)} UTC (${contentText(pin)})`;
}

function contentText({ sizeBytes, digest }: Pick<Pin, 'sizeBytes' | 'digest'>): string {
  const known = digest === undefined ? 'SHA-256 not known' : `SHA-256 ${digest.slice(0, DIGITS)}…`;
  return `${sizeBytes} bytes, ${known}`;
}

function secondsText(ns: bigint): string {
  const [sign, whole] = ns < 0n ? ['-', -ns] : ['', ns];
  const digits = String(whole).padStart(10, '0');
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

/** Of a digest: enough to tell versions apart that a person has. */
const DIGITS = 12;
