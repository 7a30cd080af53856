import type { Clock, Timer } from '../../base/clock.js';
import { NBD_EARLY_BYTES_MAX, NBD_HANDSHAKE_MS } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import type { Board } from '../../boards/board.js';
import type { BoardLookup } from '../../boards/identity/lookup.js';
import type { DiskUser, LockVerdict } from '../../boards/writer-lock/writer-lock.js';
import type { Transport } from '../transport.js';
import type { ByteQueue } from '../wire/byte-queue.js';
import { HandshakeFraming } from '../wire/framing.js';
import type { Exports } from './admission.js';
import {
  NEGOTIATION_BEGINS,
  type NegotiationCommand,
  type NegotiationEvent,
  type NegotiationState,
  negotiate,
  type RefusedDisk,
} from './negotiation.js';
import type { TlsDoor } from './tls-door.js';

/** What a client and we agreed on at the end. */
export type Agreed = Extract<NegotiationState, { readonly at: 'transmitting' }>;

/** What it needs of its connection, and whom it tells. */
export interface HagglingTies {
  readonly clock: Clock;
  readonly lookup: BoardLookup;
  readonly exports: Exports;
  readonly queue: ByteQueue;
  readonly transport: Transport;
  readonly door: TlsDoor | undefined;
  /** As the writer lock is to know its client. */
  user(): DiskUser;
  /** The disk is its own: the end of all haggling. */
  agreed(board: Board, user: DiskUser, agreed: Agreed): Promise<void>;
  refused(refused: RefusedDisk): void;
  tlsFailed(because: string): void;
  close(because: string, how: 'graceful' | 'abrupt'): void;
  failed(error: unknown): void;
  /** What had to wait for us may go on. */
  advance(): void;
}

/** States in which the next message is not looked at. */
const HELD_UP: ReadonlySet<NegotiationState['at']> = new Set(['startingTls', 'choosing', 'transmitting']);

/** A client from its greeting until it has a disk: what `negotiate` decides is done here. */
export class Haggling {
  readonly #ties: HagglingTies;
  readonly #framing: HandshakeFraming;
  #state: NegotiationState = NEGOTIATION_BEGINS;
  #deadline: Timer;
  #isOver = false;

  constructor(ties: HagglingTies) {
    this.#ties = ties;
    this.#framing = new HandshakeFraming(ties.queue);
    this.#deadline = this.#startDeadline();
  }

  begin(): void {
    this.#step({ kind: 'connected' });
  }

  /** The connection is something else from here on, or closed. */
  end(): void {
    this.#isOver = true;
    this.#deadline.cancel();
  }

  /** It waits for a disk. */
  get isChoosing(): boolean {
    return this.#state.at === 'choosing';
  }

  /** Whether something must happen on our side before the next message may be looked at. */
  get isHeldUp(): boolean {
    return HELD_UP.has(this.#state.at) || this.#ties.transport.needsDrain;
  }

  /** While the writer lock is waited for the stream is read on, so that a client that gives up is noticed. */
  get readsOn(): boolean {
    return this.#state.at !== 'startingTls' && this.#ties.queue.length < NBD_EARLY_BYTES_MAX;
  }

  /** Looks at the next message; false if it has not come whole. */
  takeOne(): boolean {
    const message = this.#framing.next();
    if (message !== undefined) this.#step(message);
    return message !== undefined;
  }

  #step(event: NegotiationEvent): void {
    if (this.#isOver) throw new Error(`${event.kind} after the handshake`);
    const { state, commands } = negotiate(this.#state, event, this.#ties.exports);
    this.#state = state;
    for (const command of commands) this.#obey(command);
  }

  #obey(command: NegotiationCommand): void {
    const { transport, refused, close, failed } = this.#ties;
    switch (command.kind) {
      case 'send':
        transport.outbox.send(command.bytes, () => {});
        break;
      case 'startTls':
        void this.#startTls(command.acknowledgement).catch(failed);
        break;
      case 'takeDisk':
        void this.#takeDisk(command.board).catch(failed);
        break;
      case 'tellRefused': {
        const { kind: _, ...disk } = command;
        refused(disk);
        break;
      }
      case 'close':
        close(command.because, 'graceful');
        break;
      default:
        unreachable(command);
    }
  }

  // The ten seconds for the handshake go on.
  async #startTls(acknowledgement: Uint8Array): Promise<void> {
    const { door, queue, transport } = this.#ties;
    if (door === undefined) throw new Error('TLS was promised, and there is none');
    if (queue.length + transport.unseenBytes > 0) {
      this.#tlsFailed('there are bytes behind STARTTLS in the clear, which anybody may have put there');
      return;
    }
    transport.pause();
    transport.outbox.send(acknowledgement, () => {});
    await transport.flushed();
    if (this.#isOver) return;
    const verdict = await transport.secure(door);
    if (this.#isOver) return;
    if (verdict.answer === 'failed') {
      this.#tlsFailed(verdict.because);
      return;
    }
    this.#step({ kind: 'tlsBegun', peer: verdict.peer });
    this.#ties.advance();
  }

  // It was promised: there is no way back into the clear (proto.md, "FORCEDTLS mode").
  #tlsFailed(because: string): void {
    this.#ties.tlsFailed(because);
    this.#ties.close(`no TLS: ${because}`, 'abrupt');
  }

  async #takeDisk(name: string): Promise<void> {
    const board = this.#ties.lookup.byName(name);
    if (board === undefined) throw new Error(`${name} was found a moment ago`);
    const user = this.#ties.user();
    this.#deadline.cancel(); // it is we who keep the client waiting
    const locked = await board.writerLock.acquire(user);
    const verdict = locked.answer === 'granted' ? await begun(board) : locked;
    const isIts = verdict.answer === 'granted' && !this.#isOver;
    if (locked.answer === 'granted' && !isIts) board.writerLock.release(user);
    if (this.#isOver) return;
    this.#step({ kind: 'lock', verdict });
    const state = this.#state;
    if (state.at === 'transmitting') await this.#ties.agreed(board, user, state);
    else if (!this.#isOver) this.#deadline = this.#startDeadline();
    this.#ties.advance();
  }

  #startDeadline(): Timer {
    const { clock, close } = this.#ties;
    return clock.after(NBD_HANDSHAKE_MS, () => close('chose no export in time', 'abrupt'));
  }
}

/** A disk that is thrown away at each boot is, before anybody uses it. */
async function begun({ own }: Board): Promise<LockVerdict> {
  const verdict = await own?.begin();
  return verdict?.answer === 'refused' ? { answer: 'unusable', because: verdict.because } : { answer: 'granted' };
}
