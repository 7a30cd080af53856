import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LaneDesk } from '../../../src/nbd/lanes/lane-desk.js';
import { Command } from '../../../src/nbd/wire/constants.js';
import { decodeRequest } from '../../../src/nbd/wire/transmission-wire.js';
import { flush, write } from '../../support/lane-requests.js';

const RECORD = 5;

/** As the two threads see it. */
function desks(): { readonly lane: LaneDesk; readonly main: LaneDesk } {
  const lane = new LaneDesk();
  return { lane, main: new LaneDesk(lane.memory) };
}

describe('what a lane has in its hands', () => {
  test('is taken from it while it waits, and it is told so', () => {
    const { lane, main } = desks();
    lane.input.set(Buffer.from('..came..'));
    lane.replies.set(Buffer.from('replies'));
    lane.headers.set(flush(7n));
    lane.headers.set(write(0, new Uint8Array(0), 8n), 28);
    lane.beginWait(RECORD, 2, 6, 7, 2);
    const relief = main.relieve(RECORD);
    assert.equal(Buffer.from(relief?.input ?? []).toString(), 'came');
    assert.equal(Buffer.from(relief?.replies ?? []).toString(), 'replies');
    const flushes = [7n, 8n].map((cookie) => ({ ...decodeRequest(flush(cookie)), command: Command.Flush }));
    assert.deepEqual(relief?.unsynced, flushes);
    assert.equal(main.relieve(RECORD), undefined);
    assert.equal(lane.endWait(RECORD), false);
  });

  test('is its own before and after, and once it was told that it is not, the next is', () => {
    const { lane, main } = desks();
    assert.equal(main.relieve(RECORD), undefined);
    lane.beginWait(RECORD, 0, 0, 0, 0);
    assert.equal(lane.endWait(RECORD), true);
    assert.equal(main.relieve(RECORD), undefined);
    lane.beginWait(RECORD, 0, 0, 0, 0);
    assert.notEqual(main.relieve(RECORD), undefined);
    assert.equal(lane.endWait(RECORD), false);
    lane.beginWait(RECORD, 0, 0, 0, 0);
    assert.equal(lane.endWait(RECORD), true);
  });

  test('is left where it waits for another connection', () => {
    const { lane, main } = desks();
    lane.beginWait(RECORD, 0, 0, 0, 0);
    assert.equal(main.relieve(RECORD - 1), undefined);
    assert.equal(main.relieve(RECORD + 1), undefined);
    assert.equal(lane.endWait(RECORD), true);
  });
});
