import type { Ipv4Address } from '../../base/addresses.js';
import { CMDLINE_FILE_BYTES_MAX } from '../../base/limits.js';
import { BlockError } from '../../block/block-error.js';
import { DiskFault } from '../../disk/disk-fault.js';
import { type BootPlan, readBootPlan } from '../boot-config/boot-plan.js';
import { type CmdlineWish, virtualCmdline } from '../boot-config/cmdline.js';
import type { TwinIdentity } from '../identity/twin.js';
import type { BootFile, BootFileRequest, BootFileRole, BootFiles, OpenVerdict } from './boot-file.js';
import { type BootPartition, type FoundFile, readFrom, type View } from './boot-partition.js';
import type { HeldFileReader, PieceFollower } from './held-file.js';

export interface BootFilesOptions {
  /** `cmdline:` of the board in the inventory. */
  readonly cmdline: CmdlineWish;
  readonly exportName: string;
  readonly twin: TwinIdentity | undefined;
  readonly nbdPort: number;
  /** What the board is told to ask for its disk, given the address of ours that it asked for files. */
  readonly serverAddress: (askedAt: Ipv4Address) => Ipv4Address;
}

/** The files of an image's boot partition, with the virtual cmdline.txt laid over the image's own. */
export class ImageBootFiles implements BootFiles {
  readonly #partition: BootPartition;
  readonly #options: BootFilesOptions;
  readonly #plans = new WeakMap<View, Promise<BootPlan | undefined>>();

  constructor(partition: BootPartition, options: BootFilesOptions) {
    this.#partition = partition;
    this.#options = options;
  }

  async open(path: string, request: BootFileRequest): Promise<OpenVerdict> {
    try {
      return await this.#partition.look((view) => this.#openIn(view, path, request));
    } catch (error) {
      if (error instanceof DiskFault || error instanceof BlockError)
        return { answer: 'failed', because: error.message };
      throw error;
    }
  }

  async #openIn(view: View, path: string, request: BootFileRequest): Promise<OpenVerdict> {
    const found = await this.#partition.findIn(view, path);
    if (found === undefined) return { answer: 'notFound' };
    const plan = await this.#planOf(view);
    if (!this.#isVirtual(view, found, plan))
      return { answer: 'file', file: new PartitionFile(this.#partition, found, roleOf(found.path, plan)) };
    const content = await this.#virtualCmdline(view, path, request);
    if (content.answer !== 'file') return content;
    const again = () => this.#partition.look((now) => this.#virtualCmdline(now, path, request));
    const isCurrent = () => this.#partition.isCurrent(view);
    return { answer: 'file', file: new VirtualFile(content.bytes, isCurrent, again) };
  }

  /** A file too large for a line of arguments is none; without a root partition there is nothing to put in. */
  #isVirtual(view: View, found: FoundFile, plan: BootPlan | undefined): boolean {
    const isCmdline = plan?.isCmdline(found.path) ?? false;
    const fits = found.sizeBytes <= CMDLINE_FILE_BYTES_MAX && view.layout.rootPartition !== undefined;
    return isCmdline && fits && this.#options.cmdline !== 'as-is';
  }

  async #virtualCmdline(view: View, path: string, { askedAt }: BootFileRequest): Promise<VirtualContent> {
    const original = await readFrom(view, path, CMDLINE_FILE_BYTES_MAX);
    const { rootPartition } = view.layout;
    if (original === undefined || rootPartition === undefined) return { answer: 'notFound' };
    const { cmdline, exportName, twin, nbdPort, serverAddress } = this.#options;
    const address = serverAddress(askedAt);
    const verdict = virtualCmdline(original, { address, port: nbdPort, exportName, rootPartition, twin, cmdline });
    if (verdict.answer === 'file') return verdict;
    return {
      answer: 'failed',
      because: `${path} with our arguments would have ${verdict.lengthBytes} bytes, more than the kernel takes`,
    };
  }

  /** Undefined where config.txt can't be read for its fault; that is no reason not to serve other files. */
  #planOf(view: View): Promise<BootPlan | undefined> {
    const known = this.#plans.get(view);
    if (known !== undefined) return known;
    const plan = readBootPlan((path, bytesMax) => readFrom(view, path, bytesMax)).catch((error: unknown) => {
      if (error instanceof DiskFault) return undefined;
      this.#plans.delete(view);
      throw error;
    });
    this.#plans.set(view, plan);
    return plan;
  }
}

function roleOf(path: string, plan: BootPlan | undefined): BootFileRole {
  if (plan === undefined) return 'unknown';
  if (plan.isKernel(path)) return 'kernel';
  return plan.isCmdline(path) ? 'cmdline' : 'other';
}

/** A file as it lies in the image. */
class PartitionFile implements BootFile {
  readonly role: BootFileRole;
  readonly #partition: BootPartition;
  readonly #found: FoundFile;
  #held: HeldFileReader | undefined;
  #unfollow = () => {};
  #closed = false;

  constructor(partition: BootPartition, found: FoundFile, role: BootFileRole) {
    this.#partition = partition;
    this.#found = found;
    this.role = role;
  }

  get sizeBytes(): number {
    return this.#found.sizeBytes;
  }

  async hold(): Promise<'held' | 'changed'> {
    const held = await this.#hold();
    if (held === 'changed') return 'changed';
    if (this.#closed) held.close();
    else this.#held = held;
    return 'held';
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#mustBeHeld().read(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    return this.#mustBeHeld().readNow(offset, target);
  }

  follow(follower: PieceFollower): void {
    this.#unfollow = this.#mustBeHeld().follow(follower);
  }

  progress(from: number, at: number): void {
    this.#held?.progress(from, at);
  }

  close(): void {
    this.#closed = true;
    this.#unfollow();
    this.#held?.close();
    this.#held = undefined;
  }

  async #hold(): Promise<HeldFileReader | 'changed'> {
    try {
      return await this.#partition.hold(this.#found);
    } catch (error) {
      // What can't be looked at again is not what was promised.
      if (error instanceof DiskFault || error instanceof BlockError) return 'changed';
      throw error;
    }
  }

  #mustBeHeld(): HeldFileReader {
    if (this.#held === undefined) throw new Error('read of a boot file that is not held');
    return this.#held;
  }
}

type VirtualContent =
  | { readonly answer: 'file'; readonly bytes: Uint8Array }
  | Exclude<OpenVerdict, { answer: 'file' }>;

/** A file that is made here, of one beneath it. */
class VirtualFile implements BootFile {
  readonly role = 'cmdline';
  readonly sizeBytes: number;
  readonly #isCurrent: () => boolean;
  readonly #again: () => Promise<VirtualContent>;
  #bytes: Uint8Array;

  constructor(bytes: Uint8Array, isCurrent: () => boolean, again: () => Promise<VirtualContent>) {
    this.#bytes = bytes;
    this.sizeBytes = bytes.length;
    this.#isCurrent = isCurrent;
    this.#again = again;
  }

  async hold(): Promise<'held' | 'changed'> {
    if (this.#isCurrent()) return 'held';
    const now = await this.#again().catch(() => undefined);
    if (now?.answer !== 'file' || now.bytes.length !== this.sizeBytes) return 'changed';
    this.#bytes = now.bytes;
    return 'held';
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    this.readNow(offset, target);
  }

  readNow(offset: number, target: Uint8Array): boolean {
    target.set(this.#bytes.subarray(offset, offset + target.length));
    return true;
  }

  follow(follower: PieceFollower): void {
    if (this.sizeBytes > 0) follower([{ offset: 0, bytes: this.#bytes }]);
  }

  progress(): void {}

  close(): void {}
}
