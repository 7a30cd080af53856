/**
 * Datagrams with an open descriptor in them (unix(7), SCM_RIGHTS): who receives one has what it means open, too, under a number of its
 * own. struct msghdr and struct cmsghdr are those of 64-bit Linux, the same on x86-64 and arm64.
 */
import { libcFunction, libcStruct } from './libc.js';
import { intBytes, SOL_SOCKET } from './socket-calls.js';

export interface OutgoingMessage {
  /** As `unixAddress` makes it. */
  readonly address: Uint8Array;
  readonly bytes: Uint8Array;
  /** Stays open here. */
  readonly descriptor: number | undefined;
}

/** Whether it was taken; where not, `hasFailedBy` knows why. `flags`: those of sendmsg(2). */
export function sendMessage(socket: number, message: OutgoingMessage, flags: number): boolean {
  const { address, bytes, descriptor } = message;
  const control = descriptor === undefined ? null : encodeRights(descriptor);
  const header = {
    ...{ name: address, nameLength: address.length },
    ...{ pieces: { base: bytes, length: bytes.length }, pieceCount: 1 },
    ...{ control, controlLength: control?.length ?? 0, flags: 0 },
  };
  return sendmsg.attempt(socket, header, flags) !== undefined;
}

/**
 * struct cmsghdr (cmsg(3)) with one descriptor. Its length is that without the padding:
 *
 *   length (8) | level (4) | type (4) | descriptor (4) | padding (4)
 */
function encodeRights(descriptor: number): Uint8Array {
  const bytes = Buffer.alloc(24);
  bytes.writeBigUInt64LE(20n, 0);
  bytes.set(intBytes(SOL_SOCKET), 8);
  bytes.set(intBytes(SCM_RIGHTS), 12);
  bytes.set(intBytes(descriptor), 16);
  return bytes;
}

libcStruct('iovec', { base: 'const void *', length: 'size_t' });
libcStruct('msghdr', {
  ...{ name: 'const void *', nameLength: 'uint32_t' },
  ...{ pieces: 'const iovec *', pieceCount: 'size_t' },
  ...{ control: 'const void *', controlLength: 'size_t', flags: 'int' },
});
const sendmsg = libcFunction('sendmsg', 'int64_t sendmsg(int fd, const msghdr *message, int flags)');

/** bits/socket.h. */
export const SCM_RIGHTS = 1;
