// A disk over TLS, and what somebody on the way may try before TLS begins.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { NBD_HANDSHAKE_MS } from '../../src/base/limits.js';
import { openFileDevice } from '../../src/block/file-device.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { silentMeter } from '../../src/nbd/meter.js';
import { Command, Option, OptionReply } from '../../src/nbd/wire/constants.js';
import { encodeExportRequest, encodeOption } from '../../src/nbd/wire/handshake-wire.js';
import { diskBoard } from '../support/boards.js';
import { FakeClock } from '../support/fake-clock.js';
import { GateDevice } from '../support/gate-device.js';
import { joined, requestBytes } from '../support/nbd-bytes.js';
import { until } from '../support/nbd-server.js';
import { without } from '../support/programs.js';
import { noise } from '../support/random.js';
import { rawNbd } from '../support/raw-nbd.js';
import { scratchFolder } from '../support/scratch.js';
import { boardWith, serveTls, type TlsWorld, trusting } from '../support/tls-world.js';

const skip = without('openssl', 'openssl');
const KIBI = 1024;
const MEBI = KIBI * KIBI;
const NOTHING = new Uint8Array(0);
const STARTTLS = encodeOption(Option.StartTls, NOTHING);
const STRUCTURED = encodeOption(Option.StructuredReply, NOTHING);
const LIST = encodeOption(Option.List, NOTHING);
const GO = encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [] }));
/** A ClientHello's first bytes, of a record of 512. */
const HELLO = Buffer.from('1603010200010001fc0303', 'hex');

/** Over TLS, with its disk. */
async function attached({ begun, ca }: TlsWorld) {
  const raw = await begun();
  await raw.overTls(trusting(ca));
  return raw.gone();
}

