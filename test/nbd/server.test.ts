import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../src/base/clock.js';
import { NBD_HANDSHAKE_MS } from '../../src/base/limits.js';
import { silentLog } from '../../src/base/log.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { BlockError } from '../../src/block/block-error.js';
import { MemoryDevice } from '../../src/block/memory-device.js';
import { connectNbd } from '../../src/nbd/client/client.js';
import type { NbdDisk } from '../../src/nbd/client/client-disk.js';
import { NbdDisconnected, NbdFailed, NbdRefused } from '../../src/nbd/client/client-errors.js';
import { silentMeter } from '../../src/nbd/meter.js';
import { startNbdServer } from '../../src/nbd/server.js';
import { ClientFlag, Command, OptionReply } from '../../src/nbd/wire/constants.js';
import { diskBoard, lookupOf } from '../support/boards.js';
import { FakeClock } from '../support/fake-clock.js';
import { GateDevice } from '../support/gate-device.js';
import { requestBytes } from '../support/nbd-bytes.js';
import { serveBoards, until } from '../support/nbd-server.js';
import { rawNbd } from '../support/raw-nbd.js';

const MEBI = 1024 * 1024;

function client(port: number, more: { readonly localAddress?: string; readonly clientFlags?: number } = {}) {
  return connectNbd({ host: '127.0.0.1', port, ...more }, systemClock);
}

async function attach(
  context: TestContext,
  port: number,
  name = 'node1',
  localAddress = '127.0.0.1',
): Promise<NbdDisk> {
  const disk = await (await client(port, { localAddress })).go(name);
  context.after(() => disk.destroy());
  return disk;
}

function pattern(lengthBytes: number, seed: number): Uint8Array {
  return new Uint8Array(lengthBytes).map((_, index) => (index * 31 + (index >> 8) + seed) & 0xff);
}

describe('an export', () => {
  test('is listed, described, attached by GO and by EXPORT_NAME with and without zeroes', async (context) => {
    const { port } = await serveBoards(context, [diskBoard('node1', 8 * MEBI), diskBoard('node2', 512)]);
    const haggling = await client(port);
    assert.deepEqual(await haggling.list(), ['node1', 'node2']);
    assert.deepEqual((await haggling.info('node2'))[0], { kind: 'export', sizeBytes: 512n, transmissionFlags: 0x0d6d });
    const disk = await haggling.go('/node1');
    assert.equal(disk.sizeBytes, 8 * MEBI);
    await disk.disconnect();
    for (const clientFlags of [0, ClientFlag.FixedNewstyle, ClientFlag.FixedNewstyle | ClientFlag.NoZeroes]) {
      const byName = await (await client(port, { clientFlags })).exportName('node2');
      await byName.write(1, Uint8Array.of(7));
      assert.deepEqual(await byName.read(0, 3), Uint8Array.of(0, 7, 0));
      await byName.disconnect();
    }
  });

  test('holds what was written, to the byte, by requests of any size', async (context) => {
    const device = new MemoryDevice(20 * MEBI);
    const { port } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    const pieces = [
      { offset: 1, payload: pattern(511, 1) },
      { offset: 4095, payload: pattern(MEBI, 2) },
      { offset: 3 * MEBI + 5, payload: pattern(MEBI + 1, 3) },
      { offset: 6 * MEBI, payload: pattern(9 * MEBI + 13, 4) },
    ];
    await Promise.all(pieces.map(({ offset, payload }) => disk.write(offset, payload)));
    for (const { offset, payload } of pieces) {
      assert.ok(Buffer.from(device.bytes.subarray(offset, offset + payload.length)).equals(payload));
      assert.ok(Buffer.from(await disk.read(offset, payload.length)).equals(payload));
    }
    await disk.writeZeroes(6 * MEBI + 1, 100);
    await disk.trim(0, 512);
    await disk.flush();
    assert.deepEqual(await disk.read(6 * MEBI, 3), Uint8Array.of(pattern(1, 4)[0] ?? 0, 0, 0));
    assert.equal((await disk.read(0, 0)).length, 0);
    await disk.write(20 * MEBI, new Uint8Array(0));
  });

  test('that is not there is refused with what to do, and another may be asked for', async (context) => {
    const { port, events } = await serveBoards(context, [diskBoard('node1', 512)]);
    const haggling = await client(port);
    await assert.rejects(haggling.go('node9'), (error) => {
      return error instanceof NbdRefused && error.reply === OptionReply.ErrUnknown && /node9: \{/.test(error.sentence);
    });
    const facts = { board: undefined, peer: '127.0.0.1', exportName: 'node9', because: 'not in the inventory' };
    assert.deepEqual(events, [{ kind: 'refused', reason: 'unknown', ...facts }]);
    await (await haggling.go('node1')).disconnect();
    await assert.rejects((await client(port)).exportName('node9'), NbdDisconnected);
  });

  test('is told attached with the first connection and detached with the last', async (context) => {
    const { port, events, server } = await serveBoards(context, [diskBoard('node1', 512)]);
    const [one, two] = [await attach(context, port), await attach(context, port)];
    const peer = '127.0.0.1';
    assert.deepEqual(server.connections(), [
      { board: 'node1', peer, isSecured: false },
      { board: 'node1', peer, isSecured: false },
    ]);
    await one.disconnect();
    assert.deepEqual(events, [{ kind: 'attached', board: 'node1', peer }]);
    await two.disconnect();
    assert.deepEqual(events.at(-1), { kind: 'detached', board: 'node1', peer, because: 'disconnected' });
    assert.deepEqual(server.connections(), []);
  });

  test('belongs to one address: another is refused while the first one answers', async (context) => {
    const { port, events } = await serveBoards(context, [diskBoard('node1', 512)]);
    const holder = await attach(context, port);
    const stranger = await client(port, { localAddress: '127.0.0.2' });
    await assert.rejects(stranger.go('node1'), (error) => {
      return (
        error instanceof NbdRefused && error.reply === OptionReply.ErrPolicy && /127\.0\.0\.1/.test(error.sentence)
      );
    });
    await holder.write(0, Uint8Array.of(1));
    await holder.disconnect();
    await (await stranger.go('node1')).disconnect();
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['attached', 'refused', 'detached', 'attached', 'detached'],
    );
  });
});

