/**
 * The TFTP server: read-only, one main port per served address. See docs/protocols.md for what is supported.
 *
 * One socket per address and none on 0.0.0.0, so that an answer comes from the very address that was asked; from a socket on
 * 0.0.0.0 it would come from the interface's primary one, and a board throws it away.
 */
import type { Ipv4Address } from '../base/addresses.js';
import { type Clock, passed } from '../base/clock.js';
import { TFTP_STOP_GRACE_MS, TFTP_STOP_LAST_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import type { BootRequest } from './boot-request.js';
import type { Carrier } from './carrier.js';
import { type MainPort, openMainPort } from './main-port.js';
import { RefusalGate } from './refusal-gate.js';
import { TransferReporter } from './reporter.js';
import { RunningRequests } from './running-requests.js';
import type { BoundPort, Endpoint } from './udp-socket.js';

export interface TftpServerSettings {
  /** Local addresses to serve on. */
  readonly addresses: readonly Ipv4Address[];
  /** 69; 0 takes any free one, a different one for each address. */
  readonly port: number;
  /** Besides: sockets that were bound by somebody else, each at one address. */
  readonly bound?: readonly BoundPort[];
  /** `tftp.block_size_max`, 8 to 65464. */
  readonly blockSizeMax: number;
  /** `tftp.window_size_max`, 1 to 64. */
  readonly windowSizeMax: number;
  /** Whether who asks from this address is answered at all. */
  readonly answers: (peer: string) => boolean;
  /** Delivers each file from a port of its own; undefined: the main ports do it (`tftp.single_port`). */
  readonly courier: Carrier | undefined;
  readonly lookup: BoardLookup;
  readonly tell: TellBoardEvent;
  readonly clock: Clock;
  readonly log: Log;
}

export interface TftpServer {
  /** In the order of the settings, those bound by others last, with the ports that were really bound. */
  addresses(): readonly Endpoint[];
  /** Transfers that are being answered. */
  transferCount(): number;
  /**
   * Refuses new requests, lets running transfers go on for `graceMs`, ends those that are left with ERROR 0, closes all.
   * A second call waits for the first.
   */
  stop(graceMs?: number): Promise<void>;
}

/** Rejects with Node's error (`code`, `address`, `port`) if one of the addresses can't be had; then none is left bound. */
export async function startTftpServer(settings: TftpServerSettings): Promise<TftpServer> {
  const { addresses, port, bound = [], courier, answers, lookup, clock } = settings;
  const reporter = new TransferReporter(settings);
  const running = new RunningRequests<BootRequest>();
  // Asked anew for each request: a reload of the inventory may change them.
  const limits = {
    get blockBytesMax() {
      return settings.blockSizeMax;
    },
    get windowBlocksMax() {
      return settings.windowSizeMax;
    },
  };
  const shared = { courier, limits, answers, lookup, clock, reporter, running, refusals: new RefusalGate() };

  const ports: MainPort[] = [];
  try {
    const places = [...addresses.map((address) => ({ address, port })), ...bound];
    for (const place of places) ports.push(await openMainPort({ place, ...shared }));
  } catch (error) {
    for (const opened of ports) opened.close();
    throw error;
  }

  let stopped: Promise<void> | undefined;
  return {
    addresses: () => ports.map(({ local }) => local),
    transferCount: () => running.size,
    stop: (graceMs = TFTP_STOP_GRACE_MS) => {
      stopped ??= stopServer(ports, running, clock, graceMs);
      return stopped;
    },
  };
}

async function stopServer(
  ports: readonly MainPort[],
  running: RunningRequests<BootRequest>,
  clock: Clock,
  graceMs: number,
): Promise<void> {
  const because = 'the server is being stopped';
  for (const port of ports) port.refuseAll(because);
  const emptiedWithin = (ms: number) => Promise.race([running.emptied(), passed(clock, ms)]);
  if (graceMs > 0) await emptiedWithin(graceMs);
  running.stopAll(because);
  // The courier's thread has to hear of it; a file that is still being opened is not waited for.
  await emptiedWithin(TFTP_STOP_LAST_MS);
  for (const port of ports) port.close();
}
