import { NBD_NAME_BYTES_MAX } from '../../base/limits.js';
import { Malformed } from '../../base/malformed.js';
import { shortened } from '../../base/printable.js';
import { unreachable } from '../../base/unreachable.js';
import type { RefusalReason } from '../../boards/journal/events.js';
import type { LockVerdict } from '../../boards/writer-lock/writer-lock.js';
import { ClientFlag, HandshakeFlag, Option, OptionReply } from '../wire/constants.js';
import type { HandshakeMessage } from '../wire/framing.js';
import {
  decodeExportRequest,
  decodeName,
  encodeAck,
  encodeExportNameReply,
  encodeGreeting,
  encodeInfoReply,
  encodeOptionReply,
  encodeSentence,
  encodeServerEntry,
} from '../wire/handshake-wire.js';
import { decodeMetaContextRequest, encodeMetaContext } from '../wire/meta-context-wire.js';
import { contextsFor } from '../wire/meta-contexts.js';
import type { Exports, ExportVerdict } from './admission.js';
import { type Agreement, NOTHING_AGREED, type Terms, termsOf } from './agreement.js';
import { type Export, exportFacts, exportInfos } from './export-info.js';
import { refusedCode, refusedReason, refusedSentence, unknownSentence } from './refusal-words.js';
import { type Channel, CLEAR, type TlsPeer } from './tls-peer.js';

/**
 * Fixed newstyle negotiation, the server's side: what a client said and what the writer lock answered come in, commands go
 * out. Nothing here waits; between `takeDisk` and the `lock` event the client has nothing to say (proto.md: no option before
 * the final reply to the last).
 *
 *                   startingTls
 *        STARTTLS    ▲ │ handshake done: all that was agreed is forgotten
 *                    │ ▼
 *   clientFlags ──► haggling ──(GO, EXPORT_NAME)──► choosing ──(lock granted)──► transmitting
 *                      ▲ │ ABORT, unknown EXPORT_NAME   │ held: GO haggles on, EXPORT_NAME is over
 *                      └─┼──────────────────────────────┘
 *                        ▼
 *                       over
 */
export type NegotiationState =
  | { readonly at: 'clientFlags' }
  | ({ readonly at: 'haggling' } & Haggled)
  /** What was agreed in the clear may have been forged: nothing of it is here any more (CVE-2021-3716). */
  | { readonly at: 'startingTls'; readonly zeroes: boolean }
  | ({ readonly at: 'choosing'; readonly choice: Choice } & Haggled)
  /** From here on the client sends requests. */
  | { readonly at: 'transmitting'; readonly exportName: string; readonly channel: Channel; readonly terms: Terms }
  | { readonly at: 'over' };

interface Haggled {
  readonly channel: Channel;
  readonly zeroes: boolean;
  readonly agreement: Agreement;
}

/** The export that a client wants to use, and how it asked. */
export interface Choice {
  readonly option: typeof Option.Go | typeof Option.ExportName;
  readonly found: Export;
  readonly infoRequests: readonly number[];
}

export type NegotiationEvent =
  | { readonly kind: 'connected' }
  | HandshakeMessage
  /** The handshake is over, and this is who is there. */
  | { readonly kind: 'tlsBegun'; readonly peer: TlsPeer }
  | { readonly kind: 'lock'; readonly verdict: LockVerdict };

export type NegotiationCommand =
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /**
   * Say so, and take TLS from the next byte on. Bytes that have come behind the option are neither the one nor the other: they end it.
   */
  | { readonly kind: 'startTls'; readonly acknowledgement: Uint8Array }
  /** Take the board's writer lock and come back with the verdict. */
  | { readonly kind: 'takeDisk'; readonly board: string }
  /** Somebody did not get a disk: for journal and log. `exportName` is what was asked for, made printable. */
  | ({ readonly kind: 'tellRefused' } & RefusedDisk)
  /** What was sent goes out first. */
  | { readonly kind: 'close'; readonly because: string };

export interface RefusedDisk {
  readonly board: string | undefined;
  readonly exportName: string;
  readonly reason: RefusalReason;
  readonly because: string;
}

export interface NegotiationStep {
  readonly state: NegotiationState;
  readonly commands: readonly NegotiationCommand[];
}

const KNOWN_CLIENT_FLAGS = ClientFlag.FixedNewstyle | ClientFlag.NoZeroes;

export const NEGOTIATION_BEGINS: NegotiationState = { at: 'clientFlags' };

