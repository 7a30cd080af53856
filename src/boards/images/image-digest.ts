import { createHash } from 'node:crypto';
import { messageOf } from '../../base/errors.js';
import {
  IMAGE_DIGEST_LOOK_BYTES,
  IMAGE_DIGEST_PIECE_BYTES,
  IMAGE_DIGEST_REST_MS_MIN,
  IMAGE_DIGEST_REST_RATIO,
} from '../../base/limits.js';

export type DigestResult =
  /** SHA-256 of all of it, in hex; from the beginning to the end it was what was said of it. */
  | { readonly answer: 'digest'; readonly digest: string }
  /** It is not, or is no longer, what was said of it. */
  | { readonly answer: 'written' }
  | { readonly answer: 'failed'; readonly because: string }
  | { readonly answer: 'stopped' };

/** What the reading of an image needs of the world. */
export interface DigestWorld {
  /** The next IMAGE_DIGEST_PIECE_BYTES, or fewer at its end. Good until the next call. */
  next(): Uint8Array;
  /** Whether it still is what was said of it. */
  isUntouched(): boolean;
  isStopped(): boolean;
  nowMs(): number;
  /** Shorter where it is stopped meanwhile. */
  rest(ms: number): void;
  /** How far it is. */
  done(bytes: number): void;
}

/** Reads it all. Never throws: what the disk says is `failed`. It takes as long as that takes, and half of the disk's time. */
export function digestImage(sizeBytes: number, world: DigestWorld): DigestResult {
  const hash = createHash('sha256');
  let owedMs = 0;
  try {
    for (let offset = 0; offset < sizeBytes; offset += IMAGE_DIGEST_PIECE_BYTES) {
      if (world.isStopped()) return { answer: 'stopped' };
      if (offset % IMAGE_DIGEST_LOOK_BYTES === 0 && !world.isUntouched()) return { answer: 'written' };
      const beganMs = world.nowMs();
      const length = Math.min(IMAGE_DIGEST_PIECE_BYTES, sizeBytes - offset);
      const piece = world.next();
      if (piece.length < length) return { answer: 'written' };
      hash.update(piece);
      world.done(offset + length);
      owedMs += (world.nowMs() - beganMs) * IMAGE_DIGEST_REST_RATIO;
      if (owedMs < IMAGE_DIGEST_REST_MS_MIN) continue;
      world.rest(owedMs);
      owedMs = 0;
    }
    return world.isUntouched() ? { answer: 'digest', digest: hash.digest('hex') } : { answer: 'written' };
  } catch (error) {
    return { answer: 'failed', because: messageOf(error) };
  }
}
