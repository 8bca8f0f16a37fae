/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway: HTTP in front of the legacy application, streamed through, and for what the domain's façade understands
 * the place where it is decided which side answers.
 *
 *   client ──▶ head ──▶ façade? ──no──▶ upstream, streamed both ways
 *                         │ read  ──▶ upstream, and a shadow of it asked of Banyan and compared    (or the other side)
 *                         └ write ──▶ the owner: upstream, or commands here                        (or held)
 *
 * Invariants
 *   1. A request goes to one side that counts.  Shadows are reads only; what a shadow does cannot fail or slow an
 * answer.
 *   2. A write for which the connection to the upstream broke before an answer is never sent again by us: 502, and the
 *      client decides.  A request of which nothing was sent yet may take another connection.
 *   3. While writes are held they wait, in order of their arrival for one aggregate, until the hold ends or their time
 * is over (503 with Retry-After; nothing was written).
 *   4. A body that is larger than the limit for façade requests is answered 413; bodies that only pass through have no
 *      limit and are never whole in memory.
 *   5. Hop-by-hop headers end here; X-Forwarded-For, Forwarded and traceparent go on; "Banyan-Served-By: legacy|banyan"
 *      comes with each answer where the configuration wants it.
 *
 * Threads: its own loops; the functions below may be called by any.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/engine.h"
#include "rollout/keys.h"
#include "rollout/owner.h"
#include "rollout/routing.h"
#include "rollout/traffic.h"
#include "store/aggregate.h"

struct gateway;

struct gateway_options {
    const char *address;  /* to listen on */
    int port;             /* 0: any free one */
    const char *upstream; /* "http://127.0.0.1:8080"; http only */
    const struct banyan_domain *domain;
    struct store *store; /* borrowed, as all below */
    struct aggregates *aggregates;
    struct projections *projections;
    struct owner *owner;
    struct keys *keys;
    struct routing *routing;
    struct traffic *traffic;
    /* Until everything that the legacy application has committed by now is in the read models; NULL: cannot be known.
     */
    enum banyan_status (*wait_source)(void *context, int64_t timeout_us, struct banyan_error *err);
    void *wait_context;
    unsigned loops;              /* threads; 0: 1 */
    unsigned connections_max;    /* of clients; 0: 1,000 */
    unsigned upstream_max;       /* connections; 0: 64 */
    uint64_t facade_body_max;    /* bytes; 0: 1 MiB */
    uint64_t compare_body_max;   /* answers above it are not compared, and counted so; 0: 1 MiB */
    int64_t upstream_timeout_us; /* 0: 30 s */
    int64_t hold_us_max;         /* longest wait of a held write; 0: 5 s */
    bool split;     /* a write of aggregates of both owners is split in two, each atomic by itself; else 409 */
    bool tell_side; /* Banyan-Served-By */
    const char *const *ignored; /* JSON pointers, besides the façade's; NULL-terminated; may be NULL */
};

BANYAN_MUST_CHECK enum banyan_status gateway_start(const struct gateway_options *options, struct gateway **ret,
                                                   struct banyan_error *err);
int gateway_port(const struct gateway *gateway);
/* Its health says that it goes (for a moment before all else, where somebody asks for it); stops accepting, ends what
 * is under way within *drain_us*, joins.  NULL allowed. */
void gateway_stop(struct gateway *gateway, int64_t drain_us);

/* Keep writes until *until_us* (monotone) at most, and wait until none is under way at the upstream or here; TIMEOUT.
 */
BANYAN_MUST_CHECK enum banyan_status gateway_hold(struct gateway *gateway, int64_t until_us, struct banyan_error *err);
void gateway_release(struct gateway *gateway);

struct gateway_figures {
    uint64_t connections, connections_total, requests, passed, reads_legacy, reads_banyan, writes_legacy, writes_banyan,
        split, held, held_refused, shadows, shadows_dropped, mismatches, too_large, upstream_failures;
    unsigned upstream_connections;
    bool upstream_up; /* the last answer was one; looked at once a second when idle */
};
void gateway_figures(struct gateway *gateway, struct gateway_figures *ret);

#endif
