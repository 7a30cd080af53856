import { quote } from './quotation.js';
import type { Reader } from './scalars.js';

/** Milliseconds in each, the longest first. */
const UNITS = [
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

export interface DurationBounds {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** `10min`, in milliseconds. */
export function durationWithin({ leastMs, mostMs }: DurationBounds): Reader<number> {
  return (text, refuse) => {
    const [, digits = '', unit = ''] = /^([0-9]{1,12})(h|min|s|ms)$/.exec(text) ?? [];
    const unitMs = UNITS.find(([name]) => name === unit)?.[1];
    if (unitMs === undefined) return refuse(undefined, meantBy(text));
    const ms = Number(digits) * unitMs;
    if (ms < leastMs) return refuse(`${quote(text)} is too short: ${durationWord(leastMs)} is the least`);
    if (ms > mostMs) return refuse(`${quote(text)} is too long: ${durationWord(mostMs)} is the most`);
    return ms;
  };
}

/** As it would stand in the file. */
export function durationWord(ms: number): string {
  const [unit, unitMs] = UNITS.find(([, length]) => ms % length === 0) ?? (['ms', 1] as const);
  return `${ms / unitMs}${unit}`;
}

/** People write `10 min`, `10m`, `10 minutes` and plain seconds. */
function meantBy(text: string): string | undefined {
  const [, digits, written = ''] = /^([0-9]{1,12})\s*([a-z]*)$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  if (written === '') return `write the unit too: \`${digits}s\``;
  const unit = UNITS.find(([name]) => name.startsWith(written.toLowerCase()[0] ?? ''))?.[0];
  return unit === undefined ? undefined : `write \`${digits}${unit}\``;
}
