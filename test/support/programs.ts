import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

/**
 * For `test(name, { skip: without('curl', 'curl') }, …)`: false if the program is here, else why the test is skipped and
 * which Debian package has it. CI installs them all and counts a skip as a failure.
 */
export function without(program: string, debianPackage: string): string | false {
  return findProgram(program) === undefined ? `needs ${program} (Debian package ${debianPackage})` : false;
}

/** The distribution's Python has the module; another one that comes first in PATH has not. */
export function withoutPythonLibnbd(): string | false {
  const found = existsSync('/usr/bin/python3') && existsSync('/usr/lib/python3/dist-packages/nbd.py');
  return found ? false : 'needs the Python module nbd (Debian package python3-libnbd)';
}

/** For tests that make network namespaces or bind low ports. */
export function withoutRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'needs root';
}

/** For what needs a device node that not everybody may open. */
export function withoutAccess(path: string): string | false {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return false;
  } catch {
    return `needs read and write access to ${path}`;
  }
}

/** The first reason to skip among several. */
export function anyOf(...reasons: readonly (string | false)[]): string | false {
  return reasons.find((reason) => reason !== false) ?? false;
}

function findProgram(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
