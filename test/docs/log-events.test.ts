// The log's events, as docs/http.md lists them. Those at debug, and faults of ours (`….bug`), need no line.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { projectFile } from '../support/project.js';

/** Rooms that log. */
const ROOMS = ['app', 'base', 'boards', 'cli', 'dhcp', 'nbd', 'tftp', 'web'];

const sources = ROOMS.flatMap((room) =>
  readdirSync(projectFile('src', room), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readFileSync(projectFile('src', room, path), 'utf8')),
);
const text = readFileSync(projectFile('docs/http.md'), 'utf8');
const table = text.slice(text.indexOf('## The log'));
const documented = [...table.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
  [...cell.matchAll(/`([a-z][a-z_.]+)`/g)].map(([, event = '']) => event),
);

/** Where an event is the last argument of a call of this level. */
function loggedAt(levels: string): readonly string[] {
  const call = new RegExp(`log\\??(?:\\.(?:${levels})|\\[level\\])\\([^;]*?'([a-z]+(?:\\.[a-z_]+)+)',?\\s*\\)`, 'g');
  return sources.flatMap((source) => [...source.matchAll(call)].map(([, event = '']) => event));
}

describe('the log of docs/http.md', () => {
  test('has each event that is said at info and above', () => {
    const loud = new Set(loggedAt('info|warn|error').filter((event) => !event.endsWith('.bug')));
    assert.ok(loud.size > 25, [...loud].join(' '));
    assert.deepEqual(
      [...loud].filter((event) => !table.includes(`\`${event}\``)),
      [],
    );
  });

  test('has no event that nobody says', () => {
    // `boot.${kind}` is put together from the kinds of news.
    const said = (event: string) => {
      const [topic, kind] = event.split('.');
      return sources.some(
        (source) =>
          source.includes(`'${event}'`) || (source.includes(`\`${topic}.\${kind}\``) && source.includes(`'${kind}'`)),
      );
    };
    assert.ok(documented.length > 25);
    assert.deepEqual(
      documented.filter((event) => !said(event)),
      [],
    );
  });
});
