import type { Clock } from '../../base/clock.js';
import { BOOT_ACROSS_ABSENCE_MS, BOOT_ACROSS_RESTART_MS, BOOTS_REMEMBERED_MAX } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import { BootDiary, beginningOf } from './boot-diary.js';
import type { BoardPast, BootMemory, BootNews, BootRecord, FirstSign } from './boot-record.js';
import type { BoardEvent } from './events.js';

/** What is known of one board's life. */
export interface BoardLife {
  /** Newest first. */
  readonly boots: readonly BootRecord[];
  /** Address that uses the disk. */
  readonly attachedFrom: string | undefined;
}

interface Life {
  boots: BootDiary[];
  attachedFrom: string | undefined;
  /** Who had the disk when the server before us ended; until somebody has it, or a boot begins. */
  attachedAtEnd: string | undefined;
  /** Its boots before our start are known, as far as there were any. */
  readonly pastKnown: boolean;
}

/** How much a change is worth keeping, should the process crash: what decides of boots, or just what is nice to read. */
export type Weight = 'heavy' | 'light';

/**
 * The boots of all boards, drawn from what the servers tell. It decides what belongs to one boot, when a boot is complete, and
 * when one has failed; it answers what of that is news.
 */
export class Journal {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #changed: (board: string, weight: Weight) => void;
  readonly #lives = new Map<string, Life>();
  #stopping = false;

  /** `changed` is told of which board there is something new to keep. */
  constructor(clock: Clock, changed: (board: string, weight: Weight) => void = () => {}) {
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
    this.#changed = changed;
  }

  life(board: string): BoardLife {
    const life = this.#lives.get(board);
    return { boots: (life?.boots ?? []).map((diary) => diary.record()), attachedFrom: life?.attachedFrom };
  }

  /** What the next process should know of the board. */
  past(board: string): BoardPast {
    const nowMs = this.#clock.nowMs();
    const life = this.#lives.get(board);
    return {
      boots: (life?.boots ?? []).map((diary) => diary.memory(nowMs)),
      attachedFrom: life?.attachedFrom ?? life?.attachedAtEnd,
      isLast: this.#stopping,
    };
  }

  /**
   * What the process before us knew, before anything is recorded. `absentMs` is how long ago that was, undefined where nobody can
   * say. A boot under way goes on with new patience: while nobody served the board, it could not help being late.
   */
  remember(board: string, past: BoardPast, absentMs: number | undefined): readonly BootNews[] {
    const nowMs = this.#clock.nowMs();
    const { attachedFrom, isLast } = past;
    const boots = past.boots
      .slice(0, BOOTS_REMEMBERED_MAX)
      .map((boot) => new BootDiary(boot, { startedMs: nowMs - boot.ageMs - (absentMs ?? 0), nowMs }));
    this.#lives.set(board, { boots, attachedFrom: undefined, attachedAtEnd: attachedFrom, pastKnown: true });
    const [newest, ...older] = boots;
    const tooLong = absentMs === undefined || absentMs > BOOT_ACROSS_ABSENCE_MS;
    for (const boot of older) boot.lostSight(nowMs);
    if (tooLong) newest?.lostSight(nowMs);
    if (newest === undefined || (!newest.underWay && attachedFrom === undefined)) return [];
    this.#changed(board, 'heavy');
    return newest.resumed(nowMs, isLast);
  }

  /** A board that is no longer served. */
  forget(board: string): void {
    this.#lives.delete(board);
  }

