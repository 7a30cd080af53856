/*
 * A load of NBD clients, for `npm run bench:nbd`: CONNECTIONS of them keep DEPTH requests under way each, for SECONDS, in one
 * process that waits by epoll. Simple replies, as the Linux kernel has them. The disk is to hold, at every multiple of eight
 * bytes, that offset (little-endian): writes write it again, and of every read the first and the last eight bytes are looked
 * at. Then what is under way is waited for, and each connection says DISC and waits for its end: a server that is left with
 * requests would work on them in the next one's time (and nbdkit 1.32 aborts). Prints one line of JSON:
 *
 *   seconds      as measured, the last replies not included
 *   operations   answered within them (a write and its flush count as one)
 *   bytes        read and written by those
 *   p50, p99     microseconds from a request to the end of its reply
 *   load         CPU seconds of this process within the same time
 *
 *   load ADDRESS PORT EXPORT CONNECTIONS DEPTH read|write|flushed|readseq|writeseq|mixed BLOCK SECONDS FIRST_BYTE END_BYTE SEED
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CMD_READ = 0, CMD_WRITE = 1, CMD_DISC = 2, CMD_FLUSH = 3 };
enum { HAS_FLAGS = 1, READ_ONLY = 2, SEND_FLUSH = 4 }; /* transmission flags */
enum { REQUEST_BYTES = 28, REPLY_BYTES = 16 };
enum { DEPTH_MAX = 256, IN_BYTES = 1 << 18, HISTOGRAM = 1 << 20, SILENCE_MS = 20000 };

struct slot {
  int command;
  uint64_t offset;
  double asked_at;
};

struct connection {
  int fd;
  uint64_t next; /* of a sequential load */
  struct slot slots[DEPTH_MAX];
  char *in;
  size_t in_start, in_end, in_room;
  char *out;
  size_t out_start, out_end, out_room;
  uint32_t awaited; /* events that epoll was told of */
};

static int depth, connections;
static uint32_t block;
static uint64_t first_byte, blocks;
static int sequential, flushed, write_percent;
static uint64_t random_state;
static uint32_t histogram[HISTOGRAM];
static uint64_t operations, under_way;
static int over; /* what comes now is neither counted nor asked for again */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static double used(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

static uint64_t any(void) { /* xorshift64* */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 2685821657736338717ULL;
}

static void exactly(int fd, void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = read(fd, (char *)bytes + done, length - done);
    if (n <= 0) errx(1, "the server closed the connection in the handshake");
    done += n;
  }
}

