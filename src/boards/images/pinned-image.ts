import { randomBytes } from 'node:crypto';
import type { Clock } from '../../base/clock.js';
import { reasonOf } from '../../base/errors.js';
import { IMAGE_DIGEST_RETRY_MS } from '../../base/limits.js';
import type { BlockDevice } from '../../block/block-device.js';
import type { Medium } from '../../block/flush-queue.js';
import type { Digester, Digesting } from './digests.js';
import type { DigestResult } from './image-digest.js';
import type { ImageEvent } from './image-events.js';
import { type ImageFacts, isUntouched } from './image-facts.js';
import type { ImageFile, Whereabouts } from './image-file.js';
import type { Refusal } from './image-sentences.js';
import * as sentences from './image-sentences.js';
import type { BaseVerdict, ImageStatus, OverlayVerdict } from './image-verdicts.js';
import { likeness, type Pin, recognise } from './pin.js';
import type { Pins } from './pins.js';

export interface ImageTies {
  readonly pins: Pins;
  readonly digester: Digester;
  readonly clock: Clock;
  /** The boards of this image (its name in the inventory) whose overlays, or snapshots of them, lie over this version. */
  readonly boardsOn: (id: string, image: string) => readonly string[];
  readonly tell: (event: ImageEvent) => void;
}

/**
 * Why it is read. `first`: its digest is not known yet. `behind`: it looks the same, but not for certain; it is served meanwhile.
 * `before`: it was touched while it is open; nobody more is let in until it is known to be the same.
 */
type Cause = 'first' | 'behind' | 'before';

type State =
  | { readonly at: 'known' }
  | { readonly at: 'reading'; readonly cause: Cause; readonly digesting: Digesting }
  | { readonly at: 'unread'; readonly cause: Cause; readonly because: string; readonly againAtMs: number }
  /** While it is open, and for certain or without a way to know. */
  | { readonly at: 'written' };

/** One image that is open, and what is known of which version it is. */
export class PinnedImage {
  readonly name: string;
  readonly #file: ImageFile;
  readonly #ties: ImageTies;
  /** Versions that were given to fresh overlays, which the caller may not yet know to be in use. */
  readonly #given = new Set<string>();
  #now: Pin;
  /** As it was seen last. */
  #facts: ImageFacts;
  #state: State = { at: 'known' };
  #whereabouts: Whereabouts = 'inPlace';
  /** Why the last look failed. */
  #trouble: string | undefined;
  #isClosed = false;
  #looking: Promise<void> | undefined;
  #learning: Promise<void> = Promise.resolve();

  private constructor(name: string, file: ImageFile, { now, facts, ties }: Beginning) {
    this.name = name;
    this.#file = file;
    this.#ties = ties;
    this.#now = now;
    this.#facts = facts;
  }

  /** Finds out which version it is, or makes one of it; reads it behind that, where there is something to learn. */
  static async begin(name: string, file: ImageFile, ties: ImageTies): Promise<PinnedImage> {
    const facts = await file.facts();
    const known = recognise(ties.pins.all(), facts);
    const now = known?.pin ?? versionOf(file.path, facts, ties.clock);
    const image = new PinnedImage(name, file, { now, facts, ties });
    if (known === undefined) await image.#pinNew(now);
    if (now.digest === undefined) image.#read('first');
    else if (known?.isCertain === false) image.#read('behind');
    return image;
  }

  get device(): BlockDevice & Medium {
    return this.#file.device;
  }

