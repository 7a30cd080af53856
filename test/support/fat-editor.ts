import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './commands.js';
import type { seeded } from './random.js';

/** Chance of a test. */
export type Random = ReturnType<typeof seeded>;

/** Files that it has written, and folders that there are. */
export interface KnownFat {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly directories: readonly string[];
}

/** Of the demo image. */
export const IMAGES_DIRECTORIES = ['', 'overlays'] as const;

/** Edits a FAT with mtools and knows what it should hold. */
export class FatEditor {
  touched: string[] = [];
  readonly #partition: string;
  readonly #folder: string;
  #files = new Map<string, Buffer>();
  #directories: string[] = [...IMAGES_DIRECTORIES];
  #next = 0;
  #gone: readonly string[] = [];

  constructor(partition: string, folder: string) {
    this.#partition = partition;
    this.#folder = folder;
  }

  /** What it knows by now; to be gone back to where the disk is. */
  known(): KnownFat {
    return { files: new Map(this.#files), directories: [...this.#directories] };
  }

  goBackTo({ files, directories }: KnownFat): void {
    this.#gone = [...this.#files.keys()].filter((path) => !files.has(path));
    this.#files = new Map(files);
    this.#directories = [...directories];
  }

  /** What there was before it went back. */
  get gone(): readonly string[] {
    return this.#gone;
  }

  paths(): readonly string[] {
    return [...this.#files.keys()];
  }

  expected(path: string): Buffer | undefined {
    return this.#files.get(path);
  }

  readBack(path: string): Promise<Buffer> {
    return run('mtype', ['-i', this.#partition, `::${path}`]);
  }

  /** Answers what it did; `touched` then holds the paths concerned, those that are gone too. */
  async randomEdit(random: Random): Promise<string> {
    const path = random.pick(this.paths());
    const choice = random.below(10);
    if (path === undefined || choice < 4) return this.#write(this.#newPath(random), random);
    if (choice < 6) return this.#write(path, random);
    if (choice === 6) return this.#remove(path);
    if (choice === 7) return this.#rename(path, this.#newPath(random));
    if (choice === 8) return this.#truncate(path, random);
    return this.#makeDirectory();
  }

  async #write(path: string, random: Random): Promise<string> {
    const sizes = [0, 1, 511, 512, 513, 1468, 4096, 70_000, 300_000, 1_200_000];
    return this.#store(path, random.bytes(random.pick(sizes) ?? 0), 'write');
  }

  async #truncate(path: string, random: Random): Promise<string> {
    const content = this.#files.get(path) ?? Buffer.alloc(0);
    return this.#store(path, content.subarray(0, random.below(content.length + 1)), 'truncate');
  }

  async #store(path: string, content: Buffer, what: string): Promise<string> {
    const source = join(this.#folder, 'source');
    writeFileSync(source, content);
    await this.#mtools('mcopy', '-D', 'o', source, `::${path}`);
    this.#files.set(path, Buffer.from(content));
    this.touched = [path];
    return `${what} ${path} (${content.length} bytes)`;
  }

  async #remove(path: string): Promise<string> {
    await this.#mtools('mdel', `::${path}`);
    this.#files.delete(path);
    this.touched = [path];
    return `remove ${path}`;
  }

  async #rename(from: string, to: string): Promise<string> {
    await this.#mtools('mmove', `::${from}`, `::${to}`);
    const content = this.#files.get(from);
    this.#files.delete(from);
    if (content !== undefined) this.#files.set(to, content);
    this.touched = [from, to];
    return `rename ${from} to ${to}`;
  }

  async #makeDirectory(): Promise<string> {
    const parent = this.#directories[this.#next % this.#directories.length] ?? '';
    const path = `${parent === '' ? '' : `${parent}/`}directory ${this.#next++}`;
    await this.#mtools('mmd', `::${path}`);
    this.#directories.push(path);
    this.touched = [];
    return `make directory ${path}`;
  }

  #newPath(random: Random): string {
    const directory = random.pick(this.#directories) ?? '';
    const name = random.pick([
      'kernel.img',
      'a rather long name with spaces.txt',
      'UPPER.BIN',
      'x',
      'initrd.img-6.8.0-1001-raspi',
    ]);
    return `${directory === '' ? '' : `${directory}/`}${this.#next++} ${name}`;
  }

  async #mtools(program: string, ...words: readonly string[]): Promise<void> {
    await run(program, ['-i', this.#partition, ...words]);
  }
}
