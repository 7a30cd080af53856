import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { DESCRIPTOR_STORE_ANSWER_MS, DESCRIPTOR_STORE_MAX } from '../../src/base/limits.js';
import type { DescriptorStore } from '../../src/os/descriptor-store.js';
import { serviceManager } from '../../src/os/service-manager.js';
import { whenOver } from '../support/cleanup.js';
import { until } from '../support/commands.js';
import { DescriptorKeeper } from '../support/descriptor-keeper.js';
import { scratchFolder } from '../support/scratch.js';

function bench(context: TestContext): {
  readonly manager: DescriptorKeeper;
  readonly store: DescriptorStore;
  readonly file: number;
} {
  const folder = scratchFolder(context);
  const manager = new DescriptorKeeper(context, join(folder, 'notify'));
  const { store } = serviceManager({ ...manager.environment }, 7);
  assert.ok(store);
  writeFileSync(join(folder, 'file'), 'kept');
  const file = openSync(join(folder, 'file'), 'r');
  whenOver(context, () => closeSync(file));
  return { manager, store, file };
}

describe('what is left in the descriptor store', () => {
  test('is what was open, under its name, until it is to be forgotten', async (context) => {
    const { manager, store, file } = bench(context);
    assert.ok(store.keep('one', file));
    assert.ok(await store.settled());
    const kept = manager.stored.get('one') ?? -1;
    assert.notEqual(kept, file);
    assert.equal(fstatSync(kept).ino, fstatSync(file).ino);
    assert.equal(readFileSync(kept, 'utf8'), 'kept');
    assert.deepEqual(manager.said, ['FDSTORE=1\nFDNAME=one\nFDPOLL=0\n', 'BARRIER=1']);
    assert.ok(store.forget('one'));
    assert.ok(await store.settled());
    assert.equal(manager.stored.size, 0);
  });

  test('is there when the manager says so, however many there are', async (context) => {
    const { manager, store, file } = bench(context);
    for (let count = 0; count < 200; count += 1) {
      manager.look(); // systemd is a process of its own: its queue does not fill while we wait
      assert.ok(store.keep(`number ${count}`, file));
    }
    assert.ok(await store.settled());
    assert.equal(manager.stored.size, 200);
  });

  test('is not waited for any longer than a stop has time, where the manager is busy', async (context) => {
    const { manager, store, file } = bench(context);
    manager.isBusy = true;
    const beganMs = performance.now();
    assert.ok(store.keep('one', file));
    assert.equal(await store.settled(), false);
    assert.ok(performance.now() - beganMs > DESCRIPTOR_STORE_ANSWER_MS * 0.9);
    let count = 0;
    while (store.keep(`more ${count}`, file)) count += 1;
    for (let again = 0; again < 20; again += 1) assert.equal(store.forget('one'), false);
    assert.ok(performance.now() - beganMs < DESCRIPTOR_STORE_ANSWER_MS * 4);
    manager.isBusy = false;
    await until(() => manager.stored.size === count + 1, 'all that it was told before');
    assert.ok(await store.settled());
  });

  test('is nothing where the manager keeps nothing for us', (context) => {
    const { manager } = bench(context);
    const storeOf = (FDSTORE?: string) =>
      serviceManager({ NOTIFY_SOCKET: manager.path, ...(FDSTORE === undefined ? {} : { FDSTORE }) }, 7).store;
    for (const said of [undefined, '', '0', '-1', 'many', '1e3', '9'.repeat(12)])
      assert.equal(storeOf(said), undefined);
    assert.equal(storeOf('3')?.max, 3);
    assert.equal(storeOf('100000')?.max, DESCRIPTOR_STORE_MAX);
    const environment = { FDSTORE: '3', HOME: '/' };
    assert.equal(serviceManager(environment, 7).store, undefined);
    assert.deepEqual(environment, { HOME: '/' });
  });

  test('is refused where there is no manager any more', async (context) => {
    const { store, file } = bench(context);
    const gone = serviceManager({ NOTIFY_SOCKET: '@brambleboot-nobody', FDSTORE: '3' }, 7).store;
    assert.ok(gone);
    assert.equal(gone.keep('one', file), false);
    assert.equal(await gone.settled(), false);
    assert.equal(store.keep('one', 1_000_000), false, 'nor one that is not open');
  });
});
