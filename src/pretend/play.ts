import type { Ipv4Address } from '../base/addresses.js';
import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { unreachable } from '../base/unreachable.js';
import type { PretendIdentity } from '../dhcp/discover.js';
import type { NbdDisk } from '../nbd/client/client-disk.js';
import { type AddressFound, findAddress } from './address-stage.js';
import { attachDisk, parseNbdRoot } from './disk-stage.js';
import { FileStage, type FilesRead } from './file-stage.js';
import type { DhcpLine } from './line.js';
import type { Profile } from './profile.js';
import type { Report } from './report.js';

/** Which path its files have: by serial, by MAC (TFTP_PREFIX=2), none, or a text of its own (TFTP_PREFIX=1). */
export type PrefixKind =
  | { readonly kind: 'serial' | 'mac' | 'none' }
  | { readonly kind: 'text'; readonly text: string };

export interface Play {
  readonly profile: Profile;
  readonly identity: PretendIdentity;
  readonly prefix: PrefixKind;
  /** How it gets at its server: by DHCP on a line, or told beforehand (TFTP_IP in the EEPROM). */
  readonly start:
    | { readonly kind: 'dhcp'; readonly line: DhcpLine; readonly needsAddress: boolean }
    | { readonly kind: 'static'; readonly server: Ipv4Address };
  readonly tftpPort: number;
  /** Where files and disk are asked from: the address found, or the one that this machine has. */
  readonly takeAddress: (found: AddressFound | undefined) => Ipv4Address;
  /** Asked once the server is known; a text ends the play. */
  readonly mayPlay?: (server: Ipv4Address) => Promise<string | undefined>;
  readonly clock: Clock;
  readonly report: Report;
}

/** The board gets no further. */
export type NotBooted =
  | { readonly outcome: 'stuck'; readonly stage: 'dhcp' | 'tftp' | 'nbd'; readonly because: string }
  /** It was not to be played. */
  | { readonly outcome: 'notPlayed'; readonly because: string };

export type LoaderResult =
  | (FilesRead & { readonly outcome: 'loaded'; readonly cmdline: string; readonly localAddress: Ipv4Address })
  | NotBooted;

export type PlayResult =
  | {
      readonly outcome: 'booted';
      readonly disk: NbdDisk;
      readonly cmdline: string;
      readonly files: ReadonlyMap<string, Uint8Array>;
    }
  | NotBooted;

/** Plays one boot from DISCOVER to disk. Rejects for what is wrong on this side only (an address that can't be bound). */
export async function playBoot(play: Play): Promise<PlayResult> {
  const loaded = await playLoader(play);
  if (loaded.outcome !== 'loaded') return loaded;
  const { cmdline, files, localAddress } = loaded;
  const root = parseNbdRoot(cmdline);
  if (typeof root === 'string') return { outcome: 'stuck', stage: 'nbd', because: root };
  try {
    const disk = await attachDisk(root, localAddress, play.clock, play.report);
    return { outcome: 'booted', disk, cmdline, files };
  } catch (error) {
    return { outcome: 'stuck', stage: 'nbd', because: messageOf(error) };
  }
}

/** The firmware's part of it: ends where a board would start its kernel. */
export async function playLoader(play: Play): Promise<LoaderResult> {
  const found = await findServer(play);
  if (typeof found === 'string') return { outcome: 'stuck', stage: 'dhcp', because: found };
  const refusal = await play.mayPlay?.(found.tftpServer);
  if (refusal !== undefined) return { outcome: 'notPlayed', because: refusal };

  const localAddress = play.takeAddress(play.start.kind === 'dhcp' ? found : undefined);
  const read = await readFiles(play, found.tftpServer, localAddress);
  if (typeof read === 'string') return { outcome: 'stuck', stage: 'tftp', because: read };

  const cmdlineBytes = read.files.get(read.selection.cmdline);
  if (cmdlineBytes === undefined)
    return { outcome: 'stuck', stage: 'nbd', because: `there is no ${read.selection.cmdline}` };
  const cmdline = Buffer.from(cmdlineBytes).toString('latin1').trim();
  return { outcome: 'loaded', ...read, cmdline, localAddress };
}

