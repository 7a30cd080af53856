/**
 * Everything that can grow has its bound here, with the reason for the number. Grouped by who is bounded.
 */

// ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A boot has about ten lines at info; what repeats itself more often than this says nothing new. */
export const LOG_LINES_PER_EVENT_AND_MINUTE_MAX = 60;

/** Lines that wait for whoever reads the log; beyond it they are dropped: a stalled reader must not eat the memory. */
export const LOG_BUFFER_BYTES_MAX = 4 * 1024 * 1024;

// ── overlays ────────────────────────────────────────────────────────────────────────────────────────────────────

/** The map of an overlay has room for a disk of this size at least, so that a board's disk can grow: 64 MiB of places in a sparse file, and no space. */
export const OVERLAY_CAPACITY_BYTES_MIN = 1024 ** 4;

/** With `server.state_limit`: what a board's disk is granted in advance: a fraction of a second's writing. Near the limit what one does not use is given to the others. */
export const ALLOWANCE_BYTES_AT_ONCE = 64 * 1024 * 1024;

/** What the files take is asked of each of them; who waits for space asks every second or so. */
export const ALLOWANCE_LOOK_MS = 500;

/** Each read of a block that no layer has asks all of them, a few nanoseconds each; and each is an open file. */
export const SNAPSHOTS_PER_BOARD_MAX = 64;

/** What says how a board's layers lie on each other: 64 snapshots and their layers take some 20 KiB. */
export const LAYER_TREE_BYTES_MAX = 1024 * 1024;

/** A board's writes are held while a snapshot is made of what it has written; where its disk takes longer, there is none. Linux waits for a disk for minutes, people at a prompt don't. */
export const SNAPSHOT_HOLD_MS_MAX = 10_000;

/** What a snapshot should hold writes for at most. A disk that takes longer to sync what was written in the last moment is said to. */
export const SNAPSHOT_HOLD_MS_GOAL = 100;

/** What a new layer and the record of it need at most: a header, a GPT at both ends of the disk, a page of the map for each, `disk.json`. */
export const LAYER_NEEDS_BYTES = 256 * 1024;

/** What is copied from one layer to another, or out of a disk, at once. */
export const LAYER_COPY_BYTES = 1024 * 1024;

/** Of a disk that is copied while its board writes: each piece that a write waits for is in memory for that time. */
export const PROMOTED_PIECES_AT_ONCE_MAX = 8;

// ── disk ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Linux gives a disk at most 256 partitions (DISK_MAX_PARTS): a chain of logical partitions is followed no further. */
export const MBR_EXTENDED_RECORDS_MAX = 256;

/** sfdisk and sgdisk write 128 entries of 128 bytes, 16 KiB; sgdisk can be told to make more. Bounds what one CRC is reckoned over. */
export const GPT_ENTRY_ARRAY_BYTES_MAX = 1024 * 1024;

/** The FAT specification's own bound: a directory has at most 65,536 entries of 32 bytes. */
export const FAT_DIRECTORY_BYTES_MAX = 65_536 * 32;

/** A path deeper than this is not found: each part costs a pass over a directory. Boot partitions are three deep. */
export const FAT_PATH_PARTS_MAX = 32;

/** Runs of one file: a boot.img of 128 MiB (the most that a Pi 4 loads) of which no two 512-byte clusters are neighbours. Some 16 MB of memory. */
export const FAT_FILE_RUNS_MAX = 262_144;

/** How much of a file allocation table is read at once. All of a FAT12 fits (6 KiB), so that no entry straddles two pieces. */
export const FAT_PIECE_BYTES = 16 * 1024;

/** Pieces that one volume keeps, 1 MiB: the whole table of a 512 MiB partition in clusters of 2 KiB, as pi-gen formats it. */
export const FAT_PIECES_MAX = 64;

/** How much of a directory is read at once. */
export const FAT_DIRECTORY_PIECE_BYTES = 64 * 1024;

/** Steps of a few nanoseconds between two looks at the event loop: half a millisecond, so that a hostile image delays nobody. */
export const DISK_WORK_PER_TURN = 65_536;

/** How often what waits for space is tried again: each try is one system call, and a board should not notice that there was space a while ago. */
export const FULL_DISK_RETRY_MS = 1_000;

// ── boards ──────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Boot files in memory for transfers under way, all boards together: a large initramfs (60 to 80 MB) that sixteen boards ask for
 * in turn is read once, and each of sixty boards with files of their own has what it reads next. Beyond it, blocks are read
 * from the disk as they are sent.
 */
export const BOOT_FILES_KEPT_BYTES_MAX = 96 * 1024 * 1024;

/**
 * Old content kept because a board overwrote its boot partition under a transfer, all boards together. A kernel upgrade writes
 * about as much as the files' own size; a transfer that would need more ends with an error instead.
 */
export const BOOT_FILES_SAVED_BYTES_MAX = 96 * 1024 * 1024;

/** Read, kept and saved at a time: small enough to read in well under a millisecond, large enough that 60 MB are 240 reads. */
export const BOOT_FILE_PIECE_BYTES = 256 * 1024;

