import { libcFunction } from './libc.js';

/**
 * libuv's threads, which do whatever waits for a disk. How many there are is fixed before the first line of a program is run, by
 * the environment (Node reads the program itself through them): so who was started without asks the kernel to start it once more,
 * in the same process, with all that it was given.
 */
const POOL_VARIABLE = 'UV_THREADPOOL_SIZE';

/**
 * Does not return where that can be done. `flags` are for Node itself, before those that it was started with. A number of threads that
 * somebody has set is not touched, and a channel to a parent that is Node would not survive.
 */
export function startWithThreads(count: number, flags: readonly string[]): void {
  const { env, argv, execArgv, execPath, channel } = process;
  if (env[POOL_VARIABLE] !== undefined || channel !== undefined) return;
  // Node closes on exec whatever it was given: standard streams, and the sockets of a service manager.
  const sockets = /^\d{1,4}$/.test(env['LISTEN_FDS'] ?? '') ? Number(env['LISTEN_FDS']) : 0;
  for (let descriptor = 0; descriptor < STANDARD_STREAMS + sockets; descriptor += 1) {
    fcntl.attempt(descriptor, F_SETFD, 0);
  }
  const environment = Object.entries({ ...env, [POOL_VARIABLE]: String(count) });
  const words = [execPath, ...flags, ...execArgv, ...argv.slice(1)];
  execve.attempt(execPath, [...words, null], [...environment.map(([name, value]) => `${name}=${value}`), null]);
}

const execve = libcFunction('execve', 'int execve(const char *path, const char **argv, const char **envp)');
const fcntl = libcFunction('fcntl', 'int fcntl(int fd, int command, int value)');
const F_SETFD = 2;
const STANDARD_STREAMS = 3;
