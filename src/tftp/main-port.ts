/** The port that requests come to, on one served address: tells apart what may be answered, and by whom. */
import type { Clock } from '../base/clock.js';
import { Malformed } from '../base/malformed.js';
import { printable } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import type { Board } from '../boards/board.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import { BootRequest } from './boot-request.js';
import type { Carrier } from './carrier.js';
import { ErrorCode, Mode, Opcode } from './constants.js';
import type { TransferLimits } from './options.js';
import type { RefusalGate } from './refusal-gate.js';
import type { TransferReporter } from './reporter.js';
import type { RunningRequests } from './running-requests.js';
import { byMainPort } from './shared-port.js';
import { type BoundPort, bindUdp, type Endpoint, type UdpSocket } from './udp-socket.js';
import { decodePacket, encodeError, opcodeOf, type TftpPacket, type TftpRequest } from './wire.js';

export interface MainPortSettings {
  readonly place: Endpoint | BoundPort;
  /** Undefined: this port delivers the files itself. */
  readonly courier: Carrier | undefined;
  readonly limits: TransferLimits;
  /** Whether who asks from this address is answered at all. */
  readonly answers: (peer: string) => boolean;
  readonly lookup: BoardLookup;
  readonly clock: Clock;
  readonly reporter: TransferReporter;
  /** Both shared by all addresses. */
  readonly refusals: RefusalGate;
  readonly running: RunningRequests<BootRequest>;
}

/** Rejects with Node's error if the address or port can't be had. */
export async function openMainPort(settings: MainPortSettings): Promise<MainPort> {
  const opened: { port: MainPort | undefined } = { port: undefined };
  const { address } = 'open' in settings.place ? settings.place.local : settings.place;
  const socket = await bindUdp(settings.place, {
    received: (bytes, from) => opened.port?.received(bytes, from),
    failed: (error) => settings.reporter.socketFailed(address, error),
  });
  opened.port = new MainPort(settings, socket);
  return opened.port;
}

export class MainPort {
  readonly #settings: MainPortSettings;
  readonly #socket: UdpSocket;
  readonly #carrier: Carrier;
  #stopping: string | undefined;

  constructor(settings: MainPortSettings, socket: UdpSocket) {
    this.#settings = settings;
    this.#socket = socket;
    this.#carrier = settings.courier ?? byMainPort(socket, settings.clock);
  }

  get local(): Endpoint {
    return this.#socket.local;
  }

  /** From now on requests are refused with this sentence. */
  refuseAll(because: string): void {
    this.#stopping = because;
  }

  close(): void {
    this.#socket.close();
  }

  received(bytes: Uint8Array, peer: Endpoint): void {
    try {
      // Silence, not an ERROR: the address of a datagram may be forged, and whose it is would get the answer.
      if (!this.#settings.answers(peer.address)) return;
      this.#handle(this.#decode(bytes, peer), peer);
    } catch (error) {
      // A bug of ours: it costs the peer this one packet, and nobody else anything.
      this.#settings.reporter.bug(error);
    }
  }

  #handle(packet: TftpPacket | undefined, peer: Endpoint): void {
    switch (packet?.kind) {
      case 'rrq':
        this.#requested(packet, peer);
        break;
      case 'wrq':
        this.#refuse(peer, ErrorCode.AccessViolation, 'this server is read-only');
        break;
      case 'ack':
      case 'error':
        if (this.#settings.courier === undefined) this.#settings.running.find(this.#keyOf(peer))?.packet(packet);
        break;
      default:
        // DATA, OACK, unknown: whoever answers those here can be made to talk to another server for ever (CVE-2024-2169).
        break;
    }
  }

  #decode(bytes: Uint8Array, peer: Endpoint): TftpPacket | undefined {
    try {
      return decodePacket(bytes);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      // A faulty request is answered once; an ERROR is no request, so no two servers can loop over this.
      const opcode = opcodeOf(bytes);
      if (opcode === Opcode.RRQ || opcode === Opcode.WRQ) {
        this.#refuse(peer, ErrorCode.IllegalOperation, error.message);
      }
      return undefined;
    }
  }

  #requested(request: TftpRequest, peer: Endpoint): void {
    if (this.#stopping !== undefined) {
      this.#refuse(peer, ErrorCode.NotDefined, this.#stopping);
      return;
    }
    if (request.mode !== Mode.Octet && request.mode !== Mode.Netascii) {
      this.#refuse(peer, ErrorCode.IllegalOperation, `mode "${request.mode}": octet and netascii are served`);
      return;
    }
    const { running, lookup } = this.#settings;
    const earlier = running.find(this.#keyOf(peer));
    if (earlier !== undefined) {
      if (earlier.askedAgain(request) === 'repeated') return;
      earlier.abandon('the peer began anew from the same port');
    }
    const verdict = lookup.byBootPath(request.path, peer.address);
    switch (verdict.answer) {
      case 'board':
        this.#serve(request, peer, verdict.board, verdict.path);
        break;
      case 'unknown':
        this.#refuse(peer, ErrorCode.FileNotFound, verdict.because);
        this.#reportNotFound(peer, printable(request.path));
        break;
      case 'illegal':
        this.#refuse(peer, ErrorCode.AccessViolation, verdict.because);
        this.#reportNotFound(peer, printable(request.path));
        break;
      default:
        unreachable(verdict);
    }
  }

  #serve(request: TftpRequest, peer: Endpoint, board: Board, path: string): void {
    const { running, limits, answers, refusals, clock, reporter } = this.#settings;
    if (!running.makeRoom(peer.address, clock.nowMs())) {
      this.#refuse(peer, ErrorCode.NotDefined, 'too many transfers: ask again');
      return;
    }
    const bootRequest = new BootRequest({
      key: this.#keyOf(peer),
      peer,
      request,
      board,
      path,
      askedAt: this.local.address,
      limits,
      clock,
      reporter,
      refuse: (code, message) => this.#refuse(peer, code, message),
      carrier: this.#carrier,
      answers,
      known: () => refusals.noteKnown(peer.address),
      begun: (begun) => running.begun(begun),
      gone: (gone) => running.remove(gone),
    });
    running.add(bootRequest);
    void bootRequest.open();
  }

  #refuse(peer: Endpoint, code: number, message: string): void {
    const { refusals, clock } = this.#settings;
    if (!refusals.mayTell(peer.address, clock.nowMs())) return;
    const packet = encodeError(code, message);
    this.#socket.send(packet, packet.length, peer);
  }

  #reportNotFound(peer: Endpoint, path: string): void {
    const nothing = { because: undefined, sizeBytes: undefined, sentBytes: 0, durationMs: 0 };
    this.#settings.reporter.ended({
      board: undefined,
      peer: peer.address,
      path,
      role: undefined,
      outcome: 'not_found',
      ...nothing,
    });
  }

  #keyOf(peer: Endpoint): string {
    return `${this.local.address}:${this.local.port} ${peer.address}:${peer.port}`;
  }
}
