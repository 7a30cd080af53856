import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BOOT_HISTORY_BYTES_MAX } from '../../../src/base/limits.js';
import type { BoardPast } from '../../../src/boards/journal/boot-record.js';
import { decodePast, encodePast, type Moment, sinceMs } from '../../../src/boards/journal/history-wire.js';
import { Journal } from '../../../src/boards/journal/journal.js';
import { FakeClock } from '../../support/fake-clock.js';

const NOW: Moment = { at: new Date(Date.UTC(2026, 10, 20, 21, 14, 40)), hostBoot: 'b007', uptimeMs: 8_123_456 };

/** As a journal makes it, of as many boots; `said` is what a stranger puts wherever it can. */
function pastOf(boots: number, { steps = 2, said = 'start4.elf' } = {}): BoardPast {
  const clock = new FakeClock();
  const journal = new Journal(clock);
  const ended = { kind: 'transferEnded', peer: '10.0.0.5', role: 'kernel', durationMs: 1 } as const;
  for (let boot = 0; boot < boots; boot += 1) {
    journal.record({
      ...{ board: 'node1', kind: 'discover', mac: 'm', serial: 's', model: said, interfaceName: 'eth0' },
      answer: 'offered',
    });
    journal.record({ board: 'node1', kind: 'bootFileRequested', peer: '10.0.0.5', path: said });
    for (let step = 0; step < steps; step += 1) {
      clock.advance(10);
      const path = `${step}${said}`;
      journal.record({ board: 'node1', ...ended, path, outcome: 'complete', sizeBytes: 9, sentBytes: 9 });
    }
  }
  journal.record({ board: 'node1', kind: 'attached', peer: '10.0.0.5' });
  return journal.past('node1');
}

function decoded(content: string) {
  const verdict = decodePast('node1', content);
  if (verdict.answer === 'foreign') throw new assert.AssertionError({ message: verdict.because });
  return verdict;
}

describe('the file of a board’s boots', () => {
  test('is one line for the board and one for each boot, the newest first', () => {
    const lines = encodePast('node1', pastOf(2), NOW).split('\n');
    assert.equal(lines.length, 4);
    assert.deepEqual(JSON.parse(lines[0] ?? ''), {
      ...{ format: 'brambleboot boots', version: 1, board: 'node1', writtenAt: '2026-11-20T21:14:40.000Z' },
      ...{ hostBoot: 'b007', uptimeMs: 8_123_456, isLast: false, attachedFrom: '10.0.0.5' },
    });
    assert.equal(JSON.parse(lines[1] ?? '').state.at, 'booted');
    assert.equal(JSON.parse(lines[2] ?? '').state.at, 'failed');
  });

  test('says again what was written', () => {
    const past = pastOf(3, { said: 'ä"\\\u202e<b>\n' });
    const { written, ...read } = decoded(encodePast('node1', past, NOW)).past;
    assert.deepEqual(read, past);
    assert.deepEqual(written, NOW);
  });

  test('has at most so many bytes, of which the newest boot is never left out, whatever strangers say', () => {
    for (const said of ['\u0000', '"', '\ud800', '€', '😀', 'x']) {
      const content = encodePast('node1', pastOf(30, { steps: 300, said: said.repeat(600) }), NOW);
      assert.ok(Buffer.byteLength(content) <= BOOT_HISTORY_BYTES_MAX);
      const { past, lost } = decoded(content);
      assert.equal(lost, 0);
      assert.ok(past.boots.length >= 1);
      assert.equal(past.boots[0]?.state.at, 'booted');
    }
    const ordinary = encodePast('node1', pastOf(20, { steps: 60 }), NOW);
    assert.equal(decoded(ordinary).past.boots.length, 20);
  });

  test('has no control character of a stranger in it, escaped or not', () => {
    const content = encodePast('node1', pastOf(1, { said: '\u001b[31m\u0007\u202e' }), NOW);
    for (const part of ['\\u', '\u001b', '\u202e']) assert.ok(!content.includes(part), part);
  });
});

