import { libcFunction } from './libc.js';

const dup3 = libcFunction('dup3', 'int dup3(int from, int to, int flags)');

/** Linux, the same on x86-64 and arm64 (asm-generic/fcntl.h). */
const O_CLOEXEC = 0o2000000;

/**
 * Makes `descriptor` mean the open file that `source` means, in one step: a call that began before ends on the file it began
 * on, the next one is on the new. May wait (NFS writes back when a file is closed): a worker thread does it.
 */
export async function replaceDescriptor(descriptor: number, source: number): Promise<void> {
  await dup3.later(source, descriptor, O_CLOEXEC);
}
