import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServerStatus } from '../../src/boards/journal/status.js';
import { webServer } from '../../src/web/server.js';

const ready: ServerStatus = {
  version: '1',
  startedAt: new Date(0),
  listeners: [{ name: 'nbd 0.0.0.0:10809', missing: undefined }],
  boards: [],
  unknownBoards: [],
};

function serverWith(status: ServerStatus) {
  return webServer({ status: () => status, metrics: async () => 'some_metric 1\n' });
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

  test('gives metrics, boards and page', async () => {
    const server = serverWith(ready);
    assert.equal((await server.inject('/metrics')).body, 'some_metric 1\n');
    assert.deepEqual((await server.inject('/api/boards')).json().boards, []);
    assert.match((await server.inject('/')).body, /<h1>Brambleboot<\/h1>/);
    assert.match(String((await server.inject('/style.css')).headers['content-type']), /text\/css/);
  });

  test('allows no script, and changes nothing for anybody', async () => {
    const server = serverWith(ready);
    assert.match(String((await server.inject('/')).headers['content-security-policy']), /default-src 'none'/);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'] as const) {
      assert.equal((await server.inject({ method, url: '/api/boards' })).statusCode, 404);
    }
  });
});
