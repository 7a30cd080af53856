import type { Whereabouts } from './image-file.js';
import type { Refusal } from './image-sentences.js';
import type { Pin } from './pin.js';

/** Whether a board's overlay may be used that lies over some version. */
export type OverlayVerdict =
  | { readonly answer: 'same' }
  /** It is being found out: later. */
  | ({ readonly answer: 'verifying'; readonly doneBytes: number; readonly ofBytes: number } & Refusal)
  | ({ readonly answer: 'refused' } & Refusal);

/** Which version a fresh overlay lies over. */
export type BaseVerdict =
  | { readonly answer: 'version'; readonly id: string }
  | Exclude<OverlayVerdict, { answer: 'same' }>;

export interface ImageStatus {
  readonly image: string;
  readonly file: string;
  readonly version: Pin;
  readonly whereabouts: Whereabouts;
  readonly state:
    | { readonly at: 'known' }
    | { readonly at: 'reading'; readonly isCompared: boolean; readonly doneBytes: number }
    | { readonly at: 'unread'; readonly because: string }
    | { readonly at: 'written' };
}
