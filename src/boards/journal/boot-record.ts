/** How far a board has come; a boot fails at the stage it never left. */
export type BootStage = 'dhcp' | 'tftp' | 'kernel' | 'nbd';

/** One line of a boot's timeline. */
export interface BootStep {
  /** Since the boot's first sign. */
  readonly afterMs: number;
  readonly kind: 'discover' | 'address' | 'file' | 'attached' | 'detached' | 'refused' | 'failed';
  /** For people; it may hold what a peer said, so whoever shows it escapes it. */
  readonly text: string;
}

export type BootState =
  | { readonly at: 'underWay'; readonly stage: BootStage }
  | { readonly at: 'booted'; readonly durationMs: number }
  | { readonly at: 'failed'; readonly stage: BootStage; readonly because: string }
  /** Files were asked for while the board ran on, and nothing came of it. */
  | { readonly at: 'dismissed' };

/** One boot of one board, from its first sign to its disk. */
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

/** What the journal makes of events: what is worth a log line and a count. */
export type BootNews =
  | { readonly kind: 'started'; readonly board: string; readonly by: 'discover' | 'file' | 'address' }
  | { readonly kind: 'stage'; readonly board: string; readonly stage: BootStage; readonly text: string }
  | {
      readonly kind: 'booted';
      readonly board: string;
      readonly durationMs: number;
      readonly filesRead: number;
      readonly bytesRead: number;
    }
  | { readonly kind: 'failed'; readonly board: string; readonly stage: BootStage; readonly because: string };
