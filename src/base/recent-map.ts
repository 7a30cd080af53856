/** A map of bounded size: beyond it, what was set longest ago makes room. For what strangers may make us remember. */
export class RecentMap<Key, Value> {
  readonly #entriesMax: number;
  readonly #entries = new Map<Key, Value>();

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key);
  }

  /** Also makes an entry that is there already the most recent one. */
  set(key: Key, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > this.#entriesMax && !oldest.done) this.#entries.delete(oldest.value);
  }

  delete(key: Key): void {
    this.#entries.delete(key);
  }

  /** Set longest ago first. */
  values(): readonly Value[] {
    return [...this.#entries.values()];
  }
}
