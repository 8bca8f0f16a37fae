/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the server, connections, calls, and the handlers of each route. */
#ifndef HTTP_HTTP_INT_H
#define HTTP_HTTP_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "http/server.h"
#include "http/wire.h"
#include "os/thread.h"

enum {
    HTTP_ENVELOPE_BYTES_MAX = 1024 * 1024,
    HTTP_BODY_BYTES_MAX = STORE_PAYLOAD_BYTES_MAX / 3 * 4 + HTTP_ENVELOPE_BYTES_MAX, /* one event, even as base64 */
    HTTP_SMALL_BODY_BYTES_MAX = 1024 * 1024,                                         /* schemas, checks */
    HTTP_BODIES_BYTES_MAX = 512 * 1024 * 1024,                                       /* of all requests at once */
    HTTP_ANSWER_BYTES_MAX = 256 * 1024 * 1024, /* hard: one event of the largest size, as base64, fits */
    HTTP_PAGE_BYTES_MAX = 8 * 1024 * 1024,     /* a page ends behind this many, whatever its limit */
    HTTP_BATCH_EVENTS_MAX = 10000,             /* of one atomic append */
    HTTP_WAIT_MS_MAX = 10000,
    HTTP_LIMIT_DEFAULT = 100,
    HTTP_LIMIT_MAX = 1000,
    HTTP_CONNECTIONS_DEFAULT = 1000,
    HTTP_SUBSCRIBERS_DEFAULT = 256,
    HTTP_ACCEPTS_PER_SECOND_MAX = 2000,
    HTTP_REQUESTS_PER_SECOND_MAX = 20000, /* of one connection; more are answered later */
    HTTP_OUTPUT_BYTES_HIGH = 256 * 1024,  /* nothing more is produced for a connection while it has this much to send */
    HTTP_OUTPUT_BYTES_LOW = 64 * 1024,
    HTTP_PARAMETERS_MAX = 64,
    HTTP_SEGMENTS_MAX = 5,
    HTTP_HEAD_US_MAX = 10 * 1000 * 1000, /* a request's head is there within this time */
    HTTP_IDLE_US_MAX = 60 * 1000 * 1000, /* between requests */
    HTTP_BODY_US_MAX = 30 * 1000 * 1000, /* and a second more for each HTTP_BODY_BYTES_PER_SECOND_MIN */
    HTTP_BODY_BYTES_PER_SECOND_MIN = 16 * 1024,
    HTTP_LINGER_US_MAX = 2 * 1000 * 1000,
    HTTP_SEND_STALL_S = 30,
};

enum http_method {
    HTTP_METHOD_NONE = 0,
    HTTP_GET,
    HTTP_POST,
    HTTP_PUT,
};

enum http_body {
    HTTP_BODY_NONE = 0,
    HTTP_BODY_SMALL,  /* whole, HTTP_SMALL_BODY_BYTES_MAX */
    HTTP_BODY_EVENTS, /* whole, or streamed where the content type is NDJSON and the route has a handler for it */
};

struct http_call;
struct http_conn;

struct http_route {
    enum http_method method; /* GET answers HEAD too */
    const char *path;        /* "/streams/{name}": braces stand for one segment */
    enum http_role role;     /* that it needs where there are tokens */
    enum http_body body;
    void (*handle)(struct http_call *call);
    /* Instead of handle for a body of application/x-ndjson: called before the body; sets call->on_body. */
    void (*stream)(struct http_call *call);
};

struct http_parameter {
    const char *name, *value; /* decoded, in the call's arena */
};

/* What was asked.  Lives until it is answered or the client is gone; at most one a connection. */
struct http_call {
    struct http_server *server;
    struct http_conn *conn;
    const struct http_route *route;
    struct banyan_arena arena;
    struct wire_head head;                         /* spans of a copy in the arena */
    bool is_head;                                  /* HEAD: the answer has no body */
    const char *path;                              /* as it was asked for, not decoded */
    char actor[HTTP_TOKEN_NAME_MAX + 1];           /* the token's name; "operator" where there are no tokens */
    struct banyan_str segments[HTTP_SEGMENTS_MAX]; /* decoded; those in braces are handed to handlers as they are */
    size_t segment_count;
    struct http_parameter parameters[HTTP_PARAMETERS_MAX];
    size_t parameter_count;
    struct banyan_buf body;    /* whole, of a route with a body */
    struct banyan_buf headers; /* of the answer */
    void *context;             /* of the handler, while it waits for something */
    /* The client is gone, or the server ends: forget the call.  Not called once it was answered. */
    void (*gone)(struct http_call *call);
    /* More of a streamed body, or its end (data NULL); false: an answer was sent. */
    bool (*on_body)(struct http_call *call, struct banyan_str data);
    /* There is room in the output again, of an answer that goes on (http_begin()). */
    void (*on_room)(struct http_call *call);
};

