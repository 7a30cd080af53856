import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { Budget } from '../../../src/base/budget.js';
import { systemClock } from '../../../src/base/clock.js';
import {
  NBD_BYTES_IN_FLIGHT_MAX,
  NBD_EARLY_BYTES_MAX,
  NBD_HELD_BYTES_MAX,
  NBD_OPTION_BYTES_MAX,
} from '../../../src/base/limits.js';
import { silentLog } from '../../../src/base/log.js';
import { Malformed } from '../../../src/base/malformed.js';
import { MemoryDevice } from '../../../src/block/memory-device.js';
import { connectNbd } from '../../../src/nbd/client/client.js';
import { NbdDisconnected, NbdFailed, NbdRefused } from '../../../src/nbd/client/client-errors.js';
import { NbdConnection } from '../../../src/nbd/connection.js';
import type { ConnectionWorld } from '../../../src/nbd/connection-world.js';
import { silentMeter } from '../../../src/nbd/meter.js';
import { BufferPool } from '../../../src/nbd/session/buffer-pool.js';
import { TurnBudget } from '../../../src/nbd/session/turn-budget.js';
import { Command, CommandFlag, Option, OptionReply } from '../../../src/nbd/wire/constants.js';
import {
  encodeClientFlags,
  encodeExportRequest,
  encodeGreeting,
  encodeInfoReply,
  encodeOption,
  encodeOptionReply,
  encodeServerEntry,
} from '../../../src/nbd/wire/handshake-wire.js';
import { encodeMetaContext, encodeMetaContextRequest } from '../../../src/nbd/wire/meta-context-wire.js';
import { diskBoard, lookupOf } from '../../support/boards.js';
import { hex, requestBytes } from '../../support/nbd-bytes.js';
import { noise, seeded } from '../../support/random.js';
import { type FuzzTarget, hashOf } from '../target.js';

const SIZE = 256 * 1024;
const NOTHING = new Uint8Array(0);

const go = encodeOption(Option.Go, encodeExportRequest({ exportName: 'node1', infoRequests: [3] }));
const info = encodeOption(Option.Info, encodeExportRequest({ exportName: 'node2', infoRequests: [0, 1, 2, 3] }));
const metaContexts = (option: number) =>
  encodeOption(option, encodeMetaContextRequest({ exportName: 'node1', queries: ['base:allocation', 'base:'] }));
const write = (offset: bigint, lengthBytes: number) =>
  Buffer.concat([requestBytes({ command: Command.Write, offset, lengthBytes, cookie: 3n }), noise(lengthBytes)]);

/** What clients send from their first byte to their last. */
export const STREAMS: readonly Uint8Array[] = [
  Buffer.concat([encodeClientFlags(3), encodeOption(Option.List, NOTHING), info, encodeOption(Option.Abort, NOTHING)]),
  Buffer.concat([
    ...[encodeClientFlags(3), encodeOption(Option.StructuredReply, NOTHING), go],
    requestBytes({ command: Command.Read, offset: 512n, lengthBytes: 4096, cookie: 1n }),
    write(4096n, 512),
    requestBytes({ command: Command.Flush, cookie: 4n }),
    requestBytes({ command: Command.Trim, flags: CommandFlag.Fua, offset: 0n, lengthBytes: 4096, cookie: 5n }),
    requestBytes({ command: Command.WriteZeroes, flags: CommandFlag.NoHole, lengthBytes: 512, cookie: 6n }),
    requestBytes({ command: Command.Disc, cookie: 7n }),
  ]),
  Buffer.concat([
    ...[encodeClientFlags(3), encodeOption(Option.ExtendedHeaders, NOTHING), metaContexts(Option.SetMetaContext), go],
    hex('21e41c71 0020 0001 0000000000000001 0000000000001000 0000000000000008 0102030405060708'),
    hex('21e41c71 0000 0000 0000000000000002 0000000000001000 0000000000000008'),
    hex('21e41c71 0008 0007 0000000000000003 0000000000000000 0000000000040000'),
    hex('21e41c71 0020 0007 0000000000000004 0000000000000000 000000000000000c 0000000000001000 00000001'),
    hex('21e41c71 0000 0002 0000000000000005 0000000000000000 0000000000000000'),
  ]),
  Buffer.concat([
    ...[encodeClientFlags(1), encodeOption(Option.ExportName, Buffer.from('/node2')), write(0n, 3000)],
    requestBytes({ command: Command.Read, lengthBytes: SIZE, cookie: 8n }),
  ]),
  Buffer.concat([
    ...[encodeClientFlags(3), encodeOption(Option.StartTls, NOTHING)],
    encodeOption(Option.SetMetaContext, hex('00000005 6e6f646531 00000001 0000000f 626173653a616c6c6f636174696f6e')),
    ...[go, requestBytes({ command: Command.BlockStatus, lengthBytes: 4096 })],
  ]),
  Buffer.concat([
    ...[encodeClientFlags(3), encodeOption(Option.StructuredReply, NOTHING), metaContexts(Option.ListMetaContext)],
    ...[metaContexts(Option.SetMetaContext), go],
    requestBytes({ command: Command.BlockStatus, lengthBytes: SIZE, cookie: 1n }),
    requestBytes({ command: Command.BlockStatus, flags: CommandFlag.ReqOne, lengthBytes: 512, cookie: 2n }),
    requestBytes({ command: Command.Read, flags: CommandFlag.Df, lengthBytes: 65_536, cookie: 3n }),
    requestBytes({ command: Command.Read, lengthBytes: SIZE, cookie: 4n }),
    requestBytes({ command: Command.Read, offset: BigInt(SIZE), lengthBytes: 1, cookie: 5n }),
    requestBytes({ command: Command.Cache, lengthBytes: SIZE, cookie: 6n }),
    requestBytes({ command: Command.WriteZeroes, flags: CommandFlag.FastZero, lengthBytes: 4096, cookie: 7n }),
    requestBytes({ command: Command.Disc, cookie: 8n }),
  ]),
];

