// Runs the compiled tests with Node's own runner: `node build/test/run.js [part of a path]…`.
// With BRAMBLEBOOT_SKIPS=fail a skipped test fails the run: CI must have what the tests need.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.js'))
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
  .map((path) => join(root, path))
  .sort();

const skipped: string[] = [];
let failures = files.length === 0 ? 1 : 0;
if (files.length === 0) console.error(`no test file matches ${wanted.join(' ')}`);

/** A virtual machine takes a core and memory for itself, and boots for a minute: one at a time, when all else is done. */
const isHeavy = (path: string) => path.includes('/boot/machine/');

Readable.from(events())
  .compose(new spec())
  .on('end', () => {
    if (skipped.length > 0) console.log(`\nskipped ${skipped.length}:\n  ${skipped.join('\n  ')}`);
    const skipsFail = process.env['BRAMBLEBOOT_SKIPS'] === 'fail' && skipped.length > 0;
    if (skipsFail) console.error('a skipped test counts as a failure here (BRAMBLEBOOT_SKIPS=fail)');
    process.exitCode = failures > 0 || skipsFail ? 1 : 0;
  })
  .pipe(process.stdout);

async function* events(): AsyncGenerator<TestEvent> {
  const light = files.filter((path) => !isHeavy(path));
  if (light.length > 0) yield* watched(run({ files: light, concurrency: 2, timeout: 300_000 }));
  const heavy = files.filter(isHeavy);
  if (heavy.length > 0) yield* watched(run({ files: heavy, concurrency: 1, timeout: 1_800_000 }));
}

async function* watched(stream: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  for await (const event of stream) {
    if (event.type === 'test:fail') failures += 1;
    if (event.type === 'test:pass' && event.data.skip !== undefined)
      skipped.push(`${event.data.name}: ${event.data.skip}`);
    yield event;
  }
}
