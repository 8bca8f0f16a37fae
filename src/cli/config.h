/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan.yaml: typed, with defaults, and errors that say line and column.  docs/CONFIGURATION.md lists every key; a
 * script checks that it does.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "legacy/legacy.h"

struct config_source {
    char *name;
    char *conninfo;
    char *slot;
    char *publication;
    uint32_t backfill_chunk_rows;
    uint32_t backfill_workers;
    uint32_t heartbeat_seconds;
    uint32_t lock_timeout_seconds;
    uint32_t spool_memory_mib;
};

struct config_view {
    char *name;       /* URL and metrics; default: the projection's */
    char *projection; /* of the domain */
    char *store;      /* "sqlite", "postgres", "redis" or "memory" */
    char *conninfo;   /* postgres */
    char *schema;     /* postgres; default "banyan" */
    char *address;    /* redis: "host:port" */
    uint32_t keep_generations;
    uint32_t rebuild_events_per_second; /* 0: no limit */
};

struct config_http {
    char *tokens_file;      /* NULL: no tokens */
    char *certificate_file; /* NULL: no TLS */
    char *key_file;
    bool insecure;                             /* beyond loopback without tokens or TLS */
    uint32_t connections_max, subscribers_max; /* 0: the server's default */
};

struct config {
    char *domain;                 /* NULL: a store alone */
    char *data;                   /* folder */
    char *listen;                 /* address:port */
    struct config_http *http;     /* never NULL once loaded */
    struct config_source *source; /* NULL: no legacy database */
    struct config_view *views;
    unsigned views_count;
};

/* Load and check.  Relative paths are relative to the file's folder.  CONFIG with file, line and column; NOT_FOUND
 * with the hint to run `banyan init`.  End it with config_free(). */
BANYAN_MUST_CHECK enum banyan_status config_load(const char *path, struct config **ret, struct banyan_error *err);
void config_free(struct config *config); /* NULL allowed */

/* What the legacy room wants to know; strings borrowed from *config*.  Store and stop are left empty. */
void config_legacy_options(const struct config *config, const struct banyan_domain *domain, struct legacy_options *ret);
/* Split "address:port" ("[::1]:7070" too); CONFIG else.  *ret_address: caller frees. */
BANYAN_MUST_CHECK enum banyan_status config_listen(const struct config *config, char **ret_address, int *ret_port,
                                                   struct banyan_error *err);
/* The projection of a view; CONFIG with the known names else. */
BANYAN_MUST_CHECK enum banyan_status config_projection(const struct config_view *view,
                                                       const struct banyan_domain *domain,
                                                       const struct banyan_projection **ret, struct banyan_error *err);

#endif
