import { bytesText, durationText } from '../../base/amounts.js';
import { BOOT_ACROSS_RESTART_MS, BOOT_STEPS_MAX, KERNEL_LAST_FILES_MS, STAGE_PATIENCE_MS } from '../../base/limits.js';
import type { BootNews, BootRecord, BootStage, BootState, BootStep } from './boot-record.js';
import type {
  AddressRequested,
  DiscoverSeen,
  DiskAttached,
  DiskDetached,
  DiskRefused,
  TransferEnded,
} from './events.js';

/** What a boot was first seen by. `address`: Linux's own DHCP, where loader and kernel were served before we started. */
export type FirstSign = 'discover' | 'file' | 'address';

const FIRST_STAGE: Readonly<Record<FirstSign, BootStage>> = { discover: 'dhcp', file: 'tftp', address: 'nbd' };

/** What was so when the boot's first sign came. */
export interface BootBeginning {
  readonly startedAt: Date;
  readonly startedMs: number;
  readonly attachedBefore: boolean;
  readonly serverStartedMs: number;
}

/**
 * One boot while it happens.
 *
 *     dhcp ──a file asked for──► tftp ──kernel read whole──► kernel ──its own DHCP, or NBD──► nbd ──attached──► booted
 *
 * A board whose address is fixed starts at tftp. Each stage has its own patience (STAGE_PATIENCE_MS).
 */
export class BootDiary {
  readonly board: string;
  readonly by: FirstSign;
  readonly #beginning: BootBeginning;
  readonly #steps: BootStep[] = [];
  #state: BootState;
  #lastSignMs: number;
  #kernelReadMs: number | undefined;
  #kernelCanBeTold = true;
  #lastFile = '';
  #filesRead = 0;
  #bytesRead = 0;
  #probes = 0;

  constructor(board: string, by: FirstSign, beginning: BootBeginning) {
    this.board = board;
    this.by = by;
    this.#beginning = beginning;
    this.#lastSignMs = beginning.startedMs;
    this.#state = { at: 'underWay', stage: FIRST_STAGE[by] };
  }

  get underWay(): boolean {
    return this.#state.at === 'underWay';
  }

  record(): BootRecord {
    return {
      board: this.board,
      startedAt: this.#beginning.startedAt,
      state: this.#state,
      steps: [...this.#steps],
      filesRead: this.#filesRead,
      bytesRead: this.#bytesRead,
      probes: this.#probes,
    };
  }

  /** A loader repeats its DISCOVER; and bootcode.bin of a Pi 3, once read, sends its own. */
  expectsDiscover(): boolean {
    return this.#stage() === 'dhcp' || (this.#stage() === 'tftp' && /^boot(code|sig)\.bin$/.test(this.#lastFile));
  }

  expectsFiles(nowMs: number): boolean {
    return this.#kernelReadMs === undefined || nowMs - this.#kernelReadMs <= KERNEL_LAST_FILES_MS;
  }

  discover(event: DiscoverSeen, nowMs: number): readonly BootNews[] {
    const who = event.model ?? 'board';
    this.#step(nowMs, 'discover', `${who} asks on ${event.interfaceName}: ${event.answer}`);
    return [];
  }

  address(event: AddressRequested, nowMs: number): readonly BootNews[] {
    const kernel = this.#stage() === 'kernel';
    this.#step(nowMs, 'address', `${kernel ? 'Linux ' : ''}takes the address ${event.address}`);
    return kernel ? this.#reach('nbd', 'Linux runs and has asked for an address') : [];
  }

  fileRequested(nowMs: number): readonly BootNews[] {
    this.#lastSignMs = nowMs;
    return this.#stage() === 'dhcp' ? this.#reach('tftp', 'asks for boot files') : [];
  }

