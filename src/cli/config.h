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
#include "rollout/cutover.h"
#include "rollout/machine.h"

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

/* HTTP in front of the legacy application. */
struct config_gateway {
    char *listen;   /* address:port */
    char *upstream; /* "http://127.0.0.1:8080" */
    uint32_t threads, connections_max, upstream_connections_max, upstream_timeout_seconds, request_kib_max,
        compare_kib_max, hold_ms_max, drain_seconds;
    bool split, tell_side;
    char **ignored; /* JSON pointers */
    unsigned ignored_count;
};

/* Thresholds; NULL: the default of guards.h, machine.h or cutover.h.  0 is a value of most of them. */
struct config_rollout {
    double *steps_percent; /* increasing */
    unsigned steps_percent_count;
    bool automatic;
    double *failures_percent_max, *mismatch_percent_max;
    uint32_t *samples_min, *window_seconds, *step_seconds_min, *latency_p99_percent_max, *latency_p50_percent_max,
        *latency_floor_ms, *lag_ms_max, *lag_ms_breach, *mirror_backlog_max, *verify_age_minutes_max,
        *verify_every_minutes, *conflicts_max, *pause_ms_max, *lock_tries, *keys_block;
};

struct config {
    char *domain;                   /* NULL: a store alone */
    char *data;                     /* folder */
    char *listen;                   /* address:port */
    struct config_http *http;       /* never NULL once loaded */
    struct config_source *source;   /* NULL: no legacy database */
    struct config_gateway *gateway; /* NULL: none */
    struct config_rollout *rollout; /* NULL: all defaults */
    struct config_view *views;
    unsigned views_count;
};

/* Load and check.  Relative paths are relative to the file's folder.  CONFIG with file, line and column; NOT_FOUND
 * with the hint to run `banyan init`.  End it with config_free(). */
BANYAN_MUST_CHECK enum banyan_status config_load(const char *path, struct config **ret, struct banyan_error *err);
void config_free(struct config *config); /* NULL allowed */

/* What the legacy room wants to know; strings borrowed from *config*.  Store and stop are left empty. */
void config_legacy_options(const struct config *config, const struct banyan_domain *domain, struct legacy_options *ret);
/* Split "address:port" ("[::1]:7070" too); CONFIG else, with *key* in the message.  *ret_address: caller frees. */
BANYAN_MUST_CHECK enum banyan_status config_address(const char *key, const char *listen, char **ret_address,
                                                    int *ret_port, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status config_listen(const struct config *config, char **ret_address, int *ret_port,
                                                   struct banyan_error *err);
/* The defaults, and what the configuration says instead. */
void config_rollout_policy(const struct config *config, struct machine_policy *ret);
void config_cutover_options(const struct config *config, struct cutover_options *ret);
/* 0: the default */
uint32_t config_rollout_keys_block(const struct config *config);
int64_t config_rollout_verify_every_us(const struct config *config);
/* The projection of a view; CONFIG with the known names else. */
BANYAN_MUST_CHECK enum banyan_status config_projection(const struct config_view *view,
                                                       const struct banyan_domain *domain,
                                                       const struct banyan_projection **ret, struct banyan_error *err);

#endif
