// The way from root to the service's user, which a container takes before anything else.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { anyOf, without, withoutRoot } from '../support/programs.js';
import { projectFile } from '../support/project.js';

const AS_SERVICE = projectFile('container/as-service');
const NEEDED = '+net_bind_service,+net_raw,+net_admin,+setuid,+setgid';

/** With these capabilities (`setpriv` writes them so) and variables, as root unless told otherwise. */
function run(capabilities: string, variables: Readonly<Record<string, string>>, ...before: readonly string[]) {
  const setpriv = ['--bounding-set', `-all,${capabilities}`, ...before, AS_SERVICE];
  const { status, stdout, stderr } = spawnSync(
    'setpriv',
    [...setpriv, 'sh', '-c', 'id -u; id -g; id -G; grep Cap /proc/self/status'],
    {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], ...variables },
    },
  );
  return { status, stdout, stderr };
}

describe('container/as-service', { skip: anyOf(withoutRoot(), without('setpriv', 'util-linux')) }, () => {
  test('becomes user 1000 without any other group, unless it is told whom', () => {
    assert.match(run(NEEDED, {}).stdout, /^1000\n1000\n1000\n/);
    assert.match(run(NEEDED, { BRAMBLEBOOT_UID: '1234', BRAMBLEBOOT_GID: '6' }).stdout, /^1234\n6\n6\n/);
  });

  test('hands on three capabilities, and none of those that it had beside them', () => {
    const { stdout } = run(`${NEEDED},+kill,+dac_override`, {});
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(stdout, new RegExp(`${set}:\t0{12}3400`));
  });

  test('says which capabilities the container lacks', () => {
    const { status, stderr } = run('+net_raw,+setuid,+setgid', {});
    assert.match(stderr, /lacks capabilities: NET_BIND_SERVICE NET_ADMIN\. Start it with the compose\.yaml/);
    assert.equal(status, 1);
  });

  for (const id of ['node', '-1', '1000;id', '1e3']) {
    test(`takes "${id}" for no user`, () => {
      const { status, stderr } = run(NEEDED, { BRAMBLEBOOT_UID: id });
      assert.match(stderr, /are numbers, as `id` shows them/);
      assert.equal(status, 1);
    });
  }

  test('does not run the service as root, however it is written', () => {
    for (const id of ['0', '00']) assert.match(run(NEEDED, { BRAMBLEBOOT_UID: id }).stderr, /does not run as root/);
  });

  test('stays whom it was started as, if that was not root', () => {
    const { status, stdout } = run('+net_raw', {}, '--reuid=1234', '--regid=1234', '--clear-groups');
    assert.match(stdout, /^1234\n1234\n1234\n/);
    assert.equal(status, 0);
  });
});

test('shellcheck has nothing to say of the scripts', { skip: without('shellcheck', 'shellcheck') }, () => {
  const scripts = ['as-service', 'brambleboot'].map((name) => projectFile('container', name));
  const { status, stdout } = spawnSync('shellcheck', scripts, { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});