static void whole(int fd, const void *bytes, size_t length) {
  if (send(fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) err(1, "send");
}

/* EXPORT_NAME: the shortest way in, and every server has it. */
static void handshake(int fd, const char *name, uint64_t end_byte) {
  char greeting[18], header[16], facts[10];
  uint32_t client_flags = htobe32(3), option = htobe32(1), length = htobe32(strlen(name));
  uint64_t size_bytes;
  uint16_t flags;
  exactly(fd, greeting, sizeof greeting);
  if (memcmp(greeting, "NBDMAGICIHAVEOPT", 16) != 0) errx(1, "no NBD server, or an old one");
  memcpy(header, "IHAVEOPT", 8);
  memcpy(header + 8, &option, 4);
  memcpy(header + 12, &length, 4);
  whole(fd, &client_flags, 4);
  whole(fd, header, sizeof header);
  whole(fd, name, strlen(name));
  exactly(fd, facts, sizeof facts);
  memcpy(&size_bytes, facts, 8);
  memcpy(&flags, facts + 8, 2);
  flags = be16toh(flags);
  if (be64toh(size_bytes) < end_byte) errx(1, "the disk has only %llu bytes", (unsigned long long)be64toh(size_bytes));
  if (!(flags & HAS_FLAGS) || (write_percent > 0 && flags & READ_ONLY)) errx(1, "the disk is read-only");
  if (flushed && !(flags & SEND_FLUSH)) errx(1, "the server has no flush");
}

static void append(struct connection *c, const void *bytes, size_t length) {
  if (c->out_end + length > c->out_room) errx(1, "no room for requests");
  memcpy(c->out + c->out_end, bytes, length);
  c->out_end += length;
}

static void say(struct connection *c, int index, int command, uint64_t offset, uint32_t length) {
  char header[REQUEST_BYTES];
  uint32_t magic = htobe32(0x25609513), length_be = htobe32(length);
  uint16_t flags = 0, command_be = htobe16(command);
  uint64_t cookie = index, offset_be = htobe64(offset);
  memcpy(header, &magic, 4);
  memcpy(header + 4, &flags, 2);
  memcpy(header + 6, &command_be, 2);
  memcpy(header + 8, &cookie, 8);
  memcpy(header + 16, &offset_be, 8);
  memcpy(header + 24, &length_be, 4);
  append(c, header, sizeof header);
}

static void payload(struct connection *c, uint64_t offset) {
  if (c->out_end + block > c->out_room) errx(1, "no room for a payload");
  char *at = c->out + c->out_end;
  for (uint32_t i = 0; i < block; i += 8) {
    uint64_t word = htole64(offset + i);
    memcpy(at + i, &word, 8);
  }
  c->out_end += block;
}

static void ask(struct connection *c, int index) {
  struct slot *s = &c->slots[index];
  int writes = write_percent > 0 && any() % 100 < (uint64_t)write_percent;
  uint64_t number = sequential ? c->next++ % blocks : any() % blocks;
  s->command = writes ? CMD_WRITE : CMD_READ;
  s->offset = first_byte + number * block;
  s->asked_at = now();
  say(c, index, s->command, s->offset, block);
  if (writes) payload(c, s->offset);
  under_way++;
}

static void finished(struct connection *c, int index) {
  struct slot *s = &c->slots[index];
  if (s->command == CMD_WRITE && flushed) {
    s->command = CMD_FLUSH;
    say(c, index, CMD_FLUSH, 0, 0);
    return;
  }
  under_way--;
  if (over) return;
  uint32_t us = (now() - s->asked_at) * 1e6;
  histogram[us < HISTOGRAM ? us : HISTOGRAM - 1]++;
  operations++;
  ask(c, index);
}

static void expect_word(const char *at, uint64_t value) {
  uint64_t word;
  memcpy(&word, at, 8);
  if (le64toh(word) != value) errx(1, "wrong bytes at %llu: %llu", (unsigned long long)value, (unsigned long long)le64toh(word));
}

/* Replies that are here whole; a payload is looked at where it begins and where it ends. */
static void take(struct connection *c) {
  for (;;) {
    size_t here = c->in_end - c->in_start;
    char *at = c->in + c->in_start;
    if (here < REPLY_BYTES) return;
    uint32_t magic, error;
    uint64_t cookie;
    memcpy(&magic, at, 4);
    memcpy(&error, at + 4, 4);
    memcpy(&cookie, at + 8, 8);
    if (be32toh(magic) != 0x67446698) errx(1, "no reply: %08x", be32toh(magic));
    if (error != 0) errx(1, "error %u", be32toh(error));
    if (cookie >= (uint64_t)depth) errx(1, "a reply to nobody");
    struct slot *s = &c->slots[cookie];
    size_t length = REPLY_BYTES + (s->command == CMD_READ ? block : 0);
    if (here < length) return;
    if (s->command == CMD_READ) {
      expect_word(at + REPLY_BYTES, s->offset);
      expect_word(at + length - 8, s->offset + block - 8);
    }
    c->in_start += length;
    finished(c, cookie);
  }
}

static void send_out(struct connection *c, int poll) {
  while (c->out_start < c->out_end) {
    ssize_t n = send(c->fd, c->out + c->out_start, c->out_end - c->out_start, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) err(1, "send");
    c->out_start += n;
  }
  int full = c->out_start < c->out_end;
  if (!full) c->out_start = c->out_end = 0;
  else if (c->out_start > c->out_room / 2) {
    memmove(c->out, c->out + c->out_start, c->out_end - c->out_start);
    c->out_end -= c->out_start;
    c->out_start = 0;
  }
  uint32_t wanted = EPOLLIN | (full ? EPOLLOUT : 0);
  if (c->awaited == wanted) return;
  struct epoll_event e = {.events = wanted, .data.ptr = c};
  if (epoll_ctl(poll, c->awaited == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &e) < 0) err(1, "epoll_ctl");
  c->awaited = wanted;
}

/* What is there of a reply is moved only where another whole one would not fit behind it. */
static void receive(struct connection *c) {
  if (c->in_start == c->in_end) c->in_start = c->in_end = 0;
  if (c->in_room - c->in_end < REPLY_BYTES + block) {
    memmove(c->in, c->in + c->in_start, c->in_end - c->in_start);
    c->in_end -= c->in_start;
    c->in_start = 0;
  }
  ssize_t n = recv(c->fd, c->in + c->in_end, c->in_room - c->in_end, 0);
  if (n == 0) errx(1, "the server closed the connection");
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0) err(1, "recv");
  c->in_end += n;
  take(c);
}

