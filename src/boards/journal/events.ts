import type { BootFileRole } from '../boot-files/boot-file.js';

/**
 * What happens to boards, told once by the server it happened in. Journal, log, metrics and the status page are all drawn
 * from these; none of them asks the servers. `board` is its name in the inventory; undefined for a peer that is not in it.
 */
export type BoardEvent = { readonly board: string | undefined } & (
  | DiscoverSeen
  | AddressRequested
  | BootFileRequested
  | TransferEnded
  | DiskAttached
  | DiskDetached
  | DiskRefused
  | SpaceAwaited
  | SpaceAwaitOver
  | DiskFailed
  | DiskReopened
);

/** A PXE DISCOVER of a Pi: the first thing a booting board says. */
export interface DiscoverSeen {
  readonly kind: 'discover';
  readonly mac: string;
  /** Undefined where the board did not say it (boot ROM of a Pi 3, a PC). */
  readonly serial: string | undefined;
  /** "Pi 4 Model B, 8 GB" as far as it could be decoded. */
  readonly model: string | undefined;
  /** Interface it came in on. */
  readonly interfaceName: string;
  /** `offered`, or why we stayed silent, in the words of the DHCP verdict. */
  readonly answer: string;
}

/** The REQUEST that a board broadcasts to the router: tells which address is whose (option 50). */
export interface AddressRequested {
  readonly kind: 'addressRequested';
  readonly mac: string;
  readonly address: string;
}

/** An RRQ that led to a file of this board. */
export interface BootFileRequested {
  readonly kind: 'bootFileRequested';
  readonly peer: string;
  readonly path: string;
}

/** Outcomes as `brambleboot_tftp_transfers_total` counts them. */
export type TransferOutcome = 'complete' | 'probe' | 'not_found' | 'timeout' | 'error';

export interface TransferEnded {
  readonly kind: 'transferEnded';
  readonly peer: string;
  readonly path: string;
  /** Undefined where there is no such file. */
  readonly role: BootFileRole | undefined;
  readonly outcome: TransferOutcome;
  /** Of the file as served; undefined where there is none. */
  readonly sizeBytes: number | undefined;
  readonly sentBytes: number;
  readonly durationMs: number;
  /** Why it failed, for `timeout` and `error`. */
  readonly because?: string;
}

/** The board's disk is in use by a peer from here on (first connection of an address that took the writer lock). */
export interface DiskAttached {
  readonly kind: 'attached';
  /** An address, or a process of this host (`isUnixPeer`). */
  readonly peer: string;
}

/** The last connection of that peer is gone. */
export interface DiskDetached {
  readonly kind: 'detached';
  readonly peer: string;
  /** "disconnected" (NBD_CMD_DISC), "connection lost", "stopped answering", … */
  readonly because: string;
}

/** Somebody asked for the disk and did not get it. */
export interface DiskRefused {
  readonly kind: 'refused';
  readonly peer: string;
  readonly exportName: string;
  readonly reason: RefusalReason;
  /** The same in words. */
  readonly because: string;
}

/** As `brambleboot_nbd_refusals_total` counts them: no board of that name, in use, not for that address, with or without TLS, not in that name, not to be had by anybody. */
export type RefusalReason = 'unknown' | 'in_use' | 'address' | 'tls' | 'identity' | 'unusable';

/** The filesystem under the board's disk is full: writes wait for space, unanswered. */
export interface SpaceAwaited {
  readonly kind: 'spaceAwaited';
}

/** None of its writes waits any more. */
export interface SpaceAwaitOver {
  readonly kind: 'spaceAwaitOver';
  /** `givenUp`: the connection that they came by is gone, and they were not done. */
  readonly because: 'done' | 'givenUp';
  readonly waitedMs: number;
}

/** A flush of its disk failed: data that was answered may be lost, and every later flush fails. */
export interface DiskFailed {
  readonly kind: 'diskFailed';
}

/** An operator had its disk taken up again. */
export interface DiskReopened {
  readonly kind: 'diskReopened';
}

/** Where servers put their events. Must not throw and must not wait. */
export type TellBoardEvent = (event: BoardEvent) => void;
