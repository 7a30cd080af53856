// The promise the product exists for: what a board writes to its boot partition through NBD is what TFTP serves next.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, until } from '../support/commands.js';
import { FatEditor } from '../support/fat-editor.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { seeded } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer, type TestServer } from '../support/server.js';

const SERIAL = 'bf9fed6f';
const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;
const EDITS = 250;
const missing = anyOf(without('nbdfuse', 'nbdfuse'), without('mcopy', 'mtools'), withoutAccess('/dev/fuse'));

test('hundreds of edits by mtools through the live NBD export, and TFTP serves each', {
  skip: missing,
}, async (context) => {
  const { server, partition, folder } = await mountedBoard(context);
  const editor = new FatEditor(partition, folder);
  const random = seeded(20_261_121);
  for (let edit = 0; edit < EDITS; edit += 1) {
    const what = await editor.randomEdit(random);
    for (const path of editor.touched) await assertServed(server, editor, path, `edit ${edit}, ${what}`);
    const other = random.pick(editor.paths());
    if (other !== undefined) await assertServed(server, editor, other, `edit ${edit}, ${what}`);
  }
  for (const path of editor.paths()) await assertServed(server, editor, path, 'at the end');
  assert.ok(editor.paths().length > 5);
});

async function assertServed(server: TestServer, editor: FatEditor, path: string, when: string): Promise<void> {
  const served = await fetchFile({
    server: { address: '127.0.0.1', port: server.ports.tftp },
    local: anyPort('127.0.0.1'),
    path: `${SERIAL}/${path}`,
    options: new Map([
      ['tsize', '0'],
      ['blksize', '1468'],
    ]),
    clock: systemClock,
  });
  const expected = editor.expected(path);
  if (expected === undefined) {
    const { verdict } = served;
    assert.ok(
      verdict.outcome === 'refused' && verdict.code === 1,
      `${when}: ${path} should be gone, was ${verdict.outcome}`,
    );
    return;
  }
  assert.equal(served.verdict.outcome, 'complete', `${when}: ${path}`);
  assert.ok(Buffer.compare(served.bytes, expected) === 0, `${when}: ${path} differs from what was written`);
  const read = await editor.readBack(path);
  assert.ok(Buffer.compare(served.bytes, read) === 0, `${when}: ${path} differs from what mtools reads`);
}

async function mountedBoard(context: TestContext) {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const server = await startTestServer(context, { inventory: INVENTORY, folder });
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  background(context, 'nbdfuse', [mountPoint, `nbd://127.0.0.1:${server.ports.nbd}/node1`]);
  await until(() => existsSync(join(mountPoint, 'nbd')), 'nbdfuse');
  return { server, folder, partition: `${join(mountPoint, 'nbd')}@@1M` };
}
