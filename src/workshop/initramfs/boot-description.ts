import type { Clock } from '../../base/clock.js';
import { CMDLINE_FILE_BYTES_MAX, INITRAMFS_BYTES_MAX } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import { planBoot } from '../../boards/boot-config/boot-plan.js';
import {
  BOARD_MODELS,
  type BoardModel,
  type BootSelection,
  selectBoot,
} from '../../boards/boot-config/boot-selection.js';
import { firstBootArguments } from '../../boards/boot-config/cmdline.js';
import { type ReadBootFile, readBootConfig } from '../../boards/boot-config/config-files.js';
import type { InitramfsFindings } from './examination.js';
import { inspectInitramfs } from './inspection.js';
import { type NbdVerdict, nbdVerdict } from './nbd-verdict.js';

/** What a boot partition can boot over the network, as `brambleboot check` tells it. */
export interface BootDescription {
  readonly models: readonly ModelDescription[];
  /** Files of kernel arguments that are there, of all that config.txt may name: these are rewritten. */
  readonly cmdlines: readonly CmdlineDescription[];
  readonly initramfs: readonly InitramfsDescription[];
  /** About config.txt and what it includes. */
  readonly warnings: readonly string[];
}

/** One kind of board in front of this image. No device tree for it means: not made for it, which is no fault. */
export type ModelDescription =
  | { readonly model: string; readonly answer: 'notMadeFor' }
  | { readonly model: string; readonly answer: 'stuck'; readonly problems: readonly string[] }
  | { readonly model: string; readonly answer: 'boots'; readonly selection: BootSelection };

export interface CmdlineDescription {
  readonly path: string;
  /** Such as `resize`: harmless on a disk that stays, repeated at every boot on one that is thrown away. */
  readonly firstBoot: readonly string[];
}

/** One initramfs as Linux gets it: the firmware joins the files that one line lists. */
export interface InitramfsDescription {
  readonly paths: readonly string[];
  readonly findings: InitramfsFindings;
  readonly verdict: NbdVerdict;
}

/** Reads the boot partition through `read`; each initramfs that some model would load is looked into once. */
export async function describeBoot(read: ReadBootFile, clock: Clock): Promise<BootDescription> {
  const exists = remembered(async (path) => (await read(path, 0)) !== undefined);
  const config = await readBootConfig('config.txt', read);
  const tryboot = await readBootConfig('tryboot.txt', read);
  const plan = planBoot([config, tryboot]);

  const selections: { readonly model: BoardModel; readonly selection: BootSelection }[] = [];
  for (const model of BOARD_MODELS) selections.push({ model, selection: await selectBoot(config, model, exists) });
  const meant = selections.filter(({ selection }) => selection.deviceTree !== undefined);
  const lists = new Map(meant.map(({ selection }) => [selection.initramfs.join(), selection.initramfs]));
  const initramfs: InitramfsDescription[] = [];
  for (const paths of lists.values()) initramfs.push(...(await inspectJoined(paths, read, clock)));

  const models: ModelDescription[] = [];
  for (const { model, selection } of selections) models.push(await describeModel(model, selection, exists, initramfs));
  const ramdisk = (await exists('boot.img'))
    ? ['boot.img is there: a board that boots from it is not given our arguments']
    : [];
  const absent = config.present ? [] : ['config.txt is not there'];
  return {
    models,
    cmdlines: await describeCmdlines(plan.cmdlinePaths, read),
    initramfs,
    warnings: [...absent, ...plan.warnings, ...ramdisk],
  };
}

/** What `check` prints of an image, one sentence a line. */
export function bootDescriptionLines(description: BootDescription): readonly string[] {
  const notMadeFor = description.models.filter(({ answer }) => answer === 'notMadeFor').map(({ model }) => model);
  return [
    ...description.models.flatMap(modelLines),
    ...(notMadeFor.length > 0 ? [`not made for: ${notMadeFor.join(', ')} (no device tree)`] : []),
    ...description.cmdlines.map(
      ({ path, firstBoot }) =>
        `${path}: found${firstBoot.length > 0 ? `, with ${firstBoot.join(' ')} for the first boot` : ''}`,
    ),
    ...(description.cmdlines.length === 0 ? ['cmdline.txt: missing: a board would get no arguments, and no disk'] : []),
    ...description.initramfs.map(initramfsLine),
    ...description.warnings.map((warning) => `warning: ${warning}`),
  ];
}

