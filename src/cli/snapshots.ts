import { bytesText } from '../base/amounts.js';
import { printable, printableJson } from '../base/printable.js';
import { unreachable } from '../base/unreachable.js';
import type { DiskList } from '../boards/disks/disk-commands.js';
import { askForSnapshots, type Wire } from './ask-server.js';
import { instant } from './board-history.js';
import { ExitStatus } from './exit-status.js';
import { controlSocketOf, fail, noServer } from './running-server.js';
import { table } from './table.js';

export interface SnapshotsOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** Shows the snapshots of a board's disk, oldest first, and what the disk itself takes. */
export async function snapshots(board: string, { config, json }: SnapshotsOptions): Promise<ExitStatus> {
  const socketPath = await controlSocketOf(config);
  if (socketPath === undefined) return ExitStatus.InventoryFaults;
  const verdict = await askForSnapshots({ socketPath }, board);
  switch (verdict.answer) {
    case 'list':
      process.stdout.write(json ? `${printableJson(JSON.stringify(verdict.list, null, 2))}\n` : text(verdict.list));
      return ExitStatus.Done;
    case 'refused':
      return fail(verdict.because);
    case 'none':
      return fail(noServer(socketPath, verdict.because));
    default:
      return unreachable(verdict);
  }
}

function text({ board, sizeBytes, currentBytes, snapshots: all }: Wire<DiskList>): string {
  const below = all.filter(({ inUse }) => inUse).at(-1);
  const lies = below === undefined ? 'its image' : `its snapshot ${below.name}`;
  const disk = `${board}: a disk of ${bytesText(sizeBytes)}, over ${lies}; ${bytesText(currentBytes)} of its own since`;
  if (all.length === 0) return `${printable(disk)}. No snapshots.\n`;
  const rows = all.map(({ name, takenAt, ownBytes, inUse }) => [
    name,
    instant(takenAt),
    ageText(Date.now() - Date.parse(takenAt)),
    bytesText(ownBytes),
    inUse ? 'the disk lies on it' : '',
  ]);
  return `${table(['SNAPSHOT', 'TAKEN', 'AGE', 'OWN SPACE', ''], rows)}\n${printable(disk)}.\n`;
}

/** "3 days", as precise as anybody wants to know. */
function ageText(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 1) return 'now';
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`;
}
