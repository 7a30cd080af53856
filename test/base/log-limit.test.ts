import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LOG_LINES_PER_EVENT_AND_MINUTE_MAX } from '../../src/base/limits.js';
import type { Log } from '../../src/base/log.js';
import { limitedLog } from '../../src/base/log-limit.js';
import { FakeClock } from '../support/fake-clock.js';

test('of one event of one board there are so many lines a minute, then their number; others are not touched', () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const write = (facts: object, event: string) => void lines.push(`${event} ${JSON.stringify(facts)}`);
  const inner: Log = { debug: write, info: write, warn: write, error: write };
  const log = limitedLog(inner, clock);
  for (let line = 0; line < LOG_LINES_PER_EVENT_AND_MINUTE_MAX + 50; line += 1)
    log.warn({ board: 'node1' }, 'nbd.request.failed');
  assert.equal(lines.length, LOG_LINES_PER_EVENT_AND_MINUTE_MAX);
  log.warn({ board: 'node2' }, 'nbd.request.failed');
  log.info({ board: 'node1' }, 'boot.started');
  assert.equal(lines.length, LOG_LINES_PER_EVENT_AND_MINUTE_MAX + 2);
  clock.advance(60_000);
  lines.splice(0);
  log.error({ board: 'node1' }, 'nbd.request.failed');
  assert.deepEqual(lines, [
    'log.withheld {"event":"nbd.request.failed","board":"node1","count":50}',
    'nbd.request.failed {"board":"node1"}',
  ]);
});
