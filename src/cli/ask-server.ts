import { request } from 'node:http';
import type { BoardHistory, ReopenVerdict, ServerStatus } from '../boards/journal/status.js';

/** As JSON brings it: dates are text. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer U)[]
    ? readonly Wire<U>[]
    : T extends object
      ? { readonly [K in keyof T]: Wire<T[K]> }
      : T;

/** Where a server answers: its control socket, or its page. */
export type ServerPlace = { readonly socketPath: string } | { readonly host: string; readonly port: number };

const PATIENCE_MS = 5000;
/** A disk that has failed may take its time to fail again: the kernel tries for up to half a minute, several times. */
const REOPEN_PATIENCE_MS = 120_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** What a running server knows, or a text: why there is no answer. */
export async function askServer(place: ServerPlace): Promise<Wire<ServerStatus> | string> {
  const answer = await ask(place, '/api/boards');
  return typeof answer === 'string' ? answer : (statusIn(answer) ?? 'that is no Brambleboot');
}

export type BoardAnswer =
  | { readonly answer: 'board'; readonly board: Wire<BoardHistory> }
  /** There is none of that name, in the server's words. */
  | { readonly answer: 'unknown'; readonly because: string }
  | { readonly answer: 'none'; readonly because: string };

/** One board of a running server, with all its boots. */
export async function askForBoard(place: ServerPlace, name: string): Promise<BoardAnswer> {
  const bytes = await ask(place, `/api/boards/${encodeURIComponent(name)}`);
  if (typeof bytes === 'string') return { answer: 'none', because: bytes };
  const answer = json(bytes);
  if (Array.isArray(answer?.boots)) return { answer: 'board', board: answer };
  if (typeof answer?.error === 'string') return { answer: 'unknown', because: answer.error };
  return { answer: 'none', because: 'that is no Brambleboot' };
}

/** Has the disk of a board taken up again. */
export async function askToReopen(
  place: ServerPlace,
  name: string,
): Promise<Wire<ReopenVerdict> | { readonly answer: 'none'; readonly because: string }> {
  const path = `/api/boards/${encodeURIComponent(name)}/reopen`;
  const bytes = await ask(place, path, { method: 'POST', patienceMs: REOPEN_PATIENCE_MS });
  if (typeof bytes === 'string') return { answer: 'none', because: bytes };
  const answer = json(bytes);
  return typeof answer?.answer === 'string' ? answer : { answer: 'none', because: 'it can do no such thing' };
}

interface Asking {
  readonly method?: 'GET' | 'POST';
  readonly patienceMs?: number;
}

function ask(
  place: ServerPlace,
  path: string,
  { method = 'GET', patienceMs = PATIENCE_MS }: Asking = {},
): Promise<Buffer | string> {
  return new Promise((resolve) => {
    const asking = request({ ...place, path, method, timeout: patienceMs }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) asking.destroy(new Error('an answer without end'));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', (error) => resolve(error.message));
    });
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${patienceMs / 1000} s`)));
    asking.on('error', (error) => resolve(error.message));
    asking.end();
  });
}

/** Undefined if something else than Brambleboot answers there. */
function statusIn(answer: Buffer): Wire<ServerStatus> | undefined {
  const status = json(answer);
  return areObjects(status?.boards) && areObjects(status?.listeners) ? status : undefined;
}

function json(answer: Buffer): ReturnType<typeof JSON.parse> {
  try {
    return JSON.parse(answer.toString('utf8'));
  } catch {
    return undefined;
  }
}

function areObjects(list: unknown): boolean {
  return Array.isArray(list) && list.every((entry) => typeof entry === 'object' && entry !== null);
}
