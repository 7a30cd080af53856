import { bytesText } from '../../base/amounts.js';
import type { BootRecord, BootStep } from './boot-record.js';
import type { BoardLife } from './journal.js';

/** What the running server knows, as the page, the API and `brambleboot boards` show it. Strings in it may hold what a peer said. */
export interface ServerStatus {
  readonly version: string;
  readonly startedAt: Date;
  readonly listeners: readonly ListenerStatus[];
  readonly boards: readonly BoardStatus[];
  readonly unknownBoards: readonly UnknownBoard[];
  /** Those that boards' own disks lie over. */
  readonly images: readonly ImageCondition[];
  /** Under images and state; without those that do not answer. */
  readonly filesystems: readonly FilesystemStatus[];
  readonly inventory: InventoryStatus;
  readonly handover: HandoverStatus;
}

/** Whether boards that are attached keep their disks over a restart of the server. */
export interface HandoverStatus {
  /** Half a sentence: what is missing for it; undefined: nothing. */
  readonly lacks: string | undefined;
  readonly remedy: string | undefined;
  /** Boards that are attached, and whose disks a restart would end. */
  readonly atRisk: readonly string[];
}

/** How what is served stands to the file. */
export interface InventoryStatus {
  readonly file: string;
  /** When what is in it was taken over last; undefined: since the start never, and the server runs on its copy of the last sound one. */
  readonly loadedAt: Date | undefined;
  /** Why it was not when it was read last; undefined: it was. */
  readonly faults: InventoryFaultsStatus | undefined;
  /** What the last reload that changed something changed. */
  readonly changed: { readonly at: Date; readonly what: readonly string[] } | undefined;
  /** What has to wait, until a board lets go of its disk. */
  readonly waiting: readonly WaitingChange[];
  /** Keys whose value counts from the next start on. */
  readonly needsRestart: readonly string[];
}

export interface InventoryFaultsStatus {
  readonly since: Date;
  readonly count: number;
  /** As `check` lists them: several lines each. */
  readonly text: string;
}

export interface WaitingChange {
  readonly board: string;
  /** `removed`, `added`, or the keys. */
  readonly what: string;
  /** Half a sentence: `it is connected from 192.168.1.21`. */
  readonly because: string;
}

/** What came of reading the inventory again. */
export type ReloadVerdict =
  | {
      readonly answer: 'reloaded';
      readonly file: string;
      /** `board node2: added`; empty: there was nothing to change. */
      readonly changed: readonly string[];
      readonly waiting: readonly WaitingChange[];
      readonly needsRestart: readonly string[];
      /** A sentence, where it was perhaps not the file that somebody has edited. */
      readonly doubt: string | undefined;
    }
  /** Nothing was changed. */
  | ({ readonly answer: 'faults'; readonly file: string } & Omit<InventoryFaultsStatus, 'since'>)
  | { readonly answer: 'refused'; readonly because: string };

export interface FilesystemStatus {
  readonly mountPoint: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
  /** Little is left: worth a warning. */
  readonly low: boolean;
  /** `image noble`, `state`. */
  readonly holds: readonly string[];
  /** Of them, those whose file was deleted, moved or replaced while it is served. */
  readonly missing: readonly string[];
}

/** An image that boards' own disks lie over. */
export interface ImageCondition {
  readonly name: string;
  readonly file: string;
  /** All of it is being read; undefined if it is not. */
  readonly reading: ImageReading | undefined;
  /** What somebody has to see to, as a sentence; undefined where all is well. */
  readonly trouble: string | undefined;
}

export interface ImageReading {
  /** It was touched, and its boards wait for the outcome; else it is read for the first time, and nobody waits. */
  readonly isCompared: boolean;
  readonly doneBytes: number;
  readonly ofBytes: number;
}

export interface ListenerStatus {
  /** `dhcp eth0`, `tftp 192.168.1.10:69`, … */
  readonly name: string;
  /** Why it is not there (yet); undefined once it is bound. */
  readonly missing: string | undefined;
}

export interface BoardFacts {
  readonly name: string;
  readonly serial: string;
  readonly mac: string | undefined;
  readonly image: string;
  readonly disk: string;
  readonly sizeBytes: number;
  /** What is the board's own of its disk; undefined: all of it, as the disk is the image itself. */
  readonly own: OwnDiskFacts | undefined;
  readonly state: BoardState;
  /** Address that uses the disk now. */
  readonly attachedFrom: string | undefined;
  /** The filesystem under its disk is full, and writes wait for space; undefined if none does. */
  readonly waitingForSpace: SpaceWaitStatus | undefined;
  /** A flush of its disk failed, and every one since; undefined as long as all is well. */
  readonly diskFailure: DiskFailure | undefined;
}

export interface OwnDiskFacts {
  /** What it takes in the state folder, with its snapshots; undefined where that could not be measured. */
  readonly bytes: number | undefined;
  /** How many there are; undefined where it can't be opened. */
  readonly snapshots: number | undefined;
  /** Why nobody can have it, a sentence; undefined if somebody can. */
  readonly unusable: string | undefined;
}

