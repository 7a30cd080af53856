// What we want of our NBD server beside the others, and whether the measured rows show it.
import type { Ratios } from '../statistics.js';

export const PEER_NAMES = ['nbd-server', 'nbdkit', 'qemu-nbd'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

/** Ours over theirs in that row, more being better; nothing for a peer that was not there. */
export interface RowRatios {
  readonly title: string;
  readonly ratios: ReadonlyMap<PeerName, Ratios>;
}

/** Ahead, ratio above 1.0, of the peer in every row but so many. */
const ROWS_BEHIND_MAX: Readonly<Record<PeerName, number>> = { 'nbd-server': 0, nbdkit: 1, 'qemu-nbd': 0 };

export const TARGET =
  'ahead (ratio above 1.0) of nbd-server and qemu-nbd in every row, and of nbdkit in every row but one';

export function isAhead({ median }: Ratios): boolean {
  return median > 1;
}

/** Behind whom we are, in words. */
export function verdictOf({ ratios }: RowRatios): string {
  const behind = [...ratios].filter(([, ratio]) => !isAhead(ratio)).map(([peer]) => peer);
  return behind.length === 0 ? 'ahead' : `behind ${behind.join(', ')}`;
}

/** A sentence on each peer, and on the target. A peer that was not there leaves it open. */
export function conclusionOf(rows: readonly RowRatios[]): string {
  const absent = PEER_NAMES.filter((peer) => rows.some(({ ratios }) => !ratios.has(peer)));
  const counts = PEER_NAMES.filter((peer) => !absent.includes(peer)).map((peer) => {
    const ahead = rows.filter(({ ratios }) => isAheadOf(ratios, peer)).length;
    return { peer, ahead, missed: rows.length - ahead > ROWS_BEHIND_MAX[peer] };
  });
  const missed = counts.some((count) => count.missed);
  const verdict = missed ? 'not reached' : absent.length > 0 ? 'open' : 'reached';
  const said = [
    ...counts.map(({ peer, ahead }) => `ahead of ${peer} in ${ahead} of ${rows.length} rows`),
    ...absent.map((peer) => `${peer} was not there`),
  ];
  return `To reach: ${TARGET}. It is ${verdict}: ${said.join(', ')}.`;
}

function isAheadOf(ratios: RowRatios['ratios'], peer: PeerName): boolean {
  const ratio = ratios.get(peer);
  return ratio !== undefined && isAhead(ratio);
}
