/** The proxyDHCP server's sockets: one for each interface, and what is done about each verdict. */
import type { Ipv4Address } from '../base/addresses.js';
import type { Clock, Timer } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { Malformed } from '../base/malformed.js';
import { unreachable } from '../base/unreachable.js';
import type { Board } from '../boards/board.js';
import { type Discovery, type FreeDisk, inventoryLines } from '../boards/identity/discovery.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import { describePi, type PiSighting } from '../boards/identity/pi-identity.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import { withBindAdvice } from '../os/bind-advice.js';
import type { DescriptorWatch } from '../os/descriptor-watch.js';
import { SystemCallError } from '../os/libc.js';
import { udpPortAddresses } from '../os/port-holders.js';
import { UdpSocketError } from '../os/udp-socket.js';
import { type AnswerPolicy, answerDhcp, type DhcpVerdict } from './answer.js';
import { DelayedAnswers } from './delayed-answers.js';
import { type DhcpInterface, openServerLine, type ServerLine } from './server-line.js';
import { decodeDhcp, encodeDhcp } from './wire.js';

export interface DhcpServerOptions {
  readonly interfaces: readonly DhcpInterface[];
  /** Where boards ask: 67; 0 in tests. */
  readonly port: number;
  /** Where boards listen: 68. */
  readonly replyPort: number;
  readonly answer: AnswerPolicy;
  readonly lookup: BoardLookup;
  readonly discovery: Discovery;
  /** Waits for packets from below IP; left out, all goes by UDP sockets. */
  readonly watch?: DescriptorWatch;
  /** What the inventory lines for a new board name. */
  readonly freeDisk: FreeDisk;
  readonly clock: Clock;
  readonly log: Log;
  readonly tell: TellBoardEvent;
}

/** One interface's state, for /readyz. */
export type DhcpBinding =
  | { readonly answer: 'bound'; readonly name: string; readonly address: Ipv4Address; readonly port: number }
  | { readonly answer: 'failed'; readonly name: string; readonly because: string };

export interface DhcpServer {
  bound(): readonly DhcpBinding[];
  /** Answers that still wait are dropped: nobody would hear what the board asks next. */
  stop(): Promise<void>;
}

/**
 * Listening when it returns, on each interface that lets it; `bound()` says of the others why not, so that one pulled
 * cable does not keep the rest from booting.
 */
export function startDhcpServer(options: DhcpServerOptions): DhcpServer {
  const delayed = new DelayedAnswers(options.clock);
  const sayings = new UnknownBoardSayings(options);
  const listeners = options.interfaces.map((place) => new Listener(place, options, delayed, sayings));
  return {
    bound: () => listeners.map((listener) => listener.binding),
    async stop() {
      delayed.cancelAll();
      sayings.stop();
      await Promise.all(listeners.toReversed().map((listener) => listener.close()));
    },
  };
}

/** The discard service (RFC 863): a datagram to it wakes a boot ROM's network chip and means nothing to anybody. */
const DISCARD_PORT = 9;
const WAKE_UP = Uint8Array.of(0);

type ListenerState =
  | { readonly at: 'open'; readonly line: ServerLine }
  | { readonly at: 'failed'; readonly because: string };

class Listener {
  readonly #state: ListenerState;
  readonly #place: DhcpInterface;
  readonly #options: DhcpServerOptions;
  readonly #delayed: DelayedAnswers;
  readonly #sayings: UnknownBoardSayings;

  constructor(place: DhcpInterface, options: DhcpServerOptions, delayed: DelayedAnswers, sayings: UnknownBoardSayings) {
    this.#place = place;
    this.#options = options;
    this.#delayed = delayed;
    this.#sayings = sayings;
    this.#state = this.#open();
  }

