import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { decodeStat, usageOf, watchUsage } from '../../bench/process-usage.js';
import { whenOver } from '../support/cleanup.js';

describe('what a process has used', () => {
  test('is read behind a name with spaces and parentheses, children waited for included', () => {
    const text = '42 (a) R 1 (b) S 7 42 42 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1 0 5 6 7';
    assert.deepEqual(decodeStat(text), { parent: 7, cpuTicks: 110, ownTicks: 33 });
  });

  test('counts this process', () => {
    const { cpuSeconds, peakMemoryBytes, sharedMemoryBytes } = usageOf(process.pid);
    assert.ok(cpuSeconds > 0);
    assert.ok(peakMemoryBytes > 20e6 && peakMemoryBytes < 4e9);
    assert.ok(sharedMemoryBytes <= peakMemoryBytes);
  });

  test('counts children that live and children that ended', async (context) => {
    const burn = 'const end = process.cpuUsage().user + 300000; while (process.cpuUsage().user < end);';
    const script = `const { execFileSync, spawn } = require('node:child_process');
execFileSync(process.execPath, ['-e', ${JSON.stringify(burn)}]);
const child = spawn(process.execPath, ['-e', ${JSON.stringify(`${burn} console.log('done'); setInterval(() => {}, 1000)`)}]);
process.on('SIGTERM', () => { child.kill('SIGKILL'); process.exit(); });
child.stdout.pipe(process.stdout);`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    whenOver(context, async () => {
      parent.kill('SIGTERM');
      await once(parent, 'exit');
    });
    const pid = parent.pid ?? 0;
    const watch = watchUsage(pid);
    await once(parent.stdout, 'data');
    const { cpuSeconds, peakMemoryBytes } = watch.stop();
    assert.ok(cpuSeconds >= 0.59, `${cpuSeconds} s of CPU time, 0.6 s were burnt by children`);
    assert.ok(peakMemoryBytes > 2 * 20e6, 'the parent and its child are both resident');
  });

  test('counts children that ended and were waited for by nobody', async (context) => {
    // A shell whose children the kernel reaps, and one of them that burns 0.3 s by itself.
    const burn = 'const end = process.cpuUsage().user + 300000; while (process.cpuUsage().user < end);';
    const script = `trap '' CHLD; "$0" -e '${burn} console.log("burnt"); setTimeout(() => {}, 200)' & sleep 60`;
    const parent = spawn('sh', ['-c', script, process.execPath], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    whenOver(context, async () => {
      process.kill(-(parent.pid ?? 0), 'SIGKILL');
      await once(parent, 'exit');
    });
    const watch = watchUsage(parent.pid ?? 0, 20);
    await once(parent.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.ok(watch.stop().cpuSeconds >= 0.29);
  });

  test('says so when there is no such process', () => {
    assert.throws(() => usageOf(0x7fffffff), /ENOENT/);
  });
});