describe('requests', () => {
  test('are answered in the order in which they finish', async (context) => {
    const device = new GateDevice(MEBI);
    const { port } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    const order: string[] = [];
    const slow = disk.write(0, Uint8Array.of(1)).then(() => order.push('write'));
    await until(() => device.waiting === 1);
    await disk.read(512, 512).then(() => order.push('read'));
    device.open();
    await slow;
    assert.deepEqual(order, ['read', 'write']);
  });

  test('that fail are answered with an errno, and the connection goes on', async (context) => {
    const device = new MemoryDevice(MEBI);
    const failing: BlockDevice = Object.assign(device, {
      write: async () => {
        throw new BlockError('EROFS');
      },
      flush: async () => {
        throw new BlockError('ENOSPC');
      },
      readNow: () => false,
      read: async () => {
        throw new BlockError('EIO');
      },
      discard: async () => {
        throw new Error('a bug');
      },
    });
    const { port } = await serveBoards(context, [diskBoard('node1', failing)]);
    const disk = await attach(context, port);
    const failures = await Promise.allSettled([
      disk.write(0, pattern(100, 0)),
      disk.write(0, pattern(MEBI, 0)),
      disk.flush(),
      disk.read(0, 512),
      disk.trim(0, 512),
      disk.write(MEBI, Uint8Array.of(1)),
      disk.read(MEBI, 1),
    ]);
    const errnos = failures.map((failure) =>
      failure.status === 'rejected' && failure.reason instanceof NbdFailed ? failure.reason.errno : failure.status,
    );
    assert.deepEqual(errnos, ['EPERM', 'EPERM', 'ENOSPC', 'EIO', 'EIO', 'ENOSPC', 'EINVAL']);
    await disk.writeZeroes(0, 512);
  });

  test('with FUA are durable: the flag reaches the device, and a TRIM is flushed', async (context) => {
    const calls: string[] = [];
    const device: BlockDevice = Object.assign(new MemoryDevice(4 * MEBI), {
      write: async (_offset: number, source: Uint8Array, { durable }: { durable: boolean }) => {
        calls.push(`write ${source.length} ${durable}`);
      },
      zero: async (_offset: number, _length: number, options: { durable: boolean; keepAllocated: boolean }) => {
        calls.push(`zero ${options.durable} ${options.keepAllocated}`);
      },
      discard: async () => void calls.push('discard'),
      flush: async () => void calls.push('flush'),
    });
    const { port } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    await disk.write(0, new Uint8Array(3), { durable: true });
    await disk.write(0, new Uint8Array(MEBI + 3), { durable: true });
    await disk.write(0, new Uint8Array(4));
    await disk.writeZeroes(0, 512, { durable: true });
    await disk.writeZeroes(0, 512, { keepAllocated: true });
    await disk.trim(0, 512);
    await disk.trim(0, 512, { durable: true });
    await disk.flush();
    assert.deepEqual(calls, [
      'write 3 true',
      'write 1048576 true',
      'write 3 true',
      'write 4 false',
      'zero true false',
      'zero false true',
      'discard',
      'discard',
      'flush',
      'flush',
    ]);
  });

  test('through one connection are seen by another at once: there is one device', async (context) => {
    const { port } = await serveBoards(context, [diskBoard('node1', MEBI)]);
    const [one, two] = [await attach(context, port), await attach(context, port)];
    await one.write(7, Uint8Array.of(42));
    await two.flush();
    assert.deepEqual(await two.read(7, 1), Uint8Array.of(42));
  });

  test('larger than 1 MiB whose disk fails half-way end the connection; one that fails at its start is told', async (context) => {
    const device: BlockDevice = Object.assign(new MemoryDevice(8 * MEBI), {
      readNow: () => false,
      read: async (offset: number) => {
        if (offset >= 3 * MEBI) throw new BlockError('EIO');
      },
    });
    const { port } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    await assert.rejects(disk.read(3 * MEBI, 4 * MEBI), NbdFailed);
    await assert.rejects(disk.read(0, 6 * MEBI), NbdDisconnected);
  });

  test('are counted with command, bytes and errno', async (context) => {
    const counted: unknown[] = [];
    const meter = {
      requestFinished: (board: string, command: string, bytes: number, seconds: number, errno: string | undefined) =>
        void counted.push([board, command, bytes, seconds >= 0, errno]),
      ...{ requestsFinished: () => {}, tlsFailed: () => {} },
      connectionOpened: (board: string) => void counted.push(['opened', board]),
      connectionClosed: (board: string) => void counted.push(['closed', board]),
    };
    const { port } = await serveBoards(context, [diskBoard('node1', 4 * MEBI)], { meter });
    const disk = await attach(context, port);
    await disk.read(0, 512);
    await disk.read(0, 2 * MEBI);
    await disk.write(0, new Uint8Array(7));
    await assert.rejects(disk.write(4 * MEBI, new Uint8Array(7)));
    await disk.disconnect();
    assert.deepEqual(
      counted,
      [
        ['opened', 'node1'],
        ['read', 512],
        ['read', 2 * MEBI],
        ['write', 7],
        ['write', 7, 'ENOSPC'],
        ['closed', 'node1'],
      ].map((row) => (row.length === 2 && typeof row[1] === 'string' ? row : ['node1', row[0], row[1], true, row[2]])),
    );
  });
});