/** Pieces that are read ahead of a transfer: 1 MiB, a quarter of a second of what a Pi 4 takes. */
export const BOOT_FILE_PIECES_AHEAD = 4;

/** A transfer says so often how far it is: half of what is read ahead, as each word wakes another thread. */
export const BOOT_FILE_PROGRESS_BYTES = 2 * BOOT_FILE_PIECE_BYTES;

/**
 * Pieces of files whose places are remembered until the next write, all boards together (about 64 bytes each): a board asks for
 * each file twice, and to follow the chain of a fragmented initramfs takes a millisecond.
 */
export const BOOT_FILE_RUNS_REMEMBERED_MAX = 128 * 1024;

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

/** Of one step: a path of ours has under a hundred, a stranger's is cut. With BOOT_STEPS_MAX a boot stays under 200 kB in any alphabet. */
export const BOOT_TEXT_CHARACTERS_MAX = 300;

/** Addresses remembered of one boot: a board has two (its loader's and Linux's), the others are strangers'. */
export const BOOT_PEERS_MAX = 16;

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
/** The end of a transfer may be told this much later than what the board did next: less than a millisecond, but for a machine at its limits. */
export const KERNEL_TOLD_LATE_MS_MAX = 1_000;

/** A boot whose first sign came this soon after our own start may have read its kernel from the process before us, where nothing is left of that. */
export const BOOT_ACROSS_RESTART_MS = 180_000;

/** A boot under way goes on after a restart that took no longer: an initramfs waits for its disk 180 s, some for 300. */
export const BOOT_ACROSS_ABSENCE_MS = 600_000;

/** Of one board's boots on disk. Twenty boots of a Pi 4 have about 100 kB; whatever strangers say, the newest boot always fits. */
export const BOOT_HISTORY_BYTES_MAX = 256 * 1024;

/** Histories of boards that are no longer in the inventory, 25 MB at most: who comments a board out for a month finds them again. */
export const BOOT_HISTORIES_LEFT_BEHIND_MAX = 100;

/** What matters after a crash (a stage reached, a disk attached) is on disk this much later: one write for what happens together. */
export const BOOT_HISTORY_WRITE_MS = 1000;

/** The rest (files read, probes) waits as long: fewer writes for an SD card, and no more for whoever floods a board's name. */
export const BOOT_HISTORY_WRITE_LATER_MS = 10_000;

/** After a write that failed (a full disk, one that is read-only), the next is tried this much later. */
export const BOOT_HISTORY_RETRY_MS = 30_000;

/** A stop waits as long for histories to be written. */
export const BOOT_HISTORY_STOP_MS = 2_000;
/** config.txt has a few hundred bytes; a Pi 5 refused to start with a commented one of 50 kB (raspberrypi/firmware#1848). */
export const CONFIG_FILE_BYTES_MAX = 64 * 1024;

/** "There is a 98-character line length limit" (Raspberry Pi documentation, "File format"). */
export const CONFIG_LINE_CHARACTERS_MAX = 98;

/** Settings, filters and includes of one file: what a person writes has under a hundred. */
export const CONFIG_LINES_MAX = 1024;

/** Ubuntu 20.04 includes two files from config.txt and none further down. */
export const CONFIG_INCLUDE_DEPTH_MAX = 8;
export const CONFIG_INCLUDES_MAX = 32;

/** Different `os_prefix` values: Ubuntu has two. Times BOOT_NAMES_MAX, it bounds the paths that a boot plan knows. */
export const BOOT_PREFIXES_MAX = 16;

/** Different kernels, cmdline files or initramfs files that config.txt names: one for each model and section is a dozen. */
export const BOOT_NAMES_MAX = 64;

/** COMMAND_LINE_SIZE of Linux on arm64 (32-bit arm has 1,024); the firmware puts its own arguments in front of ours. */
export const CMDLINE_BYTES_MAX = 2048;

/** A file that `cmdline=` names but that is larger than this is no line of arguments, and is served as it is. */
export const CMDLINE_FILE_BYTES_MAX = 64 * 1024;

// ── dhcp ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Delayed answers waiting or waking a boot ROM at one time: each lasts 3.2 s, so a rack of Pi 3s switched on together fits; beyond it a ROM asks four times more. */
export const DHCP_DELAYED_ANSWERS_MAX = 128;

/** Boards seen but not in the inventory: more than any LAN has, and 10⁵ made-up MACs cost 250 kB. The least recently seen is forgotten. */
export const DISCOVERED_BOARDS_MAX = 512;

/** A shelf of new boards is announced whole; a flood of made-up ones does not fill the log: the rest of a minute becomes one line. */
export const DISCOVERED_BOARDS_ANNOUNCED_PER_MINUTE_MAX = 20;

