import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { peerProcess, probeUnixPeer, unixAddress } from '../../src/os/unix-socket.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/nbd-server.js';
import { scratchFolder } from '../support/scratch.js';

async function pair(context: TestContext): Promise<{ readonly ours: Socket; readonly theirs: Socket }> {
  const path = join(scratchFolder(context), 'socket');
  const listener = createServer({ allowHalfOpen: true }).listen(path);
  whenOver(context, () => void listener.close());
  const theirs = connect({ path, allowHalfOpen: true });
  const [ours] = await once(listener, 'connection');
  whenOver(context, () => {
    ours.destroy();
    theirs.destroy();
  });
  ours.pause();
  return { ours, theirs };
}

describe('the peer of a Unix socket', () => {
  test('is alive while it is connected, whether it speaks, is silent or has said all it wants', async (context) => {
    const { ours, theirs } = await pair(context);
    assert.equal(probeUnixPeer(ours), 'alive');
    theirs.write('hello');
    assert.equal(probeUnixPeer(ours), 'alive');
    theirs.end();
    await once(theirs, 'finish');
    assert.equal(probeUnixPeer(ours), 'alive');
  });

  test('is gone when it has closed, even if what it said was not read', async (context) => {
    const { ours, theirs } = await pair(context);
    theirs.write('unread');
    theirs.destroy();
    await until(() => probeUnixPeer(ours) === 'gone');
    ours.destroy();
    assert.equal(probeUnixPeer(ours), 'gone', 'nor is there one without a socket');
  });

  test('is known by its process and when that began', async (context) => {
    const { ours } = await pair(context);
    const known = peerProcess(ours);
    assert.equal(known?.pid, process.pid);
    assert.match(known?.startedAt ?? '', /^\d+$/);
    ours.destroy();
    assert.equal(peerProcess(ours), undefined);
  });
});

test('an address is the path with its NUL, or a NUL and the abstract name', () => {
  assert.deepEqual(unixAddress('/run/a'), Buffer.from('\x01\x00/run/a\x00', 'latin1'));
  assert.deepEqual(unixAddress('@a'), Buffer.from('\x01\x00\x00a', 'latin1'));
});
