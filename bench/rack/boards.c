/*
 * Boards that power on at once, as one program that is cheap enough not to be what is measured. Each asks by DHCP for its
 * boot server, reads its files over TFTP in lock-step, takes export name and server from the cmdline.txt that it was given,
 * and reads the first bytes of its disk over NBD. bench/rack.ts compiles it and tells it on standard input what to play.
 *
 *   device NAME                     the interface that they are all on
 *   probe PATH | read PATH          what each asks, in this order, under its serial
 *   disk BYTES REQUEST DEPTH        so much of the disk, in requests of that size, so many at a time
 *   verify FOLDER IMAGE             compare with these; only for a round that isn't measured
 *   board SERIAL ADDRESS DISCOVER   DISCOVER in hexadecimal
 *   go
 *
 * It answers a line per board and one of its own, keeps the disks attached, and ends when standard input does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BOARDS_MAX = 256, ASKS_MAX = 64, BLOCK_BYTES = 1468, PATIENCE_S = 60 };
enum { DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68, TFTP_PORT = 69, NBD_PORT = 10809 };
enum { RRQ = 1, DATA = 3, ACK = 4, ERROR = 5, OACK = 6 };
static const double RESEND_S = 2; /* a Pi's patience with a request and with an ACK */

struct content { const uint8_t *bytes; size_t size; };
struct ask { bool whole; char path[128]; struct content expected; };

enum stage { SEEKING, FILES, CONNECTING, NEGOTIATING, READING, OVER };

struct board {
  enum stage stage;
  char serial[17];
  uint8_t discover[600];
  size_t discover_bytes;
  struct in_addr address, server;
  int descriptor;
  double heard_s, said_s;
  double offered_s, files_s, disk_s;
  /* the transfer under way */
  int ask;
  uint64_t transfer_bytes;
  uint16_t last_block;
  bool answered;
  uint64_t file_bytes;
  char cmdline[2049];
  /* the disk */
  uint8_t negotiation[4096];
  size_t negotiation_bytes;
  uint64_t next_offset, reply_offset, disk_bytes;
  uint8_t header[16];
  size_t header_bytes, payload_left;
};

static struct board boards[BOARDS_MAX];
static int board_count, over_count;
static struct ask asks[ASKS_MAX];
static int ask_count;
static char device[IFNAMSIZ];
static uint64_t disk_bytes = 64 << 20, request_bytes = 128 << 10, depth = 4;
static char verify_folder[256];
static struct content image;
static int poller, dhcp_socket;
static unsigned long resends;

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static struct content map_file(const char *path) {
  int descriptor = open(path, O_RDONLY);
  struct stat facts;
  if (descriptor < 0 || fstat(descriptor, &facts) < 0) die("%s: %s", path, strerror(errno));
  if (facts.st_size == 0) return (struct content){(const uint8_t *)"", 0};
  void *bytes = mmap(NULL, facts.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (bytes == MAP_FAILED) die("%s: %s", path, strerror(errno));
  close(descriptor);
  return (struct content){bytes, facts.st_size};
}

static int opened_socket(int kind, const struct board *board) {
  int descriptor = socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = board->address};
  if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&local, sizeof local) < 0)
    die("%s: a socket at %s: %s", board->serial, inet_ntoa(board->address), strerror(errno));
  return descriptor;
}

static void poll_for(struct board *board, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data.ptr = board};
  if (epoll_ctl(poller, operation, board->descriptor, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}

static struct sockaddr_in server_of(const struct board *board, int port) {
  return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = board->server};
}

/* ---- DHCP ---- */

static void open_dhcp(void) {
  dhcp_socket = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int yes = 1;
  struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(DHCP_CLIENT_PORT)};
  if (setsockopt(dhcp_socket, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) < 0 ||
      setsockopt(dhcp_socket, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device)) < 0 ||
      bind(dhcp_socket, (struct sockaddr *)&local, sizeof local) < 0)
    die("port 68 on %s: %s", device, strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poller, EPOLL_CTL_ADD, dhcp_socket, &event);
}

