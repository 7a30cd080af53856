// Clients on this host, which come by a Unix socket: foreign ones, and who shares a disk with whom.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { NBD_CONNECTIONS_PER_ADDRESS_MAX } from '../../src/base/limits.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { diskBoard } from '../support/boards.js';
import { whenOver } from '../support/cleanup.js';
import { runForeign } from '../support/foreign.js';
import { serveBoards } from '../support/nbd-server.js';
import { without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { noise } from '../support/random.js';
import { rawNbd } from '../support/raw-nbd.js';
import { scratchFolder } from '../support/scratch.js';

const MEBI = 1024 * 1024;

async function serveAtPath(context: TestContext) {
  const folder = scratchFolder(context);
  const path = join(folder, 'nbd.sock');
  const device = new MemoryDevice(8 * MEBI);
  const served = await serveBoards(context, [diskBoard('node1', device), diskBoard('node2', MEBI)]);
  const listener = await served.server.listen({ kind: 'unix', path });
  return { ...served, folder, path, device, listener, uri: `nbd+unix:///node1?socket=${path}` };
}

describe('a Unix socket', () => {
  test('is connected to by nbdinfo, nbdcopy and qemu-img', {
    skip: without('nbdinfo', 'libnbd-bin') || without('qemu-img', 'qemu-utils'),
  }, async (context) => {
    const { folder, uri, events } = await serveAtPath(context);
    const [image, back] = [join(folder, 'image'), join(folder, 'back')];
    writeFileSync(image, noise(8 * MEBI, 1));
    assert.match((await runForeign('nbdinfo', '--size', uri)).stdout, /^8388608$/m);
    for (const [program, ...words] of [
      ['nbdcopy', '--connections=4', '--flush', image, uri],
      ['nbdcopy', '--connections=1', uri, back],
      ['qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri],
    ] as const) {
      const { status, stdout, stderr } = await runForeign(program, ...words);
      assert.equal(status, 0, `${program} ${stdout}${stderr}`);
    }
    assert.ok(readFileSync(back).equals(readFileSync(image)));
    const peers = events.map((event) => ('peer' in event ? event.peer : ''));
    for (const peer of peers) assert.match(peer, /^unix:\d+@\d+$/);
    assert.equal(new Set(peers).size, 4, 'each of them is a peer of its own');
  });

  test('gives a disk to one process, with as many connections as it likes, and names it to others', async (context) => {
    const { path, server } = await serveAtPath(context);
    const own = await rawNbd(context, path).transmitting();
    await rawNbd(context, path).transmitting();
    assert.equal(server.connections().length, 2);
    const refused = await goFromAnotherProcess(path, 'node1');
    assert.match(refused, new RegExp(`in use by unix:${process.pid}@\\d+`));
    assert.match(await goFromAnotherProcess(path, 'node2'), /^granted/);
    own.destroy();
  });

  test('frees the disk of a process that ended without a word', async (context) => {
    const { path, server } = await serveAtPath(context);
    const child = spawn(process.execPath, ['--input-type=module', '-e', asking(path, 'node1')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    whenOver(context, () => void child.kill('SIGKILL'));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    assert.equal(server.connections().length, 1);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    await rawNbd(context, path).transmitting();
    const [now, ...others] = server.connections();
    assert.match(now?.peer ?? '', new RegExp(`^unix:${process.pid}@`));
    assert.deepEqual(others, []);
  });

  test('may be opened by its owner and group, and is gone when the server stops', async (context) => {
    const { path, listener } = await serveAtPath(context);
    assert.equal(statSync(path).mode & 0o777, 0o660);
    await listener.stop();
    assert.equal(existsSync(path), false);
  });

  test('counts all who come by it as one, so that they leave room for boards', async (context) => {
    const { path, port } = await serveAtPath(context);
    const held = Array.from({ length: NBD_CONNECTIONS_PER_ADDRESS_MAX }, () => rawNbd(context, path));
    for (const one of held) assert.notEqual(await one.receive(8), undefined);
    assert.equal(await rawNbd(context, path).receive(8), undefined);
    assert.notEqual(await rawNbd(context, port).receive(8), undefined);
  });

  test('takes the place of one that a killed server left, of no other file and of no server that lives', async (context) => {
    const { server, folder, path } = await serveAtPath(context);
    const stale = join(folder, 'stale.sock');
    const leave = `require('node:net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await new Promise((resolve) => spawn(process.execPath, ['-e', leave]).once('exit', resolve));
    assert.ok(existsSync(stale));
    await server.listen({ kind: 'unix', path: stale });
    await rawNbd(context, stale).transmitting();

    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    await assert.rejects(server.listen({ kind: 'unix', path: file }), /is no socket: choose another path/);
    assert.equal(readFileSync(file, 'utf8'), 'precious');
    await assert.rejects(server.listen({ kind: 'unix', path }), /another program listens at .*: stop it, or/);
    const foreign = join(folder, 'foreign.sock');
    const other = createServer().listen(foreign);
    whenOver(context, () => void other.close());
    await assert.rejects(server.listen({ kind: 'unix', path: foreign }), /another program listens at/);
  });
});

/** What a process of its own, which begins and ends here, is answered to GO. */
async function goFromAnotherProcess(path: string, exportName: string): Promise<string> {
  return (await runForeign(process.execPath, '--input-type=module', '-e', `${asking(path, exportName)}process.exit();`))
    .stdout;
}

/** Says `granted`, or the server's sentence, and stays connected. */
function asking(path: string, exportName: string): string {
  return `
    const { RawNbd } = await import(${JSON.stringify(projectFile('build/test/support/raw-nbd.js'))});
    const { encodeExportRequest, encodeOption } = await import(${JSON.stringify(projectFile('build/src/nbd/wire/handshake-wire.js'))});
    const raw = await new RawNbd(${JSON.stringify(path)}).greeted();
    await raw.send(encodeOption(7, encodeExportRequest({ exportName: '${exportName}', infoRequests: [] })));
    const { reply, body } = await raw.optionReply();
    console.log(reply < 2 ** 31 ? 'granted' : Buffer.from(body).toString());
  `;
}
