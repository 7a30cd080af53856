// The words by which a poll tells a lane of a connection: record, generation, and whether there is room to write.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NBD_CONNECTIONS_MAX } from '../../../src/base/limits.js';
import {
  END_TOKEN,
  GENERATION_MAX,
  generationOf,
  isToWrite,
  recordOf,
  tokenOf,
} from '../../../src/nbd/lanes/lane-table.js';
import { NO_TOKEN } from '../../../src/os/stream-poll.js';

test('a token says what it was made of, up to the last record and generation, and is none of those that mean something else', () => {
  for (const record of [0, 1, 511, NBD_CONNECTIONS_MAX - 1]) {
    for (const generation of [1, 2, 0xffff, GENERATION_MAX - 1, GENERATION_MAX]) {
      for (const toWrite of [false, true]) {
        // As the poll's memory holds it.
        const token = new Int32Array([tokenOf(record, generation, toWrite)])[0] ?? 0;
        assert.deepEqual([recordOf(token), generationOf(token), isToWrite(token)], [record, generation, toWrite]);
        assert.ok(token !== END_TOKEN && token !== NO_TOKEN);
      }
    }
  }
});