export function negotiate(state: NegotiationState, event: NegotiationEvent, exports: Exports): NegotiationStep {
  switch (event.kind) {
    case 'connected':
      return { state, commands: [send(encodeGreeting(HandshakeFlag.FixedNewstyle | HandshakeFlag.NoZeroes))] };
    case 'clientFlags':
      return checkFlags(event.flags);
    case 'option':
      assertAt(state, 'haggling');
      return answerOption(state, event, exports);
    case 'oversizedOption':
      assertAt(state, 'haggling');
      return answerOversized(state, event.option, event.lengthBytes, exports);
    case 'tlsBegun':
      assertAt(state, 'startingTls');
      return {
        state: {
          at: 'haggling',
          channel: { kind: 'tls', peer: event.peer },
          zeroes: state.zeroes,
          agreement: NOTHING_AGREED,
        },
        commands: [],
      };
    case 'lock':
      assertAt(state, 'choosing');
      return event.verdict.answer === 'granted' ? enter(state) : refuseDisk(state, event.verdict);
    default:
      return unreachable(event);
  }
}

// A flag that nobody offered must end it (proto.md, "Client flags"). A client without FIXED_NEWSTYLE is answered as if it had
// said so: it sends EXPORT_NAME and nothing else.
function checkFlags(flags: number): NegotiationStep {
  const unknown = (flags & ~KNOWN_CLIENT_FLAGS) >>> 0;
  if (unknown !== 0) return over([], `client flags ${unknown.toString(16)} mean nothing here`);
  const zeroes = (flags & ClientFlag.NoZeroes) === 0;
  return { state: { at: 'haggling', channel: CLEAR, zeroes, agreement: NOTHING_AGREED }, commands: [] };
}

type Haggling = Extract<NegotiationState, { readonly at: 'haggling' }>;
type Choosing = Extract<NegotiationState, { readonly at: 'choosing' }>;

function answerOption(
  state: Haggling,
  { option, body }: Extract<HandshakeMessage, { readonly kind: 'option' }>,
  exports: Exports,
): NegotiationStep {
  if (mustStartTls(state, option, exports)) return demandTls(state, option, body, exports);
  switch (option) {
    case Option.StartTls:
      return startTls(state, body, exports);
    case Option.ExportName:
      return chooseByName(state, body, exports);
    case Option.Abort:
      return over([send(encodeAck(option))], 'the client gave up');
    case Option.List:
      return stay(state, body.length === 0 ? list(state, exports) : [invalid(option, 'LIST takes no data')]);
    case Option.Info:
    case Option.Go:
      return answerExportRequest(state, option, body, exports);
    case Option.StructuredReply:
      return agreeOnReplies(state, option, body, 'structured');
    case Option.ExtendedHeaders:
      return agreeOnReplies(state, option, body, 'extended');
    case Option.ListMetaContext:
    case Option.SetMetaContext:
      return answerMetaContexts(state, option, body, exports);
    default:
      return stay(state, [refuse(option, OptionReply.ErrUnsup, `This server does not know option ${option}.`)]);
  }
}

function answerOversized(state: Haggling, option: number, lengthBytes: number, exports: Exports): NegotiationStep {
  if (mustStartTls(state, option, exports)) return demandTls(state, option, new Uint8Array(0), exports);
  if (option === Option.Abort) return over([send(encodeAck(option))], 'the client gave up');
  if (option === Option.ExportName) return over([], `an export name of ${lengthBytes} bytes`);
  return stay(state, [
    refuse(option, OptionReply.ErrTooBig, `${lengthBytes} bytes are too many for option ${option}.`),
  ]);
}

function mustStartTls({ channel }: Haggling, option: number, exports: Exports): boolean {
  if (exports.tls !== 'required' || channel.kind === 'tls') return false;
  return option !== Option.StartTls && option !== Option.Abort;
}

/** Whatever it is, also what nobody knows (proto.md, "FORCEDTLS mode"). That a disk was asked for is told all the same. */
function demandTls(state: Haggling, option: number, body: Uint8Array, exports: Exports): NegotiationStep {
  const asked = askedFor(option, body);
  const verdict = asked === undefined ? undefined : findExport(state, exports, asked);
  const isRefused = asked !== undefined && verdict !== undefined && verdict.answer !== 'export';
  const told = isRefused ? [tellRefused(asked, verdict)] : [];
  // proto.md: it cannot be answered with an error.
  if (option === Option.ExportName) return over(told, 'EXPORT_NAME without TLS');
  return stay(state, [
    refuse(option, OptionReply.ErrTlsReqd, 'This server talks over TLS only: STARTTLS first.'),
    ...told,
  ]);
}

/** The disk that it would take. */
function askedFor(option: number, body: Uint8Array): string | undefined {
  if (option === Option.ExportName) return decodeName(body);
  const request = option === Option.Go ? decoded(decodeExportRequest, body) : undefined;
  return request === undefined || request instanceof Malformed ? undefined : request.exportName;
}

