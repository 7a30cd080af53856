import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { NbdDisconnected } from '../../src/nbd/client/client-errors.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { runProgram } from '../support/running-program.js';

test('a storm of signals that ask for nothing costs no board its disk, and the one that asks for a stop is heard', async (context) => {
  const { child, ports, output } = await runProgram(context);
  const disk = await (await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock)).go('node1');
  whenOver(context, () => disk.destroy());
  for (let round = 0; round < 200; round += 1) {
    for (const signal of ['SIGHUP', 'SIGUSR2', 'SIGPIPE', 'SIGCONT', 'SIGWINCH'] as const) child.kill(signal);
    await disk.write(1024 * 1024, new Uint8Array(512).fill(round), { durable: round % 50 === 0 });
  }
  assert.deepEqual((await disk.read(1024 * 1024, 1))[0], 199);
  child.kill('SIGTERM');
  const [status] = await once(child, 'close');
  assert.equal(status, 0);
  assert.match(output(), /"server\.stopped"/);
  assert.ok(output().split('\n').length < 300, 'nor does it fill the log');
});

for (const storm of [['SIGTERM', 'SIGHUP'], ['SIGINT', 'SIGTERM', 'SIGHUP'], ['SIGINT']] as const) {
  test(`a storm of ${storm.join(', ')} is one stop: what was answered is on the disk, and nothing was answered with an error`, async (context) => {
    const { child, ports, folder, output } = await runProgram(context);
    const disk = await (await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock)).go('node1');
    whenOver(context, () => disk.destroy());
    const base = disk.sizeBytes - PLACES * SECTOR;
    const answered = new Map<number, number>();
    const failures: unknown[] = [];
    // Each writes its own place again and again, so that requests are under way at any moment.
    const writers = Array.from({ length: PLACES }, async (_, place) => {
      for (let round = 1; ; round += 1) {
        try {
          await disk.write(base + place * SECTOR, sector(place, round), { durable: false });
          answered.set(place, round);
        } catch (error) {
          failures.push(error);
          return;
        }
      }
    });
    await until(() => answered.size === PLACES, 'an answer to each');
    const ended = once(child, 'close');
    for (let round = 0; round < 100; round += 1) for (const signal of storm) child.kill(signal);
    const [status, signal] = await ended;
    await Promise.all(writers);
    assert.deepEqual([status, signal], [0, null]);
    for (const failure of failures) assert.ok(failure instanceof NbdDisconnected, String(failure));
    const image = readFileSync(join(folder, 'demo.img'));
    for (const [place, round] of answered) {
      const at = base + place * SECTOR;
      const found = image.readUInt32LE(at);
      // The one after was perhaps done, and its answer lost with the connection.
      assert.ok(found === round || found === round + 1, `place ${place}: ${found}, answered ${round}`);
      assert.ok(image.subarray(at, at + SECTOR).equals(sector(place, found)), 'whole');
    }
    const said = output();
    assert.match(said, /"level":40,[^\n]*"boards":\["node1"\],"means":"[^\n]*"msg":"disk\.going"/);
    assert.match(said, /"server\.stopped"/);
    assert.equal(said.match(/"server\.stopping"/g)?.length, 1);
  });
}

test('an idle server says that no disk goes away', async (context) => {
  const { child, output } = await runProgram(context);
  const ended = once(child, 'close');
  child.kill('SIGTERM');
  await ended;
  assert.match(output(), /"level":30,[^\n]*"boards":\[\],"msg":"disk\.going"/);
});

const PLACES = 32;
const SECTOR = 512;

/** Says whose it is and which. */
function sector(place: number, round: number): Buffer {
  const bytes = Buffer.alloc(SECTOR, place);
  bytes.writeUInt32LE(round);
  return bytes;
}
