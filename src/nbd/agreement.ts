import { type ReplyForm, SIMPLE_REPLIES, STRUCTURED_REPLIES } from './reply-form.js';

/**
 * What a client has negotiated for the transmission to come, as one value: there is one place to forget it in, which
 * STARTTLS must (proto.md, `NBD_OPT_STARTTLS`; what was agreed in the clear may have been forged, CVE-2021-3716).
 */
export interface Agreement {
  readonly replies: 'simple' | 'structured';
}

export const NOTHING_AGREED: Agreement = { replies: 'simple' };

/** What the transmission goes by. */
export interface Terms {
  readonly form: ReplyForm;
}

export function termsOf({ replies }: Agreement): Terms {
  return { form: replies === 'simple' ? SIMPLE_REPLIES : STRUCTURED_REPLIES };
}
