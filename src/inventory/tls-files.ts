import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { messageOf } from '../base/errors.js';
import { TLS_FILE_BYTES_MAX } from '../base/limits.js';
import { shortened } from '../base/printable.js';
import type { Complaint, Fault } from './fault.js';
import { missingRemedy } from './files.js';
import type { Inventory, TlsSettings } from './inventory.js';
import { parsePsk } from './psk-file.js';
import { quote } from './quotation.js';
import type { InventorySource } from './source.js';
import { explainSystemError } from './system-error.js';

/** What a server that speaks TLS shows and asks for. */
export interface TlsFiles {
  /** PEM, with what it was issued by behind it. */
  readonly certificate: { readonly chain: Uint8Array; readonly key: Uint8Array } | undefined;
  /** PEM. */
  readonly clientCa: Uint8Array | undefined;
  /** By the name of a board. */
  readonly psk: ReadonlyMap<string, Uint8Array> | undefined;
}

/** A certificate that ends some day. */
export interface DatedCertificate {
  readonly use: 'server' | 'client_ca';
  readonly file: string;
  readonly subject: string;
  /** Whom it is for, as X.509 writes it; empty for a CA. */
  readonly names: string;
  readonly validTo: Date;
}

export interface TlsReading {
  /** Undefined where nothing is served over TLS: then nothing was looked at. */
  readonly files: TlsFiles | undefined;
  /** Of several CAs the one that ends first. */
  readonly certificates: readonly DatedCertificate[];
  readonly warnings: readonly string[];
}

export type TlsVerdict =
  | { readonly answer: 'read'; readonly reading: TlsReading }
  | { readonly answer: 'faults'; readonly faults: readonly Fault[] };

export const NO_TLS: TlsReading = { files: undefined, certificates: [], warnings: [] };

export function servesTls({ nbd, boards }: Inventory): boolean {
  return nbd.enabled && [nbd.tls.mode, ...[...boards.values()].map(({ tls }) => tls)].some((mode) => mode !== 'off');
}

/** Reads certificates and keys, once: what is in the files later counts from the next start on. */
export async function readTlsFiles(inventory: Inventory, source: InventorySource, today: Date): Promise<TlsVerdict> {
  if (!servesTls(inventory)) return { answer: 'read', reading: NO_TLS };
  const { tls } = inventory.nbd;
  const look = new Look(source, today);
  const chain = await look.read('certificate', tls.certificate);
  const key = await look.read('key', tls.key);
  const clientCa = await look.read('client_ca', tls.clientCa);
  const psk = look.psk(await look.read('psk', tls.psk));
  const certificate = chain === undefined || key === undefined ? undefined : { chain, key };
  if (chain !== undefined) look.ownCertificate(chain, key, tls);
  if (clientCa !== undefined) look.clientCa(clientCa, tls);
  if (psk !== undefined) look.keysFor(psk, inventory);
  if (look.faults.length > 0) return { answer: 'faults', faults: look.faults };
  const { certificates, warnings } = look;
  return { answer: 'read', reading: { files: { certificate, clientCa, psk }, certificates, warnings } };
}

type Key = 'certificate' | 'key' | 'client_ca' | 'psk';

/** Gathers what is wrong with all of the files, not only with the first. */
class Look {
  readonly faults: Fault[] = [];
  readonly warnings: string[] = [];
  readonly certificates: DatedCertificate[] = [];
  readonly #source: InventorySource;
  readonly #today: Date;

  constructor(source: InventorySource, today: Date) {
    this.#source = source;
    this.#today = today;
  }

