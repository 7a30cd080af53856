/** What the two threads say to each other. Transfers are named by a number that is never used again. */
import type { Ipv4Address } from '../../base/addresses.js';
import type { FilePiece } from '../../boards/boot-files/boot-file.js';
import type { DeliveryEnd } from '../delivery.js';
import type { Agreement } from '../options.js';
import type { TransferEvent } from '../transfer.js';
import type { Endpoint } from '../udp-socket.js';

export type ToCourier =
  | ({ readonly kind: 'deliver'; readonly id: number } & Parcel)
  /** For the transfer's decision. */
  | { readonly kind: 'event'; readonly id: number; readonly event: TransferEvent }
  /** The answer to `hold`; what is in memory by then has come as `pieces` before it. */
  | { readonly kind: 'held'; readonly id: number; readonly answer: 'held' | 'changed' }
  | { readonly kind: 'pieces'; readonly id: number; readonly pieces: readonly FilePiece[] }
  /** The answer to `want`. */
  | { readonly kind: 'bytes'; readonly id: number; readonly bytes: Uint8Array }
  /** The other answer to `hold` and `want`. */
  | { readonly kind: 'lost'; readonly id: number; readonly because: string }
  /** The answer to `stranger`, where it gets one. */
  | { readonly kind: 'turnAway'; readonly id: number; readonly stranger: Endpoint }
  | { readonly kind: 'stop' };

export type FromCourier =
  /** No port could be had for it: nothing was sent. */
  | { readonly kind: 'noPort'; readonly id: number; readonly because: string }
  | { readonly kind: 'hold'; readonly id: number }
  | { readonly kind: 'want'; readonly id: number; readonly offset: number; readonly lengthBytes: number }
  /** As `BootFile.progress`: pieces in front of `from` are not looked at any more. */
  | { readonly kind: 'progress'; readonly id: number; readonly from: number; readonly at: number }
  /** Somebody else than the peer spoke to the transfer's port. */
  | { readonly kind: 'stranger'; readonly id: number; readonly stranger: Endpoint }
  | { readonly kind: 'ended'; readonly id: number; readonly end: DeliveryEnd };

/** One transfer, without the file's bytes. */
export interface Parcel {
  /** Our address that was asked: what the transfer's own port is bound to. */
  readonly from: Ipv4Address;
  readonly to: Endpoint;
  readonly mode: string;
  readonly agreement: Agreement;
  readonly sizeBytes: number;
  /** Where the courier's thread writes how far it is; SIGNS_BYTES long. */
  readonly signs: SharedArrayBuffer;
}

/** Of a running transfer, for the other thread to look at: two float64, 0 or 1 for `confirmed`, and `quietSinceMs`. */
export const SIGNS_BYTES = 16;
export const Sign = { Confirmed: 0, QuietSinceMs: 1 } as const;

/** What the thread is given at its start. */
export interface CourierBeginning {
  /** Rings for each message. */
  readonly wakeUpDescriptor: number;
}
