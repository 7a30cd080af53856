import { decodeLongEntry, LONG_NAME_ENTRIES_MAX } from './directory-entry.js';
import { isFileName, shortNameChecksum } from './names.js';

type State =
  | { readonly at: 'nothing' }
  /** The parts from the last one down to `awaited` + 1 are here; with `awaited` 0 the name is whole. */
  | {
      readonly at: 'gathering';
      readonly awaited: number;
      readonly checksum: number;
      readonly units: string;
    };

const NOTHING: State = { at: 'nothing' };

/**
 * Gathers the parts of a long name on the way to its short entry. Any part out of sequence, of another file's checksum, or a
 * name that is none (a path, a control character, half a surrogate pair): the file goes by its short name.
 */
export class LongName {
  #state: State = NOTHING;

  take(bytes: Uint8Array): void {
    const { ordinal, isLast, type, checksum, units } = decodeLongEntry(bytes);
    const state = this.#state;
    if (type !== 0) {
      this.#state = NOTHING;
    } else if (isLast) {
      const sound = ordinal >= 1 && ordinal <= LONG_NAME_ENTRIES_MAX;
      this.#state = sound ? { at: 'gathering', awaited: ordinal - 1, checksum, units } : NOTHING;
    } else if (state.at === 'gathering' && ordinal === state.awaited && checksum === state.checksum && ordinal > 0) {
      this.#state = { at: 'gathering', awaited: ordinal - 1, checksum, units: units + state.units };
    } else {
      this.#state = NOTHING;
    }
  }

  /** What stands between a long name and its short entry ends it: a deleted entry, a label. */
  forget(): void {
    this.#state = NOTHING;
  }

  /** The name that was gathered for this short entry, if it is a sound one. */
  nameOf(shortNameBytes: Uint8Array): string | undefined {
    const state = this.#state;
    this.#state = NOTHING;
    if (state.at === 'nothing' || state.awaited !== 0) return undefined;
    if (state.checksum !== shortNameChecksum(shortNameBytes)) return undefined;
    const end = state.units.indexOf('\0');
    const name = end < 0 ? state.units : state.units.slice(0, end);
    return isFileName(name) ? name : undefined;
  }
}
