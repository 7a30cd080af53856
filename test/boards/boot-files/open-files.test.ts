import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BootFile, BootFiles } from '../../../src/boards/boot-files/boot-file.js';
import { OpenFiles } from '../../../src/boards/boot-files/open-files.js';

const REQUEST = { askedAt: '10.0.0.1' };

test('counts files from their opening to their closing, however often they are closed', async () => {
  const openFiles = new OpenFiles();
  const files = openFiles.counted(filesThat(async () => ({ answer: 'file', file: fileOf('abc') })));
  const opening = files.open('x', REQUEST);
  assert.equal(openFiles.count, 1);
  const verdict = await opening;
  assert.ok(verdict.answer === 'file');
  const { file } = verdict;
  assert.deepEqual([file.role, file.sizeBytes, await file.hold()], ['other', 3, 'held']);
  const target = new Uint8Array(3);
  assert.equal(file.readNow(0, target), true);
  await file.read(0, target);
  assert.equal(Buffer.from(target).toString(), 'abc');
  const second = await files.open('y', REQUEST);
  assert.equal(openFiles.count, 2);
  file.close();
  file.close();
  assert.equal(openFiles.count, 1);
  if (second.answer === 'file') second.file.close();
  assert.equal(openFiles.count, 0);
});

test('what could not be opened is not open', async () => {
  const openFiles = new OpenFiles();
  const none = openFiles.counted(filesThat(async () => ({ answer: 'notFound' })));
  assert.equal((await none.open('x', REQUEST)).answer, 'notFound');
  const bad = openFiles.counted(filesThat(() => Promise.reject(new Error('a bug'))));
  await assert.rejects(bad.open('x', REQUEST), /a bug/);
  assert.equal(openFiles.count, 0);
});

function filesThat(open: BootFiles['open']): BootFiles {
  return { open };
}

function fileOf(text: string): BootFile {
  const bytes = Buffer.from(text);
  const readNow = (offset: number, target: Uint8Array) => {
    target.set(bytes.subarray(offset, offset + target.length));
    return true;
  };
  return {
    role: 'other',
    sizeBytes: bytes.length,
    hold: async () => 'held',
    read: async (offset, target) => void readNow(offset, target),
    readNow,
    follow() {},
    progress() {},
    close() {},
  };
}
