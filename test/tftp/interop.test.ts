// Foreign clients at our server.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { fakeBoard } from '../support/fake-board.js';
import { without } from '../support/programs.js';
import { projectFile } from '../support/project.js';
import { noise } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { type ServerUnderTest, serve } from '../support/tftp.js';

const run = promisify(execFile);

const FILES = {
  kernel: noise(700_001),
  whole: noise(1024 * 8),
  empty: new Uint8Array(0),
  text: Buffer.from('one\ntwo\rthree\r\n'),
  /** More than 65535 blocks of 512 bytes. */
  initrd: noise(40_000_000),
};

async function serveFiles(context: TestContext, singlePort = false): Promise<ServerUnderTest> {
  return serve(context, [fakeBoard('00000001', FILES).board], { singlePort, blockSizeMax: 65464 });
}

type Name = keyof typeof FILES;

/** Runs a client that writes to `target`, and compares. */
async function fetches(
  context: TestContext,
  name: Name,
  client: (target: string) => readonly [program: string, ...options: string[]],
): Promise<string> {
  const target = join(scratchFolder(context), name);
  const [program, ...options] = client(target);
  const { stdout, stderr } = await run(program, options, { maxBuffer: 64 * 1024 * 1024, timeout: 60_000 });
  assert.ok(Buffer.from(FILES[name]).equals(readFileSync(target)), `${program} ${options.join(' ')}: ${stderr}`);
  return stdout + stderr;
}

describe('curl', { skip: without('curl', 'curl') }, () => {
  const curl = (port: number, name: Name, ...options: readonly string[]) => {
    const url = `tftp://127.0.0.1:${port}/00000001/${name}`;
    return (target: string) => ['curl', '-sS', ...options, '-o', target, url] as const;
  };
  for (const options of [[], ['--tftp-no-options'], ['--tftp-blksize', '1468'], ['--tftp-blksize', '65464']]) {
    test(`${options.join(' ')} fetches files of every shape`, async (context) => {
      const { port } = await serveFiles(context);
      for (const name of ['kernel', 'whole'] as const) await fetches(context, name, curl(port, name, ...options));
    });
  }

  test('fetches from a single port', async (context) => {
    const { port } = await serveFiles(context, true);
    await fetches(context, 'kernel', curl(port, 'kernel'));
  });

  test('fetches 40 MB in blocks of 512 bytes: the numbers roll over', async (context) => {
    const { port } = await serveFiles(context);
    await fetches(context, 'initrd', curl(port, 'initrd', '--tftp-blksize', '512'));
  });

  test('knows 68, a file that is not there', async (context) => {
    const { port } = await serveFiles(context);
    const missing = run('curl', ['-sS', `tftp://127.0.0.1:${port}/00000001/missing`]);
    await assert.rejects(missing, { code: 68 });
  });

  test('may not write', async (context) => {
    const { port } = await serveFiles(context);
    const writing = run('curl', ['-sS', '-T', projectFile('package.json'), `tftp://127.0.0.1:${port}/00000001/kernel`]);
    await assert.rejects(writing, { code: 69 });
  });
});

describe('tftp-hpa', { skip: without('tftp', 'tftp-hpa') }, () => {
  const tftp = (port: number, mode: string, name: Name) => (target: string) =>
    ['tftp', '-m', mode, '127.0.0.1', String(port), '-c', 'get', `00000001/${name}`, target] as const;

  test('fetches files of every shape', async (context) => {
    const { port } = await serveFiles(context);
    for (const name of ['kernel', 'whole', 'empty'] as const) await fetches(context, name, tftp(port, 'binary', name));
  });

  test('gets text back from netascii as it was', async (context) => {
    const { port } = await serveFiles(context);
    await fetches(context, 'text', tftp(port, 'netascii', 'text'));
  });
});

describe('busybox tftp', { skip: without('busybox', 'busybox') }, () => {
  for (const options of [[], ['-b', '1468'], ['-b', '512']]) {
    test(`${options.join(' ')} fetches files of every shape`, async (context) => {
      const { port } = await serveFiles(context);
      for (const name of ['kernel', 'whole', 'empty'] as const) {
        const more = ['-g', ...options, '-r', `00000001/${name}`] as const;
        await fetches(context, name, (target) => ['busybox', 'tftp', ...more, '-l', target, '127.0.0.1', String(port)]);
      }
    });
  }
});

describe('atftp', { skip: without('atftp', 'atftp') }, () => {
  const atftp = (port: number, name: Name, ...options: readonly string[]) => {
    const asked = options.flatMap((option) => ['--option', option]);
    return (target: string) =>
      ['atftp', '--trace', ...asked, '-g', '-r', `00000001/${name}`, '-l', target, '127.0.0.1', String(port)] as const;
  };
  const count = (trace: string, what: RegExp): number => trace.split('\n').filter((line) => what.test(line)).length;

  test('every DATA and every ACK goes over the wire once, windows by one ACK each', async (context) => {
    const { port } = await serveFiles(context);
    for (const [blksize, windowsize] of [
      [512, 1],
      [1468, 1],
      [1024, 16],
      [512, 64],
    ] as const) {
      const asked = ['tsize 0', `blksize ${blksize}`, `windowsize ${windowsize}`, 'timeout 5'];
      const trace = await fetches(context, 'kernel', atftp(port, 'kernel', ...asked));
      const dataCount = Math.floor(FILES.kernel.length / blksize) + 1;
      assert.equal(count(trace, /received (\d+\. )?DATA/), dataCount, `DATA, ${asked.join(', ')}`);
      assert.equal(count(trace, /sent ACK/), Math.ceil(dataCount / windowsize) + 1, `ACK, ${asked.join(', ')}`);
    }
  });

  test('no multicast, and nothing else that we do not know, is acknowledged', async (context) => {
    const { port } = await serveFiles(context);
    for (const name of ['kernel', 'whole'] as const) await fetches(context, name, atftp(port, name, 'multicast'));
  });

  test('the largest block', async (context) => {
    const { port } = await serveFiles(context);
    await fetches(context, 'kernel', atftp(port, 'kernel', 'blksize 65464', 'windowsize 2'));
  });
});
