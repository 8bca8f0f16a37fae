/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the rooms of the rollout are tied together: each calls what the others gave it, none knows the whole.
 *
 * The gateway may ask for the state of the source at any time, also before it runs and while it goes away: so what
 * waits for it looks at the server and at the read models, never at the source's threads.
 */
#include "cli/serve_rollout.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/gateway.h"
#include "legacy/fence.h"
#include "os/clock.h"
#include "pg/conn.h"
#include "rollout/controller.h"

struct serve_rollout {
    struct serve_rollout_options options;
    struct machine_policy policy;
    struct legacy_options source; /* what the controller and its verifications want to know */
    struct projections *projections;
    struct aggregates *aggregates;
    struct owner *owner;
    struct keys *keys;
    struct routing *routing;
    struct traffic *traffic;
    struct controller *controller;
    struct http_rollout http;
    const char **ignored; /* JSON pointers, NULL-terminated */

    struct {
        pthread_mutex_t lock; /* guards gateway: it comes later and goes earlier than who asks for its figures */
        struct gateway *gateway;
    } shared;
    struct {
        pthread_mutex_t lock; /* guards conn: one fence at a time */
        struct pg_conn *conn; /* NULL: to be made */
    } fences;
};

/* ---- what others ask ---- */

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    struct serve_rollout *rollout = context;
    return owner_permit(rollout->owner, category, key, creates, arena, ret, err);
}

static enum banyan_status begins(void *context, struct banyan_str category, struct banyan_str key,
                                 struct banyan_error *err)
{
    struct serve_rollout *rollout = context;
    return owner_may_begin(rollout->owner, category, key, err);
}

/* A change of what is being handed back is a conflict, too: nobody may write it then. */
static bool owned(void *context, struct banyan_str category, int64_t key)
{
    struct serve_rollout *rollout = context;
    enum owner_side side = owner_side(rollout->owner, category, key);
    return side == OWNER_SIDE_BANYAN || side == OWNER_SIDE_HELD;
}

/* A position at the server that is behind everything committed by now. */
static enum banyan_status pass_fence(struct serve_rollout *rollout, uint64_t *ret, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    pthread_mutex_lock(&rollout->fences.lock);
    if (rollout->fences.conn == NULL)
        st = pg_connect(&(struct pg_options){.conninfo = rollout->options.config->source->conninfo,
                                             .application_name = "banyan gateway",
                                             .stop = rollout->options.stop},
                        &rollout->fences.conn, err);
    if (st == BANYAN_OK)
        st = fence_message(rollout->fences.conn, rollout->options.config->source->name, ret, err);
    if (st != BANYAN_OK) {
        pg_close(rollout->fences.conn);
        rollout->fences.conn = NULL;
    }
    pthread_mutex_unlock(&rollout->fences.lock);
    return st;
}

static enum banyan_status wait_source(void *context, int64_t timeout_us, struct banyan_error *err)
{
    struct serve_rollout *rollout = context;
    struct os_clock *clock = os_clock_real();
    int64_t until_us = os_clock_monotonic_us(clock) + timeout_us;
    uint64_t lsn = 0;
    enum banyan_status st = pass_fence(rollout, &lsn, err);
    for (size_t i = 0; st == BANYAN_OK && i < projections_count(rollout->projections); i++) {
        int64_t left_us = until_us - os_clock_monotonic_us(clock);
        st = projections_wait_lsn(rollout->projections, i, lsn, left_us > 0 ? left_us : 0, err);
    }
    return st;
}

static enum banyan_status gateway_hold_it(void *context, int64_t until_us, struct banyan_error *err)
{
    return gateway_hold(context, until_us, err);
}

static void gateway_release_it(void *context)
{
    gateway_release(context);
}

static bool gateway_upstream_up(void *context)
{
    struct gateway_figures figures;
    gateway_figures(context, &figures);
    return figures.upstream_up;
}

