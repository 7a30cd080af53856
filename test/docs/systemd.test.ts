import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { HANDED_SERVICES } from '../../src/app/handed-sockets.js';
import { DESCRIPTOR_STORE_MAX, STOP_MS_MAX, THREADS_FOR_DISKS, YOUNG_MEBIBYTES_MAX } from '../../src/base/limits.js';
import { ExitStatus } from '../../src/cli/exit-status.js';
import { commandLine } from '../../src/cli/program.js';
import { parseInventory } from '../../src/inventory/parse.js';
import { KEYS } from '../../src/inventory/schema-reference.js';
import { without } from '../support/programs.js';
import { projectFile } from '../support/project.js';

const UNIT = projectFile('systemd/brambleboot.service');
const unit = readFileSync(UNIT, 'utf8');
const howTo = readFileSync(projectFile('docs/howto/systemd.md'), 'utf8');

describe('the socket units', () => {
  const sockets = readdirSync(projectFile('systemd')).filter((name) => name.endsWith('.socket'));

  test('are units that systemd understands', { skip: without('systemd-analyze', 'systemd') }, () => {
    assert.equal(verified(UNIT, ...sockets.map((name) => projectFile('systemd', name))), '');
  });

  test('are one for each service that takes sockets, at its port, and in the how-to', () => {
    const defaults = parseInventory('images:\n  a: { file: a.img }\n', 'config.yaml');
    assert.equal(defaults.answer, 'inventory');
    const wanted = HANDED_SERVICES.map((service) => `brambleboot-${service}.socket`);
    assert.deepEqual(sockets.toSorted(), wanted.toSorted());
    for (const service of HANDED_SERVICES) {
      const text = readFileSync(projectFile('systemd', `brambleboot-${service}.socket`), 'utf8');
      assert.match(text, /^Service=brambleboot\.service$/m);
      assert.match(text, new RegExp(`^FileDescriptorName=${service}$`, 'm'));
      const kind = service === 'tftp' ? 'ListenDatagram' : 'ListenStream';
      assert.match(text, new RegExp(`^${kind}=[0-9.]+:${defaults.inventory[service].port}$`, 'm'));
      assert.ok(howTo.includes(`systemd/brambleboot-${service}.socket`));
    }
  });
});

describe('systemd/brambleboot.service', () => {
  test('waits to be told that it is ready, and that it lives', () => {
    assert.deepEqual([valuesOf('Type'), valuesOf('NotifyAccess')], [['notify'], ['main']]);
    // Longer than a stop may take: a server that flushes is not to be killed for it.
    assert.ok(Number(valuesOf('WatchdogSec')[0]) * 1000 > STOP_MS_MAX);
    assert.ok(Number(valuesOf('TimeoutStopSec')[0]) * 1000 > STOP_MS_MAX);
  });

  test('reloads by the command that says what came of it, on the same inventory', () => {
    const [start = ''] = valuesOf('ExecStart');
    assert.deepEqual(valuesOf('ExecReload'), [start.replace(' serve ', ' reload ')]);
    assert.ok(commandLine(() => {}).commands.some((command) => command.name() === 'reload'));
  });

  test('has a folder for the Unix socket that the inventory names', () => {
    const [, folder = ''] = /^\/run\/(.*)\/nbd\.sock$/.exec(KEYS['nbd.socket'].example) ?? [];
    assert.deepEqual(valuesOf('RuntimeDirectory'), [folder]);
  });

  test('is a unit that systemd understands', { skip: without('systemd-analyze', 'systemd') }, () => {
    assert.equal(verified(UNIT), '');
  });

  test('gives the capabilities that the container gives', () => {
    const [, handed = ''] = /^handed=(.*)$/m.exec(readFileSync(projectFile('container/as-service'), 'utf8')) ?? [];
    const wanted = handed.split(',').map((name) => name.replace('+', 'CAP_').toUpperCase());
    for (const key of ['AmbientCapabilities', 'CapabilityBoundingSet'])
      assert.deepEqual(valuesOf(key), [wanted.join(' ')]);
    assert.deepEqual(valuesOf('User'), ['brambleboot']);
    assert.ok(valuesOf('Environment').includes(`UV_THREADPOOL_SIZE=${THREADS_FOR_DISKS}`));
    assert.ok(valuesOf('Environment').includes(`NODE_OPTIONS=--max-semi-space-size=${YOUNG_MEBIBYTES_MAX}`));
  });

  test('has systemd keep as many connections as we leave with it, and say so', () => {
    assert.deepEqual(valuesOf('FileDescriptorStoreMax'), [String(DESCRIPTOR_STORE_MAX)]);
    assert.ok(valuesOf('Environment').includes(`FDSTORE=${DESCRIPTOR_STORE_MAX}`));
    assert.ok(howTo.includes(`FileDescriptorStoreMax=${DESCRIPTOR_STORE_MAX}`));
  });

  test('does not try again what would fail again', () => {
    assert.deepEqual(valuesOf('RestartPreventExitStatus'), [`${ExitStatus.WrongUsage} ${ExitStatus.InventoryFaults}`]);
  });

  test('looks for things where the how-to puts them', () => {
    const [command = ''] = valuesOf('ExecStart');
    for (const path of command.split(' ').filter((word) => word.startsWith('/opt') || word.startsWith('/etc'))) {
      assert.ok(howTo.includes(path.replace('/dist/main.js', '')), path);
    }
    assert.ok(howTo.includes('state: /var/lib/brambleboot/state'));
    assert.deepEqual(valuesOf('StateDirectory'), ['brambleboot']);
  });
});

/** What systemd has to say against them. */
function verified(...units: readonly string[]): string {
  const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], { encoding: 'utf8' });
  return status === 0 ? stderr : `status ${status}: ${stderr}`;
}

function valuesOf(key: string): readonly string[] {
  return [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);
}
