// Any inventories one after the other, under boards that come and go: nobody who uses a disk loses it, and in the end what is served is
// what the last sound file says.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { until } from '../support/commands.js';
import { seeded } from '../support/random.js';
import { reloadingServer } from '../support/reloading.js';

const SEEDS = [1, 2, 3, 4];
const STEPS = 40;
const IMAGES = ['a', 'b', 'c'];
const KINDS = ['direct', 'overlay', 'volatile'];
const NAMES = ['node1', 'node2', 'node3'];
const EMPTY = 'images: {}\nboards: {}\n';

for (const seed of SEEDS) {
  test(`any inventories, seed ${seed}`, { timeout: 120_000 }, (context) => anyInventories(context, seed));
}

async function anyInventories(context: TestContext, seed: number): Promise<void> {
  const chance = seeded(seed);
  const one = <T>(list: readonly T[]) => chance.pick(list);
  const server = await reloadingServer(context, { inventory: EMPTY, images: IMAGES });
  const { app } = server;
  const attached = new Map<string, Awaited<ReturnType<typeof server.attach>>>();
  let wanted: readonly string[] = [];
  let round = 0;

  const anyText = () => {
    const boards = NAMES.filter(() => chance.fraction() < 0.6).map(
      (name) => `${name}: { serial: ${one([1, 2, 3, 4])}, image: ${one(IMAGES)}, disk: ${one(KINDS)} }`,
    );
    const images = IMAGES.map((name) => `${name}: { file: ${chance.fraction() < 0.85 ? name : one(IMAGES)}.img }`);
    return `images: { ${images.join(', ')} }\nboards: { ${boards.join(', ')} }\n`;
  };
  const shown = () =>
    app
      .status()
      .boards.map(
        ({ name, serial, image, disk }) => `${name}: { serial: ${Number(serial)}, image: ${image}, disk: ${disk} }`,
      );
  const reload = async () => {
    const before = shown();
    const isWaiting = app.status().inventory.waiting.length > 0;
    const text = anyText();
    const verdict = await server.reload(text);
    // What waited from before may have been done meanwhile.
    if (verdict.answer === 'faults')
      assert.ok(isWaiting || isDeepStrictEqual(shown(), before), 'a fault changes nothing');
    else if (verdict.answer === 'reloaded') wanted = /boards: \{ (.*) \}/.exec(text)?.[1]?.split(/(?<=\}), /) ?? [];
    else assert.fail(verdict.because);
  };
  const attach = async () => {
    const name = one(app.status().boards.filter(({ own }) => own?.unusable === undefined))?.name;
    if (name === undefined || attached.has(name)) return;
    const disk = await server.attach(name).catch(() => undefined);
    if (disk !== undefined) attached.set(name, disk);
  };
  const detach = async () => {
    const name = one([...attached.keys()]);
    const disk = name === undefined ? undefined : attached.get(name);
    if (name === undefined || disk === undefined) return;
    attached.delete(name);
    await disk.disconnect();
  };

  for (let step = 0; step < STEPS; step += 1) {
    await (one([reload, reload, attach, attach, detach]) ?? reload)();
    for (const [name, disk] of attached) {
      round += 1;
      const piece = new Uint8Array(512).fill(round);
      await disk.write(disk.sizeBytes - 512, piece, { durable: false });
      assert.deepEqual(await disk.read(disk.sizeBytes - 512, 512), piece, name);
      assert.ok(
        shown().some((board) => board.startsWith(`${name}:`)),
        `${name} is served while it is attached`,
      );
    }
  }
  while (attached.size > 0) await detach();
  await until(() => app.status().inventory.waiting.length === 0, 'what waited to be done');
  assert.deepEqual(shown(), wanted);
  assert.deepEqual(
    server.log.events().filter((event) => event.endsWith('.bug')),
    [],
  );
}
