import type { Held, SnapshotFacts } from './board-disk.js';
import type { CopyOptions } from './held-copy.js';
import type { Promoted } from './promotion.js';

/** What an operator can have done with the disk of a board, by its name. Nothing here rejects. */
export interface DiskCommands {
  snapshots(board: string): Promise<CommandVerdict<DiskList>>;
  /** The board may go on meanwhile. */
  snapshot(board: string, name: string): Promise<CommandVerdict<Held>>;
  rollback(board: string, name: string, options: Forced): Promise<CommandVerdict>;
  reset(board: string, options: Forced): Promise<CommandVerdict<PutAside>>;
  drop(board: string, name: string, options: Forced): Promise<CommandVerdict>;
  /** Copies the disk as it is at one instant to a new file, by an absolute path. The board may go on meanwhile. */
  promote(board: string, file: string, options: CopyOptions): Promise<CommandVerdict<Promoted>>;
}

export interface Forced {
  /** Connections of the board are closed first, where it would be refused for them. */
  readonly force: boolean;
}

/** `because` is a sentence with the board's name in it; nothing has happened then. */
export type CommandVerdict<Done = object> =
  | ({ readonly answer: 'done' } & Done)
  | { readonly answer: 'refused'; readonly because: string }
  /** There is no such board. */
  | { readonly answer: 'unknown'; readonly because: string };

export interface DiskList {
  readonly board: string;
  readonly sizeBytes: number;
  /** What was written since the last snapshot. */
  readonly currentBytes: number;
  /** Oldest first. */
  readonly snapshots: readonly SnapshotFacts[];
}

export interface PutAside {
  /** Where a disk is now that could not be opened; undefined: there was none. */
  readonly aside?: string;
}
