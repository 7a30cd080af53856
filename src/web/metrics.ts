import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { NBD_DURATION_BOUNDS_S } from '../base/limits.js';
import { unreachable } from '../base/unreachable.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import type { BoardEvent } from '../boards/journal/events.js';
import { DurationHistogram } from './duration-histogram.js';

/** Every metric of ours. Labels come from the inventory or from the code, never from a packet; a stranger's is `board=""`. */
export const METRICS = {
  boots: { name: 'brambleboot_boots_total', help: 'Completed boots', labels: ['board'] },
  bootFailures: {
    name: 'brambleboot_boot_failures_total',
    help: 'Boots that ended at a stage',
    labels: ['board', 'stage'],
  },
  bootDuration: {
    name: 'brambleboot_boot_duration_seconds',
    help: 'From the first sign of a boot to its disk',
    labels: ['board'],
  },
  offers: { name: 'brambleboot_dhcp_offers_total', help: 'proxyDHCP offers', labels: ['board'] },
  transfers: {
    name: 'brambleboot_tftp_transfers_total',
    help: 'TFTP transfers by outcome',
    labels: ['board', 'outcome'],
  },
  transferBytes: { name: 'brambleboot_tftp_bytes_total', help: 'Bytes of boot files sent', labels: ['board'] },
  connections: { name: 'brambleboot_nbd_connections', help: 'NBD connections that use a disk', labels: ['board'] },
  requests: { name: 'brambleboot_nbd_requests_total', help: 'NBD requests answered', labels: ['board', 'command'] },
  requestBytes: {
    name: 'brambleboot_nbd_bytes_total',
    help: 'Bytes read and written over NBD',
    labels: ['board', 'direction'],
  },
  requestDuration: {
    name: 'brambleboot_nbd_request_duration_seconds',
    help: 'From a request read to its reply',
    labels: ['command'],
  },
  requestErrors: {
    name: 'brambleboot_nbd_errors_total',
    help: 'NBD requests answered with an error',
    labels: ['board', 'errno'],
  },
  refusals: {
    name: 'brambleboot_nbd_refusals_total',
    help: 'Disks that were asked for and not given',
    labels: ['board', 'reason'],
  },
  tlsFailures: {
    name: 'brambleboot_nbd_tls_failures_total',
    help: 'TLS handshakes that came to nothing',
    labels: [],
  },
  certificateLeft: {
    name: 'brambleboot_nbd_certificate_seconds_left',
    help: 'Until a certificate ends; negative once it has',
    labels: ['certificate'],
  },
  storageFree: {
    name: 'brambleboot_storage_free_bytes',
    help: 'Free space of a filesystem that images or state lie on',
    labels: ['filesystem'],
  },
  diskAllocated: {
    name: 'brambleboot_disk_allocated_bytes',
    help: 'What the files of a disk take of their filesystem, snapshots too',
    labels: ['board'],
  },
  heldRequests: {
    name: 'brambleboot_disk_held_requests',
    help: 'Requests that wait for space on a full filesystem',
    labels: ['board'],
  },
  lostByRestart: {
    name: 'brambleboot_restart_loses_disk',
    help: '1 if the board is attached and a restart of the server now would end its disk',
    labels: ['board'],
  },
  diskFailed: {
    name: 'brambleboot_disk_failed',
    help: '1 if a flush of the disk failed, until it is reopened',
    labels: ['board'],
  },
  unknownBoards: { name: 'brambleboot_unknown_boards', help: 'Boards seen that are not in the inventory', labels: [] },
  inventoryFaults: {
    name: 'brambleboot_inventory_faults',
    help: 'Faults of config.yaml, for which it was not loaded; 0 if the server runs on it',
    labels: [],
  },
  reloadSuccess: {
    name: 'brambleboot_config_last_reload_successful',
    help: '1 if config.yaml was loaded when it was read last, else 0',
    labels: [],
  },
  reloadTime: {
    name: 'brambleboot_config_last_reload_success_timestamp_seconds',
    help: 'When config.yaml was loaded last',
    labels: [],
  },
  buildInfo: { name: 'brambleboot_build_info', help: 'Always 1', labels: ['version'] },
} as const;

const BOOT_SECONDS = [5, 10, 20, 30, 45, 60, 90, 120, 180, 300];

