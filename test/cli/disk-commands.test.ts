// A board's disk as its operator has it: the built program, and a client at the disk.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { whenOver } from '../support/cleanup.js';
import { background, outputOf, until } from '../support/commands.js';
import { testPorts } from '../support/ports.js';
import { brambleboot, MAIN } from '../support/running-program.js';
import { scratchFolder } from '../support/scratch.js';
import { testSettings } from '../support/server.js';

/** Of the demo's image: behind its partition table and before its first partition. */
const GAP = 512 * 1024;

async function running(context: TestContext) {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `${testSettings(ports)}images: { demo: { file: demo.img }, other: { file: other.img } }
boards:
  node1: { serial: 1, image: demo, disk: overlay }
  node2: { serial: 2, image: other, disk: direct }
`,
  );
  await makeDemoImage(join(folder, 'other.img'));
  const server = background(context, process.execPath, [MAIN, 'serve', '--config', config]);
  let log = '';
  server.stdout?.on('data', (chunk: Buffer) => {
    log += chunk.toString('utf8');
  });
  await until(outputOf(server, 'server.ready'), 'the server');
  const say = (...words: readonly string[]) => brambleboot(...words, '--config', config);
  const attach = async () => {
    const client = await connectNbd({ host: '127.0.0.1', port: ports.nbd }, systemClock);
    const disk = await client.go('node1');
    whenOver(context, () => disk.destroy());
    return disk;
  };
  return { folder, ports, config, server, log: () => log, say, attach };
}

const AGE = /^(now|\d+ (min|h|days))$/;

