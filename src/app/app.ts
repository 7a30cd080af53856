import { type Clock, passed } from '../base/clock.js';
import { JOURNAL_LOOK_MS, METRICS_KEPT_MS, STOP_BESIDE_BOARDS_MS, STOP_MS_MAX } from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { DiskCommands } from '../boards/disks/disk-commands.js';
import { promoteDisk } from '../boards/disks/promotion.js';
import { AddressBook } from '../boards/identity/address-book.js';
import { Discovery } from '../boards/identity/discovery.js';
import { lookupAmong } from '../boards/identity/inventory-lookup.js';
import type { BootNews } from '../boards/journal/boot-record.js';
import { Journal } from '../boards/journal/journal.js';
import type {
  BoardVerdict,
  ListenerStatus,
  ReloadVerdict,
  ReopenVerdict,
  ServerStatus,
} from '../boards/journal/status.js';
import { servedBy } from '../inventory/difference.js';
import type { TlsReading } from '../inventory/tls-files.js';
import type { NbdTls } from '../nbd/connection-world.js';
import { StoreKeeper } from '../nbd/handover/store-keeper.js';
import { TlsDoor } from '../nbd/handshake/tls-door.js';
import { type NbdServer, nbdServer } from '../nbd/server.js';
import type { HandedDescriptor } from '../os/handed-descriptors.js';
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
import { BoardWatch } from './board-watch.js';
import { BootHistories } from './boot-histories.js';
import { Certificates } from './certificates.js';
import { Changeover } from './changeover.js';
import type { OpenConfiguration } from './configuration.js';
import { Doorkeeper } from './doorkeeper.js';
import { followersOf, watchAll } from './followers.js';
import { freeDisk } from './free-disk.js';
import { type HandedSockets, NONE_HANDED } from './handed-sockets.js';
import { Handover } from './handover/handover.js';
import { HandoverFolder, handoverFolder } from './handover/handover-folder.js';
import { lookForKeeping } from './handover/keeping.js';
import { HistoryFolder } from './history-folder.js';
import { tellImageEvent } from './image-watch.js';
import { narration, report } from './narration.js';
import { Network } from './network.js';
import { Overview } from './overview.js';
import { Reloader, type ReloadWish } from './reload.js';
import { RunningInventory } from './running-inventory.js';
import { ServiceReport, statusSentence, stopSentence } from './service-report.js';
import { bootsFolder } from './state-folder.js';
import { Storage, storedThings, systemStorage } from './storage.js';
import { WaysIn } from './ways-in.js';

export interface AppOptions extends OpenConfiguration {
  /** Of the inventory. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  /** What systemd made for us: each takes the place of a listener of our own. */
  readonly sockets?: HandedSockets;
  /** Connections that it kept for the process before us. */
  readonly stored?: readonly HandedDescriptor[];
  readonly manager?: ServiceManager;
}

export interface App {
  status(): ServerStatus;
  /** A board with all its boots, or why there is none. */
  board(name: string): BoardVerdict;
  /** Takes the disk of a board up again that had failed. */
  reopen(name: string): Promise<ReopenVerdict>;
  /** Reads the inventory again, and has what is in it done. Never rejects. */
  reload(wish: ReloadWish): Promise<ReloadVerdict>;
  readonly disks: DiskCommands;
  /** Stops in the reverse order of starting: nobody is told to boot any more, transfers end, requests are finished, disks are closed. `busy`: something is still done to a disk that nobody will wait for; the process has to end on the spot, and with it what keeps others from that disk. */
  stop(): Promise<'ended' | 'busy'>;
}

/** Builds the parts from the inventory and starts them. Resolves when all that can listen does; the rest is tried again. Rejects for a bug of ours, stopped as far as it can be. */
export async function startApp(options: AppOptions): Promise<App> {
  const appliance = new Appliance(options);
  try {
    await appliance.start();
    return appliance;
  } catch (error) {
    const { clock, log } = options;
    const stopped = appliance.stop().catch((late: unknown) => log.error({ err: late }, 'server.bug'));
    await Promise.race([stopped, passed(clock, STOP_MS_MAX)]);
    throw error;
  }
}

