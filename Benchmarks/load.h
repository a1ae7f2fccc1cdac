// What the files of the load generator share. One process, one thread, one epoll: `wire.c` speaks HTTP and
// Server-Sent Events, `posts.c` and `load.c` hold the two measurements.
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A line of the targets file: one dialog and the visitor whose it is.
struct target {
    char assistant[24], dialog[24], guest[64];
    /// The whole request of a post, made once; only `number` in it changes.
    char *request;
    size_t request_length;
    /// The last 12 hexadecimal digits of the request's `client_message_id`.
    char *number;
};

/// The command line and what was read by it.
struct load {
    struct sockaddr_in server;
    char host[32];
    struct target *targets;
    size_t target_count;
    size_t clients, readers, count, in_flight;
    double seconds, hold;
    int server_pid;
    int epoll;
};

enum connection_state { CONNECTING, HEAD, BODY, CLOSED };

/// A socket and how far its answer has been read.
struct connection {
    int fd;
    /// The dialog it follows or posts to next, as an index into the targets.
    uint32_t target;
    /// Its place among the readers of its dialog, or among the posting clients.
    uint32_t place;
    uint8_t state, framing;
    bool posts;
    /// A stream's opening `hb` was seen, so it misses nothing from here on.
    bool opened;
    /// Of the answer being read; 0 before its head is complete.
    uint16_t status;
    /// Bytes of the chunk, or of the body, that are still to come.
    uint64_t left;
    /// The newest id of a stream.
    uint64_t generation, number;
    /// Of a posting client: the post that waits for its answer.
    uint32_t post;
    /// The unread rest of an event or a head.
    uint32_t kept, keep_capacity;
    char *keep;
};

/// One event of a stream, as slices of the buffer that was read.
struct event {
    const char *name, *data;
    size_t name_length, data_length;
    bool has_id;
    uint64_t generation, number;
};

enum received { MORE, COMPLETE, ENDED, BROKEN };
typedef void (*event_handler)(struct connection *, const struct event *, void *context);

// wire.c
uint64_t now_ns(void);
/// Starts connecting; the socket is reported writable once it is connected. False without a socket.
bool connection_start(struct load *, struct connection *);
void connection_close(struct connection *);
/// Reads once. `text` is what there is of the body, framing removed, after what was kept; the caller keeps the rest.
enum received receive(struct connection *, char **text, size_t *length);
/// Sends a small request whole on a connection that waits for nothing.
bool send_all(struct connection *, const char *bytes, size_t length);
/// Reads a stream once and hands on its whole events. BROKEN also for an answer other than 200.
enum received stream_receive(struct connection *, event_handler, void *context);
/// Opens every stream, at most `in_flight` at once, and waits for each one's opening `hb`; false stays `opened`.
size_t streams_open(struct load *, struct connection *, size_t count, double seconds);
bool event_is(const struct event *, const char *name);
/// A post's number, out of its `client_message_id` in the event. False if the event is no post of this run.
bool event_post(const struct event *, uint64_t *number);

// load.c
extern char run_prefix[25];
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/// Says the first few of a kind of trouble, so that ten thousand alike do not hide the rest.
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// Makes `number` the post that the target's request is for.
void number_request(struct target *, uint64_t number);
void watch(struct load *, struct connection *, uint32_t events, int operation);

// posts.c
int run_posts(struct load *);

#endif
