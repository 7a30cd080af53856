// READs whose data go from the page cache into the socket without a copy, in both kinds of reply.
import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { describe, test } from 'node:test';
import { NBD_LANE_READ_BYTES_MAX, NBD_LANE_UNCOPIED_BYTES_MIN } from '../../../src/base/limits.js';
import { Command, CommandFlag } from '../../../src/nbd/wire/constants.js';
import { assertAnswers, read } from '../../support/lane-requests.js';
import { fileBoard, serveFiles } from '../../support/lane-server.js';
import { requestBytes } from '../../support/nbd-bytes.js';
import { noise } from '../../support/random.js';

const MEBI = 1024 * 1024;
const SIZE = 8 * MEBI;
const CONTENT = noise(SIZE);
/** What does not end is a failure too. */
const LIMIT = { timeout: 60_000 };
const LENGTHS = [
  ...[1, 4096, NBD_LANE_UNCOPIED_BYTES_MIN - 1, NBD_LANE_UNCOPIED_BYTES_MIN, NBD_LANE_UNCOPIED_BYTES_MIN + 1],
  ...[NBD_LANE_READ_BYTES_MAX - 1, NBD_LANE_READ_BYTES_MAX],
];

describe('READs of every length, at every kind of place', LIMIT, () => {
  for (const replies of ['simple', 'structured'] as const) {
    test(`in ${replies} replies: right, and by lanes`, async (context) => {
      const served = await serveFiles(context, [await fileBoard(context, 'node1', CONTENT)]);
      const client = await served.attach('node1', replies);
      for (const length of LENGTHS) {
        for (const offset of [0, 1, 4095, 4096, SIZE - length]) {
          const data = await client.read(offset, length);
          assert.ok(Buffer.compare(data, CONTENT.subarray(offset, offset + length)) === 0, `${length} at ${offset}`);
        }
      }
      const { lanes, main } = served.doneBy();
      assert.deepEqual(Object.fromEntries(main), {});
      assert.equal(lanes.get('read'), LENGTHS.length * 5);
    });
  }
});

describe('a client that takes its time', LIMIT, () => {
  test('has every byte of what did not fit into its socket, and of what was asked and written meanwhile', async (context) => {
    const served = await serveFiles(context, [await fileBoard(context, 'node1', CONTENT)]);
    const raw = await served.raw();
    const wanted = new Map<bigint, Uint8Array | number>();
    for (let index = 0; index < 200; index += 1) {
      const length = LENGTHS[index % LENGTHS.length] ?? 0;
      const offset = (index * 37_123) % (SIZE - length);
      wanted.set(BigInt(index), CONTENT.subarray(offset, offset + length));
      await raw.send(read(offset, length, BigInt(index)));
    }
    await assertAnswers(raw, wanted);
  });
});

test('DF, and a READ of nothing, in structured replies', LIMIT, async (context) => {
  const served = await serveFiles(context, [await fileBoard(context, 'node1', CONTENT)]);
  const raw = await served.raw('node1', 'structured');
  const whole = { command: Command.Read, flags: CommandFlag.Df, offset: 4096n, lengthBytes: NBD_LANE_READ_BYTES_MAX };
  await raw.send(requestBytes({ ...whole, cookie: 7n }), requestBytes({ command: Command.Read, cookie: 8n }));
  const chunks = [await raw.chunk(), await raw.chunk()];
  const data = chunks.find((chunk) => chunk?.cookie === 7n)?.body;
  assert.ok(data?.kind === 'data' && data.offset === 4096n);
  assert.ok(Buffer.compare(data.data, CONTENT.subarray(4096, 4096 + NBD_LANE_READ_BYTES_MAX)) === 0);
  assert.equal(chunks.find((chunk) => chunk?.cookie === 8n)?.body.kind, 'none');
});

test('a file that became shorter ends in an error, and the connection goes on', LIMIT, async (context) => {
  const disk = await fileBoard(context, 'node1', CONTENT);
  const served = await serveFiles(context, [disk]);
  const raw = await served.raw();
  truncateSync(disk.path, SIZE / 2);
  await raw.send(read(SIZE / 2 - 4096, NBD_LANE_READ_BYTES_MAX, 1n), read(SIZE - MEBI, NBD_LANE_READ_BYTES_MAX, 2n));
  await raw.send(read(0, 4096, 3n));
  await assertAnswers(
    raw,
    new Map<bigint, Uint8Array | number>([
      [1n, 5],
      [2n, 5],
      [3n, CONTENT.subarray(0, 4096)],
    ]),
  );
});
