import assert from 'node:assert/strict';
import { test } from 'node:test';
import { historyText } from '../../src/cli/board-history.js';
import { sampleHistory } from '../support/status.js';

test('a board alone is said to be as it is in the list: with what its disk lacks', () => {
  const board = JSON.parse(JSON.stringify(sampleHistory('x')));
  assert.match(
    historyText(board),
    /^node1: failed, no disk, disk full, disk failed, serial bf9fed6f, image noble \(overlay, [^)]*\)\n/m,
  );
  const sound = { ...board, waitingForSpace: undefined, diskFailure: undefined, own: undefined };
  assert.match(historyText(sound), /^node1: failed, serial bf9fed6f/m);
});
