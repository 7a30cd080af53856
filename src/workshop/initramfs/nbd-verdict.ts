import { unreachable } from '../../base/unreachable.js';
import type { InitramfsFindings, InitramfsWarning } from './examination.js';

/** Whether a board whose kernel gets this initramfs finds its root on NBD, and if not, what to do about it. */
export type NbdVerdict =
  | { readonly answer: 'ready' }
  | { readonly answer: 'lacks'; readonly what: readonly string[]; readonly remedy: string }
  /** Something is not found, but a part could not be looked into. */
  | { readonly answer: 'unclear'; readonly because: string };

export function nbdVerdict(findings: InitramfsFindings): NbdVerdict {
  const what = [
    ...(findings.nbdModule === undefined ? ['the nbd module of the kernel'] : []),
    ...(findings.nbdClient === undefined ? ['nbd-client'] : []),
    ...(findings.nbdScript === undefined ? ['the script that starts it'] : []),
  ];
  const hidden = findings.warnings.find(({ kind }) => kind === 'kernelCannotUnpack');
  if (hidden) return { answer: 'lacks', what: ['a format that Linux unpacks'], remedy: REPACK };
  if (what.length === 0) return { answer: 'ready' };
  if (!findings.isComplete)
    return { answer: 'unclear', because: findings.warnings.map(initramfsWarningText).join('; ') };
  return { answer: 'lacks', what, remedy: remedyFor(findings) };
}

/** As a sentence about "it", the initramfs. */
export function initramfsWarningText(warning: InitramfsWarning): string {
  switch (warning.kind) {
    case 'notLookedInto':
      return `part ${warning.part} is packed with ${warning.format}, which is not looked into`;
    case 'unknownFormat':
      return `part ${warning.part} is in no known format`;
    case 'damaged':
      return `part ${warning.part} is damaged (${warning.because})`;
    case 'tooLarge':
      return 'it is too large to look into';
    case 'gaveUp':
      return `looking into it was given up (${warning.because})`;
    case 'kernelCannotUnpack':
      return `part ${warning.part} is ${warning.format}, which Linux does not unpack`;
    default:
      return unreachable(warning);
  }
}

function remedyFor({ nbdClient, builder }: InitramfsFindings): string {
  if (builder === 'dracut') return `install nbd-client in the image and run dracut --force --add nbd; see ${HOW_TO}`;
  // With the client's hook in place the module is the kernel package's to bring (Ubuntu 22.04 keeps it apart).
  if (nbdClient !== undefined) {
    return `install the kernel's extra modules in the image (Ubuntu 22.04: linux-modules-extra-raspi) and run update-initramfs -u; see ${HOW_TO}`;
  }
  return `install nbd-client in the image and run update-initramfs -u; see ${HOW_TO}`;
}

const HOW_TO = 'docs/howto/nbd-initramfs.md';
const REPACK = 'pack it with lz4 -l (the legacy format), zstd, xz or gzip';
