import type { WaitingChange } from '../boards/journal/status.js';
import type { InventoryDifference } from '../inventory/difference.js';
import { boardWords } from '../inventory/difference-words.js';

/** One time that a difference is applied, as far as it can be. */
export class ChangeRound {
  readonly difference: InventoryDifference;
  readonly waiting = new Map<string, WaitingChange>();
  readonly openedAnew = new Set<string>();
  readonly replaced: string[] = [];

  constructor(difference: InventoryDifference) {
    this.difference = difference;
  }

  wait(board: string, because: string): void {
    const what = boardWords(this.difference.boards, board) ?? 'the file of its image was replaced';
    this.waiting.set(board, { board, what, because });
  }
}
