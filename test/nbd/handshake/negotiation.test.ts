import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { NBD_NAME_BYTES_MAX } from '../../../src/base/limits.js';
import type { Exports } from '../../../src/nbd/handshake/admission.js';
import { NOTHING_AGREED, termsOf } from '../../../src/nbd/handshake/agreement.js';
import type { Export } from '../../../src/nbd/handshake/export-info.js';
import {
  NEGOTIATION_BEGINS,
  type NegotiationCommand,
  type NegotiationEvent,
  type NegotiationState,
  type NegotiationStep,
  negotiate,
} from '../../../src/nbd/handshake/negotiation.js';
import { CLEAR } from '../../../src/nbd/handshake/tls-peer.js';
import { EXTENDED_REPLIES } from '../../../src/nbd/session/reply-form.js';
import { Info, Option, OptionReply, TransmissionFlag } from '../../../src/nbd/wire/constants.js';
import type { HandshakeMessage } from '../../../src/nbd/wire/framing.js';
import {
  decodeInfoReply,
  decodeName,
  decodeOptionReplyHeader,
  decodeServerEntry,
  encodeExportRequest,
  OPTION_REPLY_HEADER_BYTES,
} from '../../../src/nbd/wire/handshake-wire.js';
import { decodeMetaContext, encodeMetaContextRequest } from '../../../src/nbd/wire/meta-context-wire.js';
import { EXTENDED_REQUESTS } from '../../../src/nbd/wire/transmission-wire.js';
import { ascii, hex, joined } from '../../support/nbd-bytes.js';

const NOTHING = new Uint8Array(0);
const EXPORTS = exportsNamed('node1', 'node2');
const HAGGLING: NegotiationState = { at: 'haggling', channel: CLEAR, zeroes: false, agreement: NOTHING_AGREED };
const STRUCTURED = {
  at: 'haggling',
  channel: CLEAR,
  zeroes: false,
  agreement: { ...NOTHING_AGREED, replies: 'structured' },
} as const;
const GRANTED: NegotiationEvent = { kind: 'lock', verdict: { answer: 'granted' } };
const HELD: NegotiationEvent = { kind: 'lock', verdict: { answer: 'held', by: '192.168.1.7' } };

function exportOf(name: string): Export {
  return { name, sizeBytes: 2 ** 34, description: `Disk of ${name}`, rotational: false };
}

function exportsNamed(...names: readonly string[]): Exports {
  return {
    find: (name) => (names.includes(name) ? { answer: 'export', found: exportOf(name) } : { answer: 'unknown' }),
    names: () => names,
    tls: 'off',
  };
}

function option(code: number, body: Uint8Array = NOTHING): HandshakeMessage {
  return { kind: 'option', option: code, body };
}

function ask(code: number, exportName: string, infoRequests: readonly number[] = []): HandshakeMessage {
  return option(code, encodeExportRequest({ exportName, infoRequests }));
}

function step(event: NegotiationEvent, state: NegotiationState = HAGGLING, exports = EXPORTS): NegotiationStep {
  return negotiate(state, event, exports);
}

/** Several events after each other: the last state and all commands. */
function steps(state: NegotiationState, ...events: readonly NegotiationEvent[]): NegotiationStep {
  return events.reduce<NegotiationStep>(
    (so, event) => {
      const next = negotiate(so.state, event, EXPORTS);
      return { state: next.state, commands: [...so.commands, ...next.commands] };
    },
    { state, commands: [] },
  );
}

interface Reply {
  readonly option: number;
  readonly reply: number;
  readonly body: Uint8Array;
}

function replies({ commands }: NegotiationStep): Reply[] {
  return commands.flatMap((command) => (command.kind === 'send' ? [replyOf(command.bytes)] : []));
}

function replyOf(bytes: Uint8Array): Reply {
  const header = decodeOptionReplyHeader(bytes);
  assert.equal(bytes.length, OPTION_REPLY_HEADER_BYTES + header.lengthBytes);
  return { option: header.option, reply: header.reply, body: bytes.subarray(OPTION_REPLY_HEADER_BYTES) };
}

function replyCodes(of: NegotiationStep): number[] {
  return replies(of).map(({ reply }) => reply);
}

