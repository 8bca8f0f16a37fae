/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share.
 *
 *   loop (a thread) ──▶ fronts: connections of clients ──▶ exchange: one request to the upstream, and its answer
 *        │                                                     │ ▲
 *        └──▶ pool: connections to the upstream ◀──────────────┘ └── also without a client: health, a second look
 *
 * All of a loop belongs to its thread; what several touch is atomic, or says which lock guards it.
 */
#ifndef GATEWAY_GATEWAY_INT_H
#define GATEWAY_GATEWAY_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "gateway/body.h"
#include "gateway/gateway.h"
#include "http/wire.h"
#include "os/clock.h"
#include "os/thread.h"

enum {
    GATEWAY_CONNECTIONS_DEFAULT = 1000,
    GATEWAY_UPSTREAM_DEFAULT = 64,
    GATEWAY_LOOPS_MAX = 64,
    GATEWAY_BODY_DEFAULT = 1024 * 1024,
    GATEWAY_OUTPUT_HIGH = 256 * 1024, /* nothing more is taken for a connection while it has this much to send */
    GATEWAY_OUTPUT_LOW = 64 * 1024,
    GATEWAY_UPSTREAM_TIMEOUT_US = 30 * 1000 * 1000,
    GATEWAY_CONNECT_US = 5 * 1000 * 1000,
    GATEWAY_POOL_IDLE_US = 4 * 1000 * 1000, /* shorter than most servers keep an idle connection */
    GATEWAY_HEAD_US = 10 * 1000 * 1000,     /* a request's head is there within this time */
    GATEWAY_IDLE_US = 60 * 1000 * 1000,     /* between requests */
    GATEWAY_BODY_US = 30 * 1000 * 1000,     /* without a byte of a body */
    GATEWAY_LINGER_US = 2 * 1000 * 1000,
    GATEWAY_LATE_US = 1000 * 1000,       /* what Banyan answers later counts as not answered in time, at that moment */
    GATEWAY_DRAIN_IDLE_US = 1000 * 1000, /* an idle connection may still speak for so long */
    GATEWAY_STALL_S = 30,                /* a client that takes nothing */
    GATEWAY_TUNNEL_US = 600 * 1000 * 1000,
    GATEWAY_HOLD_US = 5 * 1000 * 1000,
    GATEWAY_LEAVE_US = 500 * 1000,         /* who balances has time to see that we go */
    GATEWAY_CHECKED_US = 10 * 1000 * 1000, /* and somebody balances who has asked within this time */
    GATEWAY_HEALTH_US = 1000 * 1000,
    GATEWAY_HEAD_BYTES = 4 * WIRE_HEAD_BYTES_MAX, /* of a head as we write it */
};

/* Asked by what stands in front of us: 200 while requests are taken and the upstream answers, else 503. */
#define GATEWAY_HEALTH_PATH "/.well-known/banyan-gateway"

struct exchange;
struct front;
struct gate;
struct recent;
struct shadow;
struct work;
struct upstream;

/* Something that another thread wants done by a loop. */
struct message {
    struct message *next;
    void (*run)(struct message *message); /* in the loop; takes the message */
};

struct loop {
    struct gateway *gateway;
    unsigned number;
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *wake, *tick;
    struct os_thread thread;
    struct front *fronts;                    /* linked */
    struct upstream *upstreams;              /* linked, all */
    struct upstream *idle;                   /* linked by next_idle: last used first */
    struct exchange *waiting, **waiting_end; /* for a connection */
    unsigned upstream_count, upstream_max;
    struct banyan_route route; /* scratch, as the next: of what the façade says to a head */
    struct banyan_arena arena;
    struct wire_head request, answer; /* that is being read: too large for the stack of a callback */
    struct evbuffer *scratch;         /* of an answer that is being written; empty outside a handler */
    bool health_asked;
    bool ended; /* the loop is to be left when there are no fronts, or now */
    struct {
        pthread_mutex_t lock;
        struct message *messages, **messages_end;
        bool woken;
    } shared;
};

struct gateway_counts {
    _Atomic uint64_t connections, connections_total, requests, passed, reads_legacy, reads_banyan, writes_legacy,
        writes_banyan, split, held, held_refused, shadows, shadows_dropped, mismatches, too_large, upstream_failures;
    _Atomic unsigned upstream_connections;
};

struct gateway {
    struct gateway_options options; /* strings borrowed */
    struct os_clock *clock;
    struct sockaddr_storage upstream;
    socklen_t upstream_size;
    char *upstream_name; /* "127.0.0.1:8080" */
    int fd, port;
    struct loop *loops;
    unsigned loop_count;
    struct gateway_counts counts;
    struct gate *gate;
    struct recent *recent;
    struct work *work;
    struct shadow *shadow;
    _Atomic bool draining;
    int64_t drain_since_us;      /* set before draining */
    _Atomic int upstream_state;  /* 0: not known, 1: up, -1: down */
    _Atomic int64_t answered_us; /* when the upstream last answered */
    _Atomic int64_t checked_us;  /* when somebody last asked for our own health; 0: never */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed; /* a connection ended */
    } shared;
};

static inline int64_t gateway_now(const struct gateway *gateway)
{
    return os_clock_monotonic_us(gateway->clock);
}

static inline void gateway_count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* All of *data* to the peer: what the socket takes now without a turn through the loop, the rest behind it. */
void gateway_send(struct bufferevent *bev, struct evbuffer *data);
/* Have it run by the loop; any thread. */
void loop_post(struct loop *loop, struct message *message);

/* ---- timer.c: a deadline that moves often and fires seldom ---- */