  async read(key: Key, file: string | undefined): Promise<Uint8Array | undefined> {
    if (file === undefined) return undefined;
    try {
      // A pipe that nobody writes to would be waited for.
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        return await this.#content(key, file, handle);
      } finally {
        await handle.close();
      }
    } catch (error) {
      const remedy = await missingRemedy(file, 'write its path; a relative one begins at the folder of the inventory');
      return this.#fault(key, explainSystemError(error, quote(file), remedy));
    }
  }

  async #content(key: Key, file: string, handle: FileHandle): Promise<Uint8Array | undefined> {
    const stats = await handle.stat();
    if (!stats.isFile()) {
      const remedy = key === 'psk' ? 'name a file of keys, as `psktool` makes it' : 'name a PEM file';
      return this.#fault(key, { problem: `${quote(file)} is no file`, remedy });
    }
    const isSecret = key === 'key' || key === 'psk';
    if (isSecret && (stats.mode & 0o007) !== 0) {
      this.warnings.push(`nbd.tls.${key}: everybody on this machine may read ${file}: \`chmod o= ${file}\``);
    }
    const buffer = new Uint8Array(TLS_FILE_BYTES_MAX + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead <= TLS_FILE_BYTES_MAX) return buffer.slice(0, bytesRead);
    const problem = `${quote(file)} has more than ${TLS_FILE_BYTES_MAX} bytes`;
    return this.#fault(key, { problem, remedy: 'name a file that has nothing but what is needed' });
  }

  psk(bytes: Uint8Array | undefined): ReadonlyMap<string, Uint8Array> | undefined {
    if (bytes === undefined) return undefined;
    const keys = parsePsk(new TextDecoder().decode(bytes));
    return 'problem' in keys ? this.#fault('psk', keys) : keys;
  }

  /** `key`: undefined where it could not be read, which has been said. */
  ownCertificate(chain: Uint8Array, key: Uint8Array | undefined, { certificate: file = '' }: TlsSettings): void {
    const [own, ...issuers] = this.#parsed('certificate', chain);
    if (own === undefined) return;
    const ends = earliest([own, ...issuers]);
    this.certificates.push({ use: 'server', file, ...factsOf(own), validTo: ends });
    if (ends <= this.#today) {
      const problem = `it has expired, on ${dayOf(ends)}`;
      this.#fault('certificate', { problem, remedy: 'have a new one issued; it is read at the next start or reload' });
    }
    if (new Date(own.validFrom) > this.#today) {
      this.warnings.push(
        `nbd.tls.certificate: it is valid from ${dayOf(new Date(own.validFrom))} on: is the clock right?`,
      );
    }
    this.#servesClients(own);
    const privateKey = key === undefined ? undefined : this.#privateKey(key);
    if (privateKey === undefined || key === undefined) return;
    if (!own.checkPrivateKey(privateKey)) {
      const problem = 'this is the key of another certificate';
      this.#fault('key', { problem, remedy: 'name the key that `certificate` was requested with' });
      return;
    }
    this.#tryOut(chain, key);
  }

  /** A certificate without the extension is for everything (RFC 5280, 4.2.1.12); clients hold one with it to what it says. */
  #servesClients(own: X509Certificate): void {
    // Node's types promise a list, and without the extension there is none.
    const uses: readonly string[] | undefined = own.keyUsage;
    if (uses === undefined || uses.includes(SERVER_AUTH) || uses.includes(ANY_USE)) return;
    const { subject } = factsOf(own);
    this.warnings.push(
      `nbd.tls.certificate: ${subject} is not for servers, so clients turn away: have it issued with extendedKeyUsage=serverAuth`,
    );
  }

  /** OpenSSL has rules of its own, of which the length of a key is the one that is met. */
  #tryOut(chain: Uint8Array, key: Uint8Array): void {
    try {
      createSecureContext({ cert: Buffer.from(chain), key: Buffer.from(key) });
    } catch (error) {
      this.#fault('certificate', {
        problem: `OpenSSL does not take it: ${opensslWords(error)}`,
        remedy: NEW_CERTIFICATE,
      });
    }
  }

  #privateKey(pem: Uint8Array): KeyObject | undefined {
    try {
      return createPrivateKey(Buffer.from(pem));
    } catch {
      // `-----BEGIN ENCRYPTED PRIVATE KEY-----`, or `Proc-Type: 4,ENCRYPTED` beneath the old head.
      const isLocked = Buffer.from(pem).includes('ENCRYPTED');
      const complaint = isLocked
        ? { problem: 'it is locked with a passphrase', remedy: 'unlock it: `openssl pkey -in OLD -out NEW`' }
        : { problem: 'there is no private key in PEM in it', remedy: 'name the file with -----BEGIN PRIVATE KEY-----' };
      return this.#fault('key', complaint);
    }
  }

  clientCa(bundle: Uint8Array, { clientCa: file = '' }: TlsSettings): void {
    const all = this.#parsed('client_ca', bundle);
    const [first] = all;
    if (first === undefined) return;
    const valid = all.filter((one) => endOf(one) > this.#today);
    const ending =
      [...(valid.length === 0 ? all : valid)].sort((one, other) => +endOf(one) - +endOf(other))[0] ?? first;
    this.certificates.push({ use: 'client_ca', file, ...factsOf(ending), names: '', validTo: endOf(ending) });
    if (valid.length === 0) {
      const problem = `it has expired, on ${dayOf(endOf(ending))}, and so has every certificate that it issued`;
      this.#fault('client_ca', { problem, remedy: 'make a new CA, and certificates for the boards with it' });
    }
    for (const one of all.filter(({ ca }) => !ca)) {
      const { subject } = factsOf(one);
      this.warnings.push(`nbd.tls.client_ca: ${subject} is no CA: only who shows this very certificate comes by it`);
    }
  }

  #parsed(key: Key, pem: Uint8Array): readonly X509Certificate[] {
    const blocks = Buffer.from(pem).toString('latin1').match(PEM_CERTIFICATE) ?? [];
    try {
      if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block));
      this.#fault(key, { problem: 'there is no certificate in PEM in it', remedy: NAME_CERTIFICATE });
    } catch (error) {
      this.#fault(key, { problem: `a certificate in it is damaged: ${opensslWords(error)}`, remedy: NAME_CERTIFICATE });
    }
    return [];
  }

  /** Keys that open nothing, and boards that nobody can have. */
  keysFor(psk: ReadonlyMap<string, Uint8Array>, { boards, nbd }: Inventory): void {
    const strangers = [...psk.keys()].filter((name) => !boards.has(name));
    if (strangers.length > 0) {
      this.warnings.push(`nbd.tls.psk: no board has the name of these keys: ${shortened(strangers.join(', '), 200)}`);
    }
    if (nbd.tls.certificate !== undefined) return;
    const shut = [...boards.values()].filter(({ name, tls }) => tls === 'required' && !psk.has(name));
    if (shut.length > 0) {
      const names = shortened(shut.map(({ name }) => name).join(', '), 200);
      this.warnings.push(`nbd.tls.psk: no key for boards whose disk is had over TLS only, so nobody has it: ${names}`);
    }
  }

  #fault(key: Key, complaint: Complaint): undefined {
    this.faults.push(this.#source.faultAt(['nbd', 'tls', key], complaint));
    return undefined;
  }
}

/** RFC 5280, 4.2.1.12: id-kp-serverAuth, anyExtendedKeyUsage. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_USE = '2.5.29.37.0';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const NAME_CERTIFICATE = 'name the file with -----BEGIN CERTIFICATE-----';
const NEW_CERTIFICATE = 'have a new one issued, for a key of 2048 bits RSA or P-256 at least';

function endOf(certificate: X509Certificate): Date {
  return new Date(certificate.validTo);
}

function earliest(chain: readonly X509Certificate[]): Date {
  return new Date(Math.min(...chain.map((one) => endOf(one).getTime())));
}

function factsOf({ subject, subjectAltName }: X509Certificate): { readonly subject: string; readonly names: string } {
  return { subject: shortened(subject.replaceAll('\n', ', '), 200), names: shortened(subjectAltName ?? '', 400) };
}

/** `2027-01-31`. */
export function dayOf(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'a day that is none' : date.toISOString().slice(0, 10);
}

/** `error:0A00018F:SSL routines::ee key too small` to its last part. */
function opensslWords(error: unknown): string {
  const message = messageOf(error);
  return shortened(message.split('::').at(-1) ?? message, 200);
}
