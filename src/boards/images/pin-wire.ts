/**
 * A pin as it lies in `state/images/ID.json`, one line of JSON (broken here):
 *
 *     {"format":"brambleboot image version","version":1,
 *      "pin":{"id":"0f3c…","file":"/srv/images/noble.img","sizeBytes":16000000000,
 *             "seen":{"kind":"file","mtimeNs":"17…","ctimeNs":"17…","inode":"131","device":"65024"},
 *             "digest":"3fa4…","pinnedAt":"2026-11-20T21:14:40.000Z"},
 *      "checksum":"9f86d081"}                                          CRC-32 of what `pin` is as JSON without blanks
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { PIN_BYTES_MAX } from '../../base/limits.js';
import type { Pin } from './pin.js';

export type PinVerdict =
  | { readonly answer: 'pin'; readonly pin: Pin }
  | { readonly answer: 'faulty'; readonly because: string };

const FORMAT = 'brambleboot image version';
/** Raised when a reader of the old one would misunderstand what is new. */
const VERSION = 1;

const whole = z
  .string()
  .regex(/^-?\d{1,20}$/)
  .transform((digits) => BigInt(digits));

const PIN = z.object({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  file: z.string().max(PIN_BYTES_MAX),
  sizeBytes: z.int().min(0),
  seen: z
    .object({
      kind: z.enum(['file', 'blockDevice']),
      mtimeNs: whole,
      ctimeNs: whole,
      inode: whole,
      device: whole,
    })
    .nullable(),
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  pinnedAt: z.iso.datetime().transform((written) => new Date(written)),
});

const ENVELOPE = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  pin: z.unknown(),
  checksum: z.string(),
});

export function encodePin({ id, file, sizeBytes, seen, digest, pinnedAt }: Pin): string {
  const pin: z.input<typeof PIN> = {
    id,
    file,
    sizeBytes,
    seen: seen === undefined ? null : { kind: seen.kind, ...inDigits(seen) },
    digest: digest ?? null,
    pinnedAt: pinnedAt.toISOString(),
  };
  const envelope = { format: FORMAT, version: VERSION, pin, checksum: checksumOf(pin) };
  return `${JSON.stringify(envelope)}\n`;
}

/** Takes any text. A pin under another's name is none: overlays go by the name. */
export function decodePin(id: string, content: string): PinVerdict {
  const found = json(content);
  const envelope = ENVELOPE.safeParse(found);
  if (!envelope.success) return { answer: 'faulty', because: whyForeign(found) };
  if (envelope.data.checksum !== checksumOf(envelope.data.pin)) {
    return { answer: 'faulty', because: 'it is damaged: its checksum does not fit' };
  }
  const pin = PIN.safeParse(envelope.data.pin);
  if (!pin.success) return { answer: 'faulty', because: 'it is damaged' };
  if (pin.data.id !== id) return { answer: 'faulty', because: 'it is that of another version, under a wrong name' };
  const { seen, digest, ...facts } = pin.data;
  return { answer: 'pin', pin: { ...facts, seen: seen ?? undefined, digest: digest ?? undefined } };
}

/** BigInt is nothing that JSON has, and a number of 64 bits nothing that it has exactly. */
function inDigits({ mtimeNs, ctimeNs, inode, device }: Omit<NonNullable<Pin['seen']>, 'kind'>) {
  return { mtimeNs: `${mtimeNs}`, ctimeNs: `${ctimeNs}`, inode: `${inode}`, device: `${device}` };
}

/** JSON.parse keeps the order of keys, so what was written comes out again as it was. */
function checksumOf(pin: unknown): string {
  return crc32(JSON.stringify(pin) ?? '')
    .toString(16)
    .padStart(8, '0');
}

/** Undefined for what is no JSON, which then has not the right shape either. */
function json(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}

function whyForeign(found: unknown): string {
  const known = z.object({ format: z.literal(FORMAT), version: z.number() }).safeParse(found);
  if (!known.success) return 'it is damaged, or nothing that Brambleboot has written';
  return known.data.version > VERSION ? 'a newer version of Brambleboot has written it' : 'it is damaged';
}