  get binding(): DhcpBinding {
    const { name, address } = this.#place;
    if (this.#state.at === 'failed') return { answer: 'failed', name, because: this.#state.because };
    const because = this.#state.line.failure();
    if (because !== undefined) return { answer: 'failed', name, because };
    return { answer: 'bound', name, address, port: this.#state.line.port };
  }

  async close(): Promise<void> {
    if (this.#state.at === 'open') await this.#state.line.close();
  }

  #open(): ListenerState {
    const { name, address } = this.#place;
    const { port, log, watch } = this.#options;
    try {
      const line = openServerLine(this.#place, port, watch, {
        received: (bytes) => this.#receive(bytes),
        notSent: (because) => log.warn({ interface: name, because }, 'dhcp.send.failed'),
      });
      // By a UDP socket our own is among them.
      const beside = line.way === 'packet' ? { besideSocketsAt: udpPortAddresses(line.port) } : {};
      log.info({ interface: name, address, port: line.port, way: line.way, ...beside }, 'dhcp.listening');
      return { at: 'open', line };
    } catch (error) {
      if (!(error instanceof UdpSocketError || error instanceof SystemCallError)) throw error;
      return { at: 'failed', because: withBindAdvice(error.message, error.code) };
    }
  }

  #receive(bytes: Uint8Array): void {
    const { lookup, answer: policy, log } = this.#options;
    try {
      const message = decodeDhcp(bytes);
      this.#act(answerDhcp(message, { policy, lookup, serverAddress: this.#place.address }));
    } catch (error) {
      if (error instanceof Malformed) {
        log.debug({ interface: this.#place.name, because: error.message }, 'dhcp.malformed');
      } else {
        // A bug of ours: it costs the peer this one datagram.
        log.error({ interface: this.#place.name, err: error }, 'dhcp.bug');
      }
    }
  }

  #act(verdict: DhcpVerdict): void {
    switch (verdict.answer) {
      case 'offer':
        this.#seen(verdict.sighting, verdict.board, this.#offer(verdict));
        return;
      case 'decline':
        this.#seen(verdict.sighting, verdict.board, verdict.because);
        return;
      case 'note':
        this.#options.tell({
          kind: 'addressRequested',
          board: verdict.board.name,
          mac: verdict.mac,
          address: verdict.address,
        });
        return;
      case 'silence':
        this.#options.log.debug({ interface: this.#place.name, because: verdict.because }, 'dhcp.silent');
        return;
      default:
        unreachable(verdict);
    }
  }

  #offer(verdict: Extract<DhcpVerdict, { answer: 'offer' }>): 'offered' | 'tooManyWaiting' {
    const bytes = encodeDhcp(verdict.message);
    const { name } = this.#place;
    const send = () => this.#send(bytes, this.#options.replyPort);
    if (verdict.sendAfterMs === 0) {
      send();
      return 'offered';
    }
    const scheduled = this.#delayed.add(`${name} ${verdict.sighting.mac}`, {
      sendAfterMs: verdict.sendAfterMs,
      wakeUpsMs: verdict.wakeUpsMs,
      send,
      wakeUp: () => this.#send(WAKE_UP, DISCARD_PORT),
    });
    return scheduled === 'scheduled' ? 'offered' : 'tooManyWaiting';
  }

  #send(bytes: Uint8Array, port: number): void {
    if (this.#state.at === 'open') this.#state.line.send(bytes, port);
  }

  #seen(sighting: PiSighting, board: Board | undefined, answer: string): void {
    const { discovery, log, tell } = this.#options;
    const interfaceName = this.#place.name;
    const { mac, serial, generation } = sighting;
    const model = describePi(sighting);
    log.debug(
      { board: board?.name, mac, serial, model, generation, interface: interfaceName, answer },
      'dhcp.discover',
    );
    if (board) discovery.forget(mac);
    else this.#sayings.unknown(sighting, interfaceName);
    tell({ kind: 'discover', board: board?.name, mac, serial, model, interfaceName, answer });
  }
}

/** Says of each board that is not in the inventory once that it is there, and of a flood of them only how many. */
class UnknownBoardSayings {
  readonly #options: DhcpServerOptions;
  #summary: Timer | undefined;

  constructor(options: DhcpServerOptions) {
    this.#options = options;
  }

  unknown(sighting: PiSighting, interfaceName: string): void {
    const { discovery, clock, log, freeDisk } = this.#options;
    const where = { interfaceName, at: clock.today(), nowMs: clock.nowMs() };
    const { board, answer } = discovery.see(sighting, where);
    if (answer === 'nothingNew') return;
    if (answer === 'withhold') {
      this.#summary ??= clock.after(SUMMARY_AFTER_MS, () => this.#summarize());
      return;
    }
    const { mac, serial, model, memory } = board;
    const facts = { model, memory, serial, mac, interface: interfaceName, add: inventoryLines(board, freeDisk) };
    log.info(facts, 'dhcp.board.unknown');
  }

  stop(): void {
    this.#summary?.cancel();
    this.#summarize();
  }

  #summarize(): void {
    this.#summary = undefined;
    const withheld = this.#options.discovery.takeWithheld();
    if (withheld > 0) this.#options.log.warn({ count: withheld }, 'dhcp.boards.unknown.withheld');
  }
}

const SUMMARY_AFTER_MS = 60_000;
