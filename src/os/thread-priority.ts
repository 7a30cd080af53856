import { libcFunction } from './libc.js';

const setpriority = libcFunction('setpriority', 'int setpriority(int which, uint32_t who, int priority)');

const PRIO_PROCESS = 0;
/** To Linux a "process" is a thread here (setpriority(2), "C library/kernel differences"), and 0 the one that calls. */
const THIS_THREAD = 0;
const LAST = 19;

/**
 * From now on this thread has the processor when nobody else wants it, and the disk too where its scheduler goes by that (BFQ does).
 * For a thread that is nobody's turn to wait for: there is no way back without CAP_SYS_NICE.
 */
export function standBack(): void {
  setpriority.attempt(PRIO_PROCESS, THIS_THREAD, LAST);
}