static size_t figures_of(const struct gateway_figures *f, struct http_figure ret[HTTP_FIGURES_MAX])
{
    const struct http_figure figures[] = {
        {"connections", "banyan_gateway_connections", "Open connections of clients.", false, (double)f->connections},
        {"connections_total", "banyan_gateway_connections_total", "Connections taken.", true,
         (double)f->connections_total},
        {"upstream_connections", "banyan_gateway_upstream_connections", "Connections to the application.", false,
         (double)f->upstream_connections},
        {"upstream_up", "banyan_gateway_upstream_up", "1 while the application answers.", false,
         (double)f->upstream_up},
        {"requests", "banyan_gateway_requests_total", "Requests read.", true, (double)f->requests},
        {"passed", "banyan_gateway_passed_total", "Requests that passed through, not understood.", true,
         (double)f->passed},
        {"reads_legacy", "banyan_gateway_reads_legacy_total", "Reads that the application answered.", true,
         (double)f->reads_legacy},
        {"reads_banyan", "banyan_gateway_reads_banyan_total", "Reads that Banyan answered.", true,
         (double)f->reads_banyan},
        {"writes_legacy", "banyan_gateway_writes_legacy_total", "Writes that the application did.", true,
         (double)f->writes_legacy},
        {"writes_banyan", "banyan_gateway_writes_banyan_total", "Writes that Banyan did.", true,
         (double)f->writes_banyan},
        {"split", "banyan_gateway_split_total", "Writes done in two parts.", true, (double)f->split},
        {"held", "banyan_gateway_held_total", "Writes that waited in a pause.", true, (double)f->held},
        {"held_refused", "banyan_gateway_held_refused_total", "Writes that waited too long: 503.", true,
         (double)f->held_refused},
        {"shadows", "banyan_gateway_shadows_total", "Reads asked of Banyan too, and compared.", true,
         (double)f->shadows},
        {"shadows_dropped", "banyan_gateway_shadows_dropped_total", "Reads that were not compared: too much at once.",
         true, (double)f->shadows_dropped},
        {"mismatches", "banyan_gateway_mismatches_total", "Answers that differed.", true, (double)f->mismatches},
        {"too_large", "banyan_gateway_too_large_total", "Bodies above a limit.", true, (double)f->too_large},
        {"upstream_failures", "banyan_gateway_upstream_failures_total", "Requests that the application did not answer.",
         true, (double)f->upstream_failures},
    };
    memcpy(ret, figures, sizeof(figures));
    return sizeof(figures) / sizeof(figures[0]);
}

static size_t add_figures(void *context, struct http_figure ret[HTTP_FIGURES_MAX])
{
    struct serve_rollout *rollout = context;
    struct gateway_figures figures;
    size_t count = 0;
    pthread_mutex_lock(&rollout->shared.lock);
    if (rollout->shared.gateway != NULL) {
        gateway_figures(rollout->shared.gateway, &figures);
        count = figures_of(&figures, ret);
    }
    pthread_mutex_unlock(&rollout->shared.lock);
    return count;
}

/* ---- start ---- */

enum banyan_status serve_rollout_open(const struct serve_rollout_options *options, struct serve_rollout **ret,
                                      struct banyan_error *err)
{
    const struct config *config = options->config;
    *ret = NULL;
    if (config->source == NULL || options->domain == NULL || options->domain->mapping_count == 0 ||
        options->domain->aggregate_count == 0)
        return BANYAN_OK;
    struct serve_rollout *rollout = alloc_zeroed(1, sizeof(*rollout));
    rollout->options = *options;
    pthread_mutex_init(&rollout->shared.lock, NULL);
    pthread_mutex_init(&rollout->fences.lock, NULL);
    config_rollout_policy(config, &rollout->policy);
    rollout->policy.shadow_only = options->domain->facade != NULL && options->domain->facade->shadow_only;
    enum banyan_status st = owner_open(
        &(struct owner_options){.domain = options->domain, .source = config->source->name, .store = options->store},
        &rollout->owner, err);
    if (st != BANYAN_OK) {
        serve_rollout_close(rollout);
        return st;
    }
    *ret = rollout;
    return BANYAN_OK;
}

