import type { Ipv4Address } from '../base/addresses.js';
import { Budget } from '../base/budget.js';
import type { Clock } from '../base/clock.js';
import {
  BOOT_FILE_RUNS_REMEMBERED_MAX,
  BOOT_FILES_KEPT_BYTES_MAX,
  BOOT_FILES_SAVED_BYTES_MAX,
} from '../base/limits.js';
import type { BlockDevice } from '../block/block-device.js';
import { BlockError } from '../block/block-error.js';
import { Disks } from '../block/disks.js';
import { openFileDevice } from '../block/file-device.js';
import type { Medium } from '../block/flush-queue.js';
import { SpaceQueue } from '../block/space-queue.js';
import { watched } from '../block/watched-device.js';
import type { Fault } from '../inventory/fault.js';
import type { BoardEntry, ImageEntry, Inventory } from '../inventory/inventory.js';
import type { InventorySource } from '../inventory/source.js';
import { findsFullLate } from '../os/filesystem.js';
import type { Board } from './board.js';
import { type BootMemory, BootPartition } from './boot-files/boot-partition.js';
import { ImageBootFiles } from './boot-files/image-boot-files.js';
import { type ImageLayout, locateBoot, readLayout } from './boot-files/image-layout.js';
import { PieceStore } from './boot-files/piece-store.js';
import { twinIdentity } from './identity/twin.js';
import { addressLock } from './writer-lock/address-lock.js';

export interface OpenBoards {
  readonly all: readonly Board[];
  /** What is wrong with an image but can be lived with. */
  readonly warnings: readonly ImageWarning[];
  /** Flushes and closes every disk; nobody may use one any more. Answers which of them could not be flushed. */
  close(): Promise<readonly ImageWarning[]>;
}

export interface ImageWarning {
  readonly image: string;
  readonly because: string;
}

export interface OpenBoardsOptions {
  /** What a board is told to ask for its disk, given the address of ours that it asked for files. */
  readonly serverAddress: (askedAt: Ipv4Address) => Ipv4Address;
  readonly clock: Clock;
}

export type OpenBoardsVerdict =
  | { readonly answer: 'open'; readonly boards: OpenBoards }
  /** All of them; then nothing is open. */
  | { readonly answer: 'faults'; readonly faults: readonly Fault[] };

/** On NFS a full server makes write(2) fail for what was answered long before: to hold the write that was told would hide that. */
export const FINDS_FULL_LATE =
  'it is NFS, which says that it is full only after writes were answered: they fail then, whatever `server.on_full` says';

/** Opens the disk of every board, each under its lock, and looks whether it can be booted from. */
export async function openBoards(
  inventory: Inventory,
  source: InventorySource,
  options: OpenBoardsOptions,
): Promise<OpenBoardsVerdict> {
  const memory: BootMemory = {
    kept: new PieceStore(BOOT_FILES_KEPT_BYTES_MAX),
    saved: new PieceStore(BOOT_FILES_SAVED_BYTES_MAX),
    remembered: new Budget(BOOT_FILE_RUNS_REMEMBERED_MAX),
  };
  const disks = new Disks();
  const opened: OpenBoard[] = [];
  const faults: Fault[] = [];
  for (const entry of inventory.boards.values()) {
    const image = inventory.images.get(entry.image);
    if (image === undefined) continue; // a fault that parsing has told
    if (entry.disk !== 'direct') {
      faults.push(source.faultAt(['boards', entry.name, 'disk'], NOT_BUILT));
      continue;
    }
    const { nbd, server } = inventory;
    const result = await openBoard({ entry, image, nbdPort: nbd.port, onFull: server.onFull, memory, disks, options });
    if ('problem' in result) faults.push(source.faultAt(['images', image.name, 'file'], result));
    else opened.push(result);
  }
  if (faults.length > 0) {
    await closeAll(opened);
    return { answer: 'faults', faults };
  }
  const warnings = opened.flatMap(({ warnings }) => warnings);
  return { answer: 'open', boards: { all: opened.map(({ board }) => board), warnings, close: () => closeAll(opened) } };
}

/** Not to be landed: the disks themselves come from elsewhere. */
const NOT_BUILT = { problem: 'this kind of disk is not built yet', remedy: 'write `disk: direct`' };

