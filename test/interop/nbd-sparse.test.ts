// What clients that others wrote make of a disk with holes: they see them, skip them, and bring them back as holes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { openFileDevice } from '../../src/block/file-device.js';
import { diskBoard } from '../support/boards.js';
import { runForeign } from '../support/foreign.js';
import { serveBoards } from '../support/nbd-server.js';
import { without } from '../support/programs.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;
const SIZE = 64 * MEBI;
const DATA = [
  { offset: 0, lengthBytes: 4 * MEBI },
  { offset: 16 * MEBI, lengthBytes: 2 * MEBI },
  { offset: SIZE - MEBI, lengthBytes: MEBI },
];

function sparseFile(file: string): void {
  const descriptor = openSync(file, 'w');
  ftruncateSync(descriptor, SIZE);
  for (const { offset, lengthBytes } of DATA) writeSync(descriptor, noise(lengthBytes), 0, lengthBytes, offset);
  closeSync(descriptor);
}

/** Serves a sparse image, and an empty one of the same size beside it. */
async function serveSparse(context: TestContext) {
  const folder = scratchFolder(context);
  const [full, empty] = [join(folder, 'full.img'), join(folder, 'empty.img')];
  sparseFile(full);
  closeSync(openSync(empty, 'w'));
  const descriptor = openSync(empty, 'r+');
  ftruncateSync(descriptor, SIZE);
  closeSync(descriptor);
  const devices = await Promise.all(
    [full, empty].map((file) => openFileDevice(file, { access: 'readWrite', lock: 'none' })),
  );
  for (const device of devices) context.after(() => device.close());
  const { port } = await serveBoards(
    context,
    devices.map((device, index) => diskBoard(`node${index + 1}`, device)),
  );
  const root = `nbd://127.0.0.1:${port}`;
  return { folder, full, empty, uri: `${root}/node1`, emptyUri: `${root}/node2` };
}

async function succeed(program: string, ...values: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runForeign(program, ...values);
  assert.equal(status, 0, `${program} ${values.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

function hashOf(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

function allocatedBytes(file: string): number {
  return statSync(file).blocks * 512;
}

describe('libnbd', { skip: without('nbdinfo', 'libnbd-bin') }, () => {
  test('nbdinfo --map draws the image', async (context) => {
    const { uri } = await serveSparse(context);
    const map: { offset: number; length: number; type: number }[] = JSON.parse(
      await succeed('nbdinfo', '--map', '--json', uri),
    );
    const data = map
      .filter(({ type }) => type === 0)
      .map(({ offset, length: lengthBytes }) => ({ offset, lengthBytes }));
    assert.deepEqual(data, DATA);
    assert.ok(map.every(({ type }) => type === 0 || type === 3));
    assert.equal(
      map.reduce((sum, { length }) => sum + length, 0),
      SIZE,
    );
    const listed = JSON.parse(await succeed('nbdinfo', '--list', '--json', uri));
    assert.deepEqual(listed.exports[0].contexts, ['base:allocation']);
  });

  for (const connections of [1, 4]) {
    test(`nbdcopy on ${connections} connections brings it out and in with its holes`, async (context) => {
      const { folder, full, empty, uri, emptyUri } = await serveSparse(context);
      const several = [`--connections=${connections}`, `--threads=${connections}`];
      await succeed('nbdcopy', ...several, uri, join(folder, 'out.img'));
      assert.equal(hashOf(join(folder, 'out.img')), hashOf(full));
      assert.ok(allocatedBytes(join(folder, 'out.img')) <= 8 * MEBI);
      await succeed('nbdcopy', ...several, '--flush', '--destination-is-zero', full, emptyUri);
      assert.equal(hashOf(empty), hashOf(full));
      assert.ok(allocatedBytes(empty) <= 8 * MEBI);
      await succeed('nbdcopy', ...several, '--request-size=2097152', uri, emptyUri);
      assert.equal(hashOf(empty), hashOf(full));
    });
  }
});

describe('QEMU', { skip: without('qemu-img', 'qemu-utils') }, () => {
  test('qemu-img map, convert and compare go by what lies where', async (context) => {
    const { folder, full, empty, uri, emptyUri } = await serveSparse(context);
    const map: { start: number; length: number; data: boolean; zero: boolean }[] = JSON.parse(
      await succeed('qemu-img', 'map', '-f', 'raw', '--output=json', uri),
    );
    const data = map
      .filter((extent) => extent.data)
      .map(({ start, length }) => ({ offset: start, lengthBytes: length }));
    assert.deepEqual(data, DATA);
    assert.ok(map.every((extent) => extent.data || extent.zero));
    await succeed('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, join(folder, 'out.img'));
    assert.equal(hashOf(join(folder, 'out.img')), hashOf(full));
    assert.ok(allocatedBytes(join(folder, 'out.img')) <= 8 * MEBI);
    await succeed('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', full, emptyUri);
    await succeed('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', uri, emptyUri);
    assert.equal(hashOf(empty), hashOf(full));
    assert.ok(allocatedBytes(empty) <= 8 * MEBI);
  });
});
