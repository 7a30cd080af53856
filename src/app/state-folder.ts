import { chmodSync, closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { lockFile, lockHolder } from '../os/file-lock.js';

/** The folder that one running server has for itself. */
export interface StateFolder {
  readonly path: string;
  release(): void;
}

/** Another server runs on this folder. */
export class StateFolderInUse extends Error {
  override readonly name = 'StateFolderInUse';
}

/** Makes the folder if need be (0700) and locks it. Throws StateFolderInUse, or what Node says of a folder that can't be made. */
export function takeStateFolder(path: string): StateFolder {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
  const file = join(path, 'lock');
  const descriptor = openSync(file, 'a', 0o600);
  if (!lockFile(descriptor, 'exclusive')) {
    closeSync(descriptor);
    throw new StateFolderInUse(
      `${path} is in use by ${lockHolder(file) ?? 'another server'}: is Brambleboot running already?`,
    );
  }
  return { path, release: () => closeSync(descriptor) };
}

/** The server that has this folder now, as `node (pid 812)`; undefined if there is none, or none that can be seen from here. */
export function runningServer(path: string): string | undefined {
  try {
    return lockHolder(join(path, 'lock'));
  } catch {
    return undefined; // there is no such folder yet, or it is another user's
  }
}

/** Where each board's boots are kept. */
export function bootsFolder(statePath: string): string {
  return join(statePath, 'boots');
}

/** Only our own user may ask there: what changes state will be asked there. */
export function closeToOthers(socketPath: string): void {
  chmodSync(socketPath, 0o600);
}

/** A socket that a killed server left behind; only who has the folder's lock may take it for stale. */
export function removeStaleSocket(socketPath: string): void {
  rmSync(socketPath, { force: true });
}
