import { execFileSync } from 'node:child_process';
import { anyOf, without } from './programs.js';

/** Runs a program that reads or makes disk images and answers what it printed. Throws with its stderr if it fails. */
export function runDiskProgram(program: string, args: readonly string[], input: string | Uint8Array = ''): string {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  // Without C.UTF-8 sgdisk and mtools take no name outside ASCII.
  const env = { PATH: path, LC_ALL: 'C.UTF-8', MTOOLS_SKIP_CHECK: '1', TZ: 'UTC' };
  return execFileSync(program, [...args], { input, env, encoding: 'utf8', stdio: 'pipe', maxBuffer: 64 * 1024 * 1024 });
}

export function withoutFatPrograms(): string | false {
  return anyOf(without('mkfs.vfat', 'dosfstools'), without('fsck.vfat', 'dosfstools'), without('mcopy', 'mtools'));
}
