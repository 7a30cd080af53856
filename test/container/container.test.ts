// The Dockerfile carried out, and its image run with exactly what compose.yaml grants, by the runtime beneath Docker.
import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { outputOf, until } from '../support/commands.js';
import { composeService, startContainer, withoutContainers } from '../support/container.js';
import { buildImage } from '../support/container-image.js';
import { lastOf, words } from '../support/dockerfile.js';
import {
  connectNamespaces,
  type NetworkNamespace,
  networkNamespace,
  withoutNamespaces,
} from '../support/network-namespace.js';
import { anyOf } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';

const SERIAL = 'bf9fed6f';
const INVENTORY = `images: { demo: { file: images/demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;
/** Bits of linux/capability.h: NET_BIND_SERVICE, NET_ADMIN, NET_RAW. */
const OF_THE_SERVICE = (1n << 10n) | (1n << 12n) | (1n << 13n);
const USER = Number(composeService().environment['BRAMBLEBOOT_UID']);
const GROUP = Number(composeService().environment['BRAMBLEBOOT_GID']);

test('the image is built, and serves with what compose.yaml grants and no more', {
  skip: anyOf(withoutNamespaces(), withoutContainers()),
}, async (context) => {
  const scratch = scratchFolder(context);
  const image = buildImage(join(scratch, 'image'));
  const healthCheck = words(lastOf(image.stage, 'HEALTHCHECK'));
  const { server, board } = cable(context);
  const folder = await composeFolder(join(scratch, 'compose'));
  chmodSync(scratch, 0o755); // the service's user has to get to what is in it
  const container = startContainer(context, image, { folder, network: server });
  await until(outputOf(container.process, 'server.ready'), 'the server');

  await context.test('as the user that compose.yaml names, with three capabilities', () => {
    const status = container.statusOf('node');
    const ids = (name: string) => status.get(name)?.split('\t').map(Number);
    assert.deepEqual(ids('Uid'), Array(4).fill(USER));
    assert.deepEqual(ids('Gid'), Array(4).fill(GROUP));
    assert.equal(status.get('Groups'), '');
    assert.equal(status.get('NoNewPrivs'), '1');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.equal(maskOf(status, set), OF_THE_SERVICE, set);
    assert.equal(maskOf(status, 'CapBnd'), maskOf(container.statusOf('tini'), 'CapBnd'));
  });

  await context.test('ports 67 and 69, and a boot from DISCOVER to disk', async () => {
    const words = ['pretend', '--interface', 'eth0', '--serial', SERIAL, '--json'];
    const playing = board.spawn('node', projectFile('dist/main.js'), ...words);
    let said = '';
    playing.stdout.on('data', (chunk) => (said += chunk));
    playing.stderr.on('data', (chunk) => (said += chunk));
    await new Promise((resolve) => playing.once('close', resolve));
    assert.match(said, /"outcome": "booted"/);
  });

  await context.test('the health check, and the command line', () => {
    assert.equal(container.exec(healthCheck).status, 0);
    const boards = container.exec(['brambleboot', 'boards']);
    assert.match(boards.text, /node1/);
    assert.equal(boards.status, 0, boards.text);
    const check = container.exec(['brambleboot', 'check']);
    assert.equal(check.status, 0, check.text);
    assert.doesNotMatch(check.text, /a restart of the server would end/);
  });

  await context.test('writes to nothing but images and state', () => {
    for (const path of ['/app/x', '/srv/brambleboot/x', '/srv/brambleboot/config.yaml']) {
      assert.match(container.exec(['as-service', 'touch', path]).text, /Read-only file system/);
    }
    for (const path of ['images/x', 'state/x']) assert.equal(container.exec(['as-service', 'touch', path]).status, 0);
  });

  await context.test('an inventory that an editor replaced is the one that is read', () => {
    writeFileSync(join(folder, 'config.yaml.new'), INVENTORY.replace('node1', 'renamed'));
    renameSync(join(folder, 'config.yaml.new'), join(folder, 'config.yaml'));
    assert.match(container.exec(['brambleboot', 'check']).text, /renamed/);
  });

  await context.test('a user who may not: told which file or folder, and who it is', () => {
    const stranger = { BRAMBLEBOOT_UID: '1234', BRAMBLEBOOT_GID: '1234' };
    const check = container.exec(['brambleboot', 'check'], stranger);
    assert.match(check.text, /demo\.img" may not be opened by user 1234$/m);
    assert.equal(check.status, 78);
    chmodSync(join(folder, 'images/demo.img'), 0o666);
    const serve = container.exec(['brambleboot', 'serve'], stranger);
    assert.match(
      serve.text,
      /the state folder \/srv\/brambleboot\/state can't be used by user 1234: .* `chown -R 1234 /,
    );
    assert.equal(serve.status, 1);
  });

  await context.test('docker stop: the signal gets from init to the service, which ends in order', async () => {
    const ended = new Promise((resolve) => container.process.once('exit', resolve));
    const stopped = outputOf(container.process, 'server.stopped');
    container.terminate();
    assert.equal(await ended, 0);
    assert.ok(stopped());
    assert.ok(!existsSync(join(folder, 'state/control.sock')));
  });

  await context.test('no server, no health', async () => {
    const idle = startContainer(context, image, {
      folder,
      network: server,
      command: ['sh', '-c', 'echo up; exec sleep 300'],
    });
    await until(outputOf(idle.process, 'up'), 'the container');
    const { status, text } = idle.exec(healthCheck);
    assert.equal(status, 1);
    assert.match(text, /ENOENT/);
  });
});

function maskOf(status: ReadonlyMap<string, string>, name: string): bigint {
  return BigInt(`0x${status.get(name)}`);
}

/** The folder of compose.yaml, with what its user puts there. */
async function composeFolder(folder: string): Promise<string> {
  for (const path of [folder, join(folder, 'images'), join(folder, 'state')]) {
    mkdirSync(path);
    chownSync(path, USER, GROUP);
  }
  const disk = join(folder, 'images/demo.img');
  await makeDemoImage(disk);
  chownSync(disk, USER, GROUP);
  chmodSync(disk, 0o600);
  const inventory = join(folder, 'config.yaml');
  writeFileSync(inventory, INVENTORY);
  chownSync(inventory, USER, GROUP);
  return folder;
}

function cable(context: TestContext): { readonly server: NetworkNamespace; readonly board: NetworkNamespace } {
  const [server, board] = [networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: server, interfaceName: 'eth0', address: '10.78.0.1/24' },
    { namespace: board, interfaceName: 'eth0', address: '10.78.0.2/24' },
  );
  return { server, board };
}
