// Pretend boards of each generation against a server on loopback, with what a real one gets wrong.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { slice } from '../../src/block/slice.js';
import { formatFat } from '../../src/disk/fat/format.js';
import { loopbackLine } from '../../src/pretend/line.js';
import { type PlayResult, type PrefixKind, playBoot } from '../../src/pretend/play.js';
import { PROFILES, type ProfileName } from '../../src/pretend/profile.js';
import { type DemoImage, makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer, type TestServer } from '../support/server.js';

const SERIAL = '00ef5644';
const MAC = 'b8:27:eb:ef:56:44';
const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;
const MIB = 1024 * 1024;

async function served(context: TestContext, files?: (demo: DemoImage) => ReadonlyMap<string, Uint8Array>) {
  const folder = scratchFolder(context);
  const image = await makeDemoImage(join(folder, 'demo.img'));
  if (files !== undefined) await replaceFiles(image, files(image));
  return { server: await startTestServer(context, { inventory: INVENTORY, folder }), image };
}

async function replaceFiles(image: DemoImage, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const device = await openFileDevice(image.file, { access: 'readWrite', lock: 'exclusive' });
  const list = [...files].map(([path, bytes]) => ({ path, bytes }));
  await formatFat(slice(device, MIB, 64 * MIB), { type: 32, files: list });
  await device.close();
}

interface PlayOptions {
  readonly prefix?: PrefixKind;
  readonly fixed?: boolean;
}

async function play(
  context: TestContext,
  server: TestServer,
  name: ProfileName,
  options: PlayOptions = {},
): Promise<PlayResult> {
  const { dhcp, dhcpReply, tftp } = server.ports;
  const line = loopbackLine({ interfaceName: 'lo', serverPort: dhcp, clientPort: dhcpReply });
  whenOver(context, () => line.close());
  const profile = PROFILES[name];
  return playBoot({
    profile,
    identity: { serial: SERIAL, mac: MAC, revisionCode: profile.revisionCode },
    prefix: options.prefix ?? { kind: 'serial' },
    start: options.fixed ? { kind: 'static', server: '127.0.0.1' } : { kind: 'dhcp', line, needsAddress: false },
    tftpPort: tftp,
    takeAddress: () => '127.0.0.1',
    clock: systemClock,
    report: () => {},
  });
}

async function assertBooted(result: PlayResult, image: DemoImage): Promise<void> {
  assert.equal(result.outcome, 'booted', JSON.stringify(result));
  if (result.outcome !== 'booted') return;
  for (const [name, bytes] of result.files) {
    if (name !== 'cmdline.txt') assert.ok(Buffer.compare(bytes, image.files.get(name) ?? Buffer.of()) === 0, name);
  }
  assert.deepEqual(await result.disk.read(image.root.offset, image.root.content.length), image.root.content);
  await result.disk.disconnect();
}

describe('pretend boards', () => {
  for (const name of ['pi4-2020', 'pi4-2021', 'pi4', 'pi5'] as const) {
    test(`${name} boots, and the server has seen it`, async (context) => {
      const { server, image } = await served(context);
      await assertBooted(await play(context, server, name), image);
      await until(() => server.app.status().boards[0]?.lastBoot?.state.at === 'booted', 'the server to have seen it');
    });
  }

  test('a fixed address needs no DHCP', async (context) => {
    const { server, image } = await served(context);
    await assertBooted(await play(context, server, 'pi4', { fixed: true }), image);
  });

  test('a MAC prefix is as good as a serial', async (context) => {
    const { server, image } = await served(context);
    await assertBooted(await play(context, server, 'pi4', { prefix: { kind: 'mac' } }), image);
  });

  test('of a config.txt over 4096 bytes a Pi 4 takes only the beginning, and boots the default kernel', async (context) => {
    const { server } = await served(context, ({ files }) => {
      const config = Buffer.from(`${'# padding\n'.repeat(450)}kernel=late.img\n`);
      return new Map([...files, ['config.txt', config], ['late.img', Buffer.from('late')]]);
    });
    const pi4 = await play(context, server, 'pi4');
    assert.ok(
      pi4.outcome === 'booted' && pi4.files.has('kernel8.img') && !pi4.files.has('late.img'),
      JSON.stringify(pi4),
    );
    await pi4.disk.disconnect();
    const pi5 = await play(context, server, 'pi5');
    assert.ok(pi5.outcome === 'booted' && pi5.files.has('late.img'), JSON.stringify(pi5));
    await pi5.disk.disconnect();
  });

  test('a board without its kernel is stuck at its files, and says which it missed', async (context) => {
    const { server } = await served(context, ({ files }) => {
      const left = new Map(files);
      left.delete('kernel8.img');
      return left;
    });
    const result = await play(context, server, 'pi4');
    assert.ok(
      result.outcome === 'stuck' && result.stage === 'tftp' && /kernel8\.img/.test(result.because),
      JSON.stringify(result),
    );
  });

  test('an image with a cmdline.txt that is left as it is leads to no disk', async (context) => {
    const folder = scratchFolder(context);
    await makeDemoImage(join(folder, 'demo.img'));
    const inventory = INVENTORY.replace('disk: direct', 'disk: direct, cmdline: as-is');
    const server = await startTestServer(context, { inventory, folder });
    const result = await play(context, server, 'pi4');
    assert.ok(
      result.outcome === 'stuck' && result.stage === 'nbd' && /nbdroot/.test(result.because),
      JSON.stringify(result),
    );
  });
});
