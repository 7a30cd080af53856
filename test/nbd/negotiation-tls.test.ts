// proto.md, "TLS support": what is answered in which of the three modes, before STARTTLS and after it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSubnet } from '../../src/base/subnets.js';
import type { Board, TlsMode } from '../../src/boards/board.js';
import { exportsFor } from '../../src/nbd/handshake/admission.js';
import { NOTHING_AGREED } from '../../src/nbd/handshake/agreement.js';
import {
  type NegotiationEvent,
  type NegotiationState,
  type NegotiationStep,
  negotiate,
} from '../../src/nbd/handshake/negotiation.js';
import { CLEAR, type TlsPeer } from '../../src/nbd/handshake/tls-peer.js';
import { Option, OptionReply } from '../../src/nbd/wire/constants.js';
import { decodeName, decodeOptionReplyHeader, encodeExportRequest } from '../../src/nbd/wire/handshake-wire.js';
import { encodeMetaContextRequest } from '../../src/nbd/wire/meta-context-wire.js';
import { diskBoard, lookupOf } from '../support/boards.js';
import { ascii } from '../support/nbd-bytes.js';

const NOTHING = new Uint8Array(0);
const BEGUN: NegotiationState = { at: 'haggling', channel: CLEAR, zeroes: true, agreement: NOTHING_AGREED };
const ANYBODY: TlsPeer = { kind: 'anonymous' };

const STARTTLS = option(Option.StartTls);
const STRUCTURED = option(Option.StructuredReply);
const LIST = option(Option.List);
const CONTEXT = option(
  Option.SetMetaContext,
  encodeMetaContextRequest({ exportName: 'free', queries: ['base:allocation'] }),
);

function option(code: number, body: Uint8Array = NOTHING): NegotiationEvent {
  return { kind: 'option', option: code, body };
}

function ask(code: number, exportName: string): NegotiationEvent {
  return option(code, encodeExportRequest({ exportName, infoRequests: [] }));
}

function byName(exportName: string): NegotiationEvent {
  return option(Option.ExportName, ascii(exportName));
}

function begun(peer: TlsPeer = ANYBODY): NegotiationEvent {
  return { kind: 'tlsBegun', peer };
}

interface World {
  readonly server?: TlsMode | undefined;
  readonly boards: Readonly<Record<string, TlsMode>>;
  readonly allow?: string;
  readonly from?: string;
}

const SELECTIVE: World = { server: 'allowed', boards: { free: 'allowed', secret: 'required', plain: 'off' } };
const FORCED: World = { server: 'required', boards: { secret: 'required', other: 'required' } };

function boardOf(name: string, tls: TlsMode, allow: string | undefined): Board {
  const subnet = allow === undefined ? undefined : parseSubnet(allow);
  return { ...diskBoard(name, 4096), access: { allow: subnet && [subnet], tls } };
}

/** Several events after each other, from a client that has just sent its flags. */
function said({ server, boards, allow, from = '10.0.0.7' }: World, ...events: readonly NegotiationEvent[]) {
  const lookup = lookupOf(...Object.entries(boards).map(([name, tls]) => boardOf(name, tls, allow)));
  const exports = exportsFor(from, lookup, server);
  return events.reduce<NegotiationStep>(
    (so, event) => {
      const { state, commands } = negotiate(so.state, event, exports);
      return { state, commands: [...so.commands, ...commands] };
    },
    { state: BEGUN, commands: [] },
  );
}

function replyCodes({ commands }: NegotiationStep): readonly number[] {
  return commands.flatMap((command) => (command.kind === 'send' ? [decodeOptionReplyHeader(command.bytes).reply] : []));
}

function kinds({ commands }: NegotiationStep): readonly string[] {
  return commands.map(({ kind }) => kind);
}

function sentence({ commands }: NegotiationStep): string {
  const sent = commands.flatMap((command) => (command.kind === 'send' ? [command.bytes] : []));
  return decodeName(sent.at(-1)?.subarray(20) ?? NOTHING);
}

function refusals({ commands }: NegotiationStep): readonly unknown[] {
  return commands.flatMap((command) => (command.kind === 'tellRefused' ? [[command.board, command.reason]] : []));
}

function listed(world: World, ...events: readonly NegotiationEvent[]): readonly string[] {
  const after = said(world, ...events, LIST);
  const servers = after.commands.flatMap((command) =>
    command.kind === 'send' && decodeOptionReplyHeader(command.bytes).reply === OptionReply.Server
      ? [decodeName(command.bytes.subarray(24)).split('Disk')[0] ?? '']
      : [],
  );
  assert.equal(replyCodes(after).at(-1), OptionReply.Ack);
  return servers;
}