// ── tftp ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** RFC 2347: "the maximum size of a request packet is 512 octets". */
export const TFTP_REQUEST_BYTES_MAX = 512;
/** Six are known; a packet of TFTP_REQUEST_BYTES_MAX could hold 250. */
export const TFTP_OPTIONS_MAX = 32;
/** A sentence for the board's console; also keeps an answer to a forged request about as small as the request. */
export const TFTP_ERROR_TEXT_BYTES_MAX = 128;
/** What a peer says in a transfer: an ACK has four bytes, and of an ERROR's text no more is kept anyway. */
export const TFTP_PEER_PACKET_BYTES_MAX = 1024;
/** Taken from one peer before the others have their turn: more than a window's ACKs, and no flood keeps the rest waiting. */
export const TFTP_PEER_PACKETS_PER_TURN = 64;
/** The thread that delivers files looks up at least this often: a process that exits waits for it that long. */
export const TFTP_COURIER_WAIT_MS_MAX = 500;
/** With TFTP_PEER_TRANSFERS_MAX the bound on sockets and held files. A Pi runs one at a time, but leaves silent probes behind. */
export const TFTP_TRANSFERS_MAX = 512;
/** One address may be many boards behind NAT, or a load test: an eighth of all. */
export const TFTP_PEER_TRANSFERS_MAX = 64;
/** `tftp.window_size_max` can lower it; more than this only helps over long distances. */
export const TFTP_WINDOW_BLOCKS_MAX = 64;
/** Whatever block size is configured, one transfer has no more than this under way: 64 blocks of 4 KiB. */
export const TFTP_WINDOW_BYTES_MAX = 256 * 1024;
/** First wait before a block is sent again where the peer named none; a Pi repeats what it said after 1 to 2 s. */
export const TFTP_RESEND_MS = 1_000;
/** Waits double up to here, unless the peer asked for a longer one. */
export const TFTP_RESEND_MS_MAX = 8_000;
/** Blocks of a window that are handed to the kernel together: it takes one UDP payload of IPv4, cut into that many datagrams (UDP_MAX_SEGMENTS). */
export const TFTP_ROW_BYTES_MAX = 65_507;
export const TFTP_ROW_PACKETS_MAX = 64;
/** Without a new block acknowledged for this long the peer is gone: a Pi gives a file up after 30 s (TFTP_FILE_TIMEOUT). */
export const TFTP_SILENCE_MS_MAX = 30_000;
/** The same for a peer that asked for longer waits (`timeout` may be 255 s): two waits of 30 s. */
export const TFTP_SILENCE_ASKED_MS_MAX = 60_000;
/** A peer that has said nothing for so long may have to make room when all places are taken: a board acknowledges within milliseconds, and repeats itself after 2 s. */
export const TFTP_QUIET_MS_MIN = 5_000;
/** Packets of the main port that the kernel has not taken: one for a board that is there leaves at once, those behind a full buffer are lost. */
export const TFTP_UNSENT_PACKETS_MAX = 64;
/**
 * Refusals in a second to addresses that never acknowledged anything. One that does not exist keeps its packets in the socket's
 * send buffer for the 3 s in which the kernel looks for it; at 800 bytes each 300 of them leave room in TFTP_MAIN_PORT_UNSENT_BYTES.
 */
export const TFTP_REFUSALS_TO_UNKNOWN_PER_SECOND = 100;
/** For the thread that delivers files to end at a stop, which takes it a millisecond: flushing disks comes after it. */
export const TFTP_COURIER_STOP_MS = 1_000;
/** Asked for; the kernel gives twice net.core.wmem_max at most, which is 416 KiB where nobody has changed it. */
export const TFTP_MAIN_PORT_UNSENT_BYTES = 512 * 1024;
/** Addresses remembered because they acknowledged something. */
export const TFTP_KNOWN_PEERS_MAX = 1024;
/** What one port may have waiting to be read: with `tftp.single_port` all ACKs come there, a flood of requests beside them. The kernel cuts it to net.core.rmem_max. */
export const TFTP_MAIN_PORT_BUFFER_BYTES = 4 * 1024 * 1024;
/** Until DATA 1 is acknowledged, silence of twice the wait ends a transfer, but it is never taken for silence sooner than this: a Pi repeats its RRQ every 2 s, most other clients after 5 s. */
export const TFTP_FIRST_TIMEOUT_MS_MIN = 5_500;
/** … nor later than this, whatever wait a peer asked for: what acknowledged nothing may be forged. */
export const TFTP_FIRST_TIMEOUT_MS_MAX = 15_000;
/** Packets sent again to a peer that has not acknowledged DATA 1, each only after it asked again itself. */
export const TFTP_FIRST_RESENDS_MAX = 4;
/** The disk gets as long for a block as a Pi has for a file. */
export const TFTP_DATA_PATIENCE_MS = 30_000;
/** The same RRQ from the same port, after blocks were acknowledged and then nothing for this long: the board has begun anew (a Pi 3's ROM always asks from port 49152). */
export const TFTP_BEGUN_ANEW_MS = 2_000;
/** Strangers at one transfer's port that are told so (ERROR 5): more are in no error, but up to something. */
export const TFTP_STRANGERS_ANSWERED_MAX = 4;
/** A stop gives running transfers this long; with the rest of a stop it must stay within 5 s. */
export const TFTP_STOP_GRACE_MS = 2_000;
/** Ended transfers take less than a millisecond to be over, unless their file is just being opened on a disk that hangs. */
export const TFTP_STOP_LAST_MS = 500;
/** A Pi with nothing to boot asks in vain every 15 ms: one line per peer in this time says how often. */
export const TFTP_NOT_FOUND_LOG_MS = 10_000;
/** Peers whose lines are counted; the one heard of longest ago is forgotten. */
export const TFTP_NOT_FOUND_PEERS_MAX = 256;
/** A download of our own client has an end even where the server has none. */
export const TFTP_DOWNLOAD_BYTES_MAX = 1024 * 1024 * 1024;

