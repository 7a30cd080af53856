/**
 * The requests being answered: found by who asked, bounded in total and per address.
 *
 * Source addresses are easily forged, and each request costs a socket and an open file. When there is no room, the oldest one
 * whose peer has acknowledged nothing makes room: a real board acknowledges within a millisecond or two, so even under a
 * flood it is hardly ever the oldest. If all have acknowledged something, the one that has been quiet for longest makes room,
 * of the address that has the most: a few addresses can't hold every place by one ACK each.
 */
import { TFTP_PEER_TRANSFERS_MAX, TFTP_QUIET_MS_MIN, TFTP_TRANSFERS_MAX } from '../base/limits.js';

export interface RunningRequest {
  /** Server address, peer address and peer port: unique among the running ones. */
  readonly key: string;
  readonly peerAddress: string;
  /** `opening`: it can't be ended from outside. `confirmed`: the peer has shown that it is where it says it is. */
  readonly standing: 'opening' | 'unconfirmed' | 'confirmed';
  /** Since when nothing new has come from the peer. */
  readonly quietSinceMs: number;
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
  makeRoom(peerAddress: string, nowMs: number): boolean {
    const ofPeer = this.#byAddress.get(peerAddress);
    const isPeerFull = ofPeer !== undefined && ofPeer.size >= TFTP_PEER_TRANSFERS_MAX;
    if (isPeerFull && !evictOldest(ofPeer) && !evictQuietest(ofPeer, nowMs)) return false;
    if (this.#byKey.size < TFTP_TRANSFERS_MAX) return true;
    return evictOldest(this.#byKey.values()) || evictQuietest(this.#ofBusiestAddress(), nowMs);
  }

  /** Only after `makeRoom`, and with a key that `find` does not know. */
  add(request: Request): void {
    this.#byKey.set(request.key, request);
    const ofPeer = this.#byAddress.get(request.peerAddress);
    if (ofPeer === undefined) this.#byAddress.set(request.peerAddress, new Set([request]));
    else ofPeer.add(request);
  }

  /** The peer hears of it only from now on: its age counts anew, however long its file took to be opened. */
  begun(request: Request): void {
    if (this.#byKey.get(request.key) !== request) return;
    // Not by `remove`: who waits for `emptied` would take the last one for gone.
    this.#byKey.delete(request.key);
    this.#byAddress.get(request.peerAddress)?.delete(request);
    this.add(request);
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

  #ofBusiestAddress(): Iterable<Request> {
    let busiest: Set<Request> = new Set();
    for (const requests of this.#byAddress.values()) if (requests.size > busiest.size) busiest = requests;
    return busiest;
  }
}

function evictOldest(requests: Iterable<RunningRequest>): boolean {
  for (const request of requests) {
    if (request.standing !== 'unconfirmed') continue;
    request.abandon('made room for another request');
    return true;
  }
  return false;
}

function evictQuietest(requests: Iterable<RunningRequest>, nowMs: number): boolean {
  let quietest: RunningRequest | undefined;
  for (const request of requests) {
    if (request.standing !== 'confirmed' || nowMs - request.quietSinceMs < TFTP_QUIET_MS_MIN) continue;
    if (quietest === undefined || request.quietSinceMs < quietest.quietSinceMs) quietest = request;
  }
  quietest?.abandon('made room for another request');
  return quietest !== undefined;
}
