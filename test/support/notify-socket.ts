import { closeSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { libcFunction } from '../../src/os/libc.js';
import { AF_UNIX, bind, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket } from '../../src/os/socket-calls.js';
import { unixAddress } from '../../src/os/unix-socket.js';
import { whenOver } from './cleanup.js';

const recv = libcFunction('recv', 'int64_t recv(int fd, void *buffer, size_t length, int flags)');

/** A service manager's end of NOTIFY_SOCKET: a path, or `@name`. */
export interface NotifySocket {
  /** All that was said so far, a datagram each; looks anew. */
  said(): readonly string[];
}

export function notifySocket(context: TestContext, path: string): NotifySocket {
  const descriptor = socket.now(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  whenOver(context, () => closeSync(descriptor));
  const address = unixAddress(path);
  bind.now(descriptor, address, address.length);
  const said: string[] = [];
  const buffer = Buffer.alloc(64 * 1024);
  return {
    said() {
      for (;;) {
        const length = recv.attempt(descriptor, buffer, buffer.length, 0);
        if (length === undefined) return said;
        said.push(buffer.toString('utf8', 0, length));
      }
    },
  };
}
