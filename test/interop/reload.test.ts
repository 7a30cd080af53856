// The built program, told to read its inventory again while boards use it.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { type RunningProgram, runProgram } from '../support/running-program.js';

test('SIGHUP adds a board, and the one that runs notices nothing', async (context) => {
  const program = await runProgram(context);
  const disk = await attach(context, program, 'node1');
  const io = inUse(disk);
  addBoard(program, 'node2', '2');
  program.child.kill('SIGHUP');
  await until(said(program, '"reload.done"'), 'the reload');
  assert.match(program.output(), /"changed":\["image node2: added","board node2: added"\]/);
  const second = await attach(context, program, 'node2');
  assert.equal((await second.read(0, 512)).length, 512);
  assert.equal((await fetched(program, '00000002/config.txt')).verdict.outcome, 'complete');
  await io.goesOn();
});

/** Writes and reads without a pause, until it is asked. */
function inUse(disk: Awaited<ReturnType<typeof attach>>) {
  let rounds = 0;
  let isOver = false;
  const at = disk.sizeBytes - 4096;
  const working = (async () => {
    for (; !isOver; rounds += 1) {
      await disk.write(at, new Uint8Array(4096).fill(rounds), { durable: rounds % 16 === 0 });
      assert.ok((await disk.read(at, 4096)).every((byte) => byte === (rounds & 0xff)));
    }
  })();
  return {
    /** Some more rounds were done from now on, all of them right. */
    async goesOn() {
      const before = rounds;
      await Promise.race([until(() => rounds > before + 20, 'more requests'), working]);
      isOver = true;
      await working;
      assert.ok(rounds > before);
    },
  };
}

async function attach(context: TestContext, { ports }: RunningProgram, board: string) {
  const client = await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock);
  const disk = await client.go(board);
  whenOver(context, () => disk.destroy());
  return disk;
}

function fetched({ ports }: RunningProgram, path: string) {
  const server = { address: '127.0.0.1', port: ports.tftp };
  return fetchFile({ server, local: anyPort('127.0.0.1'), clock: systemClock, path });
}

/** On a copy of the demo's image. */
function addBoard({ folder, config }: RunningProgram, name: string, serial: string): void {
  copyFileSync(join(folder, 'demo.img'), join(folder, `${name}.img`));
  const text = readFileSync(config, 'utf8')
    .replace('\nboards:\n', `\n  ${name}: { file: ${name}.img }\nboards:\n`)
    .concat(`\n  ${name}: { serial: ${serial}, image: ${name}, disk: direct }\n`);
  writeFileSync(config, text);
}

function said(program: RunningProgram, text: string) {
  return Object.assign(() => program.output().includes(text), { said: () => program.output() });
}
