/** Fetches a file as a board does: from a port of its own, for pretend boards and tests. */
import type { Ipv4Address } from '../base/addresses.js';
import type { Clock } from '../base/clock.js';
import { unlessMalformed } from '../base/malformed.js';
import { unreachable } from '../base/unreachable.js';
import { DeadlineTimer } from './deadline-timer.js';
import {
  Download,
  type DownloadCommand,
  type DownloadEvent,
  type DownloadResult,
  type DownloadSettings,
} from './download.js';
import { bindUdp, type Endpoint, type UdpSocket } from './udp-socket.js';
import { decodePacket } from './wire.js';

export interface FetchSettings extends DownloadSettings {
  /** The server's main port. */
  readonly server: Endpoint;
  /** Where the board is; port 0 takes any, but a Pi 3's ROM always takes 49152. */
  readonly local: Endpoint;
  readonly clock: Clock;
}

export interface FetchResult extends DownloadResult {
  readonly durationMs: number;
}

/** Rejects only if the local address or port can't be had; whatever the server does is a verdict. */
export async function fetchFile(settings: FetchSettings): Promise<FetchResult> {
  const running: { fetch: Fetch | undefined } = { fetch: undefined };
  const socket = await bindUdp(settings.local, {
    received: (bytes, from) => running.fetch?.received(bytes, from),
    failed: () => {}, // as if the packet were lost: the timer asks again
  });
  return new Promise((resolve) => {
    running.fetch = new Fetch(settings, socket, resolve);
    running.fetch.handle({ kind: 'begin' });
  });
}

class Fetch {
  readonly #settings: FetchSettings;
  readonly #socket: UdpSocket;
  readonly #resolve: (result: FetchResult) => void;
  readonly #download: Download;
  readonly #startedMs: number;
  readonly #timer: DeadlineTimer;
  /** The server's half of the transfer's identity, known from its first packet on. */
  #peer: Endpoint | undefined;

  constructor(settings: FetchSettings, socket: UdpSocket, resolve: (result: FetchResult) => void) {
    this.#settings = settings;
    this.#socket = socket;
    this.#resolve = resolve;
    this.#download = new Download(settings);
    this.#startedMs = settings.clock.nowMs();
    this.#timer = new DeadlineTimer(settings.clock, () => this.handle({ kind: 'tick' }));
  }

  received(bytes: Uint8Array, from: Endpoint): void {
    // A board takes an answer only from the address it asked.
    if (from.address !== this.#settings.server.address) return;
    if (this.#peer !== undefined && from.port !== this.#peer.port) return;
    const packet = unlessMalformed(() => decodePacket(bytes));
    if (packet === undefined) return;
    this.#peer ??= { address: from.address, port: from.port };
    this.handle({ kind: 'packet', packet });
  }

  handle(event: DownloadEvent): void {
    for (const command of this.#download.handle(event, this.#settings.clock.nowMs())) this.#apply(command);
    this.#timer.set(this.#download.deadlineMs);
  }

  #apply(command: DownloadCommand): void {
    switch (command.kind) {
      case 'request':
        this.#socket.send(command.packet, command.packet.length, this.#settings.server);
        break;
      case 'send':
        if (this.#peer !== undefined) this.#socket.send(command.packet, command.packet.length, this.#peer);
        break;
      case 'finish':
        this.#timer.cancel();
        this.#socket.close();
        this.#resolve({ ...command.result, durationMs: this.#settings.clock.nowMs() - this.#startedMs });
        break;
      default:
        unreachable(command);
    }
  }
}

/** An address of this machine with any port. */
export function anyPort(address: Ipv4Address): Endpoint {
  return { address, port: 0 };
}