static void discover(struct board *board) {
  struct sockaddr_in everybody = {.sin_family = AF_INET, .sin_port = htons(DHCP_SERVER_PORT), .sin_addr.s_addr = INADDR_BROADCAST};
  if (sendto(dhcp_socket, board->discover, board->discover_bytes, 0, (struct sockaddr *)&everybody, sizeof everybody) < 0)
    die("DISCOVER: %s", strerror(errno));
  board->said_s = now_s();
}

static void next_ask(struct board *board);

/* What a Pi looks for in an OFFER: its own xid and the words "Raspberry Pi Boot" in option 43. */
static void hear_dhcp(void) {
  uint8_t packet[1500];
  struct sockaddr_in source;
  for (;;) {
    socklen_t source_bytes = sizeof source;
    ssize_t size = recvfrom(dhcp_socket, packet, sizeof packet, 0, (struct sockaddr *)&source, &source_bytes);
    if (size < 0) return;
    if (size < 240 || packet[0] != 2 || memmem(packet + 240, size - 240, "Raspberry Pi Boot", 17) == NULL) continue;
    for (int index = 0; index < board_count; index += 1) {
      struct board *board = &boards[index];
      if (board->stage != SEEKING || memcmp(board->discover + 4, packet + 4, 4) != 0) continue;
      board->server = source.sin_addr;
      board->offered_s = board->heard_s = now_s();
      board->stage = FILES;
      board->ask = -1;
      next_ask(board);
    }
  }
}

/* ---- TFTP ---- */

static void request(struct board *board) {
  char packet[256];
  int size = snprintf(packet, sizeof packet, "%c%c%s/%s%coctet%ctsize%c0%cblksize%c%d", 0, RRQ, board->serial,
                      asks[board->ask].path, 0, 0, 0, 0, 0, BLOCK_BYTES);
  struct sockaddr_in server = server_of(board, TFTP_PORT);
  sendto(board->descriptor, packet, size + 1, 0, (struct sockaddr *)&server, sizeof server);
  board->said_s = now_s();
}

static void acknowledge(struct board *board) {
  uint8_t packet[4] = {0, ACK, board->last_block >> 8, board->last_block & 0xff};
  send(board->descriptor, packet, sizeof packet, 0);
  board->said_s = now_s();
}

static void attach(struct board *board);

static void next_ask(struct board *board) {
  if (board->ask >= 0) close(board->descriptor);
  board->ask += 1;
  if (board->ask == ask_count) {
    board->files_s = now_s();
    attach(board);
    return;
  }
  board->transfer_bytes = board->last_block = 0;
  board->answered = false;
  board->descriptor = opened_socket(SOCK_DGRAM, board);
  poll_for(board, EPOLLIN, EPOLL_CTL_ADD);
  request(board);
}

static void take_data(struct board *board, const uint8_t *payload, size_t size) {
  const struct ask *ask = &asks[board->ask];
  bool is_cmdline = strcmp(ask->path, "cmdline.txt") == 0;
  if (is_cmdline) {
    if (board->transfer_bytes + size >= sizeof board->cmdline) die("%s: cmdline.txt is too long", board->serial);
    memcpy(board->cmdline + board->transfer_bytes, payload, size);
    board->cmdline[board->transfer_bytes + size] = 0;
  } else if (ask->expected.bytes != NULL) {
    bool end = size < BLOCK_BYTES;
    if (board->transfer_bytes + size > ask->expected.size || (end && board->transfer_bytes + size != ask->expected.size) ||
        memcmp(payload, ask->expected.bytes + board->transfer_bytes, size) != 0)
      die("%s: %s is not what it should be", board->serial, ask->path);
  }
  board->transfer_bytes += size;
}

