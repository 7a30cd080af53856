import { existsSync, readFileSync } from 'node:fs';

/** Seen from dist/cli, and from build/src/cli where the tests run. */
const MANIFESTS = ['../../package.json', '../../../package.json'];

/** As package.json has it. */
export function programVersion(): string {
  const file = MANIFESTS.map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
  const manifest: unknown = file === undefined ? undefined : JSON.parse(readFileSync(file, 'utf8'));
  const version = manifest && typeof manifest === 'object' && 'version' in manifest ? manifest.version : undefined;
  return typeof version === 'string' ? version : 'unknown';
}
