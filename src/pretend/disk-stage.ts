import type { Ipv4Address } from '../base/addresses.js';
import { bytesText } from '../base/amounts.js';
import type { Clock } from '../base/clock.js';
import { NBD_CLIENT_PATIENCE_MS } from '../base/limits.js';
import { NBD_PORT } from '../boards/boot-config/cmdline.js';
import { connectNbd } from '../nbd/client/client.js';
import type { NbdDisk } from '../nbd/client/client-disk.js';
import type { Report } from './report.js';

/** Where cmdline.txt says that the root disk is. */
export interface NbdRoot {
  readonly host: string;
  readonly port: number;
  readonly exportName: string;
  /** `/dev/nbd0p2`. */
  readonly device: string;
}

/**
 * As the script of Debian's nbd-client package reads it: `nbdroot=HOST/NAME` or `HOST:PORT/NAME`, and `root=/dev/nbd…`. A text
 * says what is missing.
 */
export function parseNbdRoot(cmdline: string): NbdRoot | string {
  const values = new Map(
    cmdline
      .trim()
      .split(/\s+/)
      .map((argument) => splitOnce(argument)),
  );
  const nbdroot = values.get('nbdroot');
  const device = values.get('root') ?? '';
  if (nbdroot === undefined) return 'cmdline.txt has no nbdroot=: Linux would look for its root on an SD card';
  if (!device.startsWith('/dev/nbd')) return `cmdline.txt has root=${device}, not a partition of an NBD disk`;
  const [, host, port, exportName] = /^([^/:]+)(?::(\d+))?\/(.+)$/.exec(nbdroot) ?? [];
  if (host === undefined || exportName === undefined) return `nbdroot=${nbdroot} is not HOST/NAME or HOST:PORT/NAME`;
  return { host, port: port === undefined ? NBD_PORT : Number(port), exportName, device };
}

/** Attaches the disk and reads from it what Linux reads first: its table and its end. Writes nothing. */
export async function attachDisk(
  root: NbdRoot,
  localAddress: Ipv4Address,
  clock: Clock,
  report: Report,
): Promise<NbdDisk> {
  const haggling = await connectNbd({ host: root.host, port: root.port, localAddress }, clock);
  const disk = await haggling.go(root.exportName).catch((error: unknown) => {
    haggling.destroy();
    throw error;
  });
  report('nbd', `attached ${root.exportName} of ${root.host}:${root.port}: ${bytesText(disk.sizeBytes)}`);
  const sector = 512;
  await withinPatience(disk, clock, () =>
    Promise.all([disk.read(0, Math.min(1024 * 1024, disk.sizeBytes)), disk.read(disk.sizeBytes - sector, sector)]),
  );
  report('nbd', 'read the partition table and the end of the disk');
  return disk;
}

/** A server that attaches and then says nothing more: the connection is dropped after NBD_CLIENT_PATIENCE_MS, which ends the action. */
export async function withinPatience<T>(disk: NbdDisk, clock: Clock, action: () => Promise<T>): Promise<T> {
  const patience = clock.after(NBD_CLIENT_PATIENCE_MS, () => disk.destroy());
  try {
    return await action();
  } finally {
    patience.cancel();
  }
}

function splitOnce(argument: string): [string, string] {
  const at = argument.indexOf('=');
  return at < 0 ? [argument, ''] : [argument.slice(0, at), argument.slice(at + 1)];
}
