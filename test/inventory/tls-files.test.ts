// What is said of certificates and keys before anything is started. Nothing of a key is ever shown.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { renderFaults } from '../../src/inventory/fault.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { parsePsk } from '../../src/inventory/psk-file.js';
import { readTlsFiles, type TlsReading } from '../../src/inventory/tls-files.js';
import { Authority, makeKey, openssl } from '../support/certificates.js';
import { without, withoutRoot } from '../support/programs.js';
import { scratchFolder } from '../support/scratch.js';

const skip = without('openssl', 'openssl');
const DAY_MS = 24 * 3600 * 1000;
const KEY = '00112233445566778899aabbccddeeff';

interface Files {
  readonly folder: string;
  readonly ca: Authority;
}

/** A folder with a certificate `c`, its key `k`, and keys of boards `p`. */
function files(context: TestContext): Files {
  const folder = scratchFolder(context);
  const ca = new Authority(folder);
  const { certificate, key } = ca.issueServer();
  place(folder, 'c', readFileSync(certificate));
  place(folder, 'k', readFileSync(key));
  place(folder, 'p', `node1:${KEY}\n`);
  return { folder, ca };
}

function place(folder: string, name: string, content: string | Uint8Array): void {
  writeFileSync(join(folder, name), content);
  chmodSync(join(folder, name), 0o640);
}

async function look(folder: string, tls: string, { days = 0, boards = 'node1: {}' } = {}) {
  const lines = boards.split('; ').map((line, index) => {
    const [name = '', more = ''] = line.replace('}', '').split(': {');
    return `  ${name}: { serial: ${index + 1}, image: i${index}${more === '' ? '' : `, ${more}`} }`;
  });
  const images = lines.map((_, index) => `i${index}: { file: i${index} }`).join(', ');
  const yaml = `nbd: { tls: { ${tls} } }\nimages: { ${images} }\nboards:\n${lines.join('\n')}\n`;
  const parsed = parseInventory(yaml, join(folder, 'config.yaml'));
  if (parsed.answer === 'faults') throw new assert.AssertionError({ message: renderFaults(parsed.faults) });
  return readTlsFiles(parsed.inventory, parsed.source, new Date(Date.now() + days * DAY_MS));
}

async function reading(...asked: Parameters<typeof look>): Promise<TlsReading> {
  const verdict = await look(...asked);
  if (verdict.answer === 'faults') throw new assert.AssertionError({ message: renderFaults(verdict.faults) });
  return verdict.reading;
}

/** What is wrong and what to do, a line each; paths from the folder. */
async function faults(...asked: Parameters<typeof look>): Promise<readonly string[]> {
  const verdict = await look(...asked);
  assert.equal(verdict.answer, 'faults');
  const [folder] = asked;
  return verdict.faults.map(({ at, problem, remedy }) =>
    `${at?.text}: ${problem} (${remedy})`.replaceAll(`${folder}/`, ''),
  );
}

const ALL = 'mode: required, certificate: c, key: k, client_ca: ca/ca-cert.pem, psk: p';

