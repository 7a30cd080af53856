import { UNIX_PEER_PREFIX } from '../base/addresses.js';
import { peerProcess } from '../os/unix-socket.js';

/**
 * How those who come by a Unix socket are told apart, since the writer lock lets one peer have a disk: by the process that
 * connected, `unix:PID@START`. PIDs are used again, and a process may hand its connection on and end (nbd-client gives it to the
 * kernel), so the time of its start is part of it. Whose process can't be told is a peer of its own, and shares with nobody.
 */
export class UnixPeers {
  #unknownCount = 0;

  nameOf(connection: object): string {
    const process = peerProcess(connection);
    if (process !== undefined) return `${UNIX_PEER_PREFIX}${process.pid}@${process.startedAt}`;
    this.#unknownCount += 1;
    return `${UNIX_PEER_PREFIX}#${this.#unknownCount}`;
  }
}
