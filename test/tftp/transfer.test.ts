import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  TFTP_DATA_PATIENCE_MS,
  TFTP_FIRST_RESENDS_MAX,
  TFTP_FIRST_TIMEOUT_MS_MAX,
  TFTP_FIRST_TIMEOUT_MS_MIN,
  TFTP_RESEND_MS,
  TFTP_SILENCE_MS_MAX,
} from '../../src/base/limits.js';
import type { Agreement } from '../../src/tftp/options.js';
import { Transfer, type TransferCommand, type TransferEvent } from '../../src/tftp/transfer.js';

/** A transfer whose time is the test's. */
class Play {
  readonly transfer: Transfer;
  nowMs = 0;

  constructor(agreement: Partial<Agreement> = {}) {
    const terms = {
      blockBytes: 512,
      windowBlocks: 1,
      resendMs: TFTP_RESEND_MS,
      acknowledged: new Map([['tsize', '9']]),
    };
    this.transfer = new Transfer({ ...terms, ...agreement });
  }

  event(event: TransferEvent): readonly TransferCommand[] {
    return this.transfer.handle(event, this.nowMs);
  }

  ack(block: number): readonly TransferCommand[] {
    return this.event({ kind: 'ack', block });
  }

  /** Lets time pass until the next tick is due, and tells it. */
  untilTick(): readonly TransferCommand[] {
    assert.ok(this.transfer.deadlineMs !== undefined, 'a timer runs');
    this.nowMs = this.transfer.deadlineMs;
    return this.event({ kind: 'tick' });
  }

  /** Up to DATA 1 (or the first window) being sent. */
  begun(): this {
    this.event({ kind: 'begin' });
    this.ack(0);
    this.event({ kind: 'held' });
    return this;
  }
}

const blocks = (first: number, last = first): TransferCommand[] => [{ kind: 'sendBlocks', first, last }];
const finish = (outcome: string, because?: string) => [{ kind: 'finish', outcome, because }];
const PLAIN = { acknowledged: new Map<string, string>() };

