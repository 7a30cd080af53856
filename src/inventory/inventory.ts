import { join } from 'node:path';
import type { Ipv4Address, MacAddress } from '../base/addresses.js';
import type { Serial } from '../base/serial.js';
import type { Subnet } from '../base/subnets.js';

/**
 * What the YAML file says, checked, with every default filled in. Plain values, so that two inventories can be compared;
 * where each one stands in the file is known to the `InventorySource` that comes with it.
 */
export interface Inventory {
  readonly server: ServerSettings;
  readonly dhcp: DhcpSettings;
  readonly tftp: TftpSettings;
  readonly nbd: NbdSettings;
  readonly http: HttpSettings;
  /** By name, in the order of the file; also those that no board uses. */
  readonly images: ReadonlyMap<string, ImageEntry>;
  /** By name, in the order of the file. Each one's `image` is in `images`. */
  readonly boards: ReadonlyMap<string, BoardEntry>;
}

export interface ServerSettings {
  /** Undefined: every interface that looks like a LAN. */
  readonly interfaces: readonly string[] | undefined;
  readonly address: ServerAddress;
  /** Absolute path of the folder for everything that has to outlive us. */
  readonly state: string;
  /** Who is answered besides this machine and the subnets of the served interfaces; no network twice. */
  readonly allow: readonly Subnet[];
  /** What becomes of writes that meet a full filesystem: held until there is space, or failed. */
  readonly onFull: 'wait' | 'error';
  /** What disks and snapshots in the state folder may take together; undefined: whatever is free. */
  readonly stateLimitBytes: number | undefined;
  /** How old what the process before us has left of its connections may be. */
  readonly handoverLimitMs: number;
  /** Reloads by itself when the file has changed. */
  readonly watch: boolean;
}

/** What boards are told to ask. */
export type ServerAddress =
  /** The primary address of the interface that the request came in on. */
  | { readonly kind: 'primary' }
  | { readonly kind: 'one'; readonly address: Ipv4Address }
  /** An interface that is not in it has its primary address. */
  | { readonly kind: 'byInterface'; readonly addresses: ReadonlyMap<string, Ipv4Address> };

export interface DhcpSettings {
  readonly enabled: boolean;
  readonly port: number;
  /** Where answers go: the client's port. */
  readonly replyPort: number;
  /** `any` offers to every Pi, so that the requests of one that is not listed can be seen; it gets no file and no disk. */
  readonly answer: 'known' | 'any';
}

export interface TftpSettings {
  readonly enabled: boolean;
  readonly port: number;
  readonly blockSizeMax: number;
  readonly windowSizeMax: number;
  readonly singlePort: boolean;
}

export interface NbdSettings {
  readonly enabled: boolean;
  readonly port: number;
  /** Absolute path of a Unix socket to listen on besides; parsing has checked that it is not too long for one. */
  readonly socket: string | undefined;
  readonly tls: TlsSettings;
}

export interface TlsSettings {
  readonly mode: TlsMode;
  /** Absolute paths; parsing has checked that they make sense together. */
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly clientCa: string | undefined;
  readonly psk: string | undefined;
}

export type TlsMode = 'off' | 'allowed' | 'required';

export interface HttpSettings {
  readonly enabled: boolean;
  /** IPv4 or IPv6 address to listen on. */
  readonly address: string;
  readonly port: number;
}

export interface ImageEntry {
  readonly name: string;
  /** Absolute path of a regular file or a block device. */
  readonly file: string;
  readonly bootPartition: PartitionChoice;
  readonly rootPartition: PartitionChoice;
}

/** `auto`, or the number that Linux gives the partition: 1 for sda1. */
export type PartitionChoice = 'auto' | number;

export interface BoardEntry {
  readonly name: string;
  readonly serial: Serial;
  /** Only what the file says; for a Pi 1 to 3 without it, `macOfPi1To3` (boards/identity/pi-identity.ts) follows from the serial. */
  readonly mac: MacAddress | undefined;
  /** Name of an image. */
  readonly image: string;
  readonly disk: DiskKind;
  /** Of its disk: whole sectors of 512. Undefined: as large as the image, which every direct disk is. */
  readonly sizeBytes: number | undefined;
  /** Who may use its disk, of those that the server answers; undefined: all of them. Never empty. */
  readonly allow: readonly Subnet[] | undefined;
  /** That of `nbd.tls` where the board says nothing. */
  readonly tls: TlsMode;
  readonly cmdline: CmdlineChoice;
}

/**
 * `direct`: the board writes to the image file itself, and is the only one on it. `overlay`: its writes are kept in the state
 * folder, over an image that others may use too. `volatile`: the same, thrown away when it boots anew.
 */
export type DiskKind = 'direct' | 'overlay' | 'volatile';

/** `auto`: the arguments that boot from us are put in; `as-is`: the file of the image; else as `auto`, with these changes. */
export type CmdlineChoice = 'auto' | 'as-is' | CmdlineChanges;

export interface CmdlineChanges {
  /** Kernel arguments to put at the end; may be empty. */
  readonly append: string;
  /** Kernel arguments to leave out: `quiet`, or `console=serial0,115200`. */
  readonly remove: readonly string[];
}

/** Where the command line finds the running server. Parsing has checked that it is not too long for a socket. */
export function controlSocketPath(stateFolder: string): string {
  return join(stateFolder, 'control.sock');
}
