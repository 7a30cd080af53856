import type { Board } from '../boards/board.js';
import { type Discovery, inventoryLines, inventoryLinesFor } from '../boards/identity/discovery.js';
import type { Journal } from '../boards/journal/journal.js';
import {
  type BoardFacts,
  type BoardVerdict,
  boardState,
  lastBoot,
  type OwnDiskFacts,
  type ServerStatus,
  type UnknownBoard,
} from '../boards/journal/status.js';
import type { OpenBoards } from '../boards/opening/open-boards.js';
import type { BoardWatch } from './board-watch.js';
import { freeDisk } from './free-disk.js';
import { imageCondition } from './image-watch.js';
import type { RunningInventory } from './running-inventory.js';
import type { Storage } from './storage.js';
import { unknownBoard } from './unknown-board.js';

export interface OverviewSources {
  readonly boards: OpenBoards;
  readonly running: RunningInventory;
  readonly journal: Journal;
  readonly discovery: Discovery;
  readonly storage: Storage;
  readonly watch: BoardWatch;
}

/** What the outside may know of the boards, gathered from all who know a part of it. */
export class Overview {
  readonly #sources: OverviewSources;

  constructor(sources: OverviewSources) {
    this.#sources = sources;
  }

  get boards(): Pick<ServerStatus, 'boards' | 'unknownBoards' | 'images' | 'filesystems'> {
    const { boards, journal, storage } = this.#sources;
    return {
      boards: this.#inOrder().map((board) => ({
        ...this.#factsOf(board),
        lastBoot: lastBoot(journal.life(board.name)),
      })),
      unknownBoards: this.#unknownBoards(),
      images: boards.images().map(imageCondition),
      filesystems: storage.filesystems(),
    };
  }

  board(name: string): BoardVerdict {
    const { boards, journal } = this.#sources;
    const board = boards.find(name)?.board;
    if (board === undefined) return { answer: 'unknown', because: this.unknown(name) };
    return { answer: 'board', board: { ...this.#factsOf(board), boots: journal.life(name).boots } };
  }

  unknown(name: string): string {
    const names = this.#inOrder().map((board) => board.name);
    return unknownBoard(name, names);
  }

  /** As in the inventory, whenever each was opened. */
  #inOrder(): readonly Board[] {
    const { boards, running } = this.#sources;
    return [...running.served.boards.keys()].flatMap((name) => boards.find(name)?.board ?? []);
  }

  #factsOf(board: Board): BoardFacts {
    const { boards, journal, watch } = this.#sources;
    const life = journal.life(board.name);
    const entry = boards.find(board.name)?.entry;
    return {
      name: board.name,
      serial: board.serial,
      mac: board.mac,
      image: entry?.image ?? '',
      disk: entry?.disk ?? '',
      sizeBytes: board.disk.sizeBytes,
      own: this.#ownFacts(board),
      state: boardState(life),
      attachedFrom: life.attachedFrom,
      waitingForSpace: board.space?.waiting,
      diskFailure: watch.failedDisks.get(board.name)?.failure,
    };
  }

  #ownFacts({ name, own }: Board): OwnDiskFacts | undefined {
    if (own === undefined) return undefined;
    const { snapshotCount: snapshots, unusable } = own;
    const allocated = this.#sources.storage.allocated();
    return { bytes: allocated.find(({ board }) => board === name)?.bytes, snapshots, unusable };
  }

  #unknownBoards(): readonly UnknownBoard[] {
    const { running, discovery } = this.#sources;
    const free = freeDisk(running.inventory);
    const heard = discovery.boards().map((board) => {
      const { serial, mac, model, lastSeenAt } = board;
      return { serial, mac, model, seenAt: lastSeenAt, suggestion: inventoryLines(board, free) };
    });
    const asking = discovery.asking().map((board) => {
      const { serial, lastSeenAt: seenAt } = board;
      return { serial, mac: undefined, model: undefined, seenAt, suggestion: inventoryLinesFor(board, free) };
    });
    return [...heard, ...asking];
  }
}
