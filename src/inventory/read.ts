import { open } from 'node:fs/promises';
import { INVENTORY_BYTES_MAX } from '../base/limits.js';
import type { Complaint, Fault } from './fault.js';
import { type InventoryVerdict, parseInventory, tooLarge } from './parse.js';
import { explainSystemError } from './system-error.js';

/** The door to the file. `path` is shown in faults as it is given; paths in the inventory begin at its folder. */
export async function readInventory(path: string): Promise<InventoryVerdict> {
  let bytes: Uint8Array;
  try {
    bytes = await readBounded(path);
  } catch (error) {
    const complaint = explainSystemError(error, 'this inventory', MISSING);
    return fault({ file: path, at: undefined, ...complaint });
  }
  if (bytes.length > INVENTORY_BYTES_MAX) return fault(tooLarge(path));
  const text = decodeUtf8(bytes);
  return text === undefined ? fault(notUtf8(bytes, path)) : parseInventory(text, path);
}

const MISSING = 'name it with `--config FILE`, or begin with a copy of config.example.yaml';

function fault(one: Fault): InventoryVerdict {
  return { answer: 'faults', faults: [one], state: undefined };
}

/** At most one byte more than allowed, whatever the path leads to: /dev/zero has no end and no size. */
async function readBounded(path: string): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const buffer = new Uint8Array(INVENTORY_BYTES_MAX + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function notUtf8(bytes: Uint8Array, file: string): Fault {
  const wide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  if (wide) return { file, at: undefined, problem: 'this inventory is UTF-16', remedy: SAVE };
  const lines = splitLines(bytes);
  const index = lines.findIndex((line) => decodeUtf8(line) === undefined);
  const sourceLine = new TextDecoder('utf-8').decode(lines[index]);
  const column = Math.max(0, sourceLine.indexOf('\ufffd')) + 1;
  const complaint: Complaint = { problem: 'a character here is not UTF-8', remedy: SAVE };
  return { file, at: { line: index + 1, column, text: '\ufffd', sourceLine }, ...complaint };
}

const SAVE = 'save the file as UTF-8';

function splitLines(bytes: Uint8Array): readonly Uint8Array[] {
  const lines: Uint8Array[] = [];
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return [...lines, bytes.subarray(start)];
}
