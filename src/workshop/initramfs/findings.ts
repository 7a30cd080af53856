import { KERNEL_VERSIONS_MAX } from '../../base/limits.js';
import type { CpioEntry, CpioVisitor } from './cpio.js';

export type InitramfsBuilder = 'initramfs-tools' | 'dracut' | 'unknown';

/** What an initramfs holds that matters for a root on NBD. Paths are as in the archive, and printable. */
export interface InitramfsContents {
  /** `…/nbd.ko`, however compressed, or the `modules.builtin` that lists it; then no module is needed. */
  readonly nbdModule: string | undefined;
  readonly nbdClient: string | undefined;
  /** initramfs-tools' `scripts/local-top/nbd`, or dracut's `nbdroot`. */
  readonly nbdScript: string | undefined;
  readonly builder: InitramfsBuilder;
  /** Of the kernels that it has modules for: `6.12.34+rpt-rpi-v8`. */
  readonly kernelVersions: readonly string[];
}

/** Watches the entries of archives go by and keeps what matters; of an initramfs of any size it keeps these few words. */
export class InitramfsFinder implements CpioVisitor {
  #nbdModule: string | undefined;
  #nbdClient: string | undefined;
  #nbdScript: string | undefined;
  #builder: InitramfsBuilder = 'unknown';
  readonly #kernelVersions = new Set<string>();

  get contents(): InitramfsContents {
    return {
      nbdModule: this.#nbdModule,
      nbdClient: this.#nbdClient,
      nbdScript: this.#nbdScript,
      builder: this.#builder,
      kernelVersions: [...this.#kernelVersions],
    };
  }

  /** Nothing further on could change the verdict. */
  get hasAll(): boolean {
    const { nbdModule, nbdClient, nbdScript, builder } = this.contents;
    return nbdModule !== undefined && nbdClient !== undefined && nbdScript !== undefined && builder !== 'unknown';
  }

  entry({ path }: CpioEntry): boolean {
    const version = KERNEL_VERSION.exec(path)?.[1];
    if (version !== undefined && this.#kernelVersions.size < KERNEL_VERSIONS_MAX) this.#kernelVersions.add(version);
    if (NBD_MODULE.test(path)) this.#nbdModule = path;
    else if (NBD_CLIENT.test(path)) this.#nbdClient = path;
    else if (NBD_SCRIPT.test(path)) this.#nbdScript = path;
    if (this.#builder === 'unknown') this.#builder = builderOf(path);
    return MODULES_BUILTIN.test(path);
  }

  content({ path }: CpioEntry, bytes: Uint8Array): void {
    const lists = Buffer.from(bytes).toString('latin1').split('\n').includes('kernel/drivers/block/nbd.ko');
    if (lists) this.#nbdModule ??= path;
  }
}

/** A version that could be one, and can be printed: names in an archive may hold anything. */
const VERSION = '\\w[\\w.+~-]{0,63}';
const KERNEL_VERSION = new RegExp(`^(?:usr/)?lib/modules/(${VERSION})/`);
const NBD_MODULE = new RegExp(
  `^(?:usr/)?lib/modules/${VERSION}/(?:kernel|updates|extra)/(?:[\\w-]+/){0,4}nbd\\.ko(?:\\.(?:gz|xz|zst|lz4))?$`,
);
const MODULES_BUILTIN = new RegExp(`^(?:usr/)?lib/modules/${VERSION}/modules\\.builtin$`);
const NBD_CLIENT = /^(?:usr\/)?s?bin\/nbd-client$/;
const NBD_SCRIPT = /^(?:scripts\/local-top\/nbd|(?:usr\/)?s?bin\/nbdroot)$/;

function builderOf(path: string): InitramfsBuilder {
  if (/^scripts\/(functions|init-top\/ORDER|local-top\/ORDER|local)$|^conf\/initramfs\.conf$/.test(path)) {
    return 'initramfs-tools';
  }
  return /^(usr\/)?lib\/(dracut\/|dracut-[\w-]+\.sh$)/.test(path) ? 'dracut' : 'unknown';
}
