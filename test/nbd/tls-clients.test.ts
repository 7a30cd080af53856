// Clients that others wrote, over TLS, against the whole server as its inventory says. Certificates are made as the how-to makes them.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Option } from '../../src/nbd/wire/constants.js';
import { encodeOption } from '../../src/nbd/wire/handshake-wire.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { Authority, type CertificateFiles } from '../support/certificates.js';
import { background, until } from '../support/commands.js';
import { type Outcome, runForeign } from '../support/foreign.js';
import { keptLog, type LogLine } from '../support/log-lines.js';
import { anyOf, without } from '../support/programs.js';
import { noise } from '../support/random.js';
import { rawNbd } from '../support/raw-nbd.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer } from '../support/server.js';

const skip = anyOf(
  without('openssl', 'openssl'),
  without('psktool', 'gnutls-bin'),
  without('nbdinfo', 'libnbd-bin'),
  without('nbdcopy', 'libnbd-bin'),
  without('qemu-img', 'qemu-utils'),
);
const MEBI = 1024 * 1024;

const INVENTORY = `
images: { one: { file: one.img }, two: { file: two.img }, three: { file: three.img } }
boards:
  node1: { serial: 1, image: one }
  node2: { serial: 2, image: two }
  plain: { serial: 3, image: three, tls: off }
`;

interface Shelf {
  readonly folder: string;
  readonly port: number;
  readonly http: number;
  readonly ca: Authority;
  readonly lines: readonly LogLine[];
  /** A folder as libnbd and QEMU want it: the CA, and what the client shows. */
  credentials(name: string, shown?: CertificateFiles, ca?: Authority): string;
  uri(board: string, credentials: string): string;
  keyUri(board: string, identity?: string, file?: string): string;
  read(board: 'one' | 'two' | 'three'): Buffer;
}

/** `asks`: how clients show who they are. */
async function shelf(
  context: TestContext,
  asks: readonly ('client_ca' | 'psk')[],
  serverName = 'localhost',
): Promise<Shelf> {
  const folder = await scratchWithImages(context);
  const ca = new Authority(folder);
  const names = [['DNS', serverName] as const];
  const { certificate, key } = ca.issue({ subject: '/CN=server', alternativeNames: names, purpose: 'serverAuth' });
  const files = asks.includes('psk') && asks.length === 1 ? [] : [`certificate: ${certificate}`, `key: ${key}`];
  if (asks.includes('client_ca')) files.push(`client_ca: ${ca.certificate}`);
  if (asks.includes('psk')) {
    for (const name of ['node1', 'node2']) await succeed('psktool', '-u', name, '-p', join(folder, 'keys.psk'));
    files.push('psk: keys.psk');
  }
  const { log, lines } = keptLog();
  const nbd = `tls: { mode: required, ${files.join(', ')} }`;
  const { ports } = await startTestServer(context, { inventory: INVENTORY, folder, nbd, log });
  return {
    ...{ folder, ca, lines, port: ports.nbd, http: ports.http },
    credentials(name, shown, trusted = ca) {
      const place = join(folder, name);
      mkdirSync(place);
      copyFileSync(trusted.certificate, join(place, 'ca-cert.pem'));
      if (shown !== undefined) copyFileSync(shown.certificate, join(place, 'client-cert.pem'));
      if (shown !== undefined) copyFileSync(shown.key, join(place, 'client-key.pem'));
      return place;
    },
    uri: (board, place) => `nbds://localhost:${ports.nbd}/${board}?tls-certificates=${place}`,
    keyUri: (board, identity = board, file = join(folder, 'keys.psk')) =>
      `nbds://${identity}@localhost:${ports.nbd}/${board}?tls-psk-file=${file}`,
    read: (image) => readFileSync(join(folder, `${image}.img`)),
  };
}

async function scratchWithImages(context: TestContext): Promise<string> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'one.img'));
  for (const name of ['two', 'three']) {
    await succeed('cp', '--sparse=always', join(folder, 'one.img'), join(folder, `${name}.img`));
  }
  return folder;
}