describe('without certificate or key', () => {
  for (const server of [undefined, 'off'] as const) {
    const world: World = { server, boards: { node1: 'off' } };
    test(`STARTTLS is refused by policy (nbd.tls.mode ${server ?? 'not there'}), and the client goes on in the clear`, () => {
      const after = said(world, STARTTLS);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrPolicy]);
      assert.match(sentence(after), /tls: \.\.\./);
      assert.deepEqual(after.state, BEGUN);
      assert.deepEqual(listed(world, STARTTLS), ['node1']);
      assert.deepEqual(kinds(said(world, STARTTLS, ask(Option.Go, 'node1'))), ['send', 'takeDisk']);
    });
  }

  test('no board is had over TLS only, whatever it says: there would be no way to it', () => {
    assert.deepEqual(replyCodes(said({ boards: { node1: 'allowed' } }, STARTTLS)), [OptionReply.ErrPolicy]);
  });
});

describe('STARTTLS', () => {
  test('is acknowledged by whoever does the handshake, and until that is over nothing else is said', () => {
    for (const world of [SELECTIVE, FORCED]) {
      const after = said(world, STARTTLS);
      assert.deepEqual(kinds(after), ['startTls']);
      assert.deepEqual(after.state, { at: 'startingTls', zeroes: true });
      assert.throws(() => said(world, STARTTLS, LIST), /not haggling/);
    }
  });

  test('takes no data', () => {
    for (const world of [SELECTIVE, FORCED]) {
      const after = said(world, option(Option.StartTls, ascii('x')));
      assert.deepEqual(replyCodes(after), [OptionReply.ErrInvalid]);
      assert.deepEqual(after.state, BEGUN);
    }
  });

  test('over TLS is invalid, and TLS goes on', () => {
    for (const world of [SELECTIVE, FORCED]) {
      const after = said(world, STARTTLS, begun(), STARTTLS);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrInvalid]);
      assert.deepEqual(after.state, said(world, STARTTLS, begun()).state);
    }
  });

  test('makes all that was agreed before it forgotten: structured replies, extended headers, contexts', () => {
    const fresh = said(SELECTIVE, STARTTLS, begun()).state;
    assert.deepEqual(fresh, { ...BEGUN, channel: { kind: 'tls', peer: ANYBODY } });
    for (const before of [[STRUCTURED], [STRUCTURED, CONTEXT], [option(Option.ExtendedHeaders)]]) {
      assert.notDeepEqual(said(SELECTIVE, ...before).state, BEGUN);
      assert.deepEqual(said(SELECTIVE, ...before, STARTTLS, begun()).state, fresh);
    }
    const granted: NegotiationEvent = { kind: 'lock', verdict: { answer: 'granted' } };
    const { state } = said(SELECTIVE, STRUCTURED, CONTEXT, STARTTLS, begun(), ask(Option.Go, 'free'), granted);
    assert.ok(state.at === 'transmitting');
    assert.deepEqual([state.terms.form.inChunks, state.terms.tellsAllocation], [false, false]);
  });

  test('leaves open whether the zeroes are wanted: that is a flag, and no option', () => {
    const exports = exportsFor('10.0.0.7', lookupOf(), 'allowed');
    const haggling = negotiate({ at: 'clientFlags' }, { kind: 'clientFlags', flags: 3 }, exports).state;
    const after = negotiate(negotiate(haggling, STARTTLS, exports).state, begun(), exports).state;
    assert.ok(after.at === 'haggling' && !after.zeroes);
  });
});

describe('where every board needs TLS', () => {
  test('every option but STARTTLS and ABORT is told so, known or not, sound or not', () => {
    const options = [LIST, STRUCTURED, CONTEXT, ask(Option.Info, 'secret'), ask(Option.Go, 'secret')];
    const strange = [option(Option.ExtendedHeaders), option(4711), option(Option.Go, ascii('nonsense'))];
    const oversized: NegotiationEvent = { kind: 'oversizedOption', option: Option.Info, lengthBytes: 9_000 };
    for (const asked of [...options, ...strange, oversized]) {
      const after = said(FORCED, asked);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrTlsReqd]);
      assert.deepEqual(after.state, BEGUN);
    }
    assert.deepEqual(replyCodes(said(FORCED, option(Option.Abort))), [OptionReply.Ack]);
  });

  test('EXPORT_NAME ends it, since it has no other answer', () => {
    for (const name of ['secret', 'nobody']) {
      const after = said(FORCED, byName(name));
      assert.equal(after.state.at, 'over');
      assert.deepEqual(replyCodes(after), []);
    }
  });

  test('who wanted a disk is told of, so that its boot is known to have failed, and why', () => {
    assert.deepEqual(refusals(said(FORCED, ask(Option.Go, '/secret'))), [['secret', 'tls']]);
    assert.deepEqual(refusals(said(FORCED, byName('secret'))), [['secret', 'tls']]);
    assert.deepEqual(refusals(said(FORCED, ask(Option.Go, 'nobody'))), [[undefined, 'unknown']]);
    assert.deepEqual(refusals(said(FORCED, ask(Option.Info, 'secret'))), []);
  });

  test('all is answered over TLS, and TLS_REQD never again', () => {
    const after = said(FORCED, STARTTLS, begun(), STRUCTURED, ask(Option.Info, 'nobody'), ask(Option.Go, 'secret'));
    assert.deepEqual(replyCodes(after), [OptionReply.Ack, OptionReply.ErrUnknown]);
    assert.equal(after.commands.at(-1)?.kind, 'takeDisk');
    assert.deepEqual(listed(FORCED, STARTTLS, begun()), ['secret', 'other']);
  });

  test('a process of this host goes on in the clear: nothing of it leaves the machine', () => {
    const host: World = { ...FORCED, from: 'unix:4711@3' };
    assert.deepEqual(kinds(said(host, ask(Option.Go, 'secret'))), ['takeDisk']);
    assert.deepEqual(kinds(said(host, STARTTLS)), ['startTls']);
  });
});

