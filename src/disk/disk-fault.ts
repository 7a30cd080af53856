/** What is wrong with an image, and where. */
export interface DiskFaultFacts {
  /** The structure and the field in it, in its standard's words: `sectors per cluster of the FAT boot sector`. */
  readonly structure: string;
  /** Where that field lies: bytes from the start of the device that was read (a partition counts from its own start). */
  readonly offset: number;
  /** What was found there. */
  readonly value: number | bigint | string;
  /** What would be sound there: `a power of two from 1 to 128`. */
  readonly sound: string;
}

/**
 * An image says something that cannot be true. A board writes its image while we read it, so this is expected at any
 * time: besides `BlockError` of the device below it is the only thing that reading a hostile image throws.
 */
export class DiskFault extends Error {
  override readonly name = 'DiskFault';
  readonly structure: string;
  readonly offset: number;
  readonly value: number | bigint | string;
  readonly sound: string;

  constructor(facts: DiskFaultFacts) {
    super(`${facts.structure} (byte ${facts.offset}) is ${facts.value}; sound is ${facts.sound}`);
    this.structure = facts.structure;
    this.offset = facts.offset;
    this.value = facts.value;
    this.sound = facts.sound;
  }
}

/** A name out of an image, in quotes and fit for a log or a terminal: what is invisible or steers one is written as `\u{…}`. */
export function quoted(name: string): string {
  const plain = name.replace(
    /[\p{C}\p{Zl}\p{Zp}"\\]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
  return `"${plain}"`;
}
