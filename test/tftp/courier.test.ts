// The thread that delivers files, driven as the main port does.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { BOOT_FILE_PIECE_BYTES, TFTP_COURIER_STOP_MS } from '../../src/base/limits.js';
import { silentLog } from '../../src/base/log.js';
import type { BootFile, FilePiece } from '../../src/boards/boot-files/boot-file.js';
import type { CarrierJob, RunningDelivery } from '../../src/tftp/carrier.js';
import { type CourierOptions, startCourier } from '../../src/tftp/courier/courier.js';
import type { DeliveryEnd } from '../../src/tftp/delivery.js';
import { negotiate } from '../../src/tftp/options.js';
import { whenOver } from '../support/cleanup.js';
import { fakeFile } from '../support/fake-board.js';
import { FakeClock } from '../support/fake-clock.js';
import { noise } from '../support/random.js';
import { ack, errorOf, type RawPeer, rawPeer } from '../support/tftp.js';

const BLOCK = 1024;
const SIZE = 2 * BOOT_FILE_PIECE_BYTES + 5_000;
const CONTENT = noise(SIZE);

type End = DeliveryEnd | { readonly noPort: string };

async function courierUnderTest(context: TestContext, options: Partial<CourierOptions> = {}) {
  const courier = startCourier({ clock: systemClock, log: silentLog, ...options });
  whenOver(context, () => courier.stop());
  const peer = await rawPeer(context);
  const deliver = (file: BootFile, more: Partial<CarrierJob> = {}) => {
    let delivery: RunningDelivery | undefined;
    const end = new Promise<End>((resolve) => {
      delivery = courier.deliver({
        file,
        mode: 'octet',
        agreement: negotiate(new Map([['blksize', String(BLOCK)]]), 'octet', file.sizeBytes, LIMITS),
        from: '127.0.0.1',
        to: { address: '127.0.0.1', port: peer.port },
        answers: () => true,
        ended: resolve,
        noPort: (because) => resolve({ noPort: because }),
        ...more,
      });
    });
    return { end, delivery: delivery as RunningDelivery };
  };
  return { courier, peer, deliver };
}

const LIMITS = { blockBytesMax: 65464, windowBlocksMax: 64 };

/** Acknowledges to the end; the bytes that came. */
async function takeWhole(peer: RawPeer): Promise<Buffer> {
  const { port } = await peer.next();
  peer.send(ack(0), port);
  const blocks: Buffer[] = [];
  for (let block = 1; ; block += 1) {
    const { bytes } = await peer.next();
    assert.equal(bytes.readUInt16BE(2), block);
    blocks.push(bytes.subarray(4));
    peer.send(ack(block), port);
    if (bytes.length < BLOCK + 4) return Buffer.concat(blocks);
  }
}

/** A file whose pieces are told of one by one, each as soon as the one before it was asked for. */
function followedFile(closed: () => void): BootFile {
  let follower: (pieces: readonly FilePiece[]) => void = () => {};
  const shared = new Uint8Array(new SharedArrayBuffer(SIZE));
  shared.set(CONTENT);
  return {
    ...fakeFile({ bytes: CONTENT }),
    follow: (to) => {
      follower = to;
    },
    readNow: (offset, target) => {
      target.set(CONTENT.subarray(offset, offset + target.length));
      if (offset === 0) return true;
      const start = Math.floor(offset / BOOT_FILE_PIECE_BYTES) * BOOT_FILE_PIECE_BYTES;
      follower([{ offset: start, bytes: shared.subarray(start, start + BOOT_FILE_PIECE_BYTES) }]);
      return true;
    },
    close: closed,
  };
}

