import type { Ipv4Address } from '../base/addresses.js';
import type { BootFile } from '../boards/boot-files/boot-file.js';
import type { DeliveryEnd } from './delivery.js';
import type { Agreement } from './options.js';
import type { TransferEvent } from './transfer.js';
import type { Endpoint } from './udp-socket.js';

/** Whoever brings files to peers: the courier's thread, each from a port of its own, or this one, by the main port. */
export interface Carrier {
  /** Begins at once. The file is the carrier's, who closes it. */
  deliver(job: CarrierJob): RunningDelivery;
}

export interface CarrierJob {
  readonly file: BootFile;
  readonly mode: string;
  readonly agreement: Agreement;
  /** Our address that was asked. */
  readonly from: Ipv4Address;
  readonly to: Endpoint;
  /** Whether a stranger with this address may be told that the port is not for it. */
  readonly answers: (stranger: Ipv4Address) => boolean;
  /** Once, when file and port are closed; may be before `deliver` has answered. */
  readonly ended: (end: DeliveryEnd) => void;
  /** Instead of `ended`: nothing could be sent. */
  readonly noPort: (because: string) => void;
}

/** What is known of a delivery from outside. */
export interface RunningDelivery {
  /** True once the peer has acknowledged anything at all. */
  readonly confirmed: boolean;
  /** Since when nothing new has come from the peer, in the clock's time. */
  readonly quietSinceMs: number;
  handle(event: TransferEvent): void;
}