struct timer {
    const struct gateway *gateway;
    struct event *event;
    int64_t deadline_us, armed_us; /* INT64_MAX: none */
    void (*fired)(void *context);
    void *context;
};

void timer_init(struct timer *timer, struct loop *loop, void (*fired)(void *context), void *context);
void timer_set(struct timer *timer, int64_t from_now_us); /* INT64_MAX: none */
void timer_release(struct timer *timer);

/* ---- head.c: pure ---- */

struct head_request {
    struct banyan_str client; /* its address */
    bool tunnel;              /* the upgrade goes on */
    bool whole;               /* the body was read: its size is */
    uint64_t whole_bytes;
};
/* The head of a request as it goes to the upstream. */
void head_request(const struct wire_head *head, const struct head_request *how, struct banyan_buf *ret);

struct head_answer {
    struct banyan_str line; /* "HTTP/1.1 200 OK" as it came */
    bool to_head;           /* the request was HEAD */
    bool chunked;           /* the body goes out so */
    bool close, old;        /* old: the client speaks HTTP/1.0 */
    bool tunnel;
    const char *served_by; /* NULL: not told */
};
void head_answer(const struct wire_head *head, const struct head_answer *how, struct banyan_buf *ret);
/* Does the request ask for a tunnel that we make?  Only that of WebSocket. */
bool head_is_tunnel(const struct wire_head *head);
/* What is there of a head that may begin at the start of *input*, in one piece: borrowed until the input changes. */
struct banyan_str head_peek(struct evbuffer *input);

/* ---- pool.c ---- */

/* One connection to the upstream. */
struct upstream {
    struct upstream *next, **link;
    struct upstream *next_idle;
    struct loop *loop;
    struct bufferevent *bev;
    struct timer timer;
    struct exchange *exchange; /* NULL: idle */
    bool connected, used;      /* used: it answered before */
    uint64_t written;          /* bytes put into its output for the present exchange */
    bool sent;                 /* some of it was sent without that */
};

/* Get a connection for the exchange, now or later: exchange_begin(), or exchange_failed(). */
void pool_ask(struct exchange *exchange);
/* The exchange waits no more. */
void pool_forget(struct exchange *exchange);
/* It is free again, or of no more use. */
void pool_give(struct upstream *upstream, bool reusable);
void pool_close(struct loop *loop);
/* Once in a while: old idle ones end. */
void pool_tick(struct loop *loop);

/* ---- exchange.c ---- */

enum exchange_end {
    EXCHANGE_OK = 0,
    EXCHANGE_UNREACHED, /* nothing was sent */
    EXCHANGE_LATE,      /* no answer in time */
    EXCHANGE_BROKEN,    /* the connection ended before the answer did */
    EXCHANGE_BAD,       /* what came is no answer */
};

struct exchange {
    struct loop *loop;
    struct upstream *upstream; /* NULL: waits, or is over */
    struct exchange *next;     /* waits for a connection */
    bool waits, safe, retried; /* safe: GET or HEAD without a body, may be sent again */
    bool is_head, tunnel;
    bool has_answer;          /* its head was read */
    bool ended;               /* the upstream sends no more */
    bool keep_alive;          /* the connection may be used again */
    struct evbuffer *request; /* what has to be sent and was not handed to a connection yet */
    bool request_whole;       /* nothing follows behind it */
    int64_t began_us;
    int64_t timeout_us; /* without any progress of the upstream */
    struct body body;   /* of the answer */
    int code;
    struct bufferevent *to; /* where the answer's body goes: the client; NULL: nowhere */
    struct banyan_buf copy; /* of the body, up to its size_max (then overflow) */
    bool copying;
    /* The head of a final answer, or of 101 where a tunnel was asked for; spans are valid during the call.  Or of
     * another 1xx, as it came. */
    void (*on_head)(struct exchange *exchange, const struct wire_head *head, struct banyan_str text);
    /* The head of 101 went out: exchange_detach(). */
    void (*on_tunnel)(struct exchange *exchange);
    /* There is room for more of the request. */
    void (*on_room)(struct exchange *exchange);
    /* It is over; the memory is the context's from here on: exchange_free(). */
    void (*on_end)(struct exchange *exchange, enum exchange_end end);
    void *context;
};

/* The head is added to ->request by the caller, then exchange_start(). */
struct exchange *exchange_new(struct loop *loop, struct banyan_str method);
void exchange_start(struct exchange *exchange);
/* More was added to ->request, or ->request_whole was set. */
void exchange_push(struct exchange *exchange);
/* May more be added? */
bool exchange_has_room(const struct exchange *exchange);
/* The answer's taker has room again, or answer may go on. */
void exchange_pull(struct exchange *exchange);
/* End it without a word: its connection is closed where a request was sent. */
void exchange_drop(struct exchange *exchange);
void exchange_free(struct exchange *exchange);
/* Both directions are bytes from here on; gives the connection, which the caller frees with pool_give(.., false). */
struct upstream *exchange_detach(struct exchange *exchange);

/* From the pool. */
void exchange_begin(struct exchange *exchange, struct upstream *upstream);
void exchange_failed(struct exchange *exchange, enum exchange_end end);
void exchange_on_read(struct exchange *exchange);
void exchange_on_written(struct exchange *exchange);
void exchange_on_event(struct exchange *exchange, short what);
void exchange_on_time(struct exchange *exchange);

/* ---- front.c ---- */

void front_open(struct loop *loop, int fd, const struct sockaddr *address);
void fronts_close(struct loop *loop);
/* From now on: answers close, idle ones end. */
void fronts_drain(struct loop *loop);

/* ---- health.c ---- */

void health_tick(struct loop *loop);
bool health_is_up(const struct gateway *gateway);
void health_answered(struct gateway *gateway, bool good);

#endif
