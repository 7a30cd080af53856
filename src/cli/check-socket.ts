import { lstatSync } from 'node:fs';
import type { Fault } from '../inventory/fault.js';
import type { Inventory } from '../inventory/inventory.js';
import type { InventorySource } from '../inventory/source.js';
import { socketPathObstacle } from '../os/unix-socket.js';

/** What `check` says of `nbd.socket`. */
export interface SocketReport {
  readonly lines: readonly string[];
  readonly warnings: readonly string[];
  readonly faults: readonly Fault[];
}

export function socketReport({ nbd }: Inventory, source: InventorySource): SocketReport {
  const path = nbd.socket;
  if (path === undefined || !nbd.enabled) return { lines: [], warnings: [], faults: [] };
  const obstacle = socketPathObstacle(path);
  if (obstacle === undefined) {
    const isThere = lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    const now = isThere ? 'a socket is there: of the running server, or left by one that was killed' : 'not there now';
    return { lines: [`NBD: ${path} (${now})`], warnings: [], faults: [] };
  }
  const { kind, problem, remedy } = obstacle;
  const lines = [`NBD: ${path} (can't be made)`];
  // systemd makes such folders when it starts a service (RuntimeDirectory=), and takes them away when it stops.
  const comesAtStart = kind === 'noFolder' && path.startsWith('/run/');
  // Who runs `check` may not be the user that the server runs as.
  if (comesAtStart || kind === 'notAllowed') {
    const may = comesAtStart ? `${remedy}, or have systemd make it (RuntimeDirectory=)` : remedy;
    return { lines, warnings: [`nbd.socket: ${problem}: ${may}`], faults: [] };
  }
  return { lines, warnings: [], faults: [source.faultAt(['nbd', 'socket'], { problem, remedy })] };
}
