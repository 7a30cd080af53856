// What is written of the measured rows.
import type { LoadRow } from '../nbd/rows.js';
import { table } from '../report.js';
import { median, medianOfRatios, type Ratios } from '../statistics.js';

export interface OverlayRow extends Omit<LoadRow, 'kind'> {
  readonly title: string;
  readonly unit: 'requests/s' | 'MB/s';
  /** What it is played against: see `contestants.ts`. A disk that is written to for the first time is another one in each round. */
  readonly disks: readonly string[];
  /** Of direct, at least; undefined: it is only told. */
  readonly goal: number | undefined;
}

/** Entry n of each was measured in round n. The first is the image itself, the last qemu-nbd. */
export interface MeasuredRow {
  readonly row: OverlayRow;
  readonly contestants: readonly { readonly title: string; readonly speeds: readonly number[] }[];
}

export function sectionOf(measured: readonly MeasuredRow[]): string {
  const verdicts = measured.flatMap(verdictsOf);
  const missed = verdicts.filter(({ reached }) => !reached).map(({ what }) => what);
  const all = `${verdicts.length - missed.length} of ${verdicts.length}`;
  const conclusion = missed.length === 0 ? `Reached: ${all}.` : `Reached: ${all}; not reached: ${missed.join('; ')}.`;
  const goals =
    'To reach: 0.9 of direct for reads and rewrites, 0.8 for first writes without flush, and ahead of qemu-nbd with qcow2 in every row.';
  return [`${goals} ${conclusion}`, ...measured.map(detailsOf)].join('\n\n');
}

interface Verdict {
  readonly what: string;
  readonly reached: boolean;
}

function verdictsOf({ row, contestants }: MeasuredRow): readonly Verdict[] {
  const [direct, ...others] = contestants;
  const qcow2 = others.pop();
  if (direct === undefined || qcow2 === undefined) return [];
  return others
    .filter(({ title }) => title.startsWith('overlay'))
    .flatMap(({ title, speeds }) => {
      const ofDirect = medianOfRatios(speeds, direct.speeds).median;
      const ofQcow2 = medianOfRatios(speeds, qcow2.speeds).median;
      const goal =
        row.goal === undefined
          ? []
          : [{ what: `${row.title}, ${title}: ${ofDirect.toFixed(2)} of direct`, reached: ofDirect >= row.goal }];
      return [...goal, { what: `${row.title}, ${title}: ${ofQcow2.toFixed(2)} of qcow2`, reached: ofQcow2 > 1 }];
    });
}

function detailsOf({ row, contestants }: MeasuredRow): string {
  const [direct] = contestants;
  const qcow2 = contestants.at(-1);
  const lines = contestants.map((one) => [
    one.title,
    Math.round(median(one.speeds)).toLocaleString('en-US'),
    one === direct || direct === undefined ? '' : ratioText(medianOfRatios(one.speeds, direct.speeds)),
    one === qcow2 || qcow2 === undefined ? '' : ratioText(medianOfRatios(one.speeds, qcow2.speeds)),
  ]);
  return `### ${row.title}\n\n${table(['', row.unit, 'of direct', 'of qemu-nbd with qcow2'], lines)}`;
}

function ratioText({ median: middle, lowest, highest }: Ratios): string {
  return `${middle.toFixed(2)} (${lowest.toFixed(2)} to ${highest.toFixed(2)})`;
}
