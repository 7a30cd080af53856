import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import { INVENTORY_FAULTS_PRINTED_MAX, RELOAD_RETRY_MS } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { Turns } from '../base/turns.js';
import type { InventoryFaultsStatus, InventoryStatus, ReloadVerdict, WaitingChange } from '../boards/journal/status.js';
import { servedBy } from '../inventory/difference.js';
import { type Fault, renderFaults } from '../inventory/fault.js';
import type { TlsReading } from '../inventory/tls-files.js';
import { fileSight, isLeftBehind } from '../os/file-identity.js';
import type { MeasuredInventory } from '../web/metrics.js';
import type { Changeover, Outcome, Target } from './changeover.js';
import { type OpenConfiguration, readConfiguration } from './configuration.js';
import { FileWatch } from './file-watch.js';
import { LastInventory } from './last-inventory.js';

export interface ReloadOptions {
  /** Of the inventory. */
  readonly path: string;
  readonly opened: Pick<OpenConfiguration, 'inventory' | 'source' | 'tls' | 'faults' | 'sight'>;
  readonly changeover: Changeover;
  /** Takes over certificates and keys that were read anew. */
  readonly certify: (reading: TlsReading) => void;
  /** Told at the begin and the end of each reload. */
  readonly tell: { begun(): void; ended(): void };
  readonly clock: Clock;
  readonly log: Log;
}

export interface ReloadWish {
  readonly by: 'SIGHUP' | 'command' | 'watch';
  /** What has to wait for a board does not: it is disconnected. */
  readonly force: boolean;
}

