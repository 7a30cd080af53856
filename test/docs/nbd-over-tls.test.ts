// What of the how-to would cost somebody a disk or a boot, if it were copied.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { projectFile } from '../support/project.js';

const howTo = readFileSync(projectFile('docs/howto/nbd-over-tls.md'), 'utf8');
/** Each with the paragraph before it. */
const examples = [...howTo.matchAll(/([^\n]*)\n\n```(\w*)\n([\s\S]*?)\n```/g)].map(
  ([, introduction = '', language = '', content = '']) => ({ introduction, language, content }),
);

describe('the examples of docs/howto/nbd-over-tls.md', () => {
  test('write to a disk only beneath words that say so', () => {
    const writing = examples.filter(({ content }) => /^nbdcopy (?!'?nbds:)/m.test(content));
    assert.equal(writing.length, 1);
    for (const { introduction } of writing) assert.match(introduction, /overwrites its disk/);
    assert.ok(examples.some(({ content }) => /^nbdcopy 'nbds:\S+' \S+$/m.test(content)));
  });

  test('leave boards with nbd-client alone their disk', () => {
    const settings = examples.filter(({ language }) => language === 'yaml').map(({ content }) => content);
    assert.ok(settings.length >= 3);
    for (const yaml of settings) assert.match(yaml, /mode: allowed/);
  });
});
