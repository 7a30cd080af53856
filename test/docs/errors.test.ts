import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { STAGE_PATIENCE_MS } from '../../src/base/limits.js';
import { BLOCK_ERROR_CODES } from '../../src/block/block-error.js';
import { ExitStatus } from '../../src/cli/exit-status.js';
import { errnoOf } from '../../src/nbd/transmission.js';
import { projectFile } from '../support/project.js';

function section(document: string, title: string): string {
  const text = readFileSync(projectFile('docs', document), 'utf8');
  return text.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? '';
}

describe('docs/errors.md', () => {
  test('lists each exit status, and no other', () => {
    const documented = [...section('errors.md', 'Exit status').matchAll(/^\| (\d+) \|/gm)].map(([, status]) =>
      Number(status),
    );
    assert.deepEqual(documented, Object.values(ExitStatus));
  });

  test('lists each error of a disk, and what the board is told of it', () => {
    const rows = [...section('errors.md', 'Block devices').matchAll(/^\| `(\w+)` \|.*\| (\w+) \|$/gm)];
    const documented = rows.map(([, code, errno]) => `${code} ${errno}`);
    assert.deepEqual(
      documented,
      BLOCK_ERROR_CODES.map((code) => `${code} ${errnoOf(code)}`),
    );
  });
});

describe('docs/how-a-pi-netboots.md', () => {
  test('explains the failure of each stage', () => {
    const text = section('how-a-pi-netboots.md', 'When it does not boot');
    for (const stage of Object.keys(STAGE_PATIENCE_MS)) assert.ok(text.includes(`failed at ${stage}`), stage);
  });
});