  /** Those that may not be forgotten. */
  get versions(): readonly string[] {
    return [this.#now.id, ...this.#given];
  }

  status(): ImageStatus {
    const state = this.#state;
    const shown: ImageStatus['state'] =
      state.at === 'reading'
        ? { at: 'reading', isCompared: this.#isCompared(state.cause), doneBytes: state.digesting.doneBytes }
        : state.at === 'unread'
          ? { at: 'unread', because: state.because }
          : state;
    const where = { file: this.#file.path, whereabouts: this.#whereabouts };
    return { image: this.name, ...where, version: this.#now, state: shown };
  }

  /** To be asked whenever a board begins to use its overlay; the answer holds until the next event. */
  verdict(id: string): OverlayVerdict {
    const { pins } = this.#ties;
    const found = pins.find(id);
    const boards = this.#boardsOn(id);
    if (found.answer === 'unknown') return refused(sentences.isUnknown(id, pins.pathOf(id), boards));
    if (found.answer === 'faulty') return refused(sentences.isFaulty(id, found.fault, boards));
    switch (likeness(found.pin, this.#now)) {
      case 'same':
        return this.#untouched();
      case 'different':
        return refused(sentences.isAnother(found.pin, this.#now, boards));
      case 'undecidable':
        return refused(sentences.cantBeDecided(found.pin, this.#now, boards));
      case 'open':
        return this.#state.at === 'written' ? this.#untouched() : this.#undecided();
    }
  }

  /** Its version is on stable storage before it is answered. */
  async base(): Promise<BaseVerdict> {
    const verdict = this.#untouched();
    if (verdict.answer !== 'same') return verdict;
    const now = this.#now;
    this.#given.add(now.id);
    const because = await this.#ties.pins.write(now.id);
    if (because === undefined) return { answer: 'version', id: now.id };
    return refused(sentences.cantBePinned(now, this.#ties.pins.pathOf(now.id), because));
  }

  /** Whether it is still what it was, by stat(2). Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#cantLook(reasonOf(error)))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  /** Nobody may use the device any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#state.at === 'reading') this.#state.digesting.stop();
    await this.#looking;
    await this.#learning;
    await this.#file.close();
  }

  async #look(): Promise<void> {
    const facts = await this.#file.facts();
    const whereabouts = await this.#file.whereabouts();
    if (this.#isClosed) return;
    this.#trouble = undefined;
    if (!isUntouched(this.#facts, facts)) this.#touched(facts);
    else if (this.#state.at === 'unread' && this.#state.againAtMs <= this.#ties.clock.nowMs())
      this.#read(this.#state.cause);
    if (whereabouts === this.#whereabouts) return;
    this.#whereabouts = whereabouts;
    this.#tell({ kind: 'moved', whereabouts, boards: this.#boardsOn(this.#now.id) });
  }

  /** No reason to turn boards away: what they read fails too, or it is only the way to the file that is lost. */
  #cantLook(because: string): void {
    if (because !== this.#trouble) this.#tell({ kind: 'unreadable', because });
    this.#trouble = because;
  }

  #touched(facts: ImageFacts): void {
    this.#facts = facts;
    if (this.#state.at === 'reading') this.#state.digesting.stop();
    this.#tell({ kind: 'touched' });
    // A digest that is known, and something of the same size: it can be decided.
    if (this.#now.digest !== undefined && facts.sizeBytes === this.#now.sizeBytes) this.#read('before');
    else this.#isWritten();
  }

  #isWritten(): void {
    this.#state = { at: 'written' };
    const boards = this.#boardsOn(this.#now.id);
    this.#tell({ kind: 'changed', boards, ...sentences.wasWritten(this.#now) });
  }

  /** Of the version that is open. */
  #untouched(): OverlayVerdict {
    const state = this.#state;
    if (state.at === 'written') return refused(sentences.wasWritten(this.#now));
    return (state.at === 'reading' || state.at === 'unread') && state.cause === 'before'
      ? this.#undecided()
      : { answer: 'same' };
  }

  #undecided(): Exclude<OverlayVerdict, { answer: 'same' }> {
    const state = this.#state;
    if (state.at === 'unread') return refused(sentences.cantBeRead(this.#now, state.because));
    const doneBytes = state.at === 'reading' ? state.digesting.doneBytes : 0;
    const progress = { doneBytes, ofBytes: this.#now.sizeBytes };
    return { answer: 'verifying', ...progress, ...sentences.isCompared(this.#now, progress) };
  }

  #read(cause: Cause): void {
    const facts = this.#facts;
    const isUrgent = cause === 'before' || this.#waiting().length > 0;
    const digesting = this.#ties.digester.take({ descriptor: this.#file.descriptor, facts, isUrgent });
    this.#state = { at: 'reading', cause, digesting };
    this.#tell({ kind: 'reading', isCompared: this.#isCompared(cause), sizeBytes: facts.sizeBytes });
    // Also of one that was stopped: until it has ended, its thread uses the descriptor.
    const before = this.#learning;
    this.#learning = digesting.result.then(async (result) => {
      await before;
      const isCurrent = this.#state.at === 'reading' && this.#state.digesting === digesting;
      if (isCurrent && !this.#isClosed) await this.#learn(cause, facts, result);
    });
  }

  async #learn(cause: Cause, facts: ImageFacts, result: DigestResult): Promise<void> {
    if (result.answer === 'digest') return this.#digested(cause, facts, result.digest);
    if (result.answer !== 'written') {
      return this.#cantRead(cause, result.answer === 'failed' ? result.because : 'its reading was stopped');
    }
    // Most likely the next look sees it too; if not, it was written and given its time back, and is read once more.
    this.#state = { at: 'unread', cause, because: 'it was written to meanwhile', againAtMs: this.#ties.clock.nowMs() };
    await this.look();
  }

  async #digested(cause: Cause, facts: ImageFacts, digest: string): Promise<void> {
    const before = this.#now;
    if (before.digest !== undefined && before.digest !== digest) {
      if (cause === 'before') this.#isWritten();
      else await this.#isOther(facts, digest);
      return;
    }
    const waited = this.#waiting();
    const isVerified = cause !== 'first' || waited.some(({ pin }) => pin.digest === digest);
    this.#now = { ...before, file: this.#file.path, seen: facts.sight, digest };
    this.#state = { at: 'known' };
    await this.#put(this.#now);
    this.#tell({ kind: isVerified ? 'verified' : 'digested', id: before.id, digest });
    for (const { pin, boards } of waited) if (pin.digest !== digest) this.#tellChanged(pin, boards);
  }

  /** It only looked like the version before. */
  async #isOther(facts: ImageFacts, digest: string): Promise<void> {
    const { pins, clock } = this.#ties;
    const before = this.#now;
    const known = [...pins.all()].find((pin) => pin.digest === digest && pin.seen === undefined);
    const now = {
      ...(known ?? versionOf(this.#file.path, facts, clock)),
      digest,
      seen: facts.sight,
      file: this.#file.path,
    };
    this.#now = now;
    this.#state = { at: 'known' };
    // The new one first: if we die between the two, what is there is a version that looks like two, and is read again.
    await this.#put(now);
    await this.#put({ ...before, seen: undefined });
    this.#tell({ kind: 'pinned', id: now.id });
    this.#tellChanged(before, this.#boardsOn(before.id));
  }

  #cantRead(cause: Cause, because: string): void {
    if (this.#isClosed) return;
    const isNew = this.#state.at !== 'unread' || this.#state.because !== because;
    this.#state = { at: 'unread', cause, because, againAtMs: this.#ties.clock.nowMs() + IMAGE_DIGEST_RETRY_MS };
    if (isNew) this.#tell({ kind: 'unreadable', because });
  }

  /** Whether the digest decides about overlays that there are. */
  #isCompared(cause: Cause): boolean {
    return cause !== 'first' || this.#waiting().length > 0;
  }

  /** Other versions of which it is not known yet whether they are this one, with the boards of this image that lie over them. */
  #waiting(): readonly { readonly pin: Pin; readonly boards: readonly string[] }[] {
    return [...this.#ties.pins.all()]
      .filter((pin) => likeness(pin, this.#now) === 'open')
      .map((pin) => ({ pin, boards: this.#boardsOn(pin.id) }))
      .filter(({ boards }) => boards.length > 0);
  }

  #boardsOn(id: string): readonly string[] {
    return this.#ties.boardsOn(id, this.name);
  }

  async #pinNew(pin: Pin): Promise<void> {
    await this.#put(pin);
    this.#tell({ kind: 'pinned', id: pin.id });
  }

  async #put(pin: Pin): Promise<void> {
    const because = await this.#ties.pins.put(pin);
    if (because !== undefined) this.#tell({ kind: 'unwritten', because });
  }

  #tellChanged(pin: Pin, boards: readonly string[]): void {
    this.#tell({ kind: 'changed', boards, ...sentences.isAnother(pin, this.#now, boards) });
  }

  #tell(event: Untold<ImageEvent>): void {
    this.#ties.tell({ ...event, image: this.name, file: this.#file.path });
  }
}

interface Beginning {
  readonly now: Pin;
  readonly facts: ImageFacts;
  readonly ties: ImageTies;
}

type Untold<Event> = Event extends unknown ? Omit<Event, 'image' | 'file'> : never;

function versionOf(file: string, { sizeBytes, sight }: ImageFacts, clock: Clock): Pin {
  const id = randomBytes(16).toString('hex');
  return { id, file, sizeBytes, seen: sight, digest: undefined, pinnedAt: clock.today() };
}

function refused(refusal: Refusal): { readonly answer: 'refused' } & Refusal {
  return { answer: 'refused', ...refusal };
}