/** A file of the size of a disk: data at the beginning, and then a hole. */
function wanted({ folder, read }: Shelf): { readonly file: string; readonly content: Buffer } {
  const file = join(folder, 'there');
  writeFileSync(file, noise(16 * MEBI));
  truncateSync(file, read('one').length);
  return { file, content: readFileSync(file) };
}

async function succeed(program: string, ...values: readonly string[]): Promise<Outcome> {
  const outcome = await runForeign(program, ...values);
  assert.equal(outcome.status, 0, `${program} ${values.join(' ')}\n${outcome.stdout}${outcome.stderr}`);
  return outcome;
}

async function fail(program: string, ...values: readonly string[]): Promise<string> {
  const outcome = await runForeign(program, ...values);
  assert.ok(outcome.status > 0, `${program} ${values.join(' ')}\n${outcome.stdout}${outcome.stderr}`);
  return outcome.stderr;
}

/** There and back, by nbdcopy on four connections. */
async function copied(at: Shelf, image: 'one' | 'two', uri: string): Promise<void> {
  const { file, content } = wanted(at);
  const back = join(at.folder, 'back');
  await succeed('nbdcopy', '--connections=4', '--flush', file, uri);
  assert.ok(at.read(image).equals(content));
  await succeed('nbdcopy', '--connections=4', uri, back);
  assert.ok(readFileSync(back).equals(content));
}

function qemuDisk(port: number, board: string): string {
  return `driver=nbd,host=localhost,port=${port},export=${board},tls-creds=tls0`;
}

/** There and back by qemu-img, which is told of its credentials as an object. */
async function converted(at: Shelf, image: 'one' | 'two', board: string, credentials: string): Promise<void> {
  const { file, content } = wanted(at);
  const { folder, port, read } = at;
  const back = join(folder, 'back');
  const object = ['--object', credentials];
  const target = ['--target-image-opts', qemuDisk(port, board)];
  await succeed('qemu-img', 'convert', ...object, '-n', '-f', 'raw', file, ...target);
  assert.ok(read(image).equals(content));
  await succeed('qemu-img', 'convert', ...object, '--image-opts', qemuDisk(port, board), '-O', 'raw', back);
  assert.ok(readFileSync(back).equals(content));
  const { stdout } = await succeed(
    'qemu-img',
    'info',
    ...object,
    '--output=json',
    '--image-opts',
    qemuDisk(port, board),
  );
  assert.equal(JSON.parse(stdout)['virtual-size'], content.length);
}

async function infoOf(uri: string) {
  const { stdout } = await succeed('nbdinfo', '--json', uri);
  const told: { TLS: boolean; exports: readonly { 'export-name': string; 'export-size': number }[] } =
    JSON.parse(stdout);
  return told;
}

function because(lines: readonly LogLine[], event: string): unknown {
  return lines.filter((line) => line.event === event).at(-1)?.['because'];
}

