// `load streams`: what an idle stream costs the server in memory, then one message to all of them.
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

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
                c->state = HEAD;
                broadcast->sent = now_ns();
                if (!send_post(load, c, broadcast->post)) complain("the message could not be sent");
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

int run_streams(struct load *load) {
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
