// `load posts`: clients post in a closed loop while every dialog is followed by readers.
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

struct run {
    struct load *load;
    struct tally tally;
    size_t waiting, acknowledged;
    /// Microseconds from the post's send to a reader's receipt.
    uint32_t *delays;
    size_t delivered, delay_capacity;
    uint64_t deadline, last_answer, last_delivery;
};

static void delivered(struct connection *c, const struct event *event, void *context) {
    struct run *run = context;
    struct post *post = reader_event(&run->tally, c, event);
    if (!post) return;
    run->delays = grow(run->delays, &run->delay_capacity, run->delivered + 1, sizeof *run->delays);
    run->last_delivery = now_ns();
    run->delays[run->delivered++] = microseconds(post->since, run->last_delivery);
}

// ── Posting clients

static void failed(struct run *run, struct connection *c, const char *why) {
    run->tally.errors++;
    complain("posting client %u: %s, status %d", c->place, why, c->status);
    if (c->state != CONNECTING) run->waiting--;
    connection_close(c);
}

static void post_next(struct run *run, struct connection *c) {
    struct load *load = run->load;
    uint64_t now = now_ns();
    if (now >= run->deadline) {
        connection_close(c);
        return;
    }
    c->post = (uint32_t)run->tally.posted;
    post_add(&run->tally, (struct post){.since = now, .target = c->target});
    c->state = HEAD;
    c->status = 0;
    run->waiting++;
    if (!send_post(load, c, c->post)) failed(run, c, strerror(errno));
    // A share of the dialogs for each client, as in the baseline: no two wait for one dialog's lock.
    c->target += (uint32_t)load->clients;
    if (c->target >= load->target_count) c->target = (uint32_t)(c->place % load->target_count);
}

static void client_ready(struct run *run, struct connection *c) {
    if (c->state == CONNECTING) {
        watch(run->load, c, EPOLLIN, EPOLL_CTL_MOD);
        post_next(run, c);
        return;
    }
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
    post_next(run, c);
}

// ── The run

/// Hands on what is ready. False after `milliseconds` without anything.
static bool turn(struct run *run, int milliseconds) {
    struct epoll_event events[512];
    int ready = epoll_wait(run->load->epoll, events, 512, milliseconds);
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->posts) {
            client_ready(run, c);
        } else if (stream_receive(c, delivered, run) != MORE) {
            run->tally.errors++;
            complain("a reader's stream of dialog %s ended", run->load->targets[c->target].dialog);
            connection_close(c);
        }
    }
    return ready > 0;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int report(struct run *run, uint64_t began, double cpu) {
    const struct tally *tally = &run->tally;
    size_t lost, answered;
    uint32_t *took = answered_posts(tally, 0, &answered, &lost);
    sort_u32(run->delays, run->delivered);
    uint64_t last = run->last_delivery > run->last_answer ? run->last_delivery : run->last_answer;
    double posting = run->last_answer > began ? (double)(run->last_answer - began) / 1e9 : 1;
    double delivering = last > began ? (double)(last - began) / 1e9 : 1;
    printf("posts=%zu posts_per_s=%.0f errors=%zu lost=%zu doubled=%zu misplaced=%zu delivered=%zu deliveries_per_s=%.0f"
           " post_p50_ms=%.2f post_p95_ms=%.2f post_p99_ms=%.2f delivery_p50_ms=%.2f delivery_p99_ms=%.2f generator_cpu=%.3f\n",
        answered, (double)answered / posting, tally->errors, lost, tally->doubled, tally->misplaced,
        run->delivered, (double)run->delivered / delivering,
        percentile_ms(took, answered, 0.5), percentile_ms(took, answered, 0.95), percentile_ms(took, answered, 0.99),
        percentile_ms(run->delays, run->delivered, 0.5), percentile_ms(run->delays, run->delivered, 0.99), cpu / delivering);
    return tally->errors || lost || tally->doubled || tally->misplaced || !answered;
}

int run_posts(struct load *load) {
    struct run run = {.load = load, .tally.load = load};
    size_t readers = load->readers * load->target_count;
    struct connection *streams = calloc(readers + 1, sizeof *streams), *clients = calloc(load->clients, sizeof *clients);
    if (!streams || !clients) die("out of memory");
    for (size_t i = 0; i < readers; i++) {
        streams[i].target = (uint32_t)(i / load->readers);
        streams[i].place = (uint32_t)(i % load->readers);
    }
    size_t opened = streams_open(load, streams, readers, 60);
    if (opened < readers) {
        fprintf(stderr, "load: %zu of %zu readers are open, so nothing is measured\n", opened, readers);
        return 1;
    }
    double cpu = cpu_seconds();
    uint64_t began = now_ns();
    run.deadline = began + (uint64_t)(load->seconds * 1e9);
    run.last_answer = began;
    for (size_t i = 0; i < load->clients; i++) {
        clients[i] = (struct connection){.posts = true, .place = (uint32_t)i, .target = (uint32_t)(i % load->target_count)};
        if (!connection_start(load, &clients[i])) die("no socket for a client: %s", strerror(errno));
    }
    while (now_ns() < run.deadline && (run.waiting || !run.tally.posted)) turn(&run, 100);
    uint64_t patience = now_ns() + 10000000000u;
    while ((run.waiting || run.delivered < run.acknowledged * load->readers) && now_ns() < patience) turn(&run, 100);
    cpu = cpu_seconds() - cpu;
    if (run.waiting) {
        run.tally.errors += run.waiting;
        complain("%zu posts were never answered", run.waiting);
    }
    // A message that comes twice comes late: what repairs holes in the server looks every quarter of a second, or every
    // two seconds with a bus.
    for (uint64_t end = now_ns() + 2200000000u; now_ns() < end;) turn(&run, 50);
    return report(&run, began, cpu);
}
