import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import type { Digester, Digesting, DigestTask } from '../../src/boards/images/digests.js';
import type { DigestResult } from '../../src/boards/images/image-digest.js';

/** One image that is to be read: by a test, when it likes to. */
export class HandReading implements Digesting {
  readonly task: DigestTask;
  readonly result: Promise<DigestResult>;
  doneBytes = 0;
  isOver = false;
  #resolve: (result: DigestResult) => void = () => {};

  constructor(task: DigestTask) {
    this.task = task;
    this.result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  stop(): void {
    this.end({ answer: 'stopped' });
  }

  /** Reads it now. */
  finish(): void {
    const { descriptor, facts } = this.task;
    const bytes = new Uint8Array(facts.sizeBytes);
    readSync(descriptor, bytes, 0, bytes.length, 0);
    this.end({ answer: 'digest', digest: digestText(bytes) });
  }

  end(result: DigestResult): void {
    this.isOver = true;
    this.#resolve(result);
  }
}

export class HandDigester implements Digester {
  readonly all: HandReading[] = [];

  take(task: DigestTask): Digesting {
    const reading = new HandReading(task);
    this.all.push(reading);
    return reading;
  }

  /** The one that is not over. */
  get last(): HandReading {
    const open = this.all.filter(({ isOver }) => !isOver);
    const [reading] = open;
    if (reading === undefined || open.length > 1) throw new Error(`${open.length} images are being read`);
    return reading;
  }
}

export function digestText(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