describe('a transfer in lock-step', () => {
  test('offers options, holds the file at ACK 0, sends block by block and ends with the last ACK', () => {
    const play = new Play();
    assert.deepEqual(play.event({ kind: 'begin' }), [{ kind: 'sendOptionAck' }]);
    assert.deepEqual(play.ack(0), [{ kind: 'hold' }]);
    assert.deepEqual(play.event({ kind: 'held' }), blocks(1));
    assert.deepEqual(play.ack(1), blocks(2));
    assert.deepEqual(play.event({ kind: 'final', block: 2 }), []);
    assert.deepEqual(play.ack(2), finish('complete'));
    assert.equal(play.transfer.deadlineMs, undefined);
    assert.deepEqual(play.ack(2), [], 'and nothing comes behind');
  });

  test('without options it holds the file at once and begins with DATA 1', () => {
    const play = new Play(PLAIN);
    assert.deepEqual(play.event({ kind: 'begin' }), [{ kind: 'hold' }]);
    assert.deepEqual(play.event({ kind: 'held' }), blocks(1));
  });

  test('a repeated ACK is never answered, however often', () => {
    const play = new Play().begun();
    assert.deepEqual(play.ack(0), []);
    play.ack(1);
    for (let count = 0; count < 10; count += 1) assert.deepEqual(play.ack(1), []);
    assert.deepEqual(play.ack(0), [], 'nor one from before');
  });

  test('an ACK of the future is ignored', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    assert.deepEqual(play.ack(1), []);
    play.ack(0);
    play.event({ kind: 'held' });
    for (const block of [2, 3, 0x7fff, 0xffff]) assert.deepEqual(play.ack(block), []);
    assert.deepEqual(play.ack(1), blocks(2));
  });

  test('block numbers go on with 0 behind 65535', () => {
    const play = new Play().begun();
    for (let block = 1; block < 0x1_0000; block += 1) play.ack(block);
    assert.deepEqual(play.ack(0xffff), [], 'repeated');
    assert.deepEqual(play.ack(0), blocks(0x1_0001));
    assert.deepEqual(play.ack(1), blocks(0x1_0002));
    assert.deepEqual(play.ack(0), [], 'one from before');
  });

  test('a lost block is sent again by the timer, with longer and longer waits, until the peer is given up', () => {
    const play = new Play().begun();
    play.ack(1);
    const waits: number[] = [];
    for (;;) {
      const sinceMs = play.nowMs;
      const commands = play.untilTick();
      waits.push(play.nowMs - sinceMs);
      if (commands[0]?.kind === 'finish') {
        assert.deepEqual(commands, finish('timeout', 'block 2 was not acknowledged within 30 s'));
        break;
      }
      assert.deepEqual(commands, blocks(2));
    }
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 8_000, 7_000]);
    assert.equal(play.nowMs, TFTP_SILENCE_MS_MAX);
  });

  test('the waits begin anew with each block', () => {
    const play = new Play().begun();
    play.ack(1);
    play.untilTick();
    play.untilTick();
    play.ack(2);
    const sinceMs = play.nowMs;
    assert.deepEqual(play.untilTick(), blocks(3));
    assert.equal(play.nowMs - sinceMs, TFTP_RESEND_MS);
  });

  test('a tick that comes early does nothing', () => {
    const play = new Play().begun();
    play.ack(1);
    play.nowMs = TFTP_RESEND_MS - 1;
    assert.deepEqual(play.event({ kind: 'tick' }), []);
  });

  test('a lost last ACK ends in a timeout', () => {
    const play = new Play().begun();
    play.ack(1);
    play.event({ kind: 'final', block: 2 });
    let commands: readonly TransferCommand[] = [];
    while (play.transfer.deadlineMs !== undefined) commands = play.untilTick();
    assert.deepEqual(commands, finish('timeout', 'the last blocks were not acknowledged within 30 s'));
  });

  test('a wait that the peer asked for is kept, and given twice', () => {
    const play = new Play({ resendMs: 25_000 }).begun();
    play.ack(1);
    assert.deepEqual(play.untilTick(), blocks(2));
    assert.equal(play.nowMs, 25_000);
    assert.equal(play.untilTick()[0]?.kind, 'finish');
    assert.equal(play.nowMs, 50_000);
  });

  test('a peer that asked for minutes gets one', () => {
    const play = new Play({ resendMs: 255_000 }).begun();
    play.ack(1);
    assert.equal(play.untilTick()[0]?.kind, 'finish');
    assert.equal(play.nowMs, 60_000);
  });
});

describe('a probe', () => {
  test('an ERROR behind the OACK ends it at once', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    assert.deepEqual(play.event({ kind: 'error', message: 'Early terminate' }), finish('probe', 'Early terminate'));
  });

  test('an ERROR behind DATA 1 is one too, whether DATA 1 was acknowledged or not', () => {
    const play = new Play().begun();
    assert.deepEqual(play.event({ kind: 'error', message: '' }), finish('probe', ''));
    const acknowledged = new Play().begun();
    acknowledged.ack(1);
    assert.deepEqual(acknowledged.event({ kind: 'error', message: '' }), finish('probe', ''));
  });

  test('an ERROR later on is an error', () => {
    const play = new Play().begun();
    play.ack(1);
    play.ack(2);
    assert.deepEqual(play.event({ kind: 'error', message: 'disk full' }), finish('error', 'disk full'));
  });

  test('silence behind the OACK ends it after the first timeout, with nothing sent again', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    assert.deepEqual(play.untilTick(), finish('probe'));
    assert.equal(play.nowMs, TFTP_FIRST_TIMEOUT_MS_MIN);
  });

  test('silence behind DATA 1 does so too', () => {
    for (const play of [new Play().begun(), new Play(PLAIN).begun()])
      assert.deepEqual(play.untilTick(), finish('probe'));
  });

  test('the first timeout is twice the wait that the peer asked for, within bounds', () => {
    for (const [resendMs, firstTimeoutMs] of [
      [10, TFTP_FIRST_TIMEOUT_MS_MIN],
      [5_000, 10_000],
      [255_000, TFTP_FIRST_TIMEOUT_MS_MAX],
    ] as const) {
      const play = new Play({ resendMs });
      play.event({ kind: 'begin' });
      play.untilTick();
      assert.equal(play.nowMs, firstTimeoutMs);
    }
  });
});

