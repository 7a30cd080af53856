import { dirname } from 'node:path';
import { isLow, type StoredThing, storedThings } from '../app/storage.js';
import { bytesText } from '../base/amounts.js';
import { spaceText } from '../boards/journal/status.js';
import { FINDS_FULL_LATE } from '../boards/opening/opening.js';
import { servedBy } from '../inventory/difference.js';
import type { Inventory } from '../inventory/inventory.js';
import { allocationOf, type FilesystemPlace, filesystemOf, findsFullLate, spaceOf } from '../os/filesystem.js';

/** What `check` says of the filesystems under images and state. */
export interface StorageReport {
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
}

interface Group {
  readonly mountPoint: string;
  readonly things: StoredThing[];
}

/** What can't be looked at (an image that is missing, say) is left out: that is told elsewhere. */
export async function storageReport(inventory: Inventory): Promise<StorageReport> {
  const groups = await groupsOf(storedThings(servedBy(inventory)));
  const reports = await Promise.all(groups.map((group) => reportOf(group, inventory).catch(() => NOTHING)));
  return {
    lines: reports.flatMap(({ lines }) => lines),
    warnings: reports.flatMap(({ warnings }) => warnings),
  };
}

const NOTHING: StorageReport = { lines: [], warnings: [] };

async function groupsOf(things: readonly StoredThing[]): Promise<readonly Group[]> {
  const groups = new Map<number, Group>();
  for (const thing of things) {
    const place = await placeOf(thing.path);
    if (place === undefined || !place.holdsIt) continue;
    const group = groups.get(place.device) ?? { mountPoint: place.mountPoint, things: [] };
    group.things.push(thing);
    groups.set(place.device, group);
  }
  return [...groups.values()];
}

/** The state folder may not have been made yet: then it will be where the nearest folder above it is. */
async function placeOf(path: string): Promise<FilesystemPlace | undefined> {
  try {
    return await filesystemOf(path);
  } catch {
    return dirname(path) === path ? undefined : placeOf(dirname(path));
  }
}

async function reportOf({ mountPoint, things }: Group, { server }: Inventory): Promise<StorageReport> {
  const space = await spaceOf(mountPoint);
  const room = spaceText(space);
  const growth = await growthOf(things);
  const line = `${mountPoint}: ${room}; for ${things.map(({ name }) => name).join(', ')}`;
  const note = `${mountPoint}: images there can grow by ${bytesText(growth)} in all, which is more than is free`;
  const low = isLow(space, false) ? [`${mountPoint}: only ${room}`] : [];
  const late =
    server.onFull === 'wait' && (await findsFullLate(mountPoint)) ? [`${mountPoint}: ${FINDS_FULL_LATE}`] : [];
  return { lines: growth > space.freeBytes ? [line, note] : [line], warnings: [...low, ...late] };
}

/** What sparse images have not taken yet. */
async function growthOf(things: readonly StoredThing[]): Promise<number> {
  const images = things.filter(({ board }) => board !== undefined);
  const growths = await Promise.all(
    images.map(async ({ path }) => {
      const allocation = await allocationOf(path).catch(() => undefined);
      return allocation === undefined ? 0 : Math.max(0, allocation.sizeBytes - allocation.allocatedBytes);
    }),
  );
  return growths.reduce((sum, growth) => sum + growth, 0);
}