describe('a file that is not as it should be', () => {
  const whole = encodePast('node1', pastOf(3), NOW);
  const lines = whole.split('\n');

  test('a damaged line costs its boot, not the others', () => {
    const damaged = [lines[0], lines[1], '{"by":"discover"', lines[3], ''].join('\n');
    const { past, lost, why } = decoded(damaged);
    assert.deepEqual([past.boots.length, lost], [2, 1]);
    assert.equal(why, 'line 3: no boot, or one that was cut short');
    const wrong = decoded([lines[0], (lines[1] ?? '').replace('"filesRead":', '"filesRead":-'), ''].join('\n'));
    assert.match(wrong.why ?? '', /^line 2: filesRead: /);
  });

  test('a file cut short anywhere costs the boot at the cut and those behind it', () => {
    for (let length = 0; length < whole.length; length += 7) {
      const verdict = decodePast('node1', whole.slice(0, length));
      const linesLeft = whole.slice(0, length).split('\n').length - 1;
      if (linesLeft === 0 && length < (lines[0] ?? '').length) assert.equal(verdict.answer, 'foreign');
      else assert.ok(verdict.answer === 'past' && verdict.past.boots.length >= linesLeft - 1);
    }
  });

  test('one of a newer version, of another board or of something else is not believed, and that is said', () => {
    for (const [content, because] of [
      [whole.replace('"version":1', '"version":2'), /a newer version of Brambleboot/],
      [whole.replace('"node1"', '"node2"'), /of another name/],
      [whole.replace('"isLast":false', '"isLast":"no"'), /its first line is damaged/],
      ['', /not that of a list of boots/],
      ['#!/bin/sh\n', /not that of a list of boots/],
      ['['.repeat(200_000), /not that of a list of boots/],
      [`{"__proto__":{"format":"brambleboot boots"}}`, /not that of a list of boots/],
    ] as const) {
      const verdict = decodePast('node1', content);
      assert.match(verdict.answer === 'foreign' ? verdict.because : 'read', because);
    }
  });

  test('any text at all is a past or is not, and what is read of it can be written and remembered', () => {
    const broken = fc
      .tuple(fc.nat(whole.length), fc.nat(20), fc.string({ unit: 'binary', maxLength: 20 }))
      .map(([at, length, put]) => whole.slice(0, at) + put + whole.slice(at + length));
    fc.assert(
      fc.property(fc.oneof(broken, fc.string({ unit: 'binary' }), fc.json()), (content) => {
        const verdict = decodePast('node1', content);
        if (verdict.answer === 'foreign') return;
        const journal = new Journal(new FakeClock());
        journal.remember('node1', verdict.past, 5);
        journal.expire();
        const again = decoded(encodePast('node1', journal.past('node1'), NOW));
        assert.equal(again.lost, 0);
        assert.equal(again.past.boots.length, verdict.past.boots.length);
      }),
      { numRuns: 3000 },
    );
  });
});

describe('how long ago something was written', () => {
  const later = (change: Partial<Moment>): Moment => ({ ...NOW, ...change });
  const at = (ms: number) => new Date(NOW.at.getTime() + ms);

  test('the kernel’s own time tells within one boot of the host, whatever the wall clock was set to', () => {
    for (const wall of [at(5000), at(-1e12), at(1e12)])
      assert.equal(sinceMs(NOW, later({ uptimeMs: NOW.uptimeMs + 5000, at: wall }), 600_000), 5000);
    assert.equal(sinceMs(NOW, later({ uptimeMs: NOW.uptimeMs + 1e9 }), 600_000), 1e9);
  });

  test('the wall clock tells across one, if it says something sensible', () => {
    const rebooted = (ms: number) => later({ hostBoot: 'c0de', uptimeMs: 3000, at: at(ms) });
    assert.equal(sinceMs(NOW, rebooted(90_000), 600_000), 90_000);
    assert.equal(sinceMs(NOW, rebooted(-1e12), 600_000), undefined);
    assert.equal(sinceMs(NOW, rebooted(1e12), 600_000), undefined);
    const blind = later({ hostBoot: undefined, at: at(1000) });
    assert.equal(sinceMs({ ...NOW, hostBoot: undefined }, blind, 600_000), 1000);
  });

  test('a time of the kernel that goes backwards tells nothing', () => {
    assert.equal(sinceMs(NOW, later({ uptimeMs: 1 }), 600_000), undefined);
  });
});