describe('a server with a certificate', { skip }, () => {
  test('gives disks by nbdinfo, nbdcopy and qemu-img to who trusts it, both ways', async (context) => {
    const at = await shelf(context, []);
    const place = at.credentials('client');
    const told = await infoOf(at.uri('node1', place));
    assert.deepEqual([told.TLS, told.exports[0]?.['export-size']], [true, at.read('one').length]);
    await copied(at, 'one', at.uri('node1', place));
    await converted(at, 'two', 'node2', `tls-creds-x509,id=tls0,endpoint=client,dir=${place}`);
    const { stdout } = await succeed('nbdinfo', '--list', '--json', at.uri('', place));
    const names = JSON.parse(stdout).exports.map((entry: { 'export-name': string }) => entry['export-name']);
    assert.deepEqual(names, ['node1', 'node2']);
  });

  test('is left by who does not trust it, or knows it by another name', async (context) => {
    const at = await shelf(context, [], 'elsewhere.example');
    assert.match(await fail('nbdinfo', at.uri('node1', at.credentials('right'))), /certificate/i);
    const strange = at.credentials('strange', undefined, new Authority(at.folder, 'other'));
    assert.match(await fail('nbdinfo', at.uri('node1', strange)), /certificate/i);
    const qemu = (place: string) => ['--object', `tls-creds-x509,id=tls0,endpoint=client,dir=${place}`];
    const disk = ['--image-opts', qemuDisk(at.port, 'node1')];
    assert.match(await fail('qemu-img', 'info', ...qemu(strange), ...disk), /certificate/i);
    assert.ok(!at.lines.some(({ event }) => event === 'nbd.disk.attached'));
  });

  test('refuses who comes without TLS, in words, and serves in the clear the one board that is to be', async (context) => {
    const at = await shelf(context, []);
    const clear = (board: string) => `nbd://localhost:${at.port}/${board}`;
    await fail('nbdinfo', clear('node1'));
    assert.equal(because(at.lines, 'nbd.disk.refused'), 'it is served over TLS only');
    assert.match(await fail('qemu-img', 'info', clear('node1')), /TLS/);
    await fail('nbdinfo', at.uri('plain', at.credentials('client')));
    assert.equal(because(at.lines, 'nbd.disk.refused'), 'it is served without TLS only');
    assert.equal((await infoOf(clear('plain'))).TLS, false);
    const { stdout } = await succeed('nbdinfo', '--list', '--json', clear(''));
    assert.deepEqual(
      JSON.parse(stdout).exports.map((entry: { 'export-name': string }) => entry['export-name']),
      ['plain'],
    );
    const metrics = await (await fetch(`http://127.0.0.1:${at.http}/metrics`)).text();
    assert.match(metrics, /brambleboot_nbd_refusals_total\{board="node1",reason="tls"\} 2\n/);
    assert.match(metrics, /brambleboot_nbd_certificate_seconds_left\{certificate="server"\} 3153\d{5}/);
  });
});

describe('a server with a CA for clients', { skip }, () => {
  test('gives each the disk that its certificate names, by nbdcopy and qemu-img, both ways', async (context) => {
    const at = await shelf(context, ['client_ca']);
    const place = at.credentials('client', at.ca.issue({ subject: '/CN=node1', purpose: 'clientAuth' }));
    assert.equal((await infoOf(at.uri('node1', place))).TLS, true);
    await copied(at, 'one', at.uri('node1', place));
    await converted(at, 'one', 'node1', `tls-creds-x509,id=tls0,endpoint=client,dir=${place}`);
    await fail('nbdinfo', at.uri('node2', place));
    assert.equal(because(at.lines, 'nbd.disk.refused'), 'not for the certificate of CN=node1');
  });

  test('lets in nobody without one, with one of another CA, or one that has expired', async (context) => {
    const at = await shelf(context, ['client_ca']);
    const told = async (name: string, shown?: CertificateFiles) => {
      const failedBefore = failed(at.lines);
      await fail('nbdinfo', at.uri('node1', at.credentials(name, shown)));
      await until(() => failed(at.lines) > failedBefore, 'the log');
      return because(at.lines, 'nbd.tls.failed');
    };
    const failed = (lines: readonly LogLine[]) => lines.filter(({ event }) => event === 'nbd.tls.failed').length;
    assert.equal(await told('nobody'), 'it showed no certificate');
    const stranger = new Authority(at.folder, 'other').issue({ subject: '/CN=node1' });
    // GnuTLS keeps back a certificate that is of none of the CAs that the server asks for.
    assert.match(String(await told('stranger', stranger)), /it showed no certificate|not issued by `client_ca`/);
    assert.equal(await told('old', at.ca.issue({ subject: '/CN=node1', days: -1 })), 'its certificate has expired');
    const metrics = await (await fetch(`http://127.0.0.1:${at.http}/metrics`)).text();
    assert.match(metrics, /brambleboot_nbd_tls_failures_total 3\n/);
  });

  test('lets nbd-client in, as far as there is a device for it', {
    skip: without('nbd-client', 'nbd-client'),
  }, async (context) => {
    const at = await shelf(context, ['client_ca']);
    const { certificate, key } = at.ca.issue({ subject: '/CN=node1' });
    const files = ['-cacertfile', at.ca.certificate, '-certfile', certificate, '-keyfile', key];
    // What is no block device is found out when the server has given the disk.
    const device = ['localhost', String(at.port), '/dev/null', '-nonetlink', '-nofork'];
    await fail('nbd-client', '-N', 'node1', ...device, ...files);
    await until(() => at.lines.some(({ event }) => event === 'nbd.disk.attached'), 'the disk');
  });
});

