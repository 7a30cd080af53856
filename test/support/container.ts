import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { whenOver } from './cleanup.js';
import { background } from './commands.js';
import type { Image } from './container-image.js';
import { lastOf, words } from './dockerfile.js';
import type { NetworkNamespace } from './network-namespace.js';
import { anyOf, without, withoutRoot } from './programs.js';
import { projectFile } from './project.js';

/**
 * compose.yaml as Docker would carry it out, by the program that Docker itself starts containers with: runc takes capabilities, no-new-privileges,
 * the read-only root and the mounts from what is written here. What is not Docker's: the network is a test's own instead of this machine's, and
 * there is no seccomp profile.
 */
export interface Container {
  readonly process: ReturnType<typeof background>;
  /** `docker compose exec`: as root, with the container's capabilities. */
  exec(command: readonly string[], environment?: Readonly<Record<string, string>>): Outcome;
  /** The signal that `docker stop` sends to the first process. */
  terminate(): void;
  /** Of the container's process that runs this program: /proc/PID/status. */
  statusOf(program: string): ReadonlyMap<string, string>;
}

export interface Outcome {
  readonly status: number | null;
  /** Both streams. */
  readonly text: string;
}

export interface Service {
  readonly cap_add: readonly string[];
  readonly read_only: boolean;
  readonly init: boolean;
  readonly security_opt: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly { readonly source: string; readonly target: string; readonly read_only?: boolean }[];
}

export interface ContainerPlace {
  /** Where compose.yaml would lie. */
  readonly folder: string;
  readonly network: NetworkNamespace;
  /** In place of the image's ENTRYPOINT and CMD. */
  readonly command?: readonly string[];
}

/** For `test(name, { skip: withoutContainers() }, …)`. */
export function withoutContainers(): string | false {
  return anyOf(withoutRoot(), without('runc', 'runc'), without('tini', 'tini'), without('git', 'git'));
}

export function composeService(): Service {
  const text = readFileSync(projectFile('compose.yaml'), 'utf8');
  // `${NAME:-default}`, as Compose has it where the variable is not set.
  return parse(text.replace(/\$\{\w+:-([^}]*)\}/g, '$1')).services.brambleboot;
}

export function startContainer(context: TestContext, image: Image, place: ContainerPlace): Container {
  const service = composeService();
  const name = `brambleboot-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  const bundle = join(place.folder, '..', name);
  const runc = (...more: readonly string[]) => ['--root', join(bundle, 'runc'), ...more];
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(runtimeConfig(service, image, place)));
  whenOver(context, () => void spawnSync('runc', runc('delete', '--force', name)));
  const child = background(context, 'runc', runc('run', '--bundle', bundle, name));
  return {
    process: child,
    exec(command, environment = {}) {
      const variables = Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
      const { status, stdout, stderr } = spawnSync('runc', runc('exec', ...variables, name, ...command), {
        encoding: 'utf8',
        timeout: 60_000,
      });
      return { status, text: stdout + stderr };
    },
    terminate: () => void spawnSync('runc', runc('kill', name, 'TERM')),
    statusOf(program) {
      const processIds: unknown = JSON.parse(spawnSync('runc', runc('ps', '-f', 'json', name)).stdout.toString());
      const found = (Array.isArray(processIds) ? processIds : []).find((id) =>
        readFileSync(`/proc/${id}/cmdline`, 'utf8').startsWith(`${program}\0`),
      );
      const lines = readFileSync(`/proc/${found}/status`, 'utf8').split('\n');
      return new Map(lines.map((line) => [line.split(':')[0] ?? '', line.split(':')[1]?.trim() ?? '']));
    },
  };
}

/** The OCI runtime specification's config.json, as Docker writes it for a service like ours. */
function runtimeConfig(service: Service, image: Image, place: ContainerPlace): object {
  const capabilities = service.cap_add.map((capability) => `CAP_${capability}`);
  const command = place.command ?? [...words(lastOf(image.stage, 'ENTRYPOINT')), ...words(lastOf(image.stage, 'CMD'))];
  const environment = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...image.environment };
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: service.init ? ['tini', '--', ...command] : command,
      env: Object.entries({ ...environment, ...service.environment }).map(([name, value]) => `${name}=${value}`),
      cwd: image.workingFolder,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: service.security_opt.includes('no-new-privileges:true'),
    },
    root: { path: image.root, readonly: service.read_only },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
      { destination: '/usr', type: 'overlay', source: 'overlay', options: ['ro', `lowerdir=${image.root}/usr:/usr`] },
      { destination: '/etc', type: 'bind', source: '/etc', options: ['rbind', 'ro'] },
      ...service.volumes.map(({ source, target, read_only }) => ({
        destination: target,
        type: 'bind',
        source: join(place.folder, source),
        options: ['rbind', 'rprivate', read_only ? 'ro' : 'rw'],
      })),
    ],
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type })),
        { type: 'network', path: `/run/netns/${place.network.name}` },
      ],
    },
  };
}
