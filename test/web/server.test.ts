import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import type { ServerStatus } from '../../src/boards/journal/status.js';
import { controlServer, startWebServer, webServer } from '../../src/web/server.js';
import { deafDisks, deafReload, soundInventory, sourcesOf } from '../support/status.js';

const ready: ServerStatus = {
  version: '1',
  startedAt: new Date(0),
  listeners: [{ name: 'nbd 0.0.0.0:10809', missing: undefined }],
  boards: [],
  unknownBoards: [],
  filesystems: [],
  images: [],
  inventory: soundInventory,
  handover: { lacks: undefined, remedy: undefined, atRisk: [] },
};

function serverWith(status: ServerStatus) {
  return webServer(sourcesOf(status));
}

describe('the web server', () => {
  test('is alive as long as it answers', async () => {
    const answer = await serverWith(ready).inject('/healthz');
    assert.deepEqual([answer.statusCode, answer.body], [200, 'alive\n']);
  });

  test('is ready when every listener is there, and says which is not', async () => {
    assert.equal((await serverWith(ready).inject('/readyz')).statusCode, 200);
    const listeners = [...ready.listeners, { name: 'tftp 10.0.0.1:69', missing: 'port 69 is taken' }];
    const answer = await serverWith({ ...ready, listeners }).inject('/readyz');
    assert.deepEqual([answer.statusCode, answer.body], [503, 'tftp 10.0.0.1:69: port 69 is taken\n']);
  });

  test('goes on when a connection could not be taken', async () => {
    const server = serverWith(ready);
    server.server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
    assert.equal((await server.inject('/healthz')).statusCode, 200);
  });

  test('gives metrics, boards and page', async () => {
    const server = serverWith(ready);
    assert.equal((await server.inject('/metrics')).body, 'some_metric 1\n');
    assert.deepEqual((await server.inject('/api/boards')).json().boards, []);
    assert.match((await server.inject('/')).body, /<h1>Brambleboot<\/h1>/);
    assert.match(String((await server.inject('/style.css')).headers['content-type']), /text\/css/);
  });

  test('has a disk reopened for who asks over the control socket, and for nobody over the network', async () => {
    const asked: string[] = [];
    const reopen = async (board: string) => {
      asked.push(board);
      return { answer: 'sound' } as const;
    };
    const place = { method: 'POST', url: '/api/boards/node1/reopen' } as const;
    assert.equal((await serverWith(ready).inject(place)).statusCode, 404);
    const control = controlServer({ ...sourcesOf(ready), reopen, reload: deafReload, disks: deafDisks });
    assert.equal((await control.inject({ ...place, method: 'GET' })).statusCode, 404);
    assert.deepEqual(asked, []);
    assert.deepEqual((await control.inject(place)).json(), { answer: 'sound' });
    assert.deepEqual(asked, ['node1']);
  });

  test('tells who is not to be answered why, whatever was asked for, and closes', async (context) => {
    const asked: string[] = [];
    const answers = (peer: string) => {
      asked.push(peer);
      return false;
    };
    const server = await startWebServer(
      { place: { address: '127.0.0.1', port: 0 }, answers, clock: systemClock },
      sourcesOf(ready),
    );
    context.after(() => server.stop());
    for (const [method, path] of [
      ['GET', '/metrics'],
      ['GET', '/healthz'],
      ['GET', '/nothing'],
      ['POST', '/api/boards'],
    ] as const) {
      const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
      assert.deepEqual([answer.status, answer.headers.get('connection')], [403, 'close']);
      assert.match(await answer.text(), /^127\.0\.0\.1 is neither .* add it, or its network, to server\.allow\n$/);
    }
    assert.deepEqual(asked, Array(4).fill('127.0.0.1'));
  });

  test('asks by the plain address of an IPv4 peer, where it listens on IPv6 too', async (context) => {
    const answers = (peer: string) => peer === '127.0.0.1';
    const server = await startWebServer(
      { place: { address: '::', port: 0 }, answers, clock: systemClock },
      sourcesOf(ready),
    );
    context.after(() => server.stop());
    assert.equal((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status, 200);
    assert.equal((await fetch(`http://[::1]:${server.port}/healthz`)).status, 403);
  });

  test('gives one board with its boots, as JSON and as a page', async () => {
    const server = serverWith(ready);
    const answer = (await server.inject('/api/boards/node1')).json();
    assert.deepEqual([answer.name, answer.boots.length], ['node1', 2]);
    const page = await server.inject('/boards/node1');
    assert.match(page.body, /<h1>node1/);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
  });

  test('of a board that is not there says so in a sentence, escaped on the page', async () => {
    const server = serverWith(ready);
    for (const name of ['nobody', '<b>', '', 'a/b', 'x'.repeat(500)]) {
      const path = encodeURIComponent(name);
      const answer = await server.inject(`/api/boards/${path}`);
      assert.deepEqual([answer.statusCode, answer.json()], [404, { error: `there is no board "${name}"` }]);
      const page = await server.inject(`/boards/${path}`);
      assert.equal(page.statusCode, 404);
      assert.ok(!page.body.includes('<b>'));
    }
  });

  test('allows no script, and changes nothing for anybody', async () => {
    const server = serverWith(ready);
    assert.match(String((await server.inject('/')).headers['content-security-policy']), /default-src 'none'/);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'] as const) {
      const refused = await server.inject({ method, url: '/api/boards' });
      assert.equal(refused.statusCode, 404);
      assert.match(refused.json().error, new RegExp(`^there is no ${method} /api/boards here: `));
    }
  });
});
