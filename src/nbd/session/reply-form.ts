import type { Extent } from '../../block/block-device.js';
import {
  type ChunkBody,
  chunkType,
  DATA_OFFSET_BYTES,
  type Descriptor,
  EXTENDED_HEAD_BYTES,
  encodeChunkBody,
  encodeExtendedHead,
  encodeStructuredHead,
  STRUCTURED_HEAD_BYTES,
} from '../wire/chunk-wire.js';
import { AllocationState, Command, Errno, type ErrnoName, ReplyFlag, ReplyType } from '../wire/constants.js';
import { ALLOCATION } from '../wire/meta-contexts.js';
import { encodeSimpleReply, type NbdRequest, SIMPLE_REPLY_BYTES } from '../wire/transmission-wire.js';

/** Why a request failed, for the wire. */
export interface Failure {
  readonly errno: ErrnoName;
  /** For people; simple replies have no place for it. */
  readonly sentence: string;
  /** Of a READ, where: what was sent of the bytes before is good. */
  readonly at?: number;
}

/** What replies look like on a connection, as its client negotiated it. */
export interface ReplyForm {
  /** Of the header in front of a READ's data, in the same buffer. */
  readonly dataHeadBytes: number;
  /** Whether a READ may be answered in several parts, in any order, and fail in the middle. */
  readonly inChunks: boolean;
  /** In front of the data that fills the rest of `target` and lies at `offset` of the disk. */
  encodeDataHead(request: NbdRequest, offset: number, isLast: boolean, target: Uint8Array): void;
  /** Bytes that read as zeroes. Only where replies come in chunks. */
  encodeHole(request: NbdRequest, offset: number, lengthBytes: number, isLast: boolean): Uint8Array;
  /** What lies where, from the request's offset on. Only where replies come in chunks. */
  encodeAllocation(request: NbdRequest, extents: readonly Extent[]): Uint8Array;
  /** A success without data. */
  encodeDone(request: NbdRequest): Uint8Array;
  encodeFailure(request: NbdRequest, failure: Failure): Uint8Array;
}

/** What Linux speaks, and nothing else: the fast path. */
export const SIMPLE_REPLIES: ReplyForm = {
  dataHeadBytes: SIMPLE_REPLY_BYTES,
  inChunks: false,
  encodeDataHead: ({ cookie }, _offset, _isLast, target) => encodeSimpleReply({ error: 0, cookie }, target),
  encodeHole: () => {
    throw new Error('a simple reply has no holes');
  },
  encodeAllocation: () => {
    throw new Error('a simple reply has no extents');
  },
  encodeDone: (request) => simpleReply(request, 0),
  encodeFailure: (request, { errno }) => simpleReply(request, Errno[errno]),
};

interface ChunkHeads {
  readonly bytes: number;
  readonly statusKind: 'blockStatus' | 'blockStatusExtended';
  /** `lengthBytes` is that of what follows it. */
  encode(request: NbdRequest, flags: number, type: number, lengthBytes: number, target: Uint8Array): void;
}

const STRUCTURED_HEADS: ChunkHeads = {
  bytes: STRUCTURED_HEAD_BYTES,
  statusKind: 'blockStatus',
  encode: ({ cookie }, flags, type, lengthBytes, target) =>
    encodeStructuredHead({ flags, type, cookie, lengthBytes }, target),
};

const EXTENDED_HEADS: ChunkHeads = {
  bytes: EXTENDED_HEAD_BYTES,
  statusKind: 'blockStatusExtended',
  encode: ({ cookie, offset }, flags, type, lengthBytes, target) =>
    encodeExtendedHead({ flags, type, cookie, offset, lengthBytes }, target),
};

/** Chunks for everything, in heads of one length (extension-ext-header branch of proto.md). */
export const EXTENDED_REPLIES: ReplyForm = repliesInChunks(EXTENDED_HEADS);

/** Chunks for READ, which must have them, and for errors, so that they can be told in words; for the rest the simple reply, which is shorter. */
export const STRUCTURED_REPLIES: ReplyForm = {
  ...repliesInChunks(STRUCTURED_HEADS),
  encodeDone: (request) =>
    request.command === Command.Read ? chunk(STRUCTURED_HEADS, request, { kind: 'none' }) : simpleReply(request, 0),
};

function repliesInChunks(heads: ChunkHeads): ReplyForm {
  const dataHeadBytes = heads.bytes + DATA_OFFSET_BYTES;
  return {
    dataHeadBytes,
    inChunks: true,
    encodeDataHead(request, offset, isLast, target) {
      heads.encode(request, isLast ? ReplyFlag.Done : 0, ReplyType.OffsetData, target.length - heads.bytes, target);
      new DataView(target.buffer, target.byteOffset).setBigUint64(heads.bytes, BigInt(offset));
    },
    encodeHole: (request, offset, lengthBytes, isLast) =>
      chunk(heads, request, { kind: 'hole', offset: BigInt(offset), lengthBytes }, isLast),
    encodeAllocation: (request, extents) =>
      chunk(heads, request, { kind: heads.statusKind, contextId: ALLOCATION.id, extents: extents.map(descriptor) }),
    encodeDone: (request) => chunk(heads, request, { kind: 'none' }),
    encodeFailure(request, { errno, sentence, at }) {
      const told = { error: Errno[errno], sentence };
      return chunk(
        heads,
        request,
        at === undefined ? { kind: 'error', ...told } : { kind: 'errorAt', ...told, offset: BigInt(at) },
      );
    },
  };
}

function chunk(
  heads: ChunkHeads,
  request: NbdRequest,
  body: Exclude<ChunkBody, { readonly kind: 'unknown' }>,
  isLast = true,
): Uint8Array {
  const bytes = encodeChunkBody(body);
  const whole = new Uint8Array(heads.bytes + bytes.length);
  heads.encode(request, isLast ? ReplyFlag.Done : 0, chunkType(body), bytes.length, whole);
  whole.set(bytes, heads.bytes);
  return whole;
}

function descriptor({ lengthBytes, kind }: Extent): Descriptor {
  return { lengthBytes, flags: STATES[kind] };
}

/** What takes no space reads as zeroes, on every device that we have. */
const STATES: Readonly<Record<Extent['kind'], number>> = {
  data: 0,
  zero: AllocationState.Zero,
  hole: AllocationState.Hole | AllocationState.Zero,
};

function simpleReply({ cookie }: NbdRequest, error: number): Uint8Array {
  const reply = Buffer.allocUnsafe(SIMPLE_REPLY_BYTES);
  encodeSimpleReply({ error, cookie }, reply);
  return reply;
}
