import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** What a server that ended has left of its boards' connections, in the state folder. */
export const HANDOVER = 'handover';

/** Whether there are boards whose connections the next server could go on with, and whose disks are lost if none starts. */
export function hasFrozenConnections(stateFolder: string): boolean {
  return existsSync(join(stateFolder, HANDOVER));
}
