import { Malformed } from './malformed.js';

/**
 * A board's serial as its bootloader writes it in a TFTP path: eight lower-case hex digits, the low 32 bits of what
 * /proc/cpuinfo shows (docs/how-a-pi-netboots.md).
 */
export type Serial = string;

/** Takes 1 to 16 hex digits in any case: padded on the left to 8, and of more the last 8 count. */
export function parseSerial(text: string): Serial {
  if (!/^[0-9a-fA-F]{1,16}$/.test(text)) throw new Malformed(`"${text}" is not 1 to 16 hex digits`);
  return text.toLowerCase().padStart(8, '0').slice(-8);
}

export function serialFromNumber(value: number): Serial {
  return value.toString(16).padStart(8, '0');
}
