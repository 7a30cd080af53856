import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TFTP_PEER_TRANSFERS_MAX, TFTP_QUIET_MS_MIN, TFTP_TRANSFERS_MAX } from '../../src/base/limits.js';
import { type RunningRequest, RunningRequests } from '../../src/tftp/running-requests.js';

interface TestRequest extends RunningRequest {
  standing: RunningRequest['standing'];
  quietSinceMs: number;
  over: boolean;
}

function full(standing: RunningRequest['standing']) {
  const running = new RunningRequests<TestRequest>();
  const ask = (peerAddress: string, port: number): TestRequest => {
    const request: TestRequest = {
      key: `${peerAddress}:${port}`,
      peerAddress,
      standing,
      quietSinceMs: 0,
      over: false,
      abandon() {
        this.over = true;
        running.remove(this);
      },
      stop() {},
    };
    running.add(request);
    return request;
  };
  const all: TestRequest[] = [];
  for (let port = 0; all.length < TFTP_TRANSFERS_MAX; port += 1) {
    for (let host = 1; host <= TFTP_TRANSFERS_MAX / TFTP_PEER_TRANSFERS_MAX; host += 1) {
      all.push(ask(`10.0.0.${host}`, port));
    }
  }
  return { running, all, ask };
}

test('the last one that begins is not taken for gone', async () => {
  const { running, all } = full('unconfirmed');
  const [last, ...others] = all;
  for (const request of others) request.abandon('');
  let isEmpty = false;
  const emptied = running.emptied().then(() => {
    isEmpty = true;
  });
  if (last !== undefined) running.begun(last);
  await Promise.resolve();
  assert.deepEqual([isEmpty, running.size], [false, 1]);
  last?.abandon('');
  await emptied;
});

describe('when every place is taken', () => {
  test('the oldest that nobody acknowledged gives way, its age counted from when the peer heard of it', () => {
    const { running, all } = full('unconfirmed');
    const [first, second] = all;
    if (first !== undefined) running.begun(first);
    assert.equal(running.size, TFTP_TRANSFERS_MAX);
    assert.equal(running.makeRoom('10.0.0.99', 0), true);
    assert.deepEqual([first?.over, second?.over], [false, true]);
  });

  test('a few addresses that acknowledged once and fell silent do not keep a board out', () => {
    const { running, all } = full('confirmed');
    for (const request of all) request.quietSinceMs = 1_000;
    const [quietest] = all.filter((request) => request.peerAddress === '10.0.0.1').slice(-1);
    if (quietest !== undefined) quietest.quietSinceMs = 999;
    assert.equal(running.makeRoom('10.0.0.99', 998 + TFTP_QUIET_MS_MIN), false, 'a pause costs nobody his file');
    assert.equal(running.makeRoom('10.0.0.99', 1_000 + TFTP_QUIET_MS_MIN), true);
    assert.deepEqual(
      all.filter((request) => request.over),
      [quietest],
    );
  });

  test('one address has its share, and its quiet transfers make room for its own', () => {
    const running = new RunningRequests<TestRequest>();
    const { all } = full('confirmed');
    const ofOne = all.filter((request) => request.peerAddress === '10.0.0.1');
    for (const request of ofOne) running.add(request);
    assert.equal(running.makeRoom('10.0.0.1', TFTP_QUIET_MS_MIN - 1), false);
    assert.equal(running.makeRoom('10.0.0.2', 0), true);
  });

  test('those that are just being opened are left alone', () => {
    const { running } = full('opening');
    assert.equal(running.makeRoom('10.0.0.99', 1e9), false);
  });
});
