// A disk that is thrown away at each boot, in the whole server: what is a boot, and what is none.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { run, until } from '../support/commands.js';
import { without } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: bf9fed6f, image: demo, disk: volatile } }
`;
const AT = 70 * 1024 * 1024;
const WRITTEN = new Uint8Array(4096).fill(7);
const LIMIT = { timeout: 60_000, skip: without('curl', 'curl') };

async function world(context: TestContext) {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const { app, ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  return {
    ports,
    async attach() {
      const haggling = await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock);
      const disk = await haggling.go('node1');
      context.after(() => disk.destroy());
      return disk;
    },
    /** As a booting board does: files, the kernel last. */
    async boot() {
      for (const file of ['config.txt', 'kernel8.img']) {
        await run('curl', ['-sSf', '-o', join(folder, file), `tftp://127.0.0.1:${ports.tftp}/bf9fed6f/${file}`]);
      }
    },
    isAway: () => until(() => app.status().boards[0]?.attachedFrom === undefined, 'the disk to be let go of'),
  };
}

test('a reconnection keeps what was written, a boot throws it away', LIMIT, async (context) => {
  const { attach, boot, isAway } = await world(context);
  await boot();
  const first = await attach();
  await first.write(AT, WRITTEN, { durable: true });
  await first.disconnect();
  await isAway();
  const again = await attach();
  assert.deepEqual(await again.read(AT, 4096), WRITTEN);
  await again.disconnect();
  await isAway();
  await boot();
  const rebooted = await attach();
  assert.deepEqual(await rebooted.read(AT, 4096), new Uint8Array(4096));
  // Its second connection finds what the first has written.
  await rebooted.write(AT, WRITTEN, { durable: true });
  const second = await attach();
  assert.deepEqual(await second.read(AT, 4096), WRITTEN);
});

test('nothing that is said in its name throws away the disk of a board that runs', LIMIT, async (context) => {
  const { attach, boot, isAway, ports } = await world(context);
  await boot();
  const running = await attach();
  await running.write(AT, WRITTEN, { durable: true });
  const socket = createSocket('udp4');
  context.after(() => socket.close());
  const request = Buffer.from('\0\x01bf9fed6f/config.txt\0octet\0', 'latin1');
  await new Promise((resolve) => socket.send(request, ports.tftp, '127.0.0.1', resolve));
  await boot(); // the kernel even, read to its end by somebody
  await running.disconnect();
  await isAway();
  const again = await attach();
  assert.deepEqual(await again.read(AT, 4096), WRITTEN);
});
