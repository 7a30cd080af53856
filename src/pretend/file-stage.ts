import type { Ipv4Address } from '../base/addresses.js';
import { bytesText, durationText } from '../base/amounts.js';
import type { Clock } from '../base/clock.js';
import { BOARD_MODELS, type BootSelection, selectBoot } from '../boards/boot-config/boot-selection.js';
import { readBootConfig } from '../boards/boot-config/config-files.js';
import { anyPort, fetchFile } from '../tftp/client.js';
import { ErrorCode } from '../tftp/constants.js';
import type { TftpOptions } from '../tftp/wire.js';
import type { Ask, Profile, Wanted } from './profile.js';
import type { Report } from './report.js';

export interface FileStagePlace {
  readonly server: { readonly address: Ipv4Address; readonly port: number };
  readonly localAddress: Ipv4Address;
  readonly clock: Clock;
  readonly report: Report;
}

export interface FilesRead {
  /** By the name they have under the prefix, as they were read last. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly selection: BootSelection;
}

/** Asks for files as one generation of loader does. Each method answers what a board would know of the outcome. */
export class FileStage {
  readonly #profile: Profile;
  readonly #place: FileStagePlace;
  readonly #prefix: string;
  readonly #files = new Map<string, Uint8Array>();
  readonly #known = new Map<string, boolean>();
  #refusal: string | undefined;
  #heard = false;

  /** `prefix` ends with a slash, or is empty. */
  constructor(profile: Profile, place: FileStagePlace, prefix: string) {
    this.#profile = profile;
    this.#place = place;
    this.#prefix = prefix;
  }

  /** In the server's words, why the first file that was not there was not. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  /** Whether anything at all has come from the server. */
  get heard(): boolean {
    return this.#heard;
  }

  /** All files in the order of the profile, up to the kernel; or why the board stops. `refused`: by which words it was told so under a prefix that it gave up. */
  async readAll(refused?: string): Promise<FilesRead | string> {
    let selection: BootSelection | undefined;
    for (const ask of this.#profile.files) {
      if ('slot' in ask.what) selection ??= await this.#select();
      for (const name of namesOf(ask.what, selection)) {
        const failure = await this.#ask(name, ask);
        if (failure !== undefined) return failure;
      }
    }
    selection ??= await this.#select();
    const words = refused ?? this.#refusal;
    if (this.#files.size === 0 && words !== undefined)
      return `there is no file for this board: the server says "${words}"`;
    if (selection.kernel === undefined) return `none of the kernels is there: ${selection.kernelCandidates.join(', ')}`;
    return { files: this.#files, selection };
  }

  /** The size if it is there. */
  async probe(name: string): Promise<number | undefined> {
    const result = await this.#fetch(name, { abort: 'afterOptionAck' });
    const size = result.acknowledged?.get('tsize');
    this.#known.set(name, size !== undefined);
    return size === undefined ? undefined : Number(size);
  }

  /** The bytes; undefined if it is not there; a text if the transfer failed. */
  async read(name: string, options?: TftpOptions): Promise<Uint8Array | string | undefined> {
    const result = await this.#fetch(name, options === undefined ? {} : { options });
    const { verdict, bytes, durationMs } = result;
    if (verdict.outcome === 'refused' && verdict.code === ErrorCode.FileNotFound) {
      this.#known.set(name, false);
      return undefined;
    }
    if (verdict.outcome === 'refused') return `${name}: refused with ERROR ${verdict.code}, "${verdict.message}"`;
    if (verdict.outcome === 'timeout' && bytes.length === 0) return `${name}: no answer from ${this.#serverText()}`;
    if (verdict.outcome !== 'complete') return `${name}: ${verdict.outcome} after ${bytes.length} bytes`;
    this.#place.report('tftp', `${this.#prefix}${name}: ${bytesText(bytes.length)} in ${durationText(durationMs)}`);
    this.#known.set(name, true);
    this.#files.set(name, bytes);
    return bytes;
  }

  async #ask(name: string, { how }: Ask): Promise<string | undefined> {
    if (how !== 'read') {
      const size = await this.probe(name);
      if (how === 'probe' || size === undefined) return undefined;
    }
    const content = await this.read(name);
    return typeof content === 'string' ? content : undefined;
  }

  async #select(): Promise<BootSelection> {
    const model = BOARD_MODELS.find(({ name }) => name === this.#profile.model);
    if (model === undefined) throw new Error(`no board model ${this.#profile.model}`);
    const config = await readBootConfig('config.txt', async (path, bytesMax) => {
      const content = this.#files.get(path) ?? (await this.read(path));
      const most = Math.min(bytesMax, this.#profile.configBytes);
      return content instanceof Uint8Array ? content.subarray(0, most) : undefined;
    });
    return selectBoot(config, model, async (path) => this.#known.get(path) ?? (await this.probe(path)) !== undefined);
  }

  async #fetch(name: string, how: { readonly abort?: 'afterOptionAck'; readonly options?: TftpOptions }) {
    const { server, localAddress, clock } = this.#place;
    const { rollsOver, hangsOnDuplicate } = this.#profile;
    const settings = { path: this.#prefix + name, options: this.#options(), rollsOver, hangsOnDuplicate, ...how };
    const result = await fetchFile({ ...settings, server, local: anyPort(localAddress), clock });
    const { verdict, seen } = result;
    if (verdict.outcome === 'refused' || seen.optionAcks + seen.dataBlocks > 0) this.#heard = true;
    if (verdict.outcome === 'refused' && verdict.code === ErrorCode.FileNotFound) this.#refusal ??= verdict.message;
    return result;
  }

  #serverText(): string {
    const { address, port } = this.#place.server;
    return `${address} port ${port}`;
  }

  #options(): TftpOptions {
    const { blockBytes } = this.#profile;
    return new Map([['tsize', '0'], ...(blockBytes === undefined ? [] : ([['blksize', String(blockBytes)]] as const))]);
  }
}

function namesOf(what: Wanted, selection: BootSelection | undefined): readonly string[] {
  if ('name' in what) return [what.name];
  if (what.slot === 'initramfs') return selection?.initramfs ?? [];
  const name = selection?.[what.slot];
  return name === undefined ? [] : [name];
}
