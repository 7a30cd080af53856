import { UNKNOWN_BOARD_NAMES_MAX } from '../base/limits.js';
import { quote } from '../inventory/quotation.js';
import { nearest } from '../inventory/suggestion.js';

/** What to say to somebody who asks for a board that is not there. */
export function unknownBoard(asked: string, names: readonly string[]): string {
  const near = nearest(asked, names);
  if (near !== undefined) return `there is no board ${quote(asked)}: did you mean ${near}?`;
  const shown = names.slice(0, UNKNOWN_BOARD_NAMES_MAX).join(', ');
  const more = names.length - UNKNOWN_BOARD_NAMES_MAX;
  return `there is no board ${quote(asked)}; there are ${shown}${more > 0 ? ` and ${more} more` : ''}`;
}
