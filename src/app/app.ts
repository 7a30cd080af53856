import type { Clock } from '../base/clock.js';
import { JOURNAL_LOOK_MS, METRICS_KEPT_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import type { Board } from '../boards/board.js';
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
  type ServerStatus,
  type UnknownBoard,
} from '../boards/journal/status.js';
import type { OpenBoards } from '../boards/open-boards.js';
import { startDhcpServer } from '../dhcp/server.js';
import { controlSocketPath, type Inventory } from '../inventory/inventory.js';
import { startNbdServer } from '../nbd/server.js';
import { DescriptorWatch } from '../os/descriptor-watch.js';
import { hostTime } from '../os/host-time.js';
import { neighbourMac } from '../os/neighbours.js';
import { chooseInterfaces, interfaceIndex, type NetworkInterface } from '../os/network-interfaces.js';
import { type Courier, startCourier } from '../tftp/courier/courier.js';
import { startTftpServer } from '../tftp/server.js';
import { KeptText } from '../web/kept-text.js';
import { type MeasuredStates, type MeasuredStorage, Metrics } from '../web/metrics.js';
import { startControlServer, startWebServer } from '../web/server.js';
import { addressOn, isLoopbackOnly } from './addresses.js';
import { Audience } from './audience.js';
import { BootHistories } from './boot-histories.js';
import { Doorkeeper } from './doorkeeper.js';
import { watchSpace } from './full-disk.js';
import { HistoryFolder } from './history-folder.js';
import { Listener } from './listener.js';
import { narration, report } from './narration.js';
import { Network } from './network.js';
import { bootsFolder, closeToOthers, removeStaleSocket, type StateFolder } from './state-folder.js';
import { Storage, storedThings, systemStorage } from './storage.js';
import { unknownBoard } from './unknown-board.js';

export interface AppOptions {
  readonly inventory: Inventory;
  readonly boards: OpenBoards;
  readonly state: StateFolder;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
}

export interface App {
  status(): ServerStatus;
  /** A board with all its boots, or why there is none. */
  board(name: string): BoardVerdict;
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
  readonly #options: AppOptions;
  readonly #startedAt: Date;
  readonly #discovery = new Discovery();
  readonly #journal: Journal;
  readonly #histories: BootHistories;
  readonly #metrics: Metrics;
  readonly #network: Network;
  readonly #doorkeeper: Doorkeeper;
  #courier: Courier | undefined;
  readonly #watch = new DescriptorWatch();
  readonly #storage: Storage;
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
    this.#storage = new Storage({ things: storedThings(inventory), calls: systemStorage, clock, log });
    this.#metrics = new Metrics(this.#states(), { version, boardNames: [...inventory.boards.keys()] });
    const addresses = new AddressBook(neighbourMac);
    const lookup = lookupAmong(boards.all, addresses);
    const tell = narration({
      ...{ journal: this.#journal, metrics: this.#metrics, discovery: this.#discovery },
      ...{ addresses, lookup, log, clock, imageName: this.#freeImage() },
    });
    this.#watchSpace(tell);
    const shared = { lookup, tell, clock, log };
    const audience = new Audience(inventory.server.allow);
    this.#doorkeeper = new Doorkeeper(audience, { clock, log });
    this.#network = new Network({
      interfaces: () => {
        const verdicts = chooseInterfaces(inventory.server.interfaces);
        audience.look(verdicts);
        return verdicts;
      },
      clock,
      always: [...this.#nbd(shared), ...this.#web()],
      looked: (missing) => this.#tellReadiness(missing),
      listenersOn: (found) => [...this.#dhcp(found, shared), ...this.#tftp(found, shared)],
    });
  }

  async start(): Promise<void> {
    const { inventory, clock, log } = this.#options;
    const { tftp } = inventory;
    if (tftp.enabled && !tftp.singlePort) this.#courier = startCourier({ clock, log });
    this.#report(await this.#histories.restore());
    await this.#storage.start();
    await this.#network.start();
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
      filesystems: this.#storage.filesystems(),
    };
  }

