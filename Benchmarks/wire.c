// HTTP/1.1 answers and Server-Sent Events, as far as a load generator needs them. One buffer for all
// connections: what is left of an event that came in two parts is the only thing a connection keeps.
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum framing { BY_LENGTH, CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_DATA, CHUNK_END, TRAILER_START, TRAILER, UNTIL_CLOSE };

// 60 bytes; `single_message.pgbench` sends as many.
static const char message[] = "How long does delivery take, and may I pay at the door then?";
static char buffer[128 * 1024];

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool connection_start(struct load *load, struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    c->state = c->fd < 0 ? CLOSED : CONNECTING;
    if (c->fd < 0) return false;
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in *address = &load->servers[c->server].address;
    if (connect(c->fd, (struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS) {
        connection_close(c);
        return false;
    }
    watch(load, c, EPOLLOUT, EPOLL_CTL_ADD);
    return true;
}

void connection_close(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
}

static bool send_all(struct connection *c, const char *bytes, size_t length) {
    // One request of some hundred bytes is under way: an idle socket always has room for it.
    return send(c->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

bool send_post(struct load *load, struct connection *c, uint64_t number) {
    const struct target *target = &load->targets[c->target];
    char request[1024], body[256];
    int body_length = snprintf(body, sizeof body, "{\"text\":\"%s\",\"client_message_id\":\"%s%012llx\"}",
        message, run_prefix, (unsigned long long)number);
    int length = snprintf(request, sizeof request,
        "POST /api/widget/dialogs/%s/messages?assistant_id=%s HTTP/1.1\r\nHost: %s\r\nX-Guest-Id: %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
        target->dialog, target->assistant, load->servers[c->server].host, target->guest, body_length, body);
    return send_all(c, request, (size_t)length);
}

static bool keep(struct connection *c, const char *rest, size_t length) {
    if (length > sizeof buffer / 2) return false;
    if (length > c->keep_capacity) {
        free(c->keep);
        c->keep = malloc(length * 2);
        if (!c->keep) die("out of memory");
        c->keep_capacity = (uint32_t)length * 2;
    }
    if (length) memcpy(c->keep, rest, length);
    c->kept = (uint32_t)length;
    return true;
}

/// The value of a header in a head that ends with an empty line, or NULL.
static const char *header(const char *head, const char *end, const char *name) {
    size_t length = strlen(name);
    for (const char *line = head; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next) return NULL;
        line = next + 1;
        if ((size_t)(end - line) > length && line[length] == ':' && !strncasecmp(line, name, length)) {
            for (line += length + 1; line < end && *line == ' '; line++) {}
            return line;
        }
    }
    return NULL;
}

static bool parse_head(struct connection *c, const char *head, const char *end) {
    if (end - head < 16 || memcmp(head, "HTTP/1.1 ", 9)) return false;
    c->status = (uint16_t)((head[9] - '0') * 100 + (head[10] - '0') * 10 + head[11] - '0');
    c->state = BODY;
    const char *length = header(head, end, "content-length"), *coding = header(head, end, "transfer-encoding");
    bool chunked = coding && !strncasecmp(coding, "chunked", 7);
    c->left = length && !chunked ? strtoull(length, NULL, 10) : 0;
    c->framing = chunked ? CHUNK_SIZE : length ? BY_LENGTH : UNTIL_CLOSE;
    if (c->status == 204 || c->status == 304) c->framing = BY_LENGTH;
    return true;
}

static int hex_digit(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 0x20;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/// Moves the body's bytes out of the raw ones to `*out`, which never passes what is read. Says where the answer is.
static enum received unframe(struct connection *c, const char *in, const char *end, char **out) {
    if (c->framing == BY_LENGTH && c->left == 0) return in == end ? COMPLETE : BROKEN;
    while (in < end) {
        if (c->framing == CHUNK_DATA || c->framing == BY_LENGTH || c->framing == UNTIL_CLOSE) {
            size_t take = (size_t)(end - in);
            if (c->framing != UNTIL_CLOSE && take > c->left) take = c->left;
            memmove(*out, in, take);
            *out += take;
            in += take;
            if (c->framing == UNTIL_CLOSE || (c->left -= take) > 0) continue;
            if (c->framing == BY_LENGTH) return in == end ? COMPLETE : BROKEN;
            c->framing = CHUNK_END;
            continue;
        }
        char ch = *in++;
        int digit = hex_digit(ch);
        switch (c->framing) {
        case CHUNK_SIZE:
            if (digit >= 0 && c->left < (1u << 28)) { c->left = c->left * 16 + (uint64_t)digit; break; }
            if (ch != ';' && ch != '\r') return BROKEN;
            c->framing = CHUNK_EXTENSION;
            break;
        case CHUNK_EXTENSION:
            if (ch == '\n') c->framing = c->left ? CHUNK_DATA : TRAILER_START;
            break;
        case CHUNK_END:
            if (ch == '\n') c->framing = CHUNK_SIZE;
            else if (ch != '\r') return BROKEN;
            break;
        case TRAILER_START:
            if (ch == '\n') return in == end ? COMPLETE : BROKEN;
            if (ch != '\r') c->framing = TRAILER;
            break;
        case TRAILER:
            if (ch == '\n') c->framing = TRAILER_START;
            break;
        }
    }
    return MORE;
}

enum received receive(struct connection *c, char **text, size_t *length) {
    size_t before = c->kept;
    if (before) memcpy(buffer, c->keep, before);
    *text = buffer;
    *length = before;
    ssize_t got = recv(c->fd, buffer + before, sizeof buffer - before - 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return MORE;
    c->kept = 0;
    if (got <= 0) return c->state == BODY && c->framing == UNTIL_CLOSE && got == 0 ? COMPLETE : ENDED;
    char *raw = buffer + before, *end = raw + got, *out = raw;
    *end = 0;
    if (c->state == HEAD) {
        char *blank = memmem(buffer, (size_t)(end - buffer), "\r\n\r\n", 4);
        *length = 0;
        if (!blank) return keep(c, buffer, (size_t)(end - buffer)) ? MORE : BROKEN;
        if (!parse_head(c, buffer, blank + 2)) return BROKEN;
        raw = blank + 4;
        out = buffer;
    }
    enum received state = unframe(c, raw, end, &out);
    *length = (size_t)(out - buffer);
    return state;
}

/// Takes the next whole event and moves `*at` behind it. False: what is left is not yet a whole event.
static bool next_event(const char **at, const char *end, struct event *event) {
    memset(event, 0, sizeof *event);
    for (const char *line = *at, *stop; line < end && (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
        size_t length = (size_t)(stop - line);
        if (length == 0) {
            *at = stop + 1;
            return true;
        }
        if (length > 6 && !memcmp(line, "data: ", 6)) {
            event->data = line + 6;
            event->data_length = length - 6;
        } else if (length > 4 && !memcmp(line, "id: ", 4)) {
            char *rest;
            event->generation = strtoull(line + 4, &rest, 10);
            event->has_id = *rest == '-';
            if (event->has_id) event->number = strtoull(rest + 1, NULL, 10);
        } else if (length > 7 && !memcmp(line, "event: ", 7)) {
            event->name = line + 7;
            event->name_length = length - 7;
        }
    }
    return false;
}

enum received stream_receive(struct connection *c, event_handler handler, void *context) {
    char *text;
    size_t length;
    enum received state = receive(c, &text, &length);
    if (c->state != BODY) return state;
    if (c->status != 200) return BROKEN;
    const char *at = text, *end = text + length;
    struct event event;
    while (next_event(&at, end, &event)) handler(c, &event, context);
    return keep(c, at, (size_t)(end - at)) ? state : BROKEN;
}

bool event_is(const struct event *event, const char *name) {
    return event->name_length == strlen(name) && !memcmp(event->name, name, event->name_length);
}

bool event_post(const struct event *event, uint64_t *number) {
    static const char key[] = "\"client_message_id\"";
    const char *end = event->data + event->data_length;
    const char *id = event->data ? memmem(event->data, event->data_length, key, sizeof key - 1) : NULL;
    if (!id) return false;
    for (id += sizeof key - 1; id < end && (*id == ' ' || *id == ':' || *id == '"'); id++) {}
    // The prefix has no letters, so it is the same whichever way the server writes a UUID.
    if (end - id < 36 || memcmp(id, run_prefix, 24)) return false;
    *number = 0;
    for (int i = 24; i < 36; i++) {
        int digit = hex_digit(id[i]);
        if (digit < 0) return false;
        *number = *number * 16 + (uint64_t)digit;
    }
    return true;
}

static void opening_event(struct connection *c, const struct event *event, void *context) {
    (void)context;
    if (event_is(event, "hb") && !c->opened) {
        c->opened = event->has_id;
        c->generation = event->generation;
        c->number = event->number;
        if (!event->has_id) complain("an opening hb has no id");
    } else if (event_is(event, "bye") || event_is(event, "reset")) {
        complain("a stream begins with %.*s %.*s", (int)event->name_length, event->name, (int)event->data_length, event->data);
    }
}

static void request_stream(struct load *load, struct connection *c) {
    const struct target *target = &load->targets[c->target];
    char request[512];
    int length = snprintf(request, sizeof request,
        "GET /api/widget/dialogs/%s/events?assistant_id=%s&guest_id=%s HTTP/1.1\r\nHost: %s\r\n"
        "Accept: text/event-stream\r\n\r\n", target->dialog, target->assistant, target->guest, load->servers[c->server].host);
    c->state = HEAD;
    // A refused connection is found by the read that follows.
    send_all(c, request, (size_t)length);
    watch(load, c, EPOLLIN, EPOLL_CTL_MOD);
}

size_t streams_open(struct load *load, struct connection *streams, size_t count, double seconds) {
    uint64_t deadline = now_ns() + (uint64_t)(seconds * 1e9);
    struct epoll_event events[256];
    size_t started = 0, settled = 0, opened = 0;
    while (settled < count && now_ns() < deadline) {
        while (started < count && started - settled < load->in_flight) {
            if (connection_start(load, &streams[started++])) continue;
            complain("no socket: %s", strerror(errno));
            settled++;
        }
        int ready = epoll_wait(load->epoll, events, 256, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->state == CONNECTING) {
                request_stream(load, c);
                continue;
            }
            bool was_open = c->opened;
            enum received state = stream_receive(c, opening_event, NULL);
            if (c->opened && !was_open) settled++, opened++;
            if (state == MORE) continue;
            complain("a stream was not opened: %s, status %d", state == BROKEN ? "refused or no HTTP body" : "it ended", c->status);
            if (c->opened) c->opened = false, opened--;
            else settled++;
            connection_close(c);
        }
    }
    if (settled < count) complain("%zu streams had no opening hb in time", count - settled);
    return opened;
}