async function findServer(play: Play): Promise<AddressFound | string> {
  const { start, profile } = play;
  if (start.kind === 'static') return { tftpServer: start.server, address: undefined, netmask: undefined };
  return findByDhcp(play, start, profile.loader);
}

function findByDhcp(
  { identity, clock, report }: Play,
  { line, needsAddress }: Extract<Play['start'], { kind: 'dhcp' }>,
  loader: Profile['loader'],
): Promise<AddressFound | string> {
  // The ROM asks five times, five seconds apart, and gives up for good; an EEPROM's loader asks every four seconds for 45.
  const patience = loader === 'rom3' ? { tries: 5, tryEveryMs: 5000 } : { tries: 11, tryEveryMs: 4000 };
  return findAddress(line, { loader, identity, needsAddress, ...patience }, clock, report);
}

async function readFiles(play: Play, server: Ipv4Address, localAddress: Ipv4Address): Promise<FilesRead | string> {
  const { profile, clock, report, tftpPort } = play;
  const place = { server: { address: server, port: tftpPort }, localAddress, clock, report };
  const stages: FileStage[] = [];
  const stage = (prefix: string) => {
    const files = new FileStage(profile, place, prefix);
    stages.push(files);
    return files;
  };
  report('tftp', `asks ${server} port ${tftpPort}`);
  const read = await readByPrefix(play, stage, server);
  if (typeof read !== 'string' || stages.some(({ heard }) => heard)) return read;
  return `nobody answers at ${server} UDP port ${tftpPort}: is the server running there, on another port (--tftp-port), behind a firewall?`;
}

async function readByPrefix(
  play: Play,
  stage: (prefix: string) => FileStage,
  server: Ipv4Address,
): Promise<FilesRead | string> {
  if (play.profile.loader === 'rom3') {
    const failure = await runBootcode(play, stage(''));
    if (failure !== undefined) return failure;
  }
  const { prefix, refused } = await prefixInUse(play, stage, server);
  return stage(prefix).readAll(refused);
}

/** The ROM reads bootcode.bin, in RFC 1350's plain way and without a prefix; that asks for its server once more by DHCP. */
async function runBootcode(play: Play, files: FileStage): Promise<string | undefined> {
  const bootcode = await files.read('bootcode.bin', new Map());
  if (bootcode === undefined) return 'bootcode.bin is not there: the boot ROM asks for it without a serial';
  if (typeof bootcode === 'string') return bootcode;
  await files.read('bootsig.bin', new Map());
  if (play.start.kind !== 'dhcp') return undefined;
  const found = await findByDhcp(play, play.start, 'bootcode');
  return typeof found === 'string' ? found : undefined;
}

/** A loader drops its prefix if it does not find its firmware there; a Pi 5, which has that in its EEPROM, looks for config.txt. */
async function prefixInUse(
  play: Play,
  stage: (prefix: string) => FileStage,
  server: Ipv4Address,
): Promise<{ readonly prefix: string; readonly refused?: string }> {
  const wished = prefixText(play);
  if (wished === '') return { prefix: '' };
  const firmware = { pi3: ['start.elf'], pi4: ['start4.elf', 'start.elf'], pi5: ['config.txt'] };
  const generation = play.profile.loader === 'rom3' ? 'pi3' : play.profile.loader === 'pi5' ? 'pi5' : 'pi4';
  const files = stage(wished);
  for (const name of firmware[generation]) {
    if ((await files.probe(name)) !== undefined) return { prefix: wished };
  }
  const { refusal, heard } = files;
  const why = heard
    ? `no file under ${wished}${refusal === undefined ? '' : ` ("${refusal}")`}`
    : `no answer from ${server} port ${play.tftpPort}`;
  play.report('tftp', `${why}: asks without a prefix`);
  return refusal === undefined ? { prefix: '' } : { prefix: '', refused: refusal };
}

function prefixText({ prefix, identity }: Play): string {
  switch (prefix.kind) {
    case 'serial':
      return `${identity.serial}/`;
    case 'mac':
      return `${identity.mac.replaceAll(':', '-')}/`;
    case 'text':
      return prefix.text;
    case 'none':
      return '';
    default:
      return unreachable(prefix);
  }
}
