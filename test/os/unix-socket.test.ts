import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  peerProcess,
  probeUnixPeer,
  removeStaleSocket,
  socketPathObstacle,
  unixAddress,
} from '../../src/os/unix-socket.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/nbd-server.js';
import { anyOf, without, withoutRoot } from '../support/programs.js';
import { projectFile } from '../support/project.js';
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

describe('a path for a socket', () => {
  test('in a folder that is not there, or that is none, is told so, and not as a matter of ports', (context) => {
    const folder = scratchFolder(context);
    assert.equal(socketPathObstacle(join(folder, 'nbd.sock')), undefined);
    const missing = join(folder, 'missing');
    assert.throws(() => removeStaleSocket(join(missing, 'nbd.sock')), {
      message: `the folder ${missing} does not exist: make it`,
    });
    writeFileSync(join(folder, 'file'), '');
    assert.equal(
      socketPathObstacle(join(folder, 'file'))?.problem,
      `${join(folder, 'file')} is there already, and is no socket`,
    );
    assert.equal(socketPathObstacle(join(folder, 'file', 'nbd.sock'))?.problem, `${join(folder, 'file')} is no folder`);
  });

  test('where this user may not write names him and the folder', {
    skip: anyOf(withoutRoot(), without('setpriv', 'util-linux')),
  }, (context) => {
    const folder = scratchFolder(context);
    chownSync(folder, 65534, 65534);
    // Root without its right over everybody's files. access(2) goes by the real user, which a process can't be for a moment only.
    const module = JSON.stringify(projectFile('dist/os/unix-socket.js'));
    const script = `import { socketPathObstacle } from ${module}; console.log(socketPathObstacle('${folder}/nbd.sock').problem)`;
    const node = [process.execPath, '--input-type=module', '-e', script];
    const { stdout, stderr } = spawnSync('setpriv', ['--bounding-set', '-dac_override', ...node], { encoding: 'utf8' });
    assert.equal(stdout, `user root (0) may not write in the folder ${folder}\n`, stderr);
  });
});
