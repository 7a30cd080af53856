import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { projectFile } from '../support/project.js';

const root = projectFile();
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

describe('documents', () => {
  for (const document of documents) {
    test(`${document}: every link leads somewhere`, () => {
      const text = readFileSync(join(root, document), 'utf8');
      const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target));
      const broken = targets.filter((target) => !leadsSomewhere(document, target));
      assert.deepEqual(broken, []);
    });
  }

  test('README names only npm scripts and commands that exist', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map(([, name = '']) => name);
    assert.ok(named.length >= 2);
    assert.deepEqual(
      named.filter((name) => !(name in scripts)),
      [],
    );
  });
});

test('docs/architecture.md names files that exist', () => {
  const text = readFileSync(projectFile('docs/architecture.md'), 'utf8');
  const rooms = 'base|os|block|disk|inventory|boards|dhcp|tftp|nbd|workshop|web|pretend|app|cli';
  const named = [...text.matchAll(new RegExp(`\\b((?:${rooms})/[a-z/-]*[a-z])`, 'g'))].map(([, path = '']) => path);
  assert.ok(named.length > 10);
  assert.deepEqual(
    named.filter((path) => !existsSync(projectFile('src', path)) && !existsSync(projectFile('src', `${path}.ts`))),
    [],
  );
});

function leadsSomewhere(document: string, target: string): boolean {
  const [path = '', anchor] = target.split('#');
  const file = path === '' ? join(root, document) : join(root, dirname(document), path);
  if (!existsSync(file)) return false;
  return anchor === undefined || headings(file).includes(anchor);
}

function headings(file: string): readonly string[] {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('#'));
  return lines.map((line) =>
    line
      .replace(/^#+ /, '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
