/** The sockets that clients come to. Who may come in is for the server's floor to say. */
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { Log } from '../base/log.js';
import { allowGroup, removeStaleSocket } from '../os/unix-socket.js';

export type NbdPlace =
  /** Port 0: one that is free. */
  | { readonly kind: 'tcp'; readonly address: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  /** A socket that is bound and listens already; `descriptor` is ours to close. */
  | { readonly kind: 'descriptor'; readonly descriptor: number; readonly origin: PeerOrigin };

/** A peer on the network has an address; one on this host, by a Unix socket, is a process. */
export type PeerOrigin = 'network' | 'host';

export interface BoundAddress {
  readonly address: string;
  readonly port: number;
}

export interface NbdListener {
  /** Undefined for a Unix socket. */
  readonly bound: BoundAddress | undefined;
  /** Accepts no more; the connections stay. */
  stop(): Promise<void>;
}

/** Rejects with what Node or the kernel says (EADDRINUSE, EACCES, …), or SocketPathTaken. */
export async function listenAt(
  place: NbdPlace,
  log: Log,
  accepted: (socket: Socket, origin: PeerOrigin) => void,
): Promise<NbdListener> {
  const origin = place.kind === 'unix' ? 'host' : place.kind === 'tcp' ? 'network' : place.origin;
  if (place.kind === 'unix') removeStaleSocket(place.path);
  // A client may close its side and still wait for answers, hence allowHalfOpen.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => accepted(socket, origin));
  await listening(server, optionsOf(place));
  server.on('error', (error) => log.error({ ...place, err: error }, 'nbd.listener.failed'));
  if (place.kind === 'unix') allowGroup(place.path);
  return { bound: boundAddress(server), stop: async () => void server.close() };
}

function optionsOf(place: NbdPlace): ListenOptions & { readonly fd?: number } {
  switch (place.kind) {
    case 'tcp':
      return { port: place.port, host: place.address };
    case 'unix':
      return { path: place.path };
    default:
      return { fd: place.descriptor };
  }
}

function listening(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function boundAddress(server: Server): BoundAddress | undefined {
  const bound = server.address();
  return bound === null || typeof bound === 'string' ? undefined : { address: bound.address, port: bound.port };
}
