import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Malformed, unlessMalformed } from '../../src/base/malformed.js';

test('what is malformed is as good as nothing, and any other throw is a bug that goes on', () => {
  assert.equal(
    unlessMalformed(() => 1),
    1,
  );
  const malformed = () => {
    throw new Malformed('no packet');
  };
  assert.equal(unlessMalformed(malformed), undefined);
  const bug = () => {
    throw new TypeError('a bug');
  };
  assert.throws(() => unlessMalformed(bug), TypeError);
});
