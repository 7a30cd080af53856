import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { systemUptimeMs } from '../../base/clock.js';
import { TFTP_COURIER_WAIT_MS_MAX, TFTP_PEER_PACKET_BYTES_MAX, TFTP_PEER_PACKETS_PER_TURN } from '../../base/limits.js';
import { unlessMalformed } from '../../base/malformed.js';
import { unreachable } from '../../base/unreachable.js';
import { EventPoll, WakeUp } from '../../os/event-poll.js';
import { SystemCallError } from '../../os/libc.js';
import { Delivery, type DeliveryEnd } from '../delivery.js';
import type { Endpoint } from '../udp-socket.js';
import { decodePacket } from '../wire.js';
import { BlockPort } from './block-port.js';
import { LoopClock } from './loop-clock.js';
import { type CourierBeginning, type FromCourier, type Parcel, Sign, type ToCourier } from './messages.js';
import { SuppliedFile } from './supplied-file.js';

/** The loop of the courier's thread: waits for ACKs, for messages of the other thread and for time to go by, and for nothing else. */
export class CourierLoop {
  readonly #messages: MessagePort;
  readonly #wakeUp: WakeUp;
  readonly #clock = new LoopClock(systemUptimeMs);
  readonly #poll = new EventPoll();
  readonly #buffer = new Uint8Array(TFTP_PEER_PACKET_BYTES_MAX);
  readonly #byId = new Map<number, Carried>();
  readonly #byDescriptor = new Map<number, Listening>();
  readonly #answered = new Set<Carried>();
  #heardMessages = false;
  #stopped = false;

  constructor(messages: MessagePort, { wakeUpDescriptor }: CourierBeginning) {
    this.#messages = messages;
    this.#wakeUp = new WakeUp(wakeUpDescriptor);
  }

  /** Until the other thread says stop. */
  async run(): Promise<void> {
    this.#poll.add(this.#wakeUp.descriptor);
    try {
      await this.#turnUntilStopped();
    } finally {
      // Whatever ends the thread: what libc has opened, no collector closes.
      for (const carried of this.#byId.values()) carried.port.close();
      this.#poll.close();
    }
  }

  async #turnUntilStopped(): Promise<void> {
    while (!this.#stopped) {
      const count = this.#poll.wait(this.#clock.waitMs(TFTP_COURIER_WAIT_MS_MAX));
      this.#clock.look();
      for (let index = 0; index < count; index += 1) this.#ready(this.#poll.ready(index));
      this.#takeWhatIsLeft(count);
      this.#clock.ringDue();
      if (this.#heardMessages) await this.#letPromisesGoOn();
    }
  }

  /**
   * Who was answered in lock-step has mostly nothing more to say; an ERROR right behind an ACK would lie unread. So they are looked
   * at once more: all of them when there is little to do, else one a turn.
   */
  #takeWhatIsLeft(readyCount: number): void {
    for (const carried of this.#answered) {
      this.#answered.delete(carried);
      carried.takeRest(this.#buffer);
      if (readyCount > FEW_READY) return;
    }
  }

  /** Node's own loop does not turn while this one does. Only messages fulfil promises, and they are few. */
  async #letPromisesGoOn(): Promise<void> {
    this.#heardMessages = false;
    await turnOfTheLoop();
  }

  #ready(descriptor: number): void {
    if (descriptor === this.#wakeUp.descriptor) this.#hearMessages();
    else this.#byDescriptor.get(descriptor)?.readable(this.#buffer);
  }

  #hearMessages(): void {
    this.#heardMessages = true;
    this.#wakeUp.silence();
    for (;;) {
      const next = receiveMessageOnPort(this.#messages);
      if (next === undefined) return;
      const message: ToCourier = next.message;
      this.#heard(message);
    }
  }

