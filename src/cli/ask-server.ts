import { request } from 'node:http';
import type { Held } from '../boards/disks/board-disk.js';
import type { CommandVerdict, DiskList, PutAside } from '../boards/disks/disk-commands.js';
import type { Promoted } from '../boards/disks/promotion.js';
import type { BoardHistory, ReloadVerdict, ReopenVerdict, ServerStatus } from '../boards/journal/status.js';

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
/** What is done with a disk may copy all that was ever written to it, from a disk that is slow; Ctrl-C ends the waiting. */
const COMMAND_PATIENCE_MS = 3_600_000;
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

/** Has the inventory read again. */
export async function askToReload(place: ServerPlace, force: boolean): Promise<Wire<ReloadVerdict> | NoAnswer> {
  const body = JSON.stringify({ force });
  const bytes = await ask(place, '/api/reload', { method: 'POST', patienceMs: COMMAND_PATIENCE_MS, body });
  if (typeof bytes === 'string') return { answer: 'none', because: bytes };
  const answer = json(bytes);
  return typeof answer?.answer === 'string' ? answer : CAN_DO_NO_SUCH_THING;
}

/** There is no server that answers, or it is none that could. */
export interface NoAnswer {
  readonly answer: 'none';
  readonly because: string;
}

/** Snapshots of a board's disk. */
export async function askForSnapshots(
  place: ServerPlace,
  board: string,
): Promise<{ readonly answer: 'list'; readonly list: Wire<DiskList> } | Refused | NoAnswer> {
  const bytes = await ask(place, boardPath(board, 'snapshots'));
  if (typeof bytes === 'string') return { answer: 'none', because: bytes };
  const answer = json(bytes);
  if (areObjects(answer?.snapshots)) return { answer: 'list', list: answer };
  if (typeof answer?.error === 'string') return { answer: 'refused', because: answer.error };
  return CAN_DO_NO_SUCH_THING;
}

/** Of a command: nothing has happened, for a reason that is a sentence. */
export interface Refused {
  readonly answer: 'refused';
  readonly because: string;
}

/** Has something done with a board's disk, which may take long: what the server says that came of it. */
export async function askForCommand<K extends keyof Outcomes>(
  place: ServerPlace,
  board: string,
  command: K,
  body: object,
): Promise<CommandVerdict<Outcomes[K]> | NoAnswer> {
  return askForVerdict(place, boardPath(board, command), { body });
}

/** The same of a copy, which tells how far it is. It is ended when the one who asked for it goes away. */
export async function askForCopy(
  place: ServerPlace,
  { board, file }: { readonly board: string; readonly file: string },
  progress: (doneBytes: number, ofBytes: number) => void,
  signal: AbortSignal,
): Promise<CommandVerdict<Promoted> | NoAnswer> {
  const heard = (line: Buffer) => {
    const told = json(line);
    if (typeof told?.doneBytes === 'number') progress(told.doneBytes, told.ofBytes);
  };
  return askForVerdict(place, boardPath(board, 'promote'), { body: { file }, heard, signal });
}

interface Outcomes {
  readonly snapshot: Held;
  readonly rollback: object;
  readonly reset: PutAside;
  readonly drop: object;
}

const CAN_DO_NO_SUCH_THING = { answer: 'none', because: 'it can do no such thing' } as const;

interface Commanding {
  readonly body: object;
  /** Told of each line as it comes. */
  readonly heard?: (line: Buffer) => void;
  readonly signal?: AbortSignal;
}

/** The last line of what it answers. */
async function askForVerdict(
  place: ServerPlace,
  path: string,
  { body, heard, signal }: Commanding,
): Promise<ReturnType<typeof JSON.parse>> {
  let begun = Buffer.alloc(0);
  const listen = (chunk: Buffer) => {
    begun = Buffer.concat([begun, chunk]);
    for (let end = begun.indexOf('\n'); end >= 0; end = begun.indexOf('\n')) {
      heard?.(begun.subarray(0, end));
      begun = begun.subarray(end + 1);
    }
  };
  const asking: Asking = {
    ...{ method: 'POST', patienceMs: COMMAND_PATIENCE_MS, body: JSON.stringify(body), heard: listen },
    ...(signal === undefined ? {} : { signal }),
  };
  const bytes = await ask(place, path, asking);
  if (typeof bytes === 'string') return { answer: 'none', because: bytes };
  const answer = json(Buffer.from(bytes.toString('utf8').trimEnd().split('\n').at(-1) ?? ''));
  if (typeof answer?.answer === 'string') return answer;
  return typeof answer?.message === 'string' ? { answer: 'refused', because: answer.message } : CAN_DO_NO_SUCH_THING;
}

function boardPath(board: string, what: string): string {
  return `/api/boards/${encodeURIComponent(board)}/${what}`;
}

interface Asking {
  readonly method?: 'GET' | 'POST';
  readonly patienceMs?: number;
  /** JSON. */
  readonly body?: string;
  /** Told of the answer as it comes. */
  readonly heard?: (chunk: Buffer) => void;
  readonly signal?: AbortSignal;
}

function ask(
  place: ServerPlace,
  path: string,
  { method = 'GET', patienceMs = PATIENCE_MS, body, heard, signal }: Asking = {},
): Promise<Buffer | string> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve) => {
    const settings = { ...place, path, method, headers, timeout: patienceMs, ...(signal && { signal }) };
    const asking = request(settings, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) asking.destroy(new Error('an answer without end'));
        else chunks.push(chunk);
        heard?.(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', (error) => resolve(error.message));
    });
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${patienceMs / 1000} s`)));
    asking.on('error', (error) => resolve(error.message));
    asking.end(body);
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