function kinds({ commands }: NegotiationStep): NegotiationCommand['kind'][] {
  return commands.map(({ kind }) => kind);
}

function sentence(of: NegotiationStep): string {
  return decodeName(replies(of).at(-1)?.body ?? NOTHING);
}

describe('the beginning', () => {
  test('is the greeting with both handshake flags', () => {
    const { commands } = step({ kind: 'connected' }, NEGOTIATION_BEGINS);
    assert.deepEqual(commands, [{ kind: 'send', bytes: hex('4e42444d41474943 49484156454f5054 0003') }]);
  });
  test('remembers whether the client wants the zeroes', () => {
    for (const [flags, zeroes] of [
      [0, true],
      [1, true],
      [2, false],
      [3, false],
    ] as const) {
      const { state } = step({ kind: 'clientFlags', flags }, NEGOTIATION_BEGINS);
      assert.deepEqual(state, { at: 'haggling', channel: CLEAR, zeroes, agreement: NOTHING_AGREED });
    }
  });
  test('is the end for a client that sets any other flag', () => {
    for (let bit = 2; bit < 32; bit += 1) {
      const after = step({ kind: 'clientFlags', flags: (1 << bit) >>> 0 }, NEGOTIATION_BEGINS);
      assert.equal(after.state.at, 'over');
      assert.deepEqual(kinds(after), ['close']);
    }
  });
});

describe('LIST', () => {
  test('names every board and acknowledges', () => {
    const after = step(option(Option.List));
    assert.deepEqual(replyCodes(after), [OptionReply.Server, OptionReply.Server, OptionReply.Ack]);
    assert.deepEqual(
      replies(after)
        .slice(0, 2)
        .map(({ body }) => decodeServerEntry(body)),
      ['node1', 'node2'].map((exportName) => ({ exportName, description: `Disk of ${exportName}` })),
    );
  });
  test('acknowledges an empty inventory', () => {
    assert.deepEqual(replyCodes(step(option(Option.List), HAGGLING, exportsNamed())), [OptionReply.Ack]);
  });
  test('takes no data', () => {
    assert.deepEqual(replyCodes(step(option(Option.List, hex('00')))), [OptionReply.ErrInvalid]);
  });
});

describe('INFO', () => {
  test('tells size and flags, and takes no lock', () => {
    const after = step(ask(Option.Info, 'node1'));
    assert.deepEqual(replyCodes(after), [OptionReply.Info, OptionReply.Ack]);
    // HAS_FLAGS 1, SEND_FLUSH 4, SEND_FUA 8, SEND_TRIM 32, SEND_WRITE_ZEROES 64, CAN_MULTI_CONN 256, SEND_CACHE 1024,
    // SEND_FAST_ZERO 2048
    const told = decodeInfoReply(replies(after)[0]?.body ?? NOTHING);
    assert.deepEqual(told, { kind: 'export', sizeBytes: 2n ** 34n, transmissionFlags: 0x0d6d });
    assert.deepEqual(after.state, HAGGLING);
  });
  test('tells name and block sizes to who asks for them, and passes over what it does not know', () => {
    const after = step(ask(Option.Info, '/node1', [Info.BlockSize, 999, Info.Name, Info.Description]));
    const infos = replies(after)
      .slice(0, -1)
      .map(({ body }) => decodeInfoReply(body));
    assert.deepEqual(infos.slice(1), [
      { kind: 'name', exportName: 'node1' },
      { kind: 'description', description: 'Disk of node1' },
      { kind: 'blockSize', minimum: 1, preferred: 4096, maximumPayload: 64 * 1024 * 1024 },
    ]);
  });
  test('tells of a disk that turns', () => {
    const turning: Exports = {
      tls: 'off',
      names: () => [],
      find: (name) => ({ answer: 'export', found: { ...exportOf(name), rotational: true } }),
    };
    const told = decodeInfoReply(replies(step(ask(Option.Info, 'node1'), HAGGLING, turning))[0]?.body ?? NOTHING);
    assert.ok(told.kind === 'export' && told.transmissionFlags === 0x0d7d);
  });
  test('of an unknown export is an error and no refusal: nobody wanted the disk', () => {
    const after = step(ask(Option.Info, 'node9'));
    assert.deepEqual(replyCodes(after), [OptionReply.ErrUnknown]);
    assert.deepEqual(kinds(after), ['send']);
  });
});

