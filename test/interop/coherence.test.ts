// The promise the product exists for: what a board writes to its boot partition through NBD is what TFTP serves next.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { anyPort, fetchFile } from '../../src/tftp/client.js';
import { makeDemoImage } from '../../src/workshop/demo-image.js';
import { background, run, until } from '../support/commands.js';
import { anyOf, without, withoutAccess } from '../support/programs.js';
import { seeded } from '../support/random.js';
import { scratchFolder } from '../support/scratch.js';
import { startTestServer, type TestServer } from '../support/server.js';

const SERIAL = 'bf9fed6f';
const INVENTORY = `images: { demo: { file: demo.img } }
boards: { node1: { serial: ${SERIAL}, image: demo, disk: direct } }
`;
const EDITS = 250;
const missing = anyOf(without('nbdfuse', 'nbdfuse'), without('mcopy', 'mtools'), withoutAccess('/dev/fuse'));

test('hundreds of edits by mtools through the live NBD export, and TFTP serves each', {
  skip: missing,
}, async (context) => {
  const { server, partition, folder } = await mountedBoard(context);
  const editor = new Editor(partition, folder);
  const random = seeded(20_261_121);
  for (let edit = 0; edit < EDITS; edit += 1) {
    const what = await editor.randomEdit(random);
    for (const path of editor.touched) await assertServed(server, editor, path, `edit ${edit}, ${what}`);
    const other = random.pick(editor.paths());
    if (other !== undefined) await assertServed(server, editor, other, `edit ${edit}, ${what}`);
  }
  for (const path of editor.paths()) await assertServed(server, editor, path, 'at the end');
  assert.ok(editor.paths().length > 5);
});

async function assertServed(server: TestServer, editor: Editor, path: string, when: string): Promise<void> {
  const served = await fetchFile({
    server: { address: '127.0.0.1', port: server.ports.tftp },
    local: anyPort('127.0.0.1'),
    path: `${SERIAL}/${path}`,
    options: new Map([
      ['tsize', '0'],
      ['blksize', '1468'],
    ]),
    clock: systemClock,
  });
  const expected = editor.expected(path);
  if (expected === undefined) {
    const { verdict } = served;
    assert.ok(
      verdict.outcome === 'refused' && verdict.code === 1,
      `${when}: ${path} should be gone, was ${verdict.outcome}`,
    );
    return;
  }
  assert.equal(served.verdict.outcome, 'complete', `${when}: ${path}`);
  assert.ok(Buffer.compare(served.bytes, expected) === 0, `${when}: ${path} differs from what was written`);
  const read = await editor.readBack(path);
  assert.ok(Buffer.compare(served.bytes, read) === 0, `${when}: ${path} differs from what mtools reads`);
}

async function mountedBoard(context: TestContext) {
  const folder = scratchFolder(context);
  await makeDemoImage(join(folder, 'demo.img'));
  const server = await startTestServer(context, { inventory: INVENTORY, folder });
  const mountPoint = join(folder, 'mnt');
  mkdirSync(mountPoint);
  background(context, 'nbdfuse', [mountPoint, `nbd://127.0.0.1:${server.ports.nbd}/node1`]);
  await until(() => existsSync(join(mountPoint, 'nbd')), 'nbdfuse');
  return { server, folder, partition: `${join(mountPoint, 'nbd')}@@1M` };
}

type Random = ReturnType<typeof seeded>;

/** Edits a FAT with mtools and knows what it should hold. */
class Editor {
  touched: string[] = [];
  readonly #partition: string;
  readonly #folder: string;
  readonly #files = new Map<string, Buffer>();
  readonly #directories = ['', 'overlays'];
  #next = 0;

  constructor(partition: string, folder: string) {
    this.#partition = partition;
    this.#folder = folder;
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
