import { request } from 'node:http';
import type { ServerStatus } from '../boards/journal/status.js';

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
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** What a running server knows, or a text: why there is no answer. */
export async function askServer(place: ServerPlace): Promise<Wire<ServerStatus> | string> {
  const answer = await get(place, '/api/boards');
  return typeof answer === 'string' ? answer : (statusIn(answer) ?? 'that is no Brambleboot');
}

function get(place: ServerPlace, path: string): Promise<Buffer | string> {
  return new Promise((resolve) => {
    const asking = request({ ...place, path, timeout: PATIENCE_MS }, (response) => {
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
    asking.on('timeout', () => asking.destroy(new Error(`no answer within ${PATIENCE_MS / 1000} s`)));
    asking.on('error', (error) => resolve(error.message));
    asking.end();
  });
}

/** Undefined if something else than Brambleboot answers there. */
function statusIn(answer: Buffer): Wire<ServerStatus> | undefined {
  try {
    const status = JSON.parse(answer.toString('utf8'));
    return Array.isArray(status?.boards) && Array.isArray(status?.listeners) ? status : undefined;
  } catch {
    return undefined;
  }
}