function startTls(state: Haggling, body: Uint8Array, exports: Exports): NegotiationStep {
  const { channel, zeroes } = state;
  if (channel.kind === 'tls') return stay(state, [invalid(Option.StartTls, 'This is TLS already.')]);
  if (body.length > 0) return stay(state, [invalid(Option.StartTls, 'STARTTLS takes no data.')]);
  if (exports.tls === 'off') {
    const sentence = 'No TLS here: "nbd: { tls: ... }" in config.yaml would give it a certificate or keys.';
    return stay(state, [refuse(Option.StartTls, OptionReply.ErrPolicy, sentence)]);
  }
  return {
    state: { at: 'startingTls', zeroes },
    commands: [{ kind: 'startTls', acknowledgement: encodeAck(Option.StartTls) }],
  };
}

function list({ channel }: Haggling, exports: Exports): readonly NegotiationCommand[] {
  const entries = exports.names(channel).map((name) => {
    const verdict = exports.find(name, channel);
    const description = verdict.answer === 'export' ? verdict.found.description : '';
    return encodeOptionReply(Option.List, OptionReply.Server, encodeServerEntry({ exportName: name, description }));
  });
  return [...entries, encodeAck(Option.List)].map(send);
}

function answerExportRequest(
  state: Haggling,
  option: typeof Option.Info | typeof Option.Go,
  body: Uint8Array,
  exports: Exports,
): NegotiationStep {
  const request = decoded(decodeExportRequest, body);
  if (request instanceof Malformed) return stay(state, [invalidData(option, request)]);
  const verdict = findExport(state, exports, request.exportName);
  if (verdict.answer !== 'export') return refuseExport(state, option, request.exportName, verdict, exports);
  const { found } = verdict;
  if (option === Option.Go) return choose(state, { option, found, infoRequests: request.infoRequests });
  return stay(state, [...infoReplies(state, option, found, request.infoRequests), send(encodeAck(option))]);
}

/** Said twice it changes nothing, and extended headers go before structured replies (proto.md, `NBD_OPT_EXTENDED_HEADERS`). */
function agreeOnReplies(
  state: Haggling,
  option: number,
  body: Uint8Array,
  replies: 'structured' | 'extended',
): NegotiationStep {
  if (body.length > 0) return stay(state, [invalid(option, 'This option takes no data.')]);
  if (replies === 'structured' && state.agreement.replies === 'extended') {
    return stay(state, [refuse(option, OptionReply.ErrExtHeaderReqd, 'Extended headers were negotiated already.')]);
  }
  return stay(agreeing(state, { replies }), [send(encodeAck(option))]);
}

/** SET forgets what was set before, also where it fails. */
function answerMetaContexts(
  before: Haggling,
  option: typeof Option.ListMetaContext | typeof Option.SetMetaContext,
  body: Uint8Array,
  exports: Exports,
): NegotiationStep {
  const sets = option === Option.SetMetaContext;
  const state = sets ? agreeing(before, { allocationOf: undefined }) : before;
  if (state.agreement.replies === 'simple') {
    return stay(state, [invalid(option, 'Negotiate structured replies first (STRUCTURED_REPLY).')]);
  }
  const request = decoded(decodeMetaContextRequest, body);
  if (request instanceof Malformed) return stay(state, [invalidData(option, request)]);
  const verdict = findExport(state, exports, request.exportName);
  if (verdict.answer !== 'export') return refuseExport(state, option, request.exportName, verdict, exports);
  const contexts = contextsFor(option, request.queries);
  const replies = contexts.map((context) =>
    encodeOptionReply(option, OptionReply.MetaContext, encodeMetaContext(context)),
  );
  const after = sets && contexts.length > 0 ? agreeing(state, { allocationOf: verdict.found.name }) : state;
  return stay(after, [...replies, encodeAck(option)].map(send));
}

function decoded<T>(decode: (body: Uint8Array) => T, body: Uint8Array): T | Malformed {
  try {
    return decode(body);
  } catch (error) {
    if (error instanceof Malformed) return error;
    throw error;
  }
}

type NoExport = Exclude<ExportVerdict, { readonly answer: 'export' }>;

function refuseExport(
  state: Haggling,
  option: number,
  asked: string,
  verdict: NoExport,
  exports: Exports,
): NegotiationStep {
  const sentence =
    verdict.answer === 'unknown'
      ? refuse(option, OptionReply.ErrUnknown, unknownSentence(asked, exports.names(state.channel)))
      : refuse(option, refusedCode(verdict.because), refusedSentence(verdict.board, verdict.because));
  // INFO only asks: nobody was kept from a disk.
  return stay(state, option === Option.Go ? [sentence, tellRefused(asked, verdict)] : [sentence]);
}

