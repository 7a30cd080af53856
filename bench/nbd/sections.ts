// What is written of the measured rows.
import { table } from '../report.js';
import { highest, lowest, median, medianOfRatios, type Ratios } from '../statistics.js';
import type { Row } from './rows.js';
import type { NbdServer } from './servers.js';
import { conclusionOf, PEER_NAMES, type PeerName, type RowRatios, verdictOf } from './target.js';

/** Of one server in one round of a row. */
export interface Figures {
  /** In the row's unit. */
  readonly speed: number;
  readonly p50Us: number | undefined;
  readonly cpuSecondsPerGigabyte: number;
  readonly peakMegabytes: number;
  readonly loadBusyPercent: number;
}

/** Entry n of every server was measured in round n; ours is the first. */
export interface MeasuredRow {
  readonly row: Row;
  readonly servers: readonly {
    readonly server: Pick<NbdServer, 'name' | 'title'>;
    readonly figures: readonly Figures[];
  }[];
}

export function ratiosOf({ row, servers }: MeasuredRow): RowRatios {
  const [ours, ...theirs] = servers.map(({ server, figures }) => ({
    server,
    speeds: figures.map(({ speed }) => speed),
  }));
  const ratios = new Map<PeerName, Ratios>();
  for (const { server, speeds } of theirs) {
    if (ours === undefined || server.name === 'Brambleboot') continue;
    ratios.set(server.name, medianOfRatios(ours.speeds, speeds));
  }
  return { title: row.title, ratios };
}

/** The conclusion, a line for each row, and then a table for each. */
export function sectionOf(measured: readonly MeasuredRow[]): string {
  const rows = measured.map(ratiosOf);
  const lines = rows.map((row) => [
    row.title,
    ...PEER_NAMES.map((peer) => ratioText(row.ratios.get(peer))),
    verdictOf(row),
  ]);
  const summary = table(['ours to theirs', ...PEER_NAMES, ''], lines);
  return [conclusionOf(rows), summary, ...measured.map(detailsOf)].join('\n\n');
}

export function detailsOf(measured: MeasuredRow): string {
  const { ratios } = ratiosOf(measured);
  const { row, servers } = measured;
  const rows = servers.map(({ server, figures }) => {
    const of = (what: (one: Figures) => number) => figures.map(what);
    const speeds = of((one) => one.speed);
    return [
      server.title,
      `${grouped(median(speeds))} (${grouped(lowest(speeds))} to ${grouped(highest(speeds))})`,
      server.name === 'Brambleboot' ? '' : ratioText(ratios.get(server.name)),
      ...(row.kind === 'load' ? [grouped(median(of((one) => one.p50Us ?? Number.NaN)))] : []),
      median(of((one) => one.cpuSecondsPerGigabyte)).toFixed(2),
      highest(of((one) => one.peakMegabytes)).toFixed(0),
      median(of((one) => one.loadBusyPercent)).toFixed(0),
    ];
  });
  const latency = row.kind === 'load' ? ['p50 µs'] : [];
  const head = ['', row.unit, 'ours to theirs', ...latency, 'CPU s per GB', 'peak MB', 'client busy %'];
  return `### ${row.title}\n\n${table(head, rows)}`;
}

function ratioText(ratios: Ratios | undefined): string {
  if (ratios === undefined) return '';
  return `${ratios.median.toFixed(2)} (${ratios.lowest.toFixed(2)} to ${ratios.highest.toFixed(2)})`;
}

/** Whole, in groups of three. */
function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
