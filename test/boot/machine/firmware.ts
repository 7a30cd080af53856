import { join } from 'node:path';
import { outputOf, until } from '../../support/commands.js';
import type { NetworkNamespace } from '../../support/network-namespace.js';
import { projectFile } from '../../support/project.js';

/** By what a board is known to DHCP and TFTP. */
export interface BoardIdentity {
  readonly serial: string;
  readonly mac: string;
}

/** What the firmware would jump into: two files, and the served cmdline.txt. */
export interface LoadedBoot {
  readonly kernel: string;
  readonly initramfs: string;
  readonly cmdline: string;
}

const PROGRAM = projectFile('build', 'test', 'boot', 'machine', 'firmware-program.js');
/** An EEPROM's loader gives up after 45 s without an answer; 40 MB over TFTP take some seconds. */
const PATIENCE_MS = 120_000;

/**
 * Plays the firmware of a Pi 4 in the host `board`, whose interface has the board's MAC. That is left without address and
 * down: from then on the MAC is Linux's.
 */
export async function playFirmware(board: NetworkNamespace, who: BoardIdentity, folder: string): Promise<LoadedBoot> {
  board.ip('link', 'set', 'eth0', 'up');
  const program = board.spawn('node', PROGRAM, 'eth0', who.mac, who.serial, folder);
  const text = outputOf(program, '').said;
  const ended = () => program.exitCode !== null || program.signalCode !== null;
  await until(Object.assign(ended, { said: text }), 'the firmware', PATIENCE_MS);
  board.ip('address', 'flush', 'dev', 'eth0');
  board.ip('link', 'set', 'eth0', 'down');
  const result = outcomeIn(text());
  if (result.outcome !== 'loaded') throw new Error(`the firmware did not load a kernel:\n${text()}`);
  return { kernel: join(folder, 'kernel'), initramfs: join(folder, 'initramfs'), cmdline: result.cmdline };
}

function outcomeIn(text: string): { readonly outcome: string; readonly cmdline: string } {
  const last = text.trim().split('\n').at(-1) ?? '';
  return last.startsWith('{') ? JSON.parse(last) : { outcome: 'none', cmdline: '' };
}
