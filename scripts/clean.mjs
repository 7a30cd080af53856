// Removes build output first, so that a test whose source is gone cannot go on running.
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) rmSync(folder, { recursive: true, force: true });
