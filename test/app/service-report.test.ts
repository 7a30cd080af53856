import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ServiceReport, statusSentence, stopSentence } from '../../src/app/service-report.js';
import { systemClock } from '../../src/base/clock.js';
import { encodeNotice, type ServiceNotice, serviceManager } from '../../src/os/service-manager.js';
import { until } from '../support/commands.js';
import { FakeClock } from '../support/fake-clock.js';
import { notifySocket } from '../support/notify-socket.js';
import { scratchFolder } from '../support/scratch.js';

function told(watchdogMs?: number) {
  const said: string[] = [];
  const hears = { now: true };
  const tell = (notice: ServiceNotice) => {
    if (hears.now) said.push(encodeNotice(notice));
    return hears.now;
  };
  const clock = new FakeClock();
  return { said, hears, clock, report: new ServiceReport({ watchdogMs, tell }, clock) };
}

describe('a service report', () => {
  test('says READY once, then what is news, and nothing after STOPPING', () => {
    const { said, report } = told();
    report.look('starting');
    report.ready('0 of 1');
    for (const status of ['0 of 1', '1 of 1', '1 of 1']) report.look(status);
    report.stopping('bye');
    report.stopping('bye');
    report.look('0 of 1');
    assert.deepEqual(said, [
      'STATUS=starting\n',
      'READY=1\nSTATUS=0 of 1\n',
      'STATUS=1 of 1\n',
      'STOPPING=1\nSTATUS=bye\n',
    ]);
  });

  test('says that the inventory is read again, and READY after that; not before it is ready itself', () => {
    const { said, report } = told();
    report.reloading();
    report.reloaded('0 of 1');
    report.ready('0 of 1');
    report.reloading();
    report.reloaded('0 of 1');
    report.stopping('bye');
    report.reloading();
    report.reloaded('0 of 1');
    assert.deepEqual(
      said.map((words) => words.split(/\n|=\d{3,}/)[0]),
      ['READY=1', 'RELOADING=1', 'READY=1', 'STOPPING=1'],
    );
  });

  test('says READY again until it was taken: nobody waits for us longer than a look', () => {
    const { said, hears, report } = told();
    hears.now = false;
    report.ready('0 of 1');
    hears.now = true;
    report.look('1 of 1');
    assert.deepEqual(said, ['READY=1\nSTATUS=1 of 1\n']);
  });

  test('says that we live at half the time that is given, and never where nobody asked', () => {
    const { said, clock } = told(3_000);
    clock.advance(4_400);
    assert.deepEqual(said, ['WATCHDOG=1\n', 'WATCHDOG=1\n', 'WATCHDOG=1\n']);
    const silent = told();
    silent.clock.advance(100_000);
    assert.deepEqual(silent.said, []);
  });

  test('says nothing while the event loop stands still', async (context) => {
    const path = join(scratchFolder(context), 'notify');
    const listener = notifySocket(context, path);
    const manager = serviceManager({ NOTIFY_SOCKET: path, WATCHDOG_USEC: '20000' }, 7);
    const report = new ServiceReport(manager, systemClock);
    await until(() => listener.said().length >= 3, 'three signs of life');
    const before = listener.said().length;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    assert.equal(listener.said().length, before);
    await until(() => listener.said().length > before, 'another one');
    report.stopping('bye');
  });

  test('has sentences that stay sentences with a thousand boards', () => {
    assert.equal(statusSentence(2, [], []), '0 of 2 boards attached');
    assert.equal(
      statusSentence(2, ['node1'], ['http 0.0.0.0 port 9069']),
      '1 of 2 boards attached: node1; missing: http 0.0.0.0 port 9069',
    );
    assert.equal(stopSentence([]), 'stopping; no board is attached');
    const many = Array.from({ length: 1000 }, (_, index) => `node${index}`);
    assert.match(stopSentence(many), /^stopping; the disks of node0, .*, node19 and 980 more go away$/);
  });
});
