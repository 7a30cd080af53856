import type { Ipv4Address } from '../../base/addresses.js';
import { Budget } from '../../base/budget.js';
import type { Clock } from '../../base/clock.js';
import {
  BOOT_FILE_RUNS_REMEMBERED_MAX,
  BOOT_FILES_KEPT_BYTES_MAX,
  BOOT_FILES_SAVED_BYTES_MAX,
} from '../../base/limits.js';
import { Allowance } from '../../block/allowance.js';
import { Disks } from '../../block/disks.js';
import type { Medium } from '../../block/flush-queue.js';
import { SpaceQueue } from '../../block/space-queue.js';
import type { WatchedDevice } from '../../block/watched-device.js';
import type { BoardEntry, ImageEntry, Inventory } from '../../inventory/inventory.js';
import { findsFullLate } from '../../os/filesystem.js';
import type { Board } from '../board.js';
import type { BootFiles } from '../boot-files/boot-file.js';
import type { BootMemory, BootPartition } from '../boot-files/boot-partition.js';
import { type BootFilesOptions, ImageBootFiles } from '../boot-files/image-boot-files.js';
import type { ImageLayout } from '../boot-files/image-layout.js';
import { OpenFiles } from '../boot-files/open-files.js';
import { PieceStore } from '../boot-files/piece-store.js';
import { allocatedUnder, disksFolder } from '../disks/disk-folder.js';
import type { OwnDisk } from '../disks/own-disk.js';
import { twinIdentity } from '../identity/twin.js';
import { addressLock } from '../writer-lock/address-lock.js';
import type { WriterLock } from '../writer-lock/writer-lock.js';

export interface OpeningOptions {
  /** What a board is told to ask for its disk, given the address of ours that it asked for files. */
  readonly serverAddress: (askedAt: Ipv4Address) => Ipv4Address;
  readonly clock: Clock;
}

/** What all boards that are opened have in common. */
export class Opening {
  readonly inventory: Inventory;
  readonly options: OpeningOptions;
  serverAddress: OpeningOptions['serverAddress'];
  readonly disks = new Disks();
  /** A folder for each board that has a disk of its own. */
  readonly disksPath: string;
  readonly memory: BootMemory = {
    kept: new PieceStore(BOOT_FILES_KEPT_BYTES_MAX),
    saved: new PieceStore(BOOT_FILES_SAVED_BYTES_MAX),
    remembered: new Budget(BOOT_FILE_RUNS_REMEMBERED_MAX),
  };

  /** For what all boards that have a disk of their own write. */
  readonly allowance: Allowance | undefined;

  /** `inventory`: that of the start. Of its settings only those count here that no reload changes, and `server.state_limit`. */
  constructor(inventory: Inventory, options: OpeningOptions) {
    this.inventory = inventory;
    this.options = options;
    this.serverAddress = options.serverAddress;
    this.disksPath = disksFolder(inventory.server.state);
    const { stateLimitBytes } = inventory.server;
    this.allowance =
      stateLimitBytes === undefined
        ? undefined
        : new Allowance(stateLimitBytes, () => allocatedUnder(this.disksPath), options.clock);
  }

  bootFiles(partition: BootPartition, entry: BoardEntry): BootFiles {
    const { inventory } = this;
    const { cmdline, name: exportName } = entry;
    const settings: BootFilesOptions = {
      ...{ cmdline, exportName, twin: twinIdentity(entry), nbdPort: inventory.nbd.port },
      serverAddress: (askedAt) => this.serverAddress(askedAt),
    };
    return new ImageBootFiles(partition, settings);
  }

  /** Whether changes of what lies there wait where it is full; and a warning, where they should and can't. */
  async waitsForSpace(path: string): Promise<{ readonly waits: boolean; readonly warnings: readonly string[] }> {
    if (this.inventory.server.onFull === 'error') return { waits: false, warnings: [] };
    const late = await findsFullLate(path);
    return { waits: !late, warnings: late ? [FINDS_FULL_LATE] : [] };
  }

  /** What a board keeps, whatever the inventory makes of it, for as long as its disk is open. `waits`: its changes do, where the filesystem is full. */
  lasting(disk: BoardDiskParts, waits: boolean): LastingParts {
    const { clock } = this.options;
    const space = waits ? new SpaceQueue(clock) : undefined;
    return { ...disk, space, writerLock: addressLock(clock), openFiles: new OpenFiles() };
  }

  board(entry: BoardEntry, { openFiles, ...lasting }: LastingParts, bootFiles: BootFiles): Board {
    const { name, serial, mac, image, allow, tls } = entry;
    return {
      ...{ name, serial, mac, ...lasting },
      bootFiles: openFiles.counted(bootFiles),
      description: `Disk of ${name}, image ${image}`,
      access: { allow, tls },
    };
  }
}

export interface BoardDiskParts {
  readonly disk: WatchedDevice;
  readonly medium: Medium;
  readonly own: OwnDisk | undefined;
}

export interface LastingParts extends BoardDiskParts {
  readonly space: SpaceQueue | undefined;
  readonly writerLock: WriterLock;
  readonly openFiles: OpenFiles;
}

export interface OpenBoard {
  readonly board: Board;
  readonly entry: BoardEntry;
  /** As it was when the disk was opened. */
  readonly image: ImageEntry;
  /** Of the file that was opened then (`fileIdentity`). */
  readonly identity: string | undefined;
  readonly openFiles: OpenFiles;
  readonly warnings: readonly ImageWarning[];
  /** The same disk, for a board of another serial, other kernel arguments, another `allow`: who uses it now goes on. */
  amended(entry: BoardEntry): OpenBoard;
  /** Nobody may use it any more. Its disk was flushed before. */
  close(): Promise<void>;
}

export interface ImageWarning {
  readonly image: string;
  readonly because: string;
}

/** On NFS a full server makes write(2) fail for what was answered long before: to hold the write that was told would hide that. */
export const FINDS_FULL_LATE =
  'it is NFS, which says that it is full only after writes were answered: they fail then, whatever `server.on_full` says';

export function layoutWarnings({ name }: ImageEntry, layout: ImageLayout): readonly ImageWarning[] {
  const rootless =
    layout.rootless === undefined
      ? []
      : [`cmdline.txt is served as it is, there is no root partition: ${layout.rootless}`];
  return [...layout.table.warnings.map((fault) => fault.message), ...rootless].map((because) => ({
    image: name,
    because,
  }));
}
