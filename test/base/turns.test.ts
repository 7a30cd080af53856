import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Turns } from '../../src/base/turns.js';

describe('turns', () => {
  test('begin one after the other, also behind one that fails, and answer each its own', async () => {
    const steps: string[] = [];
    let open = () => {};
    const turns = new Turns(
      new Promise<void>((resolve) => {
        open = resolve;
      }),
    );
    const action = (name: string) => async () => {
      steps.push(`${name} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      steps.push(`${name} ends`);
      if (name === 'second') throw new Error('it fails');
      return name;
    };
    const all = ['first', 'second', 'third'].map((name) => turns.take(action(name)));
    const over = turns.over();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(steps, []);
    open();
    await over;
    assert.deepEqual(
      steps,
      ['first', 'second', 'third'].flatMap((name) => [`${name} begins`, `${name} ends`]),
    );
    const verdicts = await Promise.allSettled(all);
    assert.deepEqual(
      verdicts.map((verdict) => (verdict.status === 'fulfilled' ? verdict.value : verdict.reason.message)),
      ['first', 'it fails', 'third'],
    );
  });
});