describe('where boards differ', () => {
  const tls = [STARTTLS, begun()] as const;

  test('each is listed to who may have it: without TLS and with', () => {
    assert.deepEqual(listed(SELECTIVE), ['free', 'plain']);
    assert.deepEqual(listed(SELECTIVE, ...tls), ['free', 'secret']);
  });

  test('one that needs TLS is refused without: GO, INFO and contexts with TLS_REQD, EXPORT_NAME by the end', () => {
    const context = encodeMetaContextRequest({ exportName: 'secret', queries: [] });
    for (const asked of [ask(Option.Go, 'secret'), ask(Option.Info, '/secret')]) {
      const after = said(SELECTIVE, asked);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrTlsReqd]);
      assert.match(sentence(after), /^The disk of secret is served over TLS only/);
    }
    const after = said(SELECTIVE, STRUCTURED, option(Option.SetMetaContext, context));
    assert.deepEqual(replyCodes(after), [OptionReply.Ack, OptionReply.ErrTlsReqd]);
    assert.equal(said(SELECTIVE, byName('secret')).state.at, 'over');
    assert.deepEqual(kinds(said(SELECTIVE, ...tls, ask(Option.Go, 'secret'))), ['startTls', 'takeDisk']);
  });

  test('one that is `off` is refused over TLS, by policy', () => {
    const after = said(SELECTIVE, ...tls, ask(Option.Go, 'plain'));
    assert.deepEqual(replyCodes(after), [OptionReply.ErrPolicy]);
    assert.deepEqual(refusals(after), [['plain', 'tls']]);
    assert.deepEqual(kinds(said(SELECTIVE, ask(Option.Go, 'plain'))), ['takeDisk']);
  });

  test('a board may say otherwise than the server, in either direction', () => {
    const loose: World = { server: 'required', boards: { free: 'allowed', secret: 'required' } };
    assert.deepEqual(listed(loose), ['free']);
    const strict: World = { server: 'off', boards: { secret: 'required', plain: 'off' } };
    assert.deepEqual(listed(strict), ['plain']);
    assert.deepEqual(listed(strict, ...tls), ['secret']);
  });

  test('an address that is not in `allow` is refused over TLS too', () => {
    const after = said({ ...SELECTIVE, allow: '10.0.1.0/24' }, ...tls, ask(Option.Go, 'secret'));
    assert.deepEqual(refusals(after), [['secret', 'address']]);
    assert.deepEqual(listed({ ...SELECTIVE, allow: '10.0.1.0/24' }, ...tls), []);
  });
});

describe('who comes by a key', () => {
  const key: TlsPeer = { kind: 'psk', identity: 'secret' };

  test('has the disk of that name, and sees no other', () => {
    assert.deepEqual(kinds(said(FORCED, STARTTLS, begun(key), ask(Option.Go, 'secret'))), ['startTls', 'takeDisk']);
    assert.deepEqual(listed(FORCED, STARTTLS, begun(key)), ['secret']);
  });

  test('is refused every other one, in words, with the reason for log and metric', () => {
    const after = said(FORCED, STARTTLS, begun(key), ask(Option.Go, 'other'));
    assert.deepEqual(replyCodes(after), [OptionReply.ErrPolicy]);
    assert.match(
      sentence(after),
      /^The disk of other is not for the key of secret\. It takes .* in the name of other\.$/,
    );
    assert.deepEqual(refusals(after), [['other', 'identity']]);
  });

  test('is not believed for what a name has in common with another', () => {
    for (const identity of ['', 'secre', 'secrets', 'SECRET', 'secret ', 'secret\0', '*']) {
      assert.deepEqual(listed(FORCED, STARTTLS, begun({ kind: 'psk', identity })), [], JSON.stringify(identity));
    }
  });

  test('by a Unix socket has the disk of that name only, too', () => {
    const after = said({ ...FORCED, from: 'unix:4711@3' }, STARTTLS, begun(key), ask(Option.Go, 'other'));
    assert.deepEqual(refusals(after), [['other', 'identity']]);
  });
});
