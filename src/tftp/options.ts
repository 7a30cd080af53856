/**
 * What a client asked for, and what it gets (RFC 2347, 2348, 2349, 7440). Pure.
 *
 * An option that is unknown, or whose value makes no sense, is left out of the OACK, which is how RFC 2347 says no. It is
 * never an error: a board that is refused falls silent, a board that is answered without an option works without it.
 */
import { TFTP_RESEND_MS, TFTP_WINDOW_BLOCKS_MAX, TFTP_WINDOW_BYTES_MAX } from '../base/limits.js';
import {
  BLOCK_BYTES_DEFAULT,
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  Mode,
  OptionName,
  TIMEOUT_SECONDS_MAX,
  UTIMEOUT_MICROSECONDS_MAX,
  UTIMEOUT_MICROSECONDS_MIN,
} from './constants.js';
import type { TftpOptions } from './wire.js';

/** What the inventory's `tftp` section allows. */
export interface TransferLimits {
  /** `tftp.block_size_max`. 1468 fills an Ethernet frame; more means IP fragments. */
  readonly blockBytesMax: number;
  /** `tftp.window_size_max`. */
  readonly windowBlocksMax: number;
}

/** How a transfer is to run. */
export interface Agreement {
  /** Payload of a full block. */
  readonly blockBytes: number;
  /** Blocks under way before an ACK must come; 1 is RFC 1350's lock-step. */
  readonly windowBlocks: number;
  /** First wait before a packet is sent again. */
  readonly resendMs: number;
  /** What the OACK says, in the order asked. Empty: no OACK, the transfer begins with DATA 1. */
  readonly acknowledged: TftpOptions;
}

/** `sizeBytes` is the file's true size; in netascii its size on the wire is not known before its end, so tsize is left out. */
export function negotiate(asked: TftpOptions, mode: string, sizeBytes: number, limits: TransferLimits): Agreement {
  const acknowledged = new Map<string, string>();
  let blockBytes = BLOCK_BYTES_DEFAULT;
  let windowBlocks = 1;
  let resendMs: number | undefined;
  const blockBytesMax = Math.min(limits.blockBytesMax, BLOCK_BYTES_MAX);

  for (const [name, text] of asked) {
    const value = wholeNumber(text);
    if (value === undefined) continue;
    switch (name) {
      case OptionName.BlockSize:
        if (value < BLOCK_BYTES_MIN) continue;
        blockBytes = Math.min(value, blockBytesMax);
        acknowledged.set(name, String(blockBytes));
        break;
      case OptionName.WindowSize:
        if (value < 1) continue;
        windowBlocks = Math.min(value, limits.windowBlocksMax, TFTP_WINDOW_BLOCKS_MAX);
        acknowledged.set(name, String(windowBlocks));
        break;
      case OptionName.TransferSize:
        // Only "0" is right in an RRQ; whatever number was asked, the answer is the truth.
        if (mode !== Mode.Octet) continue;
        acknowledged.set(name, String(sizeBytes));
        break;
      case OptionName.Timeout:
      case OptionName.UTimeout:
        // There is one wait, so of the two names for it the first sound one counts.
        if (resendMs !== undefined || !isWait(name, value)) continue;
        resendMs = name === OptionName.Timeout ? value * 1_000 : value / 1_000;
        acknowledged.set(name, String(value));
        break;
    }
  }

  const windowFitting = Math.max(1, Math.floor(TFTP_WINDOW_BYTES_MAX / blockBytes));
  if (windowBlocks > windowFitting) {
    windowBlocks = windowFitting;
    acknowledged.set(OptionName.WindowSize, String(windowBlocks));
  }
  return { blockBytes, windowBlocks, resendMs: resendMs ?? TFTP_RESEND_MS, acknowledged };
}

/** RFC 2349 and tftp-hpa's range: the value is acknowledged as it is or not at all. */
function isWait(name: string, value: number): boolean {
  return name === OptionName.Timeout
    ? value >= 1 && value <= TIMEOUT_SECONDS_MAX
    : value >= UTIMEOUT_MICROSECONDS_MIN && value <= UTIMEOUT_MICROSECONDS_MAX;
}

/** Decimal digits and nothing else: not " 8", "0x8", "-1", "1e9". Ten digits hold every number that an option can mean. */
function wholeNumber(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
