import type { BootRecord } from './boot-record.js';

/** What the running server knows, as the page, the API and `brambleboot boards` show it. Strings in it may hold what a peer said. */
export interface ServerStatus {
  readonly version: string;
  readonly startedAt: Date;
  readonly listeners: readonly ListenerStatus[];
  readonly boards: readonly BoardStatus[];
  readonly unknownBoards: readonly UnknownBoard[];
}

export interface ListenerStatus {
  /** `dhcp eth0`, `tftp 192.168.1.10:69`, … */
  readonly name: string;
  /** Why it is not there (yet); undefined once it is bound. */
  readonly missing: string | undefined;
}

export interface BoardStatus {
  readonly name: string;
  readonly serial: string;
  readonly mac: string | undefined;
  readonly image: string;
  readonly disk: string;
  readonly sizeBytes: number;
  readonly state: BoardState;
  /** Address that uses the disk now. */
  readonly attachedFrom: string | undefined;
  /** Newest first. */
  readonly boots: readonly BootRecord[];
}

/** `away`: never seen, or its disk was let go of. */
export type BoardState = 'away' | 'booting' | 'running' | 'failed';

/** A Pi that asks for a boot server and is not in the inventory. */
export interface UnknownBoard {
  readonly serial: string | undefined;
  readonly mac: string;
  readonly model: string | undefined;
  readonly seenAt: Date;
  /** The YAML lines that would add it. */
  readonly suggestion: string;
}

/** Its disk in use is what makes a board run; else the newest boot tells. */
export function boardState(attachedFrom: string | undefined, newest: BootRecord | undefined): BoardState {
  if (newest?.state.at === 'underWay') return 'booting';
  if (attachedFrom !== undefined) return 'running';
  return newest?.state.at === 'failed' ? 'failed' : 'away';
}