describe('certificates and keys', { skip }, () => {
  test('are read where something is served over TLS, and not even looked at where nothing is', async (context) => {
    const { folder } = files(context);
    const { files: read, certificates, warnings } = await reading(folder, ALL);
    assert.deepEqual(Buffer.from(read?.certificate?.chain ?? []), readFileSync(join(folder, 'c')));
    assert.deepEqual([...(read?.psk ?? [])], [['node1', Uint8Array.from(Buffer.from(KEY, 'hex'))]]);
    assert.deepEqual(
      certificates.map(({ use, subject, names }) => [use, subject, names]),
      [
        ['server', 'CN=brambleboot', 'DNS:localhost, IP Address:127.0.0.1'],
        ['client_ca', 'CN=ca', ''],
      ],
    );
    assert.deepEqual(warnings, []);
    const none = await reading(folder, 'mode: off, certificate: nowhere, key: nowhere');
    assert.equal(none.files, undefined);
    const one = await reading(folder, 'mode: off, psk: p', { boards: 'node1: {tls: required}' });
    assert.equal(one.files?.psk?.size, 1);
  });

  test('that are not there or no files are faults, each at its place', async (context) => {
    const { folder } = files(context);
    mkdirSync(join(folder, 'folder'));
    openssl('req', '-new', '-key', join(folder, 'k'), '-subj', '/CN=x', '-out', join(folder, 'server-cert.pem'));
    assert.deepEqual(
      await faults(folder, 'mode: required, certificate: server-crt.pem, key: folder, client_ca: /dev/zero'),
      [
        'server-crt.pem: "server-crt.pem" does not exist (did you mean `server-cert.pem`?)',
        'folder: "folder" is no file (name a PEM file)',
        '/dev/zero: "/dev/zero" is no file (name a PEM file)',
      ],
    );
    assert.deepEqual(await faults(folder, 'mode: required, psk: folder'), [
      'folder: "folder" is no file (name a file of keys, as `psktool` makes it)',
    ]);
    place(folder, 'large', new Uint8Array(1024 * 1024 + 1));
    assert.match(String(await faults(folder, 'mode: required, psk: large')), /more than 1048576 bytes/);
  });

  test('that this user may not read are a fault that names him', { skip: withoutRoot() }, async (context) => {
    const { folder } = files(context);
    chmodSync(folder, 0o755);
    chmodSync(join(folder, 'k'), 0);
    process.seteuid?.(65534);
    try {
      assert.match(String(await faults(folder, ALL)), /^k: "k" may not be opened by user/);
    } finally {
      process.seteuid?.(0);
    }
  });

  test('of another kind than they should be are faults', async (context) => {
    const { folder, ca } = files(context);
    assert.deepEqual(await faults(folder, 'mode: required, certificate: k, key: c, client_ca: p'), [
      'k: there is no certificate in PEM in it (name the file with -----BEGIN CERTIFICATE-----)',
      'p: there is no certificate in PEM in it (name the file with -----BEGIN CERTIFICATE-----)',
    ]);
    assert.deepEqual(await faults(folder, 'mode: required, certificate: c, key: c'), [
      'c: there is no private key in PEM in it (name the file with -----BEGIN PRIVATE KEY-----)',
    ]);
    place(folder, 'damaged', readFileSync(ca.certificate, 'utf8').replace(/[A-Za-z]{20}/, 'AAAA'));
    assert.match(
      String(await faults(folder, 'mode: required, certificate: damaged, key: k')),
      /^damaged: a certificate in it is damaged/,
    );
  });

  test('that do not belong together, are locked, or too weak for OpenSSL are faults', async (context) => {
    const { folder, ca } = files(context);
    place(folder, 'other', readFileSync(ca.issueServer().key));
    assert.deepEqual(await faults(folder, 'mode: required, certificate: c, key: other'), [
      'other: this is the key of another certificate (name the key that `certificate` was requested with)',
    ]);
    openssl('pkey', '-in', join(folder, 'k'), '-aes256', '-passout', 'pass:secret', '-out', join(folder, 'locked'));
    assert.deepEqual(await faults(folder, 'mode: required, certificate: c, key: locked'), [
      'locked: it is locked with a passphrase (unlock it: `openssl pkey -in OLD -out NEW`)',
    ]);
    makeKey(join(folder, 'weak'), { bits: 512 });
    const weak = join(folder, 'weak-cert');
    openssl('req', '-x509', '-key', join(folder, 'weak'), '-subj', '/CN=x', '-out', weak, '-days', '10');
    assert.match(String(await faults(folder, 'mode: required, certificate: weak-cert, key: weak')), /ee key too small/);
  });

  test('that have expired are faults; one of several CAs may have', async (context) => {
    const { folder, ca } = files(context);
    assert.deepEqual(
      (await faults(folder, ALL, { days: 3651 })).map((fault) => fault.replaceAll(/\d{4}-\d\d-\d\d/g, 'DAY')),
      [
        'c: it has expired, on DAY (have a new one issued; it is read at the next start or reload)',
        'ca/ca-cert.pem: it has expired, on DAY, and so has every certificate that it issued (make a new CA, and certificates for the boards with it)',
      ],
    );
    const short = join(folder, 'short');
    openssl('req', '-x509', '-key', join(folder, 'k'), '-subj', '/CN=short', '-out', short, '-days', '5');
    writeFileSync(join(folder, 'both'), `${readFileSync(short)}${readFileSync(ca.certificate)}`);
    const both = 'mode: required, certificate: c, key: k, client_ca: both';
    const subjects = async (days: number) =>
      (await reading(folder, both, { days })).certificates.map(({ subject }) => subject);
    assert.deepEqual(await subjects(0), ['CN=brambleboot', 'CN=short'], 'the one that ends first');
    assert.deepEqual(await subjects(6), ['CN=brambleboot', 'CN=ca'], 'of those that are left');
  });

  test('whose issuer in the same file ends sooner end with it', async (context) => {
    const { folder } = files(context);
    const short = join(folder, 'short');
    openssl('req', '-x509', '-key', join(folder, 'k'), '-subj', '/CN=short', '-out', short, '-days', '5');
    writeFileSync(join(folder, 'chain'), `${readFileSync(join(folder, 'c'))}${readFileSync(short)}`);
    const { certificates } = await reading(folder, 'mode: required, certificate: chain, key: k');
    const left = (certificates[0]?.validTo.getTime() ?? 0) - Date.now();
    assert.ok(left < 6 * DAY_MS);
    assert.equal(certificates[0]?.subject, 'CN=brambleboot');
  });

  test('are warned of where they work and yet are not as they should be', async (context) => {
    const { folder, ca } = files(context);
    for (const secret of ['k', 'p']) chmodSync(join(folder, secret), 0o644);
    place(folder, 'leaf', readFileSync(ca.issue({ subject: '/CN=leaf' }).certificate));
    place(folder, 'p', `node1:${KEY}\nnode9:${KEY}\n`);
    chmodSync(join(folder, 'p'), 0o604);
    const said = async (...asked: Parameters<typeof look>) =>
      (await reading(...asked)).warnings.map((warning) => warning.replaceAll(`${folder}/`, ''));
    assert.deepEqual(
      await said(folder, 'mode: required, certificate: c, key: k, client_ca: leaf, psk: p', { days: -2 }),
      [
        'nbd.tls.key: everybody on this machine may read k: `chmod o= k`',
        'nbd.tls.psk: everybody on this machine may read p: `chmod o= p`',
        `nbd.tls.certificate: it is valid from ${new Date().toISOString().slice(0, 10)} on: is the clock right?`,
        'nbd.tls.client_ca: CN=leaf is no CA: only who shows this very certificate comes by it',
        'nbd.tls.psk: no board has the name of these keys: node9',
      ],
    );
    const wrong = ca.issue({ subject: '/CN=node1', purpose: 'clientAuth' });
    const pair = (files: { certificate: string; key: string }) =>
      `certificate: ${files.certificate}, key: ${files.key}`;
    chmodSync(wrong.key, 0o640);
    assert.deepEqual(await said(folder, `mode: allowed, ${pair(wrong)}`), [
      'nbd.tls.certificate: CN=node1 is not for servers, so clients turn away: have it issued with extendedKeyUsage=serverAuth',
    ]);
    const any = ca.issue({ subject: '/CN=any', purpose: 'anyExtendedKeyUsage' });
    chmodSync(any.key, 0o640);
    assert.deepEqual(await said(folder, `mode: allowed, ${pair(any)}`), []);
    openssl('req', '-x509', '-key', any.key, '-out', join(folder, 'plain'), '-subj', '/CN=plain');
    assert.deepEqual(await said(folder, `mode: allowed, certificate: plain, key: ${any.key}`), []);
    place(folder, 'p', `node1:${KEY}\n`);
    const boards = 'node1: {}; node2: {}; node3: {tls: allowed}';
    assert.deepEqual(await said(folder, 'mode: required, psk: p', { boards }), [
      'nbd.tls.psk: no key for boards whose disk is had over TLS only, so nobody has it: node2',
    ]);
  });
});