static void hear_tftp(struct board *board) {
  uint8_t packet[2048];
  struct sockaddr_in source;
  socklen_t source_bytes = sizeof source;
  ssize_t size = recvfrom(board->descriptor, packet, sizeof packet, 0, (struct sockaddr *)&source, &source_bytes);
  if (size < 4) return;
  board->heard_s = now_s();
  const struct ask *ask = &asks[board->ask];
  if (!board->answered) {
    connect(board->descriptor, (struct sockaddr *)&source, sizeof source);
    board->answered = true;
  }
  int block = packet[2] << 8 | packet[3];
  switch (packet[1]) {
  case ERROR: /* not there */
    next_ask(board);
    return;
  case OACK:
    if (ask->whole) {
      acknowledge(board);
    } else {
      static const char abort[] = "\0\5\0\0Early terminate";
      send(board->descriptor, abort, sizeof abort, 0);
      next_ask(board);
    }
    return;
  case DATA:
    if (block != (uint16_t)(board->last_block + 1)) return;
    take_data(board, packet + 4, size - 4);
    board->last_block = block;
    acknowledge(board);
    if (size - 4 < BLOCK_BYTES) {
      board->file_bytes += board->transfer_bytes;
      next_ask(board);
    }
    return;
  }
}

/* ---- NBD ---- */

