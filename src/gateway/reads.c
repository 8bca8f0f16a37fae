/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads: which side answers, and what it has to wait for, so that who wrote sees what it wrote.
 *
 *   of an aggregate that is Banyan's    Banyan, from its state
 *   of another, or a list               by the share of reads; a list also where this client or user has just written
 *                                       here: the legacy tables may not have it yet
 *
 * Before Banyan answers what the legacy application may have just written (by this connection, this user, or to this
 * aggregate), it waits for the source; where that takes too long the legacy application answers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/facade.h"

enum {
    POSITION_WAIT_US = 1000 * 1000,
    BLIND_US = 60 * 1000 * 1000, /* without a source to ask, a write is recent for so long */
};

static void measure(const struct ask *ask, enum traffic_side side, bool failed)
{
    const struct gateway *gateway = ask->loop->gateway;
    bool told = side == TRAFFIC_BANYAN && ask->late;
    if (gateway->options.traffic != NULL && !told)
        traffic_answered(gateway->options.traffic, side, TRAFFIC_READ, gateway_now(gateway) - ask->began_us, failed);
}

/* ---- the legacy application answers ---- */

static void on_legacy(struct exchange *exchange, enum exchange_end end)
{
    struct ask *ask = exchange->context;
    struct front *front = ask->front;
    measure(ask, TRAFFIC_LEGACY, end != EXCHANGE_OK || exchange->code >= 500);
    if (end == EXCHANGE_OK)
        shadow_offer(ask, exchange);
    front->ask = NULL;
    ask->front = NULL;
    ask_free(ask);
    pass_over(front, exchange, end);
}

static void ask_the_legacy(struct ask *ask)
{
    gateway_count(&ask->loop->gateway->counts.reads_legacy);
    ask_legacy(ask, banyan_buf_str(&ask->body), true, on_legacy);
}

/* ---- Banyan answers ---- */

static enum banyan_status run(struct ask *ask, struct here *here)
{
    const struct gateway_options *options = &here->gateway->options;
    if (ask->wants.value > 0 && ask->route.projection != NULL && options->projections != NULL) {
        int index = projections_find(options->projections, banyan_str_of(ask->route.projection));
        enum banyan_status st =
            index < 0 ? BANYAN_OK
                      : projections_wait(options->projections, (size_t)index, ask->wants, POSITION_WAIT_US, &ask->err);
        if (st != BANYAN_OK)
            return st;
    }
    return here_read(here, &ask->request, &ask->route, &ask->arena, &ask->response, &ask->err);
}

static void on_done(struct ask *ask)
{
    if (ask->front == NULL) {
        ask_free(ask);
        return;
    }
    if (ask->status != BANYAN_OK && ask->may_fall_back) {
        ask_the_legacy(ask);
        return;
    }
    measure(ask, TRAFFIC_BANYAN, ask->status != BANYAN_OK || ask->response.code >= 500);
    gateway_count(&ask->loop->gateway->counts.reads_banyan);
    if (ask->status == BANYAN_OK)
        ask_answer(ask);
    else
        ask_problem(ask, 503, "Retry-After: 1\r\n", banyan_status_name(ask->status), "this cannot be read now");
}

/* ---- which side ---- */

/* Was it written by the legacy application after the source was last known to be read? */
static bool is_recent(const struct gateway *gateway, int64_t legacy_us)
{
    if (gateway->options.wait_source == NULL)
        return legacy_us != 0 && gateway_now(gateway) - legacy_us < BLIND_US;
    return legacy_us > work_source_us(gateway->work);
}

static void look_back(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    const struct banyan_route *route = &ask->route;
    ask->wants = ask->front->position;
    ask->wants_source = is_recent(gateway, ask->front->legacy_us);
    if (route->key != 0) {
        uint64_t key = recent_key(banyan_str_of(route->category), route->key);
        ask->wants_source = ask->wants_source || is_recent(gateway, recent_legacy_us(gateway->recent, key));
    }
    if (route->user.size > 0) {
        uint64_t user = recent_user(route->user);
        struct banyan_position position = recent_position(gateway->recent, user);
        ask->wants_source = ask->wants_source || is_recent(gateway, recent_legacy_us(gateway->recent, user));
        if (position.value > ask->wants.value)
            ask->wants = position;
    }
}

static bool is_in_share(const struct ask *ask)
{
    const struct routing *routing = ask->loop->gateway->options.routing;
    const struct banyan_route *route = &ask->route;
    struct routing_decisions decisions;
    char key[24];
    if (routing == NULL)
        return false;
    routing_get(routing, &decisions);
    if (decisions.read_share >= ROUTING_SHARE_ALL)
        return true;
    if (route->key != 0) {
        int size = snprintf(key, sizeof(key), "%" PRId64, route->key); /* fits */
        return routing_in(routing, ROUTING_READ, banyan_str_of(route->category),
                          (struct banyan_str){key, (size_t)size});
    }
    return route->user.size > 0 && routing_in(routing, ROUTING_READ, BANYAN_STR("user"), route->user);
}

/* Is what was written here by this client, and is asked for as a list, missing in the legacy tables for a moment? */
static bool wrote_here(const struct ask *ask)
{
    const struct gateway_options *options = &ask->loop->gateway->options;
    struct banyan_position since = options->owner == NULL ? (struct banyan_position){0} : owner_since(options->owner);
    return ask->wants.value > since.value;
}

void read_begin(struct ask *ask)
{
    const struct gateway_options *options = &ask->loop->gateway->options;
    const struct banyan_route *route = &ask->route;
    enum owner_mode mode = OWNER_LEGACY;
    enum owner_side side = OWNER_SIDE_LEGACY;
    uint64_t epoch;
    look_back(ask);
    if (options->owner != NULL) {
        mode = owner_mode(options->owner, &epoch);
        side = route->key != 0        ? owner_side(options->owner, banyan_str_of(route->category), route->key)
               : mode == OWNER_BANYAN ? OWNER_SIDE_BANYAN
                                      : OWNER_SIDE_LEGACY;
    }
    bool ours = side != OWNER_SIDE_LEGACY;
    if (!ours && !is_in_share(ask) && !(route->key == 0 && mode != OWNER_LEGACY && wrote_here(ask))) {
        ask_the_legacy(ask);
        return;
    }
    ask->may_fall_back = !ours || (route->key == 0 && ask->wants.value == 0);
    ask->run = run;
    ask->done = on_done;
    if (ours && route->key != 0)
        ask->wants_source = false; /* nobody else writes it */
    work_submit(ask, ask->wants_source && mode != OWNER_BANYAN);
}
