import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { imageCondition, tellImageEvent } from '../../src/app/image-watch.js';
import type { Log } from '../../src/base/log.js';
import type { ImageStatus } from '../../src/boards/images/image-verdicts.js';
import { imageText } from '../../src/boards/journal/status.js';

const NOBLE: ImageStatus = {
  image: 'noble',
  file: '/srv/noble.img',
  version: {
    id: 'ba5e'.repeat(8),
    file: '/srv/noble.img',
    sizeBytes: 1e10,
    seen: undefined,
    digest: undefined,
    pinnedAt: new Date(0),
  },
  whereabouts: 'inPlace',
  state: { at: 'known' },
};

function textOf(changes: Partial<ImageStatus>): string | undefined {
  return imageText(imageCondition({ ...NOBLE, ...changes }));
}

describe('an image that disks lie over', () => {
  test('is shown while its boards wait for it, and where somebody has to see to it', () => {
    assert.equal(textOf({}), undefined);
    assert.equal(textOf({ state: { at: 'reading', isCompared: false, doneBytes: 5 } }), undefined);
    assert.match(
      textOf({ state: { at: 'reading', isCompared: true, doneBytes: 42e8 } }) ?? '',
      /^it was touched: .*, 42 % of 10 GB, and its boards wait for that$/,
    );
    assert.match(textOf({ state: { at: 'written' } }) ?? '', /^it was written to while it is in use/);
    assert.match(textOf({ state: { at: 'unread', because: 'EIO' } }) ?? '', /tried again: EIO$/);
    assert.match(textOf({ whereabouts: 'gone' }) ?? '', /^it is not there any more: its boards go on/);
    assert.match(textOf({ whereabouts: 'replaced' }) ?? '', /^another file is in its place: /);
  });

  test('has a line in the log for what happens to it: a warning where somebody has to see to it', () => {
    const said: string[] = [];
    const at = (level: string) => (facts: object, event: string) =>
      void said.push(`${level} ${event} ${JSON.stringify(facts)}`);
    const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
    const noble = { image: 'noble', file: '/srv/noble.img' };
    tellImageEvent({ kind: 'touched', ...noble }, log);
    tellImageEvent({ kind: 'unreadable', because: 'EIO', ...noble }, log);
    assert.deepEqual(said, [
      'info image.touched {"image":"noble","file":"/srv/noble.img"}',
      'warn image.unreadable {"because":"EIO","image":"noble","file":"/srv/noble.img"}',
    ]);
  });
});
