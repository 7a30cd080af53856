import { readFileSync } from 'node:fs';

/** What of a UDP socket waits to be read, and what the kernel dropped because too much did. */
export interface KernelQueue {
  readonly waitingBytes: number;
  readonly droppedCount: number;
}

/** Of the sockets of this port in /proc/net/udp: columns tx_queue:rx_queue (hex) and drops. */
export function kernelQueue(port: number): KernelQueue {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/udp', 'latin1')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local?.endsWith(wanted));
  const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
  return {
    waitingBytes: sum(rows.map((row) => Number.parseInt(row[4]?.split(':')[1] ?? '0', 16))),
    droppedCount: sum(rows.map((row) => Number(row.at(-1)))),
  };
}

/** Resolves when whoever reads that port has read all. Without this a flood would mostly be dropped before it could do harm. */
export async function queueRead(port: number): Promise<void> {
  while (kernelQueue(port).waitingBytes > 0) await new Promise((resolve) => setImmediate(resolve));
}
