import { once } from 'node:events';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { plainAddress } from '../base/addresses.js';
import type { Clock } from '../base/clock.js';
import {
  HTTP_ANSWER_MS,
  HTTP_CHECK_MS,
  HTTP_HEADER_BYTES_MAX,
  HTTP_HEADERS_MS,
  HTTP_KEEP_ALIVE_MS,
  HTTP_REQUEST_MS,
  HTTP_REQUESTS_PER_CONNECTION_MAX,
} from '../base/limits.js';
import { printable, printableJson, shortened } from '../base/printable.js';
import type { CommandVerdict, DiskCommands, DiskList } from '../boards/disks/disk-commands.js';
import type {
  BoardVerdict,
  ListenerStatus,
  ReloadVerdict,
  ReopenVerdict,
  ServerStatus,
} from '../boards/journal/status.js';
import { boardPage, unknownBoardPage } from './board-page.js';
import { Connections } from './connections.js';
import { addDiskRoutes } from './disk-routes.js';
import { STYLE_SHEET, statusPage } from './page.js';

/** What the outside may know. Everything is asked for anew at each request. */
export interface WebSources {
  readonly status: () => ServerStatus;
  readonly board: (name: string) => BoardVerdict;
  readonly listeners: () => readonly ListenerStatus[];
  readonly metrics: () => Promise<string>;
  readonly snapshots: (board: string) => Promise<CommandVerdict<DiskList>>;
}

/** The same for who may use the control socket, and what he may have done. */
export interface ControlSources extends WebSources {
  readonly reopen: (board: string) => Promise<ReopenVerdict>;
  readonly reload: (force: boolean) => Promise<ReloadVerdict>;
  readonly disks: DiskCommands;
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
  readonly place: WebPlace;
  /** Whether who comes from this address is answered; others are told why they are not. */
  readonly answers: (peer: string) => boolean;
  readonly clock: Clock;
  readonly patience?: HttpPatience;
}

export type WebPlace =
  /** Port 0 lets the system choose, for tests. */
  | { readonly address: string; readonly port: number }
  /** A socket that is bound and listens already; the descriptor is ours to close. By a Unix socket only this machine comes. */
  | { readonly descriptor: number; readonly isUnix: boolean };

/** How long a peer may take for what. Node's own timers see to these; tests have less of it. */
export interface HttpPatience {
  readonly headersMs: number;
  readonly requestMs: number;
  readonly keepAliveMs: number;
  readonly checkMs: number;
}

const PATIENCE: HttpPatience = {
  headersMs: HTTP_HEADERS_MS,
  requestMs: HTTP_REQUEST_MS,
  keepAliveMs: HTTP_KEEP_ALIVE_MS,
  checkMs: HTTP_CHECK_MS,
};

interface Named {
  readonly Params: { readonly name: string };
}

interface Reload {
  readonly Body: { readonly force: boolean };
}

const RELOAD = {
  type: 'object',
  properties: { force: { type: 'boolean' } },
  required: ['force'],
  additionalProperties: false,
} as const;

/** Serves metrics, health, API and page: read-only, all of it. */
export async function startWebServer(options: WebAddress, sources: WebSources): Promise<WebServer> {
  const { place, answers, clock, patience } = options;
  const server = webServer(sources, patience);
  boundConnections(server, clock);
  const isUnix = 'descriptor' in place && place.isUnix;
  // Who speaks to us, not whom a proxy claims to speak for: anybody can write an X-Forwarded-For.
  server.addHook('onRequest', async (request, reply) => {
    const peer = plainAddress(request.socket.remoteAddress ?? '');
    if (!isUnix && !answers(peer)) await refuse(reply, peer);
  });
  if ('descriptor' in place) await takeOver(server, place.descriptor);
  else await server.listen({ host: place.address, port: place.port });
  return running(server);
}

/** fastify knows hosts and paths only, and ends the connections of no server that it does not know to listen. */
async function takeOver(server: FastifyInstance, descriptor: number): Promise<void> {
  server.addHook('preClose', async () => server.server.closeAllConnections());
  await server.ready();
  server.server.listen({ fd: descriptor });
  await once(server.server, 'listening');
}

/** Serves the same over a Unix socket, for the CLI; what changes state is here and nowhere else. */
export async function startControlServer(socketPath: string, sources: ControlSources): Promise<WebServer> {
  const server = controlServer(sources);
  await server.listen({ path: socketPath });
  return running(server);
}

