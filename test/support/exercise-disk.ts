import assert from 'node:assert/strict';
import { statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import type { Exercised } from './disk-exerciser.js';
import { connectNamespaces, type NetworkNamespace, networkNamespace } from './network-namespace.js';
import { projectFile } from './project.js';
import { scratchFolder } from './scratch.js';

const EXERCISER = projectFile('build/test/support/disk-exerciser.js');
const ROOM = 40 * 1024 * 1024;

/** A server's network and a board's, with a cable between them, and an image with room behind all that is in it. */
export interface ExercisedGround {
  readonly near: NetworkNamespace;
  readonly far: NetworkNamespace;
  /** Of the server, which is not there yet. */
  readonly folder: string;
  readonly image: string;
  /** Resolves when it has its disk. Of the disk it touches nothing but the room. */
  exerciser(board: string): Promise<Exerciser>;
}

/** `cable0` is 10.91.0.1 at the server's end and 10.91.0.2 at the board's. `place` may put the image elsewhere, and says where. */
export async function exercisedGround(
  context: TestContext,
  place: (image: string) => Promise<string> = async (image) => image,
): Promise<ExercisedGround> {
  const folder = scratchFolder(context);
  const made = join(folder, 'demo.img');
  await makeDemoImage(made);
  const from = statSync(made).size;
  truncateSync(made, from + ROOM);
  const image = await place(made);
  const [near, far] = [networkNamespace(context), networkNamespace(context)];
  connectNamespaces(
    { namespace: near, interfaceName: 'cable0', address: '10.91.0.1/24' },
    { namespace: far, interfaceName: 'cable0', address: '10.91.0.2/24' },
  );
  return { near, far, folder, image, exerciser: (board) => exerciseDisk(far, { address: '10.91.0.1', board, from }) };
}

/** A client there that writes to a disk and reads it back. */
export interface Exerciser {
  /** What it did since it was asked last. */
  ask(word?: 'idle' | 'go' | 'steady'): Promise<Exercised>;
  /** Without a word. */
  leave(): void;
}

interface ExercisedPlace {
  /** Of the server. */
  readonly address: string;
  readonly board: string;
  /** The disk is its own from there on. */
  readonly from: number;
}

/** Resolves when it has its disk. */
async function exerciseDisk(far: NetworkNamespace, { address, board, from }: ExercisedPlace): Promise<Exerciser> {
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
    leave: () => void child.kill('SIGKILL'),
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

/** Until a request of it fails. */
export async function expectLost(client: Exerciser): Promise<void> {
  for (let answer = await client.ask(); answer.failures.length === 0; answer = await client.ask()) await passed(20);
}
