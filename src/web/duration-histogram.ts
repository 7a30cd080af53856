/**
 * A histogram of Prometheus whose observations may come by the thousand at once, which prom-client's can't take: a lane counts for
 * itself and is asked at each scrape. One label.
 */
export class DurationHistogram {
  readonly #name: string;
  readonly #help: string;
  readonly #label: string;
  readonly #boundsSeconds: readonly number[];
  readonly #byValue = new Map<string, { count: number; seconds: number; readonly perBound: number[] }>();

  constructor(
    { name, help, labels }: { readonly name: string; readonly help: string; readonly labels: readonly [string] },
    boundsSeconds: readonly number[],
  ) {
    this.#name = name;
    this.#help = help;
    this.#label = labels[0];
    this.#boundsSeconds = boundsSeconds;
  }

  observe(value: string, seconds: number): void {
    const bound = this.#boundsSeconds.findIndex((most) => seconds <= most);
    const perBound = this.#boundsSeconds.map((_, index) => Number(index === bound));
    this.add(value, { count: 1, seconds, perBound });
  }

  /** `perBound` says how many lie at or below each bound and above the one before; those above all are in `count` alone. */
  add(
    value: string,
    more: { readonly count: number; readonly seconds: number; readonly perBound: readonly number[] },
  ): void {
    const known = this.#byValue.get(value) ?? { count: 0, seconds: 0, perBound: this.#boundsSeconds.map(() => 0) };
    known.count += more.count;
    known.seconds += more.seconds;
    for (const index of known.perBound.keys()) {
      known.perBound[index] = (known.perBound[index] ?? 0) + (more.perBound[index] ?? 0);
    }
    this.#byValue.set(value, known);
  }

  /** In Prometheus' text format; the values of the label are words of ours, which need no escaping. */
  text(): string {
    const lines = [`# HELP ${this.#name} ${this.#help}`, `# TYPE ${this.#name} histogram`];
    for (const [value, { count, seconds, perBound }] of this.#byValue) {
      const label = `${this.#label}="${value}"`;
      let below = 0;
      for (const [index, bound] of this.#boundsSeconds.entries()) {
        below += perBound[index] ?? 0;
        lines.push(`${this.#name}_bucket{le="${bound}",${label}} ${below}`);
      }
      lines.push(`${this.#name}_bucket{le="+Inf",${label}} ${count}`);
      lines.push(`${this.#name}_sum{${label}} ${seconds}`, `${this.#name}_count{${label}} ${count}`);
    }
    return `${lines.join('\n')}\n`;
  }
}
