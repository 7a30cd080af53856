import { autoInitramfs, initramfsList, underPrefix } from './boot-plan.js';
import type { BootConfig } from './config-files.js';
import { holdsFor } from './config-filters.js';

/** A kind of board that can boot from the network, with what its firmware looks for. */
export interface BoardModel {
  readonly name: string;
  /** Names of the model filters of config.txt that hold for it. */
  readonly modelFilters: readonly string[];
  /** Files without which it stops before config.txt. A Pi 5 has all of that in its EEPROM. */
  readonly firmware: readonly string[];
  /** Any of these will do: the firmware takes its own first, then the name that upstream Linux has for it. */
  readonly deviceTrees: readonly string[];
  /** Kernels in the order in which they are tried when `kernel=` is not set, by `arm_64bit`. */
  readonly kernels: {
    readonly unset: readonly string[];
    readonly on: readonly string[];
    readonly off: readonly string[];
  };
}

const KERNELS_OF_V7 = { unset: ['kernel7.img', 'kernel8.img'], on: ['kernel8.img'], off: ['kernel7.img'] };
const KERNELS_OF_V8 = { unset: ['kernel8.img', 'kernel7l.img'], on: ['kernel8.img'], off: ['kernel7l.img'] };
const KERNELS_OF_2712 = ['kernel_2712.img', 'kernel8.img'];

/** Boards with wired netboot. A Pi 1, a Zero and a 3A+ have none, and a 2B only from revision 1.2. */
export const BOARD_MODELS: readonly BoardModel[] = [
  {
    name: 'Pi 2B v1.2',
    modelFilters: ['pi2'],
    firmware: ['bootcode.bin', 'start.elf', 'fixup.dat'],
    deviceTrees: ['bcm2710-rpi-2-b.dtb', 'bcm2709-rpi-2-b.dtb', 'bcm2837-rpi-2-b.dtb'],
    kernels: KERNELS_OF_V7,
  },
  {
    name: 'Pi 3B',
    modelFilters: ['pi3'],
    firmware: ['bootcode.bin', 'start.elf', 'fixup.dat'],
    deviceTrees: ['bcm2710-rpi-3-b.dtb', 'bcm2837-rpi-3-b.dtb'],
    kernels: KERNELS_OF_V7,
  },
  {
    name: 'Pi 3B+',
    modelFilters: ['pi3', 'pi3+'],
    firmware: ['bootcode.bin', 'start.elf', 'fixup.dat'],
    deviceTrees: ['bcm2710-rpi-3-b-plus.dtb', 'bcm2837-rpi-3-b-plus.dtb'],
    kernels: KERNELS_OF_V7,
  },
  {
    name: 'Pi 4B',
    modelFilters: ['pi4'],
    firmware: ['start4.elf', 'fixup4.dat'],
    deviceTrees: ['bcm2711-rpi-4-b.dtb'],
    kernels: KERNELS_OF_V8,
  },
  {
    name: 'Pi 400',
    modelFilters: ['pi4', 'pi400'],
    firmware: ['start4.elf', 'fixup4.dat'],
    deviceTrees: ['bcm2711-rpi-400.dtb'],
    kernels: KERNELS_OF_V8,
  },
  {
    name: 'CM4',
    modelFilters: ['pi4', 'cm4'],
    firmware: ['start4.elf', 'fixup4.dat'],
    deviceTrees: ['bcm2711-rpi-cm4.dtb', 'bcm2711-rpi-cm4-io.dtb'],
    kernels: KERNELS_OF_V8,
  },
  {
    name: 'Pi 5',
    modelFilters: ['pi5'],
    firmware: [],
    deviceTrees: ['bcm2712-rpi-5-b.dtb', 'bcm2712d0-rpi-5-b.dtb'],
    kernels: { unset: KERNELS_OF_2712, on: KERNELS_OF_2712, off: KERNELS_OF_2712 },
  },
  {
    name: 'Pi 500',
    modelFilters: ['pi5', 'pi500'],
    firmware: [],
    deviceTrees: ['bcm2712-rpi-500.dtb'],
    kernels: { unset: KERNELS_OF_2712, on: KERNELS_OF_2712, off: KERNELS_OF_2712 },
  },
  {
    name: 'CM5',
    modelFilters: ['pi5', 'cm5'],
    firmware: [],
    deviceTrees: ['bcm2712-rpi-cm5-cm5io.dtb', 'bcm2712-rpi-cm5-cm4io.dtb'],
    kernels: { unset: KERNELS_OF_2712, on: KERNELS_OF_2712, off: KERNELS_OF_2712 },
  },
];