describe('before DATA 1 is acknowledged', () => {
  test('a lost OACK is sent again, by the timer, to a peer that has asked again', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    play.nowMs = 2_000;
    assert.deepEqual(play.event({ kind: 'askedAgain' }), [], 'not at once (raspberrypi/firmware#1041)');
    assert.deepEqual(play.untilTick(), [{ kind: 'sendOptionAck' }]);
    assert.equal(play.nowMs, 2_000 + TFTP_RESEND_MS);
    assert.deepEqual(play.ack(0), [{ kind: 'hold' }]);
  });

  test('a lost DATA 1 is sent again, by the timer, to a peer that has repeated its ACK 0 or its RRQ', () => {
    for (const again of [{ kind: 'ack', block: 0 }, { kind: 'askedAgain' }] as const) {
      const play = new Play().begun();
      play.nowMs = 2_000;
      assert.deepEqual(play.event(again), []);
      assert.deepEqual(play.untilTick(), blocks(1));
      assert.deepEqual(play.ack(1), blocks(2));
    }
  });

  test('a peer that asks for ever gets few packets and then a verdict: our packets do not reach it', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    let sentCount = 0;
    for (;;) {
      play.event({ kind: 'askedAgain' });
      const [command] = play.untilTick();
      if (command?.kind === 'finish') {
        assert.equal(command.outcome, 'timeout');
        break;
      }
      sentCount += 1;
    }
    assert.equal(sentCount, TFTP_FIRST_RESENDS_MAX);
  });

  test('whatever is forged, no more is sent than was received', () => {
    const forged: fc.Arbitrary<TransferEvent | 'untilTick'> = fc.oneof(
      fc.constant({ kind: 'askedAgain' } as const),
      fc.constant('untilTick' as const),
      fc.integer({ min: 2, max: 0xffff }).map((block) => ({ kind: 'ack', block }) as const),
    );
    fc.assert(
      fc.property(fc.array(forged, { maxLength: 40 }), (events) => {
        const play = new Play();
        let received = 1;
        let sent = play.event({ kind: 'begin' }).length;
        for (const event of events) {
          if (event === 'untilTick' && play.transfer.deadlineMs === undefined) break;
          const commands = event === 'untilTick' ? play.untilTick() : play.event(event);
          if (event !== 'untilTick') received += 1;
          sent += commands.filter(({ kind }) => kind !== 'finish').length;
        }
        assert.ok(sent <= received);
        assert.equal(play.transfer.confirmed, false);
      }),
    );
  });
});

