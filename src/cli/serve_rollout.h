/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rollout's part of `banyan serve`: ownership, keys, routing, traffic, controller, gateway.
 *
 * Ownership is there where there is a source and a domain that maps its tables: each command asks it.  The others run
 * where the configuration has a gateway or a rollout, and where something is Banyan's: what was begun goes on.
 *
 *   open (ownership) ─▶ start (controller) ─▶ gateway ─▶ … ─▶ close_gateway ─▶ stop ─▶ close
 *
 * Threads: one calls these; what the other rooms call back may come from any.
 */
#ifndef CLI_SERVE_ROLLOUT_H
#define CLI_SERVE_ROLLOUT_H

#include "cli/config.h"
#include "http/server.h"
#include "os/stop.h"
#include "projection/engine.h"
#include "store/aggregate.h"
#include "store/store.h"

struct serve_rollout;

struct serve_rollout_options {
    const struct config *config;        /* borrowed, as all below */
    const struct banyan_domain *domain; /* NULL: no rollout */
    struct store *store;
    struct os_stop *stop;
};

/* *ret NULL: no rollout here; every function below takes that. */
BANYAN_MUST_CHECK enum banyan_status serve_rollout_open(const struct serve_rollout_options *options,
                                                        struct serve_rollout **ret, struct banyan_error *err);
/* What commands have to ask; all zero without a rollout. */
struct aggregates_permit serve_rollout_permit(struct serve_rollout *rollout);
BANYAN_MUST_CHECK enum banyan_status serve_rollout_start(struct serve_rollout *rollout, struct projections *projections,
                                                         struct aggregates *aggregates, struct banyan_error *err);
/* What HTTP shows of it: options->rollout, routing, owner. */
void serve_rollout_http(struct serve_rollout *rollout, struct http_options *ret);
/* The hook of the source: whose changes are conflicts. */
void serve_rollout_legacy_options(struct serve_rollout *rollout, struct legacy_options *ret);
/* The source came up (or NULL: it is going away). */
void serve_rollout_set_legacy(struct serve_rollout *rollout, struct legacy *legacy);
/* Something is Banyan's: so the history of the source is in the log, whether or not it can be reached now. */
bool serve_rollout_has_history(struct serve_rollout *rollout);
/* Listens, where the configuration has a gateway. */
BANYAN_MUST_CHECK enum banyan_status serve_rollout_gateway(struct serve_rollout *rollout, struct banyan_error *err);
bool serve_rollout_has_gateway(const struct serve_rollout *rollout);
int serve_rollout_gateway_port(const struct serve_rollout *rollout);
/* Ends what is under way. */
void serve_rollout_close_gateway(struct serve_rollout *rollout);
/* After os_stop_request(), and after HTTP: the controller. */
void serve_rollout_stop(struct serve_rollout *rollout);
/* Behind everything that asks for ownership. */
void serve_rollout_close(struct serve_rollout *rollout);

#endif
