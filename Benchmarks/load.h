// What the files of the load generator share. One process, one thread, one epoll: `wire.c` speaks HTTP and
// Server-Sent Events, `readers.c` holds readers against what was posted, `posts.c`, `streams.c` and `nodes.c` are the
// measurements, `load.c` the command line.
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A line of the targets file: one dialog and the visitor whose it is.
struct target {
    char assistant[24], dialog[24], guest[64];
};

struct server {
    struct sockaddr_in address;
    char host[32];
};

/// The command line and what was read by it.
struct load {
    struct server servers[2];
    size_t server_count;
    struct target *targets;
    size_t target_count;
    size_t clients, readers, count, in_flight;
    double seconds, hold, rate;
    int server_pid;
    const char *receipts;
    int epoll;
};

/// IDLE: a posting client that waits for nothing.
enum connection_state { CONNECTING, HEAD, BODY, IDLE, CLOSED };

/// A socket and how far its answer has been read.
struct connection {
    int fd;
    /// The dialog it follows or posts to next, as an index into the targets.
    uint32_t target;
    /// Its place among the readers of its dialog, or among the posting clients.
    uint32_t place;
    /// The server it is connected to.
    uint8_t server;
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

/// A message that was posted. Its number, the index of it, is in its `client_message_id`, so a reader's event leads to
/// the post it is a copy of without any search.
struct post {
    /// When it was sent, or in an open loop when it was to be sent.
    uint64_t since;
    uint32_t target;
    /// A bit for each reader of the dialog that has it.
    uint32_t seen;
    /// Microseconds until the answer; 0 without a good one.
    uint32_t took;
    uint8_t server;
};

/// All that was posted, and what readers made of it.
struct tally {
    struct load *load;
    struct post *posts;
    size_t posted, capacity;
    size_t errors, doubled, misplaced;
};

// wire.c
uint64_t now_ns(void);
/// Starts connecting; the socket is reported writable once it is connected. False without a socket.
bool connection_start(struct load *, struct connection *);
void connection_close(struct connection *);
/// Reads once. `text` is what there is of the body, framing removed, after what was kept; the caller keeps the rest.
enum received receive(struct connection *, char **text, size_t *length);
/// Sends post `number` to the connection's target, on a connection that waits for nothing.
bool send_post(struct load *, struct connection *, uint64_t number);
/// Reads a stream once and hands on its whole events. BROKEN also for an answer other than 200.
enum received stream_receive(struct connection *, event_handler, void *context);
/// Opens every stream, at most `in_flight` at once, and waits for each one's opening `hb`; false stays `opened`.
size_t streams_open(struct load *, struct connection *, size_t count, double seconds);
bool event_is(const struct event *, const char *name);
/// A post's number, out of its `client_message_id` in the event. False if the event is no post of this run.
bool event_post(const struct event *, uint64_t *number);

// readers.c
/// Makes room for `needed` items. Dies without memory.
void *grow(void *array, size_t *capacity, size_t needed, size_t size);
/// The next post, numbered and noted.
struct post *post_add(struct tally *, struct post);
/// Checks a reader's event against its place in the stream. The post that reached this reader for the first time, or NULL.
struct post *reader_event(struct tally *, struct connection *, const struct event *);
/// Of posts `from` and later that were answered well: sorted microseconds (to be freed), their count, and the copies missing.
uint32_t *answered_posts(const struct tally *, size_t from, size_t *count, size_t *lost);
uint32_t microseconds(uint64_t from, uint64_t to);
void sort_u32(uint32_t *, size_t count);
double percentile_ms(const uint32_t *sorted, size_t count, double share);

// load.c
extern char run_prefix[25];
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/// Says the first few of a kind of trouble, so that ten thousand alike do not hide the rest.
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void watch(struct load *, struct connection *, uint32_t events, int operation);

int run_posts(struct load *);
int run_streams(struct load *);
int run_nodes(struct load *);

#endif
