import { join, resolve } from 'node:path';
import { INVENTORY_BYTES_MAX } from '../base/limits.js';
import type { InventoryVerdict } from '../inventory/parse.js';
import { parseInventory } from '../inventory/parse.js';
import { readWholeFile, replaceWholeFile, settleFolder } from '../os/whole-file.js';

const NAME = 'inventory.yaml';
/** Behind the copy, so that it has the lines of the original: paths in it begin at the folder of that. */
const ORIGIN = '# Brambleboot: the copy of the last sound inventory, ';

/** The inventory that a server ran on last, kept in its state folder for a start at which the file has got faults. */
export class LastInventory {
  readonly #folder: string;
  #written: string | undefined;

  constructor(stateFolder: string) {
    this.#folder = stateFolder;
  }

  get path(): string {
    return join(this.#folder, NAME);
  }

  /** On stable storage when it resolves. Rejects with what Node says of the disk. */
  async write(text: string, file: string): Promise<void> {
    const content = `${text}${text.endsWith('\n') ? '' : '\n'}${ORIGIN}${JSON.stringify(resolve(file))}\n`;
    if (content === this.#written) return;
    await replaceWholeFile(this.path, content);
    await settleFolder(this.#folder);
    this.#written = content;
  }

  /** As it was parsed then; undefined where there is none that can be read. */
  async read(): Promise<InventoryVerdict | undefined> {
    const bytesMax = 2 * INVENTORY_BYTES_MAX;
    const file = await readWholeFile(this.path, bytesMax).catch(() => undefined);
    if (file?.answer !== 'content') return undefined;
    const at = file.content.lastIndexOf(ORIGIN);
    const origin = at < 0 ? undefined : originIn(file.content.slice(at + ORIGIN.length));
    return origin === undefined ? undefined : parseInventory(file.content.slice(0, at), origin);
  }
}

function originIn(written: string): string | undefined {
  try {
    const origin: unknown = JSON.parse(written);
    return typeof origin === 'string' ? origin : undefined;
  } catch {
    return undefined;
  }
}
