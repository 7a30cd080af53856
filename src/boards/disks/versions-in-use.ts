import { readdir } from 'node:fs/promises';
import { codeOf } from '../../base/errors.js';
import { DiskFolder } from './disk-folder.js';

export interface VersionsInUse {
  /** Versions of images, with the names of the boards whose disk or snapshots lie over them; also of boards that no inventory knows. */
  readonly versions: ReadonlyMap<string, readonly string[]>;
  /** False where something could not be read. */
  readonly isComplete: boolean;
}

/** What the disks in that folder lie over, and those that were put aside: who puts one back needs its image's version. Never rejects. */
export async function versionsInUse(disksPath: string): Promise<VersionsInUse> {
  const versions = new Map<string, string[]>();
  let isComplete = true;
  // One that can't be read is no reason not to know the others.
  const orNone = <T>(reading: Promise<readonly T[]>) =>
    reading.catch((): readonly T[] => {
      isComplete = false;
      return [];
    });
  for (const board of await orNone(readdir(disksPath).catch(noneYet))) {
    for (const version of await orNone(basesIn(new DiskFolder(disksPath, board)))) {
      versions.set(version, [...(versions.get(version) ?? []), board]);
    }
  }
  for (const folder of await orNone(DiskFolder.aside(disksPath))) {
    for (const version of await orNone(basesIn(folder))) versions.set(version, versions.get(version) ?? []);
  }
  return { versions, isComplete };
}

async function basesIn(folder: DiskFolder): Promise<readonly string[]> {
  const tree = await folder.read();
  return [...new Set(tree?.layers.map(({ base }) => base))];
}

function noneYet(error: unknown): readonly string[] {
  if (codeOf(error) === 'ENOENT') return [];
  throw error;
}
