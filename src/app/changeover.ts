import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.js';
import type { ChangingLookup } from '../boards/identity/inventory-lookup.js';
import type { WaitingChange } from '../boards/journal/status.js';
import type { OpenBoards } from '../boards/opening/open-boards.js';
import type { OpenBoard } from '../boards/opening/opening.js';
import { differenceOf, isOtherDisk, type Served, type ServedBoard } from '../inventory/difference.js';
import { changeWords } from '../inventory/difference-words.js';
import { byPosition, type Fault } from '../inventory/fault.js';
import { changedSettings, sortSettings, withSettings } from '../inventory/settings.js';
import type { InventorySource } from '../inventory/source.js';
import { fileIdentity } from '../os/file-identity.js';
import type { BoardDisks } from './board-disks.js';
import { ChangeRound } from './change-round.js';
import type { RunningInventory } from './running-inventory.js';

/** What an inventory asks for. */
export interface Target {
  readonly served: Served;
  readonly source: InventorySource;
}

export interface ChangeoverParts {
  readonly boards: OpenBoards;
  readonly disks: BoardDisks;
  readonly lookup: ChangingLookup;
  readonly running: RunningInventory;
  readonly followers: Followers;
  readonly log: Log;
}

/** Whoever keeps something for each board. */
export interface Followers {
  /** Boards of which something is kept. */
  known(): Iterable<string>;
  /** Before anybody finds these by the lookup. */
  arriving(names: Iterable<string>): Promise<void>;
  /** Its disk was opened, perhaps anew. */
  opened(board: OpenBoard): void;
  closed(name: string): void;
  /** It is served no longer. */
  gone(name: string): Promise<void>;
  /** All is as it is going to be for now. */
  settled(openedAnew: ReadonlySet<string>): Promise<void>;
}

export interface Preparations {
  /** Disks that are open already, and are to be used. */
  readonly opened: ReadonlyMap<string, OpenBoard>;
  /** Boards whose image is another file by now, which they are to have. */
  readonly replaced: ReadonlySet<string>;
}

export type Prepared =
  | ({ readonly answer: 'ready' } & Preparations)
  | { readonly answer: 'faults'; readonly faults: readonly Fault[] };

export interface Outcome {
  readonly changed: readonly string[];
  readonly waiting: readonly WaitingChange[];
}

/**
 * Makes what is served what an inventory asks for, by the difference of the two. Boards that are not in it notice nothing. A board that
 * uses its disk keeps it: what would take it away waits, and so does what could come only after that.
 */
export class Changeover {
  readonly #parts: ChangeoverParts;
  /** Those that wait for another file of their image. */
  #replaced: ReadonlySet<string> = new Set();

  constructor(parts: ChangeoverParts) {
    this.#parts = parts;
  }

