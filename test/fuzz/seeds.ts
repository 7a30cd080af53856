import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { projectFile } from '../support/project.js';

/** An input that is kept: `test/fuzz/seeds/TARGET/NAME.hex`. */
export interface KeptSeed {
  readonly target: string;
  readonly name: string;
  readonly input: Uint8Array;
}

const FOLDER = projectFile('test', 'fuzz', 'seeds');

export function keptSeeds(): readonly KeptSeed[] {
  if (!existsSync(FOLDER)) return [];
  return readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.hex'))
    .map((path) => {
      const [target = '', name = ''] = path.split('/');
      return { target, name, input: decodeHexFile(readFileSync(`${FOLDER}/${path}`, 'latin1')) };
    });
}

/** Lines of hex digits; what stands behind a `#` says where it is from. */
export function decodeHexFile(text: string): Uint8Array {
  const digits = text.replaceAll(/#.*/g, '').replaceAll(/\s/g, '');
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new Error('a seed is pairs of hex digits, and comments');
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

export function encodeHexFile(input: Uint8Array, origin: string): string {
  const lines =
    Buffer.from(input)
      .toString('hex')
      .match(/.{1,64}/g) ?? [];
  return [...origin.split('\n').map((line) => `# ${line}`), ...lines, ''].join('\n');
}
