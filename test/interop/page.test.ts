// The status page as a real browser shows it.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { run } from '../support/commands.js';
import { without } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const SERIAL = 'bf9fed6f';
const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;

test('Chromium shows a board that booted, step by step, and its disk in use, with its boots a link away', {
  skip: without('chromium', 'chromium'),
}, async (context) => {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  const place = { server: { address: '127.0.0.1', port: ports.tftp }, local: anyPort('127.0.0.1'), clock: systemClock };
  await fetchFile({ ...place, path: `${SERIAL}/<b>bold&` });
  await fetchFile({ ...place, path: `${SERIAL}/kernel8.img` });
  const disk = await (await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock)).go('node1');
  whenOver(context, () => disk.disconnect());

  const shown = async (path: string) =>
    (
      await run('chromium', [
        ...QUIET,
        `--user-data-dir=${join(folder, 'browser')}`,
        '--dump-dom',
        `http://127.0.0.1:${ports.http}${path}`,
      ])
    ).toString();
  const status = await shown('/');
  assert.match(status, /<span class="state running">running<\/span>/);
  assert.match(status, /disk in use by 127\.0\.0\.1/);
  assert.match(status, /Booted in/);
  const [, link = ''] = /<a href="([^"]+)">All its boots<\/a>/.exec(status) ?? [];
  const board = await shown(link);
  assert.match(board, /Booted in/);
  assert.match(board, /kernel8\.img \(6\.3 MB in/);
  assert.match(board, /disk attached by 127\.0\.0\.1/);
  assert.doesNotMatch(board, /<b>bold/);
});

/** Headless, as root in a test, and without a word to the world outside. */
const QUIET = [
  ...[
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
  ],
  ...['--disable-component-update', '--disable-sync', '--virtual-time-budget=2000'],
];