interface OpenBoard {
  readonly board: Board;
  readonly image: string;
  readonly partition: BootPartition;
  readonly warnings: readonly ImageWarning[];
}

interface Opening {
  readonly entry: BoardEntry;
  readonly image: ImageEntry;
  readonly nbdPort: number;
  readonly onFull: 'wait' | 'error';
  readonly memory: BootMemory;
  readonly disks: Disks;
  readonly options: OpenBoardsOptions;
}

async function openBoard(opening: Opening): Promise<OpenBoard | { readonly problem: string; readonly remedy: string }> {
  const { image } = opening;
  let device: (BlockDevice & Medium) | undefined;
  try {
    device = await openFileDevice(image.file, { access: 'readWrite', lock: 'exclusive', disks: opening.disks });
    const verdict = await readLayout(device, image);
    if (verdict.answer === 'layout') {
      const findsLate = opening.onFull === 'wait' && (await findsFullLate(image.file));
      const warnings = [
        ...imageWarnings(image, verdict.layout),
        ...(findsLate ? [{ image: image.name, because: FINDS_FULL_LATE }] : []),
      ];
      const open = boardOf(opening, device, { warnings, waitsForSpace: opening.onFull === 'wait' && !findsLate });
      // Whoever writes elsewhere need not tell from now on. A damaged one is told about when it is asked for.
      await open.partition.look(async () => {}).catch(() => {});
      return open;
    }
    await device.close();
    return { problem: `${image.file} can't be booted from: ${verdict.because}`, remedy: verdict.remedy };
  } catch (error) {
    await device?.close();
    if (error instanceof BlockError) return { problem: error.message, remedy: remedyFor(error) };
    throw error;
  }
}

function boardOf(
  { entry, image, nbdPort, memory, options }: Opening,
  device: BlockDevice & Medium,
  { warnings, waitsForSpace }: { readonly warnings: readonly ImageWarning[]; readonly waitsForSpace: boolean },
): OpenBoard {
  const disk = watched(device);
  const partition = new BootPartition(disk, () => locateBoot(disk, image), memory);
  const { serverAddress, clock } = options;
  const bootFiles = new ImageBootFiles(partition, {
    cmdline: entry.cmdline,
    exportName: entry.name,
    twin: twinIdentity(entry),
    nbdPort,
    serverAddress,
  });
  const { name, serial, mac } = entry;
  const space = waitsForSpace ? new SpaceQueue(clock) : undefined;
  return {
    board: {
      name,
      serial,
      mac,
      description: `Disk of ${name}, image ${image.name}`,
      disk,
      space,
      medium: device,
      bootFiles,
      writerLock: addressLock(clock),
      access: { allow: entry.allow, tls: entry.tls },
    },
    image: image.name,
    partition,
    warnings,
  };
}

function imageWarnings(image: ImageEntry, layout: ImageLayout): ImageWarning[] {
  const rootless =
    layout.rootless === undefined
      ? []
      : [`cmdline.txt is served as it is, there is no root partition: ${layout.rootless}`];
  return [...layout.table.warnings.map((fault) => fault.message), ...rootless].map((because) => ({
    image: image.name,
    because,
  }));
}

async function closeAll(opened: readonly OpenBoard[]): Promise<readonly ImageWarning[]> {
  const failures: ImageWarning[] = [];
  for (const { board, image, partition } of opened) {
    partition.close();
    // A board that was switched off has not asked for its last writes to be flushed: they were answered, and should outlive the host.
    await board.disk.flush().catch((error: unknown) => failures.push({ image, because: String(error) }));
    await board.disk.close();
  }
  return failures;
}

function remedyFor(error: BlockError): string {
  switch (error.code) {
    case 'EBUSY':
      return 'stop that program: a disk that two write to is lost';
    case 'ENOENT':
      return 'correct the path; it is relative to the inventory';
    case 'EACCES':
    case 'EPERM':
      return 'make the file readable and writable for the user that the server runs as';
    case 'EROFS':
      return 'the filesystem is mounted read-only: a direct disk is written to';
    default:
      return "see the host's kernel log (dmesg) for the disk under it";
  }
}
