// A stop while a lane waits for a disk: the next server does what that one is at, whether it comes to an end there or not.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { openFileDevice } from '../../../src/block/file-device.js';
import { watched } from '../../../src/block/watched-device.js';
import { Command, CommandFlag } from '../../../src/nbd/wire/constants.js';
import { diskBoard } from '../../support/boards.js';
import { whenOver } from '../../support/cleanup.js';
import { assertAnswers, assertDone, flush, write } from '../../support/lane-requests.js';
import { requestBytes } from '../../support/nbd-bytes.js';
import { serveBoards } from '../../support/nbd-server.js';
import { nextServer } from '../../support/next-server.js';
import { rawNbd } from '../../support/raw-nbd.js';
import { scratchFolder } from '../../support/scratch.js';
import { slowDisk, withoutSlowDisk } from '../../support/slow-disk.js';

const MEBI = 1024 * 1024;
/** Of a lane that has begun to wait: long enough on a machine with much else to do. */
const BEGUN_MS = 300;

async function oneBoard(context: TestContext, delayMs: number) {
  const image = join(scratchFolder(context), 'disk.img');
  writeFileSync(image, '');
  truncateSync(image, MEBI);
  const disk = await slowDisk(context, image, delayMs);
  const device = watched(await openFileDevice(disk.file, { access: 'readWrite', lock: 'exclusive' }));
  whenOver(context, () => device.close());
  whenOver(context, () => disk.goOn());
  assert.ok(device.shared !== undefined, 'lanes have it');
  const board = () => diskBoard('node1', device);
  const { server, port } = await serveBoards(context, [board()]);
  const client = await rawNbd(context, port).transmitting();
  const next = () =>
    nextServer(context, server, board(), ({ busy }) => assert.ok(busy.has('node1'), 'a lane was at it'));
  return { disk, image, client, next };
}

describe('a lane that waits for a disk when the server stops', { skip: withoutSlowDisk() }, () => {
  test('for a sync: FLUSH and writes with FUA are answered when the next server has synced', async (context) => {
    const { disk, image, client, next } = await oneBoard(context, 0);
    const bytes = randomBytes(8192);
    await client.send(write(0, bytes.subarray(0, 4096), 1n));
    await assertDone(client, 1n);
    disk.hang();
    await client.send(flush(2n));
    await passed(BEGUN_MS);
    await client.send(flush(3n), flush(4n)); // another lane
    await passed(BEGUN_MS);
    await next();
    disk.goOn();
    await client.send(write(4096, bytes.subarray(4096), 5n, CommandFlag.Fua));
    await assertAnswers(client, new Map([2n, 3n, 4n, 5n].map((cookie) => [cookie, 0])));
    assert.deepEqual(readFileSync(image).subarray(0, 8192), bytes);
  });

  test('for a write: that one and what came with it, also by half, are done by the next server', async (context) => {
    const { disk, image, client, next } = await oneBoard(context, 0);
    const bytes = randomBytes(300_000);
    const last = write(204_800, bytes.subarray(204_800), 4n);
    disk.hang();
    await client.send(write(0, bytes.subarray(0, 4096), 1n), write(4096, bytes.subarray(4096, 204_800), 2n), flush(3n));
    await client.send(last.subarray(0, 50_000));
    await passed(BEGUN_MS);
    await next();
    disk.goOn();
    await client.send(last.subarray(50_000));
    await assertAnswers(client, new Map([1n, 2n, 3n, 4n].map((cookie) => [cookie, 0])));
    assert.deepEqual(readFileSync(image).subarray(0, bytes.length), bytes);
  });

  test('for one after the other: those that it has done are answered, once', async (context) => {
    const { image, client, next } = await oneBoard(context, 250);
    const bytes = randomBytes(16 * 4096);
    const cookies = Array.from({ length: 16 }, (_, index) => BigInt(index));
    await client.send(
      ...cookies.map((cookie, at) => write(at * 4096, bytes.subarray(at * 4096, at * 4096 + 4096), cookie)),
    );
    await passed(BEGUN_MS);
    await next();
    await client.send(flush(99n));
    await assertAnswers(client, new Map([...cookies, 99n].map((cookie) => [cookie, 0])));
    assert.deepEqual(readFileSync(image).subarray(0, bytes.length), bytes);
  });

  test('for zeroes: they are written by the next server', async (context) => {
    const { disk, image, client, next } = await oneBoard(context, 0);
    await client.send(write(0, randomBytes(8192), 1n));
    await assertDone(client, 1n);
    disk.hang();
    await client.send(requestBytes({ command: Command.WriteZeroes, offset: 0n, lengthBytes: 8192, cookie: 2n }));
    await passed(BEGUN_MS);
    await next();
    disk.goOn();
    await assertDone(client, 2n);
    assert.deepEqual(readFileSync(image).subarray(0, 8192), Buffer.alloc(8192));
  });
});
