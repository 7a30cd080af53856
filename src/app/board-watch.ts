import { join } from 'node:path';
import type { Clock } from '../base/clock.js';
import type { Log } from '../base/log.js';
import { disksFolder } from '../boards/disks/disk-folder.js';
import type { TellBoardEvent } from '../boards/journal/events.js';
import type { OpenBoard } from '../boards/opening/opening.js';
import { FailedDisk } from './failed-disk.js';
import { watchSpace } from './full-disk.js';
import type { Storage } from './storage.js';

interface Watching {
  readonly storage: Storage;
  readonly tell: TellBoardEvent;
  readonly clock: Clock;
  readonly log: Log;
}

/** Where disks that boards have of their own lie, and whether what they take is bounded. */
interface StatePlace {
  readonly state: string;
  readonly hasLimit: boolean;
}

/** Says of each board's disk when it is full, and when it fails; by name, those that may fail. */
export class BoardWatch {
  readonly #watching: Watching;
  readonly #failedDisks = new Map<string, FailedDisk>();

  constructor(watching: Watching) {
    this.#watching = watching;
  }

  get failedDisks(): ReadonlyMap<string, FailedDisk> {
    return this.#failedDisks;
  }

  begin({ board, image }: Pick<OpenBoard, 'board' | 'image'>, { state, hasLimit }: StatePlace): void {
    const { name, space, medium, own } = board;
    const file = own === undefined ? image.file : join(disksFolder(state), name);
    if (space !== undefined) {
      watchSpace({ board: name, file, space, hasLimit: hasLimit && own !== undefined }, this.#watching);
    }
    if (medium !== undefined)
      this.#failedDisks.set(name, new FailedDisk({ board: name, file, medium }, this.#watching));
  }

  /** Its disk was closed. */
  end(board: string): void {
    this.#failedDisks.delete(board);
  }
}
