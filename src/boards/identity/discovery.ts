/** Boards that ask to boot but are not in the inventory: what the log, the status page and `boards` tell of them. */
import type { Ipv4Address, MacAddress } from '../../base/addresses.js';
import { DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX, DISCOVERED_BOARDS_MAX } from '../../base/limits.js';
import { RecentMap } from '../../base/recent-map.js';
import type { Serial } from '../../base/serial.js';
import { describePi, macOfPi1To3, OUI_OF_PI_1_TO_3, type PiSighting } from './pi-identity.js';

export interface DiscoveredBoard {
  readonly mac: MacAddress;
  /** Undefined as long as only the boot ROM of a Pi 2 or 3 has spoken. */
  readonly serial: Serial | undefined;
  /** "Pi 4 Model B, 8 GB", or what is known of it. */
  readonly model: string;
  readonly memory: string | undefined;
  readonly interfaceName: string;
  readonly firstSeenAt: Date;
  readonly lastSeenAt: Date;
  readonly discoverCount: number;
}

/** A board that was never heard by DHCP (a fixed address, another boot server) and asks for files by its serial. */
export interface AskingBoard {
  readonly serial: Serial;
  readonly peer: Ipv4Address;
  readonly lastSeenAt: Date;
}

export interface SeenWhere {
  readonly interfaceName: string;
  /** Wall-clock time, for people. */
  readonly at: Date;
  /** The clock's time, for the minute's budget. */
  readonly nowMs: number;
}

/** `announce`: say it once, now. `withhold`: it would be worth a line, but this minute has had its share. */
export interface Discovered {
  readonly board: DiscoveredBoard;
  readonly answer: 'announce' | 'withhold' | 'nothingNew';
}

/** What the lines for a new board name: an image that it may use, and how. */
export interface FreeDisk {
  readonly image: string;
  readonly disk: 'direct' | 'overlay';
}

const MINUTE_MS = 60_000;

/** A bounded table by MAC, least recently seen first. Boards that the inventory learns of are taken out with `forget`. */
export class Discovery {
  readonly #boards = new RecentMap<MacAddress, DiscoveredBoard>(DISCOVERED_BOARDS_MAX);
  readonly #asking = new RecentMap<Serial, AskingBoard>(DISCOVERED_BOARDS_MAX);
  #minuteBeganMs = Number.NEGATIVE_INFINITY;
  #announced = 0;
  #withheld = 0;

  /** Least recently seen first. */
  boards(): readonly DiscoveredBoard[] {
    return this.#boards.values();
  }

  /** Those of which nothing but file requests is known, least recently seen first. */
  asking(): readonly AskingBoard[] {
    const known = new Set(this.boards().map(({ serial }) => serial));
    return this.#asking.values().filter(({ serial }) => !known.has(serial));
  }

  /** Of all of them, heard by DHCP or not. */
  count(): number {
    return this.boards().length + this.asking().length;
  }

  /** True if that is news. */
  noteAsked(serial: Serial, peer: Ipv4Address, at: Date): boolean {
    const isNews = this.#asking.get(serial) === undefined;
    this.#asking.set(serial, { serial, peer, lastSeenAt: at });
    return isNews;
  }

  see(sighting: PiSighting, where: SeenWhere): Discovered {
    const before = this.#boards.get(sighting.mac);
    const board = remembered(sighting, where, before);
    this.#boards.set(sighting.mac, board);
    // The boot ROM of a Pi 3 does not say its serial, bootcode.bin after it does: that is worth a second line.
    const isNews = before === undefined || (before.serial === undefined && board.serial !== undefined);
    return { board, answer: isNews ? this.#budget(where.nowMs) : 'nothingNew' };
  }

  forget(mac: MacAddress): void {
    this.#boards.delete(mac);
  }

  /** Of a board that the inventory has learned of, by whatever it was seen. */
  forgetBoard({ serial, mac }: { readonly serial: Serial; readonly mac: MacAddress | undefined }): void {
    this.#asking.delete(serial);
    const isIt = (board: DiscoveredBoard) => board.serial === serial || board.mac === mac;
    for (const board of this.boards().filter(isIt)) this.forget(board.mac);
  }

  /** How many lines were withheld since the last time this was asked. */
  takeWithheld(): number {
    const withheld = this.#withheld;
    this.#withheld = 0;
    return withheld;
  }

  #budget(nowMs: number): 'announce' | 'withhold' {
    if (nowMs - this.#minuteBeganMs >= MINUTE_MS) {
      this.#minuteBeganMs = nowMs;
      this.#announced = 0;
    }
    if (this.#announced >= DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX) {
      this.#withheld += 1;
      return 'withhold';
    }
    this.#announced += 1;
    return 'announce';
  }
}

/**
 * What to write under `boards:`, ready to paste. Where the serial is not known yet its place is held by question marks,
 * which the inventory refuses: better than a guess that boots the wrong board.
 */
export function inventoryLines(board: DiscoveredBoard, free: FreeDisk): string {
  const { serial, mac, model } = board;
  const followsFromSerial = serial !== undefined && mac === macOfPi1To3(serial);
  const name = `pi-${serial ?? mac.slice(9).replaceAll(':', '')}`;
  const lines = [
    `  ${name}: # ${model}`,
    `    serial: ${serial ?? serialHint(mac)}`,
    ...(followsFromSerial ? [] : [`    mac: ${mac}`]),
    `    image: ${free.image}`,
    `    disk: ${free.disk}`,
  ];
  return lines.join('\n');
}

/** The same for a board of which only the serial is known. */
export function inventoryLinesFor({ serial, peer }: AskingBoard, free: FreeDisk): string {
  return [
    `  pi-${serial}: # asked for files from ${peer}`,
    `    serial: ${serial}`,
    `    image: ${free.image}`,
    `    disk: ${free.disk}`,
  ].join('\n');
}

function serialHint(mac: MacAddress): string {
  const tail = mac.startsWith(OUI_OF_PI_1_TO_3) ? mac.slice(9).replaceAll(':', '') : '??????';
  return `"??${tail}" # the last 8 digits of Serial in its /proc/cpuinfo; "dhcp: { answer: any }" shows it here`;
}

function remembered(sighting: PiSighting, where: SeenWhere, before: DiscoveredBoard | undefined): DiscoveredBoard {
  return {
    mac: sighting.mac,
    serial: sighting.serial ?? before?.serial,
    model: describePi(sighting),
    memory: sighting.revision?.memory ?? before?.memory,
    interfaceName: where.interfaceName,
    firstSeenAt: before?.firstSeenAt ?? where.at,
    lastSeenAt: where.at,
    discoverCount: (before?.discoverCount ?? 0) + 1,
  };
}
