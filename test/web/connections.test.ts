import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type Clock, systemClock } from '../../src/base/clock.js';
import {
  HTTP_ANSWER_MS,
  HTTP_CONNECTIONS_MAX,
  HTTP_CONNECTIONS_PER_ADDRESS_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_REQUESTS_PER_CONNECTION_MAX,
} from '../../src/base/limits.js';
import { Connections } from '../../src/web/connections.js';
import { startWebServer } from '../../src/web/server.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { FakeClock } from '../support/fake-clock.js';
import { sampleStatus, sourcesOf } from '../support/status.js';

/** A socket that knows whether it was closed, and by us. */
function fakeConnection() {
  let closed = (): void => {};
  const connection = {
    isDestroyed: false,
    destroy() {
      connection.isDestroyed = true;
      closed();
    },
    once(_event: 'close', listener: () => void) {
      closed = listener;
    },
    leave: () => closed(),
  };
  return connection;
}

function several(connections: Connections, count: number, address: string) {
  return Array.from({ length: count }, () => {
    const connection = fakeConnection();
    connections.admit(connection, address);
    return connection;
  });
}

describe('room for a connection', () => {
  test('is made by the oldest idle one of the same address, where that has its share', () => {
    const connections = new Connections();
    const [other] = several(connections, 1, 'b');
    const own = several(connections, HTTP_CONNECTIONS_PER_ADDRESS_MAX, 'a');
    if (own[0] !== undefined) connections.requestBegan(own[0]);
    several(connections, 2, 'a');
    assert.deepEqual(
      own.map(({ isDestroyed }, index) => isDestroyed === (index === 1 || index === 2)),
      own.map(() => true),
    );
    assert.equal(other?.isDestroyed, false);
  });

  test('is made by the oldest one where all are answering a request', () => {
    const connections = new Connections();
    const own = several(connections, HTTP_CONNECTIONS_PER_ADDRESS_MAX, 'a');
    for (const one of own) connections.requestBegan(one);
    several(connections, 1, 'a');
    assert.deepEqual(
      own.filter(({ isDestroyed }) => isDestroyed),
      [own[0]],
    );
  });

  test('is made by the address that has the most, where all is full', () => {
    const connections = new Connections();
    const share = HTTP_CONNECTIONS_PER_ADDRESS_MAX;
    const few = several(connections, 3, 'few');
    const many = several(connections, share, 'many');
    const rest = Array.from({ length: HTTP_CONNECTIONS_MAX - share - 3 }, (_, index) =>
      several(connections, 1, `${index}`),
    );
    several(connections, 2, 'newcomer');
    assert.deepEqual(
      many.filter(({ isDestroyed }) => isDestroyed),
      many.slice(0, 2),
    );
    assert.ok([...few, ...rest.flat()].every(({ isDestroyed }) => !isDestroyed));
  });

  test("is made by the newcomer's own address, where nobody has more than it would have then", () => {
    const connections = new Connections();
    const pairs = Array.from({ length: HTTP_CONNECTIONS_MAX / 2 }, (_, index) => several(connections, 2, `${index}`));
    several(connections, 1, '5');
    assert.deepEqual(
      pairs.flatMap((pair) => pair.filter(({ isDestroyed }) => isDestroyed)),
      [pairs[5]?.[0]],
    );
  });

  test('any comings and goings stay within bounds, and the newcomer is in', () => {
    const step = fc.tuple(fc.nat(40), fc.constantFrom('come', 'come', 'come', 'go', 'ask', 'answered'), fc.nat());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 800, size: 'max' }), (steps) => {
        const connections = new Connections();
        const open: { readonly address: string; readonly connection: ReturnType<typeof fakeConnection> }[] = [];
        for (const [who, what, which] of steps) {
          const chosen = open[which % Math.max(1, open.length)]?.connection;
          if (what === 'come') {
            const connection = fakeConnection();
            // A few addresses with many connections, many with a few.
            const address = `${Math.min(who, which % 41)}`;
            connections.admit(connection, address);
            open.push({ address, connection });
            assert.equal(connection.isDestroyed, false);
          } else if (chosen === undefined) continue;
          else if (what === 'go') chosen.leave();
          else if (what === 'ask') connections.requestBegan(chosen);
          else connections.requestEnded(chosen);
          if (what === 'go') open.splice(which % open.length, 1);
          const living = open.filter(({ connection }) => !connection.isDestroyed);
          assert.equal(connections.count, living.length);
          assert.ok(living.length <= HTTP_CONNECTIONS_MAX);
          for (const { address } of living)
            assert.ok(living.filter((one) => one.address === address).length <= HTTP_CONNECTIONS_PER_ADDRESS_MAX);
        }
      }),
      { numRuns: 20 },
    );
  });
});

interface Served {
  readonly port: number;
  /** What /metrics answers with. */
  readonly text: string;
}

const SHORT = { headersMs: 100, requestMs: 200, keepAliveMs: 100, checkMs: 20 };
const LONG = { headersMs: 600_000, requestMs: 600_000, keepAliveMs: 600_000, checkMs: 1000 };

async function serve(context: TestContext, patience = LONG, clock: Clock = systemClock, text = 'some_metric 1\n') {
  const sources = sourcesOf(sampleStatus('x'), text);
  const server = await startWebServer(
    { place: { address: '127.0.0.1', port: 0 }, answers: () => true, clock, patience },
    sources,
  );
  whenOver(context, () => server.stop());
  return { port: server.port, text };
}