/* Figures of the loop's thread. */
struct http_figures {
    uint64_t requests, errors, refused; /* refused: requests that could not be read */
    uint64_t connections, connections_total;
    uint64_t bytes_in, bytes_out;
    uint64_t appends, append_events, append_conflicts, append_duplicates;
    uint64_t subscribers, subscriber_events;
    int64_t append_us_sum, append_us_max;
    uint64_t commands, commands_refused, command_events;
    int64_t command_us_sum, command_us_max;
};

/* Of a projection, kept for a moment: answers say it, and the engine's figures are not for each of them. */
struct http_rebuild {
    int64_t asked_us;
    enum rebuild_phase phase;
    int64_t eta_us;
};

struct http_server {
    struct http_options options; /* strings borrowed */
    struct os_clock *clock;
    int64_t started_us;
    int port;
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *ender;  /* ends the loop when it is made active */
    struct event *hangup; /* SIGHUP */
    struct event *accept_again;
    int64_t accept_second;
    unsigned accepts;
    struct os_thread thread;
    struct http_conn *conns;  /* linked */
    size_t body_bytes;        /* of all bodies that are being held */
    struct sink_view **views; /* one a projection; used by the loop's thread only */
    size_t view_count;
    struct http_rebuild *rebuilds; /* one a projection: what was last asked of the engine */
    struct waiting *waiting;       /* requests that wait for a position */
    size_t waiting_count;
    struct http_tokens *tokens; /* NULL: none are asked for */
    struct ssl_ctx_st *tls;     /* NULL: plain */
    struct http_appender *appender;
    struct http_tasks *tasks;
    struct http_commands *commands; /* NULL: no aggregates */
    struct subscriber *subscribers; /* linked */
    size_t subscriber_count;
    struct event *keep_alive; /* of subscribers */
    struct http_figures figures;

    struct {
        pthread_mutex_t
            lock; /* guards legacy: held while its figures are copied, so that it cannot go away meanwhile */
        struct legacy *legacy;
    } shared;
};

/* ---- conn.c ---- */

/* Take a connected socket. */
void http_conn_open(struct http_server *server, int fd);
void http_conns_close(struct http_server *server);
/* The whole answer (head from call->headers); ends the call. */
void http_conn_answer(struct http_call *call, int code, const char *content_type, struct banyan_str body);
/* An answer without an end: its head now, then http_conn_send(); on_room when the output has run low. */
void http_conn_begin(struct http_call *call, const char *content_type);
void http_conn_send(struct http_call *call, const void *data, size_t size);
size_t http_conn_unsent(const struct http_call *call);
/* End such an answer: the connection closes once everything was sent. */
void http_conn_end(struct http_call *call);
/* Take no more of a streamed body until resumed. */
void http_conn_pause(struct http_call *call);
void http_conn_resume(struct http_call *call);

/* ---- route.c ---- */

/* Find the route of a call whose head was read, decode its path and parameters, check the token; false: answered. */
bool http_route(struct http_call *call);
/* What to do with its body: how many bytes at most. */
size_t http_body_max(const struct http_route *route);
/* All routes; for tests that compare them with the OpenAPI document. */
const struct http_route *http_routes(size_t *ret_count);

/* ---- reply.c ---- */

/* Send *body* (may be NULL) with a status code; ends the call. */
void http_reply(struct http_call *call, int code, const char *content_type, const struct banyan_buf *body);
/* application/problem+json; *hint* may be NULL; *code_name* is stable (docs/ERRORS.md). */
void http_problem_named(struct http_call *call, int code, const char *code_name, const char *hint, const char *more,
                        const char *format, ...) BANYAN_PRINTF_LIKE(6, 7);
