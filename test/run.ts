// Runs the compiled tests with Node's own runner: `node build/test/run.js [part of a path]…`.
// With BRAMBLEBOOT_SKIPS=fail a skipped test fails the run: CI must have what the tests need.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
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

const stream = run({ files, concurrency: 2, timeout: 300_000 });
stream.on('test:fail', () => {
  failures += 1;
});
stream.on('test:pass', (event) => {
  if (event.skip !== undefined) skipped.push(`${event.name}: ${event.skip}`);
});
stream.on('end', () => {
  if (skipped.length > 0) console.log(`\nskipped ${skipped.length}:\n  ${skipped.join('\n  ')}`);
  const skipsFail = process.env['BRAMBLEBOOT_SKIPS'] === 'fail' && skipped.length > 0;
  if (skipsFail) console.error('a skipped test counts as a failure here (BRAMBLEBOOT_SKIPS=fail)');
  process.exitCode = failures > 0 || skipsFail ? 1 : 0;
});
stream.compose(new spec()).pipe(process.stdout);
