import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EventPoll, WakeUp } from '../../src/os/event-poll.js';
import { whenOver } from '../support/cleanup.js';

describe('waiting for several descriptors', () => {
  test('tells which can be read, as long as they can', (context) => {
    const poll = new EventPoll();
    whenOver(context, () => poll.close());
    const bells = [1, 2, 3].map(() => new WakeUp());
    whenOver(context, () => {
      for (const bell of bells) bell.close();
    });
    for (const bell of bells) poll.add(bell.descriptor);
    const ready = () => Array.from({ length: poll.wait(0) }, (_, index) => poll.ready(index)).sort((a, b) => a - b);
    assert.deepEqual(ready(), []);
    const [first, second, third] = bells;
    first?.ring();
    third?.ring();
    third?.ring();
    const expected = [first?.descriptor, third?.descriptor].sort((a = 0, b = 0) => a - b);
    assert.deepEqual(ready(), expected);
    assert.deepEqual(ready(), expected);
    third?.silence();
    assert.deepEqual(ready(), [first?.descriptor]);
    second?.ring();
    first?.silence();
    assert.deepEqual(ready(), [second?.descriptor]);
  });

  test('wakes by the bell that another rings', (context) => {
    const poll = new EventPoll();
    whenOver(context, () => poll.close());
    const bell = new WakeUp();
    whenOver(context, () => bell.close());
    poll.add(bell.descriptor);
    new WakeUp(bell.descriptor).ring();
    assert.equal(poll.wait(10_000), 1);
  });
});

describe('waiting for what comes, not for what is there', () => {
  test('tells of each coming once, and again where it is told that not all was taken', (context) => {
    const poll = new EventPoll();
    whenOver(context, () => poll.close());
    const bell = new WakeUp();
    whenOver(context, () => bell.close());
    poll.addEdge(bell.descriptor);
    bell.ring();
    assert.deepEqual([poll.wait(0), poll.ready(0)], [1, bell.descriptor]);
    assert.equal(poll.wait(0), 0);
    bell.ring();
    assert.equal(poll.wait(0), 1);
    poll.notAllTaken(bell.descriptor);
    assert.equal(poll.wait(0), 1);
    bell.silence();
    poll.notAllTaken(bell.descriptor);
    assert.equal(poll.wait(0), 0);
  });
});
