import type { FreeDisk } from '../boards/identity/discovery.js';
import type { Inventory } from '../inventory/inventory.js';

/**
 * For the lines that would add a board. An image that no board has can be its own; over one that no board writes to it can
 * have a disk as the others have. A direct disk serves one board.
 */
export function freeDisk({ images, boards }: Inventory): FreeDisk {
  const all = [...boards.values()];
  const used = new Set(all.map(({ image }) => image));
  const written = new Set(all.filter(({ disk }) => disk === 'direct').map(({ image }) => image));
  const names = [...images.keys()];
  const unused = names.find((name) => !used.has(name));
  if (unused !== undefined) return { image: unused, disk: 'direct' };
  const shared = names.find((name) => !written.has(name));
  if (shared !== undefined) return { image: shared, disk: 'overlay' };
  return { image: 'NAME # of an image of its own: a copy, under `images:`', disk: 'direct' };
}
