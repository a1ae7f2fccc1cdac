// Load for a running server: `load posts` measures sending and delivery, `load streams` idle streams and a broadcast.
// Prints one line of key=value; exit status 0 when nothing went wrong, 1 when something did, 2 for wrong usage.
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

// 60 bytes; `single_message.pgbench` sends as many.
static const char message[] = "How long does delivery take, and may I pay at the door then?";
char run_prefix[25];

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(2);
}

void complain(const char *format, ...) {
    static int said;
    if (said++ == 10) fputs("load: (more of the same is not printed)\n", stderr);
    if (said > 10) return;
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

void watch(struct load *load, struct connection *c, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(load->epoll, operation, c->fd, &event) < 0) die("epoll_ctl: %s", strerror(errno));
}

// ── Targets

/// A word that can stand in a URL and in a header as it is.
static bool plain(const char *word) {
    for (; *word; word++)
        if (!isalnum((unsigned char)*word) && *word != '-' && *word != '_') return false;
    return true;
}

static void make_request(struct load *load, struct target *target) {
    char body[256], request[1024];
    int length = snprintf(body, sizeof body, "{\"text\":\"%s\",\"client_message_id\":\"%s%012d\"}", message, run_prefix, 0);
    target->request_length = (size_t)snprintf(request, sizeof request,
        "POST /api/widget/dialogs/%s/messages?assistant_id=%s HTTP/1.1\r\nHost: %s\r\nX-Guest-Id: %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
        target->dialog, target->assistant, load->host, target->guest, length, body);
    target->request = strdup(request);
    if (!target->request) die("out of memory");
    target->number = target->request + target->request_length - 14;
}

void number_request(struct target *target, uint64_t number) {
    for (int i = 11; i >= 0; i--, number >>= 4) target->number[i] = "0123456789abcdef"[number & 15];
}

static void read_targets(struct load *load, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) die("%s: %s", path, strerror(errno));
    uint32_t random[4];
    if (getrandom(random, sizeof random, 0) != sizeof random) die("no random bytes");
    snprintf(run_prefix, sizeof run_prefix, "%08u-%04u-4%03u-8%03u-",
        random[0] % 100000000, random[1] % 10000, random[2] % 1000, random[3] % 1000);
    size_t capacity = 0;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        if (load->target_count == capacity) {
            capacity = capacity ? capacity * 2 : 1024;
            load->targets = realloc(load->targets, capacity * sizeof *load->targets);
            if (!load->targets) die("out of memory");
        }
        struct target *target = &load->targets[load->target_count++];
        if (sscanf(line, "%23s %23s %63s", target->assistant, target->dialog, target->guest) != 3
            || !plain(target->assistant) || !plain(target->dialog) || !plain(target->guest))
            die("%s, line %zu: not `assistant_id dialog_id guest_id`", path, load->target_count);
        make_request(load, target);
    }
    fclose(file);
    if (!load->target_count) die("%s has no target", path);
}

// ── Idle streams and a broadcast

struct broadcast {
    uint64_t post, sent, last;
    size_t received, heartbeats, ended;
};

static void broadcast_event(struct connection *c, const struct event *event, void *context) {
    struct broadcast *broadcast = context;
    uint64_t post;
    if (event_is(event, "hb")) broadcast->heartbeats++;
    // Once a stream: a second copy of the message must not stand in for a stream that got none.
    if (!event_post(event, &post) || post != broadcast->post || c->post) return;
    c->post = 1;
    broadcast->received++;
    broadcast->last = now_ns();
}

/// Reads the streams, and the posting connection's answer, until `seconds` have passed or all have the message.
static void follow(struct load *load, struct connection *streams, struct broadcast *broadcast, double seconds, size_t wanted) {
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9), now;
    struct epoll_event events[512];
    while ((now = now_ns()) < deadline && !(wanted && broadcast->received >= wanted)) {
        int timeout = (int)((deadline - now) / 1000000) + 1;
        int ready = epoll_wait(load->epoll, events, 512, timeout > 100 ? 100 : timeout);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->posts && c->state == CONNECTING) {
                struct target *target = &load->targets[0];
                number_request(target, broadcast->post);
                c->state = HEAD;
                broadcast->sent = now_ns();
                if (!send_all(c, target->request, target->request_length)) complain("the message could not be sent");
                watch(load, c, EPOLLIN, EPOLL_CTL_MOD);
                continue;
            }
            char *text;
            size_t length;
            enum received state = c->posts ? receive(c, &text, &length) : stream_receive(c, broadcast_event, broadcast);
            if (state == MORE) continue;
            if (!c->posts) {
                broadcast->ended++;
                complain("stream %zu ended", (size_t)(c - streams));
            } else if (c->status != 200) {
                complain("the message was answered with status %d", c->status);
            }
            connection_close(c);
        }
    }
}

