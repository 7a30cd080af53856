import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { libcFunction, SystemCallError } from './libc.js';

/**
 * Open file description locks (fcntl(2), "Open file description locks"): they belong to the open file, not to the process,
 * so that a second opening in this very process conflicts too, and closing some other descriptor of the file frees nothing.
 */
const fcntl = libcFunction('fcntl', 'int fcntl(int fd, int command, ...)');

const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/**
 * struct flock on 64-bit Linux: type and whence (16 bits each), padding, start and length (64 bits; length 0 = to the end,
 * however far), pid (0 is demanded for OFD locks).
 */
function wholeFile(type: number): Uint8Array {
  const flock = new Uint8Array(32);
  new DataView(flock.buffer).setInt16(0, type, true);
  return flock;
}

/** True if the lock was taken; it lasts until the descriptor is closed. */
export function lockFile(descriptor: number, kind: 'exclusive' | 'shared'): boolean {
  try {
    fcntl.now(descriptor, F_OFD_SETLK, 'void *', wholeFile(kind === 'exclusive' ? F_WRLCK : F_RDLCK));
    return true;
  } catch (error) {
    if (error instanceof SystemCallError && (error.code === 'EAGAIN' || error.code === 'EACCES')) return false;
    throw error;
  }
}

/**
 * Passes a lock on to another descriptor of the same file. An exclusive one can't be held twice, so it is shared between the
 * two for a moment: nobody else can have it exclusively at any time. False if somebody took a shared one in that moment; `from`
 * then has a shared one too, and it may be tried again.
 */
export function passLock(from: number, to: number, kind: 'exclusive' | 'shared'): boolean {
  const isShared = lockFile(from, 'shared') && lockFile(to, 'shared');
  if (!isShared || kind === 'shared') return isShared;
  fcntl.now(from, F_OFD_SETLK, 'void *', wholeFile(F_UNLCK));
  if (lockFile(to, 'exclusive')) return true;
  lockFile(from, 'shared');
  return false;
}

/**
 * The loop device that has this file, as "/dev/loop3": what is mounted from it is written behind our back, and the kernel takes no lock
 * for that. Undefined if there is none.
 */
export function loopDeviceOf(path: string): string | undefined {
  const real = realpathSync(path);
  return entries('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .filter((name) => text(`/sys/block/${name}/loop/backing_file`).trim() === real)
    .map((name) => `/dev/${name}`)[0];
}

/**
 * Who has a lock on the file, for a message: "qemu-nbd (pid 4711)". The kernel does not tell for OFD locks (l_pid is −1), so
 * /proc is searched for a descriptor of this file that carries one; undefined if none is to be seen (another container).
 */
export function lockHolder(path: string): string | undefined {
  const { dev, ino } = statSync(path);
  for (const pid of entries('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of entries(`/proc/${pid}/fd`)) {
      if (
        isFile(`/proc/${pid}/fd/${descriptor}`, dev, ino) &&
        text(`/proc/${pid}/fdinfo/${descriptor}`).includes('\nlock:')
      ) {
        return `${text(`/proc/${pid}/comm`).trim()} (pid ${pid})`;
      }
    }
  }
  return undefined;
}

// Processes come and go while /proc is read, and not all of it is ours to see: what can't be read is not there.
function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isFile(path: string, dev: number, ino: number): boolean {
  try {
    const status = statSync(path);
    return status.dev === dev && status.ino === ino;
  } catch {
    return false;
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
