import type { BootloaderKind } from '../dhcp/discover.js';

/** A generation of board as it shows itself on the wire: what it asks, in which order, and what it gets wrong. */
export interface Profile {
  readonly name: string;
  readonly title: string;
  /** Of BOARD_MODELS: which sections of config.txt hold for it, and what it looks for. */
  readonly model: string;
  readonly revisionCode: number;
  /** How it asks for its address; a Pi 3 asks once as ROM and once as bootcode.bin. */
  readonly loader: BootloaderKind;
  /** Block size asked for; undefined: no blksize option, hence 512. */
  readonly blockBytes: number | undefined;
  /** Block numbers go on at 0 after 65535 (bootloaders since 2025-09-23, raspberrypi/rpi-eeprom#720). */
  readonly rollsOver: boolean;
  /** Hangs when a DATA block comes twice (start4.elf, raspberrypi/firmware#1631). */
  readonly hangsOnDuplicate: boolean;
  /** Only so much of config.txt takes effect over TFTP (raspberrypi/firmware#1012). */
  readonly configBytes: number;
  readonly files: readonly Ask[];
}

/** What is asked for: a name under the board's prefix, or what config.txt makes of it. */
export type Wanted = { readonly name: string } | { readonly slot: 'deviceTree' | 'initramfs' | 'cmdline' | 'kernel' };

export interface Ask {
  readonly what: Wanted;
  /** `probe`: only whether it is there. `both`: a probe, then the read. */
  readonly how: 'probe' | 'read' | 'both';
}

function probe(...names: readonly string[]): Ask[] {
  return names.map((name) => ({ what: { name }, how: 'probe' }));
}

function read(...names: readonly string[]): Ask[] {
  return names.map((name) => ({ what: { name }, how: 'read' }));
}

function both(...names: readonly string[]): Ask[] {
  return names.map((name) => ({ what: { name }, how: 'both' }));
}

function slot(name: 'deviceTree' | 'initramfs' | 'cmdline' | 'kernel'): Ask {
  return { what: { slot: name }, how: name === 'initramfs' ? 'read' : 'both' };
}

const RECOVERY_KERNELS = probe('recovery8.img', 'recovery7.img', 'recovery.img');

/** Sequences as seen in public logs of each generation (docs/how-a-pi-netboots.md). */
const PI_3_FILES: readonly Ask[] = [
  ...read('autoboot.txt', 'config.txt'),
  ...probe('recovery.elf'),
  ...read('start.elf', 'fixup.dat'),
  ...probe('recovery.elf'),
  ...both('config.txt'),
  ...probe('dt-blob.bin', 'bootcfg.txt'),
  slot('deviceTree'),
  ...both('overlays/overlay_map.dtb'),
  slot('initramfs'),
  slot('cmdline'),
  ...RECOVERY_KERNELS,
  ...probe('armstub8-32.bin'),
  slot('kernel'),
];

const PI_4_FILES: readonly Ask[] = [
  ...read('config.txt'),
  ...probe('pieeprom.sig', 'recover4.elf', 'recovery.elf'),
  ...read('start4.elf', 'fixup4.dat'),
  ...probe('recovery.elf'),
  ...both('config.txt'),
  ...probe('dt-blob.bin', 'recovery.elf', 'bootcfg.txt'),
  slot('initramfs'),
  slot('deviceTree'),
  ...both('overlays/overlay_map.dtb'),
  slot('cmdline'),
  ...RECOVERY_KERNELS,
  ...probe('armstub8-gic.bin'),
  slot('kernel'),
];

const PI_5_FILES: readonly Ask[] = [
  ...both('config.txt'),
  ...probe('pieeprom.sig'),
  ...both('config.txt'),
  slot('initramfs'),
  slot('deviceTree'),
  ...both('overlays/overlay_map.dtb'),
  ...probe('overlays/hat_map.dtb'),
  slot('cmdline'),
  ...probe('armstub8-2712.bin'),
  slot('kernel'),
];

const PI_4 = { model: 'Pi 4B', revisionCode: 0x00d03114, hangsOnDuplicate: true, configBytes: 4096, files: PI_4_FILES };

export const PROFILES = {
  pi3: {
    name: 'pi3',
    title: 'Pi 3B: boot ROM, then bootcode.bin',
    model: 'Pi 3B',
    revisionCode: 0x00a02082,
    loader: 'rom3',
    blockBytes: undefined,
    rollsOver: false,
    hangsOnDuplicate: false,
    configBytes: 4096,
    files: PI_3_FILES,
  },
  'pi4-2020': {
    ...PI_4,
    name: 'pi4-2020',
    title: 'Pi 4B, bootloader of early 2020',
    loader: 'pi4Of2020',
    blockBytes: 1024,
    rollsOver: false,
  },
  'pi4-2021': {
    ...PI_4,
    name: 'pi4-2021',
    title: 'Pi 4B, bootloader of 2021',
    loader: 'pi4',
    blockBytes: 1024,
    rollsOver: false,
  },
  pi4: {
    ...PI_4,
    name: 'pi4',
    title: 'Pi 4B, bootloader of October 2022 to 2025',
    loader: 'pi4',
    blockBytes: 1468,
    rollsOver: false,
  },
  pi5: {
    name: 'pi5',
    title: 'Pi 5, current bootloader',
    model: 'Pi 5',
    revisionCode: 0x00d04170,
    loader: 'pi5',
    blockBytes: 1468,
    rollsOver: true,
    hangsOnDuplicate: false,
    configBytes: 64 * 1024,
    files: PI_5_FILES,
  },
} as const satisfies Readonly<Record<string, Profile>>;

export type ProfileName = keyof typeof PROFILES;
