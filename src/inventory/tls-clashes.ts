import { finding, namesUnder, type ParsedFile, textAt } from './parsed-file.js';
import type { Finding, KeyPath } from './source.js';
import { at } from './tree.js';

/** TLS settings of which one calls for another. What is in the files is looked at later. */
export function tlsClashes(file: ParsedFile): readonly Finding[] {
  return [
    ...modeWithoutFiles(file),
    ...filesWithoutMode(file),
    ...halfPairs(file),
    ...lonelyClientCa(file),
    ...openSideDoor(file),
  ];
}

function has(file: ParsedFile, key: string): boolean {
  return at(file.tree, ['nbd', 'tls', key]) !== undefined;
}

/** TLS is wanted, and there is nothing to do it with. */
function modeWithoutFiles(file: ParsedFile): readonly Finding[] {
  if (has(file, 'certificate') || has(file, 'psk')) return [];
  return wantedAt(file).map((path) =>
    finding(file, path, {
      problem: `TLS is ${textAt(file, path)} here, and \`nbd.tls\` names neither a certificate nor a file of keys`,
      remedy: 'add `certificate:` and `key:`, or `psk:`, to `nbd: { tls: … }`',
    }),
  );
}

function wantedAt(file: ParsedFile): readonly KeyPath[] {
  const paths = [['nbd', 'tls', 'mode'], ...namesUnder(file, 'boards').map((board) => ['boards', board, 'tls'])];
  return paths.filter((path) => ['allowed', 'required'].includes(textAt(file, path) ?? ''));
}

/** Who names a certificate believes that it is used. */
function filesWithoutMode(file: ParsedFile): readonly Finding[] {
  const named = ['certificate', 'psk'].find((key) => has(file, key));
  if (named === undefined || has(file, 'mode') || wantedAt(file).length > 0) return [];
  const complaint = {
    problem: '`nbd.tls` has no `mode`, and without one nothing is served over TLS',
    remedy:
      'add `mode: allowed`, or `mode: required` once every client has TLS: boards with nbd-client alone do not boot then',
  };
  return [finding(file, ['nbd', 'tls'], complaint, 'key')];
}

function halfPairs(file: ParsedFile): readonly Finding[] {
  const pairs = [
    ['certificate', 'key', 'the key that belongs to it'],
    ['key', 'certificate', 'the certificate that it belongs to'],
  ] as const;
  return pairs.flatMap(([key, other, what]) => {
    if (!has(file, key) || has(file, other)) return [];
    const complaint = {
      problem: `\`${key}\` without \`${other}\``,
      remedy: `add \`${other}:\` with the file that has ${what}`,
    };
    return [finding(file, ['nbd', 'tls', key], complaint, 'key')];
  });
}

function lonelyClientCa(file: ParsedFile): readonly Finding[] {
  if (!has(file, 'client_ca') || has(file, 'certificate')) return [];
  const complaint = {
    problem: 'clients show their certificates only to a server that has one itself',
    remedy: 'add `certificate:` and `key:`, or remove `client_ca:`',
  };
  return [finding(file, ['nbd', 'tls', 'client_ca'], complaint, 'key')];
}

/** With keys it is known who comes; somebody who comes by the certificate instead could have any disk. */
function openSideDoor(file: ParsedFile): readonly Finding[] {
  if (!has(file, 'psk') || !has(file, 'certificate') || has(file, 'client_ca')) return [];
  const complaint = {
    problem: 'keys say which board comes, but who comes by the certificate instead would be asked nothing',
    remedy: 'add `client_ca:`, so that clients show certificates too, or remove `certificate:` and `key:`',
  };
  return [finding(file, ['nbd', 'tls', 'psk'], complaint, 'key')];
}