static struct connection *connected(const char *address, int port, const char *name, int number, uint64_t end_byte) {
  struct connection *c = calloc(1, sizeof *c);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  int one = 1;
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) errx(2, "%s is no address", address);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0) err(1, "connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  handshake(c->fd, name, end_byte);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->in_room = IN_BYTES + 2 * (REPLY_BYTES + (size_t)block);
  c->in = malloc(c->in_room);
  c->out_room = 2 * (size_t)depth * (REQUEST_BYTES + (size_t)block) + 64; /* send_out() moves what is unsent in the latter half */
  c->out = malloc(c->out_room);
  if (c->in == NULL || c->out == NULL) err(1, "malloc");
  c->next = blocks / connections * number;
  return c;
}

/* Whatever a server does for a connection that ends, it has done when it closes its end. */
static void leave(struct connection *c) {
  char rest[64];
  fcntl(c->fd, F_SETFL, 0);
  c->out_start = c->out_end = 0;
  say(c, 0, CMD_DISC, 0, 0);
  whole(c->fd, c->out, c->out_end);
  while (recv(c->fd, rest, sizeof rest, 0) > 0);
  close(c->fd);
}

/* One wait for events, and what they bring. */
static void turn(int poll) {
  struct epoll_event events[64];
  int ready = epoll_wait(poll, events, 64, SILENCE_MS);
  if (ready < 0 && errno != EINTR) err(1, "epoll_wait");
  if (ready == 0) errx(1, "no reply for %d s", SILENCE_MS / 1000);
  for (int i = 0; i < ready; i++) {
    struct connection *c = events[i].data.ptr;
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
    send_out(c, poll);
  }
}

static double percentile(double share) {
  uint64_t seen = 0;
  for (int us = 0; us < HISTOGRAM; us++)
    if ((seen += histogram[us]) >= share * operations) return us;
  return HISTOGRAM;
}

static void understand(const char *mode) {
  sequential = strcmp(mode, "readseq") == 0 || strcmp(mode, "writeseq") == 0;
  flushed = strcmp(mode, "flushed") == 0;
  if (strcmp(mode, "read") == 0 || strcmp(mode, "readseq") == 0) write_percent = 0;
  else if (strcmp(mode, "write") == 0 || strcmp(mode, "writeseq") == 0 || flushed) write_percent = 100;
  else if (strcmp(mode, "mixed") == 0) write_percent = 30;
  else errx(2, "%s is no load", mode);
}

int main(int count, char **words) {
  if (count != 12) errx(2, "see the head of load.c");
  connections = atoi(words[4]), depth = atoi(words[5]), block = atoi(words[7]);
  understand(words[6]);
  double patience = atof(words[8]);
  uint64_t end_byte = strtoull(words[10], NULL, 10);
  first_byte = strtoull(words[9], NULL, 10);
  random_state = strtoull(words[11], NULL, 10) * 0x9e3779b97f4a7c15ULL | 1;
  if (connections < 1 || depth < 1 || depth > DEPTH_MAX) errx(2, "connections from 1, depth from 1 to %d", DEPTH_MAX);
  if (block < 8 || block % 8 != 0 || first_byte % 8 != 0) errx(2, "blocks and the first byte are multiples of 8");
  if (end_byte < first_byte + block) errx(2, "not one block from the first byte to the end");
  blocks = (end_byte - first_byte) / block;
  int poll = epoll_create1(0);
  struct connection **all = calloc(connections, sizeof *all);
  for (int i = 0; i < connections; i++) all[i] = connected(words[1], atoi(words[2]), words[3], i, end_byte);
  double begin = now(), used_before = used();
  for (int i = 0; i < connections; i++) {
    for (int s = 0; s < depth; s++) ask(all[i], s);
    send_out(all[i], poll);
  }
  while (now() - begin < patience) turn(poll);
  double seconds = now() - begin, load = used() - used_before;
  over = 1;
  while (under_way > 0) turn(poll);
  for (int i = 0; i < connections; i++) leave(all[i]);
  printf("{\"seconds\":%.3f,\"operations\":%llu,\"bytes\":%llu,\"p50\":%.0f,\"p99\":%.0f,\"load\":%.3f}\n", seconds,
         (unsigned long long)operations, (unsigned long long)(operations * block), percentile(0.5), percentile(0.99), load);
  return 0;
}
