import type { Clock } from '../../base/clock.js';
import { BOOT_ACROSS_RESTART_MS, BOOTS_REMEMBERED_MAX } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import { BootDiary, type FirstSign } from './boot-diary.js';
import type { BootNews, BootRecord } from './boot-record.js';
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
}

/**
 * The boots of all boards, drawn from what the servers tell. It decides what belongs to one boot, when a boot is complete, and
 * when one has failed; it answers what of that is news.
 */
export class Journal {
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #lives = new Map<string, Life>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedMs = clock.nowMs();
  }

  life(board: string): BoardLife {
    const life = this.#lives.get(board);
    return { boots: (life?.boots ?? []).map((diary) => diary.record()), attachedFrom: life?.attachedFrom };
  }

  record(event: BoardEvent): readonly BootNews[] {
    if (event.board === undefined) return [];
    const life = this.#lifeOf(event.board);
    const nowMs = this.#clock.nowMs();
    const begun = this.#startOfBoot(event, life, nowMs);
    const started: readonly BootNews[] =
      begun === undefined
        ? []
        : [{ kind: 'started', board: event.board, by: this.#begin(event.board, life, begun, nowMs).by }];
    return [...started, ...this.#told(event, life, nowMs)];
  }

  #told(event: BoardEvent, life: Life, nowMs: number): readonly BootNews[] {
    const current = this.#current(life);
    switch (event.kind) {
      case 'discover':
        return current?.discover(event, nowMs) ?? [];
      case 'addressRequested':
        return current?.address(event, nowMs) ?? [];
      case 'bootFileRequested':
        return current?.fileRequested(nowMs) ?? [];
      case 'transferEnded':
        return current?.transferEnded(event, nowMs) ?? [];
      case 'attached':
        life.attachedFrom = event.peer;
        // Of a board that has booted it is a step of that boot too: it let go of its disk and has it again.
        return life.boots[0]?.attached(event, nowMs) ?? [];
      case 'detached':
        life.attachedFrom = undefined;
        life.boots[0]?.detached(event, nowMs);
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
      const acrossRestart = nowMs - this.#startedMs < BOOT_ACROSS_RESTART_MS;
      return current === undefined && life.boots.length === 0 && life.attachedFrom === undefined && acrossRestart
        ? 'address'
        : undefined;
    }
    return undefined;
  }

  /** To be asked every few seconds: boots that have stayed too long where they are. */
  expire(): readonly BootNews[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#lives.values()].flatMap(
      (life) => this.#current(life)?.expire(nowMs, life.attachedFrom !== undefined) ?? [],
    );
  }

  #current(life: Life): BootDiary | undefined {
    const newest = life.boots[0];
    return newest?.underWay ? newest : undefined;
  }

  #begin(board: string, life: Life, by: FirstSign, nowMs: number): BootDiary {
    this.#current(life)?.abandoned(nowMs);
    const diary = new BootDiary(board, by, {
      startedAt: this.#clock.today(),
      startedMs: nowMs,
      attachedBefore: life.attachedFrom !== undefined,
      serverStartedMs: this.#startedMs,
    });
    life.boots = [diary, ...life.boots].slice(0, BOOTS_REMEMBERED_MAX);
    return diary;
  }

  #lifeOf(board: string): Life {
    const known = this.#lives.get(board);
    if (known !== undefined) return known;
    const life: Life = { boots: [], attachedFrom: undefined };
    this.#lives.set(board, life);
    return life;
  }
}
