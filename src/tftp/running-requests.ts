/**
 * The requests being answered: found by who asked, bounded in total and per address.
 *
 * Source addresses are easily forged, and each request costs a socket and an open file. When there is no room, the oldest one
 * whose peer has acknowledged nothing makes room: a real board acknowledges within a millisecond or two, so even under a
 * flood it is hardly ever the oldest.
 */
import { TFTP_PEER_TRANSFERS_MAX, TFTP_TRANSFERS_MAX } from '../base/limits.js';

export interface RunningRequest {
  /** Server address, peer address and peer port: unique among the running ones. */
  readonly key: string;
  readonly peerAddress: string;
  /** False while it can't be ended from outside, or the peer has shown that it is where it says it is. */
  readonly evictable: boolean;
  /** Ends it without a word to the peer; it must take itself out with `remove`. */
  abandon(because: string): void;
  /** Ends it and tells the peer. */
  stop(because: string): void;
}

export class RunningRequests<Request extends RunningRequest> {
  /** Oldest first, as a Map keeps them. */
  readonly #byKey = new Map<string, Request>();
  readonly #byAddress = new Map<string, Set<Request>>();
  #whenEmpty: (() => void)[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  find(key: string): Request | undefined {
    return this.#byKey.get(key);
  }

  /** Makes room for one more from that address; false if there is none to be had. */
  makeRoom(peerAddress: string): boolean {
    const ofPeer = this.#byAddress.get(peerAddress);
    if (ofPeer !== undefined && ofPeer.size >= TFTP_PEER_TRANSFERS_MAX && !evictOldest(ofPeer)) return false;
    return this.#byKey.size < TFTP_TRANSFERS_MAX || evictOldest(this.#byKey.values());
  }

  /** Only after `makeRoom`, and with a key that `find` does not know. */
  add(request: Request): void {
    this.#byKey.set(request.key, request);
    const ofPeer = this.#byAddress.get(request.peerAddress);
    if (ofPeer === undefined) this.#byAddress.set(request.peerAddress, new Set([request]));
    else ofPeer.add(request);
  }

  remove(request: Request): void {
    if (this.#byKey.get(request.key) === request) this.#byKey.delete(request.key);
    const ofPeer = this.#byAddress.get(request.peerAddress);
    ofPeer?.delete(request);
    if (ofPeer?.size === 0) this.#byAddress.delete(request.peerAddress);
    if (this.#byKey.size > 0) return;
    for (const resolve of this.#whenEmpty.splice(0)) resolve();
  }

  /** Resolves when none is running. */
  emptied(): Promise<void> {
    if (this.#byKey.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  stopAll(because: string): void {
    for (const request of [...this.#byKey.values()]) request.stop(because);
  }
}

function evictOldest(requests: Iterable<RunningRequest>): boolean {
  for (const request of requests) {
    if (!request.evictable) continue;
    request.abandon('made room for another request');
    return true;
  }
  return false;
}
