// Readers against what was posted: each stream must bring every message once, in its place.
#include "load.h"

#include <stdlib.h>

void *grow(void *array, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) return array;
    size_t wanted = *capacity ? *capacity * 2 : 1 << 16;
    *capacity = wanted < needed ? needed : wanted;
    array = realloc(array, *capacity * size);
    if (!array) die("out of memory");
    return array;
}

struct post *post_add(struct tally *tally, struct post post) {
    tally->posts = grow(tally->posts, &tally->capacity, tally->posted + 1, sizeof *tally->posts);
    tally->posts[tally->posted] = post;
    return &tally->posts[tally->posted++];
}

struct post *reader_event(struct tally *tally, struct connection *c, const struct event *event) {
    const char *dialog = tally->load->targets[c->target].dialog;
    if (!event->has_id || event->name) {
        if (event_is(event, "hb") || !event->name) return NULL;
        tally->errors++;
        complain("a reader got %.*s %.*s", (int)event->name_length, event->name, (int)event->data_length, event->data);
        return NULL;
    }
    if (event->generation != c->generation || event->number != c->number + 1) {
        tally->misplaced++;
        complain("dialog %s: %llu-%llu after %llu-%llu", dialog,
            (unsigned long long)event->generation, (unsigned long long)event->number,
            (unsigned long long)c->generation, (unsigned long long)c->number);
    }
    c->generation = event->generation;
    if (event->number > c->number) c->number = event->number;

    uint64_t number;
    if (!event_post(event, &number)) return NULL;
    if (number >= tally->posted || tally->posts[number].target != c->target) {
        tally->errors++;
        complain("dialog %s: a reader got another dialog's message", dialog);
        return NULL;
    }
    struct post *post = &tally->posts[number];
    uint32_t bit = 1u << c->place;
    if (post->seen & bit) {
        tally->doubled++;
        return NULL;
    }
    post->seen |= bit;
    return post;
}

uint32_t *answered_posts(const struct tally *tally, size_t from, size_t *count, size_t *lost) {
    uint32_t *took = malloc((tally->posted - from + 1) * sizeof *took);
    if (!took) die("out of memory");
    *count = *lost = 0;
    for (size_t i = from; i < tally->posted; i++) {
        if (!tally->posts[i].took) continue;
        took[(*count)++] = tally->posts[i].took;
        *lost += tally->load->readers - (size_t)__builtin_popcount(tally->posts[i].seen);
    }
    sort_u32(took, *count);
    return took;
}

uint32_t microseconds(uint64_t from, uint64_t to) {
    return (uint32_t)((to - from) / 1000);
}

static int ascending(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

void sort_u32(uint32_t *values, size_t count) {
    if (count) qsort(values, count, sizeof *values, ascending);
}

double percentile_ms(const uint32_t *sorted, size_t count, double share) {
    return count ? sorted[(size_t)((double)(count - 1) * share)] / 1000.0 : 0;
}
