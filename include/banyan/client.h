/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of `banyan serve`: append, command, read, follow, over HTTP or HTTPS.
 *
 * Each call blocks until it is answered.  A connection that broke is made again: an append is then sent again with the
 * same Idempotency-Key, so that it happens once however often it was sent.
 *
 *     struct banyan_client_options options = {.url = "http://127.0.0.1:7070"};
 *     banyan_client_open(&options, &client, &err);
 *     struct banyan_client_event event = {.type = BANYAN_STR("Paid"), .payload = BANYAN_STR("{\"cents\":250}")};
 *     banyan_client_append(client, &(struct banyan_client_append){.stream = BANYAN_STR("order-1"), .events = &event,
 *                                                                 .event_count = 1}, &appended, &err);
 *
 * Threads: a client is for one thread at a time; use one each.
 */
#ifndef BANYAN_CLIENT_H
#define BANYAN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/attributes.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"

struct banyan_client;

struct banyan_client_options {
    const char *url;     /* "http://host:port" or "https://host:port"; [::1] in brackets */
    const char *token;   /* NULL: none */
    const char *ca_file; /* PEM, for https; NULL: the system's */
    int64_t timeout_ms;  /* of one answer, or one silence of a subscription; 0: 30,000 */
};

/* Connects at the first call.  INVALID for an address that is none, CONFIG for the CA file. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status
banyan_client_open(const struct banyan_client_options *options, struct banyan_client **ret, struct banyan_error *err);
BANYAN_API void banyan_client_close(struct banyan_client *client); /* NULL allowed */

/* ---- any request ---- */

struct banyan_client_answer {
    int code;               /* of HTTP */
    struct banyan_buf body; /* banyan_buf_release() it */
};
/* *body* data NULL: none.  *header*: one more line with its CR LF, or NULL.  OK for every answer, whatever its code;
 * UNAVAILABLE, TIMEOUT, PROTOCOL else. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status
banyan_client_request(struct banyan_client *client, const char *method, const char *path, const char *header,
                      struct banyan_str body, struct banyan_client_answer *ret, struct banyan_error *err);
/* The status of an answer whose code is not 2xx, from its problem+json. */
BANYAN_API enum banyan_status banyan_client_status(const struct banyan_client_answer *answer, struct banyan_error *err);

/* ---- append ---- */

struct banyan_client_event {
    struct banyan_str type;
    struct banyan_str payload; /* JSON; empty: {} */
    struct banyan_str meta;    /* a JSON object, or empty */
    struct banyan_str id;      /* a UUID as text; empty: derived from the append's key */
};

enum banyan_client_expect {
    BANYAN_CLIENT_ANY = 0,
    BANYAN_CLIENT_VERSION,
    BANYAN_CLIENT_EXISTS,
    BANYAN_CLIENT_ABSENT,
};

struct banyan_client_append {
    struct banyan_str stream;
    const struct banyan_client_event *events;
    size_t event_count;
    enum banyan_client_expect expect;
    struct banyan_version version; /* of BANYAN_CLIENT_VERSION */
    const char *key;               /* Idempotency-Key; NULL: a new one */
};

struct banyan_client_appended {
    struct banyan_position first, last;
    struct banyan_version version; /* of the stream after it */
    bool repeated;
};

/* One atomic append, durable when it returns.  CONFLICT, DUPLICATE, INVALID, AUTH, PRIVILEGE, LIMIT, UNAVAILABLE … */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_client_append(struct banyan_client *client,
                                                                     const struct banyan_client_append *append,
                                                                     struct banyan_client_appended *ret,
                                                                     struct banyan_error *err);

/* ---- command ---- */

struct banyan_client_command {
    struct banyan_str category, key; /* of the aggregate */
    struct banyan_str name;          /* "PlaceOrder" */
    struct banyan_str fields;        /* JSON; empty: {} */
    enum banyan_client_expect expect;
    struct banyan_version version; /* of BANYAN_CLIENT_VERSION */
    const char *idempotency_key;   /* NULL: a new one */
};

enum {
    BANYAN_CLIENT_REFUSAL_MAX = 128, /* bytes, its NUL included */
    BANYAN_CLIENT_TEXT_MAX = 1024,
};

struct banyan_client_decided {
    bool accepted;                           /* else refusal and text say why not */
    bool repeated;                           /* it was decided before: this is the answer of then */
    uint64_t events;                         /* 0: there was nothing to do */
    struct banyan_version version;           /* of the aggregate after it */
    struct banyan_position position;         /* for Banyan-Min-Position; 0 of a refusal */
    char refusal[BANYAN_CLIENT_REFUSAL_MAX]; /* the domain's code, for programs */
    char text[BANYAN_CLIENT_TEXT_MAX];       /* for people */
};

/* Decide one command, durable when it returns.  A refusal is OK with accepted false.  NOT_FOUND, CONFLICT, DUPLICATE,
 * INVALID, AUTH, PRIVILEGE, LIMIT, UNAVAILABLE … */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_client_command(struct banyan_client *client,
                                                                      const struct banyan_client_command *command,
                                                                      struct banyan_client_decided *ret,
                                                                      struct banyan_error *err);

/* ---- read and follow ---- */

/* An event as the server shows it; texts are borrowed for the call. */
struct banyan_client_seen {
    struct banyan_position position;
    struct banyan_version version;
    struct banyan_str stream, type, id, at, recorded_at; /* escapes of JSON as they are */
    struct banyan_str payload, meta;                     /* JSON */
    struct banyan_str json;                              /* all of it */
    bool caught_up; /* of a subscription: no event, but everything durable up to position (version) was given */
};
/* False: enough. */
typedef bool (*banyan_client_see)(void *context, const struct banyan_client_seen *event);

/* The events of a stream from *from* on, to its end.  NOT_FOUND. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_client_read(struct banyan_client *client,
                                                                   struct banyan_str stream, struct banyan_version from,
                                                                   banyan_client_see see, void *context,
                                                                   struct banyan_error *err);
/* Follow all events (*stream* data NULL), or one stream, behind *after* (a position, or of a stream a version), until
 * *see* says that it is enough (OK) or the server goes away (UNAVAILABLE, TIMEOUT).  *after* moves with what was given:
 * call again to go on without a gap and without a repeat. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_client_follow(struct banyan_client *client,
                                                                     struct banyan_str stream, uint64_t *after,
                                                                     banyan_client_see see, void *context,
                                                                     struct banyan_error *err);

#endif