/** Reads the inventory again while the server runs, and has what is in it done: one reload after the other. */
export class Reloader {
  readonly #options: ReloadOptions;
  readonly #watch: FileWatch;
  readonly #last: LastInventory;
  /** What was sound when it was read last. */
  #target: Target;
  #tls: TlsReading;
  #loadedAt: Date | undefined;
  #faults: InventoryFaultsStatus | undefined;
  #changed: InventoryStatus['changed'];
  #waiting: readonly WaitingChange[] = [];
  /** Until the server is there, whoever asks for a reload waits. */
  #mayBegin = () => {};
  readonly #turns = new Turns(
    new Promise<void>((resolve) => {
      this.#mayBegin = resolve;
    }),
  );
  /** Asked for, and not begun yet: who asks again meanwhile gets the same. */
  readonly #next = new Map<boolean, Promise<ReloadVerdict>>();
  #isRetryDue = false;
  #retryTimer: Timer | undefined;
  #isStopped = false;

  constructor(options: ReloadOptions) {
    const { path, opened, clock } = options;
    const { inventory, source, tls, faults } = opened;
    this.#options = options;
    this.#target = { served: servedBy(inventory), source };
    this.#tls = tls;
    this.#loadedAt = faults.length === 0 ? clock.today() : undefined;
    this.#faults = faults.length === 0 ? undefined : this.#faultsStatus(faults);
    this.#last = new LastInventory(inventory.server.state);
    const changed = () => void this.reload({ by: 'watch', force: false });
    this.#watch = new FileWatch(() => fileSight(path), { clock, changed });
  }

  /** The server is there. */
  async start(): Promise<void> {
    const { path, opened, log } = this.#options;
    this.#watch.set(opened.inventory.server.watch, opened.sight);
    if (opened.faults.length === 0) await this.#keepCopy();
    else log.error({ file: path, faults: sentences(opened.faults), ...this.#runsOnCopy() }, 'inventory.faulty');
    this.#mayBegin();
  }

  /** Never rejects. */
  reload(wish: ReloadWish): Promise<ReloadVerdict> {
    const next = this.#next.get(wish.force);
    if (next !== undefined) return next;
    const verdict = this.#turns.take(() => {
      this.#next.delete(wish.force);
      return this.#reload(wish);
    });
    this.#next.set(wish.force, verdict);
    return verdict;
  }

  /** A board has let go of its disk. */
  letGo(): void {
    if (this.#waiting.length > 0) this.#retry();
  }

  status(): InventoryStatus {
    return {
      file: resolve(this.#options.path),
      loadedAt: this.#loadedAt,
      faults: this.#faults,
      changed: this.#changed,
      waiting: this.#waiting,
      needsRestart: this.#options.changeover.needsRestart(this.#target),
    };
  }

  measured(): MeasuredInventory {
    return { faultCount: this.#faults?.count ?? 0, loadedAt: this.#loadedAt };
  }

  /** What is under way is finished; nothing more is begun. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#mayBegin();
    this.#watch.stop();
    this.#retryTimer?.cancel();
    await this.#turns.over();
  }

  async #reload({ by, force }: ReloadWish): Promise<ReloadVerdict> {
    const { tell, log } = this.#options;
    if (this.#isStopped) {
      log.warn({ by, because: STOPPING }, 'reload.refused');
      return { answer: 'refused', because: STOPPING };
    }
    tell.begun();
    try {
      return await this.#readAndApply({ by, force });
    } catch (error) {
      log.error({ by, err: error }, 'reload.bug');
      return { answer: 'refused', because: 'a fault of the server, which its log tells of' };
    } finally {
      tell.ended();
    }
  }

  async #readAndApply({ by, force }: ReloadWish): Promise<ReloadVerdict> {
    const { path, clock, changeover, certify } = this.#options;
    const sight = await fileSight(path);
    const read = await readConfiguration(path, clock);
    const target = read.answer === 'sound' ? { served: servedBy(read.inventory), source: read.source } : undefined;
    const prepared = target && (await changeover.prepare(target));
    this.#watch.set(this.#target.served.settings.server.watch, sight);
    if (read.answer === 'faults') return this.#refuse(by, read.faults);
    if (target === undefined || prepared === undefined) throw new Error('sound, and nothing to be done');
    if (prepared.answer === 'faults') return this.#refuse(by, prepared.faults);
    const outcome = await changeover.commit(target, { prepared, force });
    const isOtherTls = !isDeepStrictEqual(read.tls.files, this.#tls.files);
    if (isOtherTls) certify(read.tls);
    this.#tls = read.tls;
    this.#target = target;
    this.#faults = undefined;
    this.#loadedAt = clock.today();
    this.#watch.set(target.served.settings.server.watch, sight);
    await this.#keepCopy();
    const changed = [...outcome.changed, ...(isOtherTls ? ['nbd.tls: certificates or keys were read anew'] : [])];
    const doubt = (await isLeftBehind(path)) ? LEFT_BEHIND : undefined;
    return this.#took(by, { ...outcome, changed }, doubt);
  }

  #took(by: string, { changed, waiting }: Outcome, doubt: string | undefined): ReloadVerdict {
    const { path, changeover, clock, log } = this.#options;
    const needsRestart = changeover.needsRestart(this.#target);
    const isNews = changed.length > 0 || waiting.length > 0 || needsRestart.length > 0;
    if (changed.length > 0) this.#changed = { at: clock.today(), what: changed };
    if (isNews) log.info({ by, changed, needsRestart }, 'reload.done');
    else log[by === 'watch' ? 'debug' : 'info']({ by }, 'reload.unchanged');
    if (doubt !== undefined) log.warn({ file: path, because: doubt }, 'reload.doubtful');
    this.#wait(waiting);
    return { answer: 'reloaded', file: resolve(path), changed, waiting, needsRestart, doubt };
  }

  #refuse(by: string, faults: readonly Fault[]): ReloadVerdict {
    const { path, log } = this.#options;
    this.#faults = this.#faultsStatus(faults, this.#faults?.since);
    log.error({ by, file: path, faults: sentences(faults), ...this.#runsOnCopy() }, 'reload.faulty');
    const { count, text } = this.#faults;
    return { answer: 'faults', file: resolve(path), count, text };
  }

  #faultsStatus(faults: readonly Fault[], since = this.#options.clock.today()): InventoryFaultsStatus {
    return { since, count: faults.length, text: renderFaults(faults) };
  }

  #runsOnCopy(): { readonly means: string; readonly remedy: string } {
    const means =
      this.#loadedAt === undefined
        ? `the server runs on ${this.#last.path}, a copy of the last inventory that was sound, so that boards which run keep their disks`
        : 'nothing was changed: the server goes on with what it has';
    return { means, remedy: 'mend the file, look with `brambleboot check`, then `brambleboot reload`' };
  }

  #wait(waiting: readonly WaitingChange[]): void {
    const { clock, log } = this.#options;
    const isKnown = (one: WaitingChange) => this.#waiting.some((other) => isDeepStrictEqual(one, other));
    for (const one of waiting) if (!isKnown(one)) log.warn({ ...one, remedy: WAITING_REMEDY }, 'reload.waiting');
    this.#waiting = waiting;
    this.#retryTimer?.cancel();
    if (waiting.length > 0 && !this.#isStopped) this.#retryTimer = clock.after(RELOAD_RETRY_MS, () => this.#retry());
  }

  #retry(): void {
    if (this.#isRetryDue) return;
    this.#isRetryDue = true;
    void this.#turns.take(async () => {
      this.#isRetryDue = false;
      if (this.#isStopped || this.#waiting.length === 0) return;
      const { changeover, clock, log } = this.#options;
      try {
        const { changed, waiting } = await changeover.commit(this.#target, { prepared: undefined, force: false });
        if (changed.length > 0) {
          this.#changed = { at: clock.today(), what: changed };
          log.info({ changed }, 'reload.caught_up');
        }
        this.#wait(waiting);
      } catch (error) {
        log.error({ err: error }, 'reload.bug');
        this.#wait(this.#waiting);
      }
    });
  }

  /** Where it can't be kept the server does not stand still for it. */
  async #keepCopy(): Promise<void> {
    const { path, log } = this.#options;
    try {
      await this.#last.write(this.#target.source.text, path);
    } catch (error) {
      const because = messageOf(error);
      log.warn({ file: this.#last.path, because }, 'inventory.copy.failed');
    }
  }
}

const LEFT_BEHIND =
  'this file has no name any more: it is mounted by itself into a container, and was replaced where it came from. Mount its folder in its place, and restart';
const STOPPING = 'the server is being stopped';
const WAITING_REMEDY =
  'it is done by itself when that is over: shut the board down, or `brambleboot reload --force` disconnects it';

/** A line each, for the log. */
function sentences(faults: readonly Fault[]): readonly string[] {
  return faults.slice(0, INVENTORY_FAULTS_PRINTED_MAX).map(({ file, at, problem, remedy }) => {
    const place = at === undefined ? file : `${file}:${at.line}:${at.column}`;
    return `${place}: ${problem}: ${remedy}`;
  });
}