  transferEnded(event: TransferEnded, nowMs: number): readonly BootNews[] {
    this.#lastSignMs = nowMs;
    if (event.role === 'unknown') this.#kernelCanBeTold = false;
    if (event.outcome === 'probe' || event.outcome === 'not_found') {
      this.#probes += 1;
      return [];
    }
    this.#bytesRead += event.sentBytes;
    if (event.outcome !== 'complete') {
      this.#step(nowMs, 'file', `${event.path}: ${event.because ?? event.outcome}`);
      return [];
    }
    this.#filesRead += 1;
    this.#lastFile = event.path;
    this.#step(
      nowMs,
      'file',
      `${event.path} (${bytesText(event.sizeBytes ?? event.sentBytes)} in ${durationText(event.durationMs)})`,
    );
    if (event.role !== 'kernel') return [];
    this.#kernelReadMs = nowMs;
    return this.#stage() === 'tftp' ? this.#reach('kernel', `has read its kernel, ${event.path}`) : [];
  }

  attached(event: DiskAttached, nowMs: number): readonly BootNews[] {
    this.#step(nowMs, 'attached', `disk attached by ${event.peer}`);
    if (!this.underWay || !this.#attachCompletes()) return [];
    const durationMs = nowMs - this.#beginning.startedMs;
    this.#state = { at: 'booted', durationMs };
    return [{ kind: 'booted', board: this.board, durationMs, filesRead: this.#filesRead, bytesRead: this.#bytesRead }];
  }

  detached(event: DiskDetached, nowMs: number): void {
    this.#step(nowMs, 'detached', `${event.peer}: ${event.because}`);
  }

  refused(event: DiskRefused, nowMs: number): readonly BootNews[] {
    this.#step(nowMs, 'refused', `${event.peer} asked for the disk: ${event.because}`);
    return this.#kernelReadMs === undefined ? [] : this.#reach('nbd', 'asks for its disk');
  }

  /** The board began again before this boot was complete. */
  abandoned(nowMs: number): void {
    const stage = this.#stage();
    if (stage === undefined) return;
    this.#step(nowMs, 'failed', 'the board started again');
    this.#state = { at: 'failed', stage, because: 'the board started again' };
  }

  expire(nowMs: number, attached: boolean): readonly BootNews[] {
    const stage = this.#stage();
    if (stage === undefined || nowMs - this.#lastSignMs < STAGE_PATIENCE_MS[stage]) return [];
    if (attached && this.#beginning.attachedBefore) {
      this.#state = { at: 'dismissed' };
      return [];
    }
    const because = WHY_STUCK[stage];
    this.#step(nowMs, 'failed', because);
    this.#state = { at: 'failed', stage, because };
    return [{ kind: 'failed', board: this.board, stage, because }];
  }

  #stage(): BootStage | undefined {
    return this.#state.at === 'underWay' ? this.#state.stage : undefined;
  }

  /** Where the kernel was read from the process before us, or can't be told from other files, the signs of boot have to do. */
  #attachCompletes(): boolean {
    const sinceServerStartMs = this.#beginning.startedMs - this.#beginning.serverStartedMs;
    const beganBeforeUs = this.by !== 'discover' && sinceServerStartMs < BOOT_ACROSS_RESTART_MS;
    return this.#kernelReadMs !== undefined || !this.#kernelCanBeTold || beganBeforeUs;
  }

  #reach(stage: BootStage, text: string): readonly BootNews[] {
    if (this.#state.at !== 'underWay' || this.#state.stage === stage) return [];
    this.#state = { at: 'underWay', stage };
    return [{ kind: 'stage', board: this.board, stage, text }];
  }

  #step(nowMs: number, kind: BootStep['kind'], text: string): void {
    this.#lastSignMs = nowMs;
    // A loader that asks again, or somebody who forges it: once is enough.
    if (this.#steps.at(-1)?.text === text) return;
    if (this.#steps.length < BOOT_STEPS_MAX)
      this.#steps.push({ afterMs: nowMs - this.#beginning.startedMs, kind, text });
  }
}

const WHY_STUCK: Readonly<Record<BootStage, string>> = {
  dhcp: 'it was offered a boot server and asked for no file: our answer may not reach it (firewall, bridge, another VLAN), or another DHCP server names a boot server too',
  tftp: 'it stopped asking for files before it had read its kernel: see the last file of the timeline, and what the screen says',
  kernel:
    'it read its kernel and was not heard of again: the kernel may not start on this model, or its initramfs has no network driver or does not ask for an address',
  nbd: 'Linux runs and has an address, but it never attached its disk: the initramfs may lack nbd-client, or cmdline.txt names another server (see `brambleboot check`)',
};