static void attach(struct board *board) {
  char address[64];
  const char *root = strstr(board->cmdline, "nbdroot=");
  if (root == NULL || sscanf(root, "nbdroot=%63[0-9.]/", address) != 1 || inet_aton(address, &board->server) == 0)
    die("%s: no nbdroot=ADDRESS/NAME in \"%s\"", board->serial, board->cmdline);
  board->descriptor = opened_socket(SOCK_STREAM, board);
  int yes = 1;
  setsockopt(board->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct sockaddr_in server = server_of(board, NBD_PORT);
  if (connect(board->descriptor, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
    die("%s: NBD at %s: %s", board->serial, address, strerror(errno));
  board->stage = CONNECTING;
  board->said_s = now_s();
  poll_for(board, EPOLLOUT, EPOLL_CTL_ADD);
}

/* nbd-server listens with room for ten. Where more come at once, SYN cookies make connections of which it never hears, and as
   it speaks first its client would wait for ever: what nobody greets is tried again. */
static void attach_again(struct board *board) {
  close(board->descriptor);
  attach(board);
}

static void write_all(struct board *board, const void *bytes, size_t size) {
  if (send(board->descriptor, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
    die("%s: NBD, sending: %s", board->serial, strerror(errno)); /* some bytes into an empty socket */
}

static void connected(struct board *board) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(board->descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) die("%s: NBD, connecting: %s", board->serial, strerror(error));
  board->stage = NEGOTIATING;
  poll_for(board, EPOLLIN, EPOLL_CTL_MOD);
}

/* proto.md: client flags FIXED_NEWSTYLE and NO_ZEROES, then GO with the export's name and no information requests. */
static void say_go(struct board *board) {
  char name[65];
  if (sscanf(strstr(board->cmdline, "nbdroot="), "nbdroot=%*[0-9.]/%64[^ \r\n]", name) != 1)
    die("%s: no export in \"%s\"", board->serial, board->cmdline);
  uint32_t name_bytes = strlen(name);
  uint8_t option[128];
  uint32_t flags = htobe32(3), go = htobe32(7), option_bytes = htobe32(4 + name_bytes + 2), length = htobe32(name_bytes);
  uint16_t no_requests = 0;
  memcpy(option, &flags, 4);
  memcpy(option + 4, "IHAVEOPT", 8);
  memcpy(option + 12, &go, 4);
  memcpy(option + 16, &option_bytes, 4);
  memcpy(option + 20, &length, 4);
  memcpy(option + 24, name, name_bytes);
  memcpy(option + 24 + name_bytes, &no_requests, 2);
  write_all(board, option, 26 + name_bytes);
}

static void ask_disk(struct board *board) {
  uint8_t packet[28] = {0};
  uint32_t magic = htobe32(0x25609513), length = htobe32(request_bytes);
  uint64_t offset = htobe64(board->next_offset);
  memcpy(packet, &magic, 4);
  memcpy(packet + 8, &offset, 8); /* the cookie: replies may come in any order */
  memcpy(packet + 16, &offset, 8);
  memcpy(packet + 24, &length, 4);
  write_all(board, packet, sizeof packet);
  board->next_offset += request_bytes;
}

static void negotiate(struct board *board) {
  ssize_t size = recv(board->descriptor, board->negotiation + board->negotiation_bytes,
                      sizeof board->negotiation - board->negotiation_bytes, 0);
  if (size <= 0) die("%s: NBD, negotiating: %s", board->serial, size == 0 ? "closed" : strerror(errno));
  bool greeted = board->negotiation_bytes >= 18;
  board->negotiation_bytes += size;
  if (!greeted && board->negotiation_bytes >= 18) say_go(board);
  for (size_t at = 18; at + 20 <= board->negotiation_bytes;) {
    uint32_t kind, length;
    memcpy(&kind, board->negotiation + at + 12, 4);
    memcpy(&length, board->negotiation + at + 16, 4);
    if (be32toh(kind) >= 0x80000000) die("%s: NBD refuses: %#x", board->serial, be32toh(kind));
    at += 20 + be32toh(length);
    if (be32toh(kind) != 1) continue;
    board->stage = READING;
    for (uint64_t index = 0; index < depth && board->next_offset < disk_bytes; index += 1) ask_disk(board);
    return;
  }
}

/* The image is the same for all but for the four bytes of its disk signature, which are the board's serial. */
static void verify_disk(const struct board *board, uint64_t offset, const uint8_t *bytes, size_t size) {
  enum { SIGNATURE = 440, TABLE_BYTES = 512 };
  if (offset < TABLE_BYTES) {
    uint32_t expected = htole32(strtoul(board->serial, NULL, 16));
    if (offset == 0 && size >= TABLE_BYTES && memcmp(bytes + SIGNATURE, &expected, 4) != 0)
      die("%s: this is the disk of another board", board->serial);
    size_t skipped = size < TABLE_BYTES - offset ? size : TABLE_BYTES - offset;
    bytes += skipped, offset += skipped, size -= skipped;
  }
  if (memcmp(bytes, image.bytes + offset, size) != 0) die("%s: disk differs behind %lu", board->serial, offset);
}

static void take_reply(struct board *board) {
  uint32_t magic, error;
  memcpy(&magic, board->header, 4);
  memcpy(&error, board->header + 4, 4);
  memcpy(&board->reply_offset, board->header + 8, 8);
  board->reply_offset = be64toh(board->reply_offset);
  if (be32toh(magic) != 0x67446698 || error != 0) die("%s: NBD, error %u", board->serial, be32toh(error));
  board->payload_left = request_bytes;
  board->header_bytes = 0;
}

static void read_disk(struct board *board) {
  static uint8_t buffer[512 << 10];
  ssize_t size = recv(board->descriptor, buffer, sizeof buffer, 0);
  if (size == 0) die("%s: NBD, closed", board->serial);
  if (size < 0 && errno == EAGAIN) return;
  if (size < 0) die("%s: NBD, reading: %s", board->serial, strerror(errno));
  board->heard_s = now_s();
  for (ssize_t at = 0; at < size;) {
    if (board->payload_left > 0) {
      size_t part = size - at < (ssize_t)board->payload_left ? (size_t)(size - at) : board->payload_left;
      if (image.bytes != NULL) verify_disk(board, board->reply_offset, buffer + at, part);
      board->reply_offset += part;
      board->payload_left -= part;
      board->disk_bytes += part;
      at += part;
      if (board->payload_left == 0 && board->next_offset < disk_bytes) ask_disk(board);
      continue;
    }
    board->header[board->header_bytes++] = buffer[at++];
    if (board->header_bytes == sizeof board->header) take_reply(board);
  }
  if (board->disk_bytes < disk_bytes) return;
  board->disk_s = now_s();
  board->stage = OVER;
  over_count += 1;
  epoll_ctl(poller, EPOLL_CTL_DEL, board->descriptor, NULL);
}

/* ---- all of them ---- */

static void handle(struct board *board) {
  switch (board->stage) {
  case SEEKING: return;
  case FILES: hear_tftp(board); return;
  case CONNECTING: connected(board); return;
  case NEGOTIATING: negotiate(board); return;
  case READING: read_disk(board); return;
  case OVER: return;
  }
}

static void look_at_clock(struct board *board, double now) {
  if (board->stage == OVER) return;
  if (now - board->heard_s > PATIENCE_S) die("%s: nothing for %d s in stage %d, ask %d", board->serial, PATIENCE_S, board->stage, board->ask);
  bool waits = board->stage < NEGOTIATING || (board->stage == NEGOTIATING && board->negotiation_bytes == 0);
  if (!waits || now - board->said_s < RESEND_S) return;
  resends += 1;
  if (board->stage > FILES) attach_again(board);
  else if (board->stage == SEEKING) discover(board);
  else if (board->answered) acknowledge(board);
  else request(board);
}

static void add_ask(bool whole, const char *path) {
  if (ask_count == ASKS_MAX) die("too many files");
  struct ask *ask = &asks[ask_count++];
  ask->whole = whole;
  snprintf(ask->path, sizeof ask->path, "%s", path);
}

static void add_board(const char *serial, const char *address, const char *hexadecimal) {
  if (board_count == BOARDS_MAX) die("too many boards");
  struct board *board = &boards[board_count++];
  snprintf(board->serial, sizeof board->serial, "%s", serial);
  inet_aton(address, &board->address);
  for (; sscanf(hexadecimal, "%2hhx", &board->discover[board->discover_bytes]) == 1; hexadecimal += 2) board->discover_bytes += 1;
}

static void read_plan(void) {
  char line[4096], serial[17], first[256], second[2048], image_path[256];
  while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "go\n") != 0) {
    if (sscanf(line, "device %15s", device) == 1) continue;
    if (sscanf(line, "disk %lu %lu %lu", &disk_bytes, &request_bytes, &depth) == 3) continue;
    if (sscanf(line, "verify %255s %255s", verify_folder, image_path) == 2) image = map_file(image_path);
    else if (sscanf(line, "probe %127s", first) == 1) add_ask(false, first);
    else if (sscanf(line, "read %127s", first) == 1) add_ask(true, first);
    else if (sscanf(line, "board %16s %255s %2047s", serial, first, second) == 3) add_board(serial, first, second);
    else die("not understood: %s", line);
  }
  if (disk_bytes % request_bytes != 0) die("the disk's bytes are not a number of requests");
  for (int index = 0; verify_folder[0] != 0 && index < ask_count; index += 1) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", verify_folder, asks[index].path);
    if (asks[index].whole) asks[index].expected = map_file(path);
  }
}

int main(void) {
  read_plan();
  poller = epoll_create1(EPOLL_CLOEXEC);
  open_dhcp();
  double start_s = now_s();
  for (int index = 0; index < board_count; index += 1) {
    boards[index].heard_s = start_s;
    discover(&boards[index]);
  }
  double looked_s = start_s;
  while (over_count < board_count) {
    struct epoll_event events[BOARDS_MAX];
    int count = epoll_wait(poller, events, BOARDS_MAX, 200);
    for (int index = 0; index < count; index += 1) {
      if (events[index].data.ptr == NULL) hear_dhcp();
      else handle(events[index].data.ptr);
    }
    double now = now_s();
    if (now - looked_s < 0.2) continue;
    looked_s = now;
    for (int index = 0; index < board_count; index += 1) look_at_clock(&boards[index], now);
  }
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  for (int index = 0; index < board_count; index += 1) {
    const struct board *board = &boards[index];
    printf("board %s %.6f %.6f %.6f %lu\n", board->serial, board->offered_s - start_s, board->files_s - start_s,
           board->disk_s - start_s, board->file_bytes);
  }
  printf("load %.6f %lu\n", usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6, resends);
  fflush(stdout);
  while (getchar() != EOF) {
  }
  return 0;
}
