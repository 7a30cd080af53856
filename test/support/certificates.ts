import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateFacts {
  /** `/CN=node1`. */
  readonly subject: string;
  /** Kind and value, which may hold anything: `['DNS', 'localhost']`. */
  readonly alternativeNames?: readonly (readonly [kind: 'DNS' | 'IP' | 'URI' | 'email', value: string])[];
  /** From now on; before 0 it has expired. */
  readonly days?: number;
  /** `serverAuth`, `clientAuth`; both otherwise. */
  readonly purpose?: string;
}

/** Makes certificates with openssl, in a folder of the test. */
export class Authority {
  readonly folder: string;
  readonly certificate: string;
  readonly #key: string;
  #issuedCount = 0;

  constructor(folder: string, name = 'ca') {
    this.folder = join(folder, name);
    mkdirSync(this.folder);
    this.certificate = join(this.folder, 'ca-cert.pem');
    this.#key = join(this.folder, 'ca-key.pem');
    makeKey(this.#key);
    const about = ['-subj', `/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign', '-days', '3650'];
    openssl('req', '-x509', '-key', this.#key, '-out', this.certificate, ...about);
  }

  issue({ subject, alternativeNames, days = 3650, purpose }: CertificateFacts): CertificateFiles {
    this.#issuedCount += 1;
    const file = (ending: string) => join(this.folder, `${this.#issuedCount}-${ending}`);
    const [key, request, certificate, extensions] = ['key.pem', 'request', 'cert.pem', 'extensions'].map(file);
    if (key === undefined || request === undefined || certificate === undefined || extensions === undefined) {
      throw new Error('four names make four paths');
    }
    makeKey(key);
    const uses = `extendedKeyUsage = ${purpose ?? 'serverAuth, clientAuth'}\n`;
    const names = alternativeNames === undefined ? '' : `subjectAltName = @names\n[names]\n${lines(alternativeNames)}`;
    writeFileSync(extensions, `basicConstraints = CA:FALSE\nkeyUsage = digitalSignature\n${uses}${names}`);
    openssl('req', '-new', '-key', key, '-out', request, '-subj', subject);
    const issuer = ['-CA', this.certificate, '-CAkey', this.#key, '-CAcreateserial'];
    const what = ['-in', request, '-out', certificate, '-extfile', extensions, '-days', String(days)];
    openssl('x509', '-req', ...what, ...issuer);
    return { certificate, key };
  }

  /** What our server shows to who comes by `localhost` or 127.0.0.1. */
  issueServer(): CertificateFiles {
    return this.issue({ subject: '/CN=brambleboot', alternativeNames: LOOPBACK });
  }
}

const LOOPBACK = [['DNS', 'localhost'] as const, ['IP', '127.0.0.1'] as const];

function lines(names: NonNullable<CertificateFacts['alternativeNames']>): string {
  // In OpenSSL's configuration a backslash takes its meaning from what follows it.
  const escaped = (value: string) => value.replaceAll(/["\\$#]/g, '\\$&');
  return names.map(([kind, value], index) => `${kind}.${index} = ${escaped(value)}\n`).join('');
}

/** RSA also of the kind that is refused, by `bits`. */
export function makeKey(file: string, kind: 'P-256' | { readonly bits: number } = 'P-256'): void {
  const curve = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const how = kind === 'P-256' ? curve : ['-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${kind.bits}`];
  openssl('genpkey', ...how, '-out', file);
}

export function openssl(...words: readonly string[]): string {
  return execFileSync('openssl', words, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
}

/** For Node's TLS: what is in the files. */
export function pemOf({ certificate, key }: CertificateFiles): { readonly cert: Buffer; readonly key: Buffer } {
  return { cert: readFileSync(certificate), key: readFileSync(key) };
}
