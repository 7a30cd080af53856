/** One connection that uses a board's disk, as the lock sees it. */
export interface DiskUser {
  readonly peerAddress: string;
  /** Of the server itself, which changes the disk by an operator's word: what is done with it, as "it is being reset". */
  readonly doing?: string;
  /** Asks the peer's TCP whether it is still there, without a byte of the stream. */
  probe(): Promise<'alive' | 'gone'>;
  /** Ends it: unread bytes dropped, requests under way finished. Resolves when the disk is no longer touched by it. */
  close(because: string): Promise<void>;
}

export type LockVerdict =
  | { readonly answer: 'granted' }
  | { readonly answer: 'held'; readonly by: string }
  /** Nobody has it, and nobody can: a sentence. */
  | { readonly answer: 'unusable'; readonly because: string };

/** Who may write a board's disk: one address at a time, any number of connections from it. */
export interface WriterLock {
  /** Waits for at most WRITER_LOCK_PATIENCE_MS if another address holds it and has to be probed. */
  acquire(user: DiskUser): Promise<LockVerdict>;
  /** Takes it from whoever has it: nobody else gets it from now on. Resolves when the disk is no longer touched by those who had it. */
  seize(user: DiskUser, because: string): Promise<void>;
  /** `lost`: it did not take leave, its connection is just gone. */
  release(user: DiskUser, how?: 'left' | 'lost'): void;
  /** A sign of reboot was seen (a DISCOVER, a boot-file request): probes the users; closes only those that are gone. */
  suspect(): void;
  /** Whether nobody holds it, or who does turns out to be gone: it is probed. Not where it takes leave meanwhile: then it was there. */
  isAbandoned(): Promise<boolean>;
  /** The address that holds it. */
  holder(): string | undefined;
}