  /** From here on a disk that is let go of is our doing; the next process is to know who had it. */
  stopping(): void {
    this.#stopping = true;
    for (const [board, life] of this.#lives) if (this.#current(life) !== undefined) this.#changed(board, 'heavy');
  }

  record(event: BoardEvent): readonly BootNews[] {
    if (event.board === undefined || (this.#stopping && event.kind === 'detached')) return [];
    const life = this.#lifeOf(event.board);
    const nowMs = this.#clock.nowMs();
    const begun = this.#startOfBoot(event, life, nowMs);
    const started: readonly BootNews[] =
      begun === undefined
        ? []
        : [{ kind: 'started', board: event.board, by: this.#begin(event.board, life, begun, nowMs).by }];
    const news = [...started, ...this.#told(event, life, nowMs)];
    const decides = news.length > 0 || event.kind === 'attached' || event.kind === 'detached';
    if (decides || this.#current(life) !== undefined) this.#changed(event.board, decides ? 'heavy' : 'light');
    return news;
  }

  #told(event: BoardEvent, life: Life, nowMs: number): readonly BootNews[] {
    const current = this.#current(life);
    switch (event.kind) {
      case 'discover':
        return current?.discover(event, nowMs) ?? [];
      case 'addressRequested':
        return current?.address(event, nowMs) ?? [];
      case 'bootFileRequested':
        return current?.fileRequested(event, nowMs) ?? [];
      case 'transferEnded':
        return current?.transferEnded(event, nowMs) ?? [];
      case 'attached': {
        const again = event.peer === life.attachedAtEnd;
        life.attachedFrom = event.peer;
        life.attachedAtEnd = undefined;
        // Of a board that has booted it is a step of that boot too: it let go of its disk and has it again.
        return life.boots[0]?.attached(event, nowMs, again) ?? [];
      }
      case 'detached':
        life.attachedFrom = undefined;
        life.boots[0]?.detached(event, nowMs);
        return [];
      case 'spaceAwaited':
        life.boots[0]?.spaceAwaited(nowMs);
        return [];
      case 'spaceAwaitOver':
        life.boots[0]?.spaceAwaitOver(event, nowMs);
        return [];
      case 'diskFailed':
        life.boots[0]?.diskFailed(nowMs);
        return [];
      case 'diskReopened':
        life.boots[0]?.diskReopened(nowMs);
        return [];
      case 'refused':
        return current?.refused(event, nowMs) ?? [];
      default:
        return unreachable(event);
    }
  }

  /** The sign by which a new boot begins with this event; undefined if it belongs to the boot under way, or to none. */
  #startOfBoot(event: BoardEvent, life: Life, nowMs: number): FirstSign | undefined {
    const current = this.#current(life);
    if (event.kind === 'discover') return current?.expectsDiscover() ? undefined : 'discover';
    if (event.kind === 'bootFileRequested') return current?.expectsFiles(nowMs) ? undefined : 'file';
    if (event.kind === 'addressRequested') {
      const unknown = life.boots.length === 0 && life.attachedFrom === undefined;
      return unknown && this.#mayHaveBegunBefore(life, nowMs) ? 'address' : undefined;
    }
    return undefined;
  }

  /** To be asked every few seconds: boots that have stayed too long where they are. */
  expire(): readonly BootNews[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#lives].flatMap(([board, life]) => {
      const current = this.#current(life);
      const inUse = (life.attachedFrom ?? life.attachedAtEnd) !== undefined;
      const news = current?.expire(nowMs, inUse) ?? [];
      if (current?.underWay === false) this.#changed(board, 'heavy');
      return news;
    });
  }

  #current(life: Life): BootDiary | undefined {
    const newest = life.boots[0];
    return newest?.underWay ? newest : undefined;
  }

  #begin(board: string, life: Life, by: FirstSign, nowMs: number): BootDiary {
    this.#current(life)?.abandoned(nowMs);
    const memory: BootMemory = beginningOf({
      board,
      by,
      startedAt: this.#clock.today(),
      attachedBefore: (life.attachedFrom ?? life.attachedAtEnd) !== undefined,
      kernelCanBeTold: by === 'discover' || !this.#mayHaveBegunBefore(life, nowMs),
    });
    const diary = new BootDiary(memory, { startedMs: nowMs, nowMs });
    life.attachedAtEnd = undefined;
    // Files asked for under a board that runs are no boots: who keeps asking must not push the boots out.
    const boots = life.boots.filter(({ state }) => state.at !== 'dismissed');
    life.boots = [diary, ...boots].slice(0, BOOTS_REMEMBERED_MAX);
    return diary;
  }

  /** Where nothing is left of what the process before us knew: what begins soon after our start may have begun under it. */
  #mayHaveBegunBefore(life: Life, nowMs: number): boolean {
    return !life.pastKnown && nowMs - this.#startedMs < BOOT_ACROSS_RESTART_MS;
  }

  #lifeOf(board: string): Life {
    const known = this.#lives.get(board);
    if (known !== undefined) return known;
    const life: Life = { boots: [], attachedFrom: undefined, attachedAtEnd: undefined, pastKnown: false };
    this.#lives.set(board, life);
    return life;
  }
}
