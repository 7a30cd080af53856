import type { Clock } from '../../base/clock.js';
import { WRITER_LOCK_PATIENCE_MS } from '../../base/limits.js';
import type { DiskUser, LockVerdict, WriterLock } from './writer-lock.js';

/**
 * The writer lock of one board: one address at a time, any number of connections from it. Whoever doubts a holder (a sign of
 * reboot, somebody else who wants the disk) makes it be probed; only one that does not answer is closed. An address is
 * no proof of identity and a doubt none of a reboot: both could be forged, an acknowledgement of a TCP sequence could not.
 */
export function addressLock(clock: Clock): WriterLock {
  return new AddressLock(clock);
}

class AddressLock implements WriterLock {
  readonly #clock: Clock;
  readonly #users = new Set<DiskUser>();
  readonly #doubted = new Set<DiskUser>();
  /** Each wants to know what became of the holder. */
  #waiting: ((outcome: Outcome) => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  holder(): string | undefined {
    const [first] = this.#users;
    return first?.peerAddress;
  }

  async acquire(user: DiskUser): Promise<LockVerdict> {
    const patienceEndsMs = this.#clock.nowMs() + WRITER_LOCK_PATIENCE_MS;
    for (;;) {
      const holder = this.holder();
      if (holder === undefined || holder === user.peerAddress) {
        this.suspect(); // a board that rebooted comes back from the same address: its old connections are dead
        this.#users.add(user);
        return { answer: 'granted' };
      }
      const leftMs = patienceEndsMs - this.#clock.nowMs();
      if (leftMs <= 0 || (await this.#outcome(leftMs)) === 'answers') return this.#heldBy(holder);
    }
  }

  async seize(user: DiskUser, because: string): Promise<void> {
    const before = [...this.#users];
    this.#users.clear();
    // In front: it is the holder from this moment on, also for who comes from the same address as those before.
    for (const each of [user, ...before]) this.#users.add(each);
    await Promise.all(
      before.map(async (each) => {
        await each.close(because);
        this.release(each);
      }),
    );
  }

  release(user: DiskUser, how: 'left' | 'lost' = 'left'): void {
    this.#users.delete(user);
    if (this.#users.size === 0) this.#announce(how);
  }

  suspect(): void {
    for (const user of this.#users) {
      if (!this.#doubted.has(user)) void this.#examine(user);
    }
  }

  async isAbandoned(): Promise<boolean> {
    return this.holder() === undefined || (await this.#outcome(WRITER_LOCK_PATIENCE_MS)) === 'lost';
  }

  async #examine(user: DiskUser): Promise<void> {
    this.#doubted.add(user);
    const verdict = await user.probe();
    this.#doubted.delete(user);
    if (!this.#users.has(user)) return;
    if (verdict === 'alive') {
      this.#announce('answers');
      return;
    }
    await user.close('stopped answering');
    this.release(user, 'lost');
  }

  #heldBy(holder: string): LockVerdict {
    const [first] = this.#users;
    if (first?.doing !== undefined) return { answer: 'unusable', because: first.doing };
    return { answer: 'held', by: first?.peerAddress ?? holder };
  }

  #outcome(patienceMs: number): Promise<Outcome> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(patienceMs, () => settle('answers'));
      const settle = (outcome: Outcome) => {
        timer.cancel();
        this.#waiting = this.#waiting.filter((other) => other !== settle);
        resolve(outcome);
      };
      this.#waiting.push(settle);
      this.suspect();
    });
  }

  #announce(outcome: Outcome): void {
    for (const settle of this.#waiting) settle(outcome);
  }
}

/** Of who held it: it answers; or nobody holds it any more, and the last one took leave or did not. */
type Outcome = 'answers' | 'left' | 'lost';
