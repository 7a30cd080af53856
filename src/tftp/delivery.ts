/** One transfer at work: joins the decision (transfer.ts) to a file, a peer and a clock. */
import type { Clock } from '../base/clock.js';
import { unreachable } from '../base/unreachable.js';
import { type BootFile, BootFileLost } from '../boards/boot-files/boot-file.js';
import type { TransferOutcome } from '../boards/journal/events.js';
import { type BlockSource, blockSource } from './block-source.js';
import { DeadlineTimer } from './deadline-timer.js';
import type { Agreement } from './options.js';
import { PacketRow } from './packet-row.js';
import { Transfer, type TransferCommand, type TransferEvent } from './transfer.js';
import { encodeError, encodeOptionAck } from './wire.js';

/** The way to one peer. */
export interface PeerChannel {
  /** As `UdpSocket.send`. */
  send(packet: Uint8Array, length: number): boolean;
  /** The same for several packets that lie one behind the other: each has `packetBytes`, the last one as much as is left of `length`. */
  sendAll(packets: Uint8Array, length: number, packetBytes: number): boolean;
  close(): void;
}

export interface DeliveryEnd {
  readonly outcome: TransferOutcome;
  readonly because: string | undefined;
  /** Of the file, each block counted once. */
  readonly sentBytes: number;
  /** What was thrown, if that was a bug of ours and not the disk's failure. */
  readonly bug: unknown;
}

export interface DeliverySettings {
  readonly file: BootFile;
  readonly mode: string;
  readonly agreement: Agreement;
  readonly channel: PeerChannel;
  readonly clock: Clock;
  /** Once, when file and channel are closed. */
  readonly ended: (end: DeliveryEnd) => void;
}

/** A block that had to be waited for. */
interface FetchedBlock {
  readonly block: number;
  readonly payload: Uint8Array;
}

export class Delivery {
  readonly #file: BootFile;
  readonly #agreement: Agreement;
  readonly #channel: PeerChannel;
  readonly #clock: Clock;
  readonly #ended: (end: DeliveryEnd) => void;
  readonly #source: BlockSource;
  readonly #transfer: Transfer;
  readonly #timer: DeadlineTimer;
  /** The blocks being sent, used again for the next while the kernel takes them at once. */
  #packets: PacketRow;
  #fetched: FetchedBlock | undefined;
  #fetching = false;
  /** The block that the transfer is starved of. */
  #wanted = 0;
  #highestBlock = 0;
  #sentBytes = 0;
  #bug: unknown;
  #over = false;

  constructor(settings: DeliverySettings) {
    this.#file = settings.file;
    this.#agreement = settings.agreement;
    this.#channel = settings.channel;
    this.#clock = settings.clock;
    this.#ended = settings.ended;
    this.#source = blockSource(settings.file, settings.mode, settings.agreement.blockBytes);
    this.#transfer = new Transfer(settings.agreement);
    this.#timer = new DeadlineTimer(settings.clock, () => this.handle({ kind: 'tick' }));
    this.#packets = new PacketRow(settings.agreement);
  }

  get confirmed(): boolean {
    return this.#transfer.confirmed;
  }

  get quietSinceMs(): number {
    return this.#transfer.quietSinceMs;
  }

  /** Nothing that a file does wrong gets past here: it ends this transfer and no other. */
  handle(event: TransferEvent): void {
    try {
      this.#apply(this.#transfer.handle(event, this.#clock.nowMs()));
    } catch (error) {
      this.#apply(this.#transfer.handle(this.#lost(error), this.#clock.nowMs()));
    }
    this.#timer.set(this.#transfer.deadlineMs);
  }

  #apply(commands: readonly TransferCommand[]): void {
    for (const command of commands) {
      switch (command.kind) {
        case 'sendOptionAck':
          this.#send(encodeOptionAck(this.#agreement.acknowledged));
          break;
        case 'hold':
          this.#hold();
          break;
        case 'sendBlocks':
          this.#sendBlocks(command.first, command.last);
          break;
        case 'sendError':
          this.#send(encodeError(command.code, command.message));
          break;
        case 'finish':
          this.#finish(command.outcome, command.because);
          break;
        default:
          unreachable(command);
      }
    }
  }

  /** As many as the row takes go out together: of a window of 64 blocks each would cost a call of the kernel of its own. */
  #sendBlocks(first: number, last: number): void {
    for (let block = first; block <= last; block += 1) {
      if (this.#packets.isFull) this.#sendRow();
      const length = this.#fill(block);
      if (length === undefined) {
        this.#sendRow();
        this.#apply(this.#transfer.handle({ kind: 'starved', block }, this.#clock.nowMs()));
        this.#fetch(block);
        return;
      }
      this.#packets.add(block, length);
      this.#count(block, length);
      if (length < this.#agreement.blockBytes) {
        this.#sendRow();
        this.#apply(this.#transfer.handle({ kind: 'final', block }, this.#clock.nowMs()));
        return;
      }
    }
    this.#sendRow();
  }

  #fill(block: number): number | undefined {
    const fetched = this.#fetched;
    if (fetched?.block !== block) return this.#source.fillNow(block, this.#packets.nextPayload);
    this.#fetched = undefined;
    this.#packets.nextPayload.set(fetched.payload);
    return fetched.payload.length;
  }

  #sendRow(): void {
    const { bytes, lengthBytes, packetBytes, isOne } = this.#packets;
    if (lengthBytes === 0) return;
    const reusable = isOne
      ? this.#channel.send(bytes, lengthBytes)
      : this.#channel.sendAll(bytes, lengthBytes, packetBytes);
    if (reusable) this.#packets.clear();
    else this.#packets = new PacketRow(this.#agreement);
  }

  #count(block: number, length: number): void {
    if (block <= this.#highestBlock) return;
    this.#highestBlock = block;
    this.#sentBytes += length;
  }

  /** One read at a time: if another block is wanted by the time it is done, that one is read next. */
  #fetch(block: number): void {
    this.#wanted = block;
    if (this.#fetching) return;
    this.#fetching = true;
    const target = new Uint8Array(this.#agreement.blockBytes);
    this.#source.fill(block, target).then(
      (length) => {
        this.#fetching = false;
        if (this.#over) return;
        if (this.#wanted !== block) return this.#fetch(this.#wanted);
        this.#fetched = { block, payload: target.subarray(0, length) };
        this.handle({ kind: 'available', block });
      },
      (error: unknown) => this.handle(this.#lost(error)),
    );
  }

  #hold(): void {
    this.#file.hold().then(
      (answer) => this.handle({ kind: answer }),
      (error: unknown) => this.handle(this.#lost(error)),
    );
  }

  #lost(error: unknown): TransferEvent {
    if (error instanceof BootFileLost) return { kind: 'lost', because: error.message };
    this.#bug = error;
    return { kind: 'lost', because: 'internal error' };
  }

  #finish(outcome: TransferOutcome, because: string | undefined): void {
    this.#over = true;
    this.#timer.cancel();
    this.#fetched = undefined;
    this.#file.close();
    this.#channel.close();
    this.#ended({ outcome, because, sentBytes: this.#sentBytes, bug: this.#bug });
  }

  #send(packet: Uint8Array): void {
    this.#channel.send(packet, packet.length);
  }
}