// ── nbd ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A peer that says nothing that leads to a disk is let go. qemu-nbd took the same number when it closed CVE-2024-7409. */
export const NBD_HANDSHAKE_MS = 10_000;

/** proto.md allows no string over 4096 bytes; with its lengths around it and some 2000 info requests an INFO or GO fits in here. */
export const NBD_OPTION_BYTES_MAX = 8192;

/** proto.md, "Conventions": no name may be longer. */
export const NBD_NAME_BYTES_MAX = 4096;

/** The sentence of an error reply goes to a board's console; nbd-client prints no more than 4096 bytes, and people read less. */
export const NBD_MESSAGE_CHARACTERS_MAX = 800;

/** Real clients send under ten. More is CVE-2017-15119: haggling without end. */
export const NBD_OPTIONS_MAX = 128;

/** Option data of no use to us that is read away before the peer is let go. */
export const NBD_OPTION_DISCARD_BYTES_MAX = 1024 * 1024;

/** nbd's own huge-request log reaches 49,865,728 bytes; 32 MiB may not be treated as abuse (proto.md, "Size constraints"). */
export const NBD_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A request up to this size is done as one; what is larger goes in pieces of it, so that no connection needs memory for a
 * whole payload. Linux asks for 128 KiB at most unless told otherwise, qemu-img for 2 MiB.
 */
export const NBD_PIECE_BYTES = 1024 * 1024;

/** A large READ in one simple reply is sent in pieces of this size, of which two are in memory: a client that takes none costs no more. */
export const NBD_STREAMED_BYTES = 256 * 1024;

/**
 * Payloads being written, replies being read and replies not yet taken by the peer, per connection; past it the socket is
 * not read. May be exceeded by one piece. Linux with its 128 requests of 4 KiB stays far below, and 32 requests of 128 KiB
 * keep any disk busy.
 */
export const NBD_BYTES_IN_FLIGHT_MAX = 4 * 1024 * 1024;

/**
 * Payloads that wait for space on a full filesystem, beyond NBD_BYTES_IN_FLIGHT_MAX: without them a board that writes much would
 * fill its connection with writes that wait, and its reads could not get through. Linux leaves a quarter of its 128 requests to
 * reads, and 96 writes of 128 KiB are 12 MiB. Past it the socket is not read until there is space.
 */
export const NBD_HELD_BYTES_PER_CONNECTION_MAX = 16 * 1024 * 1024;

/** The same for all connections together: who comes too late has NBD_BYTES_IN_FLIGHT_MAX as always. */
export const NBD_HELD_BYTES_MAX = 128 * 1024 * 1024;

/** Buffers kept to be used again, for all connections together: what four busy ones have in flight. */
export const NBD_POOLED_BYTES_MAX = 16 * 1024 * 1024;

/**
 * A READ that may not be cut into chunks (DF) is whole in memory before its header is sent, so it may be as long as a piece.
 * proto.md asks for 64 KiB at least.
 */
export const NBD_UNFRAGMENTED_BYTES_MAX = NBD_PIECE_BYTES;

/**
 * A READ in chunks, or a piece of one, from this size on is looked up in the device's extents for zeroes that need not be sent. Asking takes
 * two ways to another thread and back, 70 to 125 µs measured on ext4: as long as reading 1 MiB from the page cache, and ten times
 * as long as reading 128 KiB.
 */
export const NBD_SPARSE_READ_BYTES_MIN = 1024 * 1024;

/** Zeroes between data that are fewer are sent as data: a chunk more costs the client more than reading them. */
export const NBD_SPARSE_RUN_BYTES_MIN = 32 * 1024;

/**
 * Extents in one reply to BLOCK_STATUS: 64 KiB in its longest form. proto.md wants no more than 2²⁰ of them; clients ask on
 * where a reply ends.
 */
export const NBD_STATUS_EXTENTS_MAX = 4096;

/** A device is asked for the extents of so many bytes at first: 4096 extents where every second block is a hole. */
export const NBD_STATUS_WINDOW_BYTES_MIN = 16 * 1024 * 1024;

/** And for at most so many, where there was little in the last window: 65,536 extents if it all changes there, some 5 MB for a moment. */
export const NBD_STATUS_WINDOW_BYTES_MAX = 256 * 1024 * 1024;

/** Questions to the device for one BLOCK_STATUS: some 4 GiB with three extents in them, each question 0.1 ms. */
export const NBD_STATUS_LOOKUPS_MAX = 20;

/**
 * Of a CACHE, which is a hint, no more is brought into memory: it answers when the disk's queue has taken it all, and the page
 * cache is everybody's.
 */
