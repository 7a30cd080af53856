#!/usr/bin/env node
import { runCommandLine } from './cli/program.js';

// Whoever read our output may go (`| head`, a log collector that restarts): that is no reason to leave boards without their disks.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

process.exitCode = await runCommandLine(process.argv.slice(2));
