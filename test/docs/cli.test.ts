import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { commandLine } from '../../src/cli/program.js';
import { METRICS } from '../../src/web/metrics.js';
import { projectFile } from '../support/project.js';

const sections = new Map(
  readFileSync(projectFile('docs/cli.md'), 'utf8')
    .split(/^## /m)
    .slice(1)
    .map((section) => [section.split('\n', 1)[0] ?? '', section] as const),
);

describe('docs/cli.md', () => {
  const commands = commandLine(() => {}).commands;

  test('has a section for each command and no other', () => {
    assert.deepEqual([...sections.keys()].sort(), commands.map((command) => command.name()).sort());
  });

  for (const command of commands) {
    test(`lists the options of ${command.name()}, each and no other`, () => {
      const documented = [...(sections.get(command.name()) ?? '').matchAll(/^\| `([^`]+)` \|/gm)].map(
        ([, flags]) => flags,
      );
      assert.deepEqual(
        documented,
        command.options.map((option) => option.flags),
      );
    });
  }
});

describe('docs/metrics.md', () => {
  test('lists each metric with its labels, and no other', () => {
    const rows = readFileSync(projectFile('docs/metrics.md'), 'utf8').matchAll(
      /^\| `(brambleboot_\w+)` \| ([^|]+) \|/gm,
    );
    const documented = [...rows].map(([, name, labels]) => `${name} ${labels}`);
    const declared = Object.values(METRICS).map(
      ({ name, labels }) => `${name} ${labels.length === 0 ? '–' : labels.join(', ')}`,
    );
    assert.deepEqual(documented, declared);
  });
});
