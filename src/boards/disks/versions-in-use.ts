import { readdir } from 'node:fs/promises';
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
  try {
    for (const board of await readdir(disksPath).catch(noneYet)) {
      const tree = await new DiskFolder(disksPath, board).read();
      for (const version of new Set(tree?.layers.map(({ base }) => base))) {
        versions.set(version, [...(versions.get(version) ?? []), board]);
      }
    }
    for (const folder of await DiskFolder.aside(disksPath)) {
      const tree = await folder.read();
      for (const { base } of tree?.layers ?? []) versions.set(base, versions.get(base) ?? []);
    }
    return { versions, isComplete: true };
  } catch {
    return { versions, isComplete: false };
  }
}

function noneYet(error: unknown): readonly string[] {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
  throw error;
}