export const NBD_PREFETCH_BYTES_MAX = 64 * 1024 * 1024;

/** Requests under way or not yet answered, per connection: the depth of the Linux driver's queue. */
export const NBD_REQUESTS_IN_FLIGHT_MAX = 128;

/** Bytes copied out of the page cache on the main thread before other sockets get their turn: some 0.2 ms. */
export const NBD_READ_NOW_BYTES_PER_TURN = 1024 * 1024;

/** What a lane takes from a socket at once: 32 writes of 4 KiB twice over. With less large writes were slower by a third and more, with more not faster. */
export const NBD_LANE_INPUT_BYTES = 256 * 1024;

/** Replies that go out in one call, and the longest READ that is read whole before its header is sent. */
export const NBD_LANE_READ_BYTES_MAX = 256 * 1024;
export const NBD_LANE_OUTPUT_BYTES = NBD_LANE_READ_BYTES_MAX + 4096;

/** From this size on a lane sends a READ's data by sendfile(2): for less, two more calls cost as much as the copy. */
export const NBD_LANE_UNCOPIED_BYTES_MIN = 64 * 1024;

/** TRIM and WRITE_ZEROES up to this size are done by lanes: to free space that was written takes some 10 µs for each MiB. */
export const NBD_LANE_ZERO_BYTES_MAX = 64 * 1024 * 1024;

/** What a lane answers one connection before others get their turn. */
export const NBD_LANE_TURN_BYTES = 1024 * 1024;

/** Bounds of brambleboot_nbd_request_duration_seconds: from the page cache to a disk that makes its board wait. */
export const NBD_DURATION_BOUNDS_S: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10,
];

/** Requests of one connection that lanes handed to the main thread and it has not looked at; 32 KiB of a payload count as much as one more. */
export const NBD_LANE_HANDED_MAX = 32;

/** Lanes from the start: one may wait for a disk while the other serves. */
export const NBD_LANES_MIN = 2;

/**
 * Lanes that may be waiting for one disk (of the kernel's, whatever files lie on it), for a change, a sync or a READ by sendfile;
 * what comes beyond is the main thread's. With as many lanes more for each disk, disks that hang leave two lanes to the others.
 */
export const DISK_LANES_AT_ONCE_MAX = 4;
export const NBD_LANES_PER_DISK = DISK_LANES_AT_ONCE_MAX;

/** Of libuv's threads one disk has so many at a time, and whatever else it is asked for waits: a queue that suits turning disks and fast ones. */
export const DISK_OPERATIONS_AT_ONCE_MAX = 8;
/** libuv's threads: fifteen disks may hang, and there are eight left. A thread that sleeps costs some 20 KB. */
export const THREADS_FOR_DISKS = 128;

/**
 * Node lets what was just made grow to three times 16 MiB before it looks what of it is used, at the start above all, and keeps that:
 * 20 MB of a server that idles. The threads that carry bytes make next to nothing.
 */
export const YOUNG_MEBIBYTES_MAX = 4;

/**
 * A lane that has answered looks for the client's next request for this long before it sleeps, if that client asked so soon before:
 * to be woken takes 10 to 20 µs, as long as all the rest of a small READ.
 */
export const NBD_LANE_SPIN_MS = 0.06;

/** Whether all lanes are kept waiting is looked at this often, while there are connections; then there is one more. */
export const NBD_LANE_LOOK_MS = 20;
/** After a thread could not be started, for want of descriptors, threads or memory. */
export const NBD_LANE_RETRY_MS = 10_000;
/** A lane that is at one connection for longer waits for a disk: all that it may do at once takes some milliseconds. */
export const NBD_LANE_STUCK_MS = 20;

/** Bytes of a peer that waits for the writer lock; it has nothing to send then. */
export const NBD_EARLY_BYTES_MAX = 64 * 1024;

/** 100 boards with a few connections each, and as many tools; each costs a descriptor and at most NBD_BYTES_IN_FLIGHT_MAX. */
export const NBD_CONNECTIONS_MAX = 1024;

/** A board has one, nbdcopy four, `nbd-client -C` up to sixteen. */
export const NBD_CONNECTIONS_PER_ADDRESS_MAX = 64;

/** A stop waits as long for requests under way; what a container gives before it kills is 10 s. */
export const NBD_STOP_MS = 2_000;

/** A stop waits as long for clients that are choosing a disk, which takes them milliseconds, and looks so often. Who takes longer is one of many seconds, or waits for another to be found gone. */
export const NBD_STOP_HAGGLE_MS = 500;
export const NBD_STOP_HAGGLE_LOOK_MS = 20;

/** Requests that were read before a stop have as long to be done; what is not is handed on to the next process. */
export const NBD_ANSWERS_MS = 1_800;

/** A lane that waits for a disk at the end of NBD_ANSWERS_MS is asked so often whether it does still. */
export const NBD_LANE_RELIEVE_MS = 10;

/** For lanes to end at a stop, which takes them a millisecond: one that waits for a disk for ever must not keep the others' disks from being flushed. */
export const NBD_LANES_STOP_MS = 1_000;

