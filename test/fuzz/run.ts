// `npm run fuzz -- --minutes N [--only TARGET] [--seed N]`: any bytes and changed good inputs, for as long as one likes.
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ChildReport } from './child.js';
import { inputOf } from './inputs.js';
import { encodeHexFile } from './seeds.js';
import type { FuzzTarget } from './target.js';
import { FUZZ_TARGETS } from './targets.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
const FAILURES_FOLDER = 'fuzz-failures';
/** Of one target: more are most likely the same again. */
const FAILURES_MAX = 5;
/** One input for as long is one without end: the slowest take two seconds, and the machine may be busy. */
const HANG_MS = 60_000;
const LOOK_MS = 1000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    only: { type: 'string' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const seed = wholeNumber(values.seed);
const targets = FUZZ_TARGETS.filter(({ name }) => values.only === undefined || values.only.split(',').includes(name));
if (targets.length === 0) {
  console.error(`no such target; there are ${FUZZ_TARGETS.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const forMs = (positive(values.minutes) * 60_000) / targets.length;
console.log(`seed ${seed}; ${targets.length} targets, ${(forMs / 1000).toFixed(1)} s each`);

let failed = 0;
for (const target of targets) failed += await fuzz(target);
process.exitCode = failed > 0 ? 1 : 0;

/** Answers how often it failed. */
async function fuzz(target: FuzzTarget): Promise<number> {
  const endMs = performance.now() + forMs;
  let [executions, failures, from] = [0, 0, 0];
  while (performance.now() < endMs && failures < FAILURES_MAX) {
    const report = await runChild(target, from, endMs - performance.now());
    if (report.kind === 'done') {
      executions += report.executions;
      break;
    }
    failures += 1;
    executions += report.index - from + 1;
    from = report.index + 1;
    await keep(target, report.index, report.because);
  }
  console.log(`${target.name.padEnd(16)} ${String(executions).padStart(9)} inputs  ${failures} failures`);
  return failures;
}

async function runChild(target: FuzzTarget, from: number, leftMs: number): Promise<ChildReport> {
  const folder = mkdtempSync(join(tmpdir(), 'brambleboot-fuzz-'));
  const caseFile = join(folder, 'case');
  const child = fork(CHILD, [target.name, String(seed), String(from), String(Math.round(leftMs)), caseFile]);
  try {
    return await reportOf(child, () => (existsSync(caseFile) ? Number(readFileSync(caseFile, 'latin1')) : from));
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

function reportOf(child: ChildProcess, caseNow: () => number): Promise<ChildReport> {
  return new Promise((resolve) => {
    let [index, sinceMs] = [0, performance.now()];
    const look = setInterval(() => {
      const now = caseNow();
      if (now !== index) [index, sinceMs] = [now, performance.now()];
      else if (performance.now() - sinceMs > HANG_MS) settle({ kind: 'failed', index, because: 'it has no end' });
    }, LOOK_MS);
    const settle = (report: ChildReport): void => {
      clearInterval(look);
      child.removeAllListeners();
      resolve(report);
    };
    child.once('message', (report: ChildReport) => settle(report));
    child.once('exit', (code, signal) =>
      settle({ kind: 'failed', index: caseNow(), because: `the process ended with ${signal ?? code}` }),
    );
  });
}

async function keep(target: FuzzTarget, index: number, because: string): Promise<void> {
  const input = inputOf(target, await target.good(), seed, index);
  const file = join(FAILURES_FOLDER, `${target.name}-${seed}-${index}.hex`);
  mkdirSync(FAILURES_FOLDER, { recursive: true });
  writeFileSync(file, encodeHexFile(input, `seed ${seed}, input ${index} of ${target.name}: ${because}`));
  console.log(`FAILED: ${target.name}, seed ${seed}, input ${index}, ${input.length} bytes, written to ${file}`);
  console.log(Buffer.from(input.subarray(0, 512)).toString('hex'));
  console.log(because);
}

function positive(text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`"${text}" is no number of minutes`);
  return number;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number)) throw new Error(`"${text}" is no seed: a whole number is`);
  return number;
}
