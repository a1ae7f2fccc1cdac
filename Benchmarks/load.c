// Load for running servers: `load posts` measures sending and delivery, `load streams` idle streams and a broadcast,
// `load nodes` the way from one server to the readers of another. Prints lines of key=value; exit status 0 when nothing
// went wrong, 1 when something did, 2 for wrong usage.
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
    }
    fclose(file);
    if (!load->target_count) die("%s has no target", path);
}

// ── Command line

static void usage(void) {
    fputs("load posts   --url http://127.0.0.1:PORT --targets FILE [--clients 32] [--readers-per-dialog 2] [--seconds 10]\n"
          "load streams --url http://127.0.0.1:PORT --targets FILE --server-pid PID [--count 10000] [--hold 0]\n"
          "load nodes   --url http://127.0.0.1:PORT --url http://127.0.0.1:PORT --targets FILE --receipts FILE\n"
          "             [--clients 128] (of each server) [--readers-per-dialog 2] [--rate 1000] [--seconds 15]\n"
          "all: [--in-flight 200], how many streams are being opened at once\n"
          "FILE of the targets: a dialog a line, `assistant_id dialog_id guest_id`\n", stderr);
    exit(2);
}

static double number(const char *name, const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (!*text || *end || !(value >= low && value <= high)) die("%s takes a number from %g to %g", name, low, high);
    return value;
}

static void parse_url(struct server *server, const char *url) {
    char address[16];
    unsigned port = 0;
    char rest = 0;
    int fields = sscanf(url, "http://%15[0-9.]:%5u%c", address, &port, &rest);
    server->address.sin_family = AF_INET;
    if (fields < 2 || (fields == 3 && rest != '/') || port < 1 || port > 65535
        || inet_pton(AF_INET, address, &server->address.sin_addr) != 1) die("--url must be http://IPV4:PORT");
    server->address.sin_port = htons((uint16_t)port);
    snprintf(server->host, sizeof server->host, "%s:%u", address, port);
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
    bool posts = !strcmp(argv[1], "posts"), streams = !strcmp(argv[1], "streams"), nodes = !strcmp(argv[1], "nodes");
    if (!posts && !streams && !nodes) usage();
    struct load load = {.clients = nodes ? 128 : 32, .readers = 2, .count = 10000, .in_flight = 200,
        .seconds = nodes ? 15 : 10, .rate = 1000};
    const char *targets = NULL;
    size_t wanted_servers = nodes ? 2 : 1;
    for (int i = 2; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--url") && load.server_count < wanted_servers) parse_url(&load.servers[load.server_count++], value);
        else if (!strcmp(name, "--targets")) targets = value;
        else if (!streams && !strcmp(name, "--clients")) load.clients = (size_t)number(name, value, 1, 10000);
        else if (!streams && !strcmp(name, "--readers-per-dialog")) load.readers = (size_t)number(name, value, nodes ? 1 : 0, 32);
        else if (!streams && !strcmp(name, "--seconds")) load.seconds = number(name, value, 0.1, 3600);
        else if (nodes && !strcmp(name, "--rate")) load.rate = number(name, value, 1, 100000);
        else if (nodes && !strcmp(name, "--receipts")) load.receipts = value;
        else if (streams && !strcmp(name, "--count")) load.count = (size_t)number(name, value, 1, 1000000);
        else if (streams && !strcmp(name, "--hold")) load.hold = number(name, value, 0, 3600);
        else if (streams && !strcmp(name, "--server-pid")) load.server_pid = (int)number(name, value, 1, 4194304);
        else if (!strcmp(name, "--in-flight")) load.in_flight = (size_t)number(name, value, 1, 10000);
        else usage();
    }
    if (!targets || load.server_count < wanted_servers || (streams && !load.server_pid) || (nodes && !load.receipts)) usage();
    read_targets(&load, targets);
    size_t readers = load.readers * load.target_count, clients = load.clients * load.server_count;
    raise_file_limit(streams ? load.count + 1 : readers + clients);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.epoll < 0) die("epoll: %s", strerror(errno));
    return posts ? run_posts(&load) : streams ? run_streams(&load) : run_nodes(&load);
}
