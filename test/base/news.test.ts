import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { News } from '../../src/base/news.js';
import { FakeClock } from '../support/fake-clock.js';

describe('what is worth a line', () => {
  test('is each thing once, and again after a while', () => {
    const clock = new FakeClock();
    const news = new News(clock, { againMs: 1000, max: 10 });
    assert.deepEqual([news.isNews('a'), news.isNews('a'), news.isNews('b')], [true, false, true]);
    clock.advance(999);
    assert.equal(news.isNews('a'), false);
    clock.advance(1);
    assert.equal(news.isNews('a'), true);
  });

  test('is no more than so many in that while', () => {
    const clock = new FakeClock();
    const news = new News(clock, { againMs: 1000, max: 2 });
    assert.deepEqual([news.isNews('a'), news.isNews('b'), news.isNews('c')], [true, true, false]);
    clock.advance(1000);
    assert.equal(news.isNews('c'), true);
  });
});
