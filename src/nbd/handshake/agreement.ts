import { EXTENDED_REPLIES, type ReplyForm, SIMPLE_REPLIES, STRUCTURED_REPLIES } from '../session/reply-form.js';
import { COMPACT_REQUESTS, EXTENDED_REQUESTS, type RequestCodec } from '../wire/transmission-wire.js';

/**
 * What a client has negotiated for the transmission to come, as one value: there is one place to forget it in, which
 * STARTTLS must (proto.md, `NBD_OPT_STARTTLS`; what was agreed in the clear may have been forged, CVE-2021-3716).
 */
export interface Agreement {
  /** `extended`: requests have the long header too. */
  readonly replies: 'simple' | 'structured' | 'extended';
  /** The export for which `base:allocation` was selected last, if it was. */
  readonly allocationOf: string | undefined;
}

export const NOTHING_AGREED: Agreement = { replies: 'simple', allocationOf: undefined };

/** What the transmission goes by. */
export interface Terms extends ToldTerms {
  readonly form: ReplyForm;
  readonly requests: RequestCodec;
}

/** The same as words: for another process. */
export interface ToldTerms {
  readonly replies: Agreement['replies'];
  /** Whether BLOCK_STATUS may be asked. */
  readonly tellsAllocation: boolean;
}

/** A context that was selected for another export counts for nothing (proto.md, `NBD_OPT_SET_META_CONTEXT`). */
export function termsOf({ replies, allocationOf }: Agreement, exportName: string): Terms {
  return termsAsTold({ replies, tellsAllocation: allocationOf === exportName });
}

export function termsAsTold({ replies, tellsAllocation }: ToldTerms): Terms {
  const requests = replies === 'extended' ? EXTENDED_REQUESTS : COMPACT_REQUESTS;
  return { replies, form: FORMS[replies], requests, tellsAllocation };
}

const FORMS = { simple: SIMPLE_REPLIES, structured: STRUCTURED_REPLIES, extended: EXTENDED_REPLIES } as const;
