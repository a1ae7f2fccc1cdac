// `load posts`: clients post in a closed loop while every dialog is followed by readers. Each post's number is
// in its `client_message_id`, so a reader's event leads to the post it is a copy of without any search.
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

struct post {
    uint64_t sent;
    uint32_t target;
    /// A bit for each reader of the dialog that has it.
    uint32_t seen;
    /// Microseconds until the answer; 0 without a good one.
    uint32_t took;
};

struct run {
    struct load *load;
    struct post *posts;
    size_t posted, capacity, waiting, acknowledged;
    /// Microseconds from the post's send to a reader's receipt.
    uint32_t *delays;
    size_t delivered, delay_capacity;
    size_t errors, doubled, out_of_order;
    uint64_t now, deadline, last_answer, last_delivery;
};

static void *grow(void *array, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : 1 << 16;
    array = realloc(array, *capacity * size);
    if (!array) die("out of memory");
    return array;
}

static uint32_t microseconds(uint64_t from, uint64_t to) {
    return (uint32_t)((to - from) / 1000);
}

// ── Readers

static void delivered(struct connection *c, const struct event *event, void *context) {
    struct run *run = context;
    if (!event->has_id || event->name) {
        if (event_is(event, "hb") || !event->name) return;
        run->errors++;
        complain("a reader got %.*s %.*s", (int)event->name_length, event->name, (int)event->data_length, event->data);
        return;
    }
    if (event->generation != c->generation || event->number != c->number + 1) {
        run->out_of_order++;
        complain("dialog %s: %llu-%llu after %llu-%llu", run->load->targets[c->target].dialog,
            (unsigned long long)event->generation, (unsigned long long)event->number,
            (unsigned long long)c->generation, (unsigned long long)c->number);
    }
    c->generation = event->generation;
    if (event->number > c->number) c->number = event->number;

    uint64_t number;
    if (!event_post(event, &number)) return;
    if (number >= run->posted || run->posts[number].target != c->target) {
        run->errors++;
        complain("dialog %s: a reader got another dialog's message", run->load->targets[c->target].dialog);
        return;
    }
    struct post *post = &run->posts[number];
    uint32_t bit = 1u << c->place;
    if (post->seen & bit) {
        run->doubled++;
        return;
    }
    post->seen |= bit;
    run->delays = grow(run->delays, &run->delay_capacity, run->delivered + 1, sizeof *run->delays);
    run->now = now_ns();
    run->delays[run->delivered++] = microseconds(post->sent, run->now);
    run->last_delivery = run->now;
}

// ── Posting clients

static void failed(struct run *run, struct connection *c, const char *why) {
    run->errors++;
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
    run->posts = grow(run->posts, &run->capacity, run->posted + 1, sizeof *run->posts);
    c->post = (uint32_t)run->posted;
    run->posts[run->posted] = (struct post){.sent = now, .target = c->target};
    number_request(&load->targets[c->target], run->posted++);
    c->state = HEAD;
    c->status = 0;
    run->waiting++;
    if (!send_all(c, load->targets[c->target].request, load->targets[c->target].request_length))
        failed(run, c, strerror(errno));
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
    run->now = run->last_answer = now_ns();
    if (c->status == 200) {
        uint32_t took = microseconds(run->posts[c->post].sent, run->now);
        run->posts[c->post].took = took ? took : 1;
        run->acknowledged++;
    } else {
        run->errors++;
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
            run->errors++;
            complain("a reader's stream of dialog %s ended", run->load->targets[c->target].dialog);
            connection_close(c);
        }
    }
    return ready > 0;
}

static int ascending(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static double percentile_ms(const uint32_t *sorted, size_t count, double share) {
    return count ? sorted[(size_t)((double)(count - 1) * share)] / 1000.0 : 0;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int report(struct run *run, uint64_t began, double cpu) {
    size_t lost = 0, answered = 0;
    uint32_t *took = malloc((run->acknowledged + 1) * sizeof *took);
    if (!took) die("out of memory");
    for (size_t i = 0; i < run->posted; i++) {
        if (!run->posts[i].took) continue;
        took[answered++] = run->posts[i].took;
        lost += run->load->readers - (size_t)__builtin_popcount(run->posts[i].seen);
    }
    qsort(took, answered, sizeof *took, ascending);
    qsort(run->delays, run->delivered, sizeof *run->delays, ascending);
    uint64_t last = run->last_delivery > run->last_answer ? run->last_delivery : run->last_answer;
    double posting = run->last_answer > began ? (double)(run->last_answer - began) / 1e9 : 1;
    double delivering = last > began ? (double)(last - began) / 1e9 : 1;
    printf("posts=%zu posts_per_s=%.0f errors=%zu lost=%zu doubled=%zu out_of_order=%zu delivered=%zu deliveries_per_s=%.0f"
           " post_p50_ms=%.2f post_p95_ms=%.2f post_p99_ms=%.2f delivery_p50_ms=%.2f delivery_p99_ms=%.2f generator_cpu=%.3f\n",
        answered, (double)answered / posting, run->errors, lost, run->doubled, run->out_of_order,
        run->delivered, (double)run->delivered / delivering,
        percentile_ms(took, answered, 0.5), percentile_ms(took, answered, 0.95), percentile_ms(took, answered, 0.99),
        percentile_ms(run->delays, run->delivered, 0.5), percentile_ms(run->delays, run->delivered, 0.99), cpu / delivering);
    return run->errors || lost || run->doubled || run->out_of_order || !answered;
}

int run_posts(struct load *load) {
    struct run run = {.load = load};
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
    while (now_ns() < run.deadline && (run.waiting || !run.posted)) turn(&run, 100);
    uint64_t patience = now_ns() + 10000000000u;
    while ((run.waiting || run.delivered < run.acknowledged * load->readers) && now_ns() < patience) turn(&run, 100);
    cpu = cpu_seconds() - cpu;
    if (run.waiting) {
        run.errors += run.waiting;
        complain("%zu posts were never answered", run.waiting);
    }
    // A message that comes twice comes late: what repairs holes in the server looks every quarter of a second.
    for (uint64_t end = now_ns() + 600000000u; now_ns() < end;) turn(&run, 50);
    return report(&run, began, cpu);
}
