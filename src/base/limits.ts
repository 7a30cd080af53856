/**
 * Everything that can grow has its bound here, with the reason for the number. Grouped by who is bounded.
 */

// ── disk ────────────────────────────────────────────────────────────────────────────────────────────────────────

// ── boards ──────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Boot files in memory for transfers under way, all boards together: two large initramfs (60 to 80 MB each) fit, and sixteen
 * boards that ask for the same one share it. Beyond it, blocks are read from the disk as they are sent.
 */
export const BOOT_FILES_KEPT_BYTES_MAX = 160 * 1024 * 1024;

/**
 * Old content kept because a board overwrote its boot partition under a transfer, all boards together. A kernel upgrade writes
 * about as much as the files' own size; a transfer that would need more ends with an error instead.
 */
export const BOOT_FILES_SAVED_BYTES_MAX = 96 * 1024 * 1024;

/** Read, kept and saved at a time: small enough to read in well under a millisecond, large enough that 60 MB are 240 reads. */
export const BOOT_FILE_PIECE_BYTES = 256 * 1024;

/** Looks at a boot partition that is being written, before its writes are asked to wait for the look (a few milliseconds). */
export const BOOT_PARTITION_LOOKS_MAX = 4;

/** Where an MBR or a primary GPT lies: a write here means that the partitions are to be read anew. */
export const PARTITION_TABLE_BYTES = 1024 * 1024;

/** Addresses and serials overheard from DHCP: a large LAN of boards; a flood of forged ones pushes out the oldest. */
export const ADDRESS_BOOK_ENTRIES_MAX = 4096;

/** FAT's own bound for a path is 260; what is longer names no file and is not worth a look. */
export const BOOT_PATH_LENGTH_MAX = 512;

/** Steps remembered of one boot: a Pi 4 takes about 40 that succeed; a board in a loop must not fill memory. */
export const BOOT_STEPS_MAX = 200;

/** Boots remembered of one board. */
export const BOOTS_REMEMBERED_MAX = 20;

/**
 * How long a board may stay at a stage before its boot counts as failed there. dhcp: bootloaders repeat their DISCOVER every 4 to
 * 8 s and give up after 45 s. tftp: one file may take 30 s (TFTP_FILE_TIMEOUT), counted from the last sign of life. kernel: unpacking
 * a large initramfs on a slow board until its own DHCP. nbd: initramfs-tools waits up to 180 s for the network.
 */
export const STAGE_PATIENCE_MS = { dhcp: 60_000, tftp: 60_000, kernel: 120_000, nbd: 240_000 } as const;

/** Files asked for this long after the kernel was read whole belong to a new boot: loaders read the kernel last or nearly so. */
export const KERNEL_LAST_FILES_MS = 10_000;

/** A boot whose first sign came this soon after our own start may have read its kernel from the process before us. */
export const BOOT_ACROSS_RESTART_MS = 180_000;

// ── dhcp ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Delayed answers waiting or waking a boot ROM at one time: each lasts 3.2 s, so a rack of Pi 3s switched on together fits; beyond it a ROM asks four times more. */
export const DHCP_DELAYED_ANSWERS_MAX = 128;

/** Boards seen but not in the inventory: more than any LAN has, and 10⁵ made-up MACs cost 250 kB. The least recently seen is forgotten. */
export const DISCOVERED_BOARDS_MAX = 512;

/** A shelf of new boards is announced whole; a flood of made-up ones does not fill the log: the rest of a minute becomes one line. */
export const DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX = 20;

// ── tftp ────────────────────────────────────────────────────────────────────────────────────────────────────────

// ── nbd ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// ── app ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How often interfaces and addresses are looked at, and what could not be bound is tried again. */
export const NETWORK_LOOK_MS = 2000;

/** How often the journal is asked for boots that are stuck: their patience is a minute and more. */
export const JOURNAL_LOOK_MS = 5000;
