import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client.js';
import { whenOver } from '../support/cleanup.js';
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
