import { type ReplyForm, SIMPLE_REPLIES, STRUCTURED_REPLIES } from './reply-form.js';

/**
 * What a client has negotiated for the transmission to come, as one value: there is one place to forget it in, which
 * STARTTLS must (proto.md, `NBD_OPT_STARTTLS`; what was agreed in the clear may have been forged, CVE-2021-3716).
 */
export interface Agreement {
  readonly replies: 'simple' | 'structured';
  /** The export for which `base:allocation` was selected last, if it was. */
  readonly allocationOf: string | undefined;
}

export const NOTHING_AGREED: Agreement = { replies: 'simple', allocationOf: undefined };

/** What the transmission goes by. */
export interface Terms {
  readonly form: ReplyForm;
  /** Whether BLOCK_STATUS may be asked. */
  readonly tellsAllocation: boolean;
}

/** A context that was selected for another export counts for nothing (proto.md, `NBD_OPT_SET_META_CONTEXT`). */
export function termsOf({ replies, allocationOf }: Agreement, exportName: string): Terms {
  const form = replies === 'simple' ? SIMPLE_REPLIES : STRUCTURED_REPLIES;
  return { form, tellsAllocation: allocationOf === exportName };
}
