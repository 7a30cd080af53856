import { pino } from 'pino';
import type { Clock } from '../base/clock.js';
import { LOG_BUFFER_BYTES_MAX } from '../base/limits.js';
import type { Log } from '../base/log.js';
import { limitedLog } from '../base/log-limit.js';

/** The log on stdout, one JSON object a line. Neither a reader that went or stalled nor a full disk may keep the server from serving. */
export function serverLog(level: string, clock: Clock): Log {
  // What can't be written in time is dropped, not kept without bound; an error of the destination is nobody's to handle.
  const destination = pino.destination({ dest: 1, sync: false, maxLength: LOG_BUFFER_BYTES_MAX });
  destination.on('error', () => {});
  const serializers = { err: pino.stdSerializers.err, error: errorText };
  const log = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, serializers }, destination);
  return limitedLog(log, clock);
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
