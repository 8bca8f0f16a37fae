/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of `banyan serve`: probes, metrics, status, read models, and the event store: append, read,
 * subscribe, schemas.  docs/HTTP.md is its contract, openapi.json the same for programs.
 *
 * Threads: one thread runs one event loop; nothing in it waits for the disk to be flushed.  Two more help it: one
 * submits appends, one waits for what was submitted to become durable.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stddef.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "legacy/legacy.h"
#include "projection/engine.h"
#include "store/store.h"

struct aggregates;
struct controller;
struct http_server;
struct keys;
struct machine_policy;
struct owner;
struct process;
struct routing;
struct store_registry;

/* What a token allows; each includes those before it. */
enum http_role {
    HTTP_ROLE_NONE = 0, /* probes */
    HTTP_ROLE_READ,
    HTTP_ROLE_APPEND,
    HTTP_ROLE_ADMIN,
    HTTP_ROLE_COUNT,
};
/* "none", "read", "append", "admin" */
const char *http_role_name(enum http_role role);

enum {
    HTTP_FIGURES_MAX = 32,
};
/* A figure of a room above this one, for /rollout and for /metrics. */
struct http_figure {
    const char *key, *metric, *help; /* static */
    bool counter;                    /* else a gauge */
    double value;
};

struct http_rollout {
    struct controller *controller;       /* borrowed, as all below */
    const struct machine_policy *policy; /* that the controller has */
    const char *source;                  /* its name */
    /* The gateway's figures, and how many; 0: there is none now.  From the loop's thread; may be NULL. */
    size_t (*gateway)(void *context, struct http_figure ret[HTTP_FIGURES_MAX]);
    void *context;
};

struct http_options {
    const char *address;                /* to listen on */
    int port;                           /* 0: any free one */
    const char *version;                /* of the program, shown in /status */
    const struct banyan_domain *domain; /* NULL: a store alone */
    struct store *store;                /* borrowed */
    struct store_registry *registry;    /* borrowed; NULL: no schemas */
    struct aggregates *aggregates;      /* borrowed; of *domain*; NULL: no commands */
    struct process *const *processes;   /* borrowed */
    size_t process_count;
    struct projections *projections;    /* borrowed; NULL: no read models */
    struct routing *routing;            /* borrowed, of the rollout; NULL: its flags are disabled */
    struct owner *owner;                /* borrowed; who may write aggregates of mapped categories; NULL: everybody */
    struct keys *keys;                  /* borrowed; of new aggregates; NULL: none are given */
    const struct http_rollout *rollout; /* borrowed; NULL: none */
    bool has_source;                    /* a legacy source will be set: not ready before it captures */
    struct os_clock *clock;             /* NULL: the system's */
    const char *tokens_file;            /* NULL: who can connect may do everything */
    const char *certificate_file, *key_file;   /* PEM; NULL: no TLS */
    bool insecure;                             /* listen beyond loopback although tokens or TLS are missing */
    bool reload_on_hangup;                     /* SIGHUP reads the certificate again */
    unsigned connections_max, subscribers_max; /* 0: the default */
};

/* Start listening; the readers of the views are opened here.  UNAVAILABLE/BUSY when the address cannot be used; CONFIG
 * for an address beyond loopback without tokens and TLS. */
BANYAN_MUST_CHECK enum banyan_status http_start(const struct http_options *options, struct http_server **ret,
                                                struct banyan_error *err);
/* The port that it listens on. */
int http_port(const struct http_server *server);
/* The legacy source came up (or NULL: it is going away): thread-safe; borrowed until it is set to NULL again. */
void http_set_legacy(struct http_server *server, struct legacy *legacy);
void http_stop(struct http_server *server); /* NULL allowed */

/* One event as JSON, as /streams/{name} and `banyan stream read --json` show it; the payload through the registry or
 * the domain's event type, or as it is where it is JSON, else as base64.  Both may be NULL. */
void http_event_json(const struct banyan_domain *domain, struct store_registry *registry,
                     const struct store_read_event *event, struct banyan_buf *ret);

/* ---- tokens: see token.c ---- */

enum {
    HTTP_TOKEN_TEXT_SIZE = 48, /* "bny_", 43 characters, a NUL */
    HTTP_TOKEN_NAME_MAX = 63,
};
struct http_token_info {
    char name[HTTP_TOKEN_NAME_MAX + 1];
    enum http_role role;
    struct banyan_time created_at;
};
/* Make a token and store its hash in *path* (made with mode 0600 when missing); *ret is the only copy of the secret.
 * CONFLICT when the name is taken. */
BANYAN_MUST_CHECK enum banyan_status http_token_create(const char *path, const char *name, enum http_role role,
                                                       char ret[HTTP_TOKEN_TEXT_SIZE], struct banyan_error *err);
/* Gives *ret: free() it. */
BANYAN_MUST_CHECK enum banyan_status http_token_list(const char *path, struct http_token_info **ret, size_t *ret_count,
                                                     struct banyan_error *err);
/* NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status http_token_revoke(const char *path, const char *name, struct banyan_error *err);

#endif
