import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { isLoopbackOnly } from '../app/addresses.js';
import { type Ipv4Address, type MacAddress, parseMac } from '../base/addresses.js';
import { systemClock } from '../base/clock.js';
import { printable, printableJson } from '../base/printable.js';
import type { Serial } from '../base/serial.js';
import { setInterfaceAddress } from '../os/interface-address.js';
import { SystemCallError } from '../os/libc.js';
import { servableNames } from '../os/network-interfaces.js';
import type { AddressFound } from '../pretend/address-stage.js';
import { withinPatience } from '../pretend/disk-stage.js';
import { type DhcpLine, type LinePlace, loopbackLine, packetLine } from '../pretend/line.js';
import { type Play, type PlayResult, type PrefixKind, playBoot } from '../pretend/play.js';
import { PROFILES, type ProfileName } from '../pretend/profile.js';
import { askServer } from './ask-server.js';
import { ExitStatus } from './exit-status.js';

export interface PretendOptions {
  readonly serial: string;
  readonly server?: string;
  readonly profile: ProfileName;
  readonly interface?: string;
  readonly mac?: string;
  readonly prefix: string;
  readonly takeAddress?: boolean;
  readonly tftpPort: number;
  readonly dhcpPort: number;
  readonly dhcpReplyPort: number;
  readonly httpPort: number;
  readonly json?: boolean;
}

/** Plays a board against a running server. Exit status 0 if it got its disk. */
export async function pretend(options: PretendOptions): Promise<ExitStatus> {
  const line = options.server === undefined ? openLine(options) : undefined;
  try {
    const result = await playBoot(playOf(options, line));
    if (options.json) printJson(result);
    if (result.outcome !== 'booted') {
      const what = result.outcome === 'stuck' ? `stuck at ${result.stage}` : 'not played';
      process.stderr.write(`${what}: ${printable(result.because)}\n`);
      return ExitStatus.Failed;
    }
    await withinPatience(result.disk, systemClock, () => result.disk.disconnect());
    if (!options.json)
      process.stdout.write(
        `files and disk were served (whether its Linux would start, \`check\` may tell)\ncmdline: ${printable(result.cmdline)}\n`,
      );
    return ExitStatus.Done;
  } finally {
    await line?.close();
  }
}

function playOf(options: PretendOptions, line: DhcpLine | undefined): Play {
  const startedMs = systemClock.nowMs();
  const { serial } = options;
  const mac = options.mac ?? macOf(options.interface, serial);
  const profile = PROFILES[options.profile];
  return {
    profile,
    identity: { serial, mac, revisionCode: profile.revisionCode },
    prefix: prefixOf(options.prefix),
    start:
      line === undefined
        ? { kind: 'static', server: options.server ?? '' }
        : { kind: 'dhcp', line, needsAddress: options.takeAddress === true },
    tftpPort: options.tftpPort,
    takeAddress: (found) => takeAddress(options, found),
    mayPlay: (address) => attachedAlready(address, options.httpPort, serial),
    clock: systemClock,
    report(stage, text) {
      if (options.json) return;
      const seconds = ((systemClock.nowMs() - startedMs) / 1000).toFixed(3).padStart(8);
      process.stdout.write(`${seconds} s  ${stage.padEnd(4)}  ${printable(text)}\n`);
    },
  };
}

function openLine(options: PretendOptions): DhcpLine {
  if (options.interface === undefined) throw new Error('name the --server, or an --interface to ask for one by DHCP');
  const place = {
    interfaceName: options.interface,
    serverPort: options.dhcpPort,
    clientPort: options.dhcpReplyPort,
  };
  if (!existsSync(`/sys/class/net/${options.interface}`)) {
    const names = servableNames().join(', ');
    throw new Error(`there is no interface ${options.interface}${names === '' ? '' : `; there are: ${names}`}`);
  }
  return isLoopbackOnly([options.interface]) ? loopbackLine(place) : belowIp(place);
}

function belowIp(place: LinePlace): DhcpLine {
  try {
    return packetLine(place);
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'EPERM') {
      throw new Error('to ask by DHCP below IP needs root (CAP_NET_RAW): use sudo, or name the --server');
    }
    throw error;
  }
}

/** The address to ask from: the one that the router gave, if it is to be taken; else whatever this machine has. */
function takeAddress(options: PretendOptions, found: AddressFound | undefined): Ipv4Address {
  if (options.takeAddress && options.interface !== undefined && found?.address !== undefined) {
    setInterfaceAddress(options.interface, found.address, found.netmask ?? '255.255.255.0');
    return found.address;
  }
  if (options.interface === undefined) return '0.0.0.0';
  return ipv4Of(options.interface) ?? '0.0.0.0';
}

/** A board that runs must not be played. Where the server has no page, its writer lock is what keeps the disk safe. */
async function attachedAlready(host: Ipv4Address, port: number, serial: string): Promise<string | undefined> {
  const status = await askServer({ host, port });
  if (typeof status === 'string') return undefined;
  const user = status.boards.find((board) => board.serial === serial)?.attachedFrom;
  return typeof user !== 'string' ? undefined : `board ${serial} is running: its disk is in use by ${user}`;
}

function printJson(result: PlayResult): void {
  const facts =
    result.outcome !== 'booted'
      ? result
      : {
          outcome: result.outcome,
          cmdline: result.cmdline,
          diskBytes: result.disk.sizeBytes,
          files: Object.fromEntries([...result.files].map(([name, bytes]) => [name, bytes.length])),
        };
  process.stdout.write(`${printableJson(JSON.stringify(facts, null, 2))}\n`);
}

function prefixOf(text: string): PrefixKind {
  if (text === 'serial' || text === 'mac' || text === 'none') return { kind: text };
  return { kind: 'text', text };
}

function ipv4Of(interfaceName: string): Ipv4Address | undefined {
  return networkInterfaces()[interfaceName]?.find(({ family }) => family === 'IPv4')?.address;
}

/** Of the kernel's own files, as Node shows an interface only once it has an address. Loopback has none: then one that a Pi 4 might have. */
function macOf(interfaceName: string | undefined, serial: Serial): MacAddress {
  const read =
    interfaceName === undefined ? NO_MAC : readFileSync(`/sys/class/net/${interfaceName}/address`, 'latin1').trim();
  if (parseMac(read) !== NO_MAC) return parseMac(read);
  return ['dc:a6:32', serial.slice(2, 4), serial.slice(4, 6), serial.slice(6, 8)].join(':');
}

const NO_MAC: MacAddress = '00:00:00:00:00:00';
