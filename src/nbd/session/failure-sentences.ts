import type { ErrnoName } from '../wire/constants.js';
import type { RefusalReason } from './transmission.js';

/** What goes with an error to clients that take words. What exactly failed is in the server's log: clients learn no paths. */

export function refusalSentence(because: RefusalReason): string {
  return REFUSALS[because];
}

export function failureSentence(errno: ErrnoName): string {
  return FAILURES[errno];
}

const REFUSALS: Readonly<Record<RefusalReason, string>> = {
  unknownCommand: 'This server does not know the command, or it was not negotiated.',
  unknownFlags: 'A flag of the request does not belong to its command, or was not negotiated.',
  noPayload: 'With extended headers a WRITE says PAYLOAD_LEN.',
  noContext: 'No metadata context was selected for this export (SET_META_CONTEXT).',
  nothingAsked: 'A BLOCK_STATUS of no bytes has no answer.',
  reservedFields: 'Offset and length of a FLUSH must be 0.',
  beyondEnd: 'The range ends beyond the end of the disk.',
  tooLong: 'The request is longer than the maximum that the server tells (INFO_BLOCK_SIZE): cut it up.',
  tooLongForOneChunk: 'Too long to be sent in one chunk: ask for less, or without DF.',
};

const FAILURES: Readonly<Record<ErrnoName, string>> = {
  EPERM: 'The disk can only be read: the image is write-protected.',
  EIO: "The disk under the image failed: the server's log (nbd.request.failed) says how.",
  ENOMEM: 'The server has no memory for that.',
  EINVAL: 'The disk cannot do that.',
  ENOSPC: 'The filesystem under the image is full: make space on the server.',
  EOVERFLOW: 'Too long.',
  ENOTSUP: 'Not quicker than writing zeroes.',
  ESHUTDOWN: 'The server is stopping.',
};
