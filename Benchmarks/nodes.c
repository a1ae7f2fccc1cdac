// `load nodes`: messages at a fixed rate, in rounds, while every dialog is followed on each of two servers. A line on the
// standard input begins a round, its end closes the streams. An open loop: a message is sent when it is due, whether or
// not those before it are answered, so a server that stands still is seen in every message that was due meanwhile.
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/// A reader's first copy of a message.
struct receipt {
    uint32_t post, place;
    /// Microseconds since 1970, as PostgreSQL's clock counts on the same machine.
    uint64_t at;
};

struct run {
    struct load *load;
    struct tally tally;
    struct receipt *receipts;
    size_t received, receipt_capacity;
    /// Of each server: all posting clients, and those that wait for nothing, the longest idle first.
    struct connection *clients[2], **idle[2];
    size_t idle_from[2], idle_count[2];
    /// Of the round.
    size_t first, total, waiting, acknowledged, late;
    uint64_t began, last_answer, worst;
    uint64_t random;
    struct connection timer, input;
    bool ended;
    FILE *file;
};

static void delivered(struct connection *c, const struct event *event, void *context) {
    struct run *run = context;
    struct post *post = reader_event(&run->tally, c, event);
    if (!post) return;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    run->receipts = grow(run->receipts, &run->receipt_capacity, run->received + 1, sizeof *run->receipts);
    run->receipts[run->received++] = (struct receipt){.post = (uint32_t)(post - run->tally.posts), .place = c->place,
        .at = (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000};
}

// ── Posting clients

static void client_idle(struct run *run, struct connection *c) {
    size_t place = (run->idle_from[c->server] + run->idle_count[c->server]++) % run->load->clients;
    run->idle[c->server][place] = c;
    c->state = IDLE;
}

static void client_open(struct run *run, struct connection *c) {
    if (!connection_start(run->load, c)) die("no socket for a client: %s", strerror(errno));
}

static void failed(struct run *run, struct connection *c, const char *why) {
    run->tally.errors++;
    run->waiting--;
    complain("a post: %s, status %d", why, c->status);
    connection_close(c);
    c->kept = 0;
    client_open(run, c);
}

static uint32_t below(struct run *run, size_t bound) {
    // xorshift64: the same messages in every run.
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return (uint32_t)((run->random >> 32) % bound);
}

/// Sends what is due, each message to a random dialog by a random server.
static void post_due(struct run *run) {
    struct load *load = run->load;
    uint64_t now;
    while (run->tally.posted < run->first + run->total) {
        uint64_t due = run->began + (uint64_t)((double)(run->tally.posted - run->first) * 1e9 / load->rate);
        if ((now = now_ns()) < due) return;
        uint64_t random = run->random;
        uint32_t server = below(run, load->server_count), target = below(run, load->target_count);
        if (!run->idle_count[server]) {
            // No client is free. The message stays due, by the same server.
            run->random = random;
            return;
        }
        struct connection *c = run->idle[server][run->idle_from[server]];
        run->idle_from[server] = (run->idle_from[server] + 1) % load->clients;
        run->idle_count[server]--;
        c->target = target;
        c->post = (uint32_t)run->tally.posted;
        c->state = HEAD;
        c->status = 0;
        post_add(&run->tally, (struct post){.since = due, .target = target, .server = (uint8_t)server});
        run->waiting++;
        if (now - due > 10000000) run->late++;
        if (now - due > run->worst) run->worst = now - due;
        if (!send_post(load, c, c->post)) failed(run, c, strerror(errno));
    }
}

static void client_ready(struct run *run, struct connection *c) {
    if (c->state == CONNECTING) {
        watch(run->load, c, EPOLLIN, EPOLL_CTL_MOD);
        client_idle(run, c);
        return;
    }
    if (c->state == IDLE) die("%s closed a connection that was idle", run->load->servers[c->server].host);
    char *text;
    size_t length;
    enum received state = receive(c, &text, &length);
    if (c->state == BODY && c->status != 200 && length)
        complain("answer %d: %.*s", c->status, length > 200 ? 200 : (int)length, text);
    if (state == MORE) return;
    if (state != COMPLETE) return failed(run, c, state == ENDED ? "connection closed" : "no HTTP answer");
    run->waiting--;
    run->last_answer = now_ns();
    if (c->status == 200) {
        struct post *post = &run->tally.posts[c->post];
        uint32_t took = microseconds(post->since, run->last_answer);
        post->took = took ? took : 1;
        run->acknowledged++;
    } else {
        run->tally.errors++;
    }
    client_idle(run, c);
}

// ── Rounds

/// Hands on what is ready. True if that was a line of the standard input, or its end.
static bool turn(struct run *run, int milliseconds) {
    struct epoll_event events[512];
    bool line = false;
    int ready = epoll_wait(run->load->epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (c == &run->timer) {
            uint64_t expirations;
            if (read(c->fd, &expirations, sizeof expirations) > 0) post_due(run);
        } else if (c == &run->input) {
            char text[64];
            ssize_t got = read(c->fd, text, sizeof text);
            run->ended = got <= 0;
            line = true;
        } else if (c->posts) {
            client_ready(run, c);
        } else if (stream_receive(c, delivered, run) != MORE) {
            run->tally.errors++;
            complain("a reader's stream of dialog %s ended", run->load->targets[c->target].dialog);
            connection_close(c);
        }
    }
    return line;
}

static void timer_every(struct run *run, long nanoseconds) {
    struct timespec each = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    struct itimerspec timer = {.it_interval = each, .it_value = each};
    if (timerfd_settime(run->timer.fd, 0, &timer, NULL) < 0) die("timerfd: %s", strerror(errno));
}

/// Posting clients are opened for each round: the server closes those that idle between rounds.
static void clients_open(struct run *run) {
    struct load *load = run->load;
    for (size_t server = 0; server < load->server_count; server++) {
        run->idle_from[server] = run->idle_count[server] = 0;
        for (size_t i = 0; i < load->clients; i++) {
            run->clients[server][i] = (struct connection){.posts = true, .server = (uint8_t)server};
            client_open(run, &run->clients[server][i]);
        }
    }
    uint64_t patience = now_ns() + 5000000000u;
    while (run->idle_count[0] + run->idle_count[1] < load->clients * load->server_count)
        if (now_ns() < patience) turn(run, 100); else die("the posting clients could not connect");
}

static void clients_close(struct run *run) {
    for (size_t server = 0; server < run->load->server_count; server++)
        for (size_t i = 0; i < run->load->clients; i++) {
            free(run->clients[server][i].keep);
            connection_close(&run->clients[server][i]);
        }
}

/// A line a copy: round, key of the message, whether the reader was on the server that took the post, when it came.
static void write_receipts(struct run *run, int round) {
    for (size_t i = 0; i < run->received; i++) {
        const struct receipt *receipt = &run->receipts[i];
        bool same = run->tally.posts[receipt->post].server == receipt->place % run->load->server_count;
        fprintf(run->file, "%d\t%s%012x\t%c\t%llu\n", round, run_prefix, receipt->post, same ? 't' : 'f',
            (unsigned long long)receipt->at);
    }
    if (fflush(run->file) || ferror(run->file)) die("the receipts could not be written");
}

static bool round_run(struct run *run, int round) {
    struct load *load = run->load;
    clients_open(run);
    run->first = run->tally.posted;
    run->total = (size_t)(load->rate * load->seconds);
    run->received = run->acknowledged = run->late = run->worst = 0;
    run->began = run->last_answer = now_ns();
    timer_every(run, (long)(1e9 / load->rate));
    uint64_t end = run->began + (uint64_t)(load->seconds * 1e9), patience = end + 10000000000u;
    while ((now_ns() < end || run->tally.posted < run->first + run->total) && now_ns() < patience) turn(run, 100);
    // Here the load ends; who measures the processes looks at them now.
    printf("loaded=%.3f\n", (double)(now_ns() - run->began) / 1e9);
    timer_every(run, 0);
    while ((run->waiting || run->received < run->acknowledged * load->readers) && now_ns() < patience) turn(run, 100);
    if (run->waiting) {
        run->tally.errors += run->waiting;
        complain("%zu posts were never answered", run->waiting);
        run->waiting = 0;
    }
    // A message that comes twice comes late: what repairs holes in the server looks every two seconds.
    for (uint64_t late = now_ns() + 2200000000u; now_ns() < late;) turn(run, 50);
    clients_close(run);
    write_receipts(run, round);

    struct tally *tally = &run->tally;
    size_t lost, answered;
    uint32_t *took = answered_posts(tally, run->first, &answered, &lost);
    double seconds = (double)(run->last_answer - run->began) / 1e9;
    tally->errors += run->total - (tally->posted - run->first);
    bool good = !(tally->errors || lost || tally->doubled || tally->misplaced || !answered);
    printf("posts=%zu posts_per_s=%.0f late=%zu latest_ms=%.1f errors=%zu lost=%zu doubled=%zu misplaced=%zu delivered=%zu"
           " post_p50_ms=%.2f post_p99_ms=%.2f\n", answered, seconds > 0 ? (double)answered / seconds : 0, run->late,
        (double)run->worst / 1e6, tally->errors, lost, tally->doubled, tally->misplaced, run->received,
        percentile_ms(took, answered, 0.5), percentile_ms(took, answered, 0.99));
    free(took);
    tally->errors = tally->doubled = tally->misplaced = 0;
    return good;
}

int run_nodes(struct load *load) {
    struct run run = {.load = load, .tally.load = load, .random = 0x9e3779b97f4a7c15,
        .timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), .input.fd = STDIN_FILENO,
        .file = fopen(load->receipts, "w")};
    if (run.timer.fd < 0 || !run.file) die("%s: %s", run.file ? "timerfd" : load->receipts, strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0);
    size_t readers = load->readers * load->target_count;
    struct connection *streams = calloc(readers, sizeof *streams);
    for (size_t server = 0; server < load->server_count; server++) {
        run.clients[server] = calloc(load->clients, sizeof **run.clients);
        run.idle[server] = calloc(load->clients, sizeof **run.idle);
        if (!streams || !run.clients[server] || !run.idle[server]) die("out of memory");
    }
    for (size_t i = 0; i < readers; i++) {
        streams[i].target = (uint32_t)(i / load->readers);
        streams[i].place = (uint32_t)(i % load->readers);
        streams[i].server = (uint8_t)(streams[i].place % load->server_count);
    }
    uint64_t began = now_ns();
    size_t opened = streams_open(load, streams, readers, 120);
    printf("open=%zu open_s=%.1f\n", opened, (double)(now_ns() - began) / 1e9);
    if (opened < readers) return 1;

    watch(load, &run.timer, EPOLLIN, EPOLL_CTL_ADD);
    watch(load, &run.input, EPOLLIN, EPOLL_CTL_ADD);
    bool good = true;
    for (int round = 1; !run.ended;)
        if (turn(&run, 1000) && !run.ended) good &= round_run(&run, round++);
    return !good;
}