/* The same with the usual name of the HTTP code. */
void http_problem(struct http_call *call, int code, const char *hint, const char *format, ...) BANYAN_PRINTF_LIKE(4, 5);
/* From a status of a lower room.  *more*: further members of the problem, ",\"key\":value"; or NULL. */
void http_failure_with(struct http_call *call, int code, const struct banyan_error *err, const char *more);
void http_failure(struct http_call *call, const struct banyan_error *err);
int http_code_of(enum banyan_status status);
void http_header(struct http_call *call, const char *name, const char *format, ...) BANYAN_PRINTF_LIKE(3, 4);
/* A header of the request, NUL-terminated; NULL when there is none. */
const char *http_asked(struct http_call *call, const char *name);
/* A parameter; NULL when there is none. */
const char *http_parameter(const struct http_call *call, const char *name);
/* Digits only, and nothing else. */
bool http_parse_number(const char *text, uint64_t *ret);
/* The same with an optional minus. */
bool http_parse_key(const char *text, int64_t *ret);
/* A decimal parameter, *fallback* when absent; false (and a problem was sent) when it is no number within bounds. */
bool http_number(struct http_call *call, const char *name, uint64_t fallback, uint64_t min, uint64_t max,
                 uint64_t *ret);
/* A moment; us BANYAN_TIME_NULL when absent. */
bool http_time(struct http_call *call, const char *name, struct banyan_time *ret);
/* Only these parameters (NULL-terminated) may be there, each at most once but for those that end with '*'; false when a
 * problem was sent. */
bool http_only(struct http_call *call, const char *const *names);
/* Is the body, or the answer that is wanted, of this media type?  Parameters behind a semicolon do not matter. */
bool http_is_type(const char *header, const char *type);

/* ---- time.c ---- */

/* RFC 3339: "2015-05-01T00:00:04.518Z", or with +hh:mm; digits behind the microseconds are cut.  A space stands for the
 * plus, which parameters turn into one.  False when it is no such moment. */
bool http_parse_time(const char *text, struct banyan_time *ret);

/* ---- appender.c ---- */

BANYAN_MUST_CHECK enum banyan_status http_appender_open(struct http_server *server, struct banyan_error *err);
void http_appender_close(struct http_server *server);

/* An append on its way: submitted by a thread of its own, answered when durable. */
struct http_job {
    struct http_job *next;
    struct store_append append; /* borrowed by the job until it is done */
    /* Instead of the append: called by a worker; sets appended.last to what has to be durable before the answer. */
    enum banyan_status (*run)(struct http_job *job);
    void *context;
    void (*done)(struct http_job *job); /* in the loop; takes the job back */
    /* Results. */
    enum banyan_status status;
    struct banyan_error err;
    struct store_appended appended;
    struct http_written *written; /* one a stream that was written; room for written_count, given by the caller */
    size_t written_count;
    int64_t began_us, took_us; /* took_us: of a job with run() */
};
struct http_written {
    struct banyan_str stream;
    size_t last_event;             /* index of its last event in the append */
    struct banyan_version version; /* after the append */
};
/* At most one a connection is on its way, so that their number has a limit. */
void http_appender_submit(struct http_server *server, struct http_job *job);

/* ---- task.c ---- */

/* Something that the loop must not wait for.  Handlers make it on the heap, as the first member of their own struct. */
struct http_task {
    struct http_task *next;
    struct http_call *call; /* NULL: the client is gone */
    struct banyan_buf body; /* the call's body, taken */
    /* In the thread of the tasks: must not touch the call. */
    enum banyan_status (*run)(struct http_server *server, struct http_task *task, struct banyan_error *err);
    /* In the loop, after run() returned OK; a failure is answered as such. */
    void (*answer)(struct http_call *call, struct http_task *task);
    void (*release)(struct http_task *task); /* what it owns beside itself and the body; may be NULL */
    enum banyan_status status;
    struct banyan_error err;
};
/* Take it, with the body of the call; it is answered later. */
void http_task_submit(struct http_call *call, struct http_task *task);
BANYAN_MUST_CHECK enum banyan_status http_tasks_open(struct http_server *server, struct banyan_error *err);
void http_tasks_close(struct http_server *server);

/* ---- commands.c ---- */

/* The schemas of all commands, from their records. */
BANYAN_MUST_CHECK enum banyan_status http_commands_open(struct http_server *server, struct banyan_error *err);
void http_commands_close(struct http_server *server);

/* ---- append.c ---- */

/* If-Match and If-None-Match as a condition of *stream*; *ret_is: there is one.  False: answered. */
bool http_header_condition(struct http_call *call, struct banyan_str stream, struct store_condition *ret, bool *ret_is);

/* ---- wait.c ---- */

/* Answer with *again* when the log (view == HTTP_WAIT_LOG) or the view has reached what Banyan-Min-Position asks for.
 * True: go on now; false: kept or answered. */
