import { isOnThisHost } from '../../base/addresses.js';
import type { HandoverStatus } from '../../boards/journal/status.js';
import type { NbdServer } from '../../nbd/server.js';
import { type HandedOn, HandingOn, type HandingOnOptions } from './handing-on.js';
import type { FoundBoard } from './handover-folder.js';
import type { Keeping, KeepingVerdict } from './keeping.js';
import { TakingUp, type TakingUpOptions } from './taking-up.js';
import { reasonIn } from './verdicts.js';

export interface HandoverOptions extends Omit<HandingOnOptions & TakingUpOptions, 'nbdServer'> {
  /** Whether connections can be kept here. */
  readonly look: () => Promise<KeepingVerdict>;
  readonly nbdServer: Pick<NbdServer, 'freeze' | 'thaw' | 'connections'>;
}

/** Hands the boards' connections on from one process to the next: what they have of us goes on while the program is started anew. */
export class Handover {
  readonly #options: HandoverOptions;
  #isHolding = false;
  #takingUp: TakingUp | undefined;
  #verdict: KeepingVerdict = { answer: 'cannot', because: 'nobody has looked yet', remedy: '' };

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /** Goes on with what the process before us has left, before anybody else may come in. */
  async thaw(): Promise<void> {
    const { folder, look, log } = this.#options;
    const found = await folder.read().catch((error: unknown) => {
      log.error({ folder: folder.path, because: reasonIn(log, error), means: NOT_READ }, 'handover.unreadable');
      return [];
    });
    this.#verdict = await look();
    if (this.#verdict.answer === 'cannot') {
      const { because, remedy } = this.#verdict;
      log.warn({ because, means: RESTART_LOSES, remedy }, 'handover.impossible');
    }
    this.#takingUp = new TakingUp(this.#options, this.#keeping?.keeper);
    await this.#takingUp.takeUp(found, () => this.#letThrough(found));
  }

  /** Nothing is touched where nothing was: who went before us may have been killed, and left rules that keep everybody out. */
  async #letThrough(found: readonly FoundBoard[]): Promise<void> {
    this.#isHolding = found.length > 0 || (await this.#keeping?.isHolding()) === true;
    if (this.#isHolding) await this.#insist(async () => this.#keeping?.letThrough());
    await this.#releaseOthers(found);
  }

  /** The rules have their name from the state folder, which may be another one now. */
  async #releaseOthers(found: readonly FoundBoard[]): Promise<void> {
    const holds = found.flatMap((each) => (each.answer === 'frozen' && each.frozen.hold) || []);
    for (const hold of new Set(holds)) {
      if (hold !== this.#keeping?.hold) await this.#insist(async () => this.#keeping?.release(hold));
    }
  }

  /** A board has its disk: what was left of it is not to be gone on with any more. */
  attached(board: string): void {
    this.#takingUp?.forget(board);
  }

  status(): HandoverStatus {
    const lack = this.#verdict.answer === 'cannot' ? this.#verdict : undefined;
    const boards = this.#options.nbdServer.connections().filter(({ peer }) => !isOnThisHost(peer));
    const atRisk = boards.filter(({ isSecured }) => lack !== undefined || isSecured);
    return { lacks: lack?.because, remedy: lack?.remedy, atRisk: [...new Set(atRisk.map(({ board }) => board))] };
  }

  get #keeping(): Keeping | undefined {
    return this.#verdict.answer === 'can' ? this.#verdict.keeping : undefined;
  }

  /** Takes the connections out of this process, for the next one. */
  async freeze(): Promise<HandedOn> {
    const keeping = this.#keeping;
    if (keeping === undefined) return { kept: [], busy: new Set() };
    const handedOn = await new HandingOn(this.#options, keeping).handOn();
    this.#isHolding = handedOn.kept.length === 0; // newcomers are kept out by now
    await this.#letIn();
    return handedOn;
  }

  /** Everybody may come in: our listeners are there. */
  async release(): Promise<void> {
    if (this.#keeping !== undefined) void this.#reserve(); // nobody waits for it
    await this.#letIn();
  }

  async #reserve(): Promise<void> {
    const { folder, log } = this.#options;
    const because = await folder.reserve().catch((error: unknown) => reasonIn(log, error));
    if (because !== 'reserved')
      log.warn({ because: because === 'noRoom' ? NO_ROOM : because, means: NO_RESERVE }, 'handover.reserve.missing');
  }

  async #letIn(): Promise<void> {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    await this.#insist(async () => this.#keeping?.release());
  }

  /** On a machine that is busy with starting, the packet filter may take longer than it has. */
  async #insist(change: () => Promise<unknown>): Promise<void> {
    for (let left = HOLD_ATTEMPTS; left > 0; left -= 1) {
      try {
        await change();
        return;
      } catch (error) {
        this.#options.log.error({ err: error, attemptsLeft: left - 1 }, 'handover.hold.failed');
      }
    }
  }
}

const HOLD_ATTEMPTS = 3;
const NOT_READ = 'boards that the process before us has left there lose their disks; make it readable and start again';
const RESTART_LOSES = 'boards that run lose their root disk when this server is restarted';
const NO_ROOM = 'there is too little space where the state folder lies';
const NO_RESERVE = 'boards lose their disks in a restart while that filesystem is full; make room and restart';