describe('GO', () => {
  test('asks for the disk first and answers when it has it', () => {
    const asked = step(ask(Option.Go, 'node1'));
    assert.deepEqual(asked.commands, [{ kind: 'takeDisk', board: 'node1' }]);
    const granted = step(GRANTED, asked.state);
    assert.deepEqual(replyCodes(granted), [OptionReply.Info, OptionReply.Ack]);
    assert.deepEqual(granted.state, {
      at: 'transmitting',
      exportName: 'node1',
      channel: CLEAR,
      terms: termsOf(NOTHING_AGREED, 'node1'),
    });
  });
  test('answers what INFO answered', () => {
    const infos = [Info.BlockSize, Info.Name];
    const informed = replies(step(ask(Option.Info, 'node1', infos))).map(({ reply, body }) => ({ reply, body }));
    const gone = replies(steps(HAGGLING, ask(Option.Go, 'node1', infos), GRANTED)).map(({ reply, body }) => ({
      reply,
      body,
    }));
    assert.deepEqual(gone, informed);
  });
  test('says who holds the disk, and the client may ask again', () => {
    const after = steps(HAGGLING, ask(Option.Go, 'node1'), HELD);
    assert.deepEqual(replyCodes(after), [OptionReply.ErrPolicy]);
    assert.match(sentence(after), /node1 is in use by 192\.168\.1\.7/);
    assert.deepEqual(after.commands.at(-1), {
      kind: 'tellRefused',
      board: 'node1',
      exportName: 'node1',
      reason: 'in_use',
      because: 'held by 192.168.1.7',
    });
    assert.deepEqual(after.state, HAGGLING);
    assert.equal(steps(after.state, ask(Option.Go, 'node2'), GRANTED).state.at, 'transmitting');
  });
  test('ignores one leading slash', () => {
    assert.deepEqual(step(ask(Option.Go, '/node1')).commands, [{ kind: 'takeDisk', board: 'node1' }]);
    assert.deepEqual(replyCodes(step(ask(Option.Go, '//node1'))), [OptionReply.ErrUnknown]);
  });
  test('has no default export', () => assert.deepEqual(replyCodes(step(ask(Option.Go, ''))), [OptionReply.ErrUnknown]));
});

describe('the sentence for an unknown export', () => {
  test('says what to add to the inventory, and what is in it', () => {
    const after = step(ask(Option.Go, 'node9'));
    assert.match(sentence(after), /node9: \{ serial: <serial>, image: <image>/);
    assert.match(sentence(after), /node1, node2/);
    assert.deepEqual(after.commands.at(-1), {
      kind: 'tellRefused',
      board: undefined,
      exportName: 'node9',
      reason: 'unknown',
      because: 'not in the inventory',
    });
  });
  test('does not advise a name that no board can have', () => {
    assert.match(sentence(step(ask(Option.Go, 'Küche'))), /a-z, 0-9/);
  });
  test('is one printable line, whatever the name and however many boards there are', () => {
    const many = exportsNamed(...Array.from({ length: 1000 }, (_, index) => `board-${index}`));
    const names = [
      '\u001b[2J\nroot:',
      '\u0000',
      'x'.repeat(NBD_NAME_BYTES_MAX),
      '💥'.repeat(1000),
      ...[256, 257, 4095].map((length) => 'n'.repeat(length)),
    ];
    for (const name of names) {
      const after = step(ask(Option.Go, name), HAGGLING, many);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrUnknown]);
      assert.match(sentence(after), /^[\x20-\x7e]{1,800}$/);
    }
  });
});

