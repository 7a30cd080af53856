import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LoopClock } from '../../src/tftp/courier/loop-clock.js';

describe('the clock of a loop', () => {
  test('says how long the loop may wait, and rings what is due, once', () => {
    let nowMs = 1_000.5;
    const clock = new LoopClock(() => nowMs);
    const rung: string[] = [];
    assert.equal(clock.waitMs(500), 500);
    clock.after(300, () => rung.push('second'));
    clock.after(99.2, () => rung.push('first'));
    assert.equal(clock.waitMs(500), 100, 'rounded up: a loop that wakes early would turn for nothing');
    clock.ringDue();
    assert.deepEqual(rung, []);
    nowMs += 100;
    assert.equal(clock.nowMs(), 1_000.5, 'one time for all that happens in a turn');
    clock.look();
    clock.ringDue();
    clock.ringDue();
    assert.deepEqual(rung, ['first']);
    assert.equal(clock.waitMs(500), 200);
    nowMs += 10_000;
    clock.look();
    assert.equal(clock.waitMs(500), 0);
    clock.ringDue();
    assert.deepEqual(rung, ['first', 'second']);
    assert.equal(clock.waitMs(500), 500);
  });

  test('one that was cancelled does not ring, not even by another that is due with it', () => {
    let nowMs = 0;
    const clock = new LoopClock(() => nowMs);
    const rung: string[] = [];
    const late = { cancel: () => {} };
    clock.after(5, () => {
      rung.push('first');
      late.cancel();
    });
    Object.assign(
      late,
      clock.after(5, () => rung.push('cancelled')),
    );
    clock.after(5, () => rung.push('never')).cancel();
    nowMs = 5;
    clock.look();
    clock.ringDue();
    assert.deepEqual(rung, ['first']);
  });
});
