// Spellings of a path that lead elsewhere on other servers: none leads out of a board's boot partition, or to its real cmdline.txt.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';
import { errorOf, rawPeer, rrq } from '../support/tftp.js';

const INVENTORY = `images: { one: { file: one.img }, two: { file: two.img } }
boards:
  node1: { serial: bf9fed6f, image: one, disk: direct }
  node2: { serial: 00000002, image: two, disk: direct }
`;

const UPWARDS = ['../00000002/config.txt', './config.txt', 'overlays/../config.txt', 'config.txt/.', '//../config.txt'];
const FOREIGN = ['..\\00000002\\config.txt', 'overlays\\x', '%2e%2e/00000002/config.txt', '00000002/config.txt'];
/** Overlong UTF-8 of "." and "/", a lonely surrogate, a full-width dot. */
const MISSPELT = [
  '\xc0\xae\xc0\xae/00000002/config.txt',
  'x\xc0\xafconfig.txt',
  '\xed\xa0\x80',
  '\xef\xbc\x8e\xef\xbc\x8e/x',
];
const ALIASES = ['CONFIG~1.TXT', 'cmdlin~1.txt', 'cmdline.txt.', 'cmdline.txt ', 'cmdline.txt. .', ' cmdline.txt'];
const DEVICES = ['con', 'NUL', 'aux.txt', 'config.txt::$DATA', 'c:config.txt', 'overlays', ''];
const ABSOLUTE = [
  '/etc/passwd',
  '../../../../etc/passwd',
  'etc/passwd',
  'file:///etc/passwd',
  'C:\\x',
  '',
  '/',
  '..',
  '\x7f',
];

test('no spelling of a path leads from a board to anything but its own boot files', async (context) => {
  const folder = scratchFolder(context);
  for (const name of ['one', 'two']) await makeDemoImage(join(folder, `${name}.img`));
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  const ofBoard = [...UPWARDS, ...FOREIGN, ...MISSPELT, ...ALIASES, ...DEVICES].map((path) => `bf9fed6f/${path}`);
  for (const path of [...ofBoard, ...ABSOLUTE, 'bf9fed6f', 'bf9fed6f\\config.txt', 'bf9fed6f00000002/config.txt']) {
    const peer = await rawPeer(context);
    peer.send(rrq(path), ports.tftp);
    const [code, text] = errorOf((await peer.next()).bytes);
    assert.ok(code === 1 || code === 2, `${path}: ${code} ${text}`);
    assert.match(text, /^[\x20-\x7e]+$/);
  }
  for (const path of ['bf9fed6f/config.txt', '/BF9FED6F//Config.TXT', '00000002/config.txt']) {
    const peer = await rawPeer(context);
    peer.send(rrq(path), ports.tftp);
    assert.equal((await peer.next()).bytes.readUInt16BE(0), 3, path);
  }
});
