import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND } from '../../src/base/limits.js';
import { RefusalGate } from '../../src/tftp/refusal-gate.js';

describe('refusals', () => {
  test('to addresses that never acknowledged anything are so many a second, to others as many as they ask for', () => {
    const gate = new RefusalGate();
    gate.noteKnown('10.0.0.2');
    const told = (nowMs: number) => {
      let count = 0;
      for (let asked = 0; asked < 1_000; asked += 1) if (gate.mayTell(`10.0.${asked % 250}.9`, nowMs)) count += 1;
      return count;
    };
    assert.equal(told(5), TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND);
    assert.equal(told(1_004), 0);
    for (let asked = 0; asked < 1_000; asked += 1) {
      assert.ok(gate.mayTell('10.0.0.2', 1_004));
      assert.ok(gate.mayTell('127.0.0.9', 1_004));
    }
    assert.equal(told(1_005), TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND);
  });
});
