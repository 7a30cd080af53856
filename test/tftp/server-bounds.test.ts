import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { TFTP_PEER_TRANSFERS_MAX, TFTP_TRANSFERS_MAX } from '../../src/base/limits.js';
import { silentLog } from '../../src/base/log.js';
import type { OpenVerdict } from '../../src/boards/boot-files/boot-file.js';
import type { BootRequest } from '../../src/tftp/boot-request.js';
import { fetchFile } from '../../src/tftp/client.js';
import { openMainPort } from '../../src/tftp/main-port.js';
import { RefusalGate } from '../../src/tftp/refusal-gate.js';
import { TransferReporter } from '../../src/tftp/reporter.js';
import { RunningRequests } from '../../src/tftp/running-requests.js';
import { lookupOf } from '../support/boards.js';
import { fakeBoard, fakeFile } from '../support/fake-board.js';
import { noise } from '../support/random.js';
import { ack, errorOf, rawPeer, rrq, serve } from '../support/tftp.js';

const aBoard = () => fakeBoard('00000001', { 'kernel8.img': noise(300_000), whole: noise(1024) });

describe('bounds', () => {
  test('10,000 forged requests take no more than their places, and a real board gets its file meanwhile', async (context) => {
    const events: string[] = [];
    const { board, traffic } = aBoard();
    const running = new RunningRequests<BootRequest>();
    const world = {
      clock: systemClock,
      log: silentLog,
      tell: (event: { kind: string }) => events.push(event.kind),
    };
    const port = await openMainPort({
      place: { address: '127.0.0.1', port: 0 },
      courier: undefined,
      limits: { blockBytesMax: 1468, windowBlocksMax: 64 },
      answers: () => true,
      lookup: lookupOf(board),
      clock: systemClock,
      reporter: new TransferReporter(world),
      running,
      refusals: new RefusalGate(),
    });
    context.after(() => {
      running.stopAll('over');
      port.close();
    });
    const forge = async (from: number, to: number): Promise<void> => {
      for (let index = from; index < to; index += 1) {
        const address = `127.9.${index >> 8}.${index & 0xff}`;
        port.received(Buffer.from(rrq('00000001/whole', 'tsize', '0'), 'latin1'), { address, port: 9 });
        if (index % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
        assert.ok(running.size <= TFTP_TRANSFERS_MAX);
      }
    };
    await forge(0, 5_000);
    const real = fetchFile({
      path: '00000001/kernel8.img',
      options: new Map([['blksize', '1468']]),
      server: port.local,
      local: { address: '127.0.0.1', port: 0 },
      clock: systemClock,
    });
    const [, { verdict }] = await Promise.all([forge(5_000, 10_000), real]);
    assert.equal(verdict.outcome, 'complete');
    assert.ok(running.size <= TFTP_TRANSFERS_MAX);
    assert.equal(traffic.opened - traffic.closed, running.size);
  });

  test('one address has only its share, and its silent transfers make room for its new ones', async (context) => {
    const { board } = aBoard();
    const served = await serve(context, [board]);
    for (let count = 0; count < TFTP_PEER_TRANSFERS_MAX + 5; count += 1) {
      const peer = await rawPeer(context);
      peer.send(rrq('00000001/whole', 'tsize', '0'), served.port);
      assert.equal((await peer.next()).bytes.readUInt16BE(0), 6);
      assert.ok(served.server.transferCount() <= TFTP_PEER_TRANSFERS_MAX);
    }
  });

  test('opens that hang take places but never more', async (context) => {
    const never = fakeBoard('00000001', { hung: () => new Promise<OpenVerdict>(() => {}) });
    const served = await serve(context, [never.board]);
    const peers = await Promise.all(Array.from({ length: TFTP_PEER_TRANSFERS_MAX + 1 }, () => rawPeer(context)));
    for (const peer of peers) peer.send(rrq('00000001/hung'), served.port);
    const last = peers.at(-1);
    assert.ok(last !== undefined);
    assert.match(errorOf((await last.next()).bytes)[1], /too many/);
    assert.equal(served.server.transferCount(), TFTP_PEER_TRANSFERS_MAX);
  });
});

describe('start and stop', () => {
  test('a start that fails half-way leaves nothing bound', async (context) => {
    const free = await rawPeer(context);
    const { board } = aBoard();
    const settings = { port: free.port, addresses: ['127.0.0.3', '192.0.2.1'] };
    await assert.rejects(serve(context, [board], settings), { code: 'EADDRNOTAVAIL' });
    const served = await serve(context, [board], { port: free.port, addresses: ['127.0.0.3'] });
    assert.deepEqual(served.server.addresses(), [{ address: '127.0.0.3', port: free.port }]);
    await assert.rejects(serve(context, [board], { port: free.port, addresses: ['127.0.0.3'] }), {
      code: 'EADDRINUSE',
    });
  });

  test('a stop lets a running transfer finish, and refuses new ones', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    const { port } = await peer.next();
    const stopped = served.server.stop();
    const other = await rawPeer(context);
    other.send(rrq('00000001/whole'), served.port);
    assert.match(errorOf((await other.next()).bytes)[1], /stopped/);
    for (const block of [1, 2]) {
      peer.send(ack(block), port);
      assert.equal((await peer.next()).bytes.readUInt16BE(2), block + 1);
    }
    peer.send(ack(3), port);
    await stopped;
    assert.equal((await served.ended(1))[0]?.outcome, 'complete');
  });

  test('one that is not done in time ends with ERROR 0', async (context) => {
    const served = await serve(context, [aBoard().board]);
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/whole'), served.port);
    const { port } = await peer.next();
    peer.send(ack(1), port);
    await peer.next();
    await served.server.stop(0);
    assert.equal(errorOf((await peer.next()).bytes)[0], 0);
    assert.equal((await served.ended(1))[0]?.outcome, 'error');
  });

  test('a file that is opened when all is over is closed again', async (context) => {
    let open: (verdict: OpenVerdict) => void = () => {};
    let closed = (): void => {};
    const { board } = fakeBoard('00000001', { late: () => new Promise((resolve) => (open = resolve)) });
    const served = await serve(context, [board]);
    const peer = await rawPeer(context);
    peer.send(rrq('00000001/late'), served.port);
    while (served.server.transferCount() === 0) await new Promise((resolve) => setImmediate(resolve));
    await served.server.stop(0);
    const closing = new Promise<void>((resolve) => (closed = resolve));
    open({ answer: 'file', file: { ...fakeFile({ bytes: noise(9) }), close: () => closed() } });
    await closing;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(served.server.transferCount(), 0);
  });
});
