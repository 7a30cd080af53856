/** Every number of the NBD protocol that is spoken here, under its name in proto.md without the `NBD_…_` in front. */

/** Magic numbers (proto.md, "Newstyle negotiation", "Fixed newstyle negotiation", "Transmission"). */
export const Magic = {
  /** ASCII `NBDMAGIC`. */
  InitPasswd: 0x4e42_444d_4147_4943n,
  /** ASCII `IHAVEOPT`: of the greeting, and of each option. */
  IHaveOpt: 0x4948_4156_454f_5054n,
  OptionReply: 0x0003_e889_0455_65a9n,
  Request: 0x2560_9513,
  /** This and ExtendedReply: extension-ext-header branch of proto.md, "Transmission". */
  ExtendedRequest: 0x21e4_1c71,
  SimpleReply: 0x6744_6698,
  StructuredReply: 0x668e_33ef,
  ExtendedReply: 0x6e8a_278c,
} as const;

/** Offered by the server in its greeting, 16 bits (proto.md, "Handshake flags"). */
export const HandshakeFlag = { FixedNewstyle: 1 << 0, NoZeroes: 1 << 1 } as const;

/** The client's answer, 32 bits (proto.md, "Client flags"). */
export const ClientFlag = { FixedNewstyle: 1 << 0, NoZeroes: 1 << 1 } as const;

/** proto.md, "Option types". */
export const Option = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  StartTls: 5,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
  /** extension-ext-header branch. */
  ExtendedHeaders: 11,
} as const;

/** proto.md, "Option reply types". Errors have bit 31 set. */
export const OptionReply = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  ErrUnsup: 0x8000_0001,
  ErrPolicy: 0x8000_0002,
  ErrInvalid: 0x8000_0003,
  ErrPlatform: 0x8000_0004,
  ErrTlsReqd: 0x8000_0005,
  ErrUnknown: 0x8000_0006,
  ErrShutdown: 0x8000_0007,
  ErrBlockSizeReqd: 0x8000_0008,
  ErrTooBig: 0x8000_0009,
  /** extension-ext-header branch. */
  ErrExtHeaderReqd: 0x8000_000a,
} as const;

/** What INFO and GO may ask for and REP_INFO tells (proto.md, `NBD_REP_INFO`). */
export const Info = { Export: 0, Name: 1, Description: 2, BlockSize: 3 } as const;

/** What an export can do, 16 bits (proto.md, "Transmission flags"). */
export const TransmissionFlag = {
  HasFlags: 1 << 0,
  ReadOnly: 1 << 1,
  SendFlush: 1 << 2,
  SendFua: 1 << 3,
  Rotational: 1 << 4,
  SendTrim: 1 << 5,
  SendWriteZeroes: 1 << 6,
  SendDf: 1 << 7,
  CanMultiConn: 1 << 8,
  SendCache: 1 << 10,
  SendFastZero: 1 << 11,
} as const;

/** proto.md, "Structured reply flags". */
export const ReplyFlag = { Done: 1 << 0 } as const;

/** proto.md, "Structured reply types". Errors have bit 15 set. */
export const ReplyType = {
  None: 0,
  OffsetData: 1,
  OffsetHole: 2,
  BlockStatus: 5,
  /** extension-ext-header branch. */
  BlockStatusExt: 6,
  Error: 0x8001,
  ErrorOffset: 0x8002,
} as const;

/** proto.md, "Request types". */
export const Command = {
  Read: 0,
  Write: 1,
  Disc: 2,
  Flush: 3,
  Trim: 4,
  Cache: 5,
  WriteZeroes: 6,
  BlockStatus: 7,
} as const;

/** proto.md, "Command flags". */
export const CommandFlag = {
  Fua: 1 << 0,
  NoHole: 1 << 1,
  Df: 1 << 2,
  ReqOne: 1 << 3,
  FastZero: 1 << 4,
  /** extension-ext-header branch. */
  PayloadLen: 1 << 5,
} as const;

/** What is told of an extent (proto.md, "`base:allocation` metadata context"); data have neither. */
export const AllocationState = { Hole: 1 << 0, Zero: 1 << 1 } as const;

/** The only errors a reply may carry (proto.md, "Error values"). */
export const Errno = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type ErrnoName = keyof typeof Errno;

/** Zeroes that end the reply to EXPORT_NAME unless both sides said NO_ZEROES. */
export const EXPORT_NAME_ZEROES = 124;