describe('EXPORT_NAME', () => {
  const facts = hex('0000000400000000 0d6d');
  test('is answered without a header, with 124 zeroes for who did not decline them', () => {
    for (const zeroes of [true, false]) {
      const after = steps({ ...HAGGLING, zeroes }, option(Option.ExportName, ascii('/node1')), GRANTED);
      const sent = after.commands.flatMap((command) => (command.kind === 'send' ? [command.bytes] : []));
      assert.deepEqual(sent, [zeroes ? joined(facts, new Uint8Array(124)) : facts]);
      assert.equal(after.state.at, 'transmitting');
    }
  });
  test('of an unknown board ends it, as do a held one and a name that is too long', () => {
    const unknown = step(option(Option.ExportName, ascii('node9')));
    assert.deepEqual(kinds(unknown), ['tellRefused', 'close']);
    const held = steps(HAGGLING, option(Option.ExportName, ascii('node1')), HELD);
    assert.deepEqual(kinds(held), ['takeDisk', 'tellRefused', 'close']);
    const long = step(option(Option.ExportName, new Uint8Array(NBD_NAME_BYTES_MAX + 1).fill(0x61)));
    assert.deepEqual(kinds(long), ['close']);
    for (const after of [unknown, held, long]) assert.equal(after.state.at, 'over');
  });
});

describe('STRUCTURED_REPLY', () => {
  test('is agreed on, also twice', () => {
    const after = steps(HAGGLING, option(Option.StructuredReply), option(Option.StructuredReply));
    assert.deepEqual(replyCodes(after), [OptionReply.Ack, OptionReply.Ack]);
    assert.deepEqual(after.state, STRUCTURED);
  });
  test('takes no data', () => {
    const after = step(option(Option.StructuredReply, hex('00')));
    assert.deepEqual(replyCodes(after), [OptionReply.ErrInvalid]);
    assert.deepEqual(after.state, HAGGLING);
  });
  test('outlives whatever is asked between it and the export, and then holds', () => {
    const asked = [option(Option.List), ask(Option.Info, 'node9'), ask(Option.Go, 'node1'), HELD, option(4711)];
    const after = steps(STRUCTURED, ...asked);
    assert.deepEqual(after.state, STRUCTURED);
    for (const chosen of [ask(Option.Go, 'node1'), option(Option.ExportName, ascii('node1'))]) {
      const { state } = steps(after.state, chosen, GRANTED);
      assert.deepEqual(state, {
        at: 'transmitting',
        exportName: 'node1',
        channel: CLEAR,
        terms: termsOf(STRUCTURED.agreement, 'node1'),
      });
    }
  });
  test('makes DF possible, which is told only then', () => {
    const flagsTold = (state: NegotiationState) => {
      const told = decodeInfoReply(replies(step(ask(Option.Info, 'node1'), state))[0]?.body ?? NOTHING);
      return told.kind === 'export' ? told.transmissionFlags : 0;
    };
    assert.equal(flagsTold(HAGGLING) & TransmissionFlag.SendDf, 0);
    assert.equal(flagsTold(STRUCTURED), flagsTold(HAGGLING) | TransmissionFlag.SendDf);
  });
});

describe('EXTENDED_HEADERS', () => {
  const extended = option(Option.ExtendedHeaders);
  test('are agreed on, with structured replies before or without, also twice', () => {
    for (const asked of [[extended], [option(Option.StructuredReply), extended], [extended, extended]]) {
      const after = steps(HAGGLING, ...asked);
      assert.ok(replyCodes(after).every((code) => code === OptionReply.Ack));
      const { state } = steps(after.state, ask(Option.Go, 'node1'), GRANTED);
      assert.ok(state.at === 'transmitting');
      assert.deepEqual(state.terms, {
        form: EXTENDED_REPLIES,
        requests: EXTENDED_REQUESTS,
        replies: 'extended',
        tellsAllocation: false,
      });
    }
  });
  test('go before structured replies, which cannot be had back', () => {
    const after = steps(HAGGLING, extended, option(Option.StructuredReply));
    assert.deepEqual(replyCodes(after), [OptionReply.Ack, OptionReply.ErrExtHeaderReqd]);
    assert.deepEqual(after.state, steps(HAGGLING, extended).state);
  });
  test('take no data', () => {
    assert.deepEqual(replyCodes(step(option(Option.ExtendedHeaders, hex('00')))), [OptionReply.ErrInvalid]);
  });
  test('are enough for metadata contexts and DF', () => {
    const body = encodeMetaContextRequest({ exportName: 'node1', queries: ['base:allocation'] });
    const { state } = steps(HAGGLING, extended, option(Option.SetMetaContext, body), ask(Option.Go, 'node1'), GRANTED);
    assert.ok(state.at === 'transmitting' && state.terms.tellsAllocation && state.terms.form.inChunks);
  });
  test('need GO: an EXPORT_NAME after them ends it', () => {
    const after = steps(HAGGLING, extended, option(Option.ExportName, ascii('node1')));
    assert.equal(after.state.at, 'over');
    assert.equal(kinds(after).at(-1), 'close');
  });
});