/// The proportional set size of a process in KiB. Memory of the kernel's sockets is not in it.
static long pss_kb(int pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    long kb = -1;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %ld", &kb) == 1) break;
    if (kb < 0) die("%s cannot be read: %s", path, strerror(errno));
    fclose(file);
    return kb;
}

static int run_streams(struct load *load) {
    struct connection *streams = calloc(load->count, sizeof *streams);
    if (!streams) die("out of memory");
    for (size_t i = 0; i < load->count; i++) streams[i].target = (uint32_t)(i % load->target_count);
    long before = pss_kb(load->server_pid);
    uint64_t began = now_ns();
    size_t connected = streams_open(load, streams, load->count, 120);
    double open_seconds = (double)(now_ns() - began) / 1e9;

    struct broadcast broadcast = {.post = 1};
    follow(load, streams, &broadcast, 3 + load->hold, 0);
    double kb = connected ? (double)(pss_kb(load->server_pid) - before) / (double)connected : 0;
    size_t failed = load->count - connected + broadcast.ended;
    printf("connected=%zu failed=%zu kb_per_stream=%.2f open_s=%.2f heartbeats=%zu",
        connected, failed, kb, open_seconds, broadcast.heartbeats);
    if (load->target_count > 1) {
        puts(" broadcast_received=none broadcast_ms=none");
        return failed > 0;
    }
    struct connection poster = {.posts = true};
    if (!connection_start(load, &poster)) die("no socket for the message: %s", strerror(errno));
    follow(load, streams, &broadcast, 15, load->count - failed);
    double ms = broadcast.received ? (double)(broadcast.last - broadcast.sent) / 1e6 : 0;
    printf(" broadcast_received=%zu broadcast_ms=%.1f\n", broadcast.received, ms);
    return failed > 0 || broadcast.received < load->count;
}

// ── Command line

static void usage(void) {
    fputs("load posts   --url http://127.0.0.1:PORT --targets FILE [--clients 32] [--readers-per-dialog 2] [--seconds 10]\n"
          "load streams --url http://127.0.0.1:PORT --targets FILE --server-pid PID [--count 10000] [--hold 0]\n"
          "both: [--in-flight 200], how many streams are being opened at once\n"
          "FILE: a dialog a line, `assistant_id dialog_id guest_id`\n", stderr);
    exit(2);
}

static double number(const char *name, const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (!*text || *end || !(value >= low && value <= high)) die("%s takes a number from %g to %g", name, low, high);
    return value;
}

static void parse_url(struct load *load, const char *url) {
    char address[16];
    unsigned port = 0;
    char rest = 0;
    int fields = url ? sscanf(url, "http://%15[0-9.]:%5u%c", address, &port, &rest) : 0;
    load->server.sin_family = AF_INET;
    if (fields < 2 || (fields == 3 && rest != '/') || port < 1 || port > 65535
        || inet_pton(AF_INET, address, &load->server.sin_addr) != 1) die("--url must be http://IPV4:PORT");
    load->server.sin_port = htons((uint16_t)port);
    snprintf(load->host, sizeof load->host, "%s:%u", address, port);
}

/// Every connection is a file: the soft limit goes up to the hard one, and too low a hard one is said.
static void raise_file_limit(size_t connections) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < connections + 16)
        die("%zu connections need a hard file limit of at least %zu, it is %llu (see `ulimit -Hn`)",
            connections, connections + 16, (unsigned long long)limit.rlim_max);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc % 2) usage();
    bool posts = !strcmp(argv[1], "posts");
    if (!posts && strcmp(argv[1], "streams")) usage();
    struct load load = {.clients = 32, .readers = 2, .count = 10000, .in_flight = 200, .seconds = 10};
    const char *url = NULL, *targets = NULL;
    for (int i = 2; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--url")) url = value;
        else if (!strcmp(name, "--targets")) targets = value;
        else if (posts && !strcmp(name, "--clients")) load.clients = (size_t)number(name, value, 1, 10000);
        else if (posts && !strcmp(name, "--readers-per-dialog")) load.readers = (size_t)number(name, value, 0, 32);
        else if (posts && !strcmp(name, "--seconds")) load.seconds = number(name, value, 0.1, 3600);
        else if (!posts && !strcmp(name, "--count")) load.count = (size_t)number(name, value, 1, 1000000);
        else if (!posts && !strcmp(name, "--hold")) load.hold = number(name, value, 0, 3600);
        else if (!posts && !strcmp(name, "--server-pid")) load.server_pid = (int)number(name, value, 1, 4194304);
        else if (!strcmp(name, "--in-flight")) load.in_flight = (size_t)number(name, value, 1, 10000);
        else usage();
    }
    if (!targets || (!posts && !load.server_pid)) usage();
    parse_url(&load, url);
    read_targets(&load, targets);
    raise_file_limit(posts ? load.clients + load.readers * load.target_count : load.count + 1);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.epoll < 0) die("epoll: %s", strerror(errno));
    return posts ? run_posts(&load) : run_streams(&load);
}
