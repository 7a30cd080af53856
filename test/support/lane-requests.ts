import assert from 'node:assert/strict';
import { Command } from '../../src/nbd/wire/constants.js';
import { joined, requestBytes } from './nbd-bytes.js';
import type { RawNbd } from './raw-nbd.js';

/** Requests as bytes, and what a client that speaks in simple replies has to be answered. */
export const read = (offset: number, lengthBytes: number, cookie = 1n) =>
  requestBytes({ command: Command.Read, offset: BigInt(offset), lengthBytes, cookie });
export const write = (offset: number, payload: Uint8Array, cookie = 1n, flags = 0) =>
  joined(
    requestBytes({ command: Command.Write, flags, offset: BigInt(offset), lengthBytes: payload.length, cookie }),
    payload,
  );
export const flush = (cookie = 1n) => requestBytes({ command: Command.Flush, cookie });

export async function assertRead(raw: RawNbd, cookie: bigint, wanted: Uint8Array): Promise<void> {
  assert.deepEqual(await raw.reply(), { error: 0, cookie });
  const data = await raw.receive(wanted.length);
  assert.ok(data !== undefined && Buffer.compare(data, wanted) === 0, `data of ${cookie}`);
}

export async function assertDone(raw: RawNbd, cookie: bigint, error = 0): Promise<void> {
  assert.deepEqual(await raw.reply(), { error, cookie });
}

/** Replies in whatever order they come: the data of each READ, and the error of each other request. */
export async function assertAnswers(
  raw: RawNbd,
  wanted: ReadonlyMap<bigint, Uint8Array | number>,
  where = '',
): Promise<void> {
  const left = new Map(wanted);
  while (left.size > 0) {
    const reply = await raw.reply();
    assert.ok(reply !== undefined, `${where}: closed, and ${[...left.keys()]} not answered`);
    const expected = left.get(reply.cookie);
    assert.ok(left.delete(reply.cookie), `${where}: a reply to ${reply.cookie}`);
    assert.equal(reply.error, typeof expected === 'number' ? expected : 0, `${where}: ${reply.cookie}`);
    if (typeof expected === 'number' || expected === undefined) continue;
    const data = await raw.receive(expected.length);
    assert.ok(data !== undefined && Buffer.compare(data, expected) === 0, `${where}: data of ${reply.cookie}`);
  }
}
