/**
 * A board's layers as they are written down: a line of JSON, then the CRC-32 of that line in hex.
 *
 *     {"version":1,"board":"node1","current":"…","layers":[{"id":"…","base":"…"}],"snapshots":[…],"removed":[]}
 *     9bd366ae
 */
import { crc32 } from 'node:zlib';
import { Malformed } from '../../base/malformed.js';
import { brokenBy, type Layer, type LayerTree, type Snapshot } from './layer-tree.js';

const VERSION = 1;
const ID = /^[0-9a-f]{32}$/;
/** As a board's name, with dots and capitals: it is typed by hand and stands in no path. */
export const SNAPSHOT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

export function encodeLayerTree(board: string, { current, layers, snapshots, removed }: LayerTree): string {
  const line = JSON.stringify({ version: VERSION, board, current, layers, snapshots, removed });
  return `${line}\n${checksum(line)}\n`;
}

/** Throws Malformed. */
export function decodeLayerTree(board: string, text: string): LayerTree {
  const [line = '', sum = ''] = text.split('\n');
  if (checksum(line) !== sum) throw new Malformed('it is damaged: its checksum does not fit');
  const value = objectIn(parsed(line));
  if (value['version'] !== VERSION)
    throw new Malformed(`it is of version ${JSON.stringify(value['version'])}, and this program knows ${VERSION}`);
  if (value['board'] !== board) throw new Malformed(`it is that of ${JSON.stringify(value['board'])}`);
  const tree: LayerTree = {
    current: idIn(value['current']),
    layers: listIn(value['layers']).map(layerIn),
    snapshots: listIn(value['snapshots']).map(snapshotIn),
    removed: listIn(value['removed']).map(idIn),
  };
  const broken = brokenBy(tree);
  if (broken !== undefined) throw new Malformed(broken);
  return tree;
}

/** What V8 says of a text that is no JSON has pieces of it in it, whatever they are. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new Malformed('it is no JSON');
  }
}

function layerIn(value: unknown): Layer {
  const { id, parent, base } = objectIn(value);
  return { id: idIn(id), parent: parent === undefined ? undefined : idIn(parent), base: idIn(base) };
}

function snapshotIn(value: unknown): Snapshot {
  const { name, layer, takenAt } = objectIn(value);
  const at = new Date(typeof takenAt === 'string' ? takenAt : Number.NaN);
  if (typeof name !== 'string' || !SNAPSHOT_NAME.test(name) || Number.isNaN(at.getTime())) {
    throw new Malformed('a snapshot in it has no name, or no time');
  }
  return { name, layer: idIn(layer), takenAt: at };
}

function idIn(value: unknown): string {
  if (typeof value !== 'string' || !ID.test(value)) throw new Malformed(`${JSON.stringify(value)} in it is no id`);
  return value;
}

function listIn(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Malformed('a list is missing in it');
  return value;
}

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new Malformed('it is no object');
  return Object.fromEntries(Object.entries(value));
}

function checksum(line: string): string {
  return crc32(line).toString(16).padStart(8, '0');
}
