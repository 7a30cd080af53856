import assert from 'node:assert/strict';
import { BOOT_HISTORY_BYTES_MAX, BOOTS_REMEMBERED_MAX } from '../../../src/base/limits.js';
import { decodePast, encodePast, type Moment } from '../../../src/boards/journal/history-wire.js';
import { Journal } from '../../../src/boards/journal/journal.js';
import { FakeClock } from '../../support/fake-clock.js';
import type { FuzzTarget } from '../target.js';

const NOW: Moment = { at: new Date(Date.UTC(2026, 10, 20, 21, 14, 40)), hostBoot: 'b007', uptimeMs: 8_123_456 };

/** state/boots/NAME.jsonl: any text is a past or foreign, and what was read can be written, read again and gone on with. */
export const bootHistory: FuzzTarget = {
  name: 'boot-history',
  good: async () => [Buffer.from(written(1)), Buffer.from(written(BOOTS_REMEMBERED_MAX))],
  words: ['"at":"underWay"', '"kind":"restart"', '"version":2', 'null', '-1', '1e999', '"9999-12-31"', '{}', '\n'].map(
    (word) => Buffer.from(word),
  ),
  inputBytesMax: 20_000,
  caseCpuMsMax: 2000,
  start: async () => ({
    check(input) {
      const verdict = decodePast('node1', Buffer.from(input).toString('utf8'));
      if (verdict.answer === 'foreign') return assert.ok(verdict.because.length > 0);
      const { past, lost, why } = verdict;
      assert.ok(past.boots.length + lost <= BOOTS_REMEMBERED_MAX);
      assert.equal(lost > 0, why !== undefined);
      const again = encodePast('node1', past, past.written);
      assert.ok(Buffer.byteLength(again) <= BOOT_HISTORY_BYTES_MAX);
      const reread = decodePast('node1', again);
      assert.ok(reread.answer === 'past' && reread.lost === 0);
      assert.deepEqual(reread.past, { ...past, boots: past.boots.slice(0, reread.past.boots.length) });
      const journal = new Journal(new FakeClock());
      journal.remember('node1', past, 1000);
      journal.record({ board: 'node1', kind: 'attached', peer: '10.0.0.5' });
      encodePast('node1', journal.past('node1'), NOW);
    },
  }),
};

function written(boots: number): string {
  const clock = new FakeClock();
  const journal = new Journal(clock);
  for (let boot = 0; boot < boots; boot += 1) {
    journal.record({
      ...{ board: 'node1', kind: 'discover', mac: 'm', serial: 's', model: 'Pi 4', interfaceName: 'eth0' },
      answer: 'offered',
    });
    journal.record({ board: 'node1', kind: 'bootFileRequested', peer: '10.0.0.5', path: 'config.txt' });
    clock.advance(1000);
  }
  return encodePast('node1', journal.past('node1'), NOW);
}
