// What has broken other NBD servers, each with where it did. The server must answer or close, go on serving everybody else,
// and never take memory because a field says so.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { Command, CommandFlag, Errno, Magic, Option, OptionReply } from '../../src/nbd/wire/constants.js';
import { encodeClientFlags, encodeExportRequest, encodeOption } from '../../src/nbd/wire/handshake-wire.js';
import { encodeMetaContextRequest } from '../../src/nbd/wire/meta-context-wire.js';
import {
  EXTENDED_REQUEST_BYTES,
  encodeExtendedRequest,
  type NbdRequest,
} from '../../src/nbd/wire/transmission-wire.js';
import { diskBoard } from '../support/boards.js';
import { endlessDevice } from '../support/endless-device.js';
import { fileBoard } from '../support/lane-server.js';
import { hex, joined, requestBytes, requestOf } from '../support/nbd-bytes.js';
import { type ServedBoards, serveBoards, until } from '../support/nbd-server.js';
import { type RawNbd, rawNbd } from '../support/raw-nbd.js';

const SIZE = 1024 * 1024;
const NOTHING = new Uint8Array(0);

function served(context: TestContext): Promise<ServedBoards> {
  return serveBoards(context, [diskBoard('node1', SIZE), diskBoard('node2', SIZE)]);
}

/** Where requests are done: a device in memory is asked on the main thread, and clients of a file are the lanes'. */
const PLACES = ['main thread', 'lanes'] as const;

/** With a disk of zeroes. */
async function servedBy(place: (typeof PLACES)[number], context: TestContext, sizeBytes = SIZE) {
  const other = diskBoard('node2', SIZE);
  if (place === 'lanes') {
    const disk = await fileBoard(context, 'node1', sizeBytes);
    return { ...(await serveBoards(context, [disk.board, other])), bytes: () => disk.content() };
  }
  const device = new MemoryDevice(sizeBytes);
  return { ...(await serveBoards(context, [diskBoard('node1', device), other])), bytes: () => device.bytes };
}

/** Header and data need not agree. */
function option(code: number, body: Uint8Array, announced = body.length): Uint8Array {
  const bytes = Uint8Array.from(encodeOption(code, body));
  new DataView(bytes.buffer).setUint32(12, announced);
  return bytes;
}

function go(exportName: string, infoRequests: readonly number[] = []): Uint8Array {
  return encodeOption(Option.Go, encodeExportRequest({ exportName, infoRequests }));
}

function setAllocation(exportName: string): Uint8Array {
  return encodeOption(
    Option.SetMetaContext,
    encodeMetaContextRequest({ exportName, queries: ['base:allocation', 'base:allocation'] }),
  );
}

function extendedRequest(parts: Partial<NbdRequest>): Uint8Array {
  const bytes = new Uint8Array(EXTENDED_REQUEST_BYTES);
  const flags = parts.command === Command.Write ? CommandFlag.PayloadLen : 0;
  encodeExtendedRequest(requestOf({ ...parts, flags }), bytes);
  return bytes;
}

/** What the rules say, written once more: of lengths of 0 only a BLOCK_STATUS is refused, and of a FLUSH any range is. */
function mayBeDone(
  { command, offset, lengthBytes }: Pick<NbdRequest, 'command' | 'offset' | 'lengthBytes'>,
  size: bigint,
) {
  if (command === Command.Flush) return offset === 0n && lengthBytes === 0;
  if (command === Command.BlockStatus && lengthBytes === 0) return false;
  if (command === Command.Read && lengthBytes > 64 * 1024 * 1024) return false;
  return offset + BigInt(lengthBytes) <= size;
}

/** Whether the request was done. Reads its reply to the end. */
async function answerOf(raw: RawNbd, isExtended: boolean): Promise<boolean> {
  const first = await raw.receive(16);
  assert.ok(first !== undefined);
  const view = Buffer.from(first);
  if (view.readUInt32BE(0) === Magic.SimpleReply) return view.readUInt32BE(4) === 0;
  const isError = view.readUInt16BE(6) >= 0x8000;
  assert.equal(view.readUInt16BE(4), 1, 'one chunk');
  const rest = Buffer.from((await raw.receive(isExtended ? 16 : 4)) ?? []);
  await raw.receive(isExtended ? Number(rest.readBigUInt64BE(8)) : rest.readUInt32BE(0));
  return !isError;
}

