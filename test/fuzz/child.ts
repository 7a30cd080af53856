// Tries one target for a while, in a process of its own: whatever an input does to it, run.ts lives to tell.
import { openSync, writeSync } from 'node:fs';
import { inputOf } from './inputs.js';
import type { FuzzTarget } from './target.js';
import { FUZZ_TARGETS } from './targets.js';

/** What the child tells at its end. */
export type ChildReport =
  | { readonly kind: 'done'; readonly executions: number }
  | { readonly kind: 'failed'; readonly index: number; readonly because: string };

/** More than any target was seen to take; a leak of 100 bytes an input reaches it in minutes. */
const MEMORY_GROWTH_BYTES_MAX = 768 * 1024 * 1024;
const MEMORY_LOOKED_AT_EVERY = 256;

const [name, seedText, fromText, forMsText, caseFile = ''] = process.argv.slice(2);
const target = FUZZ_TARGETS.find((candidate) => candidate.name === name);
if (target === undefined) throw new Error(`no target ${name}`);
const [seed, from, forMs] = [Number(seedText), Number(fromText), Number(forMsText)];
const noted = openSync(caseFile, 'w');
let index = from;

process.on('uncaughtException', (error) => fail(error));
process.on('unhandledRejection', (error) => fail(error));
try {
  await tryOut(target);
} catch (error) {
  fail(error);
}

async function tryOut(tried: FuzzTarget): Promise<void> {
  const good = await tried.good();
  const subject = await tried.start();
  const endMs = performance.now() + forMs;
  let baseBytes = 0;
  for (; performance.now() < endMs; index += 1) {
    writeSync(noted, String(index).padStart(16), 0);
    const input = inputOf(tried, good, seed, index);
    const before = process.cpuUsage();
    await subject.check(input);
    const { user, system } = process.cpuUsage(before);
    const cpuMs = (user + system) / 1000;
    if (cpuMs > tried.caseCpuMsMax) throw new Error(`took ${cpuMs} ms of the processor`);
    if ((index - from) % MEMORY_LOOKED_AT_EVERY !== 0) continue;
    // A turn for whatever was rejected and heeded by nobody.
    await new Promise((resolve) => setImmediate(resolve));
    const bytes = process.memoryUsage.rss();
    if (baseBytes === 0) baseBytes = bytes;
    if (bytes - baseBytes > MEMORY_GROWTH_BYTES_MAX) throw new Error(`memory grew by ${bytes - baseBytes} bytes`);
  }
  await subject.stop?.();
  report({ kind: 'done', executions: index - from });
}

function fail(error: unknown): void {
  const because = error instanceof Error ? (error.stack ?? error.message) : String(error);
  report({ kind: 'failed', index, because });
}

function report(what: ChildReport): void {
  process.send?.(what, () => process.exit());
}