  #heard(message: ToCourier): void {
    switch (message.kind) {
      case 'deliver':
        this.#deliver(message.id, message);
        break;
      case 'event':
        this.#byId.get(message.id)?.delivery.handle(message.event);
        break;
      case 'held':
        this.#byId.get(message.id)?.file.held(message.answer);
        break;
      case 'pieces':
        this.#byId.get(message.id)?.file.came(message.pieces);
        break;
      case 'bytes':
        this.#byId.get(message.id)?.file.filled(message.bytes);
        break;
      case 'lost':
        this.#byId.get(message.id)?.file.lost(message.because);
        break;
      case 'turnAway':
        this.#byId.get(message.id)?.port.turnAway(message.stranger);
        break;
      case 'stop':
        this.#stopped = true;
        break;
      default:
        unreachable(message);
    }
  }

  #deliver(id: number, parcel: Parcel): void {
    const port = this.#openPort(id, parcel);
    if (port === undefined) return;
    const file = new SuppliedFile(id, parcel.sizeBytes, (message) => this.#say(message));
    const ended = (end: DeliveryEnd) => {
      this.#byId.delete(id);
      this.#say({ kind: 'ended', id, end });
    };
    const carried = new Carried(port, file, parcel, {
      clock: this.#clock,
      poll: this.#poll,
      ended,
      answered: this.#answered,
    });
    this.#byId.set(id, carried);
    const strangers = { readable: (buffer: Uint8Array) => this.#strangerSpoke(id, port.receiveStranger(buffer)) };
    this.#byDescriptor.set(port.descriptor, carried).set(port.strangersDescriptor, strangers);
    carried.delivery.handle({ kind: 'begin' });
  }

  #openPort(id: number, { from, to }: Parcel): BlockPort | undefined {
    let port: BlockPort | undefined;
    try {
      port = new BlockPort(from, to, (descriptors) => {
        for (const descriptor of descriptors) this.#byDescriptor.delete(descriptor);
      });
      this.#poll.addEdge(port.descriptor);
      this.#poll.add(port.strangersDescriptor);
      return port;
    } catch (error) {
      port?.close();
      if (!(error instanceof SystemCallError)) throw error;
      this.#say({ kind: 'noPort', id, because: error.message });
      return undefined;
    }
  }

  /** Who may be answered at all is known to the other thread. */
  #strangerSpoke(id: number, stranger: Endpoint | undefined): void {
    if (stranger !== undefined) this.#say({ kind: 'stranger', id, stranger });
  }

  #say(message: FromCourier): void {
    this.#messages.postMessage(message);
  }
}

interface Listening {
  /** There is something to be received; `buffer` is for it. */
  readable(buffer: Uint8Array): void;
}

interface CarriedTies {
  readonly clock: LoopClock;
  readonly poll: EventPoll;
  readonly ended: (end: DeliveryEnd) => void;
  /** Takes those in that may have more to say than was read. */
  readonly answered: Set<Carried>;
}

/** One transfer in this thread. */
class Carried implements Listening {
  readonly port: BlockPort;
  readonly file: SuppliedFile;
  readonly delivery: Delivery;
  readonly #signs: Float64Array;
  readonly #poll: EventPoll;
  readonly #isLockStep: boolean;
  readonly #answered: Set<Carried>;

  constructor(port: BlockPort, file: SuppliedFile, parcel: Parcel, { clock, poll, ended, answered }: CarriedTies) {
    const { mode, agreement, signs } = parcel;
    this.port = port;
    this.file = file;
    this.#poll = poll;
    this.#answered = answered;
    this.#signs = new Float64Array(signs);
    this.#isLockStep = agreement.windowBlocks === 1;
    this.delivery = new Delivery({ file, mode, agreement, channel: port, clock, ended });
  }

  /** Takes all that is there; in lock-step what is behind an ACK a little later, so that nobody else waits for a look in vain. */
  readable(buffer: Uint8Array): void {
    this.#take(buffer, this.#isLockStep);
  }

  takeRest(buffer: Uint8Array): void {
    if (!this.port.isClosed) this.#take(buffer, false);
  }

  #take(buffer: Uint8Array, untilAnswered: boolean): void {
    for (let count = 0; count < TFTP_PEER_PACKETS_PER_TURN; count += 1) {
      const { sentCount } = this.port;
      const bytes = this.port.receive(buffer);
      if (bytes === undefined) return;
      this.#said(bytes);
      if (this.port.isClosed) return;
      if (untilAnswered && this.port.sentCount > sentCount) {
        this.#answered.add(this);
        return;
      }
    }
    this.#poll.notAllTaken(this.port.descriptor);
  }

  #said(bytes: Uint8Array): void {
    const packet = unlessMalformed(() => decodePacket(bytes));
    if (packet?.kind !== 'ack' && packet?.kind !== 'error') return;
    this.delivery.handle(packet);
    this.#signs[Sign.Confirmed] = this.delivery.confirmed ? 1 : 0;
    this.#signs[Sign.QuietSinceMs] = this.delivery.quietSinceMs;
  }
}

/** So few that the thread would soon wait anyway. */
const FEW_READY = 2;
