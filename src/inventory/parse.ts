import { dirname, resolve } from 'node:path';
import { INVENTORY_BYTES_MAX } from '../base/limits.js';
import { findClashes } from './clashes.js';
import type { Fault } from './fault.js';
import type { BoardEntry, ImageEntry, Inventory } from './inventory.js';
import { type InventoryAsWritten, inventorySchema, stateFolder } from './schema.js';
import { shapeFindings } from './shape-findings.js';
import { type Finding, type InventorySource, type PositionTable, SourceText } from './source.js';
import { at, type GrownTree, growTree } from './tree.js';

export type InventoryVerdict =
  | { readonly answer: 'inventory'; readonly inventory: Inventory; readonly source: InventorySource }
  | InventoryFaults;

export interface InventoryFaults {
  readonly answer: 'faults';
  /** At least one, as they stand in the file. */
  readonly faults: readonly Fault[];
  /** Absolute path of the state folder, where that much could be read: a server that started before the faults were made is found by it. */
  readonly state: string | undefined;
}

/**
 * Makes an inventory of any text at all, or says what is wrong with it. `file` is how the user named it: it stands in the
 * faults, and relative paths in the inventory begin at its folder. Looks at no file: `checkImageFiles` does.
 */
export function parseInventory(text: string, file: string): InventoryVerdict {
  if (text.length > INVENTORY_BYTES_MAX) return faulty([tooLarge(file)]);
  const source = new SourceText(file, text.replace(/^\ufeff/, ''));
  if (source.isBlank()) return faulty([emptyFile(source)]);
  const grown = growTree(source);
  const written = inventorySchema.safeParse(grown.tree);
  const shape = written.success ? [] : shapeFindings(written.error.issues, grown.tree, grown.positions);
  const clashes = findClashes(grown.tree, grown.positions, source);
  const findings = believable(grown, [...grown.structure, ...shape, ...clashes], source);
  if (findings.length > 0 || !written.success) return faulty(source.faults(findings), stateIn(grown, source));
  return {
    answer: 'inventory',
    inventory: completed(written.data, file),
    source: positioned(source, grown.positions),
  };
}

function faulty(faults: readonly Fault[], state?: string): InventoryFaults {
  return { answer: 'faults', faults, state };
}

/** Of a file that has faults, perhaps here: then undefined. */
function stateIn({ tree, syntax }: GrownTree, source: SourceText): string | undefined {
  // Where the parser guesses it may have lost the key: a line that can mean nothing else is believed then.
  const [line, another] = [
    ...source.text.matchAll(/^[ \t]+state:[ \t]+(?<path>[^\s#"'{[&*!|>][^\n#]*?)[ \t]*(?:#.*)?\r?$/gm),
  ];
  const written = syntax.length > 0 && another === undefined ? line?.groups?.['path'] : undefined;
  const read = stateFolder.safeParse(at(tree, ['server', 'state']) ?? written);
  return read.success ? resolve(dirname(source.file), read.data) : undefined;
}

/**
 * Where the file is no YAML the parser guesses on, and what it makes of the rest is not to be judged. So besides the syntax
 * only what stands above the first such place counts, and not in the line just above (YAML may have drawn it into the
 * guess); and of that only what nothing further down could make good.
 */
function believable(grown: GrownTree, findings: readonly Finding[], source: SourceText): readonly Finding[] {
  if (grown.syntax.length === 0) return findings;
  const doubtful = Math.min(...grown.syntax.map(({ range }) => source.lineOf(range.start))) - 1;
  const sound = findings.filter(
    ({ range, dependsOn }) => dependsOn === 'itself' && source.lineOf(range.start) < doubtful,
  );
  return [...sound, ...grown.syntax];
}

function positioned(source: SourceText, positions: PositionTable): InventorySource {
  return {
    file: source.file,
    text: source.text,
    faultAt: (path, complaint, part = 'value') => source.fault({ range: positions.find(path, part), ...complaint }),
  };
}

/** From the file's words to ours: paths absolute, snake_case to camelCase. */
function completed({ server, dhcp, tftp, nbd, http, images, boards }: InventoryAsWritten, file: string): Inventory {
  const folder = dirname(file);
  const path = (written: string | undefined) => (written === undefined ? undefined : resolve(folder, written));
  return {
    server: {
      interfaces: server.interface,
      address: server.address,
      state: resolve(folder, server.state),
      allow: server.allow,
      onFull: server.on_full,
      stateLimitBytes: server.state_limit,
      handoverLimitMs: server.handover_limit,
      watch: server.watch,
    },
    dhcp: { enabled: dhcp.enabled, port: dhcp.port, replyPort: dhcp.reply_port, answer: dhcp.answer },
    tftp: {
      enabled: tftp.enabled,
      port: tftp.port,
      blockSizeMax: tftp.block_size_max,
      windowSizeMax: tftp.window_size_max,
      singlePort: tftp.single_port,
    },
    nbd: {
      ...nbd,
      socket: path(nbd.socket),
      tls: {
        mode: nbd.tls.mode,
        certificate: path(nbd.tls.certificate),
        key: path(nbd.tls.key),
        clientCa: path(nbd.tls.client_ca),
        psk: path(nbd.tls.psk),
      },
    },
    http,
    images: mapEntries(
      images,
      (name, image): ImageEntry => ({
        name,
        file: resolve(folder, image.file),
        bootPartition: image.boot_partition,
        rootPartition: image.root_partition,
      }),
    ),
    boards: mapEntries(
      boards,
      (name, { size, ...board }): BoardEntry => ({
        ...{ name, ...board, mac: board.mac, allow: board.allow, sizeBytes: size },
        tls: board.tls ?? nbd.tls.mode,
      }),
    ),
  };
}

function mapEntries<From, To>(
  map: ReadonlyMap<string, From>,
  make: (name: string, value: From) => To,
): Map<string, To> {
  return new Map([...map].map(([name, value]) => [name, make(name, value)]));
}

/** Also for the reader, which sees it before it has a text. */
export function tooLarge(file: string): Fault {
  return {
    file,
    at: undefined,
    problem: `this is larger than ${INVENTORY_BYTES_MAX / 1024} KiB, which is room for a thousand boards`,
    remedy: 'is it an inventory? Then remove what no board needs',
  };
}

function emptyFile(source: SourceText): Fault {
  return source.fault({
    range: { start: 0, end: 0 },
    problem: 'there is nothing in this inventory',
    remedy: 'begin with a copy of config.example.yaml',
  });
}
