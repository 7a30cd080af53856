// The real program without CAP_NET_ADMIN is stopped and started as systemd does it, which keeps its connections meanwhile: under a
// client with much to do, which knows nothing of it.
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { until } from '../support/commands.js';
import { DescriptorKeeper } from '../support/descriptor-keeper.js';
import {
  type ExercisedGround,
  type Exerciser,
  exercisedGround,
  expectGoesOn,
  expectLost,
} from '../support/exercise-disk.js';
import { type NetworkNamespace, withoutNamespaces } from '../support/network-namespace.js';
import { type ServedProgram, serveIn } from '../support/program-in-namespace.js';
import { without } from '../support/programs.js';

const skip = withoutNamespaces();
const INVENTORY = `server: { interface: cable0 }
images: { demo: { file: demo.img } }
boards:
  node1: { serial: bf9fed6f, image: demo, disk: overlay }
  node2: { serial: 2, image: demo, disk: overlay }
`;

interface Bench extends ExercisedGround {
  readonly manager: DescriptorKeeper;
  readonly client: Exerciser;
  server: ServedProgram;
}

async function bench(context: TestContext, max?: number): Promise<Bench> {
  const ground = await exercisedGround(context);
  const manager = new DescriptorKeeper(context, join(ground.folder, 'notify'), max);
  const server = await start({ ...ground, manager });
  await server.ready();
  return { ...ground, manager, server, client: await ground.exerciser('node1') };
}

/** As systemd does it: with what is in the store from descriptor 3 on, for the process that the program will be. */
function start(
  { near, folder, manager }: Pick<Bench, 'near' | 'folder' | 'manager'>,
  words = ['setpriv', '--bounding-set', '-net_admin'],
): Promise<ServedProgram> {
  const handed = [...manager.stored];
  const variables = {
    ...manager.environment,
    ...(handed.length === 0
      ? {}
      : { LISTEN_FDS: String(handed.length), LISTEN_FDNAMES: handed.map(([name]) => name).join(':') }),
  };
  const inFront = [
    ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    ...words,
    ...(handed.length === 0 ? [] : ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']),
  ];
  const descriptors = handed.map(([, descriptor]) => descriptor);
  const spawn: NetworkNamespace['spawn'] = (...program) => near.spawnWith(descriptors, ...program);
  return serveIn({ ...near, spawn }, folder, INVENTORY, inFront);
}

/** Answers how long nobody was there. */
async function restart(on: Bench, gapMs = 0): Promise<number> {
  const stoppingMs = performance.now();
  await on.server.stop();
  on.manager.look();
  await passed(gapMs);
  on.server = await start(on);
  return performance.now() - stoppingMs;
}

describe('a board that runs while systemd restarts a server without CAP_NET_ADMIN', { skip }, () => {
  test('notices nothing', async (context) => {
    const on = await bench(context);
    await expectGoesOn(on);
    assert.deepEqual(on.server.logged('handover.impossible'), []);
    for (const gapMs of [0, 300, 1000, 0, 2500]) {
      const before = on.server;
      const awayMs = await restart(on, gapMs);
      const { slowestMs } = await expectGoesOn(on);
      context.diagnostic(`away for ${Math.round(awayMs)} ms, slowest request ${Math.round(slowestMs)} ms`);
      assert.deepEqual(before.logged('disk.going')[0]?.['boards'], []);
      assert.deepEqual(before.logged('handover.store.silent'), []);
      assert.equal(on.server.logged('handover.thawed')[0]?.['board'], 'node1');
      assert.deepEqual(on.server.logged('nbd.disk.attached'), []);
      assert.deepEqual(on.server.logged('handover.unclaimed'), []);
      assert.equal(on.manager.stored.size, 0, 'a connection that we close is closed');
      assert.deepEqual(readdirSync(join(on.folder, 'state', 'handover')), []);
    }
    assert.equal(await on.server.metric('brambleboot_boots_total{board="node1"}'), 0);
    assert.equal(await on.server.metric('brambleboot_nbd_connections{board="node1"}'), 1);
  });

  test('goes on where the capability and nftables are there by then', {
    skip: without('nft', 'nftables'),
  }, async (context) => {
    const on = await bench(context);
    await expectGoesOn(on);
    for (const stored of [1, 0]) {
      await on.server.stop();
      assert.equal(on.manager.stored.size, stored, 'the connection needs no keeper');
      on.server = await start(on, []);
      await expectGoesOn(on);
      assert.equal(on.server.logged('handover.thawed').length, 1);
    }
  });

  test('is told that its disk is gone where nothing is written of it, and others go on', async (context) => {
    const on = await bench(context);
    const other = await on.exerciser('node2');
    await expectGoesOn({ client: other });
    await on.server.stop();
    rmSync(join(on.folder, 'state', 'handover', 'node1'));
    on.manager.put('board-connection-none', '/dev/null');
    await restart(on);
    await expectGoesOn({ client: other });
    await expectLost(on.client);
    const unclaimed = on.server.logged('handover.unclaimed').map(({ because }) => String(because));
    assert.equal(unclaimed.length, 2);
    assert.match(unclaimed.join('\n'), /not the connection that was left there\n.*nothing is written of it/);
    assert.equal(on.manager.stored.size, 0);
  });

  test('is told so too where systemd keeps no more', async (context) => {
    const on = await bench(context, 1);
    const clients = [on.client, await on.exerciser('node2')];
    for (const client of clients) await expectGoesOn({ client });
    await on.server.stop();
    const [lost, ...more] = on.server.logged('handover.lost');
    assert.match(String(lost?.['because']), /no more than 1 /);
    assert.deepEqual(more, []);
    assert.deepEqual(on.server.logged('disk.going')[0]?.['boards'], [lost?.['board']]);
    const [kept, gone] = lost?.['board'] === 'node2' ? clients : clients.toReversed();
    assert.ok(kept && gone);
    await expectLost(gone);
    await restart(on);
    await expectGoesOn({ client: kept });
  });

  test('loses it at a stop that is none of a restart', async (context) => {
    const on = await bench(context);
    await expectGoesOn(on);
    await on.server.stop();
    on.manager.drop();
    await expectLost(on.client);
    on.server = await start(on);
    const dropped = await on.server.firstLogged('handover.dropped');
    assert.match(String(dropped['because']), /over a restart, and not over a stop and a start/);
    await on.exerciser('node1');
  });

  test('is kept by a systemd that is busy and answers too late, without the stop waiting for it', async (context) => {
    const on = await bench(context);
    await expectGoesOn(on);
    on.manager.isBusy = true;
    const beganMs = performance.now();
    await on.server.stop();
    assert.ok(performance.now() - beganMs < 5_000);
    assert.match(String(on.server.logged('handover.store.silent')[0]?.['means']), /lose their disks/);
    on.manager.look();
    await restart(on);
    const dropped = await on.server.firstLogged('handover.store.silent');
    assert.match(String(dropped['means']), /not closed/);
    await expectGoesOn(on);
    on.manager.isBusy = false;
    await until(() => on.manager.stored.size === 0, 'what it was told');
    await restart(on);
    await expectGoesOn(on);
  });
});
