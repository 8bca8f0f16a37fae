/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known besides the traffic, for the guards.
 *
 * Lags are p99 of the last 10,000; they would go on to tell of a backlog that was caught up long ago where little
 * happens.  So a source in which nothing moved for a second and a view that is at the end of the log are not behind.
 */
#include "os/clock.h"
#include "rollout/controller_int.h"

enum {
    IDLE_US = 1000 * 1000,
};

static void source_facts(struct controller *controller, struct legacy *legacy, struct guards_facts *ret)
{
    int64_t now_us = os_clock_monotonic_us(os_clock_real());
    struct legacy_status status;

    legacy_status(legacy, &status);
    ret->source_captures = status.state == LEGACY_CAPTURING;
    ret->source_alarm = status.alarm;
    ret->backfilled = status.backfill_done || controller->source.capture_only;
    if (status.transactions != controller->transactions_seen) {
        controller->transactions_seen = status.transactions;
        controller->transactions_at_us = now_us;
    }
    if (!ret->source_captures)
        return; /* how far it is behind is not known then */
    ret->capture_lag_us = now_us - controller->transactions_at_us > IDLE_US ? 0 : status.lag_us_p99;
}

static void view_facts(struct projections *projections, struct guards_facts *ret)
{
    size_t count = projections_count(projections);
    struct projection_status status;

    ret->views_live = count > 0;
    for (size_t i = 0; i < count; i++) {
        int64_t lag_us;

        projections_status(projections, i, &status);
        if (status.state != PROJECTION_LIVE) {
            ret->views_live = false;
            continue;
        }
        lag_us = status.checkpoint.position.value >= status.tail.value ? 0 : status.lag_us_p99;
        if (lag_us > ret->view_lag_us)
            ret->view_lag_us = lag_us;
    }
    if (!ret->views_live)
        ret->view_lag_us = GUARDS_UNKNOWN;
}

/* Events of the conflict stream that were recorded before this attempt began. */
static uint64_t count_before(struct controller *controller, struct banyan_time started_at, uint64_t version)
{
    struct store_reader *reader = store_reader_open(controller->options.store);
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status st = store_reader_stream_backward(reader, banyan_str_of(controller->conflict_stream),
                                                         (struct banyan_version){0}, &why);

    while (st == BANYAN_OK && version > 0) {
        st = store_reader_next(reader, &event, &why);
        if (st != BANYAN_OK || event.recorded_at.us < started_at.us)
            break;
        version = event.version.value - 1;
    }
    store_reader_close(reader);
    return version; /* where it could not be read: all are earlier ones, as the counters say */
}

static uint64_t conflicts(struct controller *controller)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_head head = {.version = {0}};
    struct machine machine;

    controller_machine(controller, &machine);
    if (store_head(controller->options.store, banyan_str_of(controller->conflict_stream), &head, &why) != BANYAN_OK)
        return 0; /* a store that cannot be read stops everything else */
    if (controller->conflicts_attempt != machine.attempt) {
        controller->conflicts_attempt = machine.attempt;
        controller->conflicts_before = count_before(controller, machine.started_at, head.version.value);
    }
    return head.version.value > controller->conflicts_before ? head.version.value - controller->conflicts_before : 0;
}

static void mirror_facts(struct controller *controller, struct legacy_mirror *mirror, struct guards_facts *ret)
{
    struct legacy_mirror_status status;

    ret->mirror_conflicts = conflicts(controller);
    if (mirror == NULL)
        return;
    legacy_mirror_status(mirror, &status);
    ret->mirror_proven = status.proven;
    ret->mirror_failed = status.error.status != BANYAN_OK;
    ret->mirror_backlog =
        status.tail.value > status.written.value ? (int64_t)(status.tail.value - status.written.value) : 0;
}

static void verify_facts(struct controller *controller, struct guards_facts *ret)
{
    struct banyan_time now = os_clock_now(os_clock_real());

    pthread_mutex_lock(&controller->shared.lock);
    if (controller->shared.verification.known)
        ret->verify_differences = controller->shared.verification.differences;
    if (controller->shared.verification.clean_known)
        ret->verify_age_us = now.us - controller->shared.verification.clean_at.us;
    pthread_mutex_unlock(&controller->shared.lock);
    if (ret->verify_age_us < GUARDS_UNKNOWN)
        ret->verify_age_us = 0; /* the wall clock went back */
}

void controller_facts(struct controller *controller, struct guards_facts *ret)
{
    struct controller_lent lent;

    *ret = (struct guards_facts){.capture_lag_us = GUARDS_UNKNOWN,
                                 .view_lag_us = GUARDS_UNKNOWN,
                                 .mirror_backlog = GUARDS_UNKNOWN,
                                 .verify_age_us = GUARDS_UNKNOWN,
                                 .verify_differences = GUARDS_UNKNOWN};
    controller_lend(controller, &lent);
    if (lent.legacy != NULL)
        source_facts(controller, lent.legacy, ret);
    view_facts(controller->options.projections, ret);
    mirror_facts(controller, lent.mirror, ret);
    ret->gateway_up = lent.has_gateway;
    ret->upstream_up = lent.has_gateway && lent.gateway.upstream_up(lent.gateway.context);
    controller_return(controller);
    verify_facts(controller, ret);
}
