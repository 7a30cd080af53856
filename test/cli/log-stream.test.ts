import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LOG_BUFFER_BYTES_MAX } from '../../src/base/limits.js';
import { LogStream } from '../../src/cli/log-stream.js';
import { whenOver } from '../support/cleanup.js';
import { scratchFolder } from '../support/scratch.js';

test('lines are written in order, all of them', async (context) => {
  const file = join(scratchFolder(context), 'log');
  const descriptor = openSync(file, 'w');
  whenOver(context, () => closeSync(descriptor));
  const stream = new LogStream(descriptor);
  for (let line = 0; line < 1000; line += 1) stream.write(`${line}\n`);
  await stream.idle();
  assert.deepEqual(
    readFileSync(file, 'utf8').trim().split('\n').map(Number),
    Array.from({ length: 1000 }, (_, line) => line),
  );
  await stream.idle();
});

test('a full disk costs lines and nothing else, and what waits is bounded', async (context) => {
  const descriptor = openSync('/dev/full', 'w');
  whenOver(context, () => closeSync(descriptor));
  const stream = new LogStream(descriptor);
  const line = `${'x'.repeat(1024 * 1024)}\n`;
  for (let lines = 0; lines < 2 + LOG_BUFFER_BYTES_MAX / line.length; lines += 1) stream.write(line);
  await stream.idle();
});