struct aggregates_permit serve_rollout_permit(struct serve_rollout *rollout)
{
    return (struct aggregates_permit){
        .permit = rollout == NULL ? NULL : permit, .begins = rollout == NULL ? NULL : begins, .context = rollout};
}

/* The same text, the same buckets, for ever: FNV-1a. */
static uint64_t seed_of(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

enum banyan_status serve_rollout_start(struct serve_rollout *rollout, struct projections *projections,
                                       struct aggregates *aggregates, struct banyan_error *err)
{
    if (rollout == NULL)
        return BANYAN_OK;
    const struct config *config = rollout->options.config;
    struct store *store = rollout->options.store;
    if (config->gateway == NULL && config->rollout == NULL && !serve_rollout_has_history(rollout))
        return BANYAN_OK;
    rollout->projections = projections;
    rollout->aggregates = aggregates;
    config_legacy_options(config, rollout->options.domain, &rollout->source);
    rollout->source.store = store;
    rollout->source.stop = rollout->options.stop;
    rollout->routing = routing_new(seed_of(config->source->name));
    rollout->traffic = traffic_new(NULL);
    enum banyan_status st = keys_open(&(struct keys_options){.domain = rollout->options.domain,
                                                             .source = config->source->name,
                                                             .conninfo = config->source->conninfo,
                                                             .store = store,
                                                             .owner = rollout->owner,
                                                             .block = config_rollout_keys_block(config)},
                                      &rollout->keys, err);
    if (st != BANYAN_OK)
        return st;
    struct controller_options options = {.domain = rollout->options.domain,
                                         .source = &rollout->source,
                                         .store = store,
                                         .projections = projections,
                                         .aggregates = aggregates,
                                         .owner = rollout->owner,
                                         .keys = rollout->keys,
                                         .routing = rollout->routing,
                                         .traffic = rollout->traffic,
                                         .policy = rollout->policy,
                                         .verify_every_us = config_rollout_verify_every_us(config),
                                         .stop = rollout->options.stop};
    config_cutover_options(config, &options.cutover);
    return controller_start(&options, &rollout->controller, err);
}

void serve_rollout_http(struct serve_rollout *rollout, struct http_options *ret)
{
    if (rollout == NULL)
        return;
    ret->owner = rollout->owner; /* also without a rollout: a captured aggregate is the legacy application's */
    if (rollout->controller == NULL)
        return;
    rollout->http = (struct http_rollout){.controller = rollout->controller,
                                          .policy = &rollout->policy,
                                          .source = rollout->options.config->source->name,
                                          .gateway = add_figures,
                                          .context = rollout};
    ret->rollout = &rollout->http;
    ret->routing = rollout->routing;
    ret->keys = rollout->keys;
}

void serve_rollout_legacy_options(struct serve_rollout *rollout, struct legacy_options *ret)
{
    ret->owned = rollout == NULL ? NULL : owned;
    ret->owned_context = rollout;
}

void serve_rollout_set_legacy(struct serve_rollout *rollout, struct legacy *legacy)
{
    if (rollout != NULL && rollout->controller != NULL)
        controller_set_legacy(rollout->controller, legacy);
}

bool serve_rollout_has_history(struct serve_rollout *rollout)
{
    uint64_t epoch = 0;
    return rollout != NULL && owner_mode(rollout->owner, &epoch) >= OWNER_SHARED;
}

/* ---- gateway ---- */

bool serve_rollout_has_gateway(const struct serve_rollout *rollout)
{
    return rollout != NULL && rollout->shared.gateway != NULL;
}

int serve_rollout_gateway_port(const struct serve_rollout *rollout)
{
    return gateway_port(rollout->shared.gateway);
}

static struct gateway_options gateway_options_of(struct serve_rollout *rollout)
{
    const struct config_gateway *gateway = rollout->options.config->gateway;
    rollout->ignored = alloc_zeroed(gateway->ignored_count + 1, sizeof(*rollout->ignored));
    for (unsigned i = 0; i < gateway->ignored_count; i++)
        rollout->ignored[i] = gateway->ignored[i];
    return (struct gateway_options){
        .upstream = gateway->upstream,
        .domain = rollout->options.domain,
        .store = rollout->options.store,
        .aggregates = rollout->aggregates,
        .projections = rollout->projections,
        .owner = rollout->owner,
        .keys = rollout->keys,
        .routing = rollout->routing,
        .traffic = rollout->traffic,
        .wait_source = wait_source,
        .wait_context = rollout,
        .loops = gateway->threads,
        .connections_max = gateway->connections_max,
        .upstream_max = gateway->upstream_connections_max,
        .facade_body_max = (uint64_t)gateway->request_kib_max << 10,
        .compare_body_max = (uint64_t)gateway->compare_kib_max << 10,
        .upstream_timeout_us = (int64_t)gateway->upstream_timeout_seconds * 1000000,
        .hold_us_max = (int64_t)gateway->hold_ms_max * 1000,
        .split = gateway->split,
        .tell_side = gateway->tell_side,
        .ignored = rollout->ignored,
    };
}

enum banyan_status serve_rollout_gateway(struct serve_rollout *rollout, struct banyan_error *err)
{
    const struct config_gateway *config = rollout == NULL ? NULL : rollout->options.config->gateway;
    struct gateway *gateway = NULL;
    char *address = NULL;
    int port = 0;
    if (config == NULL)
        return BANYAN_OK;
    enum banyan_status st = config_address("gateway.listen", config->listen, &address, &port, err);
    if (st != BANYAN_OK)
        return st;
    struct gateway_options options = gateway_options_of(rollout);
    options.address = address;
    options.port = port;
    st = gateway_start(&options, &gateway, err);
    if (st == BANYAN_OK) {
        const struct controller_gateway hooks = {.context = gateway,
                                                 .hold = gateway_hold_it,
                                                 .release = gateway_release_it,
                                                 .upstream_up = gateway_upstream_up};
        pthread_mutex_lock(&rollout->shared.lock);
        rollout->shared.gateway = gateway;
        pthread_mutex_unlock(&rollout->shared.lock);
        controller_set_gateway(rollout->controller, &hooks);
        fprintf(stderr, "gateway on http://%s:%d, in front of %s\n", address, gateway_port(gateway), config->upstream);
    }
    free(address);
    return st;
}

/* ---- stop ---- */

void serve_rollout_close_gateway(struct serve_rollout *rollout)
{
    if (!serve_rollout_has_gateway(rollout))
        return;
    struct gateway *gateway = rollout->shared.gateway;
    controller_set_gateway(rollout->controller, NULL);
    pthread_mutex_lock(&rollout->shared.lock);
    rollout->shared.gateway = NULL;
    pthread_mutex_unlock(&rollout->shared.lock);
    gateway_stop(gateway, (int64_t)rollout->options.config->gateway->drain_seconds * 1000000);
}

void serve_rollout_stop(struct serve_rollout *rollout)
{
    if (rollout == NULL)
        return;
    controller_stop(rollout->controller);
    rollout->controller = NULL;
}

void serve_rollout_close(struct serve_rollout *rollout)
{
    if (rollout == NULL)
        return;
    pg_close(rollout->fences.conn);
    keys_close(rollout->keys);
    traffic_free(rollout->traffic);
    routing_free(rollout->routing);
    owner_close(rollout->owner);
    pthread_mutex_destroy(&rollout->fences.lock);
    pthread_mutex_destroy(&rollout->shared.lock);
    free(rollout->ignored);
    free(rollout);
}
