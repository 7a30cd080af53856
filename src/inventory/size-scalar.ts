import { quote } from './quotation.js';
import type { Reader } from './scalars.js';

/** Bytes in each, the largest first. */
const UNITS = [
  ['TiB', 1024 ** 4],
  ['TB', 1000 ** 4],
  ['GiB', 1024 ** 3],
  ['GB', 1000 ** 3],
  ['MiB', 1024 ** 2],
  ['MB', 1000 ** 2],
  ['KiB', 1024],
  ['kB', 1000],
  ['B', 1],
] as const;

export interface SizeBounds {
  /** Whole numbers of some unit: they are named in the faults. */
  readonly least: number;
  readonly most: number;
  /** Of which it has a whole number: what a disk is made of. */
  readonly sectorBytes?: number;
}

/** `32GiB`, in bytes. */
export function sizeWithin({ least, most, sectorBytes = 1 }: SizeBounds): Reader<number> {
  return (text, refuse) => {
    const bytes = bytesIn(text);
    if (bytes === undefined) return refuse(undefined, meantBy(text));
    if (bytes < least) return refuse(`${quote(text)} is too small: ${sizeText(least)} is the least`);
    if (bytes > most) return refuse(`${quote(text)} is too large: ${sizeText(most)} is the most`);
    if (bytes % sectorBytes === 0) return bytes;
    const remedy = `write \`${sizeText(Math.ceil(bytes / sectorBytes) * sectorBytes)}\`, or a size in KiB, MiB or GiB`;
    return refuse(`${quote(text)} is ${bytes} bytes, and a disk has whole sectors of ${sectorBytes}`, remedy);
  };
}

/** As it would stand in the file: in the largest unit that needs no fraction. */
export function sizeText(bytes: number): string {
  const [unit, unitBytes] = UNITS.find(([, size]) => bytes % size === 0) ?? (['B', 1] as const);
  return `${bytes / unitBytes}${unit}`;
}

/** Too many digits come out as too large, whatever the last of them are. */
function bytesIn(text: string): number | undefined {
  const [, digits = '', unit = ''] = /^([0-9]{1,16})([A-Za-z]+)$/.exec(text) ?? [];
  const unitBytes = UNITS.find(([name]) => name === unit)?.[1];
  return unitBytes === undefined ? undefined : Number(digits) * unitBytes;
}

/** A number without a unit is one of bytes from here on: who has a few in mind means GiB. */
const PLAIN_BYTES_MIN = 1024 ** 2;

/** People write plain bytes, `32 GiB`, `32G`, `32gib` and `1.5TiB`. */
function meantBy(text: string): string | undefined {
  const [, digits, fraction, written = ''] = /^([0-9]{1,12})(?:[.,]([0-9]{1,3}))?\s*([a-z]*)$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  if (written === '' && fraction === undefined) {
    const isBytes = Number(digits) >= PLAIN_BYTES_MIN;
    return `write the unit too: \`${isBytes ? sizeText(Number(digits)) : `${digits}GiB`}\``;
  }
  const word = written.toLowerCase();
  const unit =
    UNITS.find(([name]) => name.toLowerCase() === word) ??
    UNITS.find(([name]) => name.endsWith('iB') && name.toLowerCase().startsWith(word));
  if (unit === undefined) return undefined;
  if (fraction === undefined) return `write \`${digits}${unit[0]}\``;
  return `write a whole number, such as \`${sizeText(Math.floor(Number(`${digits}.${fraction}`) * unit[1]))}\``;
}