describe('the courier', () => {
  test('delivers what lies in shared pieces, and asks for what does not', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    let closed = 0;
    const files = [
      followedFile(() => {
        closed += 1;
      }),
      fakeFile({ bytes: CONTENT }),
      fakeFile({ bytes: CONTENT, inMemory: false }),
    ];
    for (const file of files) {
      const { end } = deliver(file);
      assert.deepEqual(await takeWhole(peer), Buffer.from(CONTENT));
      assert.deepEqual(await end, { outcome: 'complete', because: undefined, sentBytes: SIZE, bug: undefined });
    }
    assert.equal(closed, 1);
  });

  test('asks for a file block by block only where no piece is told of', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    let reads = 0;
    const followed = followedFile(() => {});
    const counted = {
      ...followed,
      readNow: (offset: number, target: Uint8Array) => {
        reads += 1;
        return followed.readNow(offset, target);
      },
    };
    deliver(counted);
    await takeWhole(peer);
    assert.equal(reads, 4, 'the first block, and the first of each piece');
  });

  test('tells how far it is: confirmed with the first ACK, quiet since the last', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    const { delivery, end } = deliver(fakeFile({ bytes: CONTENT }));
    const { port } = await peer.next();
    assert.equal(delivery.confirmed, false);
    const askedMs = systemClock.nowMs();
    peer.send(ack(0), port);
    await peer.next();
    peer.send(ack(1), port);
    await peer.next();
    assert.equal(delivery.confirmed, true);
    assert.ok(delivery.quietSinceMs >= askedMs - 1, 'in the time of this thread’s clock');
    assert.ok(delivery.quietSinceMs <= systemClock.nowMs() + 1);
    delivery.handle({ kind: 'stop', because: 'enough' });
    assert.deepEqual(errorOf((await peer.next()).bytes), [0, 'enough']);
    const ended = await end;
    assert.equal('outcome' in ended && ended.outcome, 'error');
  });

  test('ends a transfer whose file is lost or has changed, and no other', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    const rows: readonly [BootFile, RegExp][] = [
      [fakeFile({ bytes: CONTENT, held: 'changed' }), /changed/],
      [fakeFile({ bytes: CONTENT, lostFrom: 0 }), /disk failed/],
      [{ ...fakeFile({ bytes: CONTENT }), hold: () => Promise.reject(new TypeError('ours')) }, /internal error/],
    ];
    for (const [file, because] of rows) {
      const { end } = deliver(file);
      peer.send(ack(0), (await peer.next()).port);
      assert.match(errorOf((await peer.next()).bytes)[1], because);
      const ended = await end;
      assert.equal('outcome' in ended && ended.outcome, 'error');
    }
    deliver(fakeFile({ bytes: CONTENT }));
    assert.deepEqual(await takeWhole(peer), Buffer.from(CONTENT));
  });

  test('a duplicate in front of an ACK, and a flood of them, hold nothing up', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    const { end } = deliver(fakeFile({ bytes: noise(20 * BLOCK + 1) }));
    const { port } = await peer.next();
    peer.send(ack(0), port);
    for (let block = 1; block <= 21; block += 1) {
      assert.equal((await peer.next()).bytes.readUInt16BE(2), block);
      for (let count = 0; count < 100; count += 1) peer.send(ack(block - 1), port);
      peer.send(ack(block), port);
    }
    const ended = await end;
    assert.equal('outcome' in ended && ended.outcome, 'complete');
  });

  test('an ERROR right behind an ACK ends the transfer at once', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    const { end } = deliver(followedFile(() => {}));
    const { port } = await peer.next();
    for (let block = 0; block < 3; block += 1) {
      peer.send(ack(block), port);
      await peer.next();
    }
    peer.send(ack(3), port);
    peer.send(Uint8Array.of(0, 5, 0, 0, 0x62, 0), port);
    const ended = await end;
    assert.equal('outcome' in ended && ended.because, 'b');
  });

  test('says so if there is no port to be had', async (context) => {
    const { deliver } = await courierUnderTest(context);
    const ended = await deliver(fakeFile({ bytes: CONTENT }), { from: '192.0.2.1' }).end;
    assert.ok('noPort' in ended && ended.noPort.includes('EADDRNOTAVAIL'));
  });

  test('a stranger is told so and harms nothing; an ERROR of one is not answered', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    deliver(fakeFile({ bytes: noise(10) }));
    const { port } = await peer.next();
    const stranger = await rawPeer(context);
    stranger.send(Uint8Array.of(0, 5, 0, 0, 0), port);
    for (let count = 0; count < 8; count += 1) stranger.send(ack(0), port);
    assert.equal(errorOf((await stranger.next()).bytes)[0], 5);
    peer.send(ack(0), port);
    assert.equal((await peer.next()).bytes.length, 14);
    assert.ok(stranger.waiting() <= 3);
  });

  test('a stranger that is not to be answered at all hears nothing', async (context) => {
    const { peer, deliver } = await courierUnderTest(context);
    const asked: string[] = [];
    let heard = (): void => {};
    const answers = (address: string) => {
      asked.push(address);
      heard();
      return false;
    };
    const { end } = deliver(fakeFile({ bytes: noise(10) }), { answers });
    const { port } = await peer.next();
    const stranger = await rawPeer(context);
    const wasAsked = new Promise<void>((resolve) => (heard = resolve));
    stranger.send(ack(0), port);
    await wasAsked;
    peer.send(ack(0), port);
    await peer.next();
    peer.send(ack(1), port);
    await end;
    assert.deepEqual([asked, stranger.waiting()], [['127.0.0.1'], 0]);
  });

  test('a thread that ends by itself takes its transfers with it; the next has a new one', async (context) => {
    const { deliver } = await courierUnderTest(context, { thread: new URL('data:text/javascript,process.exit(3)') });
    for (let round = 0; round < 2; round += 1) {
      const ended = await deliver(fakeFile({ bytes: CONTENT })).end;
      assert.match('because' in ended ? (ended.because ?? '') : '', /thread/);
    }
  });

  test('a thread that does not end when it is told to is ended', async () => {
    const clock = new FakeClock();
    const thread = new URL('data:text/javascript,setInterval(() => {}, 1000)');
    const stopped = startCourier({ clock, log: silentLog, thread }).stop();
    clock.advance(TFTP_COURIER_STOP_MS);
    await stopped;
  });
});
