import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { ExitStatus } from '../../src/cli/exit-status.js';
import { without } from '../support/programs.js';
import { projectFile } from '../support/project.js';

const UNIT = projectFile('systemd/brambleboot.service');
const unit = readFileSync(UNIT, 'utf8');
const howTo = readFileSync(projectFile('docs/howto/systemd.md'), 'utf8');

describe('systemd/brambleboot.service', () => {
  test('is a unit that systemd understands', { skip: without('systemd-analyze', 'systemd') }, () => {
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', UNIT], { encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  test('gives the capabilities that the container gives', () => {
    const [, handed = ''] = /^handed=(.*)$/m.exec(readFileSync(projectFile('container/as-service'), 'utf8')) ?? [];
    const wanted = handed.split(',').map((name) => name.replace('+', 'CAP_').toUpperCase());
    for (const key of ['AmbientCapabilities', 'CapabilityBoundingSet'])
      assert.deepEqual(valuesOf(key), [wanted.join(' ')]);
    assert.deepEqual(valuesOf('User'), ['brambleboot']);
    assert.ok(valuesOf('Environment').includes('UV_THREADPOOL_SIZE=32'));
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

function valuesOf(key: string): readonly string[] {
  return [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value);
}
