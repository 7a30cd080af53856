import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { DiskCommands } from '../../src/boards/disks/disk-commands.js';
import { controlServer, startControlServer, webServer } from '../../src/web/server.js';
import { scratchFolder } from '../support/scratch.js';
import { deafDisks, deafReload, sampleStatus, sourcesOf } from '../support/status.js';

const DONE = { answer: 'done' } as const;
const sources = sourcesOf(sampleStatus('x'));

function control(disks: Partial<DiskCommands>) {
  return controlServer({
    ...sources,
    reopen: async () => ({ answer: 'sound' }),
    reload: deafReload,
    disks: { ...deafDisks, ...disks },
  });
}

function post(what: string, payload: object) {
  return { method: 'POST', url: `/api/boards/node1/${what}`, payload } as const;
}

describe("commands on a board's disk over the control socket", () => {
  test('are passed on with their words', async () => {
    const asked: unknown[] = [];
    const note = async (...words: unknown[]) => {
      asked.push(words);
      return DONE;
    };
    const server = control({
      snapshot: async (...words) => ({ ...(await note('snapshot', ...words)), heldMs: 12 }),
      rollback: (board, name, { force }) => note('rollback', board, name, force),
      reset: (board, { force }) => note('reset', board, force),
      drop: (board, name, { force }) => note('drop', board, name, force),
    });
    const answer = await server.inject(post('snapshot', { snapshot: 'a/b\u001b' }));
    assert.deepEqual(answer.json(), { answer: 'done', heldMs: 12 });
    await server.inject(post('rollback', { snapshot: 'one', force: true }));
    await server.inject(post('reset', { force: false }));
    await server.inject(post('drop', { snapshot: 'one', force: false }));
    assert.deepEqual(asked, [
      ['snapshot', 'node1', 'a/b\u001b'],
      ['rollback', 'node1', 'one', true],
      ['reset', 'node1', false],
      ['drop', 'node1', 'one', false],
    ]);
  });

  test('are nothing that anybody can ask for over the network', async () => {
    const server = webServer(sources);
    for (const what of ['snapshot', 'rollback', 'reset', 'drop', 'promote', 'snapshots']) {
      const body = { snapshot: 'one', force: true, file: '/tmp/x' };
      assert.equal((await server.inject(post(what, body))).statusCode, 404, what);
    }
  });

  test('are refused where a word is missing, too long or too much', async () => {
    const asked: string[] = [];
    const reset = async () => {
      asked.push('reset');
      return DONE;
    };
    const server = control({ reset });
    for (const payload of [{}, { force: 'perhaps' }, { snapshot: 'x' }, { force: { a: 1 } }]) {
      assert.equal((await server.inject(post('reset', payload))).statusCode, 400, JSON.stringify(payload));
    }
    assert.equal((await server.inject(post('snapshot', { snapshot: 'x'.repeat(40_000) }))).statusCode, 413);
    assert.deepEqual(asked, []);
  });

  test('list snapshots for everybody who may look at boards', async () => {
    const list = { board: 'node1', sizeBytes: 4e9, currentBytes: 8192, snapshots: [] };
    const answers = (verdict: Awaited<ReturnType<DiskCommands['snapshots']>>) =>
      webServer({ ...sources, snapshots: async () => verdict }).inject('/api/boards/node1/snapshots');
    assert.deepEqual((await answers({ answer: 'done', ...list })).json(), list);
    const refused = await answers({ answer: 'refused', because: 'node1: its disk is the image itself' });
    assert.deepEqual([refused.statusCode, refused.json()], [409, { error: 'node1: its disk is the image itself' }]);
    assert.equal((await answers({ answer: 'unknown', because: 'there is none' })).statusCode, 404);
  });
});

describe('a copy over the control socket', () => {
  async function listening(context: TestContext, promote: DiskCommands['promote']): Promise<string> {
    const socketPath = join(scratchFolder(context), 'control.sock');
    const everything = { ...sources, reopen: async () => ({ answer: 'sound' }) as const, reload: deafReload };
    const server = await startControlServer(socketPath, { ...everything, disks: { ...deafDisks, promote } });
    context.after(() => server.stop());
    return socketPath;
  }

  function ask(socketPath: string) {
    const headers = { 'content-type': 'application/json' };
    const asking = request({ socketPath, path: '/api/boards/node1/promote', method: 'POST', headers });
    asking.on('error', () => {});
    asking.end(JSON.stringify({ file: '/srv/copy.img' }));
    return asking;
  }

  test('tells how far it is, a thousand times at most, and last what came of it', async (context) => {
    const socketPath = await listening(context, async (_board, _file, { progress }) => {
      for (let done = 0; done <= 100_000; done += 1) progress(done, 100_000);
      return { answer: 'done', bytes: 100_000, heldMs: 2 };
    });
    const text = await new Promise<string>((resolve) => {
      ask(socketPath).on('response', (response) => {
        let all = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          all += chunk;
        });
        response.on('end', () => resolve(all));
      });
    });
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.ok(lines.length > 10 && lines.length <= 1002, `${lines.length}`);
    assert.deepEqual(lines[0], { doneBytes: 0, ofBytes: 100_000 });
    assert.deepEqual(lines.at(-1), { answer: 'done', bytes: 100_000, heldMs: 2 });
  });

  test('is ended when the one who asked for it goes away', async (context) => {
    let ended = () => {};
    const isEnded = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const socketPath = await listening(context, (_board, _file, { progress, signal }) => {
      progress(1, 10);
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          ended();
          resolve({ answer: 'refused', because: 'broken off' });
        });
      });
    });
    const asking = ask(socketPath);
    asking.on('response', () => asking.destroy());
    await isEnded;
  });
});
