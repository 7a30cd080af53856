// What the Dockerfile and compose.yaml say, held against the tree; test/container carries them out.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { THREADS_FOR_DISKS, YOUNG_MEBIBYTES_MAX } from '../../src/base/limits.js';
import { contextFiles } from '../support/container-image.js';
import { copyOf, lastOf, parseDockerfile, words } from '../support/dockerfile.js';
import { anyOf, without } from '../support/programs.js';
import { projectFile } from '../support/project.js';

const stages = parseDockerfile(readFileSync(projectFile('Dockerfile'), 'utf8'));
const [build, final] = stages;
const compose = parse(readFileSync(projectFile('compose.yaml'), 'utf8'));
const service = compose.services.brambleboot;

describe('Dockerfile', () => {
  test('is two stages on one base: an LTS of Node on a slim Debian', () => {
    assert.equal(stages.length, 2);
    assert.equal(build?.base, final?.base);
    assert.match(final?.base ?? '', /^node:\d*[02468]-[a-z]+-slim$/);
  });

  test('copies only what a fresh clone has and .dockerignore lets through', {
    skip: anyOf(without('git', 'git')),
  }, () => {
    const files = contextFiles();
    const copied = stages
      .flatMap(({ instructions }) => instructions)
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .filter(({ from }) => from === undefined)
      .flatMap(({ sources }) => sources);
    assert.ok(copied.length >= 5);
    const isThere = (source: string) => files.some((path) => path === source || path.startsWith(`${source}/`));
    assert.deepEqual(
      copied.filter((source) => !isThere(source)),
      [],
    );
  });

  test('runs npm scripts that exist, and no script of a package', () => {
    const { scripts } = JSON.parse(readFileSync(projectFile('package.json'), 'utf8'));
    const runs = build?.instructions.filter(({ word }) => word === 'RUN').map(({ rest }) => rest) ?? [];
    for (const [, name = ''] of runs.join('\n').matchAll(/npm run ([a-z:]+)/g)) assert.ok(name in scripts, name);
    for (const [command] of runs.join('\n').matchAll(/npm (ci|install|prune)[^&]*/g)) {
      assert.match(command, /--ignore-scripts/);
    }
  });

  test('starts commands of the image that can be executed', () => {
    assert.ok(final !== undefined);
    const scripts = final.instructions
      .filter(({ word }) => word === 'COPY')
      .map(copyOf)
      .find(({ target }) => target === '/usr/local/bin/');
    const names = scripts?.sources.map((path) => path.replace('container/', '')) ?? [];
    for (const name of names) assert.equal(statSync(projectFile('container', name)).mode & 0o111, 0o111, name);
    const [entrypoint = ''] = words(lastOf(final, 'ENTRYPOINT'));
    const [health = ''] = words(lastOf(final, 'HEALTHCHECK'));
    assert.deepEqual(
      [entrypoint, health].filter((name) => !names.includes(name)),
      [],
    );
    assert.equal(lastOf(final, 'USER'), '', 'as-service needs to start as root');
  });

  test('has what serve would start itself anew for', () => {
    assert.match(
      final?.instructions.find(({ word }) => word === 'ENV')?.rest ?? '',
      new RegExp(`UV_THREADPOOL_SIZE=${THREADS_FOR_DISKS} NODE_OPTIONS=--max-semi-space-size=${YOUNG_MEBIBYTES_MAX}$`),
    );
  });
});

describe('what is written of capabilities', () => {
  for (const document of ['docs/howto/container.md', 'docs/security.md']) {
    test(`${document} names each that compose.yaml grants`, () => {
      const text = readFileSync(projectFile(document), 'utf8');
      const granted: readonly string[] = service.cap_add;
      assert.deepEqual(
        granted.filter((name) => !text.includes(name)),
        [],
      );
    });
  }
});

describe('compose.yaml', () => {
  test('has the host network, a read-only root, an init and time to stop', () => {
    assert.deepEqual(Object.keys(compose.services), ['brambleboot']);
    assert.equal(service.network_mode, 'host');
    assert.equal(service.read_only, true);
    assert.equal(service.init, true);
    assert.equal(service.stop_grace_period, '60s');
    assert.deepEqual(service.security_opt, ['no-new-privileges:true']);
  });

  test('grants what the service needs, what leads down to it and what stops it, and no more', () => {
    assert.deepEqual(service.cap_drop, ['ALL']);
    assert.deepEqual([...service.cap_add].sort(), [
      'KILL',
      'NET_ADMIN',
      'NET_BIND_SERVICE',
      'NET_RAW',
      'SETGID',
      'SETUID',
    ]);
  });

  test('mounts where the image looks for the inventory; only images and state can be written, and are never made by Docker', () => {
    assert.ok(final !== undefined);
    const home = lastOf(final, 'WORKDIR');
    const volumes: readonly Volume[] = service.volumes;
    assert.deepEqual(
      volumes.map(({ target, read_only }) => [target, read_only === true]),
      [
        [home, true],
        [`${home}/images`, false],
        [`${home}/state`, false],
      ],
    );
    for (const volume of volumes.slice(1)) assert.equal(volume.bind?.create_host_path, false);
  });

  test('keeps a log that ends somewhere', () => {
    assert.ok('max-size' in service.logging.options && 'max-file' in service.logging.options);
  });
});

interface Volume {
  readonly target: string;
  readonly read_only?: boolean;
  readonly bind?: { readonly create_host_path: boolean };
}