describe('a file of keys', () => {
  const LONG = KEY.repeat(4);

  test('is a name, a colon and hex digits a line, as psktool writes it', () => {
    const keys = parsePsk(`node1:${KEY}\nnode-2:${LONG.toUpperCase()}\r\n\n  \n`);
    assert.ok(!('problem' in keys));
    assert.deepEqual(
      [...keys].map(([name, key]) => [name, key.length]),
      [
        ['node1', 16],
        ['node-2', 64],
      ],
    );
  });

  test('is refused whole where a line is none, by its number and with nothing of a key in the words', () => {
    for (const [text, problem] of [
      ['', /^there is no key in it$/],
      [`node1:${KEY}\nnode2 ${KEY}`, /^line 2 is not a name, a colon and hex digits$/],
      [`node1:${KEY}x`, /^line 1 is not a name/],
      [`:${KEY}`, /^line 1 is not a name/],
      [`#6e6f6465:${KEY}`, /^the name on line 1 is in hex digits/],
      [`node1:${KEY}\n\nnode1:${LONG}`, /^line 3 has a second key for "node1"$/],
      [`node1:${KEY.slice(2)}`, /^the key on line 1 has 30 hex digits: it takes 32 to 128 of them/],
      [`node1:${KEY}0`, /^the key on line 1 has 33 hex digits/],
      [`node1:${LONG}00`, /^the key on line 1 has 130 hex digits/],
    ] as const) {
      const verdict = parsePsk(text);
      assert.ok('problem' in verdict, text);
      assert.match(verdict.problem, problem);
      assert.doesNotMatch(`${verdict.problem}${verdict.remedy}`, /[0-9a-f]{6}/);
    }
  });
});
