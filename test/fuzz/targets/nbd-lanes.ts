import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { systemClock } from '../../../src/base/clock.js';
import { silentLog } from '../../../src/base/log.js';
import { connectNbd } from '../../../src/nbd/client/client.js';
import { silentMeter } from '../../../src/nbd/meter.js';
import { startNbdServer } from '../../../src/nbd/server.js';
import { lookupOf } from '../../support/boards.js';
import { fileBoard } from '../../support/lane-server.js';
import { noise, seeded } from '../../support/random.js';
import { keptSeeds } from '../seeds.js';
import { type FuzzTarget, hashOf } from '../target.js';
import { STREAMS, WORDS } from './nbd.js';

const SIZE = 1024 * 1024;
const CONTENT = noise(SIZE, 3);
/** As a boot partition: what is written there the lanes hand over. */
const WATCHED = { start: 64 * 1024, end: 128 * 1024 };
const NAME = 'nbd-lanes';

/** A connection over a real socket to disks that are files, so that lanes have it, beside a client that must notice nothing. */
export const nbdLanes: FuzzTarget = {
  name: NAME,
  // What foreign clients were recorded to send is kept among the seeds.
  good: async () => [...STREAMS, ...keptSeeds().flatMap(({ target, input }) => (target === NAME ? [input] : []))],
  words: WORDS,
  inputBytesMax: 20_000,
  caseCpuMsMax: 4000,
  start: async () => {
    const bugs: unknown[] = [];
    const endings: (() => Promise<void>)[] = [];
    const context = { after: (action: () => Promise<void>) => void endings.push(action) };
    const disks = [
      await fileBoard(context, 'node1', CONTENT, { watched: [WATCHED] }),
      await fileBoard(context, 'node2', CONTENT, { watched: [WATCHED] }),
      await fileBoard(context, 'witness', CONTENT),
    ];
    const boards = disks.map(({ board }) => board);
    const server = await startNbdServer({
      ...{ addresses: ['127.0.0.1'], port: 0, lookup: lookupOf(...boards), tell() {}, meter: silentMeter },
      ...{ answers: () => true, clock: systemClock },
      log: { ...silentLog, error: (facts) => void bugs.push(facts) },
    });
    const port = server.addresses()[0]?.port ?? 0;
    const witness = await (await connectNbd({ host: '127.0.0.1', port }, systemClock)).go('witness');
    return {
      async check(input) {
        await converse(input, port);
        const at = hashOf(input) % (SIZE - 4096);
        assert.ok(Buffer.from(CONTENT.subarray(at, at + 4096)).equals(await witness.read(at, 4096)), 'another disk');
        while (server.connections().length > 1) await new Promise((resolve) => setImmediate(resolve));
        assert.deepEqual(bugs, []);
        for (const board of boards.slice(0, 2)) assert.equal(board.writerLock.holder(), undefined, 'the disk is free');
      },
      async stop() {
        witness.destroy();
        await server.stop();
        for (const end of endings) await end();
      },
    };
  },
};

/** Sent in any pieces, read or not, and ended politely or not. Resolves when nothing is left of it here. */
async function converse(input: Uint8Array, port: number): Promise<void> {
  const random = seeded(hashOf(input));
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await Promise.race([once(socket, 'connect'), closed]);
  const reads = random.below(4) > 0;
  if (reads) socket.resume();
  let rest = input;
  while (rest.length > 0 && !socket.destroyed) {
    const length = 1 + random.below(random.below(3) === 0 ? 40 : rest.length);
    socket.write(rest.subarray(0, length));
    rest = rest.subarray(length);
    const pause = random.below(4);
    if (pause === 1) await new Promise((resolve) => setImmediate(resolve));
    if (pause === 2) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const end = random.below(3);
  if (end === 0 || !reads) socket.destroy();
  else if (end === 1) socket.resetAndDestroy();
  else socket.end();
  await closed;
}
