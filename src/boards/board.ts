import type { MacAddress } from '../base/addresses.js';
import type { Serial } from '../base/serial.js';
import type { Subnet } from '../base/subnets.js';
import type { Medium } from '../block/flush-queue.js';
import type { SpaceQueue } from '../block/space-queue.js';
import type { WatchedDevice } from '../block/watched-device.js';
import type { BootFiles } from './boot-files/boot-file.js';
import type { OwnDisk } from './disks/own-disk.js';
import type { WriterLock } from './writer-lock/writer-lock.js';

/** One board of the inventory with all that is its own. Every protocol comes to its bytes through here and nowhere else. */
export interface Board {
  /** Also its export's name, its label in metrics and a kernel argument: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`. */
  readonly name: string;
  readonly serial: Serial;
  readonly mac: MacAddress | undefined;
  /** For people who look at a list of disks: whose it is, and of which image. */
  readonly description: string;
  /** What NBD serves: the one device that TFTP reads from too. */
  readonly disk: WatchedDevice;
  /** Where its changes wait while the filesystem under the disk is full; undefined: they fail (`server.on_full: error`). */
  readonly space: SpaceQueue | undefined;
  /** What its disk lies on, as far as it can fail for good. */
  readonly medium: Medium | undefined;
  /** Its own disk over an image that others lie over too; undefined: its disk is the image. */
  readonly own: OwnDisk | undefined;
  readonly bootFiles: BootFiles;
  readonly writerLock: WriterLock;
  readonly access: DiskAccess;
}

/** Who may use a disk, of those that the server answers at all. */
export interface DiskAccess {
  /** By address; undefined: all. Not asked of who comes by a Unix socket. */
  readonly allow: readonly Subnet[] | undefined;
  /** `off`: in the clear only. */
  readonly tls: TlsMode;
}

export type TlsMode = 'off' | 'allowed' | 'required';
