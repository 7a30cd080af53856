// One power-on of the rack: what the boards are told to play, and what they say of it.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { discoverOf } from '../../src/dhcp/discover.js';
import { encodeDhcp } from '../../src/dhcp/wire.js';
import { type Ask, PROFILES } from '../../src/pretend/profile.js';
import type { NetworkNamespace } from '../../test/support/network-namespace.js';
import { projectFile } from '../../test/support/project.js';
import type { Usage } from '../process-usage.js';
import { highest, median } from '../statistics.js';
import type { RackBoard, RackInputs } from './inputs.js';
import type { Stack } from './stacks.js';

export const DISK_BYTES = 64 * 1024 * 1024;
/** As Linux reads on: its own read-ahead, and some requests of it at a time. */
export const DISK_REQUEST = { bytes: 128 * 1024, depth: 4 };

const PROFILE = PROFILES.pi4;
const SLOTS = {
  kernel: 'vmlinuz',
  initramfs: 'initrd.img',
  deviceTree: 'bcm2711-rpi-4-b.dtb',
  cmdline: 'cmdline.txt',
};

export interface Round {
  /** Since all of them were switched on, in seconds. */
  readonly lastFiles: number;
  readonly medianFiles: number;
  readonly lastDisk: number;
  readonly medianDisk: number;
  readonly lastOffer: number;
  /** Over TFTP, of all boards. */
  readonly fileBytes: number;
  readonly usage: Usage;
  /** CPU time that the boards themselves took. */
  readonly loadSeconds: number;
  /** Requests and ACKs that a board had to say twice. */
  readonly resends: number;
}

export interface BoardsPlace {
  readonly host: NetworkNamespace;
  /** On the cable to the stack that is measured. */
  readonly interfaceName: string;
  addressOf(board: RackBoard): string;
}

/** The program that plays the boards. Throws if there is no C compiler. */
export function compileBoards(folder: string): string {
  const program = join(folder, 'boards');
  try {
    execFileSync('cc', ['-O2', '-o', program, projectFile('bench', 'rack', 'boards.c')], { stdio: 'inherit' });
  } catch (error) {
    throw new Error('the boards are a C program: they need cc (Debian packages gcc and libc6-dev)', { cause: error });
  }
  return program;
}

/** `compareWith`: every byte is compared with these; not for a round that is measured. */
export async function playRound(
  program: string,
  stack: Stack,
  place: BoardsPlace,
  rack: readonly RackBoard[],
  compareWith?: RackInputs,
): Promise<Round> {
  const watch = stack.watch();
  const boards = place.host.spawn(program);
  boards.stderr.pipe(process.stderr);
  boards.stdin.write(planOf(place, rack, compareWith));
  const said: string[][] = [];
  for await (const line of createInterface(boards.stdout)) {
    said.push(line.split(' '));
    if (line.startsWith('load ')) break;
  }
  const usage = watch.stop(); // while the disks are still attached
  const ended = once(boards, 'exit');
  boards.stdin.end();
  await ended;
  if (said.length !== rack.length + 1) throw new Error(`${stack.title}: the rack did not come up`);
  return { ...summaryOf(said), usage };
}

function planOf(
  { interfaceName, addressOf }: BoardsPlace,
  rack: readonly RackBoard[],
  compareWith?: RackInputs,
): string {
  const lines = [
    `device ${interfaceName}`,
    `disk ${DISK_BYTES} ${DISK_REQUEST.bytes} ${DISK_REQUEST.depth}`,
    'probe start4.elf', // whether its files are under its serial at all
    ...PROFILE.files.flatMap(askLines),
    ...(compareWith === undefined ? [] : [`verify ${compareWith.bootFolder} ${compareWith.masterImage}`]),
    ...rack.map((board) => `board ${board.serial} ${addressOf(board)} ${discoverText(board)}`),
    'go',
  ];
  return `${lines.join('\n')}\n`;
}

function askLines({ what, how }: Ask): readonly string[] {
  const name = 'slot' in what ? SLOTS[what.slot] : what.name;
  return how === 'both' ? [`probe ${name}`, `read ${name}`] : [`${how} ${name}`];
}

function discoverText({ mac, serial, number }: RackBoard): string {
  const identity = { mac, serial, revisionCode: PROFILE.revisionCode };
  return Buffer.from(encodeDhcp(discoverOf(PROFILE.loader, identity, number))).toString('hex');
}

function summaryOf(said: readonly (readonly string[])[]): Omit<Round, 'usage'> {
  const boards = said.filter(([kind]) => kind === 'board');
  const column = (index: number) => boards.map((words) => Number(words[index]));
  const [, loadSeconds = '0', resends = '0'] = said.find(([kind]) => kind === 'load') ?? [];
  return {
    lastOffer: highest(column(2)),
    lastFiles: highest(column(3)),
    medianFiles: median(column(3)),
    lastDisk: highest(column(4)),
    medianDisk: median(column(4)),
    fileBytes: column(5).reduce((sum, bytes) => sum + bytes, 0),
    loadSeconds: Number(loadSeconds),
    resends: Number(resends),
  };
}
