import { foldName, isFileName } from './names.js';

/** A file for a new volume. The directories in its path are made with it. */
export interface FatFile {
  /** `/` between names, none in front. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface FileNode {
  readonly kind: 'file';
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly name: string;
  /** By folded name. */
  readonly children: Map<string, FileNode | DirectoryNode>;
}

/** Throws RangeError for a path that no volume can have, and for two files of one name. */
export function buildTree(files: readonly FatFile[]): DirectoryNode {
  const root: DirectoryNode = { kind: 'directory', name: '', children: new Map() };
  for (const { path, bytes } of files) {
    const parts = path.split('/');
    const wrong = parts.find((part) => !isFileName(part) || /[. ]$/.test(part));
    if (wrong !== undefined) throw new RangeError(`"${path}" cannot be a path on a FAT volume`);
    const name = parts.pop() ?? '';
    const directory = parts.reduce(enter, root);
    if (directory.children.has(foldName(name)))
      throw new RangeError(`"${path}" is there already, if only in another case`);
    directory.children.set(foldName(name), { kind: 'file', name, bytes });
  }
  return root;
}

function enter(directory: DirectoryNode, name: string): DirectoryNode {
  const known = directory.children.get(foldName(name));
  if (known?.kind === 'directory') return known;
  if (known !== undefined) throw new RangeError(`"${name}" is a file and a directory`);
  const made: DirectoryNode = { kind: 'directory', name, children: new Map() };
  directory.children.set(foldName(name), made);
  return made;
}
