import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ending, whenOver } from './cleanup.js';

/** A folder of this test's own, gone when the test is over. */
export function scratchFolder(context: Ending): string {
  const folder = mkdtempSync(join(tmpdir(), 'brambleboot-test-'));
  whenOver(context, () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
