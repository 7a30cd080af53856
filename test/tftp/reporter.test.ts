import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TFTP_NOT_FOUND_LOG_MS, TFTP_NOT_FOUND_PEERS_MAX } from '../../src/base/limits.js';
import type { BoardEvent, TransferOutcome } from '../../src/boards/journal/events.js';
import { TransferReporter } from '../../src/tftp/reporter.js';
import { FakeClock } from '../support/fake-clock.js';

function listening() {
  const clock = new FakeClock();
  const lines: { readonly level: string; readonly event: string; readonly facts: object }[] = [];
  const events: BoardEvent[] = [];
  const level = (name: string) => (facts: object, event: string) => lines.push({ level: name, event, facts });
  const log = { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') };
  const reporter = new TransferReporter({ clock, log, tell: (event) => events.push(event) });
  const end = (outcome: TransferOutcome, peer = '192.168.1.5'): void => {
    const numbers = { role: undefined, sizeBytes: undefined, sentBytes: 0, durationMs: 1 };
    reporter.ended({ board: 'node1', peer, path: 'start4.elf', outcome, because: undefined, ...numbers });
  };
  return { clock, lines, events, end };
}

describe('the log', () => {
  test('probes and not-found are for debugging, the end of a transfer is news', () => {
    const { lines, end } = listening();
    for (const outcome of ['complete', 'probe', 'not_found', 'timeout', 'error'] as const) end(outcome);
    assert.deepEqual(
      lines.map(({ level, event }) => `${level} ${event}`),
      [
        'info tftp.transfer.finished',
        'debug tftp.transfer.probed',
        'debug tftp.transfer.not_found',
        'info tftp.transfer.timed_out',
        'warn tftp.transfer.failed',
      ],
    );
  });

  test('a Pi that asks in vain every 15 ms fills the journal, but not the log', () => {
    const { clock, lines, events, end } = listening();
    for (let count = 0; count < 1_000; count += 1) {
      end('not_found');
      clock.advance(15);
    }
    assert.equal(events.length, 1_000);
    assert.equal(lines.length, 1 + Math.floor(15_000 / TFTP_NOT_FOUND_LOG_MS));
    assert.ok(lines[1] !== undefined && 'unsaidCount' in lines[1].facts && lines[1].facts.unsaidCount === 666);
    end('not_found', '192.168.1.6');
    assert.equal(lines.length, 3, 'another peer has a line of its own');
  });

  test('peers beyond the bound are forgotten, the one heard of longest ago first', () => {
    const { lines, end } = listening();
    for (let index = 0; index <= TFTP_NOT_FOUND_PEERS_MAX; index += 1)
      end('not_found', `10.0.${index >> 8}.${index & 0xff}`);
    const saidCount = lines.length;
    end('not_found', '10.0.0.1');
    assert.equal(lines.length, saidCount, 'still counted');
    end('not_found', '10.0.0.0');
    assert.equal(lines.length, saidCount + 1, 'forgotten');
  });
});