/** What a board of one model would load in a plain boot. Paths are folded; a missing file is in a `missing…` list. */
export interface BootSelection {
  readonly osPrefix: string;
  /** Undefined if none of `kernelCandidates` is there. */
  readonly kernel: string | undefined;
  readonly kernelCandidates: readonly string[];
  readonly deviceTree: string | undefined;
  readonly cmdline: string;
  /** In the order in which the firmware joins them; empty if config.txt asks for none. Whether they exist is not said. */
  readonly initramfs: readonly string[];
  readonly missingFirmware: readonly string[];
}

/**
 * Goes through config.txt as the firmware of that model does: the last setting whose filters hold wins; `os_prefix` counts
 * only if kernel and device tree are found under it. `exists` is asked for folded paths.
 */
export async function selectBoot(
  config: BootConfig,
  model: BoardModel,
  exists: (path: string) => Promise<boolean>,
): Promise<BootSelection> {
  const settings = config.settings.filter(({ filters }) => holdsFor(filters, model));
  const last = (key: string) => settings.findLast((setting) => setting.key === key)?.value;
  const firstOf = async (prefix: string, names: readonly string[]) => {
    for (const name of names) if (await exists(underPrefix(prefix, name))) return underPrefix(prefix, name);
    return undefined;
  };

  const names = kernelNames(model, last('kernel'), last('arm_64bit'));
  const wished = last('os_prefix') ?? (isOn(last('upstream_kernel')) ? 'upstream/' : '');
  const viable =
    (await firstOf(wished, names)) !== undefined && (await firstOf(wished, model.deviceTrees)) !== undefined;
  const osPrefix = viable ? wished : '';
  const kernel = await firstOf(osPrefix, names);
  const missingFirmware: string[] = [];
  for (const name of model.firmware) if (!(await exists(name))) missingFirmware.push(name);

  return {
    osPrefix,
    kernel,
    kernelCandidates: names.map((name) => underPrefix(osPrefix, name)),
    deviceTree: await firstOf(osPrefix, model.deviceTrees),
    cmdline: underPrefix(osPrefix, last('cmdline') || 'cmdline.txt'),
    initramfs: initramfsOf(settings, kernel, osPrefix, isOn(last('auto_initramfs'))),
    missingFirmware,
  };
}

function kernelNames(model: BoardModel, kernel: string | undefined, arm64: string | undefined): readonly string[] {
  if (kernel) return [kernel];
  if (arm64 === undefined) return model.kernels.unset;
  return isOn(arm64) ? model.kernels.on : model.kernels.off;
}

function initramfsOf(
  settings: BootConfig['settings'],
  kernel: string | undefined,
  osPrefix: string,
  automatic: boolean,
): readonly string[] {
  // Two `initramfs` lines replace each other; the list in one line is joined (raspberrypi/firmware#1318).
  const named = settings.findLast(({ key }) => key === 'initramfs' || key === 'ramfsfile')?.value ?? '';
  const listed = initramfsList(named).map((name) => underPrefix(osPrefix, name));
  if (listed.length > 0 || !automatic || kernel === undefined) return listed;
  // `kernel` has its prefix already.
  const automaticName = autoInitramfs(kernel);
  return automaticName === undefined ? [] : [automaticName];
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && value !== '0' && value !== '';
}