export const WORDS = ['49484156454f5054', '25609513', '67446698', '00000005', '00000007', '0000ffff', '6e6f646531']
  .concat(['25609513000000000000000000000001', '2560951300010001', '2560951300000003', '21e41c71', '0000000b'])
  .map(hex);

/** One connection of the server, over a stream that is cut anywhere. Ended by the client politely or not. */
export const nbdServer: FuzzTarget = {
  name: 'nbd-server',
  good: async () => STREAMS,
  words: WORDS,
  inputBytesMax: 20_000,
  caseCpuMsMax: 2000,
  start: async () => {
    const bugs: unknown[] = [];
    const boards = ['node1', 'node2'].map((name) => diskBoard(name, new MemoryDevice(SIZE)));
    const world: Omit<ConnectionWorld, 'closed'> = {
      ...{ lookup: lookupOf(...boards), clock: systemClock, meter: silentMeter },
      log: { ...silentLog, error: (facts) => void bugs.push(facts) },
      ...{ turn: new TurnBudget(), pool: new BufferPool(), heldMemory: new Budget(NBD_HELD_BYTES_MAX) },
      ...{
        lanes: { ready: async () => {}, carry: () => undefined },
        probe: async () => 'alive' as const,
        attached() {},
        detached() {},
        refused() {},
        ...{ tls: undefined, tlsFailed() {} },
      },
    };
    return {
      async check(input) {
        await converse(input, world);
        assert.deepEqual(bugs, []);
        for (const board of boards) assert.equal(board.writerLock.holder(), undefined, 'the disk is free again');
      },
    };
  },
};

/** Past this a connection would hold more for a stranger than its limits say: one piece may exceed them. */
const BUFFERED_BYTES_MAX = NBD_BYTES_IN_FLIGHT_MAX + 2 * 1024 * 1024 + NBD_EARLY_BYTES_MAX + NBD_OPTION_BYTES_MAX;