describe('LIST_META_CONTEXT and SET_META_CONTEXT', () => {
  const both = [Option.ListMetaContext, Option.SetMetaContext];
  const contexts = (code: number, queries: readonly string[], exportName = 'node1') =>
    option(code, encodeMetaContextRequest({ exportName, queries }));
  const allocation = contexts(Option.SetMetaContext, ['base:allocation']);
  const told = (of: NegotiationStep) =>
    replies(of).flatMap(({ reply, body }) => (reply === OptionReply.MetaContext ? [decodeMetaContext(body)] : []));
  const tells = (...asked: readonly NegotiationEvent[]) => {
    const { state } = steps(STRUCTURED, ...asked, GRANTED);
    return state.at === 'transmitting' && state.terms.tellsAllocation;
  };

  test('need structured replies first', () => {
    for (const code of both) {
      const after = step(contexts(code, ['base:allocation']));
      assert.deepEqual(replyCodes(after), [OptionReply.ErrInvalid]);
      assert.deepEqual(after.state, HAGGLING);
    }
  });
  test('a LIST tells the one there is, to who asks for it, for all of its namespace or for everything', () => {
    const rows: [readonly string[], number][] = [
      [[], 1],
      [['base:'], 1],
      [['base:allocation'], 1],
      [['base:allocation', 'base:', 'base:allocation'], 1],
      [['base:other'], 0],
      [['qemu:', 'x-me:it', 'nonsense', '', ':', 'BASE:allocation'], 0],
    ];
    for (const [queries, count] of rows) {
      const after = step(contexts(Option.ListMetaContext, queries), STRUCTURED);
      assert.deepEqual(told(after), count === 1 ? [{ id: 0, name: 'base:allocation' }] : []);
      assert.equal(replyCodes(after).at(-1), OptionReply.Ack);
      assert.deepEqual(after.state, STRUCTURED, 'and selects nothing');
    }
  });
  test('a SET selects it by its whole name only', () => {
    const rows: [readonly string[], number][] = [
      [[], 0],
      [['base:'], 0],
      [['qemu:dirty-bitmap:a', 'base:allocation', 'base:allocation'], 1],
      [['base:other', 'nonsense'], 0],
    ];
    for (const [queries, count] of rows) {
      const after = step(contexts(Option.SetMetaContext, queries), STRUCTURED);
      assert.equal(told(after).length, count);
      assert.equal(replyCodes(after).at(-1), OptionReply.Ack);
      assert.equal(tells(contexts(Option.SetMetaContext, queries), ask(Option.Go, 'node1')), count === 1);
    }
  });
  test('what was SET holds for the export it was set for, by whatever of its names, and for no other', () => {
    assert.equal(tells(allocation, ask(Option.Go, 'node1')), true);
    assert.equal(tells(allocation, ask(Option.Go, '/node1')), true);
    assert.equal(tells(allocation, option(Option.ExportName, ascii('node1'))), true);
    assert.equal(tells(allocation, ask(Option.Go, 'node2')), false);
    assert.equal(tells(contexts(Option.SetMetaContext, ['base:allocation'], 'node2'), ask(Option.Go, 'node1')), false);
  });
  test('a SET forgets the one before it, even if it fails', () => {
    for (const again of [
      contexts(Option.SetMetaContext, []),
      contexts(Option.SetMetaContext, ['base:']),
      contexts(Option.SetMetaContext, ['base:allocation'], 'node2'),
      contexts(Option.SetMetaContext, ['base:allocation'], 'node9'),
      option(Option.SetMetaContext, hex('ffffffff')),
    ]) {
      assert.equal(tells(allocation, again, ask(Option.Go, 'node1')), false);
    }
    assert.equal(tells(allocation, contexts(Option.ListMetaContext, []), ask(Option.Go, 'node1')), true);
    assert.equal(tells(allocation, option(Option.StructuredReply), ask(Option.Go, 'node1')), true);
  });
  test('of an export that is not there are refused, and nobody was kept from a disk', () => {
    for (const code of both) {
      const after = step(contexts(code, [], 'node9'), STRUCTURED);
      assert.deepEqual(replyCodes(after), [OptionReply.ErrUnknown]);
      assert.deepEqual(kinds(after), ['send']);
    }
  });
  test('are invalid where their data is wrong', () => {
    for (const code of both) {
      for (const body of [NOTHING, hex('00000000'), hex('00000000 ffffffff'), hex('00000000 00000000 00')]) {
        assert.deepEqual(replyCodes(step(option(code, body), STRUCTURED)), [OptionReply.ErrInvalid]);
      }
    }
  });
});

