import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import type { Board, TlsMode } from '../../src/boards/board.js';
import { TlsDoor, type TlsMaterial } from '../../src/nbd/handshake/tls-door.js';
import type { NbdServerOptions } from '../../src/nbd/server.js';
import { diskBoard } from './boards.js';
import { Authority, pemOf } from './certificates.js';
import { keptLog, type LogLine } from './log-lines.js';
import { type ServedBoards, serveBoards } from './nbd-server.js';
import { type RawNbd, rawNbd } from './raw-nbd.js';
import { scratchFolder } from './scratch.js';

export const KEY = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

export interface TlsWorld extends ServedBoards {
  readonly ca: Authority;
  readonly lines: readonly LogLine[];
  readonly warnings: readonly LogLine[];
  /** Past the greeting. */
  begun(): Promise<RawNbd>;
}

export interface TlsWorldOptions {
  readonly mode?: TlsMode;
  readonly boards?: readonly Board[];
  /** Of what the server has: `certificate` alone otherwise. */
  readonly with?: readonly ('certificate' | 'clientCa' | 'psk')[];
  readonly server?: Partial<NbdServerOptions>;
}

/** A server with TLS on loopback, whose certificate is of a CA of the test. */
export async function serveTls(context: TestContext, options: TlsWorldOptions = {}): Promise<TlsWorld> {
  const { mode = 'required', boards = [boardWith('node1'), boardWith('node2')] } = options;
  const ca = new Authority(scratchFolder(context));
  const kept = keptLog();
  const door = new TlsDoor(materialOf(ca, options.with ?? ['certificate']));
  const served = await serveBoards(context, boards, { log: kept.log, tls: { mode, door }, ...options.server });
  return {
    ...served,
    ca,
    lines: kept.lines,
    warnings: kept.warnings,
    begun: () => rawNbd(context, served.port).greeted(),
  };
}

export function boardWith(name: string, tls: TlsMode = 'required', board: Board = diskBoard(name, 1024 * 1024)): Board {
  return { ...board, access: { allow: undefined, tls } };
}

/** What our client trusts, and shows. */
export function trusting(ca: Authority) {
  return { ca: readFileSync(ca.certificate), servername: 'localhost' };
}

function materialOf(ca: Authority, has: readonly string[]): TlsMaterial {
  const { cert, key } = pemOf(ca.issueServer());
  return {
    certificate: has.includes('certificate') ? { chain: cert, key } : undefined,
    clientCa: has.includes('clientCa') ? readFileSync(ca.certificate) : undefined,
    psk: has.includes('psk') ? new Map([['node1', KEY]]) : undefined,
  };
}
