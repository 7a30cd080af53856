// What a board writes to the boot partition of its own disk is what TFTP serves to it next, and to nobody else: over overlays, after
// snapshots and after a rollback.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, run, until } from '../support/commands.js';
import { FatEditor, IMAGES_DIRECTORIES } from '../support/fat-editor.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { seeded } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer, type TestServer } from '../support/server.js';

const SERIALS = { node1: '00000001', node2: '00000002', kiosk: '00000003' };
const INVENTORY = `images: { demo: { file: demo.img } }
boards:
  node1: { serial: ${SERIALS.node1}, image: demo, disk: overlay, size: 1GiB }
  node2: { serial: ${SERIALS.node2}, image: demo, disk: overlay }
  kiosk: { serial: ${SERIALS.kiosk}, image: demo, disk: volatile }
`;
const EDITS = 60;
const IMAGES_OWN = ['start4.elf', 'config.txt', 'kernel8.img'];
const skip = anyOf(
  without('nbdfuse', 'nbdfuse'),
  without('fusermount3', 'fuse3'),
  without('mcopy', 'mtools'),
  without('fsck.fat', 'dosfstools'),
  withoutAccess('/dev/fuse'),
);

test("edits of one board are in its boot files and in no other board's, after a snapshot and after a rollback", {
  skip,
}, async (context) => {
  const { server, image, folder } = await served(context);
  const { disks } = server.app;
  const imageHash = hashOf(readFileSync(image));
  const others = await bootFilesOf(server, 'node2');
  assert.deepEqual(await bootFilesOf(server, 'node1'), others);
  const random = seeded(20_261_122);
  const disk = await mounted(context, server, 'node1');
  const editor = new FatEditor(disk.partition, folder);
  const edits = async (when: string) => {
    for (let edit = 0; edit < EDITS; edit += 1) {
      const what = await editor.randomEdit(random);
      for (const path of editor.touched) await assertServed(server, editor, path, `${when}, edit ${edit}, ${what}`);
      const other = random.pick(editor.paths());
      if (other !== undefined) await assertServed(server, editor, other, `${when}, edit ${edit}, ${what}`);
    }
    await assertAllServed(server, editor, when);
    assert.deepEqual(await bootFilesOf(server, 'node2'), others, `of node2, ${when}`);
    assert.deepEqual(await bootFilesOf(server, 'kiosk'), others, `of kiosk, ${when}`);
  };

  await edits('at first');
  const known = editor.known();
  assert.equal((await disks.snapshot('node1', 'before')).answer, 'done');
  await assertAllServed(server, editor, 'after the snapshot');
  await edits('after a snapshot');
  assert.equal((await disks.snapshot('node1', 'between')).answer, 'done');
  await edits('after another snapshot');

  const refused = await disks.rollback('node1', 'before', { force: false });
  assert.ok(refused.answer === 'refused' && /127\.0\.0\.1/.test(refused.because), JSON.stringify(refused));
  await disk.unmount();
  assert.equal((await disks.rollback('node1', 'before', { force: false })).answer, 'done');
  editor.goBackTo(known);
  await assertAllServed(server, editor, 'after the rollback');
  for (const path of editor.gone) await assertServed(server, editor, path, 'after the rollback');
  const again = await mounted(context, server, 'node1');
  await edits('behind the rollback');
  await run('fsck.fat', ['-n', await partitionIn(folder, again.partition)]);

  await again.unmount();
  assert.equal((await disks.reset('node1', { force: false })).answer, 'done');
  assert.deepEqual(await bootFilesOf(server, 'node1'), others);
  editor.goBackTo({ files: new Map(), directories: IMAGES_DIRECTORIES });
  for (const path of editor.gone) await assertServed(server, editor, path, 'after the reset');
  assert.equal(hashOf(readFileSync(image)), imageHash);
});

test('a volatile board is served the boot files of the image, whatever it has written to its own', async (context) => {
  const { server } = await served(context);
  const before = await bootFilesOf(server, 'kiosk');
  const disk = await (await connectNbd({ host: '127.0.0.1', port: server.ports.nbd }, systemClock)).go('kiosk');
  for (let offset = 1024 * 1024; offset < 8 * 1024 * 1024; offset += 1024 * 1024) {
    await disk.write(offset, new Uint8Array(1024 * 1024).fill(0x5a));
  }
  await disk.flush();
  assert.deepEqual(await bootFilesOf(server, 'kiosk'), before);
  assert.ok((await disk.read(2 * 1024 * 1024, 4096)).every((byte) => byte === 0x5a));
  await disk.disconnect();
});

async function served(context: TestContext) {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  await makeDemoImage(image);
  return { folder, image, server: await startTestServer(context, { inventory: INVENTORY, folder }) };
}

async function mounted(context: TestContext, { ports, folder }: TestServer, board: string) {
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint, { recursive: true });
  const child = background(context, 'nbdfuse', [mountPoint, `nbd://127.0.0.1:${ports.nbd}/${board}`]);
  await until(() => existsSync(join(mountPoint, 'nbd')), 'nbdfuse');
  const unmount = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await run('fusermount3', ['-u', mountPoint]);
    await ended;
  };
  return { partition: `${join(mountPoint, 'nbd')}@@1M`, unmount };
}

async function fetched(server: TestServer, path: string) {
  return fetchFile({
    server: { address: '127.0.0.1', port: server.ports.tftp },
    local: anyPort('127.0.0.1'),
    path,
    options: new Map([
      ['tsize', '0'],
      ['blksize', '1468'],
    ]),
    clock: systemClock,
  });
}

/** Hashes of those that the image has, and that nobody makes for a board. */
async function bootFilesOf(server: TestServer, board: keyof typeof SERIALS): Promise<readonly string[]> {
  const hashes: string[] = [];
  for (const path of IMAGES_OWN) {
    const { verdict, bytes } = await fetched(server, `${SERIALS[board]}/${path}`);
    assert.equal(verdict.outcome, 'complete', `${board}: ${path}`);
    hashes.push(hashOf(bytes));
  }
  return hashes;
}

async function assertAllServed(server: TestServer, editor: FatEditor, when: string): Promise<void> {
  assert.ok(editor.paths().length > 3);
  for (const path of editor.paths()) await assertServed(server, editor, path, when);
}

async function assertServed(server: TestServer, editor: FatEditor, path: string, when: string): Promise<void> {
  const { verdict, bytes } = await fetched(server, `${SERIALS.node1}/${path}`);
  const expected = editor.expected(path);
  if (expected === undefined) {
    assert.ok(verdict.outcome === 'refused' && verdict.code === 1, `${when}: ${path} should be gone`);
    return;
  }
  assert.equal(verdict.outcome, 'complete', `${when}: ${path}`);
  assert.ok(Buffer.compare(bytes, expected) === 0, `${when}: ${path} differs from what was written`);
}

/** fsck.fat takes no offset. */
async function partitionIn(folder: string, partition: string): Promise<string> {
  const [disk = ''] = partition.split('@@');
  const copy = join(folder, 'partition.img');
  await run('dd', [`if=${disk}`, `of=${copy}`, 'bs=1M', 'skip=1', 'count=64', 'status=none']);
  return copy;
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