async function assertServes(context: TestContext, port: number): Promise<void> {
  const other = await rawNbd(context, port).transmitting('node2');
  await other.send(requestBytes({ command: Command.Flush, cookie: 77n }));
  assert.deepEqual(await other.reply(), { error: 0, cookie: 77n });
  other.destroy();
}

async function replyTo(raw: RawNbd, bytes: Uint8Array): Promise<number | 'closed'> {
  await raw.send(bytes);
  return (await raw.optionReply())?.reply ?? 'closed';
}

describe('in the handshake', () => {
  test('lengths of names that lie are invalid (nbd-server CVE-2022-26495)', async (context) => {
    const { port } = await served(context);
    for (const code of [Option.Info, Option.Go]) {
      const raw = await rawNbd(context, port).greeted();
      for (const length of ['00000006', '00001001', '7fffffff', 'ffffffff']) {
        assert.equal(await replyTo(raw, option(code, hex(`${length} 6e6f646531 0000`))), OptionReply.ErrInvalid);
      }
      assert.equal(await replyTo(raw, option(code, NOTHING)), OptionReply.ErrInvalid);
      assert.equal(await replyTo(raw, go('node1')), OptionReply.Info, 'and the client may go on');
      raw.destroy();
    }
    const byName = await rawNbd(context, port).greeted();
    await byName.send(option(Option.ExportName, NOTHING, 0xffff_ffff));
    await byName.ended();
    await assertServes(context, port);
  });

  test('info requests by the thousand, or not as many as announced (nbd-server CVE-2022-26496)', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    const many = (count: number) =>
      go(
        'node9',
        Array.from({ length: count }, () => 3),
      );
    assert.equal(await replyTo(raw, many(512)), OptionReply.ErrUnknown);
    assert.equal(await replyTo(raw, many(4000)), OptionReply.ErrUnknown);
    assert.equal(await replyTo(raw, many(32_767)), OptionReply.ErrTooBig);
    assert.equal(await replyTo(raw, option(Option.Go, hex('00000000 0002 0003'))), OptionReply.ErrInvalid);
    assert.equal(await replyTo(raw, option(Option.Go, hex('00000000 0000 0003'))), OptionReply.ErrInvalid);
    assert.equal(await replyTo(raw, go('node1')), OptionReply.Info);
  });

  test('names of every critical length (qemu CVE-2017-15118, CVE-2020-10761)', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    for (const length of [255, 256, 257, 4095, 4096]) {
      assert.equal(await replyTo(raw, go('n'.repeat(length))), OptionReply.ErrUnknown, `${length}`);
    }
    assert.equal(await replyTo(raw, go('n'.repeat(4097))), OptionReply.ErrInvalid);
    for (const length of [256, 4096, 4097]) {
      const byName = await rawNbd(context, port).greeted();
      await byName.send(encodeOption(Option.ExportName, new Uint8Array(length).fill(0x6e)));
      await byName.ended();
    }
    await assertServes(context, port);
  });

  test('options without number or end (qemu CVE-2017-15119)', async (context) => {
    const { port, server } = await served(context);
    const large = await rawNbd(context, port).greeted();
    large.socket.resume();
    const chunk = option(4711, new Uint8Array(100_000));
    for (let sent = 0; sent < 1000 && !large.socket.destroyed; sent += 1) {
      await large.send(chunk);
      assert.ok(server.bufferedBytes() < 300_000, `${server.bufferedBytes()} bytes`);
    }
    await large.ended();
    const small = await rawNbd(context, port).greeted();
    small.socket.resume();
    for (let sent = 0; sent < 1000 && !small.socket.destroyed; sent += 1) await small.send(option(4711, NOTHING));
    await small.ended();
    const announced = await rawNbd(context, port).greeted();
    await announced.send(option(4711, NOTHING, 0xffff_ffff));
    await announced.ended();
    await assertServes(context, port);
  });

  test('replies that nobody reads hold back the next option', async (context) => {
    const boards = Array.from({ length: 400 }, (_, index) => diskBoard(`board-${'x'.repeat(50)}-${index}`, 512));
    const { port, server } = await serveBoards(context, boards);
    const raw = await rawNbd(context, port).greeted();
    raw.socket.pause();
    const lists = Array.from({ length: 120 }, () => encodeOption(Option.List, NOTHING));
    await raw.send(...lists);
    assert.ok(server.bufferedBytes() < 128 * 1024);
    // All of them are answered once somebody reads: nothing was dropped.
    for (let left = 120; left > 0; ) {
      const answer = await raw.optionReply();
      assert.ok(answer !== undefined);
      if (answer.reply === OptionReply.Ack) left -= 1;
    }
  });

  test('options in odd orders (nbdkit CVE-2019-14850, CVE-2019-14851)', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    const info = encodeOption(Option.Info, encodeExportRequest({ exportName: 'node1', infoRequests: [] }));
    for (let round = 0; round < 2; round += 1) {
      assert.equal(await replyTo(raw, encodeOption(Option.StructuredReply, NOTHING)), OptionReply.Ack);
      assert.equal(
        await replyTo(raw, encodeOption(Option.SetMetaContext, hex('00000005 6e6f646531 00000000'))),
        OptionReply.Ack,
      );
      assert.equal(await replyTo(raw, info), OptionReply.Info);
      assert.equal((await raw.optionReply())?.reply, OptionReply.Ack);
    }
    assert.equal(await replyTo(raw, go('node2')), OptionReply.Info);
    await raw.optionReply();
    await raw.send(requestBytes({ command: Command.BlockStatus, lengthBytes: 512 }));
    assert.equal((await raw.chunk())?.body.kind, 'error', 'no context was selected');
  });

  test('a context set for one export is worth nothing with another, and is forgotten when set again', async (context) => {
    const { port } = await served(context);
    for (const [options, kind] of [
      [[setAllocation('node1')], 'blockStatus'],
      [[setAllocation('node2')], 'error'],
      [[setAllocation('node1'), setAllocation('node2')], 'error'],
      [[setAllocation('node1'), setAllocation('node9')], 'error'],
      [[setAllocation('node1'), option(Option.SetMetaContext, hex('ffffffff'))], 'error'],
      [[setAllocation('node2'), setAllocation('node1')], 'blockStatus'],
    ] as const) {
      const raw = await rawNbd(context, port).greeted();
      await raw.send(encodeOption(Option.StructuredReply, NOTHING), ...options, go('node1'));
      for (let isReady = false; !isReady; ) {
        const answer = await raw.optionReply();
        assert.ok(answer !== undefined);
        isReady = answer.option === Option.Go && answer.reply === OptionReply.Ack;
      }
      await raw.send(requestBytes({ command: Command.BlockStatus, lengthBytes: 512 }));
      assert.equal((await raw.chunk())?.body.kind, kind);
      raw.destroy();
    }
  });

  test('queries by the thousand, or longer than their data', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    await replyTo(raw, encodeOption(Option.StructuredReply, NOTHING));
    for (const code of [Option.ListMetaContext, Option.SetMetaContext]) {
      const queries = (count: number) =>
        encodeOption(code, encodeMetaContextRequest({ exportName: 'node1', queries: Array(count).fill('a:b') }));
      assert.equal(await replyTo(raw, queries(1000)), OptionReply.Ack);
      assert.equal(await replyTo(raw, queries(10_000)), OptionReply.ErrTooBig);
      for (const body of [
        'ffffffff',
        '00000000 ffffffff',
        '00000000 00000001 ffffffff',
        '00000000 00000002 00000000',
      ]) {
        assert.equal(await replyTo(raw, option(code, hex(body))), OptionReply.ErrInvalid);
      }
    }
    assert.equal(await replyTo(raw, go('node1')), OptionReply.Info);
  });

  test('STARTTLS and what is pipelined behind it (nbdkit CVE-2021-3716)', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    const structured = encodeOption(Option.StructuredReply, NOTHING);
    // Without TLS the option is refused, and what follows it is the next option, in the clear as before. With TLS: tls.test.ts.
    await raw.send(structured, encodeOption(Option.StartTls, NOTHING), structured, go('node1'));
    for (const [code, reply] of [
      [Option.StructuredReply, OptionReply.Ack],
      [Option.StartTls, OptionReply.ErrPolicy],
      [Option.StructuredReply, OptionReply.Ack],
    ]) {
      const answer = await raw.optionReply();
      assert.deepEqual([answer?.option, answer?.reply], [code, reply]);
    }
    assert.equal((await raw.optionReply())?.reply, OptionReply.Info);
    assert.equal((await raw.optionReply())?.reply, OptionReply.Ack);
    await raw.send(requestBytes({ command: Command.Read, lengthBytes: 512, cookie: 9n }));
    assert.deepEqual(await raw.chunkHead(), { flags: 1, type: 1, cookie: 9n, lengthBytes: 520 });
    const hello = await rawNbd(context, port).greeted();
    await hello.send(encodeOption(Option.StartTls, NOTHING), hex('1603010200 010001fc 0303'), new Uint8Array(500));
    await hello.ended();
    await assertServes(context, port);
  });

  test('a client that leaves after any byte of it (qemu CVE-2017-9524), politely or not', async (context) => {
    const { port, server, events } = await served(context);
    const whole = joined(encodeClientFlags(3), encodeOption(Option.List, NOTHING), go('node1'));
    for (let length = 0; length < whole.length; length += 1) {
      const raw = rawNbd(context, port);
      await raw.send(whole.subarray(0, length));
      if (length % 2 === 0) raw.destroy();
      else raw.reset();
    }
    await assertServes(context, port);
    await until(() => server.connections().length === 0);
    assert.ok(events.every(({ board }) => board === 'node2'));
  });

  test('a stop among clients that are half-way in (qemu CVE-2024-7409)', async (context) => {
    const { server, port } = await served(context);
    const halfWay = await Promise.all(Array.from({ length: 20 }, () => rawNbd(context, port).greeted()));
    await halfWay[0]?.send(go('node1').subarray(0, 20));
    await server.stop();
    await Promise.all(halfWay.map((raw) => raw.ended()));
  });

  test('what a client pipelines behind GO is its first request', async (context) => {
    const { port } = await served(context);
    const raw = await rawNbd(context, port).greeted();
    await raw.send(go('node1'), requestBytes({ command: Command.Flush, cookie: 5n }));
    await raw.optionReply();
    await raw.optionReply();
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 5n });
  });
});