/** A client that opens a connection and says only what it is told to. */
class Client {
  readonly socket: Socket;
  heard = '';
  isClosed = false;
  readonly #closed: Promise<void>;

  constructor(context: TestContext, { port }: Served, localAddress = '127.0.0.1') {
    this.socket = connect({ host: '127.0.0.1', port, localAddress });
    this.socket.on('data', (chunk: Buffer) => {
      this.heard += chunk.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.#closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.isClosed = true;
        resolve();
      });
    });
    whenOver(context, () => void this.socket.destroy());
  }

  async opened(): Promise<this> {
    if (this.socket.connecting) await once(this.socket, 'connect');
    return this;
  }

  /** By a RST too, which is what who goes on talking gets; it may overtake the answer. */
  async closed(): Promise<string> {
    await this.#closed;
    return this.heard;
  }
}

const GET = 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n';

describe('a hostile LAN', () => {
  test('that holds 1200 idle connections does not keep Prometheus out, from one address or from many', async (context) => {
    for (const addressCount of [1, 40, 1000]) {
      const served = await serve(context);
      const address = (index: number) => `127.1.${(index % addressCount) >> 8}.${(index % addressCount) & 255}`;
      for (let round = 0; round < 12; round += 1) {
        const idle = Array.from(
          { length: 100 },
          (_, index) => new Client(context, served, address(round * 100 + index)),
        );
        const answer = fetch(`http://127.0.0.1:${served.port}/metrics`, { headers: { connection: 'close' } });
        assert.equal(await (await answer).text(), served.text);
        await Promise.all(idle.map((one) => one.opened()));
      }
    }
  });

  test('costs only the greedy: a connection of somebody else is kept and answered', async (context) => {
    const served = await serve(context);
    const prometheus = await new Client(context, served, '127.0.0.2').opened();
    prometheus.socket.write(GET);
    await until(() => prometheus.heard.includes(served.text), 'the first answer');
    const greedy = await Promise.all(
      Array.from({ length: 5 * HTTP_CONNECTIONS_MAX }, () => new Client(context, served, '127.0.0.3').opened()),
    );
    await until(
      () => greedy.filter((one) => !one.isClosed).length <= HTTP_CONNECTIONS_PER_ADDRESS_MAX,
      'the greedy to be cut down',
    );
    prometheus.heard = '';
    prometheus.socket.write(GET);
    await until(() => prometheus.heard.includes(served.text), 'the second answer');
  });
});

describe('who takes its time', () => {
  test('to say anything at all is let go', async (context) => {
    assert.match(await new Client(context, await serve(context, SHORT)).closed(), /^HTTP\/1\.1 408 /);
  });

  test('with its headers is let go, also if bytes keep coming', async (context) => {
    const slow = new Client(context, await serve(context, SHORT));
    slow.socket.write('GET / HTTP/1.1\r\n');
    const drip = setInterval(() => slow.socket.write('a: b\r\n'), 10);
    context.after(() => clearInterval(drip));
    await slow.closed();
  });

  for (const method of ['POST', 'GET']) {
    test(`with the body of a ${method} is let go, also if bytes keep coming`, async (context) => {
      const slow = new Client(context, await serve(context, SHORT));
      slow.socket.write(`${method} / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n`);
      const drip = setInterval(() => slow.socket.write('a'), 10);
      context.after(() => clearInterval(drip));
      await slow.closed();
    });
  }

  test('with its next request is let go', async (context) => {
    const idle = new Client(context, await serve(context, { ...LONG, keepAliveMs: 100, checkMs: 20 }));
    idle.socket.write(GET);
    assert.match(await idle.closed(), /^HTTP\/1\.1 200 OK\r\n[\s\S]*some_metric 1\n$/);
  });

  test('to read its answer is let go, and its memory with it', async (context) => {
    const clock = new FakeClock();
    const text = 'x'.repeat(64 * 1024 * 1024);
    const slow = await new Client(context, await serve(context, LONG, clock, text)).opened();
    slow.socket.write(GET);
    await once(slow.socket, 'data');
    slow.socket.pause();
    clock.advance(HTTP_ANSWER_MS - 1);
    assert.equal(slow.isClosed, false);
    clock.advance(1);
    slow.socket.resume();
    assert.ok((await slow.closed()).length < text.length);
  });
});

describe('who says too much', () => {
  test('in its headers is told so', async (context) => {
    const loud = new Client(context, await serve(context));
    loud.socket.write(`GET / HTTP/1.1\r\nHost: x\r\nCookie: ${'x'.repeat(HTTP_HEADER_BYTES_MAX)}\r\n\r\n`);
    assert.match(await loud.closed(), /^HTTP\/1\.1 431 /);
  });

  test('and is no HTTP is told so', async (context) => {
    const odd = new Client(context, await serve(context));
    odd.socket.write('\x16\x03\x01\x02\0\x01');
    assert.match(await odd.closed(), /^HTTP\/1\.1 400 /);
  });

  test('a thousand requests at once, is answered a few and closed: nothing else would have its turn meanwhile', async (context) => {
    const served = await serve(context);
    const eager = new Client(context, served);
    eager.socket.write(GET.repeat(999) + GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    assert.ok((await eager.closed()).split(served.text).length - 1 <= HTTP_REQUESTS_PER_CONNECTION_MAX);
  });
});
