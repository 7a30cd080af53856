#!/usr/bin/env node
import { haveThreads } from './cli/threads.js';

const words = process.argv.slice(2);
haveThreads(words);

// Whoever read our output may go (`| head`, a log collector that restarts): that is no reason to leave boards without their disks.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

// Not before: it is all of the program, and would be read twice.
const { runCommandLine } = await import('./cli/program.js');
process.exitCode = await runCommandLine(words);
