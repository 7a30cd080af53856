/*
 * A load of TFTP clients, for `npm run bench:tftp`: CLIENTS of them read FILE at once, each from a port of its own, in one
 * process that waits by epoll. Every block is compared with the same file on this machine. Prints one line of JSON:
 *
 *   seconds      from the first RRQ to the last block
 *   bytes        of the file, all clients together
 *   turnaround   microseconds from an ACK to the first block that it asks for: median and 99th percentile
 *   load         CPU seconds of this process
 *   resends      ACKs and RRQs said twice, because nothing came for RESEND_MS
 *
 *   load ADDRESS PORT PATH FILE CLIENTS BLKSIZE WINDOWSIZE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OP_RRQ = 1, OP_DATA = 3, OP_ACK = 4, OP_ERROR = 5, OP_OACK = 6, RESEND_MS = 1000, PATIENCE_MS = 20000 };

struct client {
  int fd;
  struct sockaddr_in server; /* the main port, then the transfer's own */
  int answered;              /* its own port is known */
  uint32_t received;         /* blocks, without end */
  uint32_t acked;
  int done;
  double said_at; /* when the last RRQ or ACK went out */
  int turnaround_due;
};

static struct sockaddr_in main_port;
static const char *path;
static int block_size, window;
static const unsigned char *content;
static size_t content_size;
static float *turnarounds;
static size_t turnaround_count, turnaround_room;
static long resends;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void say(struct client *c, const void *packet, size_t length) {
  c->said_at = now();
  c->turnaround_due = 1;
  if (sendto(c->fd, packet, length, 0, (struct sockaddr *)&c->server, sizeof c->server) < 0 && errno != EAGAIN) err(1, "sendto");
}

static size_t put(char *at, const char *text) {
  strcpy(at, text);
  return strlen(text) + 1;
}

static void say_request(struct client *c) {
  char p[600] = {0, OP_RRQ}, number[16];
  size_t n = 2;
  n += put(p + n, path);
  n += put(p + n, "octet");
  n += put(p + n, "tsize");
  n += put(p + n, "0");
  n += put(p + n, "blksize");
  sprintf(number, "%d", block_size);
  n += put(p + n, number);
  if (window > 1) {
    n += put(p + n, "windowsize");
    sprintf(number, "%d", window);
    n += put(p + n, number);
  }
  say(c, p, n);
}

static void say_ack(struct client *c) {
  unsigned char p[4] = {0, OP_ACK, (c->received >> 8) & 0xff, c->received & 0xff};
  c->acked = c->received;
  say(c, p, sizeof p);
}

static void note_turnaround(struct client *c) {
  if (!c->turnaround_due) return;
  c->turnaround_due = 0;
  if (turnaround_count == turnaround_room) {
    turnaround_room = turnaround_room ? 2 * turnaround_room : 1 << 16;
    turnarounds = realloc(turnarounds, turnaround_room * sizeof *turnarounds);
    if (!turnarounds) err(1, "realloc");
  }
  turnarounds[turnaround_count++] = now() - c->said_at;
}

/* An option that the server does not know would make the figures those of something else. */
static void check_option_ack(const char *p, const char *end) {
  int seen_block_size = 0, seen_window = window == 1;
  while (p < end) {
    const char *value = p + strlen(p) + 1;
    if (value >= end) break;
    if (!strcasecmp(p, "blksize")) seen_block_size = atoi(value) == block_size;
    if (!strcasecmp(p, "windowsize")) seen_window = atoi(value) == window;
    p = value + strlen(value) + 1;
  }
  if (!seen_block_size || !seen_window) errx(1, "the server did not acknowledge blksize %d, windowsize %d", block_size, window);
}

static void heard_data(struct client *c, const unsigned char *p, size_t length) {
  uint32_t ahead = (((p[2] << 8) | p[3]) - c->received) & 0xffff;
  if (ahead != 1) {
    /* A block is missing, or came twice: in a window the server is told once what is the last in order. */
    if (window > 1 && ahead > 1 && ahead < 0x8000 && c->acked != c->received) say_ack(c);
    return;
  }
  size_t offset = (size_t)c->received * block_size, size = length - 4;
  if (offset + size > content_size || memcmp(p + 4, content + offset, size)) errx(1, "block %u differs", c->received + 1);
  note_turnaround(c);
  c->received++;
  c->done = (int)size < block_size;
  if (c->done && offset + size != content_size) errx(1, "%zu bytes came of %zu", offset + size, content_size);
  if (c->done || c->received - c->acked >= (uint32_t)window) say_ack(c);
}

