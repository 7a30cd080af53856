import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import { JOURNAL_LOOK_MS, METRICS_KEPT_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { Board } from '../boards/board.js';
import type { DiskCommands } from '../boards/disks/disk-commands.js';
import { disksFolder } from '../boards/disks/disk-folder.js';
import { promoteDisk } from '../boards/disks/promotion.js';
import { AddressBook } from '../boards/identity/address-book.js';
import { Discovery, inventoryLines, inventoryLinesFor } from '../boards/identity/discovery.js';
import { lookupAmong } from '../boards/identity/inventory-lookup.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import { Journal } from '../boards/journal/journal.js';
import {
  type BoardFacts,
  type BoardVerdict,
  boardState,
  type ListenerStatus,
  lastBoot,
  type OwnDiskFacts,
  type ReopenVerdict,
  type ServerStatus,
  type UnknownBoard,
} from '../boards/journal/status.js';
import type { OpenBoards } from '../boards/opening/open-boards.js';
import type { Inventory } from '../inventory/inventory.js';
import { NO_TLS, type TlsReading } from '../inventory/tls-files.js';
import { TlsDoor } from '../nbd/handshake/tls-door.js';
import { type NbdServer, nbdServer } from '../nbd/server.js';
import { hostTime } from '../os/host-time.js';
import { neighbourMac } from '../os/neighbours.js';
import { chooseInterfaces } from '../os/network-interfaces.js';
import { NO_MANAGER, type ServiceManager } from '../os/service-manager.js';
import { type Courier, startCourier } from '../tftp/courier/courier.js';
import { KeptText } from '../web/kept-text.js';
import { type MeasuredStates, type MeasuredStorage, Metrics } from '../web/metrics.js';
import type { ControlSources } from '../web/server.js';
import { Audience } from './audience.js';
import { BoardDisks } from './board-disks.js';
import { BootHistories } from './boot-histories.js';
import { Certificates } from './certificates.js';
import { Doorkeeper } from './doorkeeper.js';
import { FailedDisk } from './failed-disk.js';
import { freeDisk } from './free-disk.js';
import { watchSpace } from './full-disk.js';
import { type HandedSockets, NONE_HANDED } from './handed-sockets.js';
import { HistoryFolder } from './history-folder.js';
import { imageCondition, tellImageEvent } from './image-watch.js';
import { narration, report } from './narration.js';
import { Network } from './network.js';
import { ServiceReport, statusSentence, stopSentence } from './service-report.js';
import { bootsFolder, type StateFolder } from './state-folder.js';
import { Storage, storedThings, systemStorage } from './storage.js';
import { unknownBoard } from './unknown-board.js';
import { WaysIn } from './ways-in.js';

export interface AppOptions {
  readonly inventory: Inventory;
  readonly boards: OpenBoards;
  readonly state: StateFolder;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  /** What systemd made for us: each takes the place of a listener of our own. */
  readonly sockets?: HandedSockets;
  /** What was read of certificates and keys. */
  readonly tls?: TlsReading;
  readonly manager?: ServiceManager;
}

export interface App {
  status(): ServerStatus;
  /** A board with all its boots, or why there is none. */
  board(name: string): BoardVerdict;
  /** Takes the disk of a board up again that had failed. */
  reopen(name: string): Promise<ReopenVerdict>;
  readonly disks: DiskCommands;
  /** Stops in the reverse order of starting: nobody is told to boot any more, transfers end, requests are finished, disks are closed. */
  stop(): Promise<void>;
}

/** Builds the parts from the inventory and starts them. Resolves when all that can listen does; the rest is tried again. */
export async function startApp(options: AppOptions): Promise<App> {
  const appliance = new Appliance(options);
  try {
    await appliance.start();
    return appliance;
  } catch (error) {
    await appliance.stop();
    throw error;
  }
}

class Appliance implements App {
  readonly disks: BoardDisks;
  readonly #options: AppOptions;
  readonly #startedAt: Date;
  readonly #discovery = new Discovery();
  readonly #journal: Journal;
  readonly #histories: BootHistories;
  readonly #metrics: Metrics;
  readonly #network: Network;
  readonly #doorkeeper: Doorkeeper;
  readonly #nbdServer: NbdServer;
  #courier: Courier | undefined;
  readonly #storage: Storage;
  readonly #serviceReport: ServiceReport;
  readonly #certificates: Certificates;
  readonly #failedDisks = new Map<string, FailedDisk>();
  #stopped = false;
  #missing: readonly string[] | undefined;

  constructor(options: AppOptions) {
    const { inventory, boards, state, clock, log, version } = options;
    this.#options = options;
    this.#startedAt = clock.today();
    this.#journal = new Journal(clock, (board, weight) => this.#histories.changed(board, weight));
    this.#histories = new BootHistories({
      ...{ journal: this.#journal, boards: boards.all.map(({ name }) => name), hostTime, clock, log },
      folder: new HistoryFolder(bootsFolder(state.path)),
    });
    this.#serviceReport = new ServiceReport(options.manager ?? NO_MANAGER, clock);
    this.#storage = new Storage({ things: storedThings(inventory), calls: systemStorage, clock, log });
    const tls = options.tls ?? NO_TLS;
    this.#certificates = new Certificates(tls.certificates, { clock, log });
    this.#metrics = new Metrics(this.#states(), { version, boardNames: [...inventory.boards.keys()] });
    const addresses = new AddressBook(neighbourMac);
    const lookup = lookupAmong(boards.all, addresses);
    const tell = narration({
      ...{ journal: this.#journal, metrics: this.#metrics, discovery: this.#discovery },
      ...{ addresses, lookup, log, clock, freeDisk: freeDisk(inventory) },
    });
    this.#watchDisks(tell);
    this.disks = new BoardDisks({ boards: boards.all, promote: promoteDisk, clock, log });
    const shared = { lookup, tell, clock, log };
    const audience = new Audience(inventory.server.allow);
    this.#doorkeeper = new Doorkeeper(audience, { clock, log });
    this.#nbdServer = nbdServer({
      ...{ ...shared, meter: this.#metrics, answers: this.#doorkeeper.answers('nbd') },
      tls: tls.files && { mode: inventory.nbd.tls.mode, door: new TlsDoor(tls.files) },
    });
    const waysIn = new WaysIn({
      ...{ inventory, state, shared, sockets: options.sockets ?? NONE_HANDED },
      ...{ nbdServer: this.#nbdServer, doorkeeper: this.#doorkeeper, courier: () => this.#courier },
      ...{ discovery: this.#discovery, freeDisk: freeDisk(inventory), sources: this.#sources() },
    });
    this.#network = new Network({
      interfaces: () => {
        const verdicts = chooseInterfaces(inventory.server.interfaces);
        audience.look(verdicts);
        return verdicts;
      },
      clock,
      always: waysIn.always(),
      looked: (missing) => this.#tellReadiness(missing),
      listenersOn: (found) => waysIn.on(found),
    });
  }

  async start(): Promise<void> {
    const { inventory, clock, log } = this.#options;
    const { tftp } = inventory;
    if (tftp.enabled && !tftp.singlePort) this.#courier = startCourier({ clock, log });
    this.#report(await this.#histories.restore());
    await this.#storage.start();
    await this.#network.start();
    this.#certificates.start();
    this.#serviceReport.ready(this.#sentence());
    this.#watchJournal();
  }

  status(): ServerStatus {
    const { boards, version } = this.#options;
    return {
      version,
      startedAt: this.#startedAt,
      listeners: this.#network.listeners(),
      boards: boards.all.map((board) => ({
        ...this.#factsOf(board),
        lastBoot: lastBoot(this.#journal.life(board.name)),
      })),
      unknownBoards: this.#unknownBoards(),
      images: boards.images().map(imageCondition),
      filesystems: this.#storage.filesystems(),
    };
  }

  #sources(): ControlSources {
    const metrics = new KeptText(() => this.#metrics.text(), METRICS_KEPT_MS, this.#options.clock);
    return {
      status: () => this.status(),
      board: (name) => this.board(name),
      listeners: () => this.#network.listeners(),
      metrics: () => metrics.text(),
      snapshots: (name) => this.disks.snapshots(name),
      reopen: (name) => this.reopen(name),
      disks: this.disks,
    };
  }

  #watchDisks(tell: TellBoardEvent): void {
    const { inventory, boards, clock, log } = this.#options;
    boards.listen((event) => tellImageEvent(event, log));
    for (const { name, space, medium, own } of boards.all) {
      const image = inventory.images.get(inventory.boards.get(name)?.image ?? '')?.file ?? '';
      const file = own === undefined ? image : join(disksFolder(inventory.server.state), name);
      const hasLimit = own !== undefined && inventory.server.stateLimitBytes !== undefined;
      const watching = { storage: this.#storage, tell, clock, log };
      if (space !== undefined) watchSpace({ board: name, file, space, hasLimit }, watching);
      const disk = medium && new FailedDisk({ board: name, file, medium }, { tell, clock, log });
      if (disk !== undefined) this.#failedDisks.set(name, disk);
    }
  }

  #states(): MeasuredStates {
    const { all } = this.#options.boards;
    return {
      unknownBoards: () => this.#discovery.count(),
      storage: () => this.#measuredStorage(),
      heldRequests: () => all.map(({ name, space }) => [name, space?.waiting?.requests ?? 0]),
      countElsewhere: () => this.#nbdServer.tellMeter(),
      certificates: () => this.#certificates.secondsLeft(),
      failedDisks: () => [...this.#failedDisks].map(([name, { failure }]) => [name, failure !== undefined]),
    };
  }

  async #measuredStorage(): Promise<MeasuredStorage> {
    await this.#storage.look();
    return {
      free: this.#storage.filesystems().map(({ mountPoint, freeBytes }) => [mountPoint, freeBytes]),
      allocated: this.#storage.allocated().map(({ board, bytes }) => [board, bytes]),
    };
  }

  board(name: string): BoardVerdict {
    const { all } = this.#options.boards;
    const board = all.find((candidate) => candidate.name === name);
    if (board === undefined) return { answer: 'unknown', because: this.#unknown(name) };
    return { answer: 'board', board: { ...this.#factsOf(board), boots: this.#journal.life(name).boots } };
  }

  async reopen(name: string): Promise<ReopenVerdict> {
    return (await this.#failedDisks.get(name)?.reopen()) ?? { answer: 'unknown', because: this.#unknown(name) };
  }

  #unknown(name: string): string {
    const names = this.#options.boards.all.map((board) => board.name);
    return unknownBoard(name, names);
  }

  #factsOf(board: Board): BoardFacts {
    const life = this.#journal.life(board.name);
    const entry = this.#options.inventory.boards.get(board.name);
    return {
      name: board.name,
      serial: board.serial,
      mac: board.mac,
      image: entry?.image ?? '',
      disk: entry?.disk ?? '',
      sizeBytes: board.disk.sizeBytes,
      own: this.#ownFacts(board),
      state: boardState(life),
      attachedFrom: life.attachedFrom,
      waitingForSpace: board.space?.waiting,
      diskFailure: this.#failedDisks.get(board.name)?.failure,
    };
  }

  #ownFacts({ name, own }: Board): OwnDiskFacts | undefined {
    if (own === undefined) return undefined;
    const { snapshotCount: snapshots, unusable } = own;
    return { bytes: this.#storage.allocated().find(({ board }) => board === name)?.bytes, snapshots, unusable };
  }

  #unknownBoards(): readonly UnknownBoard[] {
    const free = freeDisk(this.#options.inventory);
    const heard = this.#discovery.boards().map((board) => {
      const { serial, mac, model, lastSeenAt } = board;
      return { serial, mac, model, seenAt: lastSeenAt, suggestion: inventoryLines(board, free) };
    });
    const asking = this.#discovery.asking().map((board) => {
      const { serial, lastSeenAt } = board;
      return {
        serial,
        mac: undefined,
        model: undefined,
        seenAt: lastSeenAt,
        suggestion: inventoryLinesFor(board, free),
      };
    });
    return [...heard, ...asking];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#sayGoodbye(this.#attached());
    this.#journal.stopping();
    await Promise.all([this.#network.stop(), this.#nbdServer.stop()]);
    await Promise.all([this.#courier?.stop(), this.disks.stop()]);
    this.#storage.stop();
    this.#certificates.stop();
    // Side by side: a history that can't be written must keep no disk from being flushed.
    const [failures] = await Promise.all([this.#options.boards.close(), this.#histories.stop()]);
    for (const failure of failures) this.#options.log.error(failure, 'disk.flush.failed');
    this.#options.state.release();
  }

  /** Says it when everything is there, and what is not, each time that it changes. */
  #tellReadiness(missing: readonly ListenerStatus[]): void {
    const names = missing.map(({ name }) => name);
    const isNews = this.#missing === undefined || names.join() !== this.#missing.join();
    this.#missing = names;
    this.#serviceReport.look(this.#sentence());
    if (!isNews) return;
    if (names.length === 0) this.#options.log.info({}, 'server.ready');
    else this.#options.log.warn({ missing: missing.map((one) => `${one.name}: ${one.missing}`) }, 'server.waiting');
  }

  #sentence(): string {
    return statusSentence(this.#options.boards.all.length, this.#attached(), this.#missing ?? []);
  }

  /** Whose root disk goes away with us: whoever looks for the reason later finds the names in the log. */
  #sayGoodbye(attached: readonly string[]): void {
    const { log } = this.#options;
    this.#serviceReport.stopping(stopSentence(attached));
    if (attached.length === 0) log.info({ boards: [] }, 'disk.going');
    else log.warn({ boards: attached, means: DISK_GONE }, 'disk.going');
  }

  /** Boards whose disk is in use. */
  #attached(): readonly string[] {
    return [...new Set(this.#nbdServer.connections().map(({ board }) => board))];
  }

  #watchJournal(): void {
    this.#options.clock.after(JOURNAL_LOOK_MS, () => {
      if (this.#stopped) return;
      this.#report(this.#journal.expire());
      this.#watchJournal();
    });
  }

  #report(all: readonly BootNews[]): void {
    for (const news of all) report(news, { metrics: this.#metrics, log: this.#options.log });
  }
}

const DISK_GONE =
  'what they have been answered is kept; a Linux board does not attach its root disk again: boot it anew once the server is back';
