import { NBD_MESSAGE_CHARACTERS_MAX } from '../../base/limits.js';
import { shortened } from '../../base/printable.js';
import { unreachable } from '../../base/unreachable.js';
import type { RefusalReason } from '../../boards/journal/events.js';
import { OptionReply } from '../wire/constants.js';
import type { Refused } from './admission.js';

/** What a refused client is told. It is read on a board's console by somebody who now has to change a file on another machine. */

export function unknownSentence(asked: string, names: readonly string[]): string {
  const name = asked.startsWith('/') ? asked.slice(1) : asked;
  const known = names.length === 0 ? 'It lists no board yet.' : `It lists ${names.join(', ')}`;
  // An overlay, which several boards may have over one image: that of `direct` would be refused where another has it.
  const advice = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)
    ? `Add under "boards:" in config.yaml: ${name}: { serial: <serial>, image: <image>, disk: overlay }, then \`brambleboot reload\`.`
    : 'A board has a name of a-z, 0-9 and "-", which is also the name of its export.';
  return shortened(
    `No board "${shortened(name, 63)}" in the inventory. ${advice} ${known}`,
    NBD_MESSAGE_CHARACTERS_MAX,
  );
}

export function refusedSentence(board: string, because: Refused): string {
  switch (because.kind) {
    case 'address':
      return `The disk of ${board} is not for ${because.peer}. Add that address or its network to "allow" of ${board} in config.yaml, then \`brambleboot reload\`.`;
    case 'tlsNeeded':
      return `The disk of ${board} is served over TLS only. Give this client TLS, or let config.yaml say "tls: allowed" for ${board}.`;
    case 'tlsUnwanted':
      return `The disk of ${board} is served without TLS only. Connect without, or let config.yaml say "tls: allowed" for ${board}.`;
    case 'identity':
      return `The disk of ${board} is not for ${because.shown}. It takes a certificate or a key in the name of ${board}.`;
    case 'unusable':
      return shortened(`The disk of ${board} can't be used: ${because.because}`, NBD_MESSAGE_CHARACTERS_MAX);
    default:
      return unreachable(because);
  }
}

/** The option error that says it (proto.md, "Option reply types"). */
export function refusedCode(because: Refused): number {
  return because.kind === 'tlsNeeded' ? OptionReply.ErrTlsReqd : OptionReply.ErrPolicy;
}

/** For journal, log and metrics. */
export function refusedReason(because: Refused): { readonly reason: RefusalReason; readonly because: string } {
  switch (because.kind) {
    case 'address':
      return { reason: 'address', because: 'its address is not in `allow` of the board' };
    case 'tlsNeeded':
      return { reason: 'tls', because: 'it is served over TLS only' };
    case 'tlsUnwanted':
      return { reason: 'tls', because: 'it is served without TLS only' };
    case 'identity':
      return { reason: 'identity', because: `not for ${because.shown}` };
    case 'unusable':
      return { reason: 'unusable', because: because.because };
    default:
      return unreachable(because);
  }
}
