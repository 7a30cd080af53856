import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { codeOf } from '../../base/errors.js';
import { PIN_BYTES_MAX } from '../../base/limits.js';
import { HALF_WRITTEN, readWholeFile, replaceWholeFile, settleFolder } from '../../os/whole-file.js';
import type { Pin } from './pin.js';
import { decodePin, encodePin, type PinVerdict } from './pin-wire.js';

const FILE = /^([0-9a-f]{32})\.json$/;

/** `state/images/`: a file for each version of an image. Everything here rejects with what Node says of the disk. */
export class PinFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Where a version's file lies, for a message. */
  pathOf(id: string): string {
    return join(this.path, `${id}.json`);
  }

  /** The ids of what lies there; and sweeps out what a process that was killed did not finish. Without the folder: none. */
  async list(): Promise<readonly string[]> {
    const names = await readdir(this.path).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    });
    const half = names.filter((name) => name.endsWith(HALF_WRITTEN) && FILE.test(name.slice(0, -HALF_WRITTEN.length)));
    // On a disk that is read-only they stay, and disturb nobody.
    for (const name of half) await rm(join(this.path, name), { force: true, recursive: true }).catch(() => {});
    return names.flatMap((name) => FILE.exec(name)?.[1] ?? []);
  }

  async read(id: string): Promise<PinVerdict> {
    const file = await readWholeFile(this.pathOf(id), PIN_BYTES_MAX);
    if (file.answer === 'content') return decodePin(id, file.content);
    return { answer: 'faulty', because: file.answer === 'none' ? 'it is gone' : file.because };
  }

  /** It outlives the host when it resolves. */
  async write(pin: Pin): Promise<void> {
    const made = await mkdir(this.path, { recursive: true, mode: 0o700 });
    if (made !== undefined) await settleFolder(dirname(this.path));
    await replaceWholeFile(this.pathOf(pin.id), encodePin(pin));
    await settleFolder(this.path);
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) await rm(this.pathOf(id), { force: true });
    if (ids.length > 0) await settleFolder(this.path);
  }
}
