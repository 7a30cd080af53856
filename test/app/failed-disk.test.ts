import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FailedDisk } from '../../src/app/failed-disk.js';
import type { Log } from '../../src/base/log.js';
import { BlockError } from '../../src/block/block-error.js';
import type { Medium } from '../../src/block/flush-queue.js';
import { FakeClock } from '../support/fake-clock.js';

test('a disk that fails is said at once, remembered with its time, and forgotten when it is taken up again', async () => {
  const clock = new FakeClock();
  const lines: string[] = [];
  const at = (level: string) => (facts: object, event: string) =>
    void lines.push(`${level} ${event} ${JSON.stringify(facts)}`);
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  const events: string[] = [];
  let tell: (failure: BlockError | undefined) => void = () => {};
  let isMended = false;
  const medium: Medium = {
    failure: undefined,
    listen(listener) {
      tell = listener;
    },
    async reopen() {
      if (!isMended) throw new BlockError('EIO', { file: '/srv/one.img' });
      tell(undefined);
    },
  };
  const watching = { tell: ({ kind }: { readonly kind: string }) => void events.push(kind), clock, log };
  const disk = new FailedDisk({ board: 'node1', file: '/srv/one.img', medium }, watching);
  assert.deepEqual([disk.failure, await disk.reopen()], [undefined, { answer: 'sound' }]);

  clock.advance(5000);
  tell(new BlockError('EIO', { file: '/srv/one.img', detail: 'fdatasync failed' }));
  const failure = { since: clock.today(), because: '/srv/one.img: EIO: fdatasync failed' };
  assert.deepEqual(disk.failure, failure);
  assert.match(lines[0] ?? '', /^error disk\.failed .*"board":"node1".*brambleboot reopen node1/);
  assert.deepEqual(await disk.reopen(), { answer: 'failed', because: '/srv/one.img: EIO' });
  assert.deepEqual(disk.failure, failure);
  assert.match(lines[1] ?? '', /^warn disk\.reopen\.failed /);
  isMended = true;
  assert.deepEqual(await disk.reopen(), { answer: 'reopened', failure });
  assert.equal(disk.failure, undefined);
  assert.match(lines[2] ?? '', /^warn disk\.reopened .*restart the board/);
  assert.equal(lines.length, 3);
  assert.deepEqual(events, ['diskFailed', 'diskReopened']);
});
