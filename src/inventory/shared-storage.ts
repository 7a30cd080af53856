import type { Complaint } from './fault.js';
import { quote } from './quotation.js';
import type { KeyPath } from './source.js';

/** A board, and what its disk lies on. */
export interface SharingBoard {
  readonly name: string;
  /** Name of its image. */
  readonly image: string;
  /** The same for all that lie on one file or device, under whatever name. */
  readonly storage: string;
  readonly isDirect: boolean;
  /** In a sentence: with its line, where it is known. */
  readonly shown: string;
}

export interface SharingFault {
  readonly path: KeyPath;
  readonly complaint: Complaint;
}

/**
 * Whoever has a disk over an image relies on it to stay what it is: any number of them may. A board that writes to it has to
 * be alone there. Of several that write the first keeps it.
 */
export function sharedStorage(boards: readonly SharingBoard[]): readonly SharingFault[] {
  const groups = new Map<string, SharingBoard[]>();
  for (const board of boards) {
    const group = groups.get(board.storage) ?? [];
    group.push(board);
    groups.set(board.storage, group);
  }
  return [...groups.values()].flatMap((group) => {
    const [owner, ...others] = group.filter(({ isDirect }) => isDirect);
    if (owner === undefined) return [];
    const twice = others.map((other) => ({
      path: ['boards', other.name, 'image'],
      complaint: {
        problem: `${owner.shown} writes to ${imageOf(owner, other)} already, and two boards writing to one disk destroy it`,
        remedy: 'copy the file, list the copy under `images:` and name that here',
      },
    }));
    const above = group.find(({ isDirect }) => !isDirect);
    return above === undefined ? twice : [...twice, underfoot(owner, above)];
  });
}

function underfoot(owner: SharingBoard, above: SharingBoard): SharingFault {
  return {
    path: ['boards', owner.name, 'disk'],
    complaint: {
      problem: `a direct disk changes the image itself, which destroys the disk that ${above.shown} has over ${imageOf(above, owner)}`,
      remedy: `write \`disk: overlay\` for ${quote(owner.name)} too, or give it a copy of the file, listed under \`images:\``,
    },
  };
}

function imageOf(board: SharingBoard, other: SharingBoard): string {
  const alias = board.image === other.image ? '' : ` (the same file as ${quote(other.image)})`;
  return `image ${quote(board.image)}${alias}`;
}
