import { constants } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { TlsPeer } from './tls-peer.js';

/** What the server shows, and by what it knows its clients. At least a certificate or keys. */
export interface TlsMaterial {
  /** PEM, with what it was issued by behind it. */
  readonly certificate: { readonly chain: Uint8Array; readonly key: Uint8Array } | undefined;
  /** PEM; a client that shows no certificate of theirs is turned away. */
  readonly clientCa: Uint8Array | undefined;
  /** By identity. */
  readonly psk: ReadonlyMap<string, Uint8Array> | undefined;
}

export type TlsVerdict =
  | { readonly answer: 'secured'; readonly socket: TLSSocket; readonly peer: TlsPeer }
  /** In words, for the log. The socket is closed, or about to be. */
  | { readonly answer: 'failed'; readonly because: string };

/**
 * Where a connection goes from bare to TLS. It is a server of Node's that listens nowhere and is handed its connections, which Node's
 * documentation of the event `connection` allows: a TLSSocket by itself does not look at what was found out about a certificate.
 */
export class TlsDoor {
  readonly #server: Server;
  readonly #asksWho: boolean;
  readonly #nothingCommon: string;
  readonly #entering = new Map<unknown, (verdict: TlsVerdict) => void>();
  /** The last identity that a client was asked to prove. That it did is known when the handshake is over, and not by this. */
  readonly #identities = new WeakMap<object, string>();

  /** Throws what OpenSSL says of a certificate or key that it won't have. */
  constructor(material: TlsMaterial) {
    this.#asksWho = material.clientCa !== undefined || material.psk !== undefined;
    this.#nothingCommon = material.certificate === undefined ? NO_KEY : NO_CIPHER;
    this.#server = createServer(this.#options(material));
    this.#server.on('secureConnection', (socket) => this.#settle(socket, this.#judge(socket)));
    this.#server.on('tlsClientError', (error, socket) =>
      this.#settle(socket, { answer: 'failed', because: this.#failureWords(error, socket) }),
    );
  }

  /** From its next byte on the client speaks TLS. Nobody else may read from the socket, or write to it. */
  enter(socket: Duplex): Promise<TlsVerdict> {
    return new Promise((resolve) => {
      if (!(socket instanceof Socket) || socket.destroyed) {
        resolve({ answer: 'failed', because: 'the connection is gone' });
        return;
      }
      this.#entering.set(socket, resolve);
      socket.once('close', () => {
        // Where it is Node that closed it, over a certificate, why is told a moment later.
        setImmediate(() => {
          this.#entering.delete(socket);
          resolve({ answer: 'failed', because: LEFT });
        });
      });
      this.#server.emit('connection', socket);
    });
  }

  #options({ certificate, clientCa, psk }: TlsMaterial): TlsOptions {
    return {
      minVersion: 'TLSv1.2',
      ciphers: (psk === undefined ? CIPHERS : certificate === undefined ? PSK_CIPHERS : ALL_CIPHERS).join(':'),
      // Without tickets every connection shows anew who it is: one that is resumed shows neither a certificate nor an identity.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET,
      ...(certificate && { cert: Buffer.from(certificate.chain), key: Buffer.from(certificate.key) }),
      ...(clientCa && { ca: Buffer.from(clientCa), requestCert: true, rejectUnauthorized: true }),
      ...(psk && {
        pskCallback: (socket: TLSSocket, identity: string) => {
          const key = psk.get(identity);
          if (key === undefined) return null;
          this.#identities.set(socket, identity);
          return key;
        },
      }),
    };
  }

  #judge(socket: TLSSocket): TlsVerdict {
    const certificate = socket.getPeerX509Certificate();
    if (certificate !== undefined && socket.authorized) {
      return { answer: 'secured', socket, peer: { kind: 'certificate', certificate } };
    }
    const identity = cameByKey(socket) ? this.#identities.get(socket) : undefined;
    if (identity !== undefined) return { answer: 'secured', socket, peer: { kind: 'psk', identity } };
    if (!this.#asksWho) return { answer: 'secured', socket, peer: { kind: 'anonymous' } };
    socket.destroy();
    return { answer: 'failed', because: 'it did not show who it is' };
  }

  #settle(socket: TLSSocket, verdict: TlsVerdict): void {
    // Node has no public way from a TLSSocket to the socket beneath. Should this one go, nobody gets in.
    const beneath: unknown = Reflect.get(socket, '_parent');
    this.#entering.get(beneath)?.(verdict);
    this.#entering.delete(beneath);
    if (verdict.answer === 'failed') socket.destroy();
  }

  #failureWords(error: NodeJS.ErrnoException, { authorizationError }: TLSSocket): string {
    // Typed as an Error, and a code in truth.
    const code = authorizationError ? String(authorizationError) : (error.code ?? error.message);
    return NOTHING_COMMON.has(code) ? this.#nothingCommon : (FAILURES[code] ?? code);
  }
}