/** As long may it take until no thread is at a connection any more: its peer has to take what was sent. Together with all else a stop has 5 s for. */
export const NBD_HALT_MS = 2_200;

/** Replies of one connection that are ready when nobody may write to it any more: as much as it may have under way, and not gigabytes that a client has asked for at once. */
export const NBD_HELD_REPLIES_BYTES_MAX = 8 * 1024 * 1024;

/** Peers acknowledge within a round trip, or a tenth of a second where they wait for more; what they have not is kept and sent again. */
export const NBD_SEND_QUEUE_MS = 200;
export const NBD_SEND_QUEUE_LOOK_MS = 5;

/** What lets packets through or not is told so within milliseconds; a stop has no time for one that hangs. */
export const HELD_RULES_MS = 2_000;

/** After DISC or ABORT, as long for the peer to take its last replies. */
export const NBD_LINGER_MS = 5_000;

/** Refusals logged as warnings within NBD_LOG_AGAIN_MS, one each per peer, name and reason; a scan must not fill a disk with log. */
export const NBD_REFUSALS_LOGGED_MAX = 256;

/** After as long the same trouble is worth another warning. */
export const NBD_LOG_AGAIN_MS = 600_000;

/** Silence of a probed peer that means it is gone: three probes, a second apart, unanswered on a LAN. */
export const TCP_PROBE_SILENCE_MS = 3_000;

/** How often an answer to a probe is looked for: a live peer costs a GO that waits for it no more than this. */
export const TCP_PROBE_LOOK_MS = 50;

/** A GO from another address waits as long for the verdict on the holder: an initramfs tries only once. */
export const WRITER_LOCK_PATIENCE_MS = 5_000;

/** Our client's side: a server that sends more in one option reply, or longer lists, is none of ours. */
export const NBD_OPTION_REPLY_BYTES_MAX = 16 * 1024;
export const NBD_LIST_ENTRIES_MAX = 10_000;

/** Our client waits as long for a connection and for each option; a GO may take WRITER_LOCK_PATIENCE_MS on the other side. */
export const NBD_CLIENT_PATIENCE_MS = 15_000;

/** Bytes our client takes from the kernel before somebody wants them. */
export const NBD_CLIENT_READ_AHEAD_BYTES_MAX = 1024 * 1024;

// ── app ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `server.handover_limit`: a Linux peer sends again for some 15 minutes (net.ipv4.tcp_retries2) before it gives up. */
export const HANDOVER_LIMIT_MS = 600_000;
export const HANDOVER_LIMIT_MS_MIN = 10_000;
export const HANDOVER_LIMIT_MS_MAX = 900_000;

/** A board's own disk has as long to be flushed at a stop: without that its connection can't be handed on. It was begun when the stop was. */
export const HANDOVER_FLUSH_MS = 30_000;

/** Of a disk that need not be flushed for it: whether it has failed shows in as long. */
export const HANDOVER_FLUSH_LOOK_MS = 1_000;

/**
 * Held in the state folder, so that boards can be handed on when its filesystem is full: which is when most is under way, as writes
 * wait for space. Those of two boards that write as much as they can, or of a hundred that do little.
 */
export const HANDOVER_RESERVE_BYTES = 64 * 1024 * 1024;

/** Of one board: what its connections have sent and was not looked at, a few megabytes each. */
export const HANDOVER_BYTES_MAX = 256 * 1024 * 1024;

/** How often the inventory is looked at where `server.watch` is set; it is read when two looks in a row find the same: an editor writes within that time. */
export const INVENTORY_LOOK_MS = 1000;

/** Changes of a reload that the page names; the rest are counted. The log and the API have all of them. */
export const RELOAD_CHANGES_SHOWN_MAX = 20;

/** How often it is tried again what a reload has left to wait, besides each time that a board lets go of its disk: a copy that ends, a file that is read, tells nobody. */
export const RELOAD_RETRY_MS = 2000;

/** How often interfaces and addresses are looked at, and what could not be bound is tried again. */
export const NETWORK_LOOK_MS = 2000;

/** Looks without an interface or address before its listeners are let go: a cable put back within ten seconds changes nothing. */
export const NETWORK_ABSENCES_MAX = 5;

/** Lines about peers that are not answered within TURNED_AWAY_LOG_AGAIN_MS: enough to find a board, too few for forged addresses to fill a disk. */
export const TURNED_AWAY_LOGGED_MAX = 20;

/** After as long the same peer is worth another line. */
export const TURNED_AWAY_LOG_AGAIN_MS = 600_000;

/** A Ctrl-C so long after the first signal ends us at once; an earlier one is the same wish, heard twice. */
export const STOP_AT_ONCE_AFTER_MS = 1_000;

/** Once boards wait for the next process, all else has as long: files that are being sent, disks of boards that are not attached. What was answered of those is with the kernel. */
export const STOP_BESIDE_BOARDS_MS = 10_000;

/** A stop ends in any case after this: transfers and requests have seconds, disks HANDOVER_FLUSH_MS; our unit and compose.yaml give 60 s. */
export const STOP_MS_MAX = 45_000;

