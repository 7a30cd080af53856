import { z } from 'zod';
import {
  BOARD_DISK_BYTES_MAX,
  HANDOVER_LIMIT_MS,
  HANDOVER_LIMIT_MS_MAX,
  HANDOVER_LIMIT_MS_MIN,
  STATE_LIMIT_BYTES_MAX,
  STATE_LIMIT_BYTES_MIN,
} from '../base/limits.js';
import { durationWithin } from './duration-scalar.js';
import type { CmdlineChanges, ServerAddress } from './inventory.js';
import {
  oneOf,
  type Reader,
  readArgument,
  readArguments,
  readCmdlineWord,
  readInterface,
  readListenAddress,
  readMac,
  readName,
  readPath,
  readSerial,
  readServerAddress,
  readSwitch,
  wholeNumber,
} from './scalars.js';
import type { Shape } from './schema-reference.js';
import { sizeWithin } from './size-scalar.js';
import type { Part } from './source.js';
import { readSubnet } from './subnet-scalar.js';

/**
 * The shape of an inventory. What comes in is a `Tree`; what comes out still has its paths as they are written. Its faults
 * are zod issues, whose words `shapeFindings` finds. That it has exactly the documented keys is checked by the compiler.
 */

/** What a refused scalar leaves in its zod issue. Where problem or remedy is undefined the table of keys has the words. */
export interface Refusal {
  readonly text: string;
  readonly part: Part;
  readonly problem: string | undefined;
  readonly remedy: string | undefined;
}

type Fields<Prefix extends string> = Shape<Prefix, z.ZodType>;

const port = scalar(wholeNumber(1, 65535));
const partition = scalar((text, refuse) => (text === 'auto' ? 'auto' : wholeNumber(1, 128)(text, refuse)));

const addressByInterface = z
  .map(scalar(readInterface, 'key'), scalar(readServerAddress))
  .transform((addresses): ServerAddress => ({ kind: 'byInterface', addresses }));

/** By itself too: it is asked for where the rest has faults. */
export const stateFolder = scalar(readPath).default('./state');

const server = section({
  interface: oneOrMore(readInterface).optional(),
  address: z
    .union([
      scalar(readServerAddress).transform((address): ServerAddress => ({ kind: 'one', address })),
      addressByInterface,
    ])
    .default({ kind: 'primary' }),
  state: stateFolder,
  allow: oneOrMore(readSubnet).default([]),
  on_full: scalar(oneOf('wait', 'error')).default('wait'),
  state_limit: scalar(sizeWithin({ least: STATE_LIMIT_BYTES_MIN, most: STATE_LIMIT_BYTES_MAX })).optional(),
  watch: scalar(readSwitch).default(false),
  handover_limit: scalar(durationWithin({ leastMs: HANDOVER_LIMIT_MS_MIN, mostMs: HANDOVER_LIMIT_MS_MAX })).default(
    HANDOVER_LIMIT_MS,
  ),
} satisfies Fields<'server'>);

const dhcp = section({
  enabled: scalar(readSwitch).default(true),
  port: port.default(67),
  reply_port: port.default(68),
  answer: scalar(oneOf('known', 'any')).default('known'),
} satisfies Fields<'dhcp'>);

const tftp = section({
  enabled: scalar(readSwitch).default(true),
  port: port.default(69),
  block_size_max: scalar(wholeNumber(8, 65464)).default(1468),
  window_size_max: scalar(wholeNumber(1, 64)).default(64),
  single_port: scalar(readSwitch).default(false),
} satisfies Fields<'tftp'>);

const tlsMode = scalar(oneOf('off', 'allowed', 'required'));

const tls = section({
  mode: tlsMode.default('off'),
  certificate: scalar(readPath).optional(),
  key: scalar(readPath).optional(),
  client_ca: scalar(readPath).optional(),
  psk: scalar(readPath).optional(),
} satisfies Fields<'nbd.tls'>);

const nbd = section({
  enabled: scalar(readSwitch).default(true),
  port: port.default(10809),
  socket: scalar(readPath).optional(),
  tls,
} satisfies Fields<'nbd'> & { readonly tls: z.ZodType });

const http = section({
  enabled: scalar(readSwitch).default(true),
  address: scalar(readListenAddress).default('0.0.0.0'),
  port: port.default(9069),
} satisfies Fields<'http'>);

const image = section({
  file: scalar(readPath),
  boot_partition: partition.default('auto'),
  root_partition: partition.default('auto'),
} satisfies Fields<'images.*'>);

const cmdlineChanges = mapping({
  append: scalar(readArguments).default(''),
  remove: z.array(scalar(readArgument)).default([]),
} satisfies Fields<'boards.*.cmdline'>).transform((changes): CmdlineChanges => changes);

const board = section({
  serial: scalar(readSerial),
  mac: scalar(readMac).optional(),
  image: scalar((text) => text),
  disk: scalar(oneOf('direct', 'overlay', 'volatile')).default('direct'),
  size: scalar(sizeWithin({ least: 512, most: BOARD_DISK_BYTES_MAX, sectorBytes: 512 })).optional(),
  allow: oneOrMore(readSubnet).optional(),
  tls: tlsMode.optional(),
  cmdline: z.union([scalar(readCmdlineWord), cmdlineChanges]).default('auto'),
} satisfies Fields<'boards.*'>);

export const inventorySchema = section({
  server,
  dhcp,
  tftp,
  nbd,
  http,
  images: named(image),
  boards: named(board),
});

export type InventoryAsWritten = z.infer<typeof inventorySchema>;

function scalar<Value>(read: Reader<Value>, part: Part = 'value') {
  return z.string().transform(
    (text, context): Value =>
      read(text, (problem, remedy) => {
        const refusal: Refusal = { text, part, problem, remedy };
        context.addIssue({ code: 'custom', params: { ...refusal } });
        return z.NEVER;
      }),
  );
}

/** One needs no brackets. */
function oneOrMore<Value>(read: Reader<Value>) {
  return z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(scalar(read)));
}

/** Keys with values, and none besides. */
function mapping<Keys extends z.ZodRawShape>(keys: Keys) {
  return z.preprocess((value) => (value instanceof Map ? Object.fromEntries(value) : value), z.strictObject(keys));
}

/** The same, but with nothing in it (all commented out, or not there) it has every default. */
function section<Keys extends z.ZodRawShape>(keys: Keys) {
  return z.preprocess((value) => value ?? new Map(), mapping(keys));
}

/** Entries under names of the user's own. */
function named<Entry extends z.ZodType>(entry: Entry) {
  return z.preprocess((value) => value ?? new Map(), z.map(scalar(readName, 'key'), entry));
}
