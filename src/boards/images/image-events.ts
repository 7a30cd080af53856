import type { Whereabouts } from './image-file.js';

/** What happens to an image that overlays lie on, told once; `image` is its name in the inventory. */
export type ImageEvent = { readonly image: string; readonly file: string } & (
  | { readonly kind: 'pinned'; readonly id: string }
  /** Reading all of it begins: for the first time, or to compare it. */
  | { readonly kind: 'reading'; readonly isCompared: boolean; readonly sizeBytes: number }
  | { readonly kind: 'digested'; readonly id: string; readonly digest: string }
  /** It was compared and is what it was; boards that waited are let in. */
  | { readonly kind: 'verified'; readonly id: string; readonly digest: string }
  /** Somebody has touched or written it while it is open; unless its size tells, it is read now. */
  | { readonly kind: 'touched' }
  /** These boards' overlays lie over what it was. Those of them that run read something else now, if it was written while it is open. */
  | { readonly kind: 'changed'; readonly boards: readonly string[]; readonly problem: string; readonly remedy: string }
  | { readonly kind: 'unreadable'; readonly because: string }
  /** Another file, or none, lies there now: boards go on with the one that is open, until the server is restarted. */
  | { readonly kind: 'moved'; readonly whereabouts: Whereabouts; readonly boards: readonly string[] }
  /** What was learned of it could not be written down: it is tried again, and learned again after a restart. */
  | { readonly kind: 'unwritten'; readonly because: string }
);
