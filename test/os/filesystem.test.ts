import assert from 'node:assert/strict';
import { symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { allocationOf, filesystemOf, findsFullLate, mountPointIn, spaceOf } from '../../src/os/filesystem.js';
import { scratchFolder } from '../support/scratch.js';

const TABLE = `22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
36 27 98:0 /mnt1 /srv rw,noatime master:1 - ext3 /dev/root rw
37 36 98:1 / /srv/big\\040images rw - ext4 /dev/sdb rw
38 36 98:2 /one.img /srv/one.img rw - ext4 /dev/sdc rw
`;

describe('filesystems', () => {
  test('a path lies under the longest mount point that it begins with', () => {
    assert.equal(mountPointIn(TABLE, '/srv/images/noble.img'), '/srv');
    assert.equal(mountPointIn(TABLE, '/srv/big images/noble.img'), '/srv/big images');
    assert.equal(mountPointIn(TABLE, '/srv/one.img'), '/srv/one.img', 'a file that is mounted itself');
    assert.equal(mountPointIn(TABLE, '/srvx/noble.img'), '/');
    assert.equal(mountPointIn('', '/srv'), '/');
  });

  test('a link, its file and its folder lie on one filesystem; a device has no space of its own there', async (context) => {
    const folder = scratchFolder(context);
    const file = join(folder, 'file');
    writeFileSync(file, '');
    symlinkSync(file, join(folder, 'link'));
    const [ofFolder, ofFile, ofLink] = await Promise.all([folder, file, join(folder, 'link')].map(filesystemOf));
    assert.deepEqual([ofFile, ofLink], [ofFolder, ofFolder]);
    assert.equal((await filesystemOf('/dev/null')).holdsIt, false);
    await assert.rejects(filesystemOf(join(folder, 'nothing')), { code: 'ENOENT' });
    assert.equal(await findsFullLate(folder), false);
  });

  test('a sparse file takes less than its size', async (context) => {
    const folder = scratchFolder(context);
    const file = join(folder, 'sparse');
    writeFileSync(file, Buffer.alloc(8192, 1));
    truncateSync(file, 1_000_000);
    const { sizeBytes, allocatedBytes } = await allocationOf(file);
    assert.equal(sizeBytes, 1_000_000);
    assert.ok(allocatedBytes >= 8192 && allocatedBytes < 1_000_000);
    const space = await spaceOf(folder);
    assert.ok(space.freeBytes > 0 && space.freeBytes <= space.sizeBytes);
  });
});
