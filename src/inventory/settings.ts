import { isDeepStrictEqual } from 'node:util';
import type { Inventory } from './inventory.js';
import type { KEYS } from './schema-reference.js';

/** What concerns all boards. */
export type Settings = Pick<Inventory, 'server' | 'dhcp' | 'tftp' | 'nbd' | 'http'>;

/** A key that is neither of an image nor of a board. */
export type SettingKey = Exclude<keyof typeof KEYS, `images.${string}` | `boards.${string}`>;

interface Setting {
  /** Whether a server that runs goes by another value from then on, or only the next one does. */
  readonly counts: 'atOnce' | 'fromStart' | 'fromStartIfNew';
  readonly of: (settings: Settings) => unknown;
  /** `to` with the value of this key that `from` has. */
  readonly copied: (to: Settings, from: Settings) => Settings;
}

/** Ports, sockets and the state folder belong to what is running: to have others means to let go of those that boards use now. */
const SETTINGS: Readonly<Record<SettingKey, Setting>> = {
  // Whether NBD listens on loopback alone hangs on it.
  'server.interface': { ...setting('server', 'interfaces'), counts: 'fromStart' },
  'server.address': { ...setting('server', 'address'), counts: 'atOnce' },
  'server.state': { ...setting('server', 'state'), counts: 'fromStart' },
  'server.allow': { ...setting('server', 'allow'), counts: 'atOnce' },
  // A connection that is there waits, or does not, to its end.
  'server.on_full': { ...setting('server', 'onFull'), counts: 'fromStart' },
  // Disks that were opened without any limit ask nobody before they grow.
  'server.state_limit': { ...setting('server', 'stateLimitBytes'), counts: 'fromStartIfNew' },
  // The rules that keep connections are made with it at the end.
  'server.handover_limit': { ...setting('server', 'handoverLimitMs'), counts: 'fromStart' },
  'server.watch': { ...setting('server', 'watch'), counts: 'atOnce' },
  'dhcp.enabled': { ...setting('dhcp', 'enabled'), counts: 'fromStart' },
  'dhcp.port': { ...setting('dhcp', 'port'), counts: 'fromStart' },
  'dhcp.reply_port': { ...setting('dhcp', 'replyPort'), counts: 'fromStart' },
  'dhcp.answer': { ...setting('dhcp', 'answer'), counts: 'atOnce' },
  'tftp.enabled': { ...setting('tftp', 'enabled'), counts: 'fromStart' },
  'tftp.port': { ...setting('tftp', 'port'), counts: 'fromStart' },
  'tftp.block_size_max': { ...setting('tftp', 'blockSizeMax'), counts: 'atOnce' },
  'tftp.window_size_max': { ...setting('tftp', 'windowSizeMax'), counts: 'atOnce' },
  'tftp.single_port': { ...setting('tftp', 'singlePort'), counts: 'fromStart' },
  'nbd.enabled': { ...setting('nbd', 'enabled'), counts: 'fromStart' },
  'nbd.port': { ...setting('nbd', 'port'), counts: 'fromStart' },
  'nbd.socket': { ...setting('nbd', 'socket'), counts: 'fromStart' },
  'nbd.tls.mode': { ...tlsSetting('mode'), counts: 'atOnce' },
  'nbd.tls.certificate': { ...tlsSetting('certificate'), counts: 'atOnce' },
  'nbd.tls.key': { ...tlsSetting('key'), counts: 'atOnce' },
  'nbd.tls.client_ca': { ...tlsSetting('clientCa'), counts: 'atOnce' },
  'nbd.tls.psk': { ...tlsSetting('psk'), counts: 'atOnce' },
  'http.enabled': { ...setting('http', 'enabled'), counts: 'fromStart' },
  'http.address': { ...setting('http', 'address'), counts: 'fromStart' },
  'http.port': { ...setting('http', 'port'), counts: 'fromStart' },
};

const ALL = Object.entries(SETTINGS).map(([key, setting]) => ({ key, ...setting }));

/** Keys that a server takes over while it runs, as they stand in the file. */
export function keysAtOnce(): readonly string[] {
  return ALL.filter(({ counts }) => counts !== 'fromStart').map(({ key }) => key);
}

/** Of changed keys those that a server takes over while it runs, and those that need a restart. */
export function sortSettings(
  keys: readonly string[],
  before: Settings,
): { readonly atOnce: readonly string[]; readonly fromStart: readonly string[] } {
  const needsStart = ({ counts, of }: Setting) =>
    counts === 'fromStart' || (counts === 'fromStartIfNew' && of(before) === undefined);
  const changed = ALL.filter(({ key }) => keys.includes(key));
  const keysOf = (some: typeof changed) => some.map(({ key }) => key);
  return {
    atOnce: keysOf(changed.filter((setting) => !needsStart(setting))),
    fromStart: keysOf(changed.filter(needsStart)),
  };
}

/** Keys of which the two have other values, in the order of the documentation. */
export function changedSettings(before: Settings, after: Settings): readonly string[] {
  return ALL.filter(({ of }) => !isDeepStrictEqual(of(before), of(after))).map(({ key }) => key);
}

/** `to` with the values that `from` has of these keys. */
export function withSettings(to: Settings, from: Settings, keys: readonly string[]): Settings {
  return ALL.filter(({ key }) => keys.includes(key)).reduce((sum, { copied }) => copied(sum, from), to);
}

function setting<Section extends keyof Settings, Field extends keyof Settings[Section]>(
  section: Section,
  field: Field,
) {
  return {
    of: (settings: Settings): unknown => settings[section][field],
    copied: (to: Settings, from: Settings): Settings => ({
      ...to,
      [section]: { ...to[section], [field]: from[section][field] },
    }),
  };
}

function tlsSetting(field: keyof Settings['nbd']['tls']) {
  return {
    of: ({ nbd }: Settings): unknown => nbd.tls[field],
    copied: (to: Settings, from: Settings): Settings => ({
      ...to,
      nbd: { ...to.nbd, tls: { ...to.nbd.tls, [field]: from.nbd.tls[field] } },
    }),
  };
}
