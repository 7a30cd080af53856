// docs/state.md against the folder of a server that has served a boot.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { until } from '../support/commands.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: bf9fed6f, image: demo, disk: overlay } }
`;

test('docs/state.md lists what lies in the state folder', async (context) => {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder });
  const server = { address: '127.0.0.1', port: ports.tftp };
  await fetchFile({ server, local: anyPort('127.0.0.1'), clock: systemClock, path: 'bf9fed6f/kernel8.img' });
  const found = () =>
    readdirSync(join(folder, 'state'), { recursive: true, encoding: 'utf8' }).map((path) =>
      path.replace('node1', 'NAME').replace(/[0-9a-f]{32}/, 'ID'),
    );
  await until(() => found().includes('boots/NAME.jsonl'), 'the history');
  const documented = [...readFileSync(projectFile('docs/state.md'), 'utf8').matchAll(/^\| `([^`]+)` \|/gm)].map(
    ([, path]) => path,
  );
  // Whether something is being written, or was faulty, is not seen here.
  const passing = [
    'inventory.yaml.new',
    'boots/NAME.jsonl.new',
    'boots/NAME.jsonl.faulty',
    'images/ID.json.new',
    'handover/NAME',
    'handover/NAME.new',
    'handover.reserve',
    'disks/NAME/disk.json.new',
    'disks-aside/NAME-TIME/',
  ];
  const folders = ['boots', 'disks', 'disks/NAME', 'handover', 'images'];
  const lasting = (paths: readonly (string | undefined)[]) =>
    paths.filter((path) => ![...folders, ...passing].includes(path ?? '')).sort();
  assert.deepEqual(lasting(documented), lasting(found()));
  for (const path of passing) assert.ok(documented.includes(path), path);
});
