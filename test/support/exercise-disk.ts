import assert from 'node:assert/strict';
import { setTimeout as passed } from 'node:timers/promises';
import type { Exercised } from './disk-exerciser.js';
import type { NetworkNamespace } from './network-namespace.js';
import { projectFile } from './project.js';

const EXERCISER = projectFile('build/test/support/disk-exerciser.js');

/** A client there that writes to a disk and reads it back. */
export interface Exerciser {
  /** What it did since it was asked last. */
  ask(word?: 'idle' | 'go' | 'steady'): Promise<Exercised>;
}

export interface ExercisedPlace {
  /** Of the server. */
  readonly address: string;
  readonly board: string;
  /** The disk is its own from there on. */
  readonly from: number;
}

/** Resolves when it has its disk. */
export async function exerciseDisk(
  far: NetworkNamespace,
  { address, board, from }: ExercisedPlace,
): Promise<Exerciser> {
  const child = far.spawn('node', EXERCISER, address, '10809', board, String(from));
  child.stderr.on('data', (chunk: Buffer) => void process.stderr.write(chunk));
  const lines: ((line: string) => void)[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = `${rest}${text}`.split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.shift()?.(part);
  });
  const line = () => new Promise<string>((resolve) => lines.push(resolve));
  assert.equal(await line(), 'attached');
  return {
    async ask(word) {
      const answer = line();
      child.stdin.write(`${word ?? 'now'}\n`);
      return JSON.parse(await answer);
    },
  };
}

/** Until it has done some more, and without a failure. */
export async function expectGoesOn({ client }: { readonly client: Exerciser }): Promise<Exercised> {
  let slowestMs = 0;
  for (;;) {
    const since = await client.ask();
    assert.deepEqual(since.failures, []);
    slowestMs = Math.max(slowestMs, since.slowestMs);
    if (since.requests > 50) return { ...since, slowestMs };
    await passed(20);
  }
}
