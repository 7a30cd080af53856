// A disk that is larger than its image: the partition tools of a real system find it sound, and grow its last partition as on a
// large SD card.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { background, run, until } from '../support/commands.js';
import { makePiImage, PI_IMAGE_BYTES, PI_NOTE, PI_ROOT, withoutPiImage } from '../support/pi-image.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const MEBI = 1024 * 1024;
const ROOT = PI_ROOT;
const SIZE = 1024 * MEBI;
const INVENTORY = `images: { pi: { file: pi.img } }
boards:
  large: { serial: '1', image: pi, disk: overlay, size: 1GiB }
  plain: { serial: '2', image: pi, disk: overlay }
  kiosk: { serial: '3', image: pi, disk: volatile, size: 512MiB }
`;
const skip = anyOf(
  without('nbdfuse', 'nbdfuse'),
  without('fusermount3', 'fuse3'),
  without('nbdkit', 'nbdkit'),
  without('sgdisk', 'gdisk'),
  without('growpart', 'cloud-guest-utils'),
  withoutPiImage(),
  withoutAccess('/dev/fuse'),
);

for (const label of ['gpt', 'dos'] as const) {
  test(`a ${label} image of ${PI_IMAGE_BYTES / MEBI} MiB on a disk of ${SIZE / MEBI} MiB is sound, and its last partition and its filesystem grow`, {
    skip,
    timeout: 200_000,
  }, async (context) => {
    const there = await served(context, label);
    const { mounted, image } = there;
    const before = await partitionsOf(image);
    const disk = await mounted('large');
    assert.equal((await run('stat', ['-c', '%s', disk.file])).toString().trim(), String(SIZE));
    await assertSound(disk.file, label);
    assert.deepEqual(await partitionsOf(disk.file), before);
    const grown = await run('growpart', [disk.file, '2']);
    assert.match(grown.toString(), /^CHANGED: partition=2 start=100352 old: size=131072/);
    await assertSound(disk.file, label);
    const [, root = ''] = await partitionsOf(disk.file);
    const sectors = Number(/size= *(\d+)/.exec(root)?.[1]);
    assert.ok(sectors * 512 > SIZE - ROOT.offset - 2 * MEBI, root);
    await disk.unmount();

    const partition = await mounted('large', 2);
    await run('e2fsck', ['-f', '-p', partition.file]);
    await run('resize2fs', [partition.file]);
    const checked = (await run('e2fsck', ['-f', '-n', partition.file])).toString();
    const blocks = Number(/(\d+)\/(\d+) blocks/.exec(checked)?.[2]) * 1024;
    assert.ok(blocks > SIZE - ROOT.offset - 3 * MEBI, checked);
    assert.equal((await run('debugfs', ['-R', 'cat /note', partition.file])).toString(), PI_NOTE);
    await partition.unmount();

    const plain = await mounted('plain');
    assert.deepEqual(await partitionsOf(plain.file), before);
    await run('cmp', [plain.file, image]);
    await plain.unmount();
    const kiosk = await mounted('kiosk');
    await assertSound(kiosk.file, label);
    await kiosk.unmount();
    assert.equal(hashOf(image), there.hash);
    const { bytes } = await fetchFile({
      server: { address: '127.0.0.1', port: there.tftpPort },
      ...{ local: anyPort('127.0.0.1'), path: '00000001/config.txt', clock: systemClock },
    });
    assert.equal(Buffer.from(bytes).toString(), 'kernel=kernel8.img\n');
  });
}

async function served(context: TestContext, label: 'gpt' | 'dos') {
  const folder = scratchFolder(context);
  const image = await makePiImage(folder, label);
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  const file = join(mountPoint, 'nbd');
  const mounted = async (board: string, partition?: number) => {
    const uri = `nbd://127.0.0.1:${ports.nbd}/${board}`;
    const filter = ['[', 'nbdkit', 'nbd', uri, '--filter=partition', `partition=${partition}`, ']'];
    const child = background(context, 'nbdfuse', [mountPoint, ...(partition === undefined ? [uri] : filter)]);
    await until(() => existsSync(file), `nbdfuse of ${board}`);
    const unmount = async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await run('fusermount3', ['-u', mountPoint]);
      await ended;
    };
    return { file, unmount };
  };
  return { image, hash: hashOf(image), mounted, tftpPort: ports.tftp };
}

async function assertSound(disk: string, label: 'gpt' | 'dos'): Promise<void> {
  const verified = (await run('sh', ['-c', 'sfdisk --verify "$1" 2>&1', 'sh', disk])).toString();
  assert.match(verified, /No errors detected/);
  assert.doesNotMatch(verified, /corrupt|mismatch|not at the end/i);
  if (label === 'gpt') assert.match((await run('sgdisk', ['-v', disk])).toString(), /No problems found/);
}

/** Without the path. */
async function partitionsOf(disk: string): Promise<readonly string[]> {
  const dump = (await run('sfdisk', ['-d', disk])).toString();
  return dump
    .split('\n')
    .filter((line) => line.includes('start='))
    .map((line) => line.slice(line.indexOf('start=')));
}

function hashOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