async function converse(input: Uint8Array, world: Omit<ConnectionWorld, 'closed'>): Promise<void> {
  const random = seeded(hashOf(input));
  const [ours, theirs] = duplexPair();
  const heard: Buffer[] = [];
  theirs.on('error', () => {});
  theirs.on('data', (chunk: Buffer) => {
    if (heard.length === 0) heard.push(chunk);
  });
  let connection: NbdConnection | undefined;
  const closed = new Promise<void>((resolve) => {
    connection = new NbdConnection(ours, '192.0.2.7', { ...world, closed: () => resolve() });
  });
  let rest = input;
  while (rest.length > 0 && !ours.destroyed) {
    const length = random.below(3) === 0 ? 1 + random.below(40) : 1 + random.below(rest.length);
    theirs.write(rest.subarray(0, length));
    rest = rest.subarray(length);
    const heldBytes = connection?.bufferedBytes ?? 0;
    assert.ok(heldBytes <= BUFFERED_BYTES_MAX, `${heldBytes} bytes`);
    if (random.below(2) === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  if (random.below(3) === 0) ours.destroy();
  else theirs.end();
  await closed;
  theirs.destroy();
  const [greeting] = heard;
  if (greeting !== undefined) assert.deepEqual(Buffer.from(greeting.subarray(0, 18)), Buffer.from(encodeGreeting(3)));
}

/** What servers answer to our own client. */
const ANSWERS: readonly Uint8Array[] = [
  Buffer.concat([
    encodeGreeting(3),
    encodeOptionReply(
      Option.List,
      OptionReply.Server,
      encodeServerEntry({ exportName: 'node1', description: 'Disk of node1' }),
    ),
    encodeOptionReply(Option.List, OptionReply.Ack, NOTHING),
    encodeOptionReply(Option.Info, OptionReply.Info, encodeInfoReply(exportInfo())),
    encodeOptionReply(Option.Info, OptionReply.Ack, NOTHING),
    encodeOptionReply(Option.StructuredReply, OptionReply.ErrUnsup, NOTHING),
    encodeOptionReply(Option.SetMetaContext, OptionReply.ErrUnsup, NOTHING),
    encodeOptionReply(Option.Go, OptionReply.Info, encodeInfoReply(exportInfo())),
    encodeOptionReply(Option.Go, OptionReply.Ack, NOTHING),
    hex('67446698 00000000 0000000000000001'),
    noise(512),
    hex('67446698 0000001c 0000000000000002'),
    hex('67446698 00000016 0000000000000003'),
  ]),
  Buffer.concat([
    encodeGreeting(3),
    encodeOptionReply(Option.List, OptionReply.Ack, NOTHING),
    encodeOptionReply(Option.Info, OptionReply.ErrUnknown, NOTHING),
    encodeOptionReply(Option.StructuredReply, OptionReply.Ack, NOTHING),
    encodeOptionReply(
      Option.SetMetaContext,
      OptionReply.MetaContext,
      encodeMetaContext({ id: 1, name: 'base:allocation' }),
    ),
    encodeOptionReply(Option.SetMetaContext, OptionReply.Ack, NOTHING),
    encodeOptionReply(Option.Go, OptionReply.Info, encodeInfoReply(exportInfo())),
    encodeOptionReply(Option.Go, OptionReply.Ack, NOTHING),
    hex('668e33ef 0000 0001 0000000000000001 00000108 0000000000000000'),
    noise(256),
    hex('668e33ef 0000 0002 0000000000000001 0000000c 0000000000000100 00000100'),
    hex('668e33ef 0001 0005 0000000000000003 0000000c 00000001 00000200 00000003'),
    hex('668e33ef 0001 0000 0000000000000001 00000000'),
    hex('668e33ef 0001 8001 0000000000000002 00000008 00000005 0002 6e6f'),
  ]),
  Buffer.concat([
    encodeGreeting(1),
    encodeOptionReply(Option.List, OptionReply.ErrPolicy, Buffer.from('not for you')),
    encodeOptionReply(Option.Info, OptionReply.ErrUnknown, Buffer.from('no such board')),
    encodeOptionReply(Option.Go, OptionReply.ErrUnknown, Buffer.from('no such board')),
  ]),
];

function exportInfo() {
  return { kind: 'export' as const, sizeBytes: BigInt(SIZE), transmissionFlags: 0x6d };
}

/** Our client, as pretend uses it, against a server that says anything. */
export const nbdClient: FuzzTarget = {
  name: 'nbd-client',
  good: async () => ANSWERS,
  words: ['0003e889045565a9', '80000001', '00000003', '67446698', '668e33ef', '4e42444d41474943'].map(hex),
  inputBytesMax: 20_000,
  caseCpuMsMax: 2000,
  start: async () => {
    let answer: Uint8Array = NOTHING;
    const server = createServer((socket) => void talk(socket, answer));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    return {
      async check(input) {
        answer = input;
        try {
          await useDisk(port);
        } catch (error) {
          if (!isExpected(error)) throw error;
        }
      },
      stop: () => new Promise((resolve) => server.close(() => resolve())),
    };
  },
};

async function talk(socket: Socket, answer: Uint8Array): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  const random = seeded(hashOf(answer));
  const cut = random.below(answer.length + 1);
  socket.write(answer.subarray(0, cut));
  await new Promise((resolve) => setImmediate(resolve));
  socket.end(answer.subarray(cut));
}

async function useDisk(port: number): Promise<void> {
  const haggling = await connectNbd({ host: '127.0.0.1', port }, systemClock);
  try {
    await unlessRefused(haggling.list());
    await unlessRefused(haggling.info('node1'));
    await unlessRefused(haggling.structuredReplies());
    await unlessRefused(haggling.setMetaContexts('node1', ['base:allocation']));
    const disk = await haggling.go('node1');
    await Promise.all([disk.read(0, 512), disk.flush(), disk.blockStatus(0, 512)]);
    await disk.disconnect();
  } finally {
    haggling.destroy();
  }
}

async function unlessRefused(asking: Promise<unknown>): Promise<void> {
  try {
    await asking;
  } catch (error) {
    if (!(error instanceof NbdRefused)) throw error;
  }
}

function isExpected(error: unknown): boolean {
  const ours = [Malformed, NbdRefused, NbdFailed, NbdDisconnected];
  return ours.some((kind) => error instanceof kind) || (error instanceof Error && 'code' in error);
}
