import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { watchSpace } from '../../src/app/full-disk.js';
import { Storage } from '../../src/app/storage.js';
import { FULL_DISK_LOG_AGAIN_MS, FULL_DISK_RETRY_MS } from '../../src/base/limits.js';
import type { Log } from '../../src/base/log.js';
import { SpaceQueue } from '../../src/block/space-queue.js';
import { WaitingDevice } from '../../src/block/waiting-device.js';
import type { BoardEvent } from '../../src/boards/journal/events.js';
import { FakeClock } from '../support/fake-clock.js';
import { FullDevice } from '../support/full-device.js';

async function fixture() {
  const clock = new FakeClock();
  const lines: { readonly level: string; readonly event: string; readonly facts: object }[] = [];
  const at = (level: string) => (facts: object, event: string) => void lines.push({ level, event, facts });
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const storage = new Storage({
    things: [{ name: 'image one', path: '/srv/one.img', board: 'node1' }],
    calls: {
      filesystemOf: async () => ({ device: 1, mountPoint: '/srv', holdsIt: true }),
      spaceOf: async () => ({ sizeBytes: 100, freeBytes: 50 }),
      allocationOf: async () => ({ sizeBytes: 1, allocatedBytes: 1, identity: 'x' }),
      folderAllocationOf: async () => 1,
    },
    clock,
    log,
  });
  await storage.start();
  const events: BoardEvent[] = [];
  const space = new SpaceQueue(clock);
  const tell = (event: BoardEvent) => void events.push(event);
  watchSpace({ board: 'node1', file: '/srv/one.img', space, hasLimit: false }, { storage, tell, clock, log });
  const medium = new FullDevice(1000);
  return { clock, lines, events, medium, space, device: new WaitingDevice(medium, space) };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('a full disk', () => {
  test('is said once with all that helps, again after a while, and no more when writes go on', async () => {
    const { clock, lines, events, medium, device } = await fixture();
    for (let index = 0; index < 5; index += 1) {
      void device.write(index * 10, new Uint8Array(10), { durable: false });
      await turns();
    }
    const [{ facts = {}, ...line } = {}] = lines;
    assert.deepEqual(line, { level: 'error', event: 'disk.full' });
    assert.match(JSON.stringify(facts), /"board":"node1","file":"\/srv\/one\.img","filesystem":"\/srv","freeBytes":50/);
    assert.match(JSON.stringify(facts), /make room on \/srv: the board waits/);
    assert.equal(lines.length, 1);
    clock.advance(FULL_DISK_LOG_AGAIN_MS);
    await turns();
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['disk.full', 'disk.full'],
    );
    assert.match(JSON.stringify(lines[1]), /"waited":"5 min"/);
    medium.state = 'space';
    clock.advance(FULL_DISK_RETRY_MS);
    await turns();
    clock.advance(FULL_DISK_LOG_AGAIN_MS);
    await turns();
    assert.deepEqual([lines.at(-1)?.level, lines.at(-1)?.event, lines.length], ['info', 'disk.space.found', 3]);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['spaceAwaited', 'spaceAwaitOver'],
    );
  });

  test('that is over before anybody could read of it is not said to be full', async () => {
    const { lines, space, device } = await fixture();
    void device.write(0, new Uint8Array(10), { durable: false }).catch(() => {});
    while (space.waiting === undefined) await Promise.resolve();
    device.giveUp();
    await turns();
    assert.deepEqual(
      lines.map(({ level, event }) => `${level} ${event}`),
      ['warn disk.space.given_up'],
    );
  });
});