describe('a window', () => {
  const window = (windowBlocks: number) => new Play({ windowBlocks }).begun();

  test('goes out whole, and the next when its last block is acknowledged', () => {
    const play = new Play({ windowBlocks: 4 });
    play.event({ kind: 'begin' });
    play.ack(0);
    assert.deepEqual(play.event({ kind: 'held' }), blocks(1, 4));
    assert.deepEqual(play.ack(4), blocks(5, 8));
  });

  test('an ACK inside it begins a new one at the following block at once', () => {
    const play = window(4);
    assert.deepEqual(play.ack(2), blocks(3, 6));
  });

  test('the ACK in front of it does so too, but once per block', () => {
    const play = window(4);
    play.ack(4);
    assert.deepEqual(play.ack(4), blocks(5, 8));
    assert.deepEqual(play.ack(4), []);
    assert.deepEqual(play.ack(2), [], 'one from before never');
    play.ack(6);
    assert.deepEqual(play.ack(6), [], 'for 6 it was begun anew already');
    assert.deepEqual(play.ack(10), blocks(11, 14));
  });

  test('ends at the last block', () => {
    const play = window(4);
    play.event({ kind: 'final', block: 3 });
    assert.deepEqual(play.ack(2), blocks(3, 3));
    assert.deepEqual(play.ack(3), finish('complete'));
  });

  test('is sent again by the timer from the first block that is missing', () => {
    const play = window(4);
    play.ack(2);
    assert.deepEqual(play.untilTick(), blocks(3, 6));
  });

  test('rolls over inside it', () => {
    const play = window(64);
    for (let block = 64; block < 0x1_0000; block += 64) play.ack(block);
    assert.deepEqual(play.ack(0), blocks(0x1_0001, 0x1_0040));
    assert.deepEqual(play.ack(0x20), blocks(0x1_0021, 0x1_0060));
  });
});

describe('a slow or failing disk', () => {
  test('a block that is not there yet is sent when it is, and the peer is not given up meanwhile', () => {
    const play = new Play({ windowBlocks: 4 }).begun();
    play.event({ kind: 'starved', block: 3 });
    play.nowMs = 20_000;
    assert.deepEqual(play.event({ kind: 'tick' }), []);
    assert.deepEqual(play.ack(3), [], 'it was not sent, so that is an ACK of the future');
    assert.deepEqual(play.event({ kind: 'available', block: 2 }), []);
    assert.deepEqual(play.event({ kind: 'available', block: 3 }), blocks(3, 4));
    play.ack(4);
    assert.deepEqual(play.untilTick(), blocks(5, 8));
  });

  test('a peer that is gone is given up even if every block has to be waited for', () => {
    const play = new Play().begun();
    play.ack(1);
    let ticks = 0;
    while (play.untilTick()[0]?.kind !== 'finish') {
      play.event({ kind: 'starved', block: 2 });
      play.nowMs += 10;
      play.event({ kind: 'available', block: 2 });
      ticks += 1;
      assert.ok(ticks < 20);
    }
  });

  test('a disk that never answers ends it with an ERROR', () => {
    for (const stuck of ['holding', 'starved'] as const) {
      const play = new Play();
      play.event({ kind: 'begin' });
      play.ack(0);
      if (stuck === 'starved') {
        play.event({ kind: 'held' });
        play.event({ kind: 'starved', block: 1 });
      }
      const kinds = play.untilTick().map(({ kind }) => kind);
      assert.deepEqual(kinds, ['sendError', 'finish']);
      assert.equal(play.nowMs, TFTP_DATA_PATIENCE_MS);
    }
  });

  test('a file that was changed between RRQ and ACK 0, or is lost on the way, ends it with ERROR 0', () => {
    const changed = new Play();
    changed.event({ kind: 'begin' });
    changed.ack(0);
    const [first] = changed.event({ kind: 'changed' });
    assert.ok(first?.kind === 'sendError' && first.code === 0);
    const lost = new Play().begun().event({ kind: 'lost', because: 'the disk failed' });
    assert.deepEqual(lost, [
      { kind: 'sendError', code: 0, message: 'the disk failed' },
      { kind: 'finish', outcome: 'error', because: 'the disk failed' },
    ]);
  });
});

describe('ended by us', () => {
  test('a stop tells a peer that is really there, and nobody else', () => {
    const play = new Play();
    play.event({ kind: 'begin' });
    assert.deepEqual(play.event({ kind: 'stop', because: 'stop' }), finish('probe', 'stop'));
    const kinds = new Play()
      .begun()
      .event({ kind: 'stop', because: 'stop' })
      .map(({ kind }) => kind);
    assert.deepEqual(kinds, ['sendError', 'finish']);
  });

  test('abandoned means without a word', () => {
    assert.deepEqual(new Play().begun().event({ kind: 'abandon', because: 'x' }), finish('probe', 'x'));
  });
});