describe('ABORT', () => {
  test('is acknowledged and ends it, with whatever data', () => {
    const oversized: NegotiationEvent = { kind: 'oversizedOption', option: Option.Abort, lengthBytes: 100_000 };
    for (const event of [option(Option.Abort), option(Option.Abort, ascii('bye')), oversized]) {
      const after = step(event);
      assert.deepEqual(replyCodes(after), [OptionReply.Ack]);
      assert.deepEqual(kinds(after), ['send', 'close']);
      assert.equal(after.state.at, 'over');
    }
  });
});

describe('what is not understood', () => {
  test('is refused and the client goes on', () => {
    const unknown = [4, 12, 0, 2 ** 32 - 1];
    for (const code of unknown) {
      const after = step(option(code, ascii('data')));
      assert.deepEqual(
        replies(after).map(({ option: to, reply }) => [to, reply]),
        [[code, OptionReply.ErrUnsup]],
      );
      assert.deepEqual(after.state, HAGGLING);
    }
  });
  test('is refused as too big, except for an EXPORT_NAME, which cannot be', () => {
    const oversized = (code: number) => step({ kind: 'oversizedOption', option: code, lengthBytes: 70_000 });
    assert.deepEqual(replyCodes(oversized(Option.Go)), [OptionReply.ErrTooBig]);
    assert.deepEqual(replyCodes(oversized(12345)), [OptionReply.ErrTooBig]);
    assert.deepEqual(kinds(oversized(Option.ExportName)), ['close']);
  });
  test('is refused as invalid where the data of INFO or GO is wrong', () => {
    for (const code of [Option.Info, Option.Go]) {
      for (const body of [NOTHING, hex('ffffffff'), hex('00000001 61 0001'), hex('00000000 0000 00')]) {
        const after = step(option(code, body));
        assert.deepEqual(replyCodes(after), [OptionReply.ErrInvalid]);
        assert.deepEqual(after.state, HAGGLING);
      }
    }
  });
});

test('any options in any order get one final reply each, until one ends it', () => {
  const messages = [
    option(Option.List),
    ask(Option.Info, 'node1'),
    ask(Option.Info, 'node9'),
    ask(Option.Go, 'node9'),
    ask(Option.Go, 'node1'),
    option(Option.StartTls),
    option(Option.StructuredReply),
    option(Option.SetMetaContext, encodeMetaContextRequest({ exportName: 'node2', queries: ['base:allocation'] })),
    option(Option.Go, hex('ffffffff')),
    option(Option.Abort),
    option(4711, new Uint8Array(100)),
  ];
  const locks = fc.infiniteStream(fc.constantFrom(GRANTED, HELD));
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...messages), { maxLength: 12 }), locks, (asked, verdicts) => {
      let state: NegotiationState = HAGGLING;
      for (const message of asked) {
        const first: NegotiationStep = negotiate(state, message, EXPORTS);
        const verdict = verdicts.next().value;
        const second: NegotiationStep | undefined =
          first.state.at === 'choosing' ? negotiate(first.state, verdict, EXPORTS) : undefined;
        const all: NegotiationStep =
          second === undefined ? first : { ...second, commands: [...first.commands, ...second.commands] };
        const final = replies(all).filter(({ reply }) => reply === OptionReply.Ack || reply >= 0x8000_0000);
        assert.equal(final.length, 1);
        state = all.state;
        if (state.at !== 'haggling') return;
      }
    }),
  );
});