/**
 * HTTP connections at a time, of which one gives way to a newcomer: far more than a Prometheus and some browsers have, and few enough
 * that an answer held by each (some 400 kB for a hundred boards) is bearable.
 */
export const HTTP_CONNECTIONS_MAX = 128;

/** A browser has six, a reverse proxy some more. */
export const HTTP_CONNECTIONS_PER_ADDRESS_MAX = 32;

/** For a request line and its headers to come, from the first byte or the connection on: on a LAN they come in one segment. */
export const HTTP_HEADERS_MS = 5_000;

/** For a whole request; none that we answer has a body. */
export const HTTP_REQUEST_MS = 10_000;

/** An idle connection is kept for the next request as long: Node's own number. A Prometheus that scrapes less often connects anew. */
export const HTTP_KEEP_ALIVE_MS = 5_000;

/** For an answer to be made and taken: who reads it byte by byte holds its memory. */
export const HTTP_ANSWER_MS = 10_000;

/** How often Node looks for requests that are late. */
export const HTTP_CHECK_MS = 1_000;

/** Then the connection is closed. Node answers what is pipelined on one without a turn of the loop in between: 4,000 requests kept every board's disk waiting for 9 s. */
export const HTTP_REQUESTS_PER_CONNECTION_MAX = 8;

/** Browsers send the cookies of every port of a host, so that what a Grafana beside us sets comes here too. */
export const HTTP_HEADER_BYTES_MAX = 16 * 1024;

/** What the command line says of a disk's command: a path has 4096 bytes (PATH_MAX), six times that in JSON's \u escapes. */
export const DISK_COMMAND_BYTES_MAX = 32 * 1024;

/** Lines about how far a copy of a disk is: enough for a number that moves, over an hour too. */
export const COPY_PARTS_TOLD = 1000;

/** A scrape keeps the main thread, and with it every disk, for some 2 ms: within this, all who ask have the same one. Prometheus asks every 15 s. */
export const METRICS_KEPT_MS = 1_000;

/** Boards named to somebody who asks for one that is not there: a line or two of a terminal. */
export const UNKNOWN_BOARD_NAMES_MAX = 20;

/** How often a board whose writes wait for space is said again: not to be missed, and no flood from a whole rack. */
export const FULL_DISK_LOG_AGAIN_MS = 300_000;

/** How often the filesystems under images and state are looked at: one statfs(2) each. */
export const STORAGE_LOOK_MS = 10_000;

/** A filesystem that does not answer (NFS, FUSE) keeps a scrape no longer than this; Prometheus gives up after 10 s. */
export const STORAGE_PATIENCE_MS = 1_000;

/** What was last known of a filesystem that does not answer is shown for as long, and then nothing. */
export const STORAGE_FORGOTTEN_MS = 60_000;

/** Free space below this share of a filesystem is warned of; above the second one the warning is over, so that it is not said at each write. */
export const STORAGE_LOW_SHARE = 0.1;
export const STORAGE_ENOUGH_SHARE = 0.12;

/** For the last lines of the log to be taken by whoever reads it, when all else has ended. */
export const LOG_FAREWELL_MS = 1000;

/** How often the journal is asked for boots that are stuck: their patience is a minute and more. */
export const JOURNAL_LOOK_MS = 5000;
// ── workshop ────────────────────────────────────────────────────────────────────────────────────────────────────

/** The largest initramfs seen (Ubuntu desktop) has about 100 MB, and one is held in memory while it is looked into. */
export const INITRAMFS_BYTES_MAX = 256 * 1024 * 1024;

/** Unpacked, in all its parts: an Ubuntu one has 300 MB, and a board with 1 GiB of memory could not hold this. */
export const INITRAMFS_UNPACKED_BYTES_MAX = 1024 * 1024 * 1024;

/** Archives one behind the other: microcode, main, something added by hand. Each costs a decoder. */
export const INITRAMFS_PARTS_MAX = 64;

/** 300 MB unpacked took 1.6 s (gzip) to 2.4 s (zstd), 120 MB of xz 2.6 s; a made-up one is given up after this. */
export const INITRAMFS_PATIENCE_MS = 60_000;

/** modules.builtin has 40 kB: the only file in an initramfs that is read, not just listed. */
export const CPIO_CONTENT_BYTES_MAX = 1024 * 1024;

/** PATH_MAX of Linux, which refuses longer names in a cpio archive (init/initramfs.c). */
export const CPIO_NAME_BYTES_MAX = 4096;

/** An image has a kernel or two; a made-up one could list one per entry. */
export const KERNEL_VERSIONS_MAX = 16;

/** Linux refuses zstd windows above 2^27 in an initramfs (lib/decompress_unzstd.c); it is the decoder's memory. */
export const ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024;
// ── inventory ───────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A thousand boards with a line of comment each take about 150 KB. The worst text of this size that we could
 * think of (commas and nothing else) keeps the YAML library busy for 2 s and takes 320 MB.
 */
export const INVENTORY_BYTES_MAX = 256 * 1024;

/** Keys, list items and scalars after aliases are written out. A thousand boards have about 12,000; nine lines of nested aliases would have 10⁹. */
export const INVENTORY_VALUES_MAX = 50_000;