describe('a disk over TLS', { skip }, () => {
  test('holds what was written, in requests of every size, and FLUSH, TRIM and DISC are as ever', async (context) => {
    const device = new MemoryDevice(4 * MEBI);
    const world = await serveTls(context, { boards: [boardWith('node1', 'required', diskBoard('node1', device))] });
    const raw = await attached(world);
    for (const length of [1, 511, 16 * KIBI, 16 * KIBI + 1, MEBI, 3 * MEBI + 7]) {
      const bytes = noise(length);
      await raw.send(requestBytes({ command: Command.Write, offset: 3n, lengthBytes: length, cookie: 1n }), bytes);
      assert.deepEqual(await raw.reply(), { error: 0, cookie: 1n });
      assert.ok(Buffer.from(device.bytes.subarray(3, 3 + length)).equals(bytes));
      await raw.send(requestBytes({ command: Command.Read, offset: 3n, lengthBytes: length, cookie: 2n }));
      assert.deepEqual(await raw.reply(), { error: 0, cookie: 2n });
      assert.ok(Buffer.from((await raw.receive(length)) ?? []).equals(bytes));
    }
    for (const command of [Command.Flush, Command.Trim]) {
      await raw.send(requestBytes({ command, cookie: 4n }));
      assert.deepEqual(await raw.reply(), { error: 0, cookie: 4n });
    }
    await raw.send(requestBytes({ command: Command.Disc }));
    await raw.ended();
    await until(() => world.events.some(({ kind }) => kind === 'detached'));
  });

  test('stays with this thread: the threads that carry plain connections see nothing of it', async (context) => {
    const told: string[] = [];
    const meter = {
      ...silentMeter,
      requestFinished: (board: string, command: string) => void told.push(`${board} ${command} here`),
      requestsFinished: ({ board, command }: { board: string; command: string }) =>
        void told.push(`${board} ${command}`),
    };
    const file = join(scratchFolder(context), 'disk');
    writeFileSync(file, '');
    truncateSync(file, MEBI);
    const device = await openFileDevice(file, { access: 'readWrite', lock: 'none' });
    const board = diskBoard('node1', device);
    const world = await serveTls(context, {
      mode: 'allowed',
      boards: [boardWith('node1', 'allowed', board)],
      server: { meter },
    });
    const read = requestBytes({ command: Command.Read, lengthBytes: 512, cookie: 7n });
    for (const raw of [await attached(world), await rawNbd(context, world.port).transmitting()]) {
      await raw.send(read);
      assert.deepEqual(await raw.reply(), { error: 0, cookie: 7n });
    }
    world.server.tellMeter();
    assert.deepEqual(told, ['node1 read here', 'node1 read']);
  });

  test('is kept from another address as long as its holder answers: what is asked is the TCP beneath', async (context) => {
    const world = await serveTls(context);
    const holder = await attached(world);
    const other = await rawNbd(context, world.port, '127.0.0.2').greeted();
    await other.overTls(trusting(world.ca));
    await other.send(GO);
    assert.equal((await other.optionReply())?.reply, OptionReply.ErrPolicy);
    await holder.send(requestBytes({ command: Command.Flush, cookie: 5n }));
    assert.deepEqual(await holder.reply(), { error: 0, cookie: 5n });
  });

  test('goes to another address when its holder has left without a word of TLS', async (context) => {
    const world = await serveTls(context);
    const holder = await attached(world);
    holder.reset();
    const other = await rawNbd(context, world.port, '127.0.0.2').greeted();
    await other.overTls(trusting(world.ca));
    await other.send(GO);
    assert.equal((await other.optionReply())?.reply, OptionReply.Info);
  });

  test('answers who closes its side of TLS first', async (context) => {
    const device = new GateDevice(MEBI);
    const world = await serveTls(context, { boards: [boardWith('node1', 'required', diskBoard('node1', device))] });
    const raw = await world.begun();
    const secured = await raw.overTls(trusting(world.ca));
    await raw.gone();
    await raw.send(requestBytes({ command: Command.Write, lengthBytes: 1, cookie: 6n }), Uint8Array.of(1));
    secured.end();
    await until(() => device.waiting === 1);
    device.open();
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 6n });
  });

  test('is answered to the last request when the server stops', async (context) => {
    const device = new GateDevice(MEBI);
    const world = await serveTls(context, { boards: [boardWith('node1', 'required', diskBoard('node1', device))] });
    const raw = await attached(world);
    const count = 50;
    const writes = Array.from({ length: count }, (_, index) =>
      joined(
        requestBytes({ command: Command.Write, offset: BigInt(index), lengthBytes: 1, cookie: BigInt(index) }),
        Uint8Array.of(index),
      ),
    );
    await raw.send(...writes);
    await until(() => device.waiting === count);
    const stopped = world.server.stop();
    device.open();
    const answered = new Set<bigint>();
    for (let left = count; left > 0; left -= 1) {
      const reply = await raw.reply();
      assert.equal(reply?.error, 0);
      answered.add(reply?.cookie ?? -1n);
    }
    assert.equal(answered.size, count);
    assert.equal(await raw.receive(1), undefined);
    await stopped;
  });

  test('is not read for a client that takes no replies', async (context) => {
    const device = new MemoryDevice(8 * MEBI);
    const world = await serveTls(context, { boards: [boardWith('node1', 'required', diskBoard('node1', device))] });
    const raw = await attached(world);
    const reads = Array.from({ length: 100 }, (_, index) =>
      requestBytes({ command: Command.Read, lengthBytes: 2 * MEBI, cookie: BigInt(index) }),
    );
    await raw.send(...reads);
    const other = await attached(world);
    await other.send(requestBytes({ command: Command.Read, lengthBytes: 8 * MEBI, cookie: 1n }));
    assert.deepEqual(await other.reply(), { error: 0, cookie: 1n });
    assert.equal((await other.receive(8 * MEBI))?.length, 8 * MEBI);
    assert.ok(world.server.bufferedBytes() < 8 * MEBI, `${world.server.bufferedBytes()} bytes`);
  });
});