/** TCP has shown that the address is not forged, so this reaches who asked: an operator whose Prometheus is in another network. */
async function refuse(reply: FastifyReply, peer: string): Promise<void> {
  const text = `${peer} is neither on this machine nor in a subnet of the served interfaces: add it, or its network, to server.allow\n`;
  await reply.code(403).header('connection', 'close').type('text/plain; charset=utf-8').send(text);
}

/** Whoever holds connections, or reads slowly, holds them against himself and not against others. */
function boundConnections({ server }: FastifyInstance, clock: Clock): void {
  const connections = new Connections();
  server.maxRequestsPerSocket = HTTP_REQUESTS_PER_CONNECTION_MAX;
  server.on('dropRequest', (_request, socket) => socket.destroy());
  server.on('connection', (socket) => connections.admit(socket, plainAddress(socket.remoteAddress ?? '')));
  server.on('request', ({ socket }, response) => {
    const late = clock.after(HTTP_ANSWER_MS, () => socket.destroy());
    connections.requestBegan(socket);
    response.once('close', () => {
      late.cancel();
      connections.requestEnded(socket);
    });
  });
}

function running(server: FastifyInstance): WebServer {
  const bound = server.server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : 0,
    stop: () => server.close(),
  };
}

/** Without a socket, as `webServer`. */
export function controlServer(sources: ControlSources): FastifyInstance {
  const server = webServer(sources);
  server.post<Named>('/api/boards/:name/reopen', async (request) => sources.reopen(request.params.name));
  server.post<Reload>('/api/reload', { schema: { body: RELOAD } }, async ({ body }) => sources.reload(body.force));
  addDiskRoutes(server, sources.disks);
  return server;
}

/** Without a socket: tests inject their requests. */
export function webServer(sources: WebSources, patience = PATIENCE): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: 1024,
    requestTimeout: patience.requestMs,
    keepAliveTimeout: patience.keepAliveMs,
    forceCloseConnections: true,
    http: {
      requestTimeout: patience.requestMs, // here too: Node compares the two
      headersTimeout: patience.headersMs,
      connectionsCheckingInterval: patience.checkMs,
      maxHeaderSize: HTTP_HEADER_BYTES_MAX,
    },
    // A name that is too long for a board is answered with a sentence too.
    routerOptions: { maxParamLength: 1024 },
  });
  // A connection that could not be taken (no descriptor left): the next one can be. Unheard, it would end the whole process.
  server.server.on('error', () => {});
  server.addHook('onSend', async (_request, reply) => {
    reply.headers(SECURITY_HEADERS);
  });
  server.setNotFoundHandler(async ({ method, url }, reply) => {
    const because = `there is no ${method} ${shortened(url, 200)} here: / is the page, /api/boards the same as JSON, /metrics for Prometheus`;
    reply.code(404);
    if (url.startsWith('/api/')) return reply.send({ error: because });
    return reply.type('text/plain; charset=utf-8').send(`${printable(because)}\n`);
  });
  // Whoever looks at the API with curl looks at it in a terminal.
  server.setReplySerializer((payload) => printableJson(JSON.stringify(payload)));
  server.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await sources.metrics()),
  );
  server.get('/healthz', async (_request, reply) => reply.type('text/plain').send('alive\n'));
  server.get('/readyz', async (_request, reply) => {
    const missing = sources.listeners().filter((listener) => listener.missing !== undefined);
    const text = missing.map((listener) => `${listener.name}: ${listener.missing}\n`).join('');
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .type('text/plain; charset=utf-8')
      .send(missing.length === 0 ? 'ready\n' : text);
  });
  server.get('/api/boards', async () => sources.status());
  server.get<Named>('/api/boards/:name', async (request, reply) => {
    const verdict = sources.board(request.params.name);
    if (verdict.answer === 'unknown') return reply.code(404).send({ error: verdict.because });
    return verdict.board;
  });
  server.get<Named>('/api/boards/:name/snapshots', async (request, reply) => {
    const verdict = await sources.snapshots(request.params.name);
    if (verdict.answer === 'done') {
      const { answer: _, ...list } = verdict;
      return list;
    }
    return reply.code(verdict.answer === 'unknown' ? 404 : 409).send({ error: verdict.because });
  });
  server.get<Named>('/boards/:name', async (request, reply) => {
    reply.type('text/html; charset=utf-8');
    const verdict = sources.board(request.params.name);
    if (verdict.answer === 'unknown') return reply.code(404).send(unknownBoardPage(verdict.because));
    return reply.send(boardPage(verdict.board));
  });
  server.get('/style.css', async (_request, reply) => reply.type('text/css').send(STYLE_SHEET));
  server.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(statusPage(sources.status())));
  return server;
}
