import { THREADS_FOR_DISKS, YOUNG_MEBIBYTES_MAX } from '../base/limits.js';
import { startWithThreads } from '../os/thread-pool.js';

/** For `serve`, which is also what runs when no command is named. All others end before a disk could hold them up. */
export function haveThreads([command]: readonly string[]): void {
  if (command === undefined || command === 'serve' || command.startsWith('-')) {
    startWithThreads(THREADS_FOR_DISKS, [`--max-semi-space-size=${YOUNG_MEBIBYTES_MAX}`]);
  }
}