/** What is a state, not an event: asked at each scrape. */
export interface MeasuredStates {
  readonly unknownBoards: () => number;
  /** May wait for a filesystem, but not without end. */
  readonly storage: () => Promise<MeasuredStorage>;
  readonly heldRequests: () => readonly (readonly [board: string, requests: number])[];
  /** Has what was counted elsewhere since the last scrape told to `requestsFinished`. */
  readonly countElsewhere: () => void;
  /** Boards whose disks a restart would end. */
  readonly atRisk: () => readonly string[];
  readonly failedDisks: () => readonly (readonly [board: string, hasFailed: boolean])[];
  readonly certificates: () => readonly (readonly [use: string, secondsLeft: number])[];
  readonly inventory: () => MeasuredInventory;
}

export interface MeasuredInventory {
  /** Those that kept it from being loaded when it was read last. */
  readonly faultCount: number;
  /** Undefined: since the start it never was. */
  readonly loadedAt: Date | undefined;
}

/** Requests that were done well, many at once. */
export interface MetricTally {
  readonly board: string;
  readonly command: string;
  readonly count: number;
  readonly bytes: number;
  readonly seconds: number;
  /** As DurationHistogram takes them, for NBD_DURATION_BOUNDS_S. */
  readonly perBound: readonly number[];
}

/** Without what could not be measured. */
export interface MeasuredStorage {
  readonly free: readonly (readonly [filesystem: string, bytes: number])[];
  readonly allocated: readonly (readonly [board: string, bytes: number])[];
}