  #watchSpace(tell: TellBoardEvent): void {
    const { inventory, boards, clock, log } = this.#options;
    for (const { name, space } of boards.all) {
      const file = inventory.images.get(inventory.boards.get(name)?.image ?? '')?.file ?? '';
      if (space !== undefined) watchSpace({ board: name, file, space }, { storage: this.#storage, tell, clock, log });
    }
  }

  #states(): MeasuredStates {
    const { all } = this.#options.boards;
    return {
      unknownBoards: () => this.#discovery.count(),
      storage: () => this.#measuredStorage(),
      heldRequests: () => all.map(({ name, space }) => [name, space?.waiting?.requests ?? 0]),
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
    if (board === undefined) {
      const names = all.map((candidate) => candidate.name);
      return { answer: 'unknown', because: unknownBoard(name, names) };
    }
    return { answer: 'board', board: { ...this.#factsOf(board), boots: this.#journal.life(name).boots } };
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
      state: boardState(life),
      attachedFrom: life.attachedFrom,
      waitingForSpace: board.space?.waiting,
    };
  }

  #unknownBoards(): readonly UnknownBoard[] {
    const imageName = this.#freeImage();
    const heard = this.#discovery.boards().map((board) => {
      const { serial, mac, model, lastSeenAt } = board;
      return { serial, mac, model, seenAt: lastSeenAt, suggestion: inventoryLines(board, imageName) };
    });
    const asking = this.#discovery.asking().map((board) => {
      const { serial, lastSeenAt } = board;
      return {
        serial,
        mac: undefined,
        model: undefined,
        seenAt: lastSeenAt,
        suggestion: inventoryLinesFor(board, imageName),
      };
    });
    return [...heard, ...asking];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#journal.stopping();
    await this.#network.stop();
    await this.#courier?.stop();
    this.#storage.stop();
    // Side by side: a history that can't be written must keep no disk from being flushed.
    const [failures] = await Promise.all([this.#options.boards.close(), this.#histories.stop()]);
    for (const failure of failures) this.#options.log.error(failure, 'disk.flush.failed');
    this.#options.state.release();
  }

  /** Says it when everything is there, and what is not, each time that it changes. */
  #tellReadiness(missing: readonly ListenerStatus[]): void {
    const names = missing.map(({ name }) => name);
    if (this.#missing !== undefined && names.join() === this.#missing.join()) return;
    this.#missing = names;
    if (names.length === 0) this.#options.log.info({}, 'server.ready');
    else this.#options.log.warn({ missing: missing.map((one) => `${one.name}: ${one.missing}`) }, 'server.waiting');
  }

  #dhcp(found: NetworkInterface, shared: Shared): readonly Listener[] {
    const { dhcp, server } = this.#options.inventory;
    if (!dhcp.enabled) return [];
    const place = { name: found.name, address: addressOn(server.address, found), broadcast: found.broadcast };
    const start = async () => {
      const settings = { interfaces: [place], port: dhcp.port, replyPort: dhcp.replyPort, answer: dhcp.answer };
      const running = startDhcpServer({
        ...settings,
        ...shared,
        watch: this.#watch,
        discovery: this.#discovery,
        imageName: this.#freeImage(),
      });
      const failure = () =>
        running.bound().flatMap((binding) => (binding.answer === 'failed' ? [binding.because] : []))[0];
      const because = failure();
      if (because === undefined) return { stop: () => running.stop(), failure };
      await running.stop();
      throw new Error(because);
    };
    const name = `dhcp ${found.name} ${place.address} port ${dhcp.port}`;
    // An interface made anew is another one, although it has name and address of the one before.
    const identity = `${name} interface ${interfaceIndex(found.name)}`;
    return [new Listener(name, start, shared.log, { slot: `dhcp ${found.name}`, identity })];
  }

  #tftp(found: NetworkInterface, shared: Shared): readonly Listener[] {
    const { tftp } = this.#options.inventory;
    if (!tftp.enabled) return [];
    const answers = this.#doorkeeper.answers('tftp');
    // One for each address: transfers at the others go on when one comes or goes.
    return found.addresses.map(({ address }) => {
      const start = () =>
        startTftpServer({ ...tftp, ...shared, answers, courier: this.#courier, addresses: [address] });
      return new Listener(`tftp ${address} port ${tftp.port}`, start, shared.log);
    });
  }

  #nbd(shared: Shared): readonly Listener[] {
    const { nbd, server } = this.#options.inventory;
    if (!nbd.enabled) return [];
    const address = isLoopbackOnly(server.interfaces) ? '127.0.0.1' : '0.0.0.0';
    // One socket for all addresses outlives every change of them, and with it the boards' disks; strangers are turned away at the door.
    const answers = this.#doorkeeper.answers('nbd');
    const settings = { addresses: [address], port: nbd.port, meter: this.#metrics, answers };
    const start = () => startNbdServer({ ...shared, ...settings });
    return [new Listener(`nbd ${address} port ${nbd.port}`, start, shared.log)];
  }

  #web(): readonly Listener[] {
    const { inventory, state, clock, log } = this.#options;
    const metrics = new KeptText(() => this.#metrics.text(), METRICS_KEPT_MS, this.#options.clock);
    const sources = {
      ...{ status: () => this.status(), board: (name: string) => this.board(name) },
      ...{ listeners: () => this.#network.listeners(), metrics: () => metrics.text() },
    };
    const socketPath = controlSocketPath(state.path);
    const control = async () => {
      removeStaleSocket(socketPath);
      const server = await startControlServer(socketPath, sources);
      closeToOthers(socketPath);
      return server;
    };
    const { enabled, address, port } = inventory.http;
    const at = { address, port, answers: this.#doorkeeper.answers('http'), clock };
    const http = new Listener(`http ${address} port ${port}`, () => startWebServer(at, sources), log);
    return [new Listener('control socket', control, log), ...(enabled ? [http] : [])];
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

  /** For the lines that would add a board: a direct disk serves one board, so an image that none has. */
  #freeImage(): string {
    const { images, boards } = this.#options.inventory;
    const taken = new Set([...boards.values()].map(({ image }) => image));
    return (
      [...images.keys()].find((name) => !taken.has(name)) ?? 'NAME # of an image of its own: a copy, under `images:`'
    );
  }
}

type Shared = Pick<Parameters<typeof startTftpServer>[0], 'lookup' | 'tell' | 'clock' | 'log'>;
