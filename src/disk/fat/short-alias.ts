import { CaseBit, foldName } from './names.js';

/** How a name is kept: eleven bytes, and whether a long name has to stand in front of them. */
export interface StoredName {
  readonly bytes: Uint8Array;
  readonly caseBits: number;
  readonly needsLongName: boolean;
}

const SHORT_CHARACTERS = /^[A-Z0-9!#$%&'()@^_`{}~-]*$/;

/**
 * Gives each name of one directory its short name: itself if it is one in upper case or all lower (kept by the case bits, as
 * Windows NT and Linux do), else an alias, `CONFIG~1.TXT`. The names are sound and differ in more than case.
 */
export function storeNames(names: readonly string[]): ReadonlyMap<string, StoredName> {
  const own = names.map((name) => [name, shortFormOf(name)] as const);
  const taken = new Set(own.flatMap(([, short]) => (short === undefined ? [] : [keyOf(short)])));
  return new Map(own.map(([name, short]) => [name, short ?? aliasOf(name, taken)]));
}

/** The name itself where it has the form 8.3; in mixed case it needs a long name besides. */
function shortFormOf(name: string): StoredName | undefined {
  const [base = '', extension = '', ...more] = name.split('.');
  const shape =
    base.length >= 1 && base.length <= 8 && extension.length <= 3 && more.length === 0 && !name.endsWith('.');
  const [upperBase, upperExtension] = [foldName(base), foldName(extension)];
  if (!shape || !SHORT_CHARACTERS.test(upperBase) || !SHORT_CHARACTERS.test(upperExtension)) return undefined;
  const lowerBase = base === base.toLowerCase() && base !== upperBase;
  const lowerExtension = extension === extension.toLowerCase() && extension !== upperExtension;
  const needsLongName = !(lowerBase || base === upperBase) || !(lowerExtension || extension === upperExtension);
  const caseBits = (lowerBase ? CaseBit.LowerBase : 0) | (lowerExtension ? CaseBit.LowerExtension : 0);
  return { bytes: pad(upperBase, upperExtension), caseBits: needsLongName ? 0 : caseBits, needsLongName };
}

/** The specification's "basis name" with the first numeric tail that is free in the directory. */
function aliasOf(name: string, taken: Set<string>): StoredName {
  const dot = name.lastIndexOf('.');
  const base = legal(dot <= 0 ? name : name.slice(0, dot));
  const extension = dot <= 0 ? '' : legal(name.slice(dot + 1)).slice(0, 3);
  for (let number = 1; ; number += 1) {
    const tail = `~${number}`;
    const stored = { bytes: pad(base.slice(0, 8 - tail.length) + tail, extension), caseBits: 0, needsLongName: true };
    if (taken.has(keyOf(stored))) continue;
    taken.add(keyOf(stored));
    return stored;
  }
}

function legal(text: string): string {
  const kept = [...foldName(text)].filter((character) => character !== ' ' && character !== '.');
  return kept.map((character) => (SHORT_CHARACTERS.test(character) ? character : '_')).join('');
}

function pad(base: string, extension: string): Uint8Array {
  return new TextEncoder().encode(base.padEnd(8) + extension.padEnd(3));
}

function keyOf(stored: StoredName): string {
  return String.fromCharCode(...stored.bytes);
}
