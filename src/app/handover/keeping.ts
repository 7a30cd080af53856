import type { ConnectionKeeper } from '../../nbd/handover/keeper.js';
import type { StoreKeeper } from '../../nbd/handover/store-keeper.js';
import { TcpKeeper } from '../../nbd/handover/tcp-keeper.js';
import { ConnectionHold } from '../../os/connection-hold.js';
import { fileNumber } from '../../os/file-identity.js';
import { whyNoTcpRepair } from '../../os/tcp-repair.js';

/** Keeps the boards' connections from one process to the next. */
export interface Keeping {
  readonly keeper: ConnectionKeeper;
  /** Those that are to be kept are safe although we end. False if nobody says so. */
  settled(): Promise<boolean>;
  /** Whether anybody is kept out now. */
  isHolding(): Promise<boolean>;
  /** Those that were kept are back. Who comes to the ports waits on. */
  letThrough(): Promise<unknown>;
  /** What keeps them out, while somebody is away; undefined where nothing does. */
  readonly hold: string | undefined;
  /** Everybody may come in, whom we keep out or who did under that other name. */
  release(hold?: string): Promise<void>;
}

export type KeepingVerdict =
  | { readonly answer: 'can'; readonly keeping: Keeping }
  /** Half a sentence each: what is missing, and what to do. */
  | { readonly answer: 'cannot'; readonly because: string; readonly remedy: string };

export interface KeepingOptions {
  /** Of a service manager, or of none. */
  readonly store: StoreKeeper;
  /** There is one at least: by its number the rules of several servers on a host are told apart. */
  readonly stateFolder: string;
  /** Of our own listener. */
  readonly port: number;
  /** `server.handover_limit`. */
  readonly limitMs: number;
}

/**
 * Whether a stop of ours can keep the boards' connections for the next process, and by what. By TCP_REPAIR where that can be: whoever
 * started us, and for as long as a peer is patient. Changes nothing.
 */
export async function lookForKeeping(options: KeepingOptions): Promise<KeepingVerdict> {
  const { store, stateFolder } = options;
  const hold = new ConnectionHold(`brambleboot_${fileNumber(stateFolder)}`);
  const lack = await whyNotKept(hold);
  if (lack === undefined) return { answer: 'can', keeping: byRepair(hold, options) };
  if (store.max !== undefined) return { answer: 'can', keeping: byStore(store) };
  return { answer: 'cannot', ...lack };
}

function byRepair(hold: ConnectionHold, { port, limitMs }: KeepingOptions): Keeping {
  const keeper = new TcpKeeper(hold, limitMs / 1000);
  return {
    keeper,
    settled: async () => true,
    isHolding: () => hold.isHolding(),
    letThrough: () => keeper.keepOut([port]),
    hold: hold.name,
    release: (name = hold.name) => new ConnectionHold(name).release(),
  };
}

/** Nobody is kept out: whoever comes while we are away is refused, unless the service manager has our port. */
function byStore(store: StoreKeeper): Keeping {
  return {
    keeper: store,
    settled: () => store.settled(),
    isHolding: async () => false,
    letThrough: async () => {},
    hold: undefined,
    release: async () => {},
  };
}

/** What is missing to keep connections by `hold`, which a service manager may make up for. */
export async function whyNotKept(
  hold = new ConnectionHold('brambleboot'),
): Promise<{ readonly because: string; readonly remedy: string } | undefined> {
  const noRepair = whyNoTcpRepair();
  if (noRepair !== undefined) return { because: noRepair, remedy: `${GRANT}; ${STORE}` };
  let failure = await hold.whyNot();
  // While a machine starts, nft may take longer than it has: that must not decide for as long as we live.
  for (let left = LOOKS - 1; left > 0 && failure?.code === 'EIO'; left -= 1) failure = await hold.whyNot();
  return failure && { because: failure.message, remedy: `${REMEDIES[failure.code]}; ${STORE}` };
}

const LOOKS = 3;

const GRANT =
  'grant CAP_NET_ADMIN: `cap_add: [NET_ADMIN]` in compose.yaml, AmbientCapabilities= and CapabilityBoundingSet= in the unit';
const INSTALL = 'install the package nftables on this host, or build the container image anew';
const MEND = 'see what `nft list ruleset` says, and restart the server when that works';
/** Of what the packet filter lacks. */
const REMEDIES = { EPERM: GRANT, ENOENT: INSTALL, EIO: MEND };
const STORE =
  'or let systemd keep the connections: FileDescriptorStoreMax= in the unit, as systemd/brambleboot.service has it';
