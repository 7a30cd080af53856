// The program as its user has it: a process with words, output and exit status.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { Authority, type CertificateFiles } from '../support/certificates.js';
import { whenOver } from '../support/cleanup.js';
import { background, outputOf, until } from '../support/commands.js';
import { type TestPorts, testPorts } from '../support/ports.js';
import { without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { scratchFolder } from '../support/scratch.js';
import { testSettings } from '../support/server.js';

const MAIN = projectFile('dist/main.js');

function brambleboot(...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync('node', [MAIN, ...words], { encoding: 'utf8', timeout: 60_000 });
  return { status, stdout, stderr };
}

interface Setup {
  readonly config: string;
  readonly ports: TestPorts;
}

async function setup(
  context: TestContext,
  boards = 'boards: { node1: { serial: bf9fed6f, image: demo, disk: direct } }\n',
): Promise<Setup> {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const ports = await testPorts(context);
  const config = join(folder, 'config.yaml');
  writeFileSync(
    config,
    `${testSettings(ports)}images: { demo: { file: demo.img } }
${boards}`,
  );
  return { config, ports };
}

async function running(context: TestContext, config: string): Promise<ChildProcess> {
  const server = background(context, 'node', [MAIN, 'serve', '--config', config]);
  await until(outputOf(server, 'server.ready'), 'the server');
  return server;
}

describe('wrong usage', () => {
  for (const [what, words, message] of [
    ['an unknown command', ['frobnicate'], /no command "frobnicate"; there are serve, check/],
    ['an unknown option', ['check', '--frobnicate'], /unknown option '--frobnicate'/],
    ['a missing option', ['pretend'], /required option '--serial <serial>'/],
    ['a wrong value', ['pretend', '--serial', 'xyz'], /"xyz" is not 1 to 16 hex digits/],
    ['a wrong port', ['pretend', '--serial', '1', '--tftp-port', '99999'], /"99999" is not a port/],
    ['a wrong choice', ['serve', '--log-level', 'loud'], /Allowed choices are debug, info, warn, error/],
  ] as const) {
    test(`${what} ends with 2 and says what is wrong`, () => {
      const { status, stdout, stderr } = brambleboot(...words);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
      assert.equal(stdout, '');
    });
  }

  test('help and version end with 0', () => {
    assert.match(brambleboot('--help').stdout, /Usage: brambleboot/);
    assert.equal(brambleboot('help', 'serve').status, 0);
    assert.match(brambleboot('--version').stdout, /^\d+\.\d+\.\d+\n$/);
  });
});

describe('check', () => {
  test('of a sound inventory says what the image can boot, and ends with 0', async (context) => {
    const { config } = await setup(context);
    const { status, stdout, stderr } = brambleboot('check', '--config', config);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /MBR; boots from partition 1 \(67\.1 MB\), root from partition 2 \(\/dev\/nbd0p2\)/);
    assert.match(stdout, /Pi 4B: boots kernel8\.img with initramfs8 and cmdline\.txt/);
    assert.match(stdout, /no faults\n$/);
  });

  test('says whom the server would answer', async (context) => {
    const { config } = await setup(context);
    assert.match(brambleboot('check', '--config', config).stdout, /\n {2}answers this machine, 127\.0\.0\.0\/8\n/);
    const allow = 'interface: lo, allow: [10.9.0.0/16, "::ffff:10.0.0.7"]';
    writeFileSync(config, readFileSync(config, 'utf8').replace('interface: lo', allow));
    const { stdout } = brambleboot('check', '--config', config);
    assert.match(
      stdout,
      /\n {2}answers this machine, 127\.0\.0\.0\/8; by server\.allow also 10\.9\.0\.0\/16, 10\.0\.0\.7\n/,
    );
    const inventory = readFileSync(config, 'utf8');
    const warnedOf = (entries: string) => {
      writeFileSync(config, inventory.replace('disk: direct', `disk: direct, allow: [${entries}]`));
      return brambleboot('check', '--config', config).stdout.match(/ {2}node1: .* server\.allow$/m)?.[0];
    };
    assert.equal(warnedOf('10.9.1.0/24, 127.0.0.1, 0.0.0.0/0'), undefined);
    assert.equal(warnedOf('10.8.9.9'), '  node1: nobody in its allow is answered: add 10.8.9.9 to server.allow');
    assert.equal(
      warnedOf('10.9.9.9, 10.8.0.0/16, "fd00::1"'),
      '  node1: not everybody in its allow is answered: add 10.8.0.0/16, fd00::1 to server.allow',
    );
  });

  test('says who has the ports of files, disks and metrics, and warns where that is not the server of this inventory', async (context) => {
    const { config, ports } = await setup(context);
    const at = `(TFTP: UDP port ${ports.tftp}|NBD: TCP port ${ports.nbd}|HTTP: TCP port ${ports.http})`;
    const said = () => brambleboot('check', '--config', config).stdout;
    assert.equal(said().match(new RegExp(`${at} \\(nobody has it now\\)\n`, 'g'))?.length, 3);
    const server = await running(context, config);
    assert.equal(said().match(new RegExp(`${at} \\(the running server has it\\)\n`, 'g'))?.length, 3);
    writeFileSync(config, readFileSync(config, 'utf8').replace('./state', './other'));
    const warnings = said().match(
      new RegExp(`${at}: .*\\(pid ${server.pid}\\) has it at 127\\.0\\.0\\.1: stop it`, 'g'),
    );
    assert.equal(warnings?.length, 3);
  });

  test('of what is no fault but will not work is a warning', async (context) => {
    const { config } = await setup(context);
    writeFileSync(config, readFileSync(config, 'utf8').replace('interface: lo', 'interface: [lo, nosuch0]'));
    const { status, stdout } = brambleboot('check', '--config', config);
    assert.equal(status, 0);
    assert.match(stdout, /warnings\n {2}nosuch0: there is no such interface(; there (is|are) \S.*)?\n/);
    assert.match(stdout, /no faults, but a warning above\n$/);
  });

  test('of a faulty one ends with 78 and lists every fault with its place on stderr', async (context) => {
    const { config } = await setup(context, 'boards: { node1: { serial: 0x12, image: dmeo, disk: direct } }\n');
    const { status, stderr } = brambleboot('check', '--config', config);
    assert.equal(status, 78);
    assert.match(stderr, /config\.yaml:7:28: [^\n]*0x12/);
    assert.match(stderr, /serial: 00000012/);
    assert.match(stderr, /dmeo[\s\S]*demo/);
  });

  test('of an image that holds no FAT ends with 78 and says so at its line', async (context) => {
    const { config } = await setup(context);
    writeFileSync(join(config, '..', 'demo.img'), new Uint8Array(1024 * 1024));
    const { status, stderr } = brambleboot('check', '--config', config);
    assert.equal(status, 78);
    assert.match(stderr, /config\.yaml:6:25: demo can't be booted from/);
  });

  test('looks at certificates and keys: what is wrong with them is a fault, what will be soon a warning', {
    skip: without('openssl', 'openssl'),
  }, async (context) => {
    const { config } = await setup(context);
    const folder = join(config, '..');
    const ca = new Authority(folder);
    const withFiles = ({ certificate, key }: CertificateFiles) => {
      const tls = `tls: { mode: required, certificate: ${certificate}, key: ${key}, client_ca: ca/ca-cert.pem }`;
      writeFileSync(config, readFileSync(config, 'utf8').replace(/nbd: \{ (port: \d+).*/, `nbd: { $1, ${tls} }`));
      return brambleboot('check', '--config', config);
    };
    const sound = withFiles(ca.issue({ subject: '/CN=bramble', alternativeNames: [['DNS', 'bramble.lan']], days: 20 }));
    assert.equal(sound.status, 0, sound.stderr);
    assert.match(
      sound.stdout,
      /\nTLS\n {2}required\n {2}certificate: CN=bramble \(DNS:bramble\.lan\), for (20|19) days/,
    );
    assert.match(sound.stdout, /\nwarnings\n {2}nbd\.tls\.certificate: CN=bramble ends in (20|19) days/);
    assert.match(sound.stdout, /\n {2}node1: over TLS only; with nbd-client alone it does not boot \(/);
    const expired = withFiles(ca.issue({ subject: '/CN=bramble', days: -1 }));
    assert.equal(expired.status, 78);
    assert.match(expired.stderr, /config\.yaml:4:\d+: it has expired, on \d{4}-\d\d-\d\d\n/);
    const served = brambleboot('serve', '--config', config);
    assert.deepEqual([served.status, served.stderr], [78, expired.stderr]);
  });

  test('looks where the Unix socket would be made', async (context) => {
    const { config } = await setup(context);
    const folder = join(config, '..');
    const inventory = readFileSync(config, 'utf8');
    const withSocket = (path: string) => {
      writeFileSync(config, inventory.replace(/nbd: \{ (port: \d+)/, `nbd: { $1, socket: ${path}`));
      return brambleboot('check', '--config', config);
    };
    const sound = withSocket('nbd.sock');
    assert.equal(sound.status, 0, sound.stderr);
    assert.match(sound.stdout, /\n {2}NBD: \S+\/nbd\.sock \(not there now\)\n/);
    const missing = withSocket('nowhere/nbd.sock');
    assert.equal(missing.status, 78);
    assert.match(missing.stderr, /config\.yaml:4:\d+: the folder \S+nowhere does not exist\n[^=]*= make it\n/);
    writeFileSync(join(folder, 'file'), '');
    const file = withSocket('file');
    assert.equal(file.status, 78);
    assert.match(file.stderr, /file is there already, and is no socket\n/);
    const later = withSocket('/run/brambleboot-nowhere/nbd.sock');
    assert.equal(later.status, 0, later.stderr);
    assert.match(
      later.stdout,
      /\nwarnings\n {2}nbd\.socket: the folder \S+ does not exist: make it, or have systemd make it/,
    );
  });

  test('looks at an image that a running server uses', async (context) => {
    const { config } = await setup(context);
    await running(context, config);
    assert.equal(brambleboot('check', '--config', config).status, 0);
  });
});

describe('serve', () => {
  test('stops in order at SIGTERM and ends with 0', async (context) => {
    const { config } = await setup(context);
    const server = await running(context, config);
    const said = outputOf(server, 'server.stopped');
    const ended = new Promise<number | null>((resolve) => server.once('close', resolve));
    server.kill('SIGTERM');
    assert.equal(await ended, 0);
    assert.ok(said());
  });

  test('goes on at SIGHUP, and lets nobody else at its control socket', async (context) => {
    const { config, ports } = await setup(context);
    const server = await running(context, config);
    const reloaded = outputOf(server, 'reload.unchanged');
    server.kill('SIGHUP');
    await until(reloaded, 'the signal');
    assert.equal(await isAlive(ports.http), true);
    const state = join(config, '..', 'state');
    assert.equal(statSync(join(state, 'control.sock')).mode & 0o777, 0o600);
    assert.equal(statSync(state).mode & 0o777, 0o700);
  });

  test('a second one on the same state folder is refused by name, one on the same image too', async (context) => {
    const { config } = await setup(context);
    const server = await running(context, config);
    const second = brambleboot('serve', '--config', config);
    assert.equal(second.status, 1);
    assert.match(second.stderr, new RegExp(`state is in use by .*pid ${server.pid}`));

    const other = join(config, '..', 'other.yaml');
    writeFileSync(
      other,
      'server: { state: ./other }\nimages: { demo: { file: demo.img } }\nboards: { b: { serial: 1, image: demo, disk: direct } }\n',
    );
    const third = brambleboot('serve', '--config', other);
    assert.equal(third.status, 78);
    assert.match(third.stderr, new RegExp(`other\\.yaml:2:25: .*in use by .*pid ${server.pid}`));
  });
});

describe('boards', () => {
  test('shows the boards of the running server, as a table, as JSON, and one in its steps', async (context) => {
    const { config, ports } = await setup(context);
    await running(context, config);
    assert.match(
      brambleboot('boards', '--config', config).stdout,
      /node1 {2}away {3}bf9fed6f {2}demo {3}direct, 84\.9 MB {2}- .*not seen yet/,
    );
    const played = brambleboot(
      'pretend',
      '--serial',
      'bf9fed6f',
      '--server',
      '127.0.0.1',
      '--tftp-port',
      String(ports.tftp),
      '--http-port',
      String(ports.http),
    );
    assert.equal(played.status, 0, played.stderr);
    assert.match(brambleboot('boards', '--config', config).stdout, /booted in \d/);
    assert.equal(JSON.parse(brambleboot('boards', '--config', config, '--json').stdout).boards[0].name, 'node1');
    assert.match(brambleboot('boards', 'node1', '--config', config).stdout, /kernel8\.img \(6\.3 MB in/);
    assert.equal(JSON.parse(brambleboot('boards', 'node1', '--config', config, '--json').stdout).boots.length, 1);
    for (const [name, sentence] of [
      ['nobody', 'there is no board "nobody"; there are node1'],
      ['nod1', 'there is no board "nod1": did you mean node1?'],
      ['../x\u001b', 'there is no board "../x\ufffd"; there are node1'],
    ] as const) {
      const unknown = brambleboot('boards', name, '--config', config);
      assert.deepEqual([unknown.status, unknown.stderr], [1, `brambleboot: ${sentence}\n`]);
    }
  });

  test('finds the server by an inventory that has got faults since', async (context) => {
    const { config } = await setup(context);
    await running(context, config);
    const sound = readFileSync(config, 'utf8');
    writeFileSync(config, `${sound}bords: {}\n`);
    const { status, stdout, stderr } = brambleboot('boards', '--config', config);
    assert.equal(status, 0);
    assert.match(stdout, /node1 {2}away/);
    assert.match(stderr, /config\.yaml has a fault, and a server would not start with it \(`brambleboot check` lists/);
    writeFileSync(config, sound.replace('state: ./state', 'state: ~/state'));
    // Where it is does not stand there any more: it is looked for where it would be if the file said nothing.
    assert.match(brambleboot('boards', '--config', config).stdout, /node1 {2}away/);
    const elsewhere = join(scratchFolder(context), 'config.yaml');
    writeFileSync(elsewhere, readFileSync(config));
    const lost = brambleboot('boards', '--config', elsewhere);
    assert.equal(lost.status, 78);
    assert.match(lost.stderr, /config\.yaml:1:\d+: .*begins with ~/);
  });

  test('without a server says where it looked', async (context) => {
    const { config } = await setup(context);
    const { status, stderr } = brambleboot('boards', '--config', config);
    assert.equal(status, 1);
    assert.match(stderr, /no server answers at .*state\/control\.sock/);
  });
});

describe('pretend', () => {
  test('finds the server by DHCP on loopback', async (context) => {
    const { config, ports } = await setup(context);
    await running(context, config);
    const { dhcp, dhcpReply } = ports;
    const place = ['--interface', 'lo', '--dhcp-port', String(dhcp), '--dhcp-reply-port', String(dhcpReply)];
    const played = brambleboot(
      'pretend',
      '--serial',
      'bf9fed6f',
      ...place,
      '--tftp-port',
      String(ports.tftp),
      '--http-port',
      String(ports.http),
    );
    assert.equal(played.status, 0, played.stderr);
    assert.match(played.stdout, /OFFER from 127\.0\.0\.1/);
    const nowhere = brambleboot('pretend', '--serial', '1', '--interface', 'nosuch0');
    assert.equal(nowhere.status, 1);
    assert.match(nowhere.stderr, /^brambleboot: there is no interface nosuch0(; there are: \S.*)?\n$/);
  });

  test('of a board that is not in the inventory says so, in the words of the server', async (context) => {
    const { config, ports } = await setup(context);
    await running(context, config);
    const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
    const { status, stderr } = brambleboot('pretend', '--serial', '0badcafe', ...place);
    const words = 'no board of the inventory has the serial 0badcafe';
    assert.deepEqual(
      [status, stderr],
      [1, `stuck at tftp: there is no file for this board: the server says "${words}"\n`],
    );
  });

  test('does not play a board whose disk is in use', async (context) => {
    const { config, ports } = await setup(context);
    await running(context, config);
    const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
    const attached = spawn('node', ['--input-type=module', '-e', ATTACH, config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    whenOver(context, () => void attached.kill('SIGKILL'));
    await until(outputOf(attached, 'attached'), 'the disk');
    const { status, stderr } = brambleboot('pretend', '--serial', 'bf9fed6f', ...place);
    assert.equal(status, 1);
    assert.match(stderr, /^not played: board bf9fed6f is running: its disk is in use by 127\.0\.0\.1\n$/);
  });
});

test('demo boots a board and ends with 0', () => {
  const { status, stdout, stderr } = brambleboot('demo');
  assert.equal(status, 0, stderr + stdout);
  assert.match(stdout, /kernel8\.img[\s\S]*disk attached by 127\.0\.0\.1[\s\S]*byte for byte/);
});

test('demo leaves image and inventory where it is told to, and what it says to do with them works', async (context) => {
  const folder = join(scratchFolder(context), 'a', 'demo');
  const { status, stdout } = brambleboot('demo', '--keep', folder);
  assert.equal(status, 0);
  await running(context, join(folder, 'config.yaml'));
  const [, program = '', words = ''] = /\n {2}(.*) (pretend .*)\n/.exec(stdout) ?? [];
  assert.equal(program, `node ${MAIN}`, 'as it was started itself');
  const played = brambleboot(...words.split(' '));
  assert.equal(played.status, 0, played.stderr);
  const again = brambleboot('demo', '--keep', folder);
  assert.deepEqual(
    [again.status, again.stderr],
    [1, `brambleboot: ${join(folder, 'demo.img')} is there already: name another folder\n`],
  );
});

/** Holds the disk of node1, from a process of its own. */
const ATTACH = `
import { readFileSync } from 'node:fs';
import { connectNbd } from '${projectFile('dist/nbd/client/client.js')}';
import { systemClock } from '${projectFile('dist/base/clock.js')}';
const port = Number(/nbd: { port: (\\d+)/.exec(readFileSync(process.argv[1], 'utf8'))[1]);
await (await connectNbd({ host: '127.0.0.1', port }, systemClock)).go('node1');
console.log('attached');
setInterval(() => {}, 1000);
`;

describe('when nobody reads the output any more', () => {
  test('a server whose log is a full disk serves, and stops when it is told to', async (context) => {
    const { config, ports } = await setup(context);
    const full = openSync('/dev/full', 'w');
    const server = spawn('node', [MAIN, 'serve', '--config', config], { stdio: ['ignore', full, full] });
    const ended = new Promise<number | null>((resolve) => server.once('exit', resolve));
    whenOver(context, () => void server.kill('SIGKILL'));
    await until(async () => isAlive(ports.http), 'the server');
    const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
    for (let round = 0; round < 2; round += 1)
      assert.equal(brambleboot('pretend', '--serial', 'bf9fed6f', ...place).status, 0);
    server.kill('SIGTERM');
    assert.equal(await ended, 0);
  });

  test('a server whose log is a pipe that nobody empties stops when it is told to', async (context) => {
    const { config, ports } = await setup(context);
    const server = spawn('node', [MAIN, 'serve', '--log-level', 'debug', '--config', config], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
    whenOver(context, () => void server.kill('SIGKILL'));
    server.stdout.pause();
    await until(async () => isAlive(ports.http), 'the server');
    const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
    for (let round = 0; round < 8; round += 1)
      assert.equal(brambleboot('pretend', '--serial', 'bf9fed6f', ...place).status, 0);
    server.kill('SIGTERM');
    await ended;
  });

  test('a command goes on to its end, and the server goes on serving', async (context) => {
    const { config, ports } = await setup(context);
    const piped = spawnSync('bash', ['-c', 'set -o pipefail; node "$0" demo | head -1', MAIN], { encoding: 'utf8' });
    assert.equal(piped.status, 0, piped.stderr);
    const server = await running(context, config);
    server.stdout?.destroy();
    const place = ['--server', '127.0.0.1', '--tftp-port', String(ports.tftp), '--http-port', String(ports.http)];
    for (let round = 0; round < 2; round += 1)
      assert.equal(brambleboot('pretend', '--serial', 'bf9fed6f', ...place).status, 0);
    assert.equal(server.exitCode, null);
  });
});

async function isAlive(httpPort: number): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/healthz`).catch(() => undefined);
  return answer?.status === 200;
}