describe('the end of a connection', () => {
  test('by DISC lets requests in flight be finished and answered', async (context) => {
    const device = new GateDevice(MEBI);
    const { port, events } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    const write = disk.write(0, pattern(512, 1));
    await until(() => device.waiting === 1);
    const gone = disk.disconnect();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(events.length, 1, 'still attached');
    device.open();
    await write;
    await gone;
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ['attached', 'detached'],
    );
  });

  test('by FIN lets what was asked before be answered', async (context) => {
    const { port } = await serveBoards(context, [diskBoard('node1', MEBI)]);
    const raw = await rawNbd(context, port).transmitting();
    const asked = Array.from({ length: 200 }, (_, index) =>
      requestBytes({ command: Command.Read, cookie: BigInt(index), lengthBytes: 4096 }),
    );
    raw.socket.end(Buffer.concat(asked));
    for (let index = 0; index < 200; index += 1) {
      assert.deepEqual(await raw.reply(), { error: 0, cookie: BigInt(index) });
      await raw.receive(4096);
    }
    await raw.ended();
  });

  test('by RST with 64 requests in flight, 50 times, harms nobody', async (context) => {
    const { port, server } = await serveBoards(context, [diskBoard('node1', 8 * MEBI), diskBoard('node2', MEBI)]);
    const other = await attach(context, port, 'node2');
    for (let round = 0; round < 50; round += 1) {
      const raw = await rawNbd(context, port).transmitting();
      const asked = Array.from({ length: 64 }, (_, index) =>
        requestBytes({
          command: round % 2 === 0 ? Command.Read : Command.WriteZeroes,
          cookie: BigInt(index),
          lengthBytes: 65_536,
        }),
      );
      void raw.send(...asked).then(() => raw.reset());
      await other.write(0, pattern(4096, round));
      assert.ok(Buffer.from(await other.read(0, 4096)).equals(pattern(4096, round)));
    }
    await until(() => server.connections().length === 1);
    await (await attach(context, port)).flush();
  });

  test('by bytes that are no request is immediate', async (context) => {
    const { port, events } = await serveBoards(context, [diskBoard('node1', MEBI)]);
    const raw = await rawNbd(context, port).transmitting();
    await raw.send(new Uint8Array(28));
    await raw.ended();
    assert.match(JSON.stringify(events.at(-1)), /not NBD/);
  });

  test('by silence before an export was chosen comes after ten seconds', async (context) => {
    const clock = new FakeClock();
    const { port } = await serveBoards(context, [diskBoard('node1', MEBI)], { clock });
    const socket = connect({ host: '127.0.0.1', port });
    context.after(() => socket.destroy());
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('data', resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    clock.advance(NBD_HANDSHAKE_MS - 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(socket.closed, false);
    clock.advance(1);
    await closed;
  });

  test('of a port check is no news: nothing above debug', async (context) => {
    const spoken: string[] = [];
    const log = {
      ...silentLog,
      info: (_: object, event: string) => void spoken.push(event),
      warn: (_: object, event: string) => void spoken.push(event),
    };
    const { port, server } = await serveBoards(context, [diskBoard('node1', MEBI)], { log });
    for (let count = 0; count < 20; count += 1) {
      const socket = connect({ host: '127.0.0.1', port });
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.resetAndDestroy();
    }
    await (await client(port)).abort();
    await server.stop();
    assert.deepEqual(spoken, []);
  });
});

describe('the server', () => {
  test('stops when what is under way is finished, and answers no error', async (context) => {
    const device = new GateDevice(MEBI);
    const { port, server, events } = await serveBoards(context, [diskBoard('node1', device)]);
    const disk = await attach(context, port);
    const idle = await client(port);
    const write = disk.write(0, pattern(512, 1));
    await until(() => device.waiting === 1);
    const stopped = server.stop();
    device.open();
    await write;
    await stopped;
    await assert.rejects(disk.flush(), NbdDisconnected);
    await assert.rejects(idle.list(), NbdDisconnected);
    assert.deepEqual(events.at(-1), { kind: 'detached', board: 'node1', peer: '127.0.0.1', because: 'server stopped' });
    await assert.rejects(client(port), /ECONNREFUSED/);
  });

  test('binds all addresses or none', async (context) => {
    const { server } = await serveBoards(context, [], { addresses: ['127.0.0.1', '127.0.0.2'] });
    const [first, second] = server.addresses();
    assert.deepEqual([first?.address, second?.address], ['127.0.0.1', '127.0.0.2']);
    const port = second?.port ?? 0;
    const options = { port, lookup: lookupOf(), tell() {}, clock: systemClock, log: silentLog, answers: () => true };
    const meter = silentMeter;
    await assert.rejects(startNbdServer({ ...options, meter, addresses: ['127.0.0.3', '127.0.0.2'] }), /EADDRINUSE/);
    const retry = await startNbdServer({ ...options, meter, addresses: ['127.0.0.3'] });
    await retry.stop();
  });

  test('closes the connection of who is not to be answered before a byte is sent, and no other', async (context) => {
    let welcome = new Set(['127.0.0.1', '127.0.0.9']);
    const { port, events } = await serveBoards(context, [diskBoard('node1', MEBI)], {
      answers: (peer) => welcome.has(peer),
    });
    const disk = await attach(context, port);
    welcome = new Set(['127.0.0.9']);
    const late = rawNbd(context, port);
    assert.equal(await late.receive(1), undefined);
    // Who was let in stays: it may be a board's root disk.
    await disk.write(0, pattern(512, 1));
    await (await client(port, { localAddress: '127.0.0.9' })).list();
    assert.deepEqual(events, [{ kind: 'attached', board: 'node1', peer: '127.0.0.1' }]);
  });

  test('serves no more than its share of connections to one address', async (context) => {
    const { port } = await serveBoards(context, [diskBoard('node1', MEBI)]);
    const many = await Promise.all(Array.from({ length: 64 }, () => client(port, { localAddress: '127.0.0.9' })));
    await assert.rejects(client(port, { localAddress: '127.0.0.9' }));
    await (await attach(context, port)).flush();
    many[0]?.destroy();
    for (const one of many.slice(1)) one.destroy();
  });
});