describe('before TLS begins', { skip }, () => {
  test('what is pipelined behind STARTTLS ends it, unread, and there is not even an answer', async (context) => {
    const world = await serveTls(context, { mode: 'allowed', boards: [boardWith('node1', 'allowed')] });
    const injections = [LIST, GO, STRUCTURED, STARTTLS, HELLO, Uint8Array.of(0), joined(GO, requestBytes({}))];
    for (const injected of injections) {
      const raw = await world.begun();
      await raw.send(STARTTLS, injected);
      assert.equal(await raw.receive(1), undefined);
    }
    assert.deepEqual(world.events, []);
    const reasons = world.lines.flatMap(({ event, because }) => (event === 'nbd.tls.failed' ? [because] : []));
    assert.equal(reasons.length, injections.length);
    assert.ok(reasons.every((because) => /bytes behind STARTTLS in the clear/.test(String(because))));
  });

  test('what follows it in packets of its own, however late, is never taken for plaintext', async (context) => {
    const world = await serveTls(context, { mode: 'allowed', boards: [boardWith('node1', 'allowed')] });
    for (let turns = 0; turns < 30; turns += 1) {
      const raw = await world.begun();
      await raw.send(STARTTLS);
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await raw.send(GO, LIST);
      const said = Buffer.concat(await all(raw));
      // The acknowledgement at most (20 bytes), and an alert of TLS (content type 21): no option is answered.
      const beyond = said.subarray(said.length >= 20 && said[0] === 0 ? 20 : 0);
      assert.ok(beyond.length <= 7 && (beyond.length === 0 || beyond[0] === 21), said.toString('hex'));
    }
    assert.deepEqual(world.events, []);
  });

  test('what somebody puts in front of the handshake ends it: it is no part of what TLS protects', async (context) => {
    const world = await serveTls(context, { mode: 'allowed', boards: [boardWith('node1', 'allowed')] });
    const raw = await world.begun();
    await raw.tlsPromised();
    raw.socket.write(GO);
    await assert.rejects(raw.tls(trusting(world.ca)));
    assert.deepEqual(world.events, []);
  });

  test('what was agreed is forgotten: replies have no chunks, contexts are unknown', async (context) => {
    const world = await serveTls(context, { mode: 'allowed', boards: [boardWith('node1', 'allowed')] });
    for (const inTheClear of [STRUCTURED, encodeOption(Option.ExtendedHeaders, NOTHING)]) {
      const raw = await world.begun();
      await raw.send(inTheClear);
      assert.equal((await raw.optionReply())?.reply, OptionReply.Ack);
      await raw.overTls(trusting(world.ca));
      await raw.gone();
      await raw.send(requestBytes({ command: Command.Read, lengthBytes: 512, cookie: 3n }));
      assert.deepEqual(await raw.reply(), { error: 0, cookie: 3n });
      raw.destroy();
      await until(() => world.server.connections().length === 0);
    }
  });

  test('a STARTTLS that comes byte by byte is one all the same', async (context) => {
    const world = await serveTls(context);
    const raw = await world.begun();
    for (const byte of STARTTLS.subarray(0, -1)) await raw.send(Uint8Array.of(byte));
    await raw.send(STARTTLS.subarray(-1));
    assert.equal((await raw.optionReply())?.reply, OptionReply.Ack);
    await raw.tls(trusting(world.ca));
    assert.deepEqual(await raw.listed(), ['node1', 'node2']);
  });
});

describe('the deadline of ten seconds', { skip }, () => {
  for (const [what, sent] of [
    ['that never begins', NOTHING],
    ['that stops in the middle of its first message', HELLO],
  ] as const) {
    test(`covers a TLS handshake ${what}`, async (context) => {
      const clock = new FakeClock();
      const world = await serveTls(context, { server: { clock } });
      const raw = await world.begun();
      await raw.tlsPromised();
      await raw.send(sent);
      const ended = raw.ended();
      clock.advance(NBD_HANDSHAKE_MS - 1);
      assert.deepEqual(await (await world.begun()).optionReplyTo(LIST), OptionReply.ErrTlsReqd, 'others are served');
      assert.equal(raw.socket.closed, false);
      clock.advance(1);
      await ended;
    });
  }

  test('goes on behind the handshake, from the first byte of the connection', async (context) => {
    const clock = new FakeClock();
    const world = await serveTls(context, { server: { clock } });
    const raw = await world.begun();
    clock.advance(NBD_HANDSHAKE_MS - 1000);
    await raw.overTls(trusting(world.ca));
    assert.deepEqual(await raw.listed(), ['node1', 'node2']);
    clock.advance(1000);
    await raw.ended();
  });

  test('is over with the disk: who has it may be silent for ever', async (context) => {
    const clock = new FakeClock();
    const world = await serveTls(context, { server: { clock } });
    const raw = await attached(world);
    clock.advance(100 * NBD_HANDSHAKE_MS);
    await raw.send(requestBytes({ command: Command.Flush, cookie: 8n }));
    assert.deepEqual(await raw.reply(), { error: 0, cookie: 8n });
  });

  test('leaves nothing behind of who left at any byte of a handshake', async (context) => {
    const world = await serveTls(context);
    for (let length = 0; length <= HELLO.length; length += 1) {
      const raw = await world.begun();
      await raw.tlsPromised();
      await raw.send(joined(HELLO, randomBytes(300)).subarray(0, length * 20));
      if (length % 2 === 0) raw.reset();
      else raw.destroy();
    }
    const last = await attached(world);
    await last.send(requestBytes({ command: Command.Disc }));
    await last.ended();
    await world.server.stop();
  });
});

/** All that comes until the connection ends. */
async function all(raw: { receive(length: number): Promise<Uint8Array | undefined> }): Promise<Uint8Array[]> {
  const bytes: Uint8Array[] = [];
  for (;;) {
    const byte = await raw.receive(1);
    if (byte === undefined) return bytes;
    bytes.push(Uint8Array.from(byte));
  }
}