/**
 * Whether the handshake itself went by a key. A client may name an identity without having its key, and do without it in the end: a
 * key goes with one hash in TLS 1.3, and a cipher with another passes over it; a HelloRetryRequest lets it take back what it offered.
 */
function cameByKey(socket: TLSSocket): boolean {
  // In TLS 1.3 a key looks like a session that is resumed, and there are no others: OpenSSL keeps none for us, and has no tickets.
  return socket.getProtocol() === 'TLSv1.3' ? socket.isSessionReused() : socket.getCipher().name.includes('-PSK-');
}

/** All with forward secrecy. No DHE: it wants parameters of ours, and whoever has that has ECDHE. */
const TLS_1_2_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
];
const TLS_1_2_PSK_CIPHERS = ['ECDHE-PSK-CHACHA20-POLY1305', 'ECDHE-PSK-AES128-CBC-SHA256'];
/** A key goes with SHA-256 in TLS 1.3 (RFC 8446 section 4.2.11): were SHA-384 chosen, it would be passed over. */
const TLS_1_3_SHA256_CIPHERS = ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'];
const CIPHERS = [...TLS_1_3_SHA256_CIPHERS, 'TLS_AES_256_GCM_SHA384', ...TLS_1_2_CIPHERS];
const PSK_CIPHERS = [...TLS_1_3_SHA256_CIPHERS, ...TLS_1_2_PSK_CIPHERS];
const ALL_CIPHERS = [...PSK_CIPHERS, ...TLS_1_2_CIPHERS];

const NOT_OF_CA = 'its certificate was not issued by `client_ca`';
const UNTRUSTED = "it does not trust the server's certificate";
const NO_TLS = 'what it sent is not TLS';
const WRONG_KEY = 'its key is not the one in `psk`';
const LEFT = 'it left in the middle of the handshake';
const NO_KEY = 'it came without a key, or its identity is not in `psk`';
const NO_CIPHER = 'it has no cipher in common with the server';
/** In TLS 1.3 also a key that is not known. */
const NOTHING_COMMON = new Set(['ERR_SSL_NO_SHARED_CIPHER', 'ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM']);

const FAILURES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: compare the clocks',
  INVALID_PURPOSE: 'its certificate is not for clients',
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_OF_CA,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_OF_CA,
  UNABLE_TO_GET_ISSUER_CERT: NOT_OF_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_OF_CA,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_OF_CA,
  CERT_SIGNATURE_FAILURE: NOT_OF_CA,
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'it showed no certificate',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it knows no TLS 1.2 or later',
  ERR_SSL_PSK_IDENTITY_NOT_FOUND: 'its identity is not in `psk`',
  ERR_SSL_BINDER_DOES_NOT_VERIFY: WRONG_KEY,
  ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: WRONG_KEY,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: UNTRUSTED,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: UNTRUSTED,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: UNTRUSTED,
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: UNTRUSTED,
  ERR_SSL_WRONG_VERSION_NUMBER: NO_TLS,
  ERR_SSL_HTTP_REQUEST: NO_TLS,
  ERR_SSL_UNKNOWN_PROTOCOL: NO_TLS,
  ECONNRESET: LEFT,
};