describe('a server with keys', { skip }, () => {
  test('gives each the disk of its name, by nbdcopy and qemu-img, both ways', async (context) => {
    const at = await shelf(context, ['psk']);
    assert.equal((await infoOf(at.keyUri('node1'))).TLS, true);
    await copied(at, 'one', at.keyUri('node1'));
    const object = `tls-creds-psk,id=tls0,endpoint=client,dir=${at.folder},username=node2`;
    await converted(at, 'two', 'node2', object);
    await fail('nbdinfo', at.keyUri('node2', 'node1'));
    assert.equal(because(at.lines, 'nbd.disk.refused'), 'not for the key of node1');
  });

  test('lets in nobody with a wrong key, or with a name that has none', async (context) => {
    const at = await shelf(context, ['psk']);
    const wrong = join(at.folder, 'wrong.psk');
    for (const name of ['node1', 'node3']) await succeed('psktool', '-u', name, '-p', wrong);
    await fail('nbdinfo', at.keyUri('node1', 'node1', wrong));
    await until(() => because(at.lines, 'nbd.tls.failed') !== undefined, 'the log');
    assert.equal(because(at.lines, 'nbd.tls.failed'), 'its key is not the one in `psk`');
    await fail('nbdinfo', at.keyUri('node1', 'node3', wrong));
    await until(() => /identity is not in/.test(String(because(at.lines, 'nbd.tls.failed'))), 'the log');
    await fail(
      'qemu-img',
      'info',
      '--object',
      `tls-creds-psk,id=tls0,endpoint=client,dir=${at.folder},username=node3`,
      '--image-opts',
      qemuDisk(at.port, 'node1'),
    );
    assert.ok(!at.lines.some(({ event }) => event === 'nbd.disk.attached'));
  });

  test('and a certificate serves both kinds of client', async (context) => {
    const at = await shelf(context, ['client_ca', 'psk']);
    assert.equal((await infoOf(at.keyUri('node1'))).TLS, true);
    const place = at.credentials('client', at.ca.issue({ subject: '/CN=node2' }));
    assert.equal((await infoOf(at.uri('node2', place))).TLS, true);
    await fail('nbdinfo', at.keyUri('node2', 'node1'));
    await fail('nbdinfo', at.uri('node1', place));
  });
});

test('a board that runs in the clear goes on while others stall, fail and copy over TLS', {
  skip: anyOf(skip, without('fio', 'fio')),
}, async (context) => {
  const at = await shelf(context, ['client_ca', 'psk']);
  const job = ['--ioengine=nbd', `--uri=nbd://localhost:${at.port}/plain`, '--rw=randrw', '--bsrange=512-65536'];
  const how = ['--iodepth=16', '--size=16M', '--verify=crc32c', '--loops=4', '--fsync=32', `--aux-path=${at.folder}`];
  const fio = background(context, 'fio', ['--name=verify', ...job, ...how, '--minimal']);
  const ended = new Promise((resolve) => fio.once('exit', resolve));
  await until(() => at.lines.some(({ event, board }) => event === 'nbd.disk.attached' && board === 'plain'), 'fio');
  const stalled = Array.from({ length: 20 }, () => rawNbd(context, at.port));
  for (const one of stalled) await (await one.greeted()).send(encodeOption(Option.StartTls, new Uint8Array(0)));
  await copied(at, 'one', at.keyUri('node1'));
  await fail('nbdinfo', at.uri('node1', at.credentials('nobody')));
  for (const one of stalled) one.reset();
  assert.equal(await ended, 0);
  assert.equal(because(at.lines, 'nbd.disk.detached') !== undefined, true);
});
