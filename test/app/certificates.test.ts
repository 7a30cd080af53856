import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Certificates } from '../../src/app/certificates.js';
import { FakeClock } from '../support/fake-clock.js';
import { keptLog } from '../support/log-lines.js';

const DAY_MS = 24 * 3600 * 1000;

function certificates(daysLeft: number) {
  const clock = new FakeClock();
  const validTo = new Date(clock.today().getTime() + daysLeft * DAY_MS);
  const certificate = { use: 'server', file: 'tls/c.pem', subject: 'CN=b', names: '', validTo } as const;
  const kept = keptLog();
  return { clock, kept, subject: new Certificates([certificate], { clock, log: kept.log }) };
}

describe('a certificate', () => {
  test('that ends within thirty days is warned of at the start and once a day, and is an error when it is over', () => {
    const { clock, kept, subject } = certificates(2.5);
    subject.start();
    clock.advance(4 * DAY_MS);
    assert.deepEqual(kept.events(), [
      ...['nbd.certificate.ending', 'nbd.certificate.ending', 'nbd.certificate.ending'],
      ...['nbd.certificate.expired', 'nbd.certificate.expired'],
    ]);
    assert.deepEqual(
      [kept.lines[0]?.['file'], kept.lines[0]?.['left']],
      ['tls/c.pem', '2 days 12 h, until 2026-01-03'],
    );
    subject.stop();
    clock.advance(10 * DAY_MS);
    assert.equal(kept.lines.length, 5);
  });

  test('that lasts is no news until its last thirty days', () => {
    const { clock, kept, subject } = certificates(31.9);
    subject.start();
    clock.advance(1.9 * DAY_MS - 3600_000);
    assert.deepEqual(kept.events(), []);
    clock.advance(2 * 3600_000);
    assert.deepEqual(kept.events(), ['nbd.certificate.ending']);
    subject.stop();
  });

  test('is measured by the seconds that are left, below zero when it is over', () => {
    const { clock, subject } = certificates(1);
    assert.deepEqual(subject.secondsLeft(), [['server', 86_400]]);
    clock.advance(2 * DAY_MS);
    assert.deepEqual(subject.secondsLeft(), [['server', -86_400]]);
  });
});