describe("a board's disk", () => {
  test('is kept, gone back to and begun anew by its operator', async (context) => {
    const { say, attach, log, ports } = await running(context);
    const disk = await attach();
    await disk.write(GAP, Buffer.from('one.'), { durable: false });
    const taken = await say('snapshot', 'node1', 'before-upgrade');
    assert.equal(taken.status, 0, taken.stderr);
    assert.match(
      taken.stdout,
      /^node1: snapshot before-upgrade taken; its writes were held for \d+(\.\d)? m?s(: so long .*)?\n$/,
    );
    await disk.write(GAP, Buffer.from('two.'), { durable: true });

    const listed = (await say('snapshots', 'node1')).stdout;
    const [heads, row = '', , sentence] = listed.split('\n');
    assert.match(heads ?? '', /^SNAPSHOT {8}TAKEN +AGE +OWN SPACE/);
    const [name, taken2, age, space, use] = row.split(/ {2,}/);
    assert.deepEqual([name, use], ['before-upgrade', 'the disk lies on it']);
    assert.match(`${taken2} ${space}`, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC [\d.]+ kB$/);
    assert.match(age ?? '', AGE);
    assert.match(
      sentence ?? '',
      /^node1: a disk of 84\.9 MB, over its snapshot before-upgrade; [\d.]+ kB of its own since\.$/,
    );
    const json = JSON.parse((await say('snapshots', 'node1', '--json')).stdout);
    assert.deepEqual(
      [json.board, json.snapshots[0].name, json.snapshots[0].inUse, typeof json.snapshots[0].ownBytes],
      ['node1', 'before-upgrade', true, 'number'],
    );

    const metrics = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text();
    const taken3 = Number(/^brambleboot_disk_allocated_bytes\{board="node1"\} (\d+)$/m.exec(metrics)?.[1]);
    assert.ok(taken3 >= json.currentBytes + json.snapshots[0].ownBytes, `${taken3}`);
    const shown = /node1 {2}running .* demo {3}overlay, 84\.9 MB, [\d.]+ kB of its own, 1 snapshot {2}127\.0\.0\.1 /;
    assert.match((await say('boards')).stdout, shown);
    assert.match(
      (await say('boards', 'node1')).stdout,
      /image demo \(overlay, 84\.9 MB, .* 1 snapshot\), disk in use by/,
    );

    const refused = await say('rollback', 'node1', 'before-upgrade');
    assert.deepEqual(
      [refused.status, refused.stderr],
      [1, 'brambleboot: node1 is connected from 127.0.0.1: shut it down, or --force closes its connection first\n'],
    );
    const back = await say('rollback', 'node1', 'before-upgrade', '--force');
    assert.equal(back.status, 0, back.stderr);
    assert.match(back.stdout, /^node1: its disk is as it was in the snapshot before-upgrade; .* Start node1\n$/);
    await assert.rejects(disk.read(GAP, 4), 'its connection was closed');
    const again = await attach();
    assert.equal(Buffer.from(await again.read(GAP, 4)).toString('latin1'), 'one.');

    assert.equal((await say('reset', 'node1', '--force')).status, 0);
    assert.equal(Buffer.from(await (await attach()).read(GAP, 4)).toString('latin1'), '\0\0\0\0');
    assert.match((await say('drop', 'node1', 'before-upgrade')).stdout, /^node1: snapshot before-upgrade dropped\n$/);
    assert.match((await say('snapshots', 'node1')).stdout, /over its image; .* since\. No snapshots\.\n$/);
    for (const event of ['snapshot.taken', 'rolled_back', 'reset', 'snapshot.dropped'])
      assert.ok(log().includes(`"disk.${event}"`), event);
  });

  test('that is the image itself has none of that, and what is said of it and of others ends with 1', async (context) => {
    const { say } = await running(context);
    for (const words of [
      ['snapshot', 'node2', 'x'],
      ['snapshots', 'node2'],
      ['rollback', 'node2', 'x'],
      ['reset', 'node2'],
      ['drop', 'node2', 'x'],
    ]) {
      const { status, stdout, stderr } = await say(...words);
      assert.deepEqual([status, stdout], [1, ''], words.join(' '));
      assert.match(stderr, /^brambleboot: node2: its disk is the image itself .*\n$/);
    }
    for (const words of [
      ['snapshot', 'nod1', 'x'],
      ['snapshots', 'nod1'],
      ['promote', 'nod1', 'x'],
    ]) {
      const { status, stderr } = await say(...words);
      assert.equal(status, 1);
      assert.match(stderr, /^brambleboot: there is no board "nod1": did you mean node1\?\n$/);
    }
    const odd = await say('snapshot', 'node1', '../\u001b[2J');
    assert.equal(odd.status, 1);
    assert.match(odd.stderr, /is no name for a snapshot/);
    assert.ok(!odd.stderr.includes('\u001b'));
    assert.equal((await brambleboot('snapshot', 'node1')).status, 2);
  });

  test('is made an image of, whatever kind it is, once', async (context) => {
    const { say, attach, folder, log } = await running(context);
    const disk = await attach();
    await disk.write(GAP, Buffer.from('mine'), { durable: false });
    const copy = join(folder, 'copy.img');
    const made = await say('promote', 'node1', copy);
    assert.deepEqual(
      [made.status, made.stdout, made.stderr],
      [0, `node1: its disk, as it was when this began, is now in ${copy} (84.9 MB)\n`, ''],
    );
    const expected = readFileSync(join(folder, 'demo.img'));
    expected.write('mine', GAP, 'latin1');
    assert.ok(readFileSync(copy).equals(expected));
    const again = await say('promote', 'node1', copy);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /^brambleboot: node1: .*copy\.img is there already/);
    assert.equal((await say('promote', 'node2', join(folder, 'copy-2.img'))).status, 0);
    assert.ok(readFileSync(join(folder, 'copy-2.img')).equals(readFileSync(join(folder, 'other.img'))));
    assert.match((await say('promote', 'node1', join(folder, 'nowhere', 'x'))).stderr, /there is no folder .*nowhere/);
    assert.equal(log().match(/"disk\.promoted"/g)?.length, 2);
  });

  test('whose image was changed is put aside by a reset, and the answer says where', async (context) => {
    const { say, folder, config, server } = await running(context);
    server.kill('SIGTERM');
    await new Promise((resolve) => server.once('exit', resolve));
    const image = readFileSync(join(folder, 'demo.img'));
    writeFileSync(join(folder, 'demo.img'), Buffer.concat([image, Buffer.alloc(1024 * 1024)]));
    const second = background(context, process.execPath, [MAIN, 'serve', '--config', config]);
    await until(outputOf(second, 'server.ready'), 'the server');
    const unusable = await say('snapshots', 'node1');
    assert.match(unusable.stderr, /^brambleboot: node1: .*demo\.img is no longer what it was/);
    const boards = (await say('boards')).stdout;
    assert.match(boards, /^node1 {2}away, no disk {2}/m);
    assert.match(boards, /\nNo disk: node1: .*demo\.img is no longer what it was.*`brambleboot reset node1`\.\n/);
    const { status, stdout, stderr } = await say('reset', 'node1');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /it lies in \/.*\/state\/disks-aside\/node1-\d{8}T\d{6}Z\. .* rm -r that folder\n$/);
    assert.equal((await say('snapshots', 'node1')).status, 0);
  });

  test('is copied until Ctrl-C, which closes the connection that it depends on', async (context) => {
    const folder = scratchFolder(context);
    const config = join(folder, 'config.yaml');
    writeFileSync(config, 'images: { a: { file: a.img } }\nboards: { n: { serial: 1, image: a, disk: overlay } }\n');
    mkdirSync(join(folder, 'state'));
    let child: ChildProcess | undefined;
    const ended = new Promise<string>((resolve) => {
      const server = createServer((asked, answer) => {
        answer.once('close', () => resolve(asked.url ?? ''));
        answer.write('{"doneBytes":1,"ofBytes":10}\n');
        child?.kill('SIGINT');
      });
      server.listen(join(folder, 'state', 'control.sock'));
      context.after(() => server.close());
    });
    child = background(context, process.execPath, [MAIN, 'promote', 'n', 'x.img', '--config', config]);
    const said = outputOf(child, 'n: ended; the server removes what there was of');
    const status = new Promise((resolve) => child?.once('close', resolve));
    assert.equal(await ended, '/api/boards/n/promote');
    assert.equal(await status, 1);
    assert.ok(said());
  });

  test('is said to have no server where there is none', async (context) => {
    const folder = scratchFolder(context);
    const config = join(folder, 'config.yaml');
    writeFileSync(config, 'images: { a: { file: a.img } }\nboards: { n: { serial: 1, image: a, disk: overlay } }\n');
    const { status, stderr } = await brambleboot('snapshot', 'n', 'x', '--config', config);
    assert.equal(status, 1);
    assert.match(stderr, /^brambleboot: no server answers at .*state\/control\.sock/);
  });
});
