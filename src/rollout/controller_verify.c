/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The full verification in the background: every view that mirrors a legacy table, one after the other, while all are
 * in use.  Its result is an event VerificationEnded in the stream "$verify-<source>":
 *
 *     {"differences":0,"rows":100,"cells":1500,"unsettled":0,"looked_again":2,"elapsed_us":81000,"position":4711}
 *
 * *position* is where the log stood when it began: what changed behind it has to be compared again
 * (cutover_postgres.h).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/jtext.h"
#include "legacy/verify.h"
#include "os/clock.h"
#include "rollout/controller_int.h"

enum {
    AGAIN_US = 10 * 1000 * 1000, /* after differences, or a failure */
    WAIT_US = 60 * 1000 * 1000,  /* for a view to pass a fence */
    MIRROR_WAIT_US = 1000 * 1000,
};

static const char event_type[] = "VerificationEnded";

/* ---- results ---- */

/* Digits that fit; the stream is our own. */
static uint64_t number_of(struct banyan_str text)
{
    uint64_t number = 0;

    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    return number;
}

static enum banyan_status read_result(const struct store_read_event *event, struct controller_verification *ret,
                                      struct banyan_error *err)
{
    struct jtext_input in = jtext_input(event->event.payload);
    struct banyan_position position = {0};
    struct banyan_str name, raw;
    int64_t differences = 0;

    if (jtext_object(&in)) {
        while (jtext_member(&in, &name)) {
            bool number = jtext_is(name, "differences") || jtext_is(name, "position");

            if (!number || !jtext_number(&in, &raw))
                (void)jtext_skip(&in, &raw);
            else if (jtext_is(name, "differences"))
                differences = (int64_t)number_of(raw);
            else
                position.value = number_of(raw);
        }
    }
    if (!jtext_end(&in))
        return banyan_error_set(err, BANYAN_CORRUPT, "event %s: %s", event_type, in.fault);
    if (!ret->known) {
        ret->known = true;
        ret->at = event->event.at;
        ret->differences = differences;
        ret->position = position;
    }
    if (differences == 0) {
        ret->clean_known = true;
        ret->clean_at = event->event.at;
        ret->clean_position = position;
    }
    return BANYAN_OK;
}

/* The last one, and the last one without differences. */
enum banyan_status controller_verify_load(struct controller *controller, struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(controller->options.store);
    struct controller_verification *verification = &controller->shared.verification;
    struct store_read_event event;
    enum banyan_status st =
        store_reader_stream_backward(reader, banyan_str_of(controller->verify_stream), (struct banyan_version){0}, err);

    while (st == BANYAN_OK && !verification->clean_known) {
        st = store_reader_next(reader, &event, err);
        if (st == BANYAN_OK)
            st = read_result(&event, verification, err);
    }
    store_reader_close(reader);
    if (st != BANYAN_NOT_FOUND)
        return st;
    banyan_error_clear(err); /* there was none yet */
    return BANYAN_OK;
}

static enum banyan_status write_result(struct controller *controller, const struct verify_report *report,
                                       struct banyan_position position, struct banyan_error *err)
{
    struct banyan_time now = os_clock_now(os_clock_real());
    struct banyan_buf json = BANYAN_BUF_INIT(CONTROLLER_PAYLOAD_BYTES_MAX);
    struct controller_verification *shown = &controller->shared.verification;
    struct store_head head;
    enum banyan_status st;

    banyan_buf_printf(&json,
                      "{\"differences\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"cells\":%" PRIu64 ",\"unsettled\":%" PRIu64
                      ",\"looked_again\":%" PRIu64 ",\"elapsed_us\":%" PRId64 ",\"position\":%" PRIu64 "}",
                      report->differences, report->rows, report->cells, report->unsettled, report->looked_again,
                      report->elapsed_us, position.value);
    st = store_head(controller->options.store, banyan_str_of(controller->verify_stream), &head, err);
    if (st == BANYAN_OK)
        st = controller_append(controller, controller->verify_stream, head.version.value, event_type, now,
                               banyan_buf_str(&json), err);
    banyan_buf_release(&json);
    if (st != BANYAN_OK)
        return st;
    pthread_mutex_lock(&controller->shared.lock);
    shown->known = true;
    shown->at = now;
    shown->differences = (int64_t)report->differences;
    shown->position = position;
    if (report->differences == 0) {
        shown->clean_known = true;
        shown->clean_at = now;
        shown->clean_position = position;
    }
    pthread_mutex_unlock(&controller->shared.lock);
    return BANYAN_OK;
}

/* ---- running ---- */

struct turn {
    struct controller *controller;
    size_t view;
};

