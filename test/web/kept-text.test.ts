import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KeptText } from '../../src/web/kept-text.js';
import { FakeClock } from '../support/fake-clock.js';

function counted(make: (count: number) => Promise<string> = async (count) => `made ${count}`) {
  const clock = new FakeClock();
  let count = 0;
  const kept = new KeptText(() => make(++count), 1000, clock);
  return { clock, kept };
}

describe('a kept text', () => {
  test('is made once for all who ask within its time, and anew after it', async () => {
    const { clock, kept } = counted();
    const [first, second] = await Promise.all([kept.text(), kept.text()]);
    clock.advance(999);
    assert.deepEqual([first, second, await kept.text()], ['made 1', 'made 1', 'made 1']);
    clock.advance(1);
    assert.equal(await kept.text(), 'made 2');
  });

  test('that could not be made is not kept', async () => {
    const { kept } = counted(async (count) => {
      if (count === 1) throw new Error('no');
      return 'yes';
    });
    await assert.rejects(kept.text(), /no/);
    assert.equal(await kept.text(), 'yes');
  });
});
