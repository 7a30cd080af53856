import { NBD_PAYLOAD_BYTES_MAX, NBD_UNFRAGMENTED_BYTES_MAX } from '../../base/limits.js';
import { unreachable } from '../../base/unreachable.js';
import type { BlockErrorCode } from '../../block/block-error.js';
import { Command, CommandFlag, type ErrnoName } from '../wire/constants.js';
import type { NbdRequest } from '../wire/transmission-wire.js';

/** What of an export, and of what its client negotiated, a request is judged by. */
export interface Serving {
  readonly sizeBytes: number;
  /** Whether replies come in chunks. */
  readonly inChunks: boolean;
  /** Whether WRITE must say PAYLOAD_LEN. */
  readonly flagsPayload: boolean;
  /** Whether `base:allocation` was selected for this export. */
  readonly tellsAllocation: boolean;
}

/** Why a request is not done. */
export interface Refusal {
  readonly errno: ErrnoName;
  readonly because: RefusalReason;
}

export type RefusalReason =
  | 'unknownCommand'
  | 'unknownFlags'
  | 'noPayload'
  | 'noContext'
  | 'nothingAsked'
  | 'reservedFields'
  | 'beyondEnd'
  | 'tooLong'
  | 'tooLongForOneChunk';

/** FUA goes with every command once SEND_FUA was told, even where it means nothing (proto.md, "Command flags"). */
const FLAGS_ALLOWED: ReadonlyMap<number, number> = new Map([
  [Command.Read, CommandFlag.Fua],
  [Command.Write, CommandFlag.Fua],
  [Command.Flush, CommandFlag.Fua],
  [Command.Trim, CommandFlag.Fua],
  [Command.WriteZeroes, CommandFlag.Fua | CommandFlag.NoHole | CommandFlag.FastZero],
  [Command.Cache, CommandFlag.Fua],
]);

/** The same where replies come in chunks. */
const FLAGS_ALLOWED_IN_CHUNKS: ReadonlyMap<number, number> = new Map([
  ...FLAGS_ALLOWED,
  [Command.Read, CommandFlag.Fua | CommandFlag.Df],
  [Command.BlockStatus, CommandFlag.Fua | CommandFlag.ReqOne],
]);

/** The same with extended headers. No command but WRITE takes a payload. */
const FLAGS_ALLOWED_EXTENDED: ReadonlyMap<number, number> = new Map([
  ...FLAGS_ALLOWED_IN_CHUNKS,
  [Command.Write, CommandFlag.Fua | CommandFlag.PayloadLen],
]);

const PAYLOAD_COMMANDS: ReadonlySet<number> = new Set([Command.Read, Command.Write]);
const WRITING_COMMANDS: ReadonlySet<number> = new Set([Command.Write, Command.WriteZeroes]);

/**
 * Why a request is not done, or undefined if it may be: the one place where requests are checked (proto.md, "Error values").
 * DISC is never refused: it has no reply.
 *
 * Lengths of 0 are unspecified there; here they do nothing and succeed, inside the export and at its very end. But of a
 * BLOCK_STATUS, whose reply must tell of a byte at least.
 */
export function refusal(request: NbdRequest, serving: Serving): Refusal | undefined {
  const { command, flags, offset, lengthBytes } = request;
  if (command === Command.Disc) return undefined;
  const allowed = flagsAllowed(serving).get(command);
  if (allowed === undefined) return { errno: 'EINVAL', because: 'unknownCommand' };
  if ((flags & ~allowed) !== 0) return { errno: 'EINVAL', because: 'unknownFlags' };
  if (command === Command.Write && serving.flagsPayload && (flags & CommandFlag.PayloadLen) === 0) {
    return { errno: 'EINVAL', because: 'noPayload' };
  }
  if (command === Command.BlockStatus) {
    if (!serving.tellsAllocation) return { errno: 'EINVAL', because: 'noContext' };
    if (lengthBytes === 0) return { errno: 'EINVAL', because: 'nothingAsked' };
  }
  // Reserved, and must be zero: one day they may mean something.
  if (command === Command.Flush) {
    return offset === 0n && lengthBytes === 0 ? undefined : { errno: 'EINVAL', because: 'reservedFields' };
  }
  // In BigInt: 2⁶⁴−1 plus a length wraps around in C and rounds in a double (CVE-2025-47711, CVE-2025-47712).
  if (offset + BigInt(lengthBytes) > BigInt(serving.sizeBytes)) {
    return { errno: WRITING_COMMANDS.has(command) ? 'ENOSPC' : 'EINVAL', because: 'beyondEnd' };
  }
  if (PAYLOAD_COMMANDS.has(command) && lengthBytes > NBD_PAYLOAD_BYTES_MAX) {
    return { errno: 'EINVAL', because: 'tooLong' };
  }
  if (mayNotFragment(request) && lengthBytes > NBD_UNFRAGMENTED_BYTES_MAX) {
    return { errno: 'EOVERFLOW', because: 'tooLongForOneChunk' };
  }
  return undefined;
}

function flagsAllowed({ inChunks, flagsPayload }: Serving): ReadonlyMap<number, number> {
  if (flagsPayload) return FLAGS_ALLOWED_EXTENDED;
  return inChunks ? FLAGS_ALLOWED_IN_CHUNKS : FLAGS_ALLOWED;
}

/** What a device's failure is called on the wire. Only what proto.md lists may be sent, and ENOTSUP only for FAST_ZERO (`attempt`). */
export function errnoOf(code: BlockErrorCode): ErrnoName {
  switch (code) {
    case 'ENOSPC':
    case 'EFBIG':
      return 'ENOSPC';
    case 'EROFS':
    case 'EPERM':
    case 'EACCES':
      return 'EPERM';
    // The request was checked before it went to the device: an EINVAL from down there is not the client's fault.
    case 'EINVAL':
    case 'EIO':
    case 'ENOENT':
    case 'EBUSY':
      return 'EIO';
    case 'ENOTSUP':
      return 'EINVAL';
    default:
      return unreachable(code);
  }
}

/** As metrics name commands. */
export type CommandName = 'read' | 'write' | 'flush' | 'trim' | 'cache' | 'write_zeroes' | 'block_status' | 'unknown';

const COMMAND_NAMES: ReadonlyMap<number, CommandName> = new Map<number, CommandName>([
  [Command.Read, 'read'],
  [Command.Write, 'write'],
  [Command.Flush, 'flush'],
  [Command.Trim, 'trim'],
  [Command.Cache, 'cache'],
  [Command.WriteZeroes, 'write_zeroes'],
  [Command.BlockStatus, 'block_status'],
]);

/** One name for all that is unknown: a label must not come from a packet. */
export function commandName(command: number): CommandName {
  return COMMAND_NAMES.get(command) ?? 'unknown';
}

/** The client of this READ wants its data in one chunk. */
export function mayNotFragment(request: NbdRequest): boolean {
  return (request.flags & CommandFlag.Df) !== 0;
}

/** The client of this BLOCK_STATUS wants one extent that does not go beyond what it asked for. */
export function wantsOneExtent(request: NbdRequest): boolean {
  return (request.flags & CommandFlag.ReqOne) !== 0;
}

export function isDurable(request: NbdRequest): boolean {
  return (request.flags & CommandFlag.Fua) !== 0;
}

/** Zeroes only if that is quicker than writing them. */
export function mustBeFast(request: NbdRequest): boolean {
  return (request.flags & CommandFlag.FastZero) !== 0;
}

export function keepsAllocated(request: NbdRequest): boolean {
  return (request.flags & CommandFlag.NoHole) !== 0;
}