// EXPORT_NAME cannot be answered with an error: closing is all there is (proto.md, `NBD_OPT_EXPORT_NAME`).
function chooseByName(state: Haggling, body: Uint8Array, exports: Exports): NegotiationStep {
  if (body.length > NBD_NAME_BYTES_MAX) return over([], `an export name of ${body.length} bytes`);
  if (state.agreement.replies === 'extended') return over([], 'EXPORT_NAME after extended headers, which need GO');
  const asked = decodeName(body);
  const verdict = findExport(state, exports, asked);
  if (verdict.answer === 'export') {
    return choose(state, { option: Option.ExportName, found: verdict.found, infoRequests: [] });
  }
  return over([tellRefused(asked, verdict)], 'no such export for this client');
}

function choose(state: Haggling, choice: Choice): NegotiationStep {
  return {
    state: { ...state, at: 'choosing', choice },
    commands: [{ kind: 'takeDisk', board: choice.found.name }],
  };
}

function enter(state: Choosing): NegotiationStep {
  const { channel, zeroes, agreement, choice } = state;
  const { option, found, infoRequests } = choice;
  const replies =
    option === Option.Go
      ? [...infoReplies(state, option, found, infoRequests), send(encodeAck(option))]
      : [send(encodeExportNameReply(exportFacts(found, agreement), { zeroes }))];
  return {
    state: { at: 'transmitting', exportName: found.name, channel, terms: termsOf(agreement, found.name) },
    commands: replies,
  };
}

function refuseDisk(
  { channel, zeroes, agreement, choice }: Choosing,
  verdict: Exclude<LockVerdict, { answer: 'granted' }>,
): NegotiationStep {
  const { option, found } = choice;
  const { name } = found;
  const isHeld = verdict.answer === 'held';
  const because = isHeld ? `held by ${verdict.by}` : verdict.because;
  const reason = isHeld ? 'in_use' : 'unusable';
  const told: NegotiationCommand = { kind: 'tellRefused', board: name, exportName: name, reason, because };
  if (option === Option.ExportName) return over([told], `${name}: ${because}`);
  const sentence = isHeld
    ? `The disk of ${name} is in use by ${verdict.by}, which answers. Shut that one down first, or give this board an entry of its own in the inventory.`
    : refusedSentence(name, { kind: 'unusable', because });
  return stay({ at: 'haggling', channel, zeroes, agreement }, [refuse(option, OptionReply.ErrPolicy, sentence), told]);
}

function infoReplies(
  { agreement }: Haggling | Choosing,
  option: number,
  found: Export,
  asked: readonly number[],
): readonly NegotiationCommand[] {
  return exportInfos(found, agreement, asked).map((info) =>
    send(encodeOptionReply(option, OptionReply.Info, encodeInfoReply(info))),
  );
}

function agreeing(state: Haggling, more: Partial<Agreement>): Haggling {
  return { ...state, agreement: { ...state.agreement, ...more } };
}

// The initramfs's `nbdroot=host:/name` asks for "/name".
function findExport({ channel }: Haggling, exports: Exports, asked: string): ExportVerdict {
  return exports.find(asked.startsWith('/') ? asked.slice(1) : asked, channel);
}

function tellRefused(asked: string, verdict: NoExport): NegotiationCommand {
  const exportName = shortened(asked, 63);
  return verdict.answer === 'unknown'
    ? { kind: 'tellRefused', board: undefined, exportName, reason: 'unknown', because: 'not in the inventory' }
    : { kind: 'tellRefused', board: verdict.board, exportName, ...refusedReason(verdict.because) };
}

function send(bytes: Uint8Array): NegotiationCommand {
  return { kind: 'send', bytes };
}

function refuse(option: number, reply: number, sentence: string): NegotiationCommand {
  return send(encodeSentence(option, reply, sentence));
}

function invalidData(option: number, { message }: Malformed): NegotiationCommand {
  return invalid(option, `The data of the option is wrong: ${message}.`);
}

function invalid(option: number, sentence: string): NegotiationCommand {
  return refuse(option, OptionReply.ErrInvalid, sentence);
}

function stay(state: Haggling, commands: readonly NegotiationCommand[]): NegotiationStep {
  return { state, commands };
}

function over(commands: readonly NegotiationCommand[], because: string): NegotiationStep {
  return { state: { at: 'over' }, commands: [...commands, { kind: 'close', because }] };
}

/** The framing and the server keep to the order of states; a peer cannot change that. */
function assertAt<At extends NegotiationState['at']>(
  state: NegotiationState,
  at: At,
): asserts state is Extract<NegotiationState, { readonly at: At }> {
  if (state.at !== at) throw new Error(`negotiation is at ${state.at}, not ${at}`);
}
