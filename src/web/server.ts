import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { plainAddress } from '../base/addresses.js';
import { HTTP_CONNECTIONS_MAX } from '../base/limits.js';
import type { ServerStatus } from '../boards/journal/status.js';
import { STYLE_SHEET, statusPage } from './page.js';

/** What the outside may know. Everything is asked for anew at each request. */
export interface WebSources {
  readonly status: () => ServerStatus;
  readonly metrics: () => Promise<string>;
}

export interface WebServer {
  /** The port that was bound (of interest where 0 was asked for). */
  readonly port: number;
  stop(): Promise<void>;
}

// No script, no frame, nothing from elsewhere: even if markup got through, it could do nothing.
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const;

export interface WebAddress {
  readonly address: string;
  /** 0 lets the system choose, for tests. */
  readonly port: number;
  /** Whether who comes from this address is answered; others are told why they are not. */
  readonly answers: (peer: string) => boolean;
}

/** Serves metrics, health, API and page: read-only, all of it. */
export async function startWebServer({ address, port, answers }: WebAddress, sources: WebSources): Promise<WebServer> {
  const server = webServer(sources);
  // Who speaks to us, not whom a proxy claims to speak for: anybody can write an X-Forwarded-For.
  server.addHook('onRequest', async (request, reply) => {
    const peer = plainAddress(request.socket.remoteAddress ?? '');
    if (!answers(peer)) await refuse(reply, peer);
  });
  await server.listen({ host: address, port });
  return running(server);
}

/** Serves the same over a Unix socket, for the CLI; what changes state will be here and nowhere else. */
export async function startControlServer(socketPath: string, sources: WebSources): Promise<WebServer> {
  const server = webServer(sources);
  await server.listen({ path: socketPath });
  return running(server);
}

/** TCP has shown that the address is not forged, so this reaches who asked: an operator whose Prometheus is in another network. */
async function refuse(reply: FastifyReply, peer: string): Promise<void> {
  const text = `${peer} is neither on this machine nor in a subnet of the served interfaces: add it, or its network, to server.allow\n`;
  await reply.code(403).header('connection', 'close').type('text/plain; charset=utf-8').send(text);
}

function running(server: FastifyInstance): WebServer {
  const bound = server.server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : 0,
    stop: () => server.close(),
  };
}

/** Without a socket: tests inject their requests. */
export function webServer(sources: WebSources): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: 1024,
    connectionTimeout: 30_000,
    requestTimeout: 10_000,
    keepAliveTimeout: 5_000,
    forceCloseConnections: true,
  });
  server.server.maxConnections = HTTP_CONNECTIONS_MAX;
  server.addHook('onSend', async (_request, reply) => {
    reply.headers(SECURITY_HEADERS);
  });
  server.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await sources.metrics()),
  );
  server.get('/healthz', async (_request, reply) => reply.type('text/plain').send('alive\n'));
  server.get('/readyz', async (_request, reply) => {
    const missing = sources.status().listeners.filter((listener) => listener.missing !== undefined);
    const text = missing.map((listener) => `${listener.name}: ${listener.missing}\n`).join('');
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .type('text/plain; charset=utf-8')
      .send(missing.length === 0 ? 'ready\n' : text);
  });
  server.get('/api/boards', async () => sources.status());
  server.get('/style.css', async (_request, reply) => reply.type('text/css').send(STYLE_SHEET));
  server.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(statusPage(sources.status())));
  return server;
}
