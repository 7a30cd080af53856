/**
 * One compressed part of an initramfs on its way out: yields what it unpacks to, piece by piece (a piece is good until the next
 * is asked for), and in the end returns how many bytes of its input it took. Throws Malformed.
 */
export type Unpacking = Generator<Uint8Array, number> | AsyncGenerator<Uint8Array, number>;

/** Starts on the part that `bytes` begin with; other parts may follow it there. */
export type Unpack = (bytes: Uint8Array) => Unpacking;

/** Output is handed on in pieces of about this size, and input to foreign decoders in slices of it. */
export const PIECE_BYTES = 64 * 1024;
