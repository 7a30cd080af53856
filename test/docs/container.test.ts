// No container engine runs where the tests do; what the files name can be looked at all the same.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { projectFile } from '../support/project.js';

const dockerfile = readFileSync(projectFile('Dockerfile'), 'utf8');
const service = parse(readFileSync(projectFile('compose.yaml'), 'utf8')).services.brambleboot;

describe('Dockerfile', () => {
  test('copies only what is there, and nothing that .dockerignore leaves out', () => {
    const ignored = readFileSync(projectFile('.dockerignore'), 'utf8').split('\n');
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) =>
      sources.split(' '),
    );
    assert.ok(copied.length >= 5);
    assert.deepEqual(
      copied.filter((path) => !existsSync(projectFile(path)) || ignored.includes(path)),
      [],
    );
  });

  test('runs npm scripts that exist, and the program that the build makes', () => {
    const { scripts, bin } = JSON.parse(readFileSync(projectFile('package.json'), 'utf8'));
    for (const [, name = ''] of dockerfile.matchAll(/npm run ([a-z:]+)/g)) assert.ok(name in scripts, name);
    assert.ok(dockerfile.includes(`ENTRYPOINT ["node", "${bin.brambleboot}"]`));
  });
});

describe('compose.yaml', () => {
  test('has the host network, a read-only root, few capabilities and time to stop', () => {
    assert.equal(service.network_mode, 'host');
    assert.equal(service.read_only, true);
    assert.deepEqual(service.cap_drop, ['ALL']);
    assert.equal(service.stop_grace_period, '60s');
  });

  test('mounts the inventory where the image looks for it', () => {
    const [, target] = service.volumes[0].split(':');
    assert.ok(dockerfile.includes(`"--config", "${target}"`));
  });
});
