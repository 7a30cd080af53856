import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../../support/commands.js';
import { type Lan, withoutLan } from '../../support/lan.js';
import { anyOf, without, withoutAccess } from '../../support/programs.js';
import { scratchFolder } from '../../support/scratch.js';
import { type BoardIdentity, type LoadedBoot, playFirmware } from './firmware.js';
import { withoutImageTools } from './machine-image.js';
import { type CommandOutcome, MachineShell } from './machine-shell.js';

/**
 * A board with a real Linux: between power and kernel it is played (firmware.ts), from there on it is a virtual machine
 * without a disk of its own, whose one network interface is at the switch of the LAN.
 */
export interface Machine {
  /** What the firmware loaded last. */
  loaded(): LoadedBoot;
  /** All that its console has shown since it was last switched on. */
  console(): string;
  /** What a command says there, run by a root shell. Rejects where it fails, or takes longer than `patienceMs`. */
  run(command: string, patienceMs?: number): Promise<string>;
  /** The same for a command that may fail. */
  attempt(command: string, patienceMs?: number): Promise<CommandOutcome>;
  /** Lines of its kernel log that tell of failed I/O, a filesystem that is not sound, or one that became read-only. */
  complaints(): Promise<string>;
  /** Resolves when it is off, or has made the reset after which the firmware would begin: `boot()` plays that. */
  ended(patienceMs?: number): Promise<void>;
  /** Switches it on. Resolves when there is a login prompt. */
  boot(): Promise<void>;
  /** `reboot` in it, and what follows up to the next login prompt. */
  reboot(): Promise<void>;
  /** `poweroff` in it; resolves when it is off. */
  powerOff(): Promise<void>;
  /** Takes its power away. */
  pullPlug(): Promise<void>;
}

export interface MachineOptions {
  readonly lan: Lan;
  readonly identity: BoardIdentity;
  readonly memoryMiB?: number;
}

/** For `test(name, { skip: withoutMachine() }, …)`. */
export function withoutMachine(): string | false {
  return anyOf(
    withoutLan(),
    without('qemu-system-x86_64', 'qemu-system-x86'),
    withoutAccess('/dev/net/tun'),
    withoutImageTools(),
  );
}

/** Resolves when there is a login prompt. The machine is gone when the test is over. */
export async function bootMachine(context: TestContext, options: MachineOptions): Promise<Machine> {
  const machine = new EmulatedMachine(scratchFolder(context), options);
  await machine.boot();
  return machine;
}

/** 45 s where nothing else runs. */
const BOOT_PATIENCE_MS = 400_000;
const COMMAND_PATIENCE_MS = 120_000;
const END_PATIENCE_MS = 180_000;

/** What there is while it is on. */
interface Running {
  readonly qemu: ChildProcess;
  readonly shell: MachineShell;
  readonly loaded: LoadedBoot;
}

class EmulatedMachine implements Machine {
  readonly #folder: string;
  readonly #options: MachineOptions;
  readonly #host;
  readonly #tap: string;
  #running: Running | undefined;
  #console = '';

  constructor(folder: string, options: MachineOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#host = options.lan.plugIn(options.identity.mac);
    this.#tap = options.lan.tap();
  }

  async boot(): Promise<void> {
    const loaded = await playFirmware(this.#host, this.#options.identity, this.#folder);
    this.#console = '';
    const socketPath = join(this.#folder, 'shell.sock');
    const qemu = this.#options.lan.server.spawn(...this.#qemuCommand(loaded, socketPath));
    const listen = (chunk: Buffer) => {
      this.#console += chunk.toString('latin1');
    };
    qemu.stdout.on('data', listen);
    qemu.stderr.on('data', listen);
    const shell = await MachineShell.connect(socketPath);
    this.#running = { qemu, shell, loaded };
    const isUp = () => hasEnded(qemu) || (shell.isThere && /login: $/.test(this.#console));
    await until(Object.assign(isUp, { said: () => this.#console }), 'a login prompt', BOOT_PATIENCE_MS);
    if (hasEnded(qemu)) throw new Error(`the machine ended while it booted:\n${this.#console.slice(-4000)}`);
  }

  loaded(): LoadedBoot {
    return this.#on().loaded;
  }

  console(): string {
    return this.#console;
  }

  async run(command: string, patienceMs = COMMAND_PATIENCE_MS): Promise<string> {
    const { status, output } = await this.attempt(command, patienceMs);
    if (status !== 0) throw new Error(`\`${command}\` in the machine: status ${status}: ${output}`);
    return output.trim();
  }

  attempt(command: string, patienceMs = COMMAND_PATIENCE_MS): Promise<CommandOutcome> {
    return this.#on().shell.run(command, patienceMs);
  }

  complaints(): Promise<string> {
    return this.run(
      "dmesg | grep -E 'I/O error|-fs (error|warning)|Remounting filesystem read-only|Connection timed out' || true",
    );
  }

  async ended(patienceMs = END_PATIENCE_MS): Promise<void> {
    const { qemu, shell } = this.#on();
    const isOff = Object.assign(() => hasEnded(qemu), { said: () => this.#console });
    await until(isOff, 'the machine to end', patienceMs);
    shell.close();
  }

  async reboot(): Promise<void> {
    await this.#leave('reboot');
    await this.boot();
  }

  async powerOff(): Promise<void> {
    await this.#leave('poweroff');
  }

  async pullPlug(): Promise<void> {
    this.#on().qemu.kill('SIGKILL');
    await this.ended();
  }

  /** A second later, so that the shell can still answer. */
  async #leave(word: 'reboot' | 'poweroff'): Promise<void> {
    await this.run(`(sleep 1; systemctl ${word}) >/dev/null 2>&1 &`);
    await this.ended();
  }

  #on(): Running {
    if (this.#running === undefined) throw new Error('the machine was never switched on');
    return this.#running;
  }

  /** A reset ends it: the firmware that would follow is not QEMU's. */
  #qemuCommand({ kernel, initramfs, cmdline }: LoadedBoot, socketPath: string): [string, ...string[]] {
    const { identity, memoryMiB = 512 } = this.#options;
    const network = `virtio-net-pci,netdev=network,mac=${identity.mac},romfile=`;
    return [
      'qemu-system-x86_64',
      ...['-machine', 'q35,accel=tcg', '-cpu', 'max', '-m', String(memoryMiB), '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-kernel', kernel, '-initrd', initramfs, '-append', cmdline],
      ...['-netdev', `tap,id=network,ifname=${this.#tap},script=no,downscript=no`, '-device', network],
      ...['-device', 'virtio-rng-pci'],
      ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
      ...['-chardev', `socket,id=shell,path=${socketPath},server=on,wait=off`],
      ...['-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=shell,name=shell'],
    ];
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
