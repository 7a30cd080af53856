// Our client and our transfer with a bad network between them, in played time.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TransferOutcome } from '../../src/boards/journal/events.js';
import { Delivery } from '../../src/tftp/delivery.js';
import { Download, type DownloadCommand, type DownloadResult } from '../../src/tftp/download.js';
import { negotiate } from '../../src/tftp/options.js';
import { decodePacket } from '../../src/tftp/wire.js';
import { fakeFile } from '../support/fake-board.js';
import { FakeClock } from '../support/fake-clock.js';
import { noise, seeded } from '../support/random.js';

interface Weather {
  readonly seed: number;
  /** 0 to 1, in each direction. */
  readonly loss?: number;
  readonly duplication?: number;
  /** Delays differ by up to this much, so packets overtake each other. */
  readonly jitterMs?: number;
}

interface Journey {
  readonly result: DownloadResult;
  readonly outcomes: readonly TransferOutcome[];
  readonly dataSent: number;
}

const SIZE = 20_000;
const FILE = noise(SIZE);

/** Plays until both sides are over; fails if that takes them longer than any of their timeouts allows. */
async function journey(weather: Weather, options: Readonly<Record<string, string>>, inMemory = true): Promise<Journey> {
  const clock = new FakeClock();
  const random = seeded(weather.seed).fraction;
  const outcomes: TransferOutcome[] = [];
  let delivery: Delivery | undefined;
  let result: DownloadResult | undefined;
  let dataSent = 0;

  const travel = (packet: Uint8Array, arrive: (packet: Uint8Array) => void): void => {
    if (random() < (weather.loss ?? 0)) return;
    const copies = random() < (weather.duplication ?? 0) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const mine = packet.slice();
      clock.after(1 + random() * (weather.jitterMs ?? 0), () => arrive(mine));
    }
  };

  const download = new Download({ path: 'f', options: new Map(Object.entries(options)) });
  const clientDoes = (commands: readonly DownloadCommand[]): void => {
    for (const command of commands) {
      if (command.kind === 'finish') result = command.result;
      else travel(command.packet, serverReceives);
    }
  };
  const clientReceives = (packet: Uint8Array): void =>
    clientDoes(download.handle({ kind: 'packet', packet: decodePacket(packet) }, clock.nowMs()));

  const serverReceives = (bytes: Uint8Array): void => {
    const packet = decodePacket(bytes);
    if (packet.kind === 'ack' || packet.kind === 'error') delivery?.handle(packet);
    if (packet.kind !== 'rrq') return;
    if (delivery !== undefined) {
      delivery.handle({ kind: 'askedAgain' });
      return;
    }
    delivery = new Delivery({
      file: fakeFile({ bytes: FILE, inMemory }),
      mode: packet.mode,
      agreement: negotiate(packet.options, packet.mode, SIZE, { blockBytesMax: 1468, windowBlocksMax: 64 }),
      clock,
      channel: {
        send(sent, length) {
          if (sent[1] === 3) dataSent += 1;
          travel(sent.subarray(0, length), clientReceives);
          return true;
        },
        sendAll(packets, length, packetBytes) {
          for (let at = 0; at < length; at += packetBytes) {
            dataSent += 1;
            travel(packets.subarray(at, Math.min(at + packetBytes, length)), clientReceives);
          }
          return true;
        },
        close() {},
      },
      ended: ({ outcome }) => {
        outcomes.push(outcome);
        delivery = undefined;
      },
    });
    delivery.handle({ kind: 'begin' });
  };

  clientDoes(download.handle({ kind: 'begin' }, 0));
  for (let step = 0; step < 30_000 && (result === undefined || delivery !== undefined); step += 1) {
    clock.advance(5);
    if (download.deadlineMs !== undefined && download.deadlineMs <= clock.nowMs()) {
      clientDoes(download.handle({ kind: 'tick' }, clock.nowMs()));
    }
    for (let turn = 0; turn < 4; turn += 1) await Promise.resolve();
  }
  assert.ok(result !== undefined && delivery === undefined, 'both sides came to an end');
  return { result, outcomes, dataSent };
}

const LOCKSTEP = { tsize: '0', blksize: '1024' };
const WINDOWED = { tsize: '0', blksize: '512', windowsize: '8' };
const SEEDS = Array.from({ length: 12 }, (_, index) => index + 1);

describe('a good network', () => {
  for (const [name, options] of Object.entries({ plain: {}, LOCKSTEP, WINDOWED })) {
    test(`${name}: each block is sent once`, async () => {
      for (const inMemory of [true, false]) {
        const { result, outcomes, dataSent } = await journey({ seed: 1 }, options, inMemory);
        assert.equal(result.verdict.outcome, 'complete');
        assert.deepEqual(Buffer.from(result.bytes), Buffer.from(FILE));
        assert.deepEqual(outcomes, ['complete']);
        assert.equal(dataSent, result.blockCount);
      }
    });
  }
});

describe('a network that doubles packets', () => {
  test('in lock-step no block is sent twice: no sorcerer, and no start4.elf that hangs through our doing', async () => {
    for (const seed of SEEDS) {
      const { result, dataSent } = await journey({ seed, duplication: 0.5 }, LOCKSTEP);
      assert.equal(result.verdict.outcome, 'complete');
      assert.equal(dataSent, result.blockCount);
    }
  });

  test('in a window a doubled ACK brings one window more at most', async () => {
    for (const seed of SEEDS) {
      const { result, dataSent } = await journey({ seed, duplication: 0.5 }, WINDOWED);
      assert.deepEqual(Buffer.from(result.bytes), Buffer.from(FILE));
      assert.ok(dataSent <= 2 * result.blockCount + 8, `${dataSent} for ${result.blockCount} blocks`);
    }
  });
});

describe('a network that loses, doubles and reorders', () => {
  for (const [name, options] of Object.entries({ plain: {}, LOCKSTEP, WINDOWED })) {
    test(`${name}: what arrives is the file`, async () => {
      for (const seed of SEEDS) {
        const weather = { seed, loss: 0.05, duplication: 0.1, jitterMs: 30 };
        const { result, dataSent } = await journey(weather, options, seed % 2 === 0);
        assert.equal(result.verdict.outcome, 'complete', `seed ${seed}`);
        assert.deepEqual(Buffer.from(result.bytes), Buffer.from(FILE));
        assert.ok(dataSent < 6 * result.blockCount, `seed ${seed}: ${dataSent} for ${result.blockCount} blocks`);
      }
    });
  }

  test('where next to nothing gets through, both sides give up', async () => {
    for (const seed of SEEDS) await journey({ seed, loss: 0.7 }, LOCKSTEP);
  });
});
