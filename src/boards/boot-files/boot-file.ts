import type { Ipv4Address } from '../../base/addresses.js';

/**
 * A file of a board's boot partition on its way over TFTP. It is a point in time: what `hold()` met is what is read, to the
 * last byte, whatever the board writes meanwhile through NBD.
 */
export interface BootFile {
  /** What the image's config.txt makes of it. `kernel`: read whole, this file says that the board is about to start. */
  readonly role: BootFileRole;
  /** As the directory said at `open`: what tsize tells. */
  readonly sizeBytes: number;
  /**
   * The transfer begins (its ACK 0, or its RRQ if it negotiated no options): from here on the bytes are kept. `changed` if
   * the file is not what was promised any more (another size, gone): the transfer ends with ERROR 0.
   */
  hold(): Promise<'held' | 'changed'>;
  /** Fills `target` from `offset`; both inside `sizeBytes`. Only after `hold()` answered `held`. Throws BootFileLost. */
  read(offset: number, target: Uint8Array): Promise<void>;
  /** As `read`, at once, if the bytes are in memory; false otherwise. */
  readNow(offset: number, target: Uint8Array): boolean;
  /**
   * Tells of the file's bytes as they come to be in memory, those that are there first: only after `hold()` answered `held`,
   * and until `close`. They are to be looked at and not touched, and not looked at after `close`, nor once `progress` has said
   * that it is past them.
   */
  follow(follower: (pieces: readonly FilePiece[]) => void): void;
  /**
   * How far the transfer is: it reads at `at`, and nothing in front of `from` is asked for any more. To be told once for each
   * BOOT_FILE_PROGRESS_BYTES: it is read ahead of by no more than BOOT_FILE_PIECES_AHEAD.
   */
  progress(from: number, at: number): void;
  /** May be called at any time, more than once; a `read` under way is then of no interest to anybody. */
  close(): void;
}

/** Bytes of a file in memory, mostly memory that threads share. */
export interface FilePiece {
  /** In the file: a multiple of BOOT_FILE_PIECE_BYTES. */
  readonly offset: number;
  /** BOOT_FILE_PIECE_BYTES of them, or fewer at the file's end. */
  readonly bytes: Uint8Array;
}

/** `unknown` where no config.txt could be read, so that nobody can say which file is the kernel. */
export type BootFileRole = 'kernel' | 'cmdline' | 'other' | 'unknown';

/** The bytes can't be had: the disk failed, or keeping them would have taken more memory than there is for it. */
export class BootFileLost extends Error {
  override readonly name = 'BootFileLost';
}

export type OpenVerdict =
  | { readonly answer: 'file'; readonly file: BootFile }
  | { readonly answer: 'notFound' }
  /** The image is at fault (a FAT that loops, a disk that fails): what to tell in log and ERROR 0. */
  | { readonly answer: 'failed'; readonly because: string };

export interface BootFileRequest {
  /** Our address that the board asked: the one it can reach, hence the one that a virtual cmdline.txt names. */
  readonly askedAt: Ipv4Address;
}

/** The boot partition of one board as TFTP sees it: the image's files, and the virtual ones laid over them. */
export interface BootFiles {
  /** `path` with `/` between names and none in front: `overlays/dwc2.dtbo`. Any text at all may come here. */
  open(path: string, request: BootFileRequest): Promise<OpenVerdict>;
}
