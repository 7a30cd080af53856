import { isUnixPeer } from '../../base/addresses.js';
import { bytesText, durationText } from '../../base/amounts.js';
import {
  BOOT_PEERS_MAX,
  BOOT_STEPS_MAX,
  BOOT_TEXT_CHARACTERS_MAX,
  KERNEL_LAST_FILES_MS,
  KERNEL_TOLD_LATE_MS_MAX,
  STAGE_PATIENCE_MS,
} from '../../base/limits.js';
import { printable } from '../../base/printable.js';
import type { BootMemory, BootNews, BootRecord, BootStage, BootState, BootStep, FirstSign } from './boot-record.js';
import type {
  AddressRequested,
  BootFileRequested,
  DiscoverSeen,
  DiskAttached,
  DiskDetached,
  DiskRefused,
  SpaceAwaitOver,
  TransferEnded,
} from './events.js';

const FIRST_STAGE: Readonly<Record<FirstSign, BootStage>> = { discover: 'dhcp', file: 'tftp', address: 'nbd' };

/** What was so when the boot's first sign came. */
export type BootBeginning = Pick<BootMemory, 'board' | 'by' | 'startedAt' | 'attachedBefore' | 'kernelCanBeTold'>;

/** A boot of which nothing but the first sign is known. */
export function beginningOf(beginning: BootBeginning): BootMemory {
  return {
    ...beginning,
    state: { at: 'underWay', stage: FIRST_STAGE[beginning.by] },
    steps: [],
    filesRead: 0,
    bytesRead: 0,
    probes: 0,
    ageMs: 0,
    kernelReadAfterMs: undefined,
    loaderWasLast: false,
  };
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
  readonly #startedAt: Date;
  readonly #startedMs: number;
  readonly #attachedBefore: boolean;
  readonly #steps: BootStep[];
  #state: BootState;
  #lastSignMs: number;
  #kernelReadMs: number | undefined;
  #early: EarlyAttachment | undefined;
  #kernelCanBeTold: boolean;
  #loaderWasLast: boolean;
  #filesRead: number;
  #bytesRead: number;
  #probes: number;
  #restarted = false;
  /** Where files and addresses were asked from. */
  readonly #askedFrom = new Set<string>();
  /** Who was refused the disk, and why the last of them was. */
  readonly #refused = new Set<string>();
  #refusedBecause: string | undefined;

  /** Goes on where `memory` ends; its times are reckoned from `startedMs`, which may lie before this process. */
  constructor(memory: BootMemory, { startedMs, nowMs }: { readonly startedMs: number; readonly nowMs: number }) {
    const { kernelReadAfterMs } = memory;
    this.board = memory.board;
    this.by = memory.by;
    this.#startedAt = memory.startedAt;
    this.#startedMs = startedMs;
    this.#attachedBefore = memory.attachedBefore;
    this.#steps = [...memory.steps];
    this.#state = memory.state;
    this.#lastSignMs = nowMs;
    this.#kernelReadMs = kernelReadAfterMs === undefined ? undefined : startedMs + kernelReadAfterMs;
    this.#kernelCanBeTold = memory.kernelCanBeTold;
    this.#loaderWasLast = memory.loaderWasLast;
    this.#filesRead = memory.filesRead;
    this.#bytesRead = memory.bytesRead;
    this.#probes = memory.probes;
  }

  get state(): BootState {
    return this.#state;
  }

  get underWay(): boolean {
    return this.#state.at === 'underWay';
  }

  record(): BootRecord {
    return {
      board: this.board,
      startedAt: this.#startedAt,
      state: this.#state,
      steps: this.#steps,
      filesRead: this.#filesRead,
      bytesRead: this.#bytesRead,
      probes: this.#probes,
    };
  }

  memory(nowMs: number): BootMemory {
    const kernelReadMs = this.#kernelReadMs;
    return {
      ...this.record(),
      by: this.by,
      ageMs: Math.round(nowMs - this.#startedMs),
      kernelReadAfterMs: kernelReadMs === undefined ? undefined : Math.round(kernelReadMs - this.#startedMs),
      kernelCanBeTold: this.#kernelCanBeTold,
      loaderWasLast: this.#loaderWasLast,
      attachedBefore: this.#attachedBefore,
    };
  }

  /** A loader repeats its DISCOVER; and bootcode.bin of a Pi 3, once read, sends its own. */
  expectsDiscover(): boolean {
    return this.#stage() === 'dhcp' || (this.#stage() === 'tftp' && this.#loaderWasLast);
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
    remember(this.#askedFrom, event.address);
    const kernel = this.#stage() === 'kernel';
    this.#step(nowMs, 'address', `${kernel ? 'Linux ' : ''}takes the address ${event.address}`);
    return kernel ? this.#reach('nbd', 'Linux runs and has asked for an address') : [];
  }

  fileRequested({ peer }: BootFileRequested, nowMs: number): readonly BootNews[] {
    this.#lastSignMs = nowMs;
    remember(this.#askedFrom, peer);
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
    const early = this.#takeBackEarlyAttachment(event, nowMs);
    this.#filesRead += 1;
    this.#loaderWasLast = /^boot(code|sig)\.bin$/.test(event.path);
    this.#step(
      early === undefined ? nowMs : this.#startedMs + early.afterMs,
      'file',
      `${event.path} (${bytesText(event.sizeBytes ?? event.sentBytes)} in ${durationText(event.durationMs)})`,
    );
    if (event.role !== 'kernel') return [];
    this.#kernelReadMs = nowMs;
    if (early !== undefined) {
      if (early.step !== undefined) this.#steps.push(early.step);
      return this.#booted(early.afterMs);
    }
    return this.#stage() === 'tftp' ? this.#reach('kernel', `has read its kernel, ${event.path}`) : [];
  }

  /** `again`: by who had it before the server was restarted, which ends no boot. */
  attached(event: DiskAttached, nowMs: number, again: boolean): readonly BootNews[] {
    this.#step(nowMs, 'attached', `disk attached by ${event.peer}${again ? ', which had it before' : ''}`);
    if (!this.underWay || again || !this.#mayBeTheBoard(event.peer)) return [];
    const afterMs = nowMs - this.#startedMs;
    if (this.#attachCompletes()) return this.#booted(afterMs);
    const last = this.#steps.at(-1);
    this.#early = { afterMs, step: last?.kind === 'attached' ? last : undefined };
    return [];
  }

  detached(event: DiskDetached, nowMs: number): void {
    this.#early = undefined;
    this.#step(nowMs, 'detached', `${event.peer}: ${event.because}`);
  }

  refused(event: DiskRefused, nowMs: number): readonly BootNews[] {
    remember(this.#refused, event.peer);
    this.#refusedBecause = event.because;
    this.#step(nowMs, 'refused', `${event.peer} asked for the disk: ${event.because}`);
    return this.#kernelReadMs === undefined ? [] : this.#reach('nbd', 'asks for its disk');
  }

  /** It concerns the board that was booted; nothing of its boot depends on it. */
  spaceAwaited(nowMs: number): void {
    this.#step(nowMs, 'space', 'the filesystem under its disk is full: its writes wait for space');
  }

  spaceAwaitOver({ because, waitedMs }: SpaceAwaitOver, nowMs: number): void {
    const what = because === 'done' ? 'its writes go on' : 'its writes were given up with their connection';
    this.#step(nowMs, 'space', `${what}, after ${durationText(waitedMs)} without space`);
  }

  diskFailed(nowMs: number): void {
    this.#step(nowMs, 'disk', 'a flush of its disk failed: what it wrote before may be lost');
  }

  diskReopened(nowMs: number): void {
    this.#step(nowMs, 'disk', 'its disk was reopened and is flushed again');
  }

  /** The board began again before this boot was complete. */
  abandoned(nowMs: number): void {
    this.#fail(nowMs, 'the board started again');
  }

  /** Nobody saw how it went on. */
  lostSight(nowMs: number): void {
    this.#fail(nowMs, 'the server was away for too long while it booted: how it went on is not known');
  }

  /**
   * The server was restarted, and the boot or the use of its disk goes on. `inOrder` is false after a crash: then what the last
   * second brought is not known, the kernel perhaps.
   */
  resumed(nowMs: number, inOrder: boolean): readonly BootNews[] {
    const stage = this.#stage();
    this.#step(nowMs, 'restart', 'the server was restarted');
    if (stage === undefined) return [];
    this.#restarted = true;
    if (!inOrder) this.#kernelCanBeTold = false;
    return [{ kind: 'resumed', board: this.board, stage }];
  }

  expire(nowMs: number, attached: boolean): readonly BootNews[] {
    const stage = this.#stage();
    if (stage === undefined || nowMs - this.#lastSignMs < STAGE_PATIENCE_MS[stage]) return [];
    if (attached && this.#attachedBefore) {
      this.#state = { at: 'dismissed' };
      return [];
    }
    const because = `${this.#restarted ? 'the server was restarted in the middle, and ' : ''}${this.#whyStuck(stage)}`;
    this.#fail(nowMs, because);
    return [{ kind: 'failed', board: this.board, stage, because }];
  }

  #booted(afterMs: number): readonly BootNews[] {
    const durationMs = Math.round(afterMs);
    this.#state = { at: 'booted', durationMs };
    return [{ kind: 'booted', board: this.board, durationMs, filesRead: this.#filesRead, bytesRead: this.#bytesRead }];
  }

  /**
   * An attachment that was told a moment before this file's last ACK was: files and disks are served by different threads. It is
   * taken out of the timeline, to be put behind the file.
   */
  #takeBackEarlyAttachment({ role }: TransferEnded, nowMs: number): EarlyAttachment | undefined {
    const early = this.#early;
    if (role !== 'kernel' || early === undefined || !this.underWay) return undefined;
    if (nowMs - this.#startedMs - early.afterMs > KERNEL_TOLD_LATE_MS_MAX) return undefined;
    const index = early.step === undefined ? -1 : this.#steps.indexOf(early.step);
    if (index >= 0) this.#steps.splice(index, 1);
    return early;
  }

  #stage(): BootStage | undefined {
    return this.#state.at === 'underWay' ? this.#state.stage : undefined;
  }

  /** Where nobody can say whether the kernel was read, the signs of boot have to do. */
  #attachCompletes(): boolean {
    return this.#kernelReadMs !== undefined || !this.#kernelCanBeTold;
  }

  /**
   * A board that was refused its disk has not booted because somebody else then takes that, and what comes from this host is no board
   * at all. A stranger's refusal says nothing of a board that was seen itself.
   */
  #mayBeTheBoard(peer: string): boolean {
    if (isUnixPeer(peer)) return false;
    if (this.#refused.size === 0 || this.#refused.has(peer)) return true;
    return this.#askedFrom.has(peer) && [...this.#refused].every((refused) => !this.#askedFrom.has(refused));
  }

  #whyStuck(stage: BootStage): string {
    const isRefused = stage === 'nbd' && this.#refusedBecause !== undefined;
    return isRefused ? `it asked for its disk and did not get it: ${this.#refusedBecause}` : WHY_STUCK[stage];
  }

  #reach(stage: BootStage, text: string): readonly BootNews[] {
    if (this.#state.at !== 'underWay' || this.#state.stage === stage) return [];
    this.#state = { at: 'underWay', stage };
    return [{ kind: 'stage', board: this.board, stage, text }];
  }

  #fail(nowMs: number, because: string): void {
    const stage = this.#stage();
    if (stage === undefined) return;
    this.#step(nowMs, 'failed', because);
    this.#state = { at: 'failed', stage, because };
  }

  #step(nowMs: number, kind: BootStep['kind'], said: string): void {
    this.#lastSignMs = nowMs;
    const text = bounded(said);
    // A loader that asks again, or somebody who forges it: once is enough.
    if (this.#steps.at(-1)?.text === text) return;
    if (this.#steps.length >= BOOT_STEPS_MAX) return;
    this.#steps.push({ afterMs: Math.round(nowMs - this.#startedMs), kind, text });
  }
}

function remember(peers: Set<string>, peer: string): void {
  if (peers.size < BOOT_PEERS_MAX) peers.add(peer);
}

function bounded(text: string): string {
  const cut = text.length > BOOT_TEXT_CHARACTERS_MAX ? `${text.slice(0, BOOT_TEXT_CHARACTERS_MAX - 1)}…` : text;
  return printable(cut);
}

/** A disk was attached before the kernel was seen to be read. */
interface EarlyAttachment {
  readonly afterMs: number;
  /** Its line of the timeline, if there was room for one. */
  readonly step: BootStep | undefined;
}

const WHY_STUCK: Readonly<Record<BootStage, string>> = {
  dhcp: 'it was offered a boot server and asked for no file: our answer may not reach it (firewall, bridge, another VLAN), or another DHCP server names a boot server too',
  tftp: 'it stopped asking for files before it had read its kernel: see the last file of the timeline, and what the screen says',
  kernel:
    'it read its kernel and was not heard of again: the kernel may not start on this model, or its initramfs has no network driver or does not ask for an address',
  nbd: 'Linux runs and has an address, but it never attached its disk: the initramfs may lack nbd-client, or cmdline.txt names another server (see `brambleboot check`)',
};