export interface BoardStatus extends BoardFacts {
  /** The newest that came to something; undefined if it was never seen. */
  readonly lastBoot: BootRecord | undefined;
}

/** One board with all that is remembered of it. */
export interface BoardHistory extends BoardFacts {
  /** Newest first. */
  readonly boots: readonly BootRecord[];
}

export type BoardVerdict =
  | { readonly answer: 'board'; readonly board: BoardHistory }
  /** A sentence. */
  | { readonly answer: 'unknown'; readonly because: string };

export interface SpaceWaitStatus {
  readonly since: Date;
  readonly requests: number;
  readonly bytes: number;
}

export interface DiskFailure {
  readonly since: Date;
  readonly because: string;
}

/** What came of taking a disk that had failed up again. */
export type ReopenVerdict =
  /** It is flushed again; what failed until now. */
  | { readonly answer: 'reopened'; readonly failure: DiskFailure }
  /** It has not failed, and nothing was done. */
  | { readonly answer: 'sound' }
  /** It is as it was. */
  | { readonly answer: 'failed'; readonly because: string }
  /** There is no such board: a sentence. */
  | { readonly answer: 'unknown'; readonly because: string };

/** `away`: never seen, or its disk was let go of. */
export type BoardState = 'away' | 'booting' | 'running' | 'failed';

/** A Pi that asks for a boot server and is not in the inventory. */
export interface UnknownBoard {
  readonly serial: string | undefined;
  /** Undefined where only its requests for files were seen. */
  readonly mac: string | undefined;
  readonly model: string | undefined;
  readonly seenAt: Date;
  /** The YAML lines that would add it. */
  readonly suggestion: string;
}

/** "3 GB of 100 GB free (3 %)". */
export function spaceText({ sizeBytes, freeBytes }: Pick<FilesystemStatus, 'sizeBytes' | 'freeBytes'>): string {
  const share = sizeBytes === 0 ? '' : ` (${Math.floor((100 * freeBytes) / sizeBytes)} %)`;
  return `${bytesText(freeBytes)} of ${bytesText(sizeBytes)} free${share}`;
}

/** "direct, 16 GB"; "overlay, 32 GB, 1.2 GB of its own, 3 snapshots". */
export function diskText({ disk, sizeBytes, own }: Pick<BoardFacts, 'disk' | 'sizeBytes' | 'own'>): string {
  const bytes = own?.bytes === undefined ? [] : [`${bytesText(own.bytes)} of its own`];
  const count = own?.snapshots ?? 0;
  const snapshots = count === 0 ? [] : [`${count} ${count === 1 ? 'snapshot' : 'snapshots'}`];
  return [disk, bytesText(sizeBytes), ...bytes, ...snapshots].join(', ');
}

/** What is to be said of an image, as far as anybody waits for it or should do something: "all of it is compared …, 42 % of 16 GB". */
export function imageText({ reading, trouble }: Pick<ImageCondition, 'reading' | 'trouble'>): string | undefined {
  if (trouble !== undefined || reading === undefined || !reading.isCompared) return trouble;
  const { doneBytes, ofBytes } = reading;
  const percent = ofBytes === 0 ? 100 : Math.floor((100 * doneBytes) / ofBytes);
  return `it was touched: all of it is compared with what it was, ${percent} % of ${bytesText(ofBytes)}, and its boards wait for that`;
}

/** "12 files, 31 MB, 19 probes"; what there was none of is not said. */
export function filesText({
  filesRead,
  bytesRead,
  probes,
}: Pick<BootRecord, 'filesRead' | 'bytesRead' | 'probes'>): string {
  const files =
    filesRead === 0 ? 'no files' : `${filesRead} ${filesRead === 1 ? 'file' : 'files'}, ${bytesText(bytesRead)}`;
  return probes === 0 ? files : `${files}, ${probes} ${probes === 1 ? 'probe' : 'probes'}`;
}

/** Whether the server was restarted while the board booted: what it took then is not the board's alone. */
export function bootedOverRestart({ steps }: { readonly steps: readonly Pick<BootStep, 'kind'>[] }): boolean {
  return steps.slice(0, steps.findIndex(({ kind }) => kind === 'attached') + 1).some(({ kind }) => kind === 'restart');
}

/** Its disk in use is what makes a board run, whoever asks for its files meanwhile; else the newest boot tells. */
export function boardState({ attachedFrom, boots: [newest] }: BoardLife): BoardState {
  if (attachedFrom !== undefined) return 'running';
  if (newest?.state.at === 'underWay') return 'booting';
  return newest?.state.at === 'failed' ? 'failed' : 'away';
}

/** What to show of a board's boots: not that somebody asked for files of a board that ran on. */
export function lastBoot({ attachedFrom, boots }: BoardLife): BootRecord | undefined {
  const isNothing = ({ state }: BootRecord) =>
    state.at === 'dismissed' || (state.at === 'underWay' && attachedFrom !== undefined);
  return boots.find((boot) => !isNothing(boot)) ?? boots[0];
}
