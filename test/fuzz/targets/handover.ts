import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import { systemClock } from '../../../src/base/clock.js';
import { silentLog } from '../../../src/base/log.js';
import { Malformed } from '../../../src/base/malformed.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { decodeFrozenBoard, encodeFrozenBoard, type FrozenBoard } from '../../../src/nbd/handover/frozen-wire.js';
import { isRefusal } from '../../../src/nbd/handover/keeper.js';
import { silentMeter } from '../../../src/nbd/meter.js';
import { startNbdServer } from '../../../src/nbd/server.js';
import { Command } from '../../../src/nbd/wire/constants.js';
import { duplicate } from '../../../src/os/stream-calls.js';
import { descriptorOf } from '../../../src/os/tcp-probe.js';
import { diskBoard, lookupOf } from '../../support/boards.js';
import { requestBytes } from '../../support/nbd-bytes.js';
import { noise } from '../../support/random.js';
import type { FuzzTarget } from '../target.js';

const SIZE = 1024 * 1024;

/** state/handover/NAME: any text is a board's connections or Malformed; and what was read, a server goes on with. */
export const handover: FuzzTarget = {
  name: 'handover',
  good: async () => [frozen(0), frozen(1), frozen(2), frozen(3)].map((text) => Buffer.from(text)),
  words: [
    '"command":4',
    '"command":7',
    '"lengthBytes":1048576',
    '"offset":"18446744073709551615"',
    '-1',
    'null',
    '[]',
    '"hasCome":true',
    '"failure":"EIO"',
    '"replies":"extended"',
    'JWCVEw==',
  ].map((word) => Buffer.from(word)),
  inputBytesMax: 20_000,
  caseCpuMsMax: 2000,
  start: async () => {
    const bugs: unknown[] = [];
    const listener = createServer();
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const address = listener.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const board = diskBoard('node1', new MemoryDevice(noise(SIZE)));
    const server = await startNbdServer({
      ...{ addresses: ['127.0.0.1'], port: 0, lookup: lookupOf(board), tell() {}, meter: silentMeter },
      ...{ answers: () => true, clock: systemClock },
      log: { ...silentLog, error: (facts) => void bugs.push(facts) },
    });
    return {
      async check(input) {
        // A checksum that fits: without it nearly nothing would come behind it.
        const [line = ''] = Buffer.from(input).toString('utf8').split('\n');
        const found = orMalformed(`${line}\n${crc32(line).toString(16).padStart(8, '0')}\n`);
        if (found === undefined) return;
        assert.equal(encodeFrozenBoard(decodeFrozenBoard('node1', encodeFrozenBoard(found))), encodeFrozenBoard(found));
        for (const connection of found.connections) {
          const [near, far] = await pair();
          far.resume();
          const descriptor = duplicate(descriptorOf(near) ?? -1) ?? -1;
          near.destroy();
          await server
            .thaw(connection, board, descriptor)
            .catch((error: unknown) => assert.ok(isRefusal(error), String(error)));
          far.write(requestBytes({ command: Command.Read, offset: 0n, lengthBytes: 512 }));
          far.end();
          while (server.connections().length > 0) await new Promise((resolve) => setImmediate(resolve));
          far.destroy();
        }
        assert.deepEqual(bugs, []);
        assert.equal(board.writerLock.holder(), undefined);
      },
      async stop() {
        await server.stop();
        listener.close();
      },
    };

    async function pair(): Promise<readonly [Socket, Socket]> {
      const far = connect(port, '127.0.0.1');
      far.on('error', () => {});
      const [near]: Socket[] = await once(listener, 'connection');
      if (near === undefined) throw new Error('no connection');
      return [near, far];
    }
  },
};

function orMalformed(text: string): FrozenBoard | undefined {
  try {
    return decodeFrozenBoard('node1', text);
  } catch (error) {
    assert.ok(error instanceof Malformed, String(error));
    return undefined;
  }
}

function frozen(kind: number): string {
  const request = (command: number, offset: number) => ({
    flags: 0,
    command,
    cookie: 7n,
    offset: BigInt(offset),
    lengthBytes: 1024,
  });
  const piece = (at: number, length: number) => ({ at, bytes: noise(length) });
  const read = { request: request(Command.Read, 0), write: undefined };
  const half = { pieces: [piece(0, 512)], hasCome: false, failure: undefined };
  const whole = { pieces: [piece(0, 512), piece(512, 512)], hasCome: true, failure: undefined };
  return encodeFrozenBoard({
    ...{ board: 'node1', disk: 'disk', modified: undefined, hold: undefined, at: { hostBoot: 'boot', uptimeMs: 1 } },
    connections: [
      {
        ...{ board: 'node1', peer: '127.0.0.1', socket: { kind: 'stored', name: 'one' } },
        terms: { replies: kind % 2 === 0 ? 'simple' : 'structured', tellsAllocation: kind > 1 },
        ...{ input: kind === 1 ? noise(512) : requestBytes({ command: Command.Flush }), unsent: noise(kind) },
        begun: kind === 1 ? { request: request(Command.Write, 8192), leftBytes: 512 } : undefined,
        unanswered: [
          read,
          { request: request(Command.Write, 4096), write: whole },
          ...(kind === 1 ? [{ request: request(Command.Write, 8192), write: half }] : []),
          { request: request(kind === 2 ? Command.Trim : Command.WriteZeroes, 0), write: undefined },
        ],
      },
    ],
  });
}
