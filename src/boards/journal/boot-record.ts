/** How far a board has come; a boot fails at the stage it never left. */
export type BootStage = (typeof BOOT_STAGES)[number];
export const BOOT_STAGES = ['dhcp', 'tftp', 'kernel', 'nbd'] as const;

/** What a boot was first seen by. `address`: Linux's own DHCP, where loader and kernel were served before we started. */
export type FirstSign = (typeof FIRST_SIGNS)[number];
export const FIRST_SIGNS = ['discover', 'file', 'address'] as const;

/** `restart`: the server was restarted while the boot was under way, or while the board had its disk. */
export const BOOT_STEP_KINDS = [
  'discover',
  'address',
  'file',
  'attached',
  'detached',
  'refused',
  'space',
  'disk',
  'failed',
  'restart',
] as const;

/** One line of a boot's timeline. */
export interface BootStep {
  /** Since the boot's first sign. */
  readonly afterMs: number;
  readonly kind: (typeof BOOT_STEP_KINDS)[number];
  /** For people; printable, at most BOOT_TEXT_CHARACTERS_MAX. It may hold what a peer said, so whoever shows it escapes it. */
  readonly text: string;
}

export type BootState =
  | { readonly at: 'underWay'; readonly stage: BootStage }
  | { readonly at: 'booted'; readonly durationMs: number }
  | { readonly at: 'failed'; readonly stage: BootStage; readonly because: string }
  /** Files were asked for while the board ran on, and nothing came of it. */
  | { readonly at: 'dismissed' };

/** One boot of one board, from its first sign to its disk. Of a boot that goes on, its steps may grow under who reads them. */
export interface BootRecord {
  readonly board: string;
  readonly startedAt: Date;
  readonly state: BootState;
  readonly steps: readonly BootStep[];
  readonly filesRead: number;
  readonly bytesRead: number;
  /** Probes and files that are not there: normal, and many. */
  readonly probes: number;
}

/** A boot with what the next process needs to go on with it. What time it was is said by its age: the host's clock may be set at any moment. */
export interface BootMemory extends BootRecord {
  readonly by: FirstSign;
  /** From its first sign to now. */
  readonly ageMs: number;
  /** Since its first sign; undefined if the kernel was not read whole yet. */
  readonly kernelReadAfterMs: number | undefined;
  /** False where an attach has to do as the end of the boot, since nobody can say whether the kernel was read. */
  readonly kernelCanBeTold: boolean;
  /** The last file read whole was the loader of a Pi 3, which sends a DISCOVER of its own. */
  readonly loaderWasLast: boolean;
  /** The disk was in use when the boot began. */
  readonly attachedBefore: boolean;
}

/** What is known of one board when a process ends, as the next one needs it. */
export interface BoardPast {
  /** Newest first. */
  readonly boots: readonly BootMemory[];
  /** Address that used the disk, or did before the last restart and was not heard of since. */
  readonly attachedFrom: string | undefined;
  /** The server stopped in order: nothing happened after this. */
  readonly isLast: boolean;
}

/** What the journal makes of events: what is worth a log line and a count. */
export type BootNews =
  | { readonly kind: 'started'; readonly board: string; readonly by: FirstSign }
  /** Begun under the server before us, and goes on. */
  | { readonly kind: 'resumed'; readonly board: string; readonly stage: BootStage }
  | { readonly kind: 'stage'; readonly board: string; readonly stage: BootStage; readonly text: string }
  | {
      readonly kind: 'booted';
      readonly board: string;
      readonly durationMs: number;
      readonly filesRead: number;
      readonly bytesRead: number;
    }
  | { readonly kind: 'failed'; readonly board: string; readonly stage: BootStage; readonly because: string };
