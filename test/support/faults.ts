import assert from 'node:assert/strict';
import { DiskFault } from '../../src/disk/disk-fault.js';

/** The fault that a read ended in, which must name this structure and this place. */
export async function faultOf(attempt: Promise<unknown>, structure: RegExp, offset?: number): Promise<DiskFault> {
  try {
    await attempt;
  } catch (error) {
    if (!(error instanceof DiskFault)) throw error;
    assert.match(error.structure, structure);
    if (offset !== undefined) assert.equal(error.offset, offset, error.message);
    return error;
  }
  return assert.fail(`no fault about ${structure}`);
}

/** Little-endian numbers into an image. */
export function poke(bytes: Uint8Array, offset: number, width: 1 | 2 | 4 | 8, value: number | bigint): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 1) view.setUint8(offset, Number(value));
  else if (width === 2) view.setUint16(offset, Number(value), true);
  else if (width === 4) view.setUint32(offset, Number(value), true);
  else view.setBigUint64(offset, BigInt(value), true);
}
