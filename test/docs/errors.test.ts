import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { STAGE_PATIENCE_MS } from '../../src/base/limits.js';
import { BLOCK_ERROR_CODES } from '../../src/block/block-error.js';
import type { DiskList } from '../../src/boards/disks/disk-commands.js';
import { BOOT_STEP_KINDS } from '../../src/boards/journal/boot-record.js';
import { ExitStatus } from '../../src/cli/exit-status.js';
import { errnoOf } from '../../src/nbd/session/transmission.js';
import { projectFile } from '../support/project.js';
import { sampleHistory, sampleStatus } from '../support/status.js';

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

describe('docs/errors.md on boot histories', () => {
  test('lists each event that the log has of them, and no other', () => {
    const source = readFileSync(projectFile('src/app/boot-histories.ts'), 'utf8');
    const said = [...source.matchAll(/'(history\.[a-z.]+)'/g)].map(([, event]) => event);
    const text = section('errors.md', 'Boot histories');
    const documented = [...text.matchAll(/`(history\.[a-z.]+)`/g)].map(([, event]) => event);
    assert.deepEqual([...new Set(documented)].sort(), [...new Set(said)].sort());
  });
});

describe('docs/errors.md on commands on a disk', () => {
  test('quotes sentences that are said', () => {
    const source = readdirSync(projectFile('src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readFileSync(projectFile('src', path), 'utf8'))
      .join('\n');
    const rows = [...section('errors.md', 'Commands on a disk').matchAll(/^\| (`.+`) \| /gm)].map(
      ([, said]) => said ?? '',
    );
    assert.ok(rows.length > 5);
    const quotes = rows.flatMap((row) => [...row.matchAll(/`([^`]+)`/g)].map(([, quote]) => quote ?? ''));
    const pieces = quotes.flatMap((quote) => quote.split(/…|ADDRESS|"x"| x |10 s/)).map((piece) => piece.trim());
    const unsaid = pieces.filter((piece) => piece.length > 3 && !source.includes(piece));
    assert.deepEqual(unsaid, []);
  });
});

describe('docs/how-a-pi-netboots.md', () => {
  test('explains the failure of each stage', () => {
    const text = section('how-a-pi-netboots.md', 'When it does not boot');
    for (const stage of Object.keys(STAGE_PATIENCE_MS)) assert.ok(text.includes(`failed at ${stage}`), stage);
  });
});

describe('docs/http.md', () => {
  const text = readFileSync(projectFile('docs/http.md'), 'utf8');

  test('names events that the log has', () => {
    const source = readdirSync(projectFile('src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readFileSync(projectFile('src', path), 'utf8'))
      .join('\n');
    const rows = [...section('http.md', 'The log').matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, events = '']) =>
      events.split(', '),
    );
    const named = rows.map((event) => event.replaceAll('`', '')).filter((event) => !event.startsWith('…'));
    assert.ok(named.length > 10);
    // Those of the journal are made of its news: `boot.${kind}`.
    const kinds = new Set(
      [...source.matchAll(/kind: '(started|stage|resumed|booted|failed)'/g)].map(([, kind]) => `boot.${kind}`),
    );
    assert.deepEqual(
      named.filter((event) => !source.includes(`'${event}'`) && !kinds.has(event)),
      [],
    );
  });

  test('shows the fields that /api/boards has', () => {
    const example = JSON.parse(/```json\n(.*?)```/s.exec(text)?.[1] ?? '{}');
    const real = JSON.parse(JSON.stringify(sampleStatus('x')));
    assert.deepEqual(Object.keys(example).sort(), Object.keys(real).sort());
    assert.deepEqual(Object.keys(example.boards[0].lastBoot).sort(), Object.keys(real.boards[0].lastBoot).sort());
    assert.deepEqual(Object.keys(example.unknownBoards[0]).sort(), Object.keys(real.unknownBoards[0]).sort());
  });

  test('shows the fields that /api/boards/NAME/snapshots has', () => {
    const [, , example] = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json));
    const snapshot = { name: 'x', takenAt: new Date(0), ownBytes: 1, inUse: true };
    const real: DiskList = { board: 'node1', sizeBytes: 3, currentBytes: 2, snapshots: [snapshot] };
    assert.deepEqual(Object.keys(example), Object.keys(real));
    assert.deepEqual(Object.keys(example.snapshots[0]), Object.keys(snapshot));
  });

  test('shows the fields that /api/boards/NAME has, and every kind of step', () => {
    const [, example] = [...text.matchAll(/```json\n(.*?)```/gs)].map(([, json = '']) => JSON.parse(json));
    const real = sampleHistory('x');
    assert.deepEqual(Object.keys(example).sort(), Object.keys(real).sort());
    assert.deepEqual(Object.keys(example.boots[0]).sort(), Object.keys(real.boots[0] ?? {}).sort());
    for (const kind of BOOT_STEP_KINDS) assert.ok(text.includes(`\`${kind}\``), kind);
  });
});
