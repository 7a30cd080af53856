import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DHCP_DELAYED_ANSWERS_MAX } from '../../src/base/limits.js';
import { DelayedAnswers } from '../../src/dhcp/delayed-answers.js';
import { FakeClock } from '../support/fake-clock.js';

describe('DelayedAnswers', () => {
  test('sends late, then wakes up', () => {
    const { clock, delayed, log, answer } = setUp();
    delayed.add('a', answer('one'));
    clock.advance(1999);
    assert.deepEqual(log, []);
    clock.advance(10_000);
    assert.deepEqual(log, ['2000 send one', '2600 wake one', '3200 wake one']);
    assert.equal(delayed.size, 0);
  });

  test('a second question while the answer waits gets the one answer, when it was due', () => {
    const { clock, delayed, log, answer } = setUp();
    delayed.add('a', answer('one'));
    clock.advance(1500);
    delayed.add('a', answer('two'));
    clock.advance(10_000);
    assert.deepEqual(log, ['2000 send two', '2600 wake two', '3200 wake two']);
  });

  test('asking without end does not put the answer off', () => {
    const { clock, delayed, log, answer } = setUp();
    for (let time = 0; time < 3000; time += 100) {
      delayed.add('a', answer('again'));
      clock.advance(100);
    }
    assert.equal(log.filter((line) => line.includes('send')).length, 1);
  });

  test('a question after the answer begins anew, without the old wake-ups', () => {
    const { clock, delayed, log, answer } = setUp();
    delayed.add('a', answer('one'));
    clock.advance(2700);
    delayed.add('a', answer('two'));
    clock.advance(10_000);
    assert.deepEqual(log, ['2000 send one', '2600 wake one', '4700 send two', '5300 wake two', '5900 wake two']);
  });

  test('boards do not disturb each other', () => {
    const { clock, delayed, log, answer } = setUp();
    delayed.add('a', answer('one'));
    clock.advance(100);
    delayed.add('b', { ...answer('two'), wakeUpsMs: [] });
    clock.advance(2200);
    assert.deepEqual(log, ['2000 send one', '2100 send two']);
  });

  test('are bounded in number', () => {
    const { clock, delayed, answer } = setUp();
    const verdicts = Array.from({ length: 100_000 }, (_, number) => delayed.add(`${number}`, answer('x')));
    assert.equal(delayed.size, DHCP_DELAYED_ANSWERS_MAX);
    assert.equal(verdicts.filter((verdict) => verdict === 'scheduled').length, DHCP_DELAYED_ANSWERS_MAX);
    assert.equal(delayed.add('0', answer('y')), 'scheduled');
    clock.advance(3200);
    assert.equal(delayed.add('new', answer('x')), 'scheduled');
  });

  test('are dropped when they are cancelled', () => {
    const { clock, delayed, log, answer } = setUp();
    delayed.add('a', answer('one'));
    delayed.add('b', answer('two'));
    clock.advance(2100);
    delayed.add('c', answer('three'));
    delayed.cancelAll();
    clock.advance(10_000);
    assert.deepEqual(log, ['2000 send one', '2000 send two']);
  });
});

function setUp() {
  const clock = new FakeClock();
  const log: string[] = [];
  const answer = (name: string) => ({
    sendAfterMs: 2000,
    wakeUpsMs: [600, 1200],
    send: () => void log.push(`${clock.nowMs()} send ${name}`),
    wakeUp: () => void log.push(`${clock.nowMs()} wake ${name}`),
  });
  return { clock, delayed: new DelayedAnswers(clock), log, answer };
}
