// A process that is out of file descriptors: strangers used them up. Who has a disk keeps it, and all is well when they are gone.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { fetchFile } from '../../src/tftp/client.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { without } from '../support/programs.js';
import { brambleboot, LISTED_SERIAL, type RunningProgram, runProgram } from '../support/running-program.js';

/** What is left to be used up: far less than any limit of our own on connections. */
const SPARE_DESCRIPTORS = 24;

test('out of descriptors: the disk in use goes on, others are told or turned away, and all recovers', {
  skip: without('prlimit', 'util-linux'),
}, async (context) => {
  const program = await runProgram(context);
  const { ports, child } = program;
  const disk = await (await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock)).go('node1');
  whenOver(context, () => disk.destroy());

  // Not before it runs, and its threads too: to load a program takes more at once.
  await disk.read(0, 4096);
  const most = openFiles(program) + SPARE_DESCRIPTORS;
  execFileSync('prlimit', ['--pid', String(child.pid), `--nofile=${most}`]);
  const idle = await useUp(context, program, most);
  assert.equal((await disk.read(0, 4096)).length, 4096);
  await disk.write(1024, new Uint8Array(512), { durable: true });
  const { verdict } = await fetch(ports.tftp);
  assert.ok(verdict.outcome === 'refused' && /EMFILE/.test(verdict.message), JSON.stringify(verdict));
  assert.equal(child.exitCode, null);

  for (const socket of idle) socket.destroy();
  await until(() => openFiles(program) < most - SPARE_DESCRIPTORS / 2, 'the connections to go');
  assert.equal((await fetch(ports.tftp)).verdict.outcome, 'complete');
  assert.equal((await disk.read(0, 4096)).length, 4096);
  await disk.disconnect();
  const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
  const { status, stderr } = await brambleboot('pretend', '--serial', LISTED_SERIAL, ...place);
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(program.output(), /\.bug"/);
});

/** Connects and says nothing, until no descriptor is left. */
async function useUp(context: TestContext, program: RunningProgram, most: number): Promise<readonly Socket[]> {
  const idle = Array.from({ length: 2 * SPARE_DESCRIPTORS }, (_, index) => {
    // Web and disk: neither's own limit is reached.
    const socket = connect({ host: '127.0.0.1', port: index % 2 === 0 ? program.ports.nbd : program.ports.http });
    socket.on('error', () => {});
    whenOver(context, () => void socket.destroy());
    return socket;
  });
  await until(() => openFiles(program) >= most, 'the last descriptor');
  return idle;
}

function openFiles({ child }: RunningProgram): number {
  return readdirSync(`/proc/${child.pid}/fd`).length;
}

function fetch(tftpPort: number) {
  const server = { address: '127.0.0.1', port: tftpPort };
  const local = { address: '127.0.0.1', port: 0 };
  return fetchFile({ path: `${LISTED_SERIAL}/config.txt`, server, local, clock: systemClock });
}
