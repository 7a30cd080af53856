import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { connect, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { isStoredName, StoreKeeper } from '../../../src/nbd/handover/store-keeper.js';
import type { HandedDescriptor } from '../../../src/os/handed-descriptors.js';
import { serviceManager } from '../../../src/os/service-manager.js';
import { duplicate } from '../../../src/os/stream-calls.js';
import { descriptorOf } from '../../../src/os/tcp-probe.js';
import { whenOver } from '../../support/cleanup.js';
import { DescriptorKeeper } from '../../support/descriptor-keeper.js';
import { scratchFolder } from '../../support/scratch.js';

function managed(context: TestContext, max?: number) {
  const manager = new DescriptorKeeper(context, join(scratchFolder(context), 'notify'), max);
  const { store } = serviceManager({ ...manager.environment }, 7);
  /** What the next process has of it. */
  const next = (...more: readonly HandedDescriptor[]) => {
    const handed = [...manager.stored].map(([name, descriptor]) => ({ name, descriptor: duplicate(descriptor) ?? -1 }));
    return new StoreKeeper(store, [...handed, ...more]);
  };
  return { manager, next, keeper: new StoreKeeper(store, []) };
}

/** Of the server's end only a number is left, as it is of one that was halted. */
async function connection(context: TestContext): Promise<{ readonly far: Socket; readonly descriptor: number }> {
  const server = createServer().listen(0, '127.0.0.1');
  whenOver(context, () => void server.close());
  await once(server, 'listening');
  const bound = server.address();
  const far = connect(typeof bound === 'object' && bound !== null ? bound.port : 0, '127.0.0.1');
  whenOver(context, () => void far.destroy());
  const [near] = await once(server, 'connection');
  const descriptor = duplicate(descriptorOf(near) ?? -1) ?? -1;
  near.destroy();
  return { far, descriptor };
}

/** As the process does when it ends. */
function give(context: TestContext, descriptor: number): Socket {
  const socket = new Socket({ fd: descriptor });
  whenOver(context, () => void socket.destroy());
  return socket;
}

describe('connections that a service manager keeps', () => {
  test('go on in the next process with what came meanwhile, and are then ours alone', async (context) => {
    const { manager, next, keeper } = managed(context);
    const { far, descriptor } = await connection(context);
    const { socket, received, unsent } = keeper.keep(descriptor);
    assert.deepEqual([received.length, unsent.length], [0, 0]);
    assert.ok(await keeper.settled());
    give(context, descriptor).destroy();
    far.write('meanwhile');
    const second = next();
    const taken = give(context, second.fetch(socket));
    assert.deepEqual(await second.empty(), { unclaimed: [], isEmpty: true });
    assert.equal(manager.stored.size, 0);
    const [chunk] = await once(taken, 'data');
    assert.equal(String(chunk), 'meanwhile');
    taken.end('bye');
    assert.equal(String((await once(far, 'data'))[0]), 'bye');
  });

  test('have a name that is theirs alone, and the same in each process', async (context) => {
    const { manager, next, keeper } = managed(context);
    const [one, two] = [await connection(context), await connection(context)];
    const names = [one, two, one].map(({ descriptor }) => {
      const { socket } = keeper.keep(descriptor);
      return socket.kind === 'stored' ? socket.name : '';
    });
    assert.ok(names.every(isStoredName));
    assert.equal(names[0], names[2]);
    assert.notEqual(names[0], names[1]);
    assert.ok(await keeper.settled());
    assert.equal(manager.stored.size, 2);
    const [name = ''] = names;
    assert.deepEqual(next().keep(one.descriptor).socket, { kind: 'stored', name });
  });

  test('that nobody asks for are ended, and their peers told', async (context) => {
    const { manager, next, keeper } = managed(context);
    const { far, descriptor } = await connection(context);
    const { socket } = keeper.keep(descriptor);
    assert.ok(await keeper.settled());
    give(context, descriptor).destroy();
    const second = next();
    const [{ unclaimed }, [error]] = await Promise.all([second.empty(), once(far, 'error')]);
    assert.equal(error.code, 'ECONNRESET');
    assert.deepEqual(
      unclaimed.map(({ name }) => ({ kind: 'stored', name })),
      [socket],
    );
    assert.equal(manager.stored.size, 0);
    assert.throws(() => second.fetch(socket), /not kept it/);
  });

  test('are not taken for others, whatever comes under their names', async (context) => {
    const { next, keeper } = managed(context);
    const [one, two] = [await connection(context), await connection(context)];
    const { socket } = keeper.keep(one.descriptor);
    assert.ok(await keeper.settled());
    const name = socket.kind === 'stored' ? socket.name : '';
    const file = openSync('/dev/null', 'r');
    const second = next(
      { name, descriptor: duplicate(one.descriptor) ?? -1 },
      { name: 'board-connection-1', descriptor: two.descriptor },
      { name: 'board-connection-', descriptor: file },
      { name: 'board-connection-x', descriptor: 1_000_000 },
    );
    assert.ok(second.fetch(socket) >= 0);
    const { unclaimed } = await second.empty();
    assert.deepEqual(
      unclaimed.map((each) => each.name),
      [name, 'board-connection-1', 'board-connection-', 'board-connection-x'],
    );
    assert.throws(() => second.fetch({ kind: 'stored', name: 'board-connection-1' }), /not kept it/);
    assert.ok(!['nbd', 'brambleboot-nbd.socket', 'unknown', ''].some(isStoredName));
  });

  test('are no more than it takes: it would say nothing of those that it drops', async (context) => {
    const { keeper } = managed(context, 2);
    for (let count = 0; count < 2; count += 1) keeper.keep((await connection(context)).descriptor);
    const { descriptor } = await connection(context);
    assert.throws(() => keeper.keep(descriptor), /no more than 2 \(FileDescriptorStoreMax=/);
  });

  test('are none where there is no such manager, and those that came back are told so', async (context) => {
    const { next, keeper } = managed(context);
    const none = new StoreKeeper(undefined, []);
    const { descriptor } = await connection(context);
    assert.equal(none.max, undefined);
    assert.throws(() => none.keep(descriptor), /nobody is there/);
    assert.deepEqual(await none.empty(), { unclaimed: [], isEmpty: true });
    assert.ok(await none.settled());
    assert.equal(keeper.max, 512);
    assert.deepEqual(await next().empty(), { unclaimed: [], isEmpty: true });
  });

  test('are said to be unsure where it does not answer', async (context) => {
    const { manager, next, keeper } = managed(context);
    const { descriptor } = await connection(context);
    keeper.keep(descriptor);
    manager.isBusy = true;
    assert.equal(await keeper.settled(), false);
    manager.look();
    manager.isBusy = true;
    assert.equal((await next().empty()).isEmpty, false);
  });
});
