/** Something that takes bytes from strangers, and what must hold whatever they are. */
export interface FuzzTarget {
  readonly name: string;
  /** Inputs as they should be, which are changed at random: made by code, since some are large. */
  good(): Promise<readonly Uint8Array[]>;
  /** Bytes that mean something to it: put into inputs now and then. */
  readonly words?: readonly Uint8Array[];
  readonly inputBytesMax: number;
  /** Time of the processor that one input may take: several times what the worst was seen to. */
  readonly caseCpuMsMax: number;
  start(): Promise<FuzzSubject>;
}

export interface FuzzSubject {
  /** Rejects if something does not hold. Takes all its chance from the input, so that the input alone brings a failure back. */
  check(input: Uint8Array): void | Promise<void>;
  stop?(): Promise<void>;
}

/** A number that belongs to these bytes (FNV-1a, 32 bits). */
export function hashOf(bytes: Uint8Array | string): number {
  let hash = 0x811c9dc5;
  for (const byte of typeof bytes === 'string' ? Buffer.from(bytes) : bytes) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash;
}

/** Cuts an input into records of a length (u16) and so many bytes; what is left at the end is a record too. */
export function records(input: Uint8Array): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  let rest = input;
  while (rest.length > 2) {
    const [high = 0, low = 0] = rest;
    const length = Math.min(high * 0x100 + low, rest.length - 2);
    found.push(rest.subarray(2, 2 + length));
    rest = rest.subarray(2 + length);
  }
  return found;
}

export function asRecords(...parts: readonly (Uint8Array | string)[]): Uint8Array {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = typeof part === 'string' ? Buffer.from(part, 'latin1') : part;
      return [Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes];
    }),
  );
}
