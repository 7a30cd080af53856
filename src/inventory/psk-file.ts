import { PSK_BYTES_MAX, PSK_BYTES_MIN } from '../base/limits.js';
import type { Complaint } from './fault.js';
import { quote } from './quotation.js';

/**
 * Keys of boards as GnuTLS's psktool writes them (and nbdkit and libnbd read them): `NAME:HEXKEY`, one a line. What is wrong is told by
 * its line; nothing of a key is ever shown.
 */
export function parsePsk(text: string): ReadonlyMap<string, Uint8Array> | Complaint {
  const keys = new Map<string, Uint8Array>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const [, name, digits] = /^([^:]+):([0-9a-fA-F]*)\s*$/.exec(line) ?? [];
    const at = `line ${index + 1}`;
    if (name === undefined || digits === undefined) return complaint(`${at} is not a name, a colon and hex digits`);
    if (name.startsWith('#')) return complaint(`the name on ${at} is in hex digits (#), which no board's is`);
    if (keys.has(name)) return complaint(`${at} has a second key for ${quote(name)}`);
    const lengthBytes = digits.length / 2;
    if (!Number.isInteger(lengthBytes) || lengthBytes < PSK_BYTES_MIN || lengthBytes > PSK_BYTES_MAX) {
      const bounds = `${2 * PSK_BYTES_MIN} to ${2 * PSK_BYTES_MAX} of them, and an even number`;
      return complaint(`the key on ${at} has ${digits.length} hex digits: it takes ${bounds}`);
    }
    keys.set(name, Uint8Array.from(Buffer.from(digits, 'hex')));
  }
  return keys.size === 0 ? complaint('there is no key in it') : keys;
}

function complaint(problem: string): Complaint {
  return { problem, remedy: 'make each line with `psktool -u NODE1 -p FILE`, with the name of a board' };
}
