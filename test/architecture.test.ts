// Holds the rooms of the house: which folder may import which, and which files are doors to the world (docs/architecture.md).
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { projectFile } from './support/project.js';

/** Folder → folders it may import from, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  os: ['base'],
  block: ['base', 'os'],
  disk: ['base', 'block'],
  inventory: ['base'],
  boards: ['base', 'os', 'block', 'disk', 'inventory'],
  dhcp: ['base', 'os', 'boards'],
  tftp: ['base', 'os', 'boards'],
  nbd: ['base', 'os', 'block', 'boards'],
  workshop: ['base', 'os', 'block', 'disk', 'boards', 'inventory'],
  web: ['base', 'boards'],
  pretend: ['base', 'os', 'boards', 'dhcp', 'tftp', 'nbd'],
  app: ['base', 'os', 'block', 'disk', 'inventory', 'boards', 'dhcp', 'tftp', 'nbd', 'workshop', 'web'],
  cli: ['base', 'os', 'block', 'disk', 'inventory', 'boards', 'workshop', 'web', 'pretend', 'app'],
  'main.ts': ['cli'],
};

/** Foreign module → the only files that may import it. */
const DOORS: Readonly<Record<string, readonly RegExp[]>> = {
  koffi: [/^os\//],
  'node:dgram': [/^os\//, /^tftp\/udp-socket\.ts$/],
  'node:net': [/^nbd\/(listening|floor|client\/client|transport|handshake\/tls-door)\.ts$/],
  'node:tls': [/^nbd\/handshake\/tls-door\.ts$/, /^inventory\/tls-files\.ts$/],
  'node:http': [/^cli\/ask-server\.ts$/],
  'node:fs': [
    /^block\/file-(device|opening)\.ts$/,
    /^boards\/images\/(image-facts|image-file|digest-thread|pin-folder)\.ts$/,
    /^inventory\/(read|files|tls-files)\.ts$/,
    /^os\//,
    /^app\/((state|history)-folder|handover\/handover-folder)\.ts$/,
    /^boards\/disks\/(disk-folder|promotion|versions-in-use)\.ts$/,
    /^cli\//,
    /^workshop\//,
  ],
  'node:child_process': [/^os\/connection-hold\.ts$/],
};

interface Import {
  readonly file: string;
  readonly target: string;
}

const files = readdirSync(projectFile('src'), { recursive: true, encoding: 'utf8' }).filter((path) =>
  path.endsWith('.ts'),
);
const imports: readonly Import[] = files.flatMap(importsOf);

describe('the rooms', () => {
  test('every folder of src is one of the rooms', () => {
    const strangers = files.map(roomOf).filter((room) => !(room in MAY_IMPORT));
    assert.deepEqual([...new Set(strangers)], []);
  });

  test('imports go one way', () => {
    const wrong = imports
      .filter(({ target }) => target.startsWith('src/'))
      .filter(({ file, target }) => !mayImport(roomOf(file), roomOf(target.slice('src/'.length))))
      .map(({ file, target }) => `${file} imports ${target}`);
    assert.deepEqual(wrong, []);
  });

  test('only the doors reach the world', () => {
    const wrong = imports
      .filter(({ target }) => door(target) !== undefined)
      .filter(({ file, target }) => !door(target)?.some((pattern) => pattern.test(file)))
      .map(({ file, target }) => `${file} imports ${target}`);
    assert.deepEqual(wrong, []);
  });

  test('the check itself sees an import', () => {
    assert.ok(imports.length > 10);
    assert.equal(mayImport('base', 'nbd'), false);
    assert.equal(mayImport('tftp', 'nbd'), false);
  });
});

function importsOf(file: string): Import[] {
  const text = readFileSync(projectFile('src', file), 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g);
  return [...found].map(([, specifier = '']) => ({
    file,
    target: specifier.startsWith('.')
      ? normalize(join('src', dirname(file), specifier)).replace(/\.js$/, '.ts')
      : specifier,
  }));
}

function roomOf(path: string): string {
  return path.split('/')[0] ?? path;
}

function mayImport(from: string, to: string): boolean {
  return from === to || (MAY_IMPORT[from]?.includes(to) ?? false);
}

function door(target: string): readonly RegExp[] | undefined {
  return Object.entries(DOORS).find(([name]) => target === name || target.startsWith(`${name}/`))?.[1];
}
