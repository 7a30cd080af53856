/**
 * A board's boots as they lie in `state/boots/NAME.jsonl`: one JSON object a line, so that a damaged line costs one boot.
 *
 *     {"format":"brambleboot boots","version":1,"board":"node1","writtenAt":"2026-11-20T21:14:40.000Z","uptimeMs":8123456,…}
 *     {"startedAt":"2026-11-20T21:14:03.000Z","state":{"at":"underWay","stage":"kernel"},"steps":[…],…}     the newest boot
 *     {…}                                                                                                    the one before
 */
import { z } from 'zod';
import {
  BOOT_HISTORY_BYTES_MAX,
  BOOT_STEPS_MAX,
  BOOT_TEXT_CHARACTERS_MAX,
  BOOTS_REMEMBERED_MAX,
} from '../../base/limits.js';
import type { HostTime } from '../../os/host-time.js';
import { BOOT_STAGES, BOOT_STEP_KINDS, type BoardPast, type BootMemory, FIRST_SIGNS } from './boot-record.js';

/** A moment by both clocks: that of people, and the kernel's own. */
export interface Moment extends HostTime {
  readonly at: Date;
}

/** What a file of a board's boots says. */
export interface WrittenPast extends BoardPast {
  readonly written: Moment;
}

export type PastVerdict =
  /** `lost` lines of it could not be read; `why` of the first. */
  | { readonly answer: 'past'; readonly past: WrittenPast; readonly lost: number; readonly why: string | undefined }
  | { readonly answer: 'foreign'; readonly because: string };

const FORMAT = 'brambleboot boots';
/** Raised when a reader of the old one would misunderstand what is new. */
const VERSION = 1;

const text = z.string().max(BOOT_TEXT_CHARACTERS_MAX);
const instant = z
  .string()
  .max(40)
  .refine((written) => !Number.isNaN(Date.parse(written)))
  .transform((written) => new Date(written));
const amount = z.number().min(0).max(Number.MAX_SAFE_INTEGER);
const stage = z.enum(BOOT_STAGES);

const BOOT = z.object({
  by: z.enum(FIRST_SIGNS),
  startedAt: instant,
  state: z.discriminatedUnion('at', [
    z.object({ at: z.literal('underWay'), stage }),
    z.object({ at: z.literal('booted'), durationMs: amount }),
    z.object({ at: z.literal('failed'), stage, because: text }),
    z.object({ at: z.literal('dismissed') }),
  ]),
  steps: z.array(z.object({ afterMs: amount, kind: z.enum(BOOT_STEP_KINDS), text })).max(BOOT_STEPS_MAX),
  filesRead: amount,
  bytesRead: amount,
  probes: amount,
  ageMs: amount,
  kernelReadAfterMs: amount.nullable(),
  kernelCanBeTold: z.boolean(),
  loaderWasLast: z.boolean(),
  attachedBefore: z.boolean(),
});

const HEAD = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  board: z.string(),
  writtenAt: instant,
  hostBoot: z.string().max(64).nullable(),
  uptimeMs: amount,
  isLast: z.boolean(),
  attachedFrom: z.string().max(64).nullable(),
});

/** At most BOOT_HISTORY_BYTES_MAX: boots that would be too many are left out, the oldest first. */
export function encodePast(board: string, past: BoardPast, now: Moment): string {
  const head: z.input<typeof HEAD> = {
    format: FORMAT,
    version: VERSION,
    board,
    writtenAt: now.at.toISOString(),
    hostBoot: now.hostBoot ?? null,
    uptimeMs: now.uptimeMs,
    isLast: past.isLast,
    attachedFrom: past.attachedFrom ?? null,
  };
  const lines = [`${JSON.stringify(head)}\n`];
  let leftBytes = BOOT_HISTORY_BYTES_MAX - Buffer.byteLength(lines[0] ?? '');
  for (const boot of past.boots.slice(0, BOOTS_REMEMBERED_MAX)) {
    const line = `${JSON.stringify(written(boot))}\n`;
    leftBytes -= Buffer.byteLength(line);
    if (leftBytes < 0) break;
    lines.push(line);
  }
  return lines.join('');
}

/** Takes any text. */
export function decodePast(board: string, content: string): PastVerdict {
  const [first = '', ...rest] = content.split('\n');
  const head = HEAD.safeParse(json(first));
  if (!head.success) return { answer: 'foreign', because: whyForeign(json(first)) };
  if (head.data.board !== board) return { answer: 'foreign', because: 'it is of a board of another name' };
  const lines = rest.filter((line) => line !== '').slice(0, BOOTS_REMEMBERED_MAX);
  const boots: BootMemory[] = [];
  let why: string | undefined;
  for (const [index, line] of lines.entries()) {
    const boot = BOOT.safeParse(json(line));
    if (boot.success) {
      const { kernelReadAfterMs, ...facts } = boot.data;
      boots.push({ board, ...facts, kernelReadAfterMs: kernelReadAfterMs ?? undefined });
    } else {
      why ??= `line ${index + 2}: ${complaint(boot.error)}`;
    }
  }
  const { writtenAt, hostBoot, uptimeMs, isLast, attachedFrom } = head.data;
  const moment = { at: writtenAt, hostBoot: hostBoot ?? undefined, uptimeMs };
  const past = { boots, isLast, attachedFrom: attachedFrom ?? undefined, written: moment };
  return { answer: 'past', past, lost: lines.length - boots.length, why };
}

/**
 * How long ago that was; undefined where nobody can say. Within one boot of the host its own count of time tells; across one, the
 * wall clock does if it gives something sensible: a host without a battery for it starts in some year gone by.
 */
export function sinceMs(then: Moment, now: Moment, sensibleMs: number): number | undefined {
  const sameBoot = then.hostBoot !== undefined && then.hostBoot === now.hostBoot;
  const passedMs = sameBoot ? now.uptimeMs - then.uptimeMs : now.at.getTime() - then.at.getTime();
  return passedMs >= 0 && (sameBoot || passedMs <= sensibleMs) ? passedMs : undefined;
}

function written({ board: _, startedAt, kernelReadAfterMs, ...boot }: BootMemory): z.input<typeof BOOT> {
  const { steps, state, ...facts } = boot;
  return {
    ...facts,
    startedAt: startedAt.toISOString(),
    state: { ...state },
    steps: [...steps],
    kernelReadAfterMs: kernelReadAfterMs ?? null,
  };
}

/** Undefined for what is no JSON, which then has not the right shape either. */
function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function whyForeign(head: unknown): string {
  const version = z.object({ format: z.literal(FORMAT), version: z.number() }).safeParse(head);
  if (!version.success) return 'its first line is not that of a list of boots';
  if (version.data.version > VERSION) return 'a newer version of Brambleboot has written it';
  return 'its first line is damaged';
}

function complaint({ issues: [issue] }: z.ZodError): string {
  if (issue === undefined) return 'damaged';
  const where = issue.path.join('.');
  return where === '' ? 'no boot, or one that was cut short' : `${where}: ${issue.message}`;
}
