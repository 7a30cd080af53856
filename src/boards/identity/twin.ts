import { createHash } from 'node:crypto';
import type { Serial } from '../../base/serial.js';

/** By what a board is told from others that run the same image, as systemd takes it from the kernel's command line. */
export interface TwinIdentity {
  /** A board's name is always a sound one: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`. */
  readonly hostname: string;
  /** 32 hex digits, as in /etc/machine-id. */
  readonly machineId: string;
}

/** Undefined for a direct disk: its image is one board's alone, and says itself what that is called. */
export function twinIdentity(board: {
  readonly name: string;
  readonly serial: Serial;
  readonly disk: 'direct' | 'overlay' | 'volatile';
}): TwinIdentity | undefined {
  return board.disk === 'direct' ? undefined : { hostname: board.name, machineId: machineIdOf(board.serial) };
}

/** Never to be changed: leases, journals and licences of boards hang on what comes of it. */
const APPLICATION = 'brambleboot machine-id 1\n';

/**
 * The same for ever for a serial, whatever the board is called and whichever image it runs. machine-id(5): 128 bits, not all
 * zero; of late always a UUID of variant 1 and version 4 too, which the bits set here make of it.
 */
export function machineIdOf(serial: Serial): string {
  const id = createHash('sha256').update(APPLICATION).update(serial).digest().subarray(0, 16);
  id.writeUInt8((id.readUInt8(6) & 0x0f) | 0x40, 6);
  id.writeUInt8((id.readUInt8(8) & 0x3f) | 0x80, 8);
  return id.toString('hex');
}
