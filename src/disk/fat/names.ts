// Names on a FAT volume. What a file is called: its long name if it has a sound one, else its short name. That is its only
// name. Looking up the 8.3 alias of a long name, or a name with dots or spaces added behind it (which Windows and Linux drop),
// finds nothing: else a rule about `cmdline.txt` would have to know `CMDLIN~1.TXT` and `cmdline.txt. ` too. Only case is blind.

/** A name, and each part of a path, has at most this many UTF-16 units (specification, "Long Directory Entries"). */
const NAME_UNITS_MAX = 255;

// What no long name may hold: control characters and those that mean something to a path.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters meant
const ILLEGAL = /[\u0000-\u001f"*/:<>?\\|]|\p{Surrogate}/u;

/** False for what may not be a name, whether it comes from a directory or from who asks. '.' and '..' are no files. */
export function isFileName(name: string): boolean {
  return name.length > 0 && name.length <= NAME_UNITS_MAX && name !== '.' && name !== '..' && !ILLEGAL.test(name);
}

/**
 * Names are the same if their folds are equal: each UTF-16 unit by Unicode's simple upper case. No unit outside ASCII folds into
 * it, as `ı` (U+0131) and `ſ` (U+017F) would: an ASCII name has ASCII spellings only.
 */
export function foldName(name: string): string {
  if (isAscii(name)) return name.toUpperCase();
  return Array.from({ length: name.length }, (_, index) => foldUnit(name.charAt(index))).join('');
}

function foldUnit(unit: string): string {
  const upper = unit.toUpperCase();
  const simple = upper.length === 1 && (isAscii(unit) || !isAscii(upper));
  return simple ? upper : unit;
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) {
    if (text.charCodeAt(index) > 0x7f) return false;
  }
  return true;
}

/** Byte 12 of a short entry: Windows NT and Linux keep `config.txt` without a long name, as CONFIG.TXT in lower case. */
export const CaseBit = { LowerBase: 0x08, LowerExtension: 0x10 } as const;

/** `''` for what is no name. `bytes` are the 11 of the entry, padded with spaces: eight, and three behind the dot. */
export function shortName(bytes: Uint8Array, caseBits: number): string {
  // 0xe5 as first byte marks a deleted entry, so a name that begins with it is kept with 0x05.
  const first = bytes[0] === 0x05 ? fromCodePage437(0xe5) : '';
  const base = first + oemText(bytes.subarray(first.length, 8));
  const extension = oemText(bytes.subarray(8, 11));
  if (base === '' || base.startsWith(' ')) return '';
  const casedBase = (caseBits & CaseBit.LowerBase) === 0 ? base : base.toLowerCase();
  const casedExtension = (caseBits & CaseBit.LowerExtension) === 0 ? extension : extension.toLowerCase();
  return extension === '' ? casedBase : `${casedBase}.${casedExtension}`;
}

/** Ties a long name to its short entry (specification, "ChkSum"). */
export function shortNameChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < 11; index += 1) sum = (((sum & 1) << 7) + (sum >> 1) + (bytes[index] ?? 0)) & 0xff;
  return sum;
}

function oemText(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += fromCodePage437(byte);
  return text.replace(/ +$/, '');
}

/** What Linux takes short names for unless it is told otherwise (FAT_DEFAULT_CODEPAGE). */
const CODE_PAGE_437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀' +
  'αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

function fromCodePage437(byte: number): string {
  return byte < 0x80 ? String.fromCharCode(byte) : CODE_PAGE_437.charAt(byte - 0x80);
}
