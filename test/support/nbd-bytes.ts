import { encodeRequest, type NbdRequest, REQUEST_BYTES } from '../../src/nbd/wire/transmission-wire.js';

/** `00 00 00 07` to bytes; blanks mean nothing. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** A request with what a test does not care about filled in. */
export function requestOf(parts: Partial<NbdRequest>): NbdRequest {
  return { command: 0, flags: 0, cookie: 1n, offset: 0n, lengthBytes: 0, ...parts };
}

export function requestBytes(parts: Partial<NbdRequest>): Uint8Array {
  const bytes = new Uint8Array(REQUEST_BYTES);
  encodeRequest(requestOf(parts), bytes);
  return bytes;
}
