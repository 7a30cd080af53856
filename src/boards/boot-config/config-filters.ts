/**
 * The `[…]` filters of config.txt. Of the same kind the later replaces the earlier, different kinds must all hold, and
 * `[all]` takes all of them back (Raspberry Pi documentation, "Conditional filters").
 */
export type ConfigFilters = ReadonlyMap<FilterKind, string>;

/** `condition` is what only the board itself knows when it boots: a GPIO, the monitor, a flag. */
export type FilterKind = 'none' | 'model' | 'serial' | 'boardType' | 'tryboot' | 'gpio' | 'edid' | 'hdmi' | 'condition';

export const NO_FILTERS: ConfigFilters = new Map();

/** The filters in force after a line `[text]`; `text` in lower case. */
export function withFilter(filters: ConfigFilters, text: string): ConfigFilters {
  if (text === 'all') return NO_FILTERS;
  return new Map(filters).set(kindOf(text), text);
}

/** What filters can be held against: one kind of board, with nothing pressed and no flag set. */
export interface FilteredBoard {
  /** Names of model filters that hold for it: a Compute Module 4 sees `pi4` and `cm4`. */
  readonly modelFilters: readonly string[];
}

/**
 * Whether settings under these filters take effect on such a board in a plain boot: model filters must name it, a filter
 * on serial, GPIO, monitor, board type or `tryboot` does not hold, `[hdmi:0]` says nothing about the board.
 */
export function holdsFor(filters: ConfigFilters, board: FilteredBoard): boolean {
  return [...filters].every(
    ([kind, text]) => kind === 'hdmi' || (kind === 'model' && board.modelFilters.includes(text)),
  );
}

function kindOf(text: string): FilterKind {
  if (text === 'none') return 'none';
  if (text === 'tryboot') return 'tryboot';
  if (/^0x[0-9a-f]+$/.test(text)) return 'serial';
  if (/^board-type\s*=/.test(text)) return 'boardType';
  if (/^gpio\d+\s*=/.test(text)) return 'gpio';
  if (/^edid\s*=/.test(text)) return 'edid';
  if (/^hdmi:/.test(text)) return 'hdmi';
  if (/^(pi|cm)[0-9a-z+]*$/.test(text)) return 'model';
  return 'condition';
}