for (const place of PLACES) {
  describe(`in transmission, by the ${place}`, () => {
    test('ranges at every edge of 32 and 64 bits (nbdkit CVE-2025-47711, CVE-2025-47712)', async (context) => {
      const { port } = await servedBy(place, context);
      const raw = await rawNbd(context, port).transmitting();
      const offsets = [0n, BigInt(SIZE) - 1n, BigInt(SIZE), 2n ** 32n - 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];
      const lengths = [0, 1, SIZE, SIZE + 1, 2 ** 31, 2 ** 32 - 1];
      for (const command of [Command.Read, Command.Trim, Command.WriteZeroes, Command.BlockStatus, Command.Cache]) {
        for (const offset of offsets) {
          for (const lengthBytes of lengths) {
            const cookie = offset ^ BigInt(lengthBytes);
            await raw.send(requestBytes({ command, offset, lengthBytes, cookie }));
            const answer = await raw.reply();
            const inside = offset + BigInt(lengthBytes) <= BigInt(SIZE);
            const offered = command !== Command.BlockStatus;
            assert.equal(answer?.cookie, cookie);
            assert.equal(answer?.error === 0, inside && offered, `${command}: ${lengthBytes} at ${offset}`);
            if (answer?.error === 0 && command === Command.Read) await raw.receive(lengthBytes);
          }
        }
      }
    });

    test('the same of a disk beyond 32 bits, with replies in chunks and with extended headers', async (context) => {
      const size = 2n ** 33n;
      const endless = { board: diskBoard('node1', endlessDevice(Number(size))) };
      const { board } = place === 'lanes' ? await fileBoard(context, 'node1', Number(size)) : endless;
      const { port } = await serveBoards(context, [board]);
      const edges = [0n, 2n ** 32n - 1n, 2n ** 32n, size - 1n, size, 2n ** 63n, 2n ** 64n - 1n];
      const lengths = [0, 1, 512, 2 ** 32 - 1, 2 ** 32, 2 ** 33, 2 ** 63];
      for (const isExtended of [false, true]) {
        const raw = await rawNbd(context, port).greeted();
        const structured = encodeOption(isExtended ? Option.ExtendedHeaders : Option.StructuredReply, NOTHING);
        await raw.send(structured, setAllocation('node1'), go('node1'));
        for (let left = 5; left > 0; left -= 1) await raw.optionReply();
        for (const command of [0, 1, 3, 4, 5, 6, 7]) {
          for (const offset of edges) {
            for (const lengthBytes of lengths) {
              if (!isExtended && lengthBytes >= 2 ** 32) continue;
              // What is said to be a payload is one: a WRITE's own length would have to be sent.
              if (command === Command.Write && lengthBytes > 512) continue;
              const payload = command === Command.Write ? new Uint8Array(lengthBytes) : NOTHING;
              const request = { command, offset, lengthBytes, cookie: offset };
              if (isExtended) await raw.send(extendedRequest(request), payload);
              else await raw.send(requestBytes(request), payload);
              const isGood = await answerOf(raw, isExtended);
              assert.equal(isGood, mayBeDone(request, size), `${command}: ${lengthBytes} at ${offset}`);
            }
          }
        }
        raw.destroy();
      }
    });

    test('a WRITE that is refused is read to its end, and the next request is understood', async (context) => {
      const { port, bytes } = await servedBy(place, context);
      const raw = await rawNbd(context, port).transmitting();
      const payload = new Uint8Array(3 * SIZE).fill(0xee);
      const write = { command: Command.Write, cookie: 1n };
      const rows = [
        { request: { ...write, offset: BigInt(SIZE), lengthBytes: 1 }, errno: Errno.ENOSPC },
        { request: { ...write, offset: 0n, lengthBytes: 3 * SIZE }, errno: Errno.ENOSPC },
        { request: { ...write, offset: 2n ** 64n - 1n, lengthBytes: 4096 }, errno: Errno.ENOSPC },
        { request: { ...write, flags: CommandFlag.FastZero, lengthBytes: 4096 }, errno: Errno.EINVAL },
        { request: { ...write, flags: 0xfffe, lengthBytes: 4096 }, errno: Errno.EINVAL },
      ];
      for (const { request, errno } of rows) {
        await raw.send(requestBytes(request), payload.subarray(0, request.lengthBytes));
        assert.deepEqual(await raw.reply(), { error: errno, cookie: 1n });
      }
      assert.ok(
        bytes().every((byte) => byte === 0),
        'nothing was written',
      );
    });

    test('unknown commands and flags, FUA where it means nothing, and cookies used twice', async (context) => {
      const { port } = await servedBy(place, context);
      const raw = await rawNbd(context, port).transmitting();
      const fua = CommandFlag.Fua;
      const rows = [
        { command: 9, error: Errno.EINVAL },
        { command: 0xffff, flags: 0xffff, error: Errno.EINVAL },
        { command: Command.Read, flags: CommandFlag.Df, lengthBytes: 0, error: Errno.EINVAL },
        { command: Command.WriteZeroes, flags: CommandFlag.Df, lengthBytes: 512, error: Errno.EINVAL },
        { command: Command.Cache, flags: CommandFlag.NoHole, lengthBytes: 512, error: Errno.EINVAL },
        { command: Command.Cache, flags: fua, lengthBytes: 512, error: 0 },
        { command: Command.Flush, flags: fua, error: 0 },
        { command: Command.Read, flags: fua, lengthBytes: 0, error: 0 },
        { command: Command.Trim, flags: fua, lengthBytes: 512, error: 0 },
        { command: Command.WriteZeroes, flags: fua | CommandFlag.NoHole, lengthBytes: 512, error: 0 },
      ];
      for (const { error, ...request } of rows) {
        await raw.send(requestBytes({ ...request, cookie: 9n }), requestBytes({ ...request, cookie: 9n }));
        assert.deepEqual([await raw.reply(), await raw.reply()], Array(2).fill({ error, cookie: 9n }));
      }
    });

    test('magics of other ages and of nobody end the connection and no other', async (context) => {
      const { port } = await servedBy(place, context);
      for (const magic of ['12560953', '25609514', '21e41c71', '00000000', '47455420']) {
        const raw = await rawNbd(context, port).transmitting();
        await raw.send(hex(magic), new Uint8Array(24));
        await raw.ended();
      }
      await assertServes(context, port);
    });

    test('nothing after a DISC is done', async (context) => {
      const { port, bytes } = await servedBy(place, context);
      const raw = await rawNbd(context, port).transmitting();
      const write = requestBytes({ command: Command.Write, lengthBytes: 4 });
      await raw.send(requestBytes({ command: Command.Disc }), write, Uint8Array.of(1, 2, 3, 4));
      await raw.ended();
      assert.equal(bytes()[0], 0);
    });

    test('a WRITE that breaks off is not done, or not more than its whole pieces', async (context) => {
      const { port, server, bytes } = await servedBy(place, context, 4 * SIZE);
      const raw = await rawNbd(context, port).transmitting();
      await raw.send(requestBytes({ command: Command.Write, lengthBytes: 4096 }), new Uint8Array(4095).fill(1));
      raw.destroy();
      await until(() => server.connections().length === 0);
      assert.ok(bytes().every((byte) => byte === 0));
    });
  });
}
