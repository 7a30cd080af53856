import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { encodeNotice, serviceManager } from '../../src/os/service-manager.js';
import { notifySocket } from '../support/notify-socket.js';
import { scratchFolder } from '../support/scratch.js';

describe('the service manager', () => {
  test('is told at a path and at an abstract name, and the environment says nothing of it any more', (context) => {
    for (const path of [join(scratchFolder(context), 'notify'), `@brambleboot-test-${process.pid}`]) {
      const listener = notifySocket(context, path);
      const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '3000000', WATCHDOG_PID: '7', HOME: '/' };
      const manager = serviceManager(environment, 7);
      assert.deepEqual(environment, { HOME: '/' });
      assert.equal(manager.watchdogMs, 3000);
      assert.ok(manager.tell({ kind: 'ready', status: 'well' }));
      assert.ok(manager.tell({ kind: 'alive' }));
      assert.deepEqual(listener.said(), ['READY=1\nSTATUS=well\n', 'WATCHDOG=1\n']);
    }
  });

  test('is not waited for, whether it does not listen, does not read or is not there', (context) => {
    const folder = scratchFolder(context);
    for (const environment of [
      {},
      { NOTIFY_SOCKET: join(folder, 'nobody') },
      { NOTIFY_SOCKET: 'vsock:2:1234' },
      { NOTIFY_SOCKET: `/${'x'.repeat(200)}` },
    ]) {
      assert.equal(serviceManager({ ...environment }, 7).tell({ kind: 'alive' }), false);
    }
    const path = join(folder, 'deaf');
    const deaf = notifySocket(context, path);
    const manager = serviceManager({ NOTIFY_SOCKET: path }, 7);
    for (let count = 0; manager.tell({ kind: 'alive' }); count += 1) assert.ok(count < 100_000);
    deaf.said();
    assert.ok(manager.tell({ kind: 'alive' }), 'and is told again once it reads');
  });

  test('wants to hear that we live only where it says so, and of us', () => {
    const watchdogMs = (environment: NodeJS.ProcessEnv) =>
      serviceManager({ NOTIFY_SOCKET: '@nobody', ...environment }, 7).watchdogMs;
    assert.equal(watchdogMs({}), undefined);
    assert.equal(watchdogMs({ WATCHDOG_USEC: '1500' }), 1.5);
    assert.equal(watchdogMs({ WATCHDOG_USEC: '1500', WATCHDOG_PID: '8' }), undefined);
    for (const text of ['', '0', '-1', '1s', '1'.repeat(16)])
      assert.equal(watchdogMs({ WATCHDOG_USEC: text }), undefined);
  });
});

test('notices are lines of sd_notify(3), each value on one', () => {
  assert.equal(encodeNotice({ kind: 'status', status: 'one\nREADY=1' }), 'STATUS=one READY=1\n');
  assert.equal(encodeNotice({ kind: 'stopping', status: 'bye' }), 'STOPPING=1\nSTATUS=bye\n');
  assert.equal(
    encodeNotice({ kind: 'reloading', monotonicUs: 12_345_678_901n }),
    'RELOADING=1\nMONOTONIC_USEC=12345678901\n',
  );
});
