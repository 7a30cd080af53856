/** What a packet is (RFC 1350 section 5; OACK: RFC 2347). */
export const Opcode = { RRQ: 1, WRQ: 2, DATA: 3, ACK: 4, ERROR: 5, OACK: 6 } as const;

/** Why a transfer is refused or over (RFC 1350, appendix; 8: RFC 2347). */
export const ErrorCode = {
  NotDefined: 0,
  FileNotFound: 1,
  AccessViolation: 2,
  DiskFull: 3,
  IllegalOperation: 4,
  UnknownTransferId: 5,
  FileExists: 6,
  NoSuchUser: 7,
  OptionRefused: 8,
} as const;

/** Option names as we write them; a peer may write them in any case. */
export const OptionName = {
  /** RFC 2348. */
  BlockSize: 'blksize',
  /** RFC 2349. */
  Timeout: 'timeout',
  /** RFC 2349. */
  TransferSize: 'tsize',
  /** RFC 7440. */
  WindowSize: 'windowsize',
  /** tftp-hpa's own: as timeout, in microseconds (tftpd.8). */
  UTimeout: 'utimeout',
} as const;

/** The modes of RFC 1350 that are still in use; "mail" is obsolete. */
export const Mode = { Octet: 'octet', Netascii: 'netascii' } as const;

/** Bytes in a full block where blksize was not negotiated (RFC 1350 section 2). */
export const BLOCK_BYTES_DEFAULT = 512;
/** RFC 2348: 8 to 65464. */
export const BLOCK_BYTES_MIN = 8;
/** RFC 2348: 8 to 65464, what fits a UDP datagram with an IP header that has options. */
export const BLOCK_BYTES_MAX = 65464;
/** RFC 2349: 1 to 255 seconds. */
export const TIMEOUT_SECONDS_MAX = 255;
/** What tftp-hpa's server takes: 10 ms to 255 s. */
export const UTIMEOUT_MICROSECONDS_MIN = 10_000;
export const UTIMEOUT_MICROSECONDS_MAX = 255_000_000;

/** Opcode and block number, in front of the bytes of a DATA packet (RFC 1350 section 5). */
export const DATA_HEADER_BYTES = 4;
/** Block numbers are 16 bits wide; after 65535 comes 0. */
export const BLOCK_NUMBERS = 0x1_0000;