enum {
    HTTP_WAIT_LOG = -1,
};
bool http_await(struct http_call *call, int view, void (*again)(struct http_call *call));

/* ---- token.c, tls.c ---- */

BANYAN_MUST_CHECK enum banyan_status http_tokens_open(const char *path, struct http_tokens **ret,
                                                      struct banyan_error *err);
void http_tokens_close(struct http_tokens *tokens);
/* The role of a token, and its name; HTTP_ROLE_NONE and no name when it is not known.  Takes as long for each token. */
enum http_role http_tokens_role(struct http_tokens *tokens, struct banyan_str token,
                                char ret_name[HTTP_TOKEN_NAME_MAX + 1]);

BANYAN_MUST_CHECK enum banyan_status http_tls_open(const char *certificate_file, const char *key_file,
                                                   struct ssl_ctx_st **ret, struct banyan_error *err);

/* ---- event_json.c ---- */

void http_cloudevent_json(const struct http_options *options, const struct store_read_event *event,
                          struct banyan_buf *ret);
bool http_is_json(struct banyan_str text); /* one value and nothing else */
void http_add_time(struct banyan_buf *ret, struct banyan_time time);

/* The types and categories that the parameters name; in the call's arena. */
void http_filter(struct http_call *call, struct store_filter *ret);

/* ---- projections.c ---- */

/* A projection's state as a member of a JSON array. */
void http_add_projection(struct http_server *server, size_t view, struct banyan_buf *ret);
/* While a rebuild runs: Banyan-Rebuild-Phase and Banyan-Rebuild-Eta (seconds) of the answer. */
void http_add_rebuild_headers(struct http_call *call, size_t view);

/* ---- json.c: members of an object that is being written ---- */

void http_json_text(struct banyan_buf *ret, const char *key, const char *text);
void http_json_count(struct banyan_buf *ret, const char *key, uint64_t value);
void http_json_ms(struct banyan_buf *ret, const char *key, int64_t us);
/* null when it is INT64_MAX: not known. */
void http_json_seconds(struct banyan_buf *ret, const char *key, int64_t us);
void http_json_lsn(struct banyan_buf *ret, const char *key, uint64_t lsn);
/* null when it is BANYAN_TIME_NULL. */
void http_json_time(struct banyan_buf *ret, const char *key, struct banyan_time time);
void http_json_error(struct banyan_buf *ret, const struct banyan_error *err);

/* ---- handlers ---- */

bool http_legacy_status(struct http_server *server, struct legacy_status *ret);
void http_livez(struct http_call *call);
void http_readyz(struct http_call *call);
void http_status(struct http_call *call);
void http_metrics(struct http_call *call);
void http_openapi(struct http_call *call);
void http_view(struct http_call *call);
void http_projections(struct http_call *call);
void http_projection(struct http_call *call);
void http_projection_asides(struct http_call *call);
void http_projection_act(struct http_call *call);
void http_rollout_status(struct http_call *call);
/* Where it stands, in short; null where there is none (NULL). */
void http_add_rollout(struct banyan_buf *ret, const struct http_rollout *rollout);
void http_rollout_plan(struct http_call *call);
void http_rollout_history(struct http_call *call);
void http_rollout_act(struct http_call *call);
void http_stream_read(struct http_call *call);
void http_stream_event(struct http_call *call);
void http_stream_append(struct http_call *call);
void http_stream_subscribe(struct http_call *call);
void http_command(struct http_call *call);
void http_aggregate(struct http_call *call);
void http_flags(struct http_call *call);
void http_flag(struct http_call *call);
void http_process_list(struct http_call *call);
void http_process_retry(struct http_call *call);
void http_events_read(struct http_call *call);
void http_events_append(struct http_call *call);
void http_events_bulk(struct http_call *call);
void http_events_subscribe(struct http_call *call);
void http_schemas_list(struct http_call *call);
void http_schema_get(struct http_call *call);
void http_schema_register(struct http_call *call);
void http_schema_check(struct http_call *call);
void http_schema_compatibility(struct http_call *call);
void http_schemas_freeze(struct http_call *call);
void http_schemas_thaw(struct http_call *call);
/* Something became durable: subscribers are served. */
void http_subscribers_wake(struct http_server *server);
BANYAN_MUST_CHECK enum banyan_status http_subscribers_open(struct http_server *server, struct banyan_error *err);
void http_subscribers_close(struct http_server *server);

#endif
