/**
 * Run by itself, in a network of its own: writes to a disk and reads it back for as long as it is told, DEPTH requests at a time,
 * each block with what tells which write of it was the last. Says in JSON, for each line that it is told, what came of it since.
 *
 *     node disk-exerciser.js ADDRESS PORT BOARD FROM
 */
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/base/clock.js';
import { connectNbd } from '../../src/nbd/client/client.js';

const DEPTH = 8;
const BLOCKS = 256;
const BLOCK_BYTES_MAX = 128 * 1024;

export interface Exercised {
  readonly requests: number;
  readonly bytes: number;
  /** The longest that a request took. */
  readonly slowestMs: number;
  readonly failures: readonly string[];
}

const [address = '', port = '', board = '', from = '0'] = process.argv.slice(2);
const haggling = await connectNbd({ host: address, port: Number(port) }, systemClock);
const disk = await haggling.go(board);
let round = 0;
/** `steady`: blocks of one size, and nothing that waits for the disk: for how fast it is. */
let mode: 'idle' | 'go' | 'steady' = 'go';
let since = { requests: 0, bytes: 0, slowestMs: 0, failures: [] as string[] };
console.log('attached');

async function exercise(worker: number): Promise<void> {
  const versions = new Map<number, number>();
  for (;;) {
    while (mode === 'idle') await new Promise((resolve) => setTimeout(resolve, 5));
    round += 1;
    if (mode === 'steady') {
      await steady(worker);
      continue;
    }
    const block = worker + DEPTH * Math.floor((Math.random() * BLOCKS) / DEPTH);
    const length = 512 * (1 + Math.floor(Math.random() * (BLOCK_BYTES_MAX / 512)));
    const offset = Number(from) + block * BLOCK_BYTES_MAX;
    const known = versions.get(block);
    if (known !== undefined && Math.random() < 0.5) {
      const read = await timed(known >>> 8, () => disk.read(offset, known >>> 8));
      if (read !== undefined && !read.every((byte) => byte === (known & 0xff)))
        fail(`block ${block} is not as it was written`);
      continue;
    }
    const version = (length << 8) | (round & 0xff);
    await timed(length, () =>
      disk.write(offset, new Uint8Array(length).fill(round & 0xff), { durable: Math.random() < 0.02 }),
    );
    versions.set(block, version);
    if (Math.random() < 0.02) await timed(0, () => disk.flush());
  }
}

/** Beside what is exercised, so that nothing there is changed. */
async function steady(worker: number): Promise<void> {
  const offset = Number(from) + (BLOCKS + worker) * BLOCK_BYTES_MAX;
  if (round % 2 === 0) await timed(BLOCK_BYTES_MAX, () => disk.write(offset, new Uint8Array(BLOCK_BYTES_MAX)));
  else await timed(BLOCK_BYTES_MAX, () => disk.read(offset, BLOCK_BYTES_MAX));
}

async function timed<Result>(bytes: number, request: () => Promise<Result>): Promise<Result | undefined> {
  const startedMs = performance.now();
  try {
    return await request();
  } catch (error) {
    fail(String(error));
    await new Promise(() => {}); // nothing comes from there any more
    return undefined;
  } finally {
    since.requests += 1;
    since.bytes += bytes;
    since.slowestMs = Math.max(since.slowestMs, performance.now() - startedMs);
  }
}

function fail(because: string): void {
  since.failures.push(because);
}

for (let worker = 0; worker < DEPTH; worker += 1) void exercise(worker);

createInterface(process.stdin).on('line', (line) => {
  if (line === 'idle' || line === 'go' || line === 'steady') mode = line;
  console.log(JSON.stringify(since));
  since = { requests: 0, bytes: 0, slowestMs: 0, failures: [] };
});