/** The deepest key, `boards.NAME.cmdline.remove`, has its items at 5. */
export const INVENTORY_DEPTH_MAX = 16;

/** How many faults are looked into: 256 KiB of nonsense can have 100,000, and nobody reads more than these. */
export const INVENTORY_FAULTS_MAX = 200;

/** How many faults are printed: what fits on a screen or two. The rest are counted. */
export const INVENTORY_FAULTS_PRINTED_MAX = 20;

/** How much of an offending line is printed, and how much of a text is quoted inside a sentence. */
export const FAULT_LINE_CHARACTERS_MAX = 120;
export const FAULT_QUOTE_CHARACTERS_MAX = 160;

/** "Did you mean": each candidate costs a comparison, each fault compares anew. */
export const SUGGESTION_CANDIDATES_MAX = 200;
export const SUGGESTION_CHARACTERS_MAX = 64;

/** sockaddr_un has 108 bytes for a path with its NUL (unix(7)); Node cuts a longer one without a word. */
export const SOCKET_PATH_BYTES_MAX = 107;

/** Boards, or what is missing, in the one line that `systemctl status` has for us. */
export const SERVICE_STATUS_NAMES_MAX = 20;

/** Sockets that systemd hands over: an address or two for each service, and as many again for a host with many networks. */
export const HANDED_SOCKETS_MAX = 64;

/**
 * Connections that systemd keeps over a restart (FileDescriptorStoreMax=): a board has one, some a few. All come back at the start, beneath
 * the 1024 descriptors that a process may have open which was started without a word of how many.
 */
export const DESCRIPTOR_STORE_MAX = 512;

/** A service manager answers within a millisecond, and within some hundreds where it reads all its units anew; a stop has no time for more. */
export const DESCRIPTOR_STORE_ANSWER_MS = 1_000;

/** `server.allow`: everybody that asks is compared with each. More are better said as networks. */
export const INVENTORY_ALLOW_MAX = 256;

/** `cmdline.append`: all of a command line has to fit into the 2,048 bytes that the kernel takes on arm64 (COMMAND_LINE_SIZE). */
export const INVENTORY_ARGUMENTS_BYTES_MAX = 2048;

/**
 * `boards.NAME.size`. The file of a board's disk is longer than the disk, and ext4 has none longer than 16 TiB; what counts its
 * blocks takes 64 MiB of memory for each TiB that is written.
 */
export const BOARD_DISK_BYTES_MAX = 8 * 1024 ** 4;

/** `server.state_limit`. Less would not hold the first boot of one board; more no filesystem of Linux has. */
export const STATE_LIMIT_BYTES_MIN = 1024 ** 2;
export const STATE_LIMIT_BYTES_MAX = 4096 * 1024 ** 4;

/** A certificate, a bundle of CAs (Debian's has 220 KB), or keys for a thousand boards (90 KB). */
export const TLS_FILE_BYTES_MAX = 1024 * 1024;

/** psktool makes 32 bytes, and GnuTLS takes 64 at most. Of less than 16 a key could be guessed by who has seen one handshake. */
export const PSK_BYTES_MIN = 16;
export const PSK_BYTES_MAX = 64;

/** A certificate that ends within as many days is worth a warning: as much time as people take who were told by a line in a log. */
export const CERTIFICATE_ENDS_SOON_MS = 30 * 24 * 3600 * 1000;

/** Looked at so often; and it is said once a day. */
export const CERTIFICATE_LOOK_MS = 3600 * 1000;
export const CERTIFICATE_LOG_AGAIN_MS = 24 * 3600 * 1000;

// ── images that overlays lie on ─────────────────────────────────────────────────────────────────────────────────

/** Versions of images that are known: each takes a file of some 400 bytes, all of which are read at a start. Thirty images a year for thirty years. */
export const PINS_MAX = 1024;

/** Of one such file: a path has 4096 bytes at most (PATH_MAX), six times that in JSON's \u escapes. */
export const PIN_BYTES_MAX = 32 * 1024;

/** Images in use are looked at so often (two stat(2) each): a change of one should be said before many boards have booted into it. */
export const IMAGE_LOOK_MS = 120_000;

/** Read at once for a digest, and its memory: less makes disks that turn seek more, more keeps another reader of the disk waiting longer. */
export const IMAGE_DIGEST_PIECE_BYTES = 1024 * 1024;

/** While an image is read for its digest, it is looked at so often whether it is being written: after that, the rest would be read in vain. */
export const IMAGE_DIGEST_LOOK_BYTES = 256 * 1024 * 1024;

/** Who reads for a digest rests so long for each millisecond that it has read and reckoned: at most half of what the disk can do. */
export const IMAGE_DIGEST_REST_RATIO = 1;

/** Rests are taken when there is so much of them: less than what a timer is good for. */
export const IMAGE_DIGEST_REST_MS_MIN = 5;

/** After a digest that failed (a disk that can't be read, no thread to be had) it is begun anew. */
export const IMAGE_DIGEST_RETRY_MS = 600_000;

/** Boards that one sentence names; the rest are counted. */
export const IMAGE_BOARDS_NAMED_MAX = 20;
