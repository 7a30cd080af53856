import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unknownBoard } from '../../src/app/unknown-board.js';

test('who asks for a board that is not there is told the nearest name, else those that there are, a screenful at most', () => {
  const names = Array.from({ length: 100 }, (_, index) => `rack-a-${index}`);
  assert.equal(unknownBoard('rack-a7', ['node1', 'rack-a-7']), 'there is no board "rack-a7": did you mean rack-a-7?');
  assert.match(
    unknownBoard('nobody', names),
    /^there is no board "nobody"; there are rack-a-0, .*rack-a-19 and 80 more$/,
  );
  const hostile = unknownBoard(`\u001b[31m${'x'.repeat(5000)}`, ['node1']);
  assert.ok(hostile.length < 300 && !hostile.includes('\u001b'));
});