/** Counts what happens, for Prometheus. One for each running server. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #countElsewhere: () => void;
  readonly #boots = this.#counter(METRICS.boots);
  readonly #bootFailures = this.#counter(METRICS.bootFailures);
  readonly #bootDuration = this.#histogram(METRICS.bootDuration, BOOT_SECONDS);
  readonly #offers = this.#counter(METRICS.offers);
  readonly #transfers = this.#counter(METRICS.transfers);
  readonly #transferBytes = this.#counter(METRICS.transferBytes);
  readonly #connections = this.#gauge(METRICS.connections);
  readonly #requests = this.#counter(METRICS.requests);
  readonly #requestBytes = this.#counter(METRICS.requestBytes);
  readonly #requestDuration = new DurationHistogram(METRICS.requestDuration, NBD_DURATION_BOUNDS_S);
  readonly #requestErrors = this.#counter(METRICS.requestErrors);
  readonly #refusals = this.#counter(METRICS.refusals);
  readonly #tlsFailures = this.#counter(METRICS.tlsFailures);
  readonly #perBoard: readonly (Counter | Gauge | Histogram)[] = [
    ...[this.#boots, this.#bootFailures, this.#offers, this.#transfers, this.#transferBytes, this.#connections],
    ...[this.#requests, this.#requestBytes, this.#requestErrors, this.#refusals, this.#bootDuration],
  ];

  constructor(
    states: MeasuredStates,
    { version, boardNames }: { readonly version: string; readonly boardNames: readonly string[] },
  ) {
    const { unknownBoards, storage, heldRequests, failedDisks, certificates, inventory, countElsewhere, atRisk } =
      states;
    this.#countElsewhere = countElsewhere;
    collectDefaultMetrics({ register: this.#registry });
    this.#gaugeEach(METRICS.certificateLeft, certificates);
    this.#gaugeEach(METRICS.storageFree, async () => (await storage()).free);
    this.#gaugeEach(METRICS.diskAllocated, async () => (await storage()).allocated);
    this.#gaugeEach(METRICS.heldRequests, heldRequests);
    this.#gaugeEach(METRICS.diskFailed, () => failedDisks().map(([board, hasFailed]) => [board, hasFailed ? 1 : 0]));
    this.#gaugeEach(METRICS.lostByRestart, () => atRisk().map((board) => [board, 1]));
    this.#gauge(METRICS.unknownBoards, (gauge) => gauge.set(unknownBoards()));
    this.#gauge(METRICS.inventoryFaults, (gauge) => gauge.set(inventory().faultCount));
    this.#gauge(METRICS.reloadSuccess, (gauge) => gauge.set(inventory().faultCount === 0 ? 1 : 0));
    this.#gauge(METRICS.reloadTime, (gauge) => gauge.set((inventory().loadedAt?.getTime() ?? 0) / 1000));
    this.#gauge(METRICS.buildInfo).set({ version }, 1);
    for (const board of boardNames) this.begin(board);
  }

  /** A series that is there from the start: a rate over a counter that is born at 1 would miss the first boot. */
  begin(board: string): void {
    this.#boots.inc({ board }, 0);
    this.#connections.inc({ board }, 0);
  }

  /** Of a board that is served no longer nothing is told: a series that stays at 0 connections would be an alarm. */
  async end(board: string): Promise<void> {
    for (const metric of this.#perBoard) {
      const { values } = await metric.get();
      // A histogram's values have labels of their own besides.
      const seen = values.filter(({ labels }) => labels['board'] === board);
      for (const { labels } of seen) metric.remove(labelsOf(labels));
    }
  }

  async text(): Promise<string> {
    this.#countElsewhere();
    return `${await this.#registry.metrics()}\n${this.#requestDuration.text()}`;
  }

  event(event: BoardEvent): void {
    const board = event.board ?? '';
    if (event.kind === 'discover' && event.answer === 'offered') this.#offers.inc({ board });
    if (event.kind === 'refused') this.#refusals.inc({ board, reason: event.reason });
    if (event.kind !== 'transferEnded') return;
    this.#transfers.inc({ board, outcome: event.outcome });
    this.#transferBytes.inc({ board }, event.sentBytes);
  }

  news(news: BootNews): void {
    const { board } = news;
    switch (news.kind) {
      case 'booted':
        this.#boots.inc({ board });
        this.#bootDuration.observe({ board }, news.durationMs / 1000);
        return;
      case 'failed':
        this.#bootFailures.inc({ board, stage: news.stage });
        return;
      case 'started':
      case 'stage':
      case 'resumed':
        return;
      default:
        unreachable(news);
    }
  }

  tlsFailed(): void {
    this.#tlsFailures.inc();
  }

  connectionOpened(board: string): void {
    this.#connections.inc({ board });
  }

  connectionClosed(board: string): void {
    this.#connections.dec({ board });
  }

  requestFinished(board: string, command: string, bytes: number, seconds: number, errno: string | undefined): void {
    this.#requests.inc({ board, command });
    this.#requestDuration.observe(command, seconds);
    if (errno !== undefined) this.#requestErrors.inc({ board, errno });
    else if (command === 'read' || command === 'write') this.#requestBytes.inc({ board, direction: command }, bytes);
  }

  requestsFinished({ board, command, ...tally }: MetricTally): void {
    this.#requests.inc({ board, command }, tally.count);
    this.#requestDuration.add(command, tally);
    if (command === 'read' || command === 'write') this.#requestBytes.inc({ board, direction: command }, tally.bytes);
  }

  #counter(metric: Declared): Counter {
    return new Counter({
      name: metric.name,
      help: metric.help,
      labelNames: metric.labels,
      registers: [this.#registry],
    });
  }

  #gauge(metric: Declared, collect: (gauge: Gauge) => void | Promise<void> = () => {}): Gauge {
    const gauge: Gauge = new Gauge({
      name: metric.name,
      help: metric.help,
      labelNames: metric.labels,
      registers: [this.#registry],
      collect: () => collect(gauge),
    });
    return gauge;
  }

  /** One value for each of those that there are at the time, by its one label. */
  #gaugeEach(metric: Declared & { readonly labels: readonly [string] }, look: () => Values | Promise<Values>): void {
    const [label] = metric.labels;
    this.#gauge(metric, async (gauge) => {
      const values = await look();
      gauge.reset();
      for (const [name, value] of values) gauge.set({ [label]: name }, value);
    });
  }

  #histogram(metric: Declared, buckets: number[]): Histogram {
    return new Histogram({
      name: metric.name,
      help: metric.help,
      labelNames: metric.labels,
      buckets,
      registers: [this.#registry],
    });
  }
}

/** Without `le`, which no caller has set. */
function labelsOf(labels: Partial<Record<string, string | number>>): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(labels).flatMap(([name, value]) => (name === 'le' || value === undefined ? [] : [[name, value]])),
  );
}

type Values = readonly (readonly [name: string, value: number])[];

interface Declared {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}
