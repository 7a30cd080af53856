/**
 * What a Raspberry Pi's revision code says of it (raspberrypi.com, "Raspberry Pi revision codes", new style):
 *
 *   NOQuuuWu FMMM CCCC PPPP TTTTTTTT RRRR
 *            |  |   |    |      |      revision, bits 0 to 3
 *            |  |   |    |      type, bits 4 to 11
 *            |  |   |    processor, bits 12 to 15
 *            |  |   manufacturer, bits 16 to 19
 *            |  memory size, bits 20 to 22
 *            1: new style, bit 23
 *
 * The old style (0002 to 0015, Pi 1) is not decoded: those boards never tell their revision over the network.
 */

export interface PiRevision {
  /** "Pi 4 Model B"; "Pi of type 0x2f" where the type is newer than this table. */
  readonly model: string;
  /** "8 GB"; undefined where the code does not tell. */
  readonly memory: string | undefined;
  /** "1.4". */
  readonly boardRevision: string;
  readonly processor: PiProcessor | undefined;
}

export type PiProcessor = 'BCM2835' | 'BCM2836' | 'BCM2837' | 'BCM2711' | 'BCM2712';

const NEW_STYLE = 1 << 23;

const PROCESSORS: readonly PiProcessor[] = ['BCM2835', 'BCM2836', 'BCM2837', 'BCM2711', 'BCM2712'];

/** 7 means "other". */
const MEMORY_SIZES: readonly string[] = ['256 MB', '512 MB', '1 GB', '2 GB', '4 GB', '8 GB', '16 GB'];

/** Field "Type". 0x07 and 0x0b were never given; 0x05, 0x0f and 0x16 are not sold. */
const MODELS: Readonly<Record<number, string>> = {
  0: 'Pi 1 Model A',
  1: 'Pi 1 Model B',
  2: 'Pi 1 Model A+',
  3: 'Pi 1 Model B+',
  4: 'Pi 2 Model B',
  6: 'Compute Module 1',
  8: 'Pi 3 Model B',
  9: 'Pi Zero',
  10: 'Compute Module 3',
  12: 'Pi Zero W',
  13: 'Pi 3 Model B+',
  14: 'Pi 3 Model A+',
  16: 'Compute Module 3+',
  17: 'Pi 4 Model B',
  18: 'Pi Zero 2 W',
  19: 'Pi 400',
  20: 'Compute Module 4',
  21: 'Compute Module 4S',
  23: 'Pi 5',
  24: 'Compute Module 5',
  25: 'Pi 500',
  26: 'Compute Module 5 Lite',
  27: 'Compute Module 0',
};

/** Undefined for a code of the old style, and for what is no revision code. */
export function decodeRevisionCode(code: number): PiRevision | undefined {
  if ((code & NEW_STYLE) === 0) return undefined;
  const type = (code >>> 4) & 0xff;
  return {
    model: MODELS[type] ?? `Pi of type 0x${type.toString(16).padStart(2, '0')}`,
    memory: MEMORY_SIZES[(code >>> 20) & 0b111],
    boardRevision: `1.${code & 0xf}`,
    processor: PROCESSORS[(code >>> 12) & 0xf],
  };
}
