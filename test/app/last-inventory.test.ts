import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LastInventory } from '../../src/app/last-inventory.js';
import { scratchFolder } from '../support/scratch.js';

const TEXT = 'images: { a: { file: a.img } }\nboards: { n: { serial: 1, image: a } }\n';

test('the copy is read as what it is the copy of, wherever it lies', async (context) => {
  const folder = scratchFolder(context);
  const kept = new LastInventory(folder);
  await kept.write(TEXT, '/srv/odd "name"\n/config.yaml');
  const read = await new LastInventory(folder).read();
  assert.equal(read?.answer, 'inventory');
  assert.equal(read.inventory.images.get('a')?.file, '/srv/odd "name"\n/a.img');
  assert.equal(read.source.file, '/srv/odd "name"\n/config.yaml');
  assert.equal(statSync(kept.path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(folder), ['inventory.yaml']);
});

test('a text without an end of line, and one that ends in a comment like ours, keep their lines', async (context) => {
  const kept = new LastInventory(scratchFolder(context));
  await kept.write(TEXT.trimEnd(), '/srv/config.yaml');
  assert.equal((await kept.read())?.answer, 'inventory');
  // Somebody took the copy for his file.
  await kept.write(readFileSync(kept.path, 'utf8'), '/etc/config.yaml');
  const read = await kept.read();
  assert.equal(read?.answer === 'inventory' && read.source.file, '/etc/config.yaml');
});

test('is written when it is another, and not else', async (context) => {
  const kept = new LastInventory(scratchFolder(context));
  await kept.write(TEXT, '/srv/config.yaml');
  const { ino } = statSync(kept.path);
  await kept.write(TEXT, '/srv/config.yaml');
  assert.equal(statSync(kept.path).ino, ino);
  await kept.write(`${TEXT}#`, '/srv/config.yaml');
  assert.notEqual(statSync(kept.path).ino, ino);
});

test('what is no copy is none', async (context) => {
  const kept = new LastInventory(scratchFolder(context));
  assert.equal(await kept.read(), undefined);
  for (const content of ['', TEXT, '# Brambleboot: the copy of the last sound inventory, {', '\0'.repeat(3e6)]) {
    writeFileSync(kept.path, content);
    assert.equal(await kept.read(), undefined);
  }
  rmSync(kept.path);
  mkdirSync(kept.path);
  assert.equal(await kept.read(), undefined);
  await assert.rejects(kept.write(TEXT, '/srv/config.yaml'));
  rmSync(kept.path, { recursive: true });
  symlinkSync(join('/etc', 'passwd'), kept.path);
  assert.equal(await kept.read(), undefined);
});