async function describeModel(
  { name: model }: BoardModel,
  selection: BootSelection,
  exists: (path: string) => Promise<boolean>,
  initramfs: readonly InitramfsDescription[],
): Promise<ModelDescription> {
  if (selection.deviceTree === undefined) return { model, answer: 'notMadeFor' };
  const problems = selection.missingFirmware.map((file) => `${file} is missing`);
  if (selection.kernel === undefined)
    problems.push(`the kernel is missing (${selection.kernelCandidates.join(' or ')})`);
  if (!(await exists(selection.cmdline))) problems.push(`${selection.cmdline} is missing`);
  if (selection.initramfs.length === 0) {
    problems.push(
      'config.txt names no initramfs, and without one Linux has no root over NBD (auto_initramfs=1 names it)',
    );
  }
  for (const path of selection.initramfs) if (!(await exists(path))) problems.push(`${path} is missing`);
  const joined = initramfs.find(({ paths }) => paths.join() === selection.initramfs.join());
  if (joined?.verdict.answer === 'lacks') problems.push(`${nameOf(joined)} cannot attach a disk over NBD`);
  return problems.length > 0 ? { model, answer: 'stuck', problems } : { model, answer: 'boots', selection };
}

async function describeCmdlines(paths: readonly string[], read: ReadBootFile): Promise<readonly CmdlineDescription[]> {
  const found: CmdlineDescription[] = [];
  for (const path of paths) {
    const bytes = await read(path, CMDLINE_FILE_BYTES_MAX);
    if (bytes) found.push({ path, firstBoot: firstBootArguments(Buffer.from(bytes).toString('latin1')) });
  }
  return found;
}

/** None if a file is missing: that is told of the boards that would load it. */
async function inspectJoined(
  paths: readonly string[],
  read: ReadBootFile,
  clock: Clock,
): Promise<readonly InitramfsDescription[]> {
  const files: Uint8Array[] = [];
  let leftBytes = INITRAMFS_BYTES_MAX + 1;
  for (const path of paths) {
    const bytes = await read(path, leftBytes);
    if (bytes === undefined) return [];
    leftBytes -= bytes.length;
    // The firmware aligns them: an archive begins at a multiple of four.
    files.push(bytes, new Uint8Array(-bytes.length & 3));
  }
  if (files.length === 0) return [];
  const findings = await inspectInitramfs(Buffer.concat(files), clock);
  return [{ paths, findings, verdict: nbdVerdict(findings) }];
}

function nameOf({ paths }: InitramfsDescription): string {
  return paths.join(' and ');
}

function modelLines(description: ModelDescription): readonly string[] {
  switch (description.answer) {
    case 'notMadeFor':
      return [];
    case 'stuck':
      return description.problems.map((problem) => `${description.model}: cannot boot: ${problem}`);
    case 'boots': {
      const { kernel, initramfs, cmdline } = description.selection;
      return [`${description.model}: boots ${kernel} with ${initramfs.join(' and ')} and ${cmdline}`];
    }
    default:
      return unreachable(description);
  }
}

function initramfsLine(description: InitramfsDescription): string {
  const { findings, verdict } = description;
  const versions = findings.kernelVersions.length > 0 ? ` for ${findings.kernelVersions.join(', ')}` : '';
  const name = nameOf(description);
  const made = `${name} (${findings.builder === 'unknown' ? 'unknown builder' : findings.builder}${versions})`;
  switch (verdict.answer) {
    case 'ready':
      return `${made}: has nbd and nbd-client`;
    case 'lacks':
      return `${made}: lacks ${verdict.what.join(', ')}: ${verdict.remedy}`;
    case 'unclear':
      return `${name}: whether it has nbd and nbd-client can't be told: ${verdict.because}`;
    default:
      return unreachable(verdict);
  }
}

function remembered(ask: (path: string) => Promise<boolean>): (path: string) => Promise<boolean> {
  const answers = new Map<string, Promise<boolean>>();
  return (path) => {
    const known = answers.get(path) ?? ask(path);
    answers.set(path, known);
    return known;
  };
}
