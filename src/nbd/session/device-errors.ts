import { BlockError } from '../../block/block-error.js';
import { GivenUp } from '../../block/space-queue.js';
import type { ErrnoName } from '../wire/constants.js';
import type { SessionWorld } from './session-world.js';
import { errnoOf } from './transmission.js';

/**
 * What an action on the device failed with, as the wire calls it. A failure that no device should have is logged with its
 * stack. It is answered EIO: closing would take the board's root disk away. Rejects with GivenUp and nothing else.
 *
 * `mayLack`: the client asks whether the device can do it, so that ENOTSUP is an answer and no failure.
 */
export async function attempt(
  { board, log }: Pick<SessionWorld, 'board' | 'log'>,
  action: () => Promise<void>,
  mayLack = false,
): Promise<ErrnoName | undefined> {
  try {
    await action();
    return undefined;
  } catch (error) {
    if (error instanceof BlockError) {
      if (mayLack && error.code === 'ENOTSUP') return 'ENOTSUP';
      log.warn({ board, code: error.code, ...error.facts }, 'nbd.request.failed');
      return errnoOf(error.code);
    }
    if (error instanceof GivenUp) throw error;
    log.error({ board, err: error }, 'nbd.request.bug');
    return 'EIO';
  }
}