class Appliance implements App {
  readonly disks: BoardDisks;
  readonly #options: AppOptions;
  readonly #startedAt: Date;
  readonly #running: RunningInventory;
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
  readonly #watch: BoardWatch;
  readonly #overview: Overview;
  readonly #reloader: Reloader;
  readonly #handover: Handover;
  /** Of the certificates and keys that were read last. */
  #door: TlsDoor | undefined;
  #stopped = false;
  #missing: readonly string[] | undefined;

  constructor(options: AppOptions) {
    const { inventory, boards, state, tls, clock, log, version } = options;
    this.#options = options;
    this.#startedAt = clock.today();
    this.#running = new RunningInventory(servedBy(inventory));
    this.#journal = new Journal(clock, (board, weight) => this.#histories.changed(board, weight));
    const folder = new HistoryFolder(bootsFolder(state.path));
    this.#histories = new BootHistories({ journal: this.#journal, folder, hostTime, clock, log });
    this.#serviceReport = new ServiceReport(options.manager ?? NO_MANAGER, clock);
    this.#storage = new Storage({ things: storedThings(this.#running.served), calls: systemStorage, clock, log });
    this.#certificates = new Certificates(tls.certificates, { clock, log });
    this.#door = tls.files && new TlsDoor(tls.files);
    this.#metrics = new Metrics(this.#states(), { version, boardNames: [...inventory.boards.keys()] });
    const addresses = new AddressBook(neighbourMac);
    const lookup = lookupAmong(boards.all, addresses);
    const free = () => freeDisk(this.#running.inventory);
    const narrate = narration({
      ...{ journal: this.#journal, metrics: this.#metrics, discovery: this.#discovery },
      ...{ addresses, lookup, log, clock, freeDisk: free },
    });
    const tell: typeof narrate = (event) => {
      // What is left of a board that is served no longer: it would begin its history and its metrics anew.
      if (event.board !== undefined && lookup.byName(event.board) === undefined) return;
      narrate(event);
      if (event.kind === 'detached') this.#reloader.letGo();
      if (event.kind === 'attached' && event.board !== undefined) this.#handover.attached(event.board);
    };
    this.#watch = new BoardWatch({ storage: this.#storage, tell, clock, log });
    boards.listen((event) => tellImageEvent(event, log));
    watchAll(this.#watch, boards, this.#running);
    this.disks = new BoardDisks({ boards: () => boards.all, promote: promoteDisk, clock, log });
    this.#overview = new Overview({
      ...{ boards, running: this.#running, journal: this.#journal, discovery: this.#discovery },
      ...{ storage: this.#storage, watch: this.#watch },
    });
    const shared = { lookup, tell, clock, log };
    const audience = new Audience(inventory.server.allow);
    this.#doorkeeper = new Doorkeeper(audience, { clock, log });
    const nbdTls = () => this.#tls();
    this.#nbdServer = nbdServer({
      ...{ ...shared, meter: this.#metrics, answers: this.#doorkeeper.answers('nbd') },
      get tls() {
        return nbdTls();
      },
    });
    const store = new StoreKeeper(options.manager?.store, options.stored ?? []);
    const { handoverLimitMs: limitMs } = inventory.server;
    this.#handover = new Handover({
      ...{ nbdServer: this.#nbdServer, boards: () => boards.all, hostTime, clock, log },
      ...{ folder: new HandoverFolder(handoverFolder(state.path)), limitMs, store },
      look: () => lookForKeeping({ store, stateFolder: state.path, port: inventory.nbd.port, limitMs }),
    });
    const waysIn = new WaysIn({
      ...{ inventory: () => this.#running.inventory, state, shared, sockets: options.sockets ?? NONE_HANDED },
      ...{ nbdServer: this.#nbdServer, doorkeeper: this.#doorkeeper, courier: () => this.#courier },
      ...{ discovery: this.#discovery, freeDisk: free, sources: this.#sources() },
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
    const followers = followersOf({
      ...{ running: this.#running, boards, histories: this.#histories, metrics: this.#metrics },
      ...{ nbdServer: this.#nbdServer, watch: this.#watch, discovery: this.#discovery, storage: this.#storage },
      ...{ audience, network: this.#network, report: (news) => this.#report(news), log },
    });
    this.#reloader = new Reloader({
      ...{ path: options.path, opened: options, clock, log },
      changeover: new Changeover({ boards, disks: this.disks, lookup, running: this.#running, followers, log }),
      certify: (reading) => this.#certify(reading),
      tell: {
        begun: () => this.#serviceReport.reloading(),
        ended: () => this.#serviceReport.reloaded(this.#sentence()),
      },
    });
  }

  async start(): Promise<void> {
    const { inventory, boards, clock, log } = this.#options;
    const { tftp } = inventory;
    if (tftp.enabled && !tftp.singlePort) this.#courier = startCourier({ clock, log });
    this.#report(await this.#histories.restore(boards.all.map(({ name }) => name)));
    await this.#handover.thaw();
    await this.#storage.start();
    await this.#network.start();
    this.#certificates.start();
    await Promise.all([this.#handover.release(), this.#reloader.start()]);
    this.#serviceReport.ready(this.#sentence());
    this.#watchJournal();
  }

  status(): ServerStatus {
    return {
      version: this.#options.version,
      startedAt: this.#startedAt,
      listeners: this.#network.listeners(),
      ...this.#overview.boards,
      inventory: this.#reloader.status(),
      handover: this.#handover.status(),
    };
  }

  board(name: string): BoardVerdict {
    return this.#overview.board(name);
  }

  async reopen(name: string): Promise<ReopenVerdict> {
    const disk = this.#watch.failedDisks.get(name);
    return (await disk?.reopen()) ?? { answer: 'unknown', because: this.#overview.unknown(name) };
  }

  reload(wish: ReloadWish): Promise<ReloadVerdict> {
    return this.#reloader.reload(wish);
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
      reload: (force) => this.reload({ by: 'command', force }),
      disks: this.disks,
    };
  }

  #states(): MeasuredStates {
    const { boards } = this.#options;
    return {
      unknownBoards: () => this.#discovery.count(),
      storage: () => this.#measuredStorage(),
      heldRequests: () => boards.all.map(({ name, space }) => [name, space?.waiting?.requests ?? 0]),
      countElsewhere: () => this.#nbdServer.tellMeter(),
      certificates: () => this.#certificates.secondsLeft(),
      failedDisks: () => [...this.#watch.failedDisks].map(([name, { failure }]) => [name, failure !== undefined]),
      inventory: () => this.#reloader.measured(),
      atRisk: () => this.#handover.status().atRisk,
    };
  }

  async #measuredStorage(): Promise<MeasuredStorage> {
    await this.#storage.look();
    return {
      free: this.#storage.filesystems().map(({ mountPoint, freeBytes }) => [mountPoint, freeBytes]),
      allocated: this.#storage.allocated().map(({ board, bytes }) => [board, bytes]),
    };
  }

  #tls(): NbdTls | undefined {
    return this.#door && { mode: this.#running.inventory.nbd.tls.mode, door: this.#door };
  }

  /** For who comes from now on. */
  #certify({ files, certificates, warnings }: TlsReading): void {
    this.#door = files && new TlsDoor(files);
    this.#certificates.replace(certificates);
    for (const warning of warnings) this.#options.log.warn({ warning }, 'nbd.tls.warning');
  }

  async stop(): Promise<'ended' | 'busy'> {
    this.#stopped = true;
    const attached = this.#attached();
    this.#journal.stopping();
    // Before all else: who stops us may kill us soon.
    const reloaded = this.#reloader.stop();
    const { kept, busy } = await this.#handover.freeze();
    const all = new Set([...attached, ...this.#attached()]); // some may have come meanwhile
    this.#sayGoodbye([...all].filter((board) => !kept.includes(board)));
    const ended = this.#stopRest(reloaded, busy);
    if (kept.length === 0) return ended;
    // Boards wait for the next process: a disk of another one that hangs must not keep them waiting.
    return Promise.race([ended, passed(this.#options.clock, STOP_BESIDE_BOARDS_MS).then(() => 'busy' as const)]);
  }

  async #stopRest(reloaded: Promise<void>, busy: ReadonlySet<string>): Promise<'ended' | 'busy'> {
    await reloaded;
    await Promise.all([this.#network.stop(), this.#nbdServer.stop()]);
    await Promise.all([this.#courier?.stop(), this.disks.stop()]);
    this.#storage.stop();
    this.#certificates.stop();
    // Side by side: a history that can't be written must keep no disk from being flushed.
    const [failures] = await Promise.all([this.#options.boards.close(busy), this.#histories.stop()]);
    for (const failure of failures) this.#options.log.error(failure, 'disk.flush.failed');
    if (busy.size > 0) return 'busy';
    this.#options.state.release();
    return 'ended';
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