  /** Looks whether all of it could be done, and opens what can be opened beside what is open. With faults nothing has changed. */
  async prepare({ served, source }: Target): Promise<Prepared> {
    const { boards, running } = this.#parts;
    const replaced = await boards.replaced();
    const { added, changed } = differenceOf(running.served, served).boards;
    const others = [...changed.values()].filter(isOtherDisk).map(({ after }) => after);
    const onReplaced = [...replaced].flatMap((name) => asList(served.boards.get(name)));
    const images = new Set([...added.values(), ...others, ...onReplaced].map(({ image }) => image));
    const faults: Fault[] = [];
    for (const image of images) faults.push(...asList(await boards.examine(image, source)));
    // Opening a disk may make one, so not before the rest is known to be sound.
    if (faults.length > 0) return { answer: 'faults', faults: faults.sort(byPosition) };
    const opened = new Map<string, OpenBoard>();
    let isReady = false;
    try {
      for (const [name, board] of added) {
        if ((await this.#obstacle(board)) !== undefined) continue;
        const verdict = await boards.open(board.entry, board.image, source);
        if (verdict.answer === 'open') opened.set(name, verdict.opened);
        else faults.push(verdict.fault);
      }
      isReady = faults.length === 0;
    } finally {
      // What is open and not served would keep its image from being opened ever again, also after a bug.
      if (!isReady) for (const board of opened.values()) await board.close();
    }
    if (isReady) return { answer: 'ready', opened, replaced };
    return { answer: 'faults', faults: distinct(faults).sort(byPosition) };
  }

  /** Does what can be done now. To be called again, with nothing prepared, while something waits. `force`: boards are disconnected for it. */
  async commit(
    { served, source }: Target,
    { prepared, force }: { readonly prepared: Preparations | undefined; readonly force: boolean },
  ): Promise<Outcome> {
    this.#replaced = prepared?.replaced ?? this.#replaced;
    const { running, followers } = this.#parts;
    const before = running.served;
    const difference = differenceOf(before, served);
    const round = new ChangeRound(difference);
    try {
      await this.#closeOthers(served, round, force);
      this.#amend(round);
      await this.#open({ served, source }, prepared?.opened, round);
    } catch (error) {
      // A bug. What is not served yet would keep its image from being opened ever again.
      for (const [name, board] of prepared?.opened ?? []) if (!round.openedAnew.has(name)) await board.close();
      throw error;
    }
    await followers.arriving(round.openedAnew);
    this.#publish(served);
    for (const name of round.openedAnew)
      for (const board of asList(this.#parts.boards.find(name))) followers.opened(board);
    for (const name of [...followers.known()]) if (!this.#isKept(name, served)) await followers.gone(name);
    await followers.settled(round.openedAnew);
    const words = changeWords(differenceOf(before, running.served));
    const replaced = round.replaced.map((name) => `board ${name}: the file of its image was replaced`);
    return { changed: [...words, ...replaced], waiting: [...round.waiting.values()] };
  }

  /** Keys of the settings whose value can't be changed while the server runs. */
  needsRestart({ served }: Target): readonly string[] {
    const { settings } = this.#parts.running.served;
    return sortSettings(changedSettings(settings, served.settings), settings).fromStart;
  }

  #isKept(name: string, served: Served): boolean {
    return served.boards.has(name) || this.#parts.boards.find(name) !== undefined;
  }

  /** Boards that are to have another disk, or none: closes those that nobody uses. */
  async #closeOthers(served: Served, round: ChangeRound, force: boolean): Promise<void> {
    const { boards, disks } = this.#parts;
    const { removed, changed } = round.difference.boards;
    const others = [...changed].filter(([, change]) => isOtherDisk(change)).map(([name]) => name);
    const replaced = [...this.#replaced].filter((name) => boards.find(name) !== undefined);
    const all = new Set([...removed.keys(), ...others, ...replaced]);
    const close = async (name: string) => {
      const doing = served.boards.has(name) ? 'the inventory gives it another disk' : 'the inventory has it no longer';
      const because = force ? undefined : whyReading(boards.find(name));
      const verdict =
        because === undefined
          ? await disks.retire(name, { doing, force }, () => this.#close(name))
          : ({ answer: 'refused', because } as const);
      if (verdict.answer === 'refused') round.wait(name, verdict.because);
      else if (replaced.includes(name) && served.boards.has(name)) round.replaced.push(name);
    };
    await Promise.all([...all].map(close));
    this.#replaced = new Set(replaced.filter((name) => round.waiting.has(name)));
  }

  async #close(name: string): Promise<void> {
    const { boards, lookup, followers, log } = this.#parts;
    const closing = boards.dismiss(name);
    lookup.replace(boards.all);
    const failure = await closing;
    followers.closed(name);
    if (failure !== undefined) log.error({ board: name, ...failure }, 'disk.flush.failed');
  }

  /** The same disk with another serial, other kernel arguments: but not the serial of a board that has to stay for now. */
  #amend(round: ChangeRound): void {
    const { boards } = this.#parts;
    const amended = [...round.difference.boards.changed].filter(([name]) => !round.waiting.has(name));
    let left = amended.filter(([name]) => boards.find(name) !== undefined);
    for (let isSettled = false; !isSettled; ) {
      const staying = [...round.waiting.keys()].flatMap((name) => asList(boards.find(name)));
      const blocked = left.flatMap(([name, { after }]) => {
        const other = staying.find(({ entry }) => entry.name !== name && isSameBoard(entry, after.entry));
        return other === undefined ? [] : [{ name, because: identityOf(other) }];
      });
      for (const { name, because } of blocked) round.wait(name, because);
      left = left.filter(([name]) => !round.waiting.has(name));
      isSettled = blocked.length === 0;
    }
    for (const [name, { after }] of left)
      for (const board of asList(boards.find(name))) boards.admit(board.amended(after.entry));
  }

  async #open(
    { served, source }: Target,
    prepared: Preparations['opened'] | undefined,
    round: ChangeRound,
  ): Promise<void> {
    const { boards } = this.#parts;
    for (const [name, board] of served.boards) {
      if (boards.find(name) !== undefined) continue;
      const ready = prepared?.get(name);
      if (ready !== undefined) {
        boards.admit(ready);
        round.openedAnew.add(name);
        continue;
      }
      const because = await this.#obstacle(board);
      const verdict = because === undefined ? await boards.open(board.entry, board.image, source) : undefined;
      if (verdict?.answer === 'open') {
        boards.admit(verdict.opened);
        round.openedAnew.add(name);
      } else round.wait(name, because ?? `${verdict?.fault.problem}; ${verdict?.fault.remedy}`);
    }
  }

  #publish(served: Served): void {
    const { boards, lookup, running } = this.#parts;
    lookup.replace(boards.all);
    const before = running.served;
    const { atOnce } = sortSettings(changedSettings(before.settings, served.settings), before.settings);
    // Those that are to go, and can't yet, stand last.
    const names = new Set([...served.boards.keys(), ...before.boards.keys()]);
    const open = [...names].flatMap((name) => asList(boards.find(name)));
    running.replace({
      settings: withSettings(before.settings, served.settings, atOnce),
      images: served.images,
      boards: new Map(open.map(({ entry, image }) => [entry.name, { entry, image }])),
    });
  }

  /** Why it can't be opened beside the boards that are open. */
  async #obstacle({ entry, image }: ServedBoard): Promise<string | undefined> {
    const { boards } = this.#parts;
    const others = boards.all.flatMap(({ name }) => asList(boards.find(name)));
    const same = others.find((other) => isSameBoard(other.entry, entry));
    if (same !== undefined) return identityOf(same);
    const identity = await fileIdentity(image.file);
    const onIt = others.find((other) => {
      const isWritten = other.entry.disk === 'direct' || entry.disk === 'direct';
      return isWritten && identity !== undefined && other.identity === identity;
    });
    return onIt && `${onIt.entry.name} still has its disk on ${image.file}`;
  }
}

function whyReading(board: OpenBoard | undefined): string | undefined {
  return board !== undefined && board.openFiles.count > 0 ? 'it is reading its boot files' : undefined;
}

function isSameBoard(one: ServedBoard['entry'], other: ServedBoard['entry']): boolean {
  return one.serial === other.serial || (one.mac !== undefined && one.mac === other.mac);
}

function identityOf({ entry }: OpenBoard): string {
  return `its serial or MAC is still that of ${entry.name}`;
}

function distinct(faults: readonly Fault[]): Fault[] {
  return faults.filter((fault, index) => faults.findIndex((other) => isDeepStrictEqual(other, fault)) === index);
}

function asList<T>(value: T | undefined): readonly T[] {
  return value === undefined ? [] : [value];
}
