import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import type { Discovery, FreeDisk } from '../boards/identity/discovery.js';
import type { BoardLookup } from '../boards/identity/lookup.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import { startDhcpServer } from '../dhcp/server.js';
import { controlSocketPath, type Inventory } from '../inventory/inventory.js';
import type { NbdPlace } from '../nbd/listening.js';
import type { NbdServer } from '../nbd/server.js';
import { DescriptorWatch } from '../os/descriptor-watch.js';
import { interfaceIndex, type NetworkInterface } from '../os/network-interfaces.js';
import type { Courier } from '../tftp/courier/courier.js';
import { startTftpServer, type TftpServerSettings } from '../tftp/server.js';
import { type ControlSources, startControlServer, startWebServer, type WebPlace } from '../web/server.js';
import { addressOn, isLoopbackOnly } from './addresses.js';
import type { Doorkeeper } from './doorkeeper.js';
import { fromNetwork, type HandedSockets, handedName } from './handed-sockets.js';
import { Listener } from './listener.js';
import { closeToOthers, removeStaleSocket, type StateFolder } from './state-folder.js';

export interface WaysInWorld {
  /** As it is now: what a reload does not change counts from the start, what it does is asked each time. */
  readonly inventory: () => Inventory;
  readonly sockets: HandedSockets;
  readonly state: StateFolder;
  readonly nbdServer: NbdServer;
  readonly doorkeeper: Doorkeeper;
  /** Once it is started; undefined where the main port delivers. */
  readonly courier: () => Courier | undefined;
  readonly discovery: Discovery;
  /** For the lines that would add a board. */
  readonly freeDisk: () => FreeDisk;
  readonly sources: ControlSources;
  readonly shared: {
    readonly lookup: BoardLookup;
    readonly tell: TellBoardEvent;
    readonly clock: Clock;
    readonly log: Log;
  };
}

/** What listens for boards, browsers and the command line: as the inventory says, or by what systemd hands over. */
export class WaysIn {
  readonly #world: WaysInWorld;
  readonly #watch = new DescriptorWatch();

  constructor(world: WaysInWorld) {
    this.#world = world;
  }

  /** Whatever the interfaces are. */
  always(): readonly Listener[] {
    return [...this.#nbd(), ...this.#web(), ...this.#handedTftp()];
  }

  on(found: NetworkInterface): readonly Listener[] {
    return [...this.#dhcp(found), ...this.#tftp(found)];
  }

  #dhcp(found: NetworkInterface): readonly Listener[] {
    const { inventory, shared, discovery, freeDisk } = this.#world;
    const { dhcp, server } = inventory();
    if (!dhcp.enabled) return [];
    const place = { name: found.name, address: addressOn(server.address, found), broadcast: found.broadcast };
    const start = async () => {
      const settings = { interfaces: [place], port: dhcp.port, replyPort: dhcp.replyPort };
      const running = startDhcpServer({
        ...settings,
        ...shared,
        watch: this.#watch,
        discovery,
        get answer() {
          return inventory().dhcp.answer;
        },
        get freeDisk() {
          return freeDisk();
        },
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

  #tftp(found: NetworkInterface): readonly Listener[] {
    const { inventory, sockets, shared } = this.#world;
    const { tftp } = inventory();
    if (!tftp.enabled || sockets.tftp.length > 0) return [];
    // One for each address: transfers at the others go on when one comes or goes.
    return found.addresses.map(({ address }) => {
      const start = () => startTftpServer(this.#tftpSettings({ addresses: [address] }));
      const name = `tftp ${address} port ${tftp.port}`;
      return new Listener(name, start, shared.log, { slot: name, identity: name, service: 'tftp' });
    });
  }

  #handedTftp(): readonly Listener[] {
    const { inventory, sockets, shared } = this.#world;
    if (!inventory().tftp.enabled) return [];
    return sockets.tftp.map((socket) => {
      const { place, open } = socket;
      const bound = place.kind === 'ipv4' ? [{ local: place, open }] : [];
      const start = () => startTftpServer(this.#tftpSettings({ addresses: [], bound }));
      return new Listener(handedName('tftp', socket), start, shared.log);
    });
  }

  #tftpSettings(places: Pick<TftpServerSettings, 'addresses' | 'bound'>): TftpServerSettings {
    const { inventory, shared, doorkeeper, courier } = this.#world;
    return {
      ...{ ...shared, ...places, port: inventory().tftp.port },
      ...{ answers: doorkeeper.answers('tftp'), courier: courier() },
      get blockSizeMax() {
        return inventory().tftp.blockSizeMax;
      },
      get windowSizeMax() {
        return inventory().tftp.windowSizeMax;
      },
    };
  }

  #nbd(): readonly Listener[] {
    const { inventory, sockets, nbdServer, shared } = this.#world;
    const { nbd, server } = inventory();
    if (!nbd.enabled) return [];
    const listener = (name: string, place: () => NbdPlace) =>
      new Listener(name, async () => nbdServer.listen(place()), shared.log);
    const handed = sockets.nbd.map((socket) => {
      const origin = socket.place.kind === 'unix' ? 'host' : 'network';
      return listener(handedName('nbd', socket), () => ({ kind: 'descriptor', descriptor: socket.open(), origin }));
    });
    const address = isLoopbackOnly(server.interfaces) ? '127.0.0.1' : '0.0.0.0';
    // One socket for all addresses outlives every change of them, and with it the boards' disks; strangers are turned away at the door.
    const own = listener(`nbd ${address} port ${nbd.port}`, () => ({ kind: 'tcp', address, port: nbd.port }));
    const path = nbd.socket;
    const unix = path === undefined ? [] : [listener(`nbd ${path}`, () => ({ kind: 'unix', path }))];
    return [...(fromNetwork(sockets.nbd).length > 0 ? [] : [own]), ...handed, ...unix];
  }

  #web(): readonly Listener[] {
    const { inventory, state, sources, shared } = this.#world;
    const socketPath = controlSocketPath(state.path);
    const control = async () => {
      removeStaleSocket(socketPath);
      const server = await startControlServer(socketPath, sources);
      closeToOthers(socketPath);
      return server;
    };
    return [new Listener('control socket', control, shared.log), ...(inventory().http.enabled ? this.#http() : [])];
  }

  #http(): readonly Listener[] {
    const { inventory, sockets, sources, doorkeeper, shared } = this.#world;
    const { clock, log } = shared;
    const { address, port } = inventory().http;
    const answers = doorkeeper.answers('http');
    const listener = (name: string, place: () => WebPlace) =>
      new Listener(name, async () => startWebServer({ place: place(), answers, clock }, sources), log);
    const handed = sockets.http.map((socket) =>
      listener(handedName('http', socket), () => ({ descriptor: socket.open(), isUnix: socket.place.kind === 'unix' })),
    );
    const own = listener(`http ${address} port ${port}`, () => ({ address, port }));
    return [...(fromNetwork(sockets.http).length > 0 ? [] : [own]), ...handed];
  }
}
