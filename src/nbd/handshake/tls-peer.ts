import type { X509Certificate } from 'node:crypto';
import { shortened } from '../../base/printable.js';
import { unreachable } from '../../base/unreachable.js';

/** How a client comes: what it says and is told may be read and forged by others on the way, or not. */
export type Channel = { readonly kind: 'clear' } | { readonly kind: 'tls'; readonly peer: TlsPeer };

/** Who is at the other end of TLS. */
export type TlsPeer =
  /** Nobody was asked (no `client_ca`, no `psk`). */
  | { readonly kind: 'anonymous' }
  /** Its certificate was issued by `client_ca`, and is valid today: TLS has seen to that. */
  | { readonly kind: 'certificate'; readonly certificate: X509Certificate }
  /** It has the key of this identity. */
  | { readonly kind: 'psk'; readonly identity: string };

export const CLEAR: Channel = { kind: 'clear' };

/** Whether it is the board of this name, or need not be any. */
export function isBoard(peer: TlsPeer, name: string): boolean {
  switch (peer.kind) {
    case 'anonymous':
      return true;
    case 'certificate':
      return isNamed(peer.certificate, name);
    case 'psk':
      return peer.identity === name;
    default:
      return unreachable(peer);
  }
}

/** For logs: may hold anything, but no more than a line of it. */
export function peerWords(peer: TlsPeer): string {
  switch (peer.kind) {
    case 'anonymous':
      return 'a client that nobody asked for its name';
    case 'certificate':
      return shortened(`the certificate of ${peer.certificate.subject.replaceAll('\n', ', ')}`, PEER_CHARACTERS_MAX);
    case 'psk':
      return shortened(`the key of ${peer.identity}`, PEER_CHARACTERS_MAX);
    default:
      return unreachable(peer);
  }
}

/** A subject may be of any length; with four parts of usual length it is under 200. */
const PEER_CHARACTERS_MAX = 200;

/** By CN, dNSName or URI, each the whole name: a wildcard is for many hosts, and this is about one board. */
function isNamed(certificate: X509Certificate, name: string): boolean {
  // OpenSSL's own comparison: no reading of names out of a text that a certificate may have filled with commas.
  const matched = certificate.checkHost(name, { subject: 'always', wildcards: false });
  return matched !== undefined || urisOf(certificate.subjectAltName ?? '').includes(name);
}

/**
 * `DNS:a, URI:b, DirName:"CN=c, d"`: Node quotes a value that holds a comma or a quotation mark (CVE-2021-44532), and no board's name does.
 * What follows an entry that reads otherwise is not believed.
 */
function urisOf(alternativeNames: string): readonly string[] {
  const entry = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
  const uris: string[] = [];
  for (let found = entry.exec(alternativeNames); found !== null; found = entry.exec(alternativeNames)) {
    const [, kind, value = ''] = found;
    if (kind === 'URI') uris.push(value);
    if (entry.lastIndex === alternativeNames.length) break;
  }
  return uris;
}
