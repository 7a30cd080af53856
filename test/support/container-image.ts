import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { copyOf, parseDockerfile, type Stage } from './dockerfile.js';
import { projectFile } from './project.js';

/** What a container of the image starts with. */
export interface Image {
  /** Its own files alone: /usr of the base image is this machine's, laid beneath it by whoever runs the image. */
  readonly root: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  readonly stage: Stage;
}

/**
 * Carries out the Dockerfile in `folder`, each instruction of it: there is no base image to be had here, so this machine's Debian and Node
 * stand in for it. The context is what a fresh clone has of the files of today.
 */
export function buildImage(folder: string): Image {
  const context = join(folder, 'context');
  for (const path of contextFiles()) {
    mkdirSync(dirname(join(context, path)), { recursive: true });
    cpSync(projectFile(path), join(context, path));
  }
  const roots = new Map<string | undefined, string>([[undefined, context]]);
  const images = parseDockerfile(readFileSync(projectFile('Dockerfile'), 'utf8')).map((stage, index) => {
    const root = join(folder, `stage-${index}`);
    const image = carryOut(stage, root, roots);
    roots.set(stage.name, root);
    return image;
  });
  const last = images.at(-1);
  if (last === undefined) throw new Error('the Dockerfile has no FROM');
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(last.root, name));
  for (const name of ['proc', 'dev', 'etc']) mkdirSync(join(last.root, name));
  return last;
}

/** What git has, without what .dockerignore leaves out. */
export function contextFiles(): readonly string[] {
  const ignored = readFileSync(projectFile('.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => new RegExp(`^${line.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}(/|$)`));
  return execFileSync('git', ['ls-files', '-z'], { cwd: projectFile(), encoding: 'utf8' })
    .split('\0')
    .filter((path) => path !== '' && !ignored.some((pattern) => pattern.test(path)));
}

function carryOut(stage: Stage, root: string, roots: ReadonlyMap<string | undefined, string>): Image {
  const environment: Record<string, string> = {};
  let workingFolder = '/';
  for (const instruction of stage.instructions) {
    const { word, rest } = instruction;
    if (word === 'WORKDIR') {
      workingFolder = resolve(workingFolder, rest);
      mkdirSync(join(root, workingFolder), { recursive: true });
    } else if (word === 'ENV') {
      for (const pair of rest.split(/ +/)) {
        const [name = ''] = pair.split('=', 1);
        environment[name] = pair.slice(name.length + 1); // a value may hold further signs: NODE_OPTIONS=--name=value
      }
    } else if (word === 'RUN' && rest.startsWith('apt-get ')) {
      assertInstalled(rest);
    } else if (word === 'RUN') {
      execFileSync('sh', ['-c', rest], { cwd: join(root, workingFolder), stdio: ['ignore', 'ignore', 'inherit'] });
    } else if (word === 'COPY') {
      const { from, sources, target } = copyOf(instruction);
      copyInto(join(root, resolve(workingFolder, target)), target.endsWith('/'), sources, roots.get(from));
    }
  }
  return { root, environment, workingFolder, stage };
}

/** Debian's packages are in /usr, which is this machine's. */
function assertInstalled(command: string): void {
  const [, names = ''] =
    /apt-get install ((?:[a-z0-9.+-]+ )+)&& rm -rf \/var\/lib\/apt\/lists\/\*$/.exec(command) ?? [];
  const packages = names.split(' ').filter((word) => word !== '' && !word.startsWith('--'));
  if (packages.length === 0) throw new Error(`no packages in "${command}"`);
  execFileSync('dpkg-query', ['--show', ...packages], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** As Docker copies: of a folder what is in it, of a file the file, into the target if that ends in a slash. */
function copyInto(target: string, isFolder: boolean, sources: readonly string[], from: string | undefined): void {
  if (from === undefined) throw new Error('COPY --from a stage that is not there');
  for (const source of sources.map((path) => join(from, path))) {
    const inside = isFolder && statSync(source).isFile() ? join(target, basename(source)) : target;
    mkdirSync(dirname(inside), { recursive: true });
    cpSync(source, inside, { recursive: true });
  }
}
