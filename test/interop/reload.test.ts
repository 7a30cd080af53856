// The built program, told to read its inventory again while boards use it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { handoverFolder } from '../../src/app/handover/handover-folder.js';
import { background, outputOf, until } from '../support/commands.js';
import { notifySocket } from '../support/notify-socket.js';
import { withoutRoot } from '../support/programs.js';
import { attachTo, fetchFrom, slowTransfer } from '../support/reloading.js';
import { brambleboot, MAIN, type RunningProgram, runProgram } from '../support/running-program.js';

describe('SIGHUP', () => {
  test('adds a board; a transfer and a disk in use notice nothing', async (context) => {
    const program = await runProgram(context);
    const { bytes } = await fetchFrom(program.ports, 'bf9fed6f/kernel8.img');
    const io = inUse(await attachTo(context, program.ports, 'node1'));
    const transfer = await slowTransfer(context, program.ports, 'bf9fed6f/kernel8.img');
    addBoard(program, 'node2', '2');
    program.child.kill('SIGHUP');
    await until(said(program, '"reload.done"'), 'the reload');
    assert.match(program.output(), /"by":"SIGHUP","changed":\["image node2: added","board node2: added"\]/);
    const second = await attachTo(context, program.ports, 'node2');
    assert.equal((await second.read(0, 512)).length, 512);
    assert.equal((await fetchFrom(program.ports, '00000002/config.txt')).outcome, 'complete');
    assert.ok(Buffer.from(bytes).equals(await transfer.rest()));
    await io.goesOn();
  });

  test('a thousand times, with the file changed all the while, does no harm', { timeout: 120_000 }, async (context) => {
    const program = await runProgram(context);
    const io = inUse(await attachTo(context, program.ports, 'node1'));
    const sound = readFileSync(program.config, 'utf8');
    const states = [
      sound,
      sound.slice(0, sound.length / 2),
      '',
      sound.replace('bf9fed6f', '00000077'),
      '{',
      `${sound}\n#`,
    ];
    for (let round = 0; round < 1000; round += 1) {
      writeFileSync(program.config, states[round % states.length] ?? sound);
      program.child.kill('SIGHUP');
      if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    writeFileSync(program.config, sound);
    const { status } = await brambleboot('reload', '--config', program.config);
    assert.equal(status, 0);
    assert.equal((await fetchFrom(program.ports, 'bf9fed6f/config.txt')).outcome, 'complete');
    await io.goesOn();
    assert.doesNotMatch(program.output(), /\.bug"/);
    assert.ok(program.output().split('\n').length < 400, 'nor does it fill the log');
  });

  test('while it starts is heard when it has, and while it stops keeps it from nothing', async (context) => {
    const program = await runProgram(context);
    const ended = once(program.child, 'close');
    program.child.kill('SIGTERM');
    await ended;
    const again = background(context, process.execPath, [MAIN, 'serve', '--config', program.config]);
    const heard = outputOf(again, '"reload.unchanged"');
    again.stdout?.once('data', () => again.kill('SIGHUP')); // server.starting
    await until(heard, 'the reload');
    const over = once(again, 'close');
    again.kill('SIGTERM');
    for (let round = 0; round < 20; round += 1) again.kill('SIGHUP');
    assert.deepEqual(await over, [0, null]);
  });

  test('is told to systemd as a reload', async (context) => {
    const program = await runProgram(context);
    const ended = once(program.child, 'close');
    program.child.kill('SIGTERM');
    await ended;
    const path = join(program.folder, 'notify');
    const manager = notifySocket(context, path);
    process.env['NOTIFY_SOCKET'] = path;
    const again = background(context, process.execPath, [MAIN, 'serve', '--config', program.config]);
    delete process.env['NOTIFY_SOCKET'];
    await until(() => manager.said().some((words) => words.startsWith('READY=1')), 'the start');
    const before = manager.said().length;
    again.kill('SIGHUP');
    await until(
      () =>
        manager
          .said()
          .slice(before)
          .some((words) => words.startsWith('READY=1')),
      'the end of the reload',
    );
    const words = manager
      .said()
      .slice(before)
      .map((one) => one.split('\n')[0]);
    assert.deepEqual(
      words.filter((one) => one === 'RELOADING=1' || one === 'READY=1'),
      ['RELOADING=1', 'READY=1'],
    );
    assert.match(manager.said().find((one) => one.startsWith('RELOADING')) ?? '', /\nMONOTONIC_USEC=\d+\n/);
  });
});

describe('brambleboot reload', () => {
  test('says what changed, what waits and what needs a restart', async (context) => {
    const program = await runProgram(context);
    const disk = await attachTo(context, program.ports, 'node1');
    addBoard(program, 'node2', '2');
    const first = await brambleboot('reload', '--config', program.config);
    assert.deepEqual(
      [first.status, first.stdout, first.stderr],
      [0, `${program.config}: reloaded\n  image node2: added\n  board node2: added\n`, ''],
    );
    const unchanged = await brambleboot('reload', '--config', program.config);
    assert.deepEqual([unchanged.status, unchanged.stdout], [0, `${program.config}: nothing has changed\n`]);
    edit(program, (text) =>
      text
        .replace(/^ {2}node1: \{ serial.*\n/m, '')

        .replace(/(http: .*port: )\d+/, '$11'),
    );
    const waits = await brambleboot('reload', '--config', program.config);
    assert.equal(waits.status, 0);
    assert.match(waits.stdout, /^Waiting: board node1 \(removed\): it is connected from 127\.0\.0\.1\./m);
    assert.match(waits.stdout, /^Restart needed: http\.port can't change while the server runs\.$/m);
    const shown = await brambleboot('boards', '--config', program.config);
    assert.match(shown.stdout, /Waiting: board node1 \(removed\)/);
    assert.match(shown.stdout, /Restart needed: http\.port/);
    await disk.read(0, 512);
    const forced = await brambleboot('reload', '--force', '--config', program.config);
    assert.match(forced.stdout, /board node1: removed/);
    await assert.rejects(disk.read(0, 512));
  });

  test('lists faults as check does, with status 78, and so do boards and page', async (context) => {
    const program = await runProgram(context);
    edit(program, (text) => text.replace('image: demo', 'image: dema').replace('serial: bf9fed6f', 'serial: 0xbf'));
    const { status, stderr, stdout } = await brambleboot('reload', '--config', program.config);
    const check = await brambleboot('check', '--config', program.config);
    assert.deepEqual([status, stdout], [78, '']);
    assert.equal(stderr, `${check.stderr}\nNothing was changed: the server goes on with what it has.\n`);
    const shown = await brambleboot('boards', '--config', program.config);
    assert.ok(shown.stdout.includes(check.stderr), shown.stdout);
    const page = await (await fetch(`http://127.0.0.1:${program.ports.http}/`)).text();
    assert.match(page, /inventory faulty/);
    assert.match(page, /did you mean `demo`\?/);
    assert.match(program.output(), /"level":50,[^\n]*"faults":\["[^\n]*"msg":"reload\.faulty"/);
    // Nothing of it can be read, not even where the server is: it is where it would be if the file said nothing.
    edit(program, () => '');
    const blank = await brambleboot('reload', '--config', program.config);
    assert.equal(blank.status, 78);
    assert.match(blank.stderr, /there is nothing in this inventory[\s\S]*\nNothing was changed/);
    assert.match(
      (await brambleboot('boards', '--config', program.config)).stdout,
      /there is nothing in this inventory/,
    );
  });

  test('fails where no server runs', async (context) => {
    const program = await runProgram(context);
    const ended = once(program.child, 'close');
    program.child.kill('SIGTERM');
    await ended;
    const { status, stderr } = await brambleboot('reload', '--config', program.config);
    assert.equal(status, 1);
    assert.match(stderr, /no server answers at /);
  });
});

describe('server.watch', () => {
  test('notices a file that is written in place, replaced, half written, gone, or a folder', {
    timeout: 120_000,
  }, async (context) => {
    const program = await watching(context);
    const io = inUse(await attachTo(context, program.ports, 'node1'));
    const { config } = program;
    // In place.
    addBoard(program, 'node2', '2');
    await until(said(program, '"board node2: added"'), 'node2');
    const two = readFileSync(config, 'utf8');
    // As editors do: another file in its place.
    writeFileSync(`${config}~`, two.replace('serial: 2,', 'serial: 3,'));
    renameSync(`${config}~`, config);
    await until(said(program, '"board node2: serial"'), 'its serial');
    // Half of it.
    writeFileSync(config, two.slice(0, two.indexOf('images:') + 12));
    await until(said(program, '"reload.faulty"'), 'the fault');
    writeFileSync(config, two);
    await until(() => program.output().split('"board node2: serial"').length === 3, 'the whole file');
    rmSync(config);
    await until(() => faultCount(program) === 2, 'no file');
    mkdirSync(config);
    await until(() => faultCount(program) === 3, 'a folder');
    rmdirSync(config);
    writeFileSync(config, two.replace(/\n.*node2.*/g, ''));
    await until(said(program, '"board node2: removed"'), 'the file');
    await io.goesOn();
    assert.doesNotMatch(program.output(), /\.bug"/);
  });

  test('is switched on and off by what it reads', { timeout: 60_000 }, async (context) => {
    const program = await watching(context);
    edit(program, (text) => text.replace('watch: true', 'watch: false'));
    const switched = () => program.output().split('"changed":["server.watch"]').length - 1;
    await until(() => switched() === 2, 'its end');
    edit(program, (text) => text.replace('watch: false', 'watch: true'));
    const { stdout } = await brambleboot('reload', '--config', program.config);
    assert.match(stdout, /server\.watch/);
    addBoard(program, 'node2', '2');
    await until(said(program, '"board node2: added"'), 'node2');
  });
});

describe('a single file that is mounted', { skip: withoutRoot() }, () => {
  test('is watched where it is written, and it is said when it was replaced', { timeout: 60_000 }, async (context) => {
    const program = await stopped(context);
    const { folder, config } = program;
    edit(program, (text) => text.replace('state: ./state', 'state: ./state, watch: true'));
    const mounted = join(folder, 'mounted.yaml');
    writeFileSync(mounted, '');
    const script = `mount --bind ${config} ${mounted} && exec ${process.execPath} ${MAIN} serve --config ${mounted}`;
    const server = background(context, 'unshare', ['--mount', 'sh', '-c', script]);
    const ready = outputOf(server, 'server.ready');
    const added = outputOf(server, '"board node2: added"');
    await until(ready, 'the server');
    addBoard(program, 'node2', '2');
    await until(added, 'node2');
    const [text, other] = [readFileSync(config, 'utf8'), `${config}~`];
    writeFileSync(other, text.replace('serial: 2', 'serial: 3'));
    renameSync(other, config);
    const { status, stdout } = await brambleboot('reload', '--config', config);
    assert.equal(status, 0);
    assert.match(stdout, /nothing has changed\n.*mounted\.yaml: this file has no name any more/);
  });
});

describe('a start with a faulty inventory', () => {
  test('ends with status 78 where nothing is to be kept alive', async (context) => {
    const program = await stopped(context);
    edit(program, (text) => text.replace('serial:', 'seriel:'));
    const { status, stderr } = await brambleboot('serve', '--config', program.config);
    assert.equal(status, 78);
    assert.match(stderr, /seriel/);
  });

  for (const [what, spoil] of Object.entries(spoilt())) {
    test(`(${what}) runs on the last sound one where something is, and goes on with the mended file`, async (context) => {
      const program = await stopped(context);
      const sound = readFileSync(program.config, 'utf8');
      const copy = join(program.folder, 'state', 'inventory.yaml');
      assert.equal(statSync(copy).mode & 0o777, 0o600);
      assert.ok(readFileSync(copy, 'utf8').startsWith(sound));
      leaveConnection(program);
      spoil(program, sound);
      const again = background(context, process.execPath, [MAIN, 'serve', '--config', program.config]);
      const loud = outputOf(again, '"inventory.faulty"');
      await until(outputOf(again, 'server.ready'), 'the server');
      assert.ok(loud(), 'it says so');
      assert.match(loud.said(), /"level":50,[^\n]*runs on [^\n]*state\/inventory\.yaml/);
      assert.equal((await fetchFrom(program.ports, 'bf9fed6f/config.txt')).outcome, 'complete');
      const disk = await attachTo(context, program.ports, 'node1');
      const metrics = await (await fetch(`http://127.0.0.1:${program.ports.http}/metrics`)).text();
      assert.match(metrics, /brambleboot_inventory_faults [1-9]/);
      assert.match(metrics, /last_reload_success_timestamp_seconds 0\n/);
      const page = await (await fetch(`http://127.0.0.1:${program.ports.http}/`)).text();
      assert.match(page, /runs on its copy of the last sound one/);
      assert.ok(readFileSync(copy, 'utf8').startsWith(sound), 'the copy stays as it was');
      // Mended, with one more board.
      writeFileSync(program.config, sound);
      addBoard(program, 'node2', '2');
      const { status, stdout } = await brambleboot('reload', '--config', program.config);
      assert.equal(status, 0);
      assert.match(stdout, /board node2: added/);
      await disk.read(0, 512);
      assert.match(readFileSync(copy, 'utf8'), /node2/);
    });
  }

  test('ends with status 78 where there is a copy that is no good, either', async (context) => {
    const program = await stopped(context);
    leaveConnection(program);
    const copy = join(program.folder, 'state', 'inventory.yaml');
    const whole = readFileSync(copy, 'utf8');
    edit(program, (text) => text.replace('serial:', 'seriel:'));
    for (const content of [
      '',
      '\0',
      whole.slice(0, -20),
      whole.replace('demo.img', 'gone.img'),
      whole.replace('serial:', 'x:'),
    ]) {
      writeFileSync(copy, content);
      const { status, stderr } = await brambleboot('serve', '--config', program.config);
      assert.equal(status, 78);
      assert.match(stderr, /seriel/);
    }
    assert.ok(existsSync(join(handoverFolder(join(program.folder, 'state')), 'node1')));
  });
});

/** Of no use, but the server that starts can't know that. */
function leaveConnection({ folder }: RunningProgram): void {
  const path = handoverFolder(join(folder, 'state'));
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'node1'), '');
}

/** By what somebody may do to the file. */
function spoilt(): Readonly<Record<string, (program: RunningProgram, sound: string) => void>> {
  return {
    'a wrong key': ({ config }, sound) => writeFileSync(config, sound.replace('serial:', 'seriel:')),
    'no YAML': ({ config }, sound) => writeFileSync(config, sound.replace('images:\n', 'images: [\n')),
    'an image that is not there': ({ config }, sound) => writeFileSync(config, sound.replace('demo.img', 'demi.img')),
    'an image that nobody could boot from': ({ config, folder }, sound) => {
      writeFileSync(join(folder, 'zero.img'), new Uint8Array(1024 * 1024));
      writeFileSync(config, sound.replace('demo.img', 'zero.img'));
    },
    'an empty file': ({ config }) => writeFileSync(config, ''),
    'no file': ({ config }) => rmSync(config),
  };
}

/** Its server has run, and does no more. */
async function stopped(context: TestContext): Promise<RunningProgram> {
  const program = await runProgram(context);
  const ended = once(program.child, 'close');
  program.child.kill('SIGTERM');
  await ended;
  return program;
}

async function watching(context: TestContext): Promise<RunningProgram> {
  const program = await runProgram(context);
  edit(program, (text) => text.replace('state: ./state', 'state: ./state, watch: true'));
  assert.equal((await brambleboot('reload', '--config', program.config)).status, 0);
  return program;
}

/** Writes and reads without a pause, until it is asked. */
function inUse(disk: Awaited<ReturnType<typeof attachTo>>) {
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
    /** Some more rounds are done from now on, all of them right, as all before were. */
    async goesOn() {
      const before = rounds;
      await Promise.race([until(() => rounds > before + 20, 'more requests'), working]);
      isOver = true;
      await working;
      assert.ok(rounds > before);
    },
  };
}

/** On a copy of the demo's image. */
function addBoard(program: RunningProgram, name: string, serial: string): void {
  const { folder } = program;
  copyFileSync(join(folder, 'demo.img'), join(folder, `${name}.img`));
  edit(program, (text) =>
    text
      .replace('\nboards:\n', `\n  ${name}: { file: ${name}.img }\nboards:\n`)
      .concat(`  ${name}: { serial: ${serial}, image: ${name}, disk: direct }\n`),
  );
}

function edit({ config }: RunningProgram, change: (text: string) => string): void {
  writeFileSync(config, change(readFileSync(config, 'utf8')));
}

function said(program: RunningProgram, text: string) {
  return Object.assign(() => program.output().includes(text), { said: () => program.output() });
}

function faultCount(program: RunningProgram): number {
  return program.output().split('"reload.faulty"').length - 1;
}
