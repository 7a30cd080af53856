// An audit that needs no network: what the lockfile promises about the packages that are installed from it.
import { readFileSync } from 'node:fs';

const LICENCES = new Set([
  'MIT',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  'MIT OR Apache-2.0',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
]);
/** Package → why its install script may run. */
const INSTALL_SCRIPTS = new Map([
  ['koffi', 'looks for its prebuilt binary; that comes in a registry package of its own'],
]);
/** Squatted or unclaimed names that must never get in. */
const FORBIDDEN = new Set(['dhcp-packet-parse']);

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const decisions = readFileSync('docs/decisions.md', 'utf8');
const faults = [];

for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue;
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if (!/^sha512-/.test(entry.integrity ?? '')) faults.push(`${path}: no sha512 integrity in the lockfile`);
  if (entry.license === undefined || !LICENCES.has(entry.license))
    faults.push(`${path}: licence ${entry.license} is not on the list`);
  if (entry.hasInstallScript && !INSTALL_SCRIPTS.has(name))
    faults.push(`${path}: an install script that nobody argued for`);
  if (entry.link || /^(git|http:|file:)/.test(entry.resolved ?? ''))
    faults.push(`${path}: does not come from the registry`);
  if (FORBIDDEN.has(name)) faults.push(`${path}: this name must not be used`);
}
for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
  if (!decisions.includes(`\`${name}\``)) faults.push(`${name}: no line in docs/decisions.md`);
}

for (const fault of faults) console.error(fault);
console.log(`${Object.keys(lock.packages).length - 1} packages in the lockfile, ${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