static void heard(struct client *c) {
  static unsigned char p[65536];
  struct sockaddr_in from;
  while (!c->done) {
    socklen_t from_length = sizeof from;
    ssize_t length = recvfrom(c->fd, p, sizeof p, MSG_DONTWAIT, (struct sockaddr *)&from, &from_length);
    if (length < 0 && errno == EAGAIN) return;
    if (length < 4) err(1, "recvfrom");
    if (c->answered && from.sin_port != c->server.sin_port) continue;
    c->server = from;
    c->answered = 1;
    if (p[1] == OP_ERROR) errx(1, "ERROR %d: %.*s", p[3], (int)length - 4, p + 4);
    if (p[1] == OP_OACK && c->received == 0) {
      check_option_ack((char *)p + 2, (char *)p + length);
      say_ack(c);
    }
    if (p[1] == OP_DATA) heard_data(c, p, length);
  }
}

static void say_again_what_is_late(struct client *clients, int count) {
  double late = now() - RESEND_MS / 1e3, hopeless = now() - PATIENCE_MS / 1e3;
  static double last_news;
  static uint64_t last_total;
  uint64_t total = 0;
  for (int i = 0; i < count; i++) {
    struct client *c = &clients[i];
    total += c->received;
    if (c->done || c->said_at > late) continue;
    resends++;
    if (c->answered) say_ack(c);
    else say_request(c);
    c->turnaround_due = 0;
  }
  if (total != last_total || last_news == 0) last_news = now();
  last_total = total;
  if (last_news < hopeless) errx(1, "nothing came for %d s", PATIENCE_MS / 1000);
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

static void read_whole(const char *file) {
  struct stat status;
  int fd = open(file, O_RDONLY);
  if (fd < 0 || fstat(fd, &status) < 0) err(1, "%s", file);
  content_size = status.st_size;
  content = mmap(NULL, content_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (content == MAP_FAILED) err(1, "mmap");
}

static void open_client(struct client *c, int poll) {
  int room = 4 << 20;
  c->fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (c->fd < 0) err(1, "socket");
  setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  c->server = main_port;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event) < 0) err(1, "epoll_ctl");
  say_request(c);
}

static void print_result(double seconds, int clients) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double load = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  qsort(turnarounds, turnaround_count, sizeof *turnarounds, by_value);
  printf("{\"seconds\":%.6f,\"bytes\":%zu,\"turnaroundMedianUs\":%.1f,\"turnaround99Us\":%.1f,\"loadSeconds\":%.3f,\"resends\":%ld}\n",
         seconds, content_size * clients, turnarounds[turnaround_count / 2] * 1e6,
         turnarounds[(size_t)(turnaround_count * 0.99)] * 1e6, load, resends);
}

int main(int argc, char **argv) {
  if (argc != 8) errx(2, "load ADDRESS PORT PATH FILE CLIENTS BLKSIZE WINDOWSIZE");
  main_port.sin_family = AF_INET;
  if (!inet_aton(argv[1], &main_port.sin_addr)) errx(2, "%s is no address", argv[1]);
  main_port.sin_port = htons(atoi(argv[2]));
  path = argv[3];
  read_whole(argv[4]);
  int count = atoi(argv[5]);
  block_size = atoi(argv[6]);
  window = atoi(argv[7]);
  if (strlen(path) > 400 || count < 1 || block_size < 8 || window < 1) errx(2, "a number or the path is out of range");

  struct client *clients = calloc(count, sizeof *clients);
  int poll = epoll_create1(0), left = count;
  double began_at = now();
  for (int i = 0; i < count; i++) open_client(&clients[i], poll);
  double looked_at = began_at;
  while (left > 0) {
    struct epoll_event events[64];
    int ready = epoll_wait(poll, events, 64, RESEND_MS / 4);
    for (int i = 0; i < ready; i++) {
      struct client *c = events[i].data.ptr;
      if (c->done) continue;
      heard(c);
      if (!c->done) continue;
      left--;
      epoll_ctl(poll, EPOLL_CTL_DEL, c->fd, NULL);
    }
    if (now() - looked_at < RESEND_MS / 4e3) continue;
    looked_at = now();
    say_again_what_is_late(clients, count);
  }
  print_result(now() - began_at, count);
  return 0;
}
