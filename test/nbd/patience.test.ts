// How many may come, and how long the kernel waits for who is silent.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NBD_CONNECTIONS_MAX, NBD_CONNECTIONS_PER_ADDRESS_MAX } from '../../src/base/limits.js';
import { Command } from '../../src/nbd/wire/constants.js';
import { GREETING_BYTES } from '../../src/nbd/wire/handshake-wire.js';
import { diskBoard } from '../support/boards.js';
import { until } from '../support/commands.js';
import { FakeClock } from '../support/fake-clock.js';
import { runForeign } from '../support/foreign.js';
import { keptLog } from '../support/log-lines.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { serveBoards } from '../support/nbd-server.js';
import { without } from '../support/programs.js';
import { rawNbd } from '../support/raw-nbd.js';

describe('connections', () => {
  test('are no more than 1024 in all, from however many addresses; who has a disk keeps it', async (context) => {
    const { log, lines } = keptLog();
    const { port } = await serveBoards(context, [diskBoard('node1', 4096)], { log, clock: new FakeClock() });
    const holder = await rawNbd(context, port, '127.0.1.1').transmitting();
    for (let left = NBD_CONNECTIONS_MAX - 1, host = 2; left > 0; left -= NBD_CONNECTIONS_PER_ADDRESS_MAX, host += 1) {
      const count = Math.min(left, NBD_CONNECTIONS_PER_ADDRESS_MAX);
      const some = Array.from({ length: count }, () => rawNbd(context, port, `127.0.1.${host}`));
      for (const one of some) assert.ok((await one.receive(GREETING_BYTES)) !== undefined);
    }
    assert.equal(await rawNbd(context, port, '127.0.2.1').receive(1), undefined);
    assert.equal(await rawNbd(context, port, '127.0.2.2').receive(1), undefined);
    assert.deepEqual(
      lines.filter(({ event }) => event === 'nbd.connection.turned_away'),
      [{ event: 'nbd.connection.turned_away', peer: '127.0.2.1', connections: NBD_CONNECTIONS_MAX }],
    );
    await holder.send(requestBytes({ command: Command.Flush, cookie: 1n }));
    assert.deepEqual(await holder.reply(), { error: 0, cookie: 1n });
  });

  test('may be silent for an hour before the kernel asks whether anybody is there', {
    skip: without('ss', 'iproute2'),
  }, async (context) => {
    const { port } = await serveBoards(context, [diskBoard('node1', 4096)]);
    await rawNbd(context, port).transmitting();
    const timer = async () => {
      const { stdout } = await runForeign('ss', '-tnoH', 'state', 'established', 'sport', '=', `:${port}`);
      return /timer:\(keepalive,(60|59)/.test(stdout);
    };
    // What was sent last is acknowledged a moment later, and has a timer of its own until then.
    await until(timer, 'the keepalive timer');
  });
});
