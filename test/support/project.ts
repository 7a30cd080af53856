import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A path in the checkout: compiled tests lie in build/test, two folders down. */
export function projectFile(...parts: readonly string[]): string {
  return join(fileURLToPath(new URL('../../..', import.meta.url)), ...parts);
}
