// A block device of the kernel that really loses what it took, the real program on it, and its operator.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { NbdFailed } from '../../src/nbd/client/client-errors.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, outputOf, until } from '../support/commands.js';
import { failingDisk, withoutFailingDisk } from '../support/failing-disk.js';
import { brambleboot, MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;
/** Behind the partitions of the demo image: nothing is there yet, so it can't be written while there is no space. */
const FREE = 96 * MEBI;

async function setup(context: TestContext) {
  const folder = scratchFolder(context);
  const image = join(folder, 'demo.img');
  await makeDemoImage(image);
  const disk = await failingDisk(context, FREE + 8 * MEBI, image);
  const first = 20_000 + Math.floor(Math.random() * 1000) * 10; // below the ports that the system hands out
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `server: { interface: lo, state: ./state }
dhcp: { port: ${first}, reply_port: ${first + 1} }
tftp: { port: ${first + 2} }
nbd: { port: ${first + 3} }
http: { address: 127.0.0.1, port: ${first + 4} }
images: { one: { file: ${disk.node} } }
boards: { node1: { serial: bf9fed6f, image: one } }
`,
  );
  const server = background(context, 'node', [MAIN, 'serve', '--config', config]);
  const log = { failed: outputOf(server, '"disk.failed"'), reopened: outputOf(server, '"disk.reopened"') };
  await until(outputOf(server, 'server.ready'), 'the server');
  const page = `http://127.0.0.1:${first + 4}`;
  const text = async (path: string) => (await fetch(`${page}${path}`)).text();
  return { disk, config, log, page, text, port: first + 3 };
}

function isEio(error: unknown): boolean {
  return error instanceof NbdFailed && error.message.includes('EIO');
}

test('a flush that failed is no success later, and `reopen` takes the mended disk up under a running board', {
  skip: withoutFailingDisk(),
}, async (context) => {
  const { disk, config, log, page, text, port } = await setup(context);
  const connection = await connectNbd({ host: '127.0.0.1', port }, systemClock);
  const board = await connection.go('node1');
  await board.write(FREE, new Uint8Array(MEBI).fill(7));
  await assert.rejects(board.flush(), isEio);
  await assert.rejects(board.flush(), isEio, 'although the kernel would say now that all is well');
  await board.read(0, 512);

  await until(log.failed, 'the log');
  assert.match(await text('/metrics'), /brambleboot_disk_failed\{board="node1"\} 1/);
  assert.match(await text('/api/boards'), /"diskFailure":\{"since":"[^"]+","because":"[^"]*EIO/);
  assert.match(await text('/'), /disk failed.*brambleboot reopen node1/s);
  assert.match(
    (await brambleboot('boards', '--config', config)).stdout,
    /running, disk failed[\s\S]*Disk failed: node1/,
  );
  const overNetwork = await fetch(`${page}/api/boards/node1/reopen`, { method: 'POST' });
  assert.equal(overNetwork.status, 404);

  await board.write(FREE, new Uint8Array(MEBI).fill(7));
  const tooEarly = await brambleboot('reopen', 'node1', '--config', config);
  assert.equal(tooEarly.status, 1);
  assert.match(tooEarly.stderr, /node1: its disk could not be taken up again: .*EIO/);
  await assert.rejects(board.flush(), isEio);

  disk.mend();
  const reopened = await brambleboot('reopen', 'node1', '--config', config);
  assert.deepEqual([reopened.status, reopened.stderr], [0, '']);
  assert.match(reopened.stdout, /node1: its disk is flushed again\. What node1 wrote before .* restart node1/);
  await until(log.reopened, 'the log');
  await board.write(FREE, new Uint8Array(MEBI).fill(8));
  await board.flush();
  assert.match(await text('/metrics'), /brambleboot_disk_failed\{board="node1"\} 0/);
  assert.doesNotMatch(await text('/api/boards'), /diskFailure/);
  await board.disconnect();

  const again = await brambleboot('reopen', 'node1', '--config', config);
  assert.deepEqual([again.status, again.stdout], [0, 'node1: its disk has not failed; nothing was done.\n']);
  const nobody = await brambleboot('reopen', 'nobody', '--config', config);
  assert.deepEqual([nobody.status, nobody.stderr], [1, 'brambleboot: there is no board "nobody"; there are node1\n']);
});