/* A view is ahead of the legacy table by what the mirror has not written yet: the next look has to come behind that. */
static enum banyan_status wait_for_both(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    const struct turn *turn = context;
    struct controller *controller = turn->controller;
    int64_t limit_us = timeout_us > 0 && timeout_us < WAIT_US ? timeout_us : WAIT_US;
    struct controller_lent lent;
    enum banyan_status st = projections_wait_lsn(controller->options.projections, turn->view, lsn, limit_us, err);

    if (st != BANYAN_OK)
        return st;
    controller_lend(controller, &lent);
    if (lent.mirror != NULL && owner_mode(controller->options.owner, NULL) > OWNER_LEGACY)
        st = legacy_mirror_wait(lent.mirror, store_durable(controller->options.store), MIRROR_WAIT_US, NULL);
    controller_return(controller);
    /* Where the mirror cannot keep up, what is missing is found to differ, as it should. */
    return st == BANYAN_STOPPED ? st : BANYAN_OK;
}

static enum banyan_status verify_view(struct controller *controller, size_t index, struct verify_report *total,
                                      struct banyan_error *err)
{
    struct projections *projections = controller->options.projections;
    struct turn turn = {controller, index};
    struct verify_report report = {.rows = 0};
    struct sink_view *view = NULL;
    enum banyan_status st = projections_view(projections, index, &view, err);

    if (st == BANYAN_OK) {
        struct verify_options options = {
            .legacy = &controller->source,
            .projection = projections_spec(projections, index),
            .view = view,
            .wait = wait_for_both,
            .wait_context = &turn,
            .stop = controller->options.stop,
        };

        st = legacy_verify(&options, &report, err);
    }
    sink_view_close(view);
    if (st != BANYAN_OK)
        banyan_error_context(err, "verification of view %s", projections_name(projections, index));
    total->rows += report.rows;
    total->cells += report.cells;
    total->differences += report.differences;
    total->unsettled += report.unsettled;
    total->looked_again += report.looked_again;
    total->elapsed_us += report.elapsed_us;
    return st;
}

static enum banyan_status verify_all(struct controller *controller, struct banyan_error *err)
{
    struct projections *projections = controller->options.projections;
    struct banyan_position position = store_durable(controller->options.store);
    struct verify_report total = {.rows = 0};
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; st == BANYAN_OK && i < projections_count(projections); i++) {
        if (projections_spec(projections, i)->mirrors != NULL)
            st = verify_view(controller, i, &total, err);
    }
    return st == BANYAN_OK ? write_result(controller, &total, position, err) : st;
}

/* ---- when ---- */

/* Before a step where it is older than a step allows: so it is renewed well before that. */
static int64_t every_us(const struct controller *controller)
{
    int64_t every = controller->options.verify_every_us > 0 ? controller->options.verify_every_us : INT64_C(3600000000);
    int64_t limit = controller->options.policy.limits.verify_age_us_max / 4 * 3;

    return limit > 0 && limit < every ? limit : every;
}

static bool is_due(struct controller *controller)
{
    const struct controller_verification *last = &controller->shared.verification;
    int64_t now_us = os_clock_now(os_clock_real()).us;
    enum machine_state state;
    bool ready, due;

    pthread_mutex_lock(&controller->shared.lock);
    state = controller->shared.machine.state;
    ready = controller->shared.facts.source_captures && controller->shared.facts.views_live;
    due = !last->known || now_us - last->at.us > (last->differences > 0 ? AGAIN_US : every_us(controller)) ||
          last->at.us > now_us;
    pthread_mutex_unlock(&controller->shared.lock);
    return ready && due && state >= MACHINE_SHADOW && state <= MACHINE_EVENT_FIRST && state != MACHINE_CUTTING_OVER;
}

static void show(struct controller *controller, bool verifying, const struct banyan_error *why)
{
    pthread_mutex_lock(&controller->shared.lock);
    controller->shared.verifying = verifying;
    if (why != NULL)
        controller->shared.verify_error = *why;
    pthread_mutex_unlock(&controller->shared.lock);
}

void controller_verify_main(void *argument)
{
    struct controller *controller = argument;
    int64_t pause_us = CONTROLLER_TICK_US;

    while (!os_stop_wait(controller->options.stop, pause_us)) {
        struct banyan_error why = BANYAN_ERROR_INIT;

        pause_us = CONTROLLER_TICK_US;
        if (!is_due(controller))
            continue;
        show(controller, true, NULL);
        if (verify_all(controller, &why) != BANYAN_OK)
            pause_us = AGAIN_US;
        show(controller, false, &why);
    }
}
