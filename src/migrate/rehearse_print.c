/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a rehearsal, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>

#include "migrate/rehearse.h"

enum {
    STATE_COUNT = 6,
    LINE_MAX_BYTES = 120, /* of a message, in the list of failures */
};

static const enum books_state states[STATE_COUNT] = {BOOKS_NONE,      BOOKS_EXPANDING, BOOKS_READY,
                                                     BOOKS_COMPLETED, BOOKS_REOPENING, BOOKS_ROLLED_BACK};
static const char *const state_names[STATE_COUNT] = {"before",    "expanded", "ready",
                                                     "completed", "reopened", "rolled back"};

static const char *state_name(enum books_state state)
{
    for (size_t i = 0; i < STATE_COUNT; i++)
        if (states[i] == state)
            return state_names[i];
    return "?";
}

static void add_str(struct banyan_buf *ret, struct banyan_str text)
{
    banyan_buf_printf(ret, "%.*s", (int)text.size, text.data == NULL ? "" : text.data);
}

/* ---- for people ---- */

static void add_steps(const struct rehearse_report *report, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "%-9s %4s  %-28s %12s  %s\n", "phase", "step", "what", "took", "locks held at its end");
    for (size_t i = 0; i < report->step_count; i++) {
        const struct rehearse_step *step = &report->steps[i];
        const struct plan_step *of = &report->plan.steps[step->step];

        banyan_buf_printf(ret, "%-9s %4zu  %-28s %9.1f ms ", step->undo ? "undo" : plan_phase_name(of->phase),
                          step->step + 1, of->name, (double)step->elapsed_us / 1e3);
        for (size_t k = 0; k < step->lock_count; k++) {
            banyan_buf_add_text(ret, k > 0 ? ", " : " ");
            add_str(ret, step->locks[k].relation);
            banyan_buf_printf(ret, " %s", effect_lock_name(step->locks[k].lock));
        }
        if (step->lock_count == 0)
            banyan_buf_add_text(ret,
                                of->act.kind == PLAN_TRANSACTION ? " none" : " not measured: no transaction of ours");
        banyan_buf_add_char(ret, '\n');
    }
}

static void add_cell(const struct rehearse_report *report, bool is_new, enum books_state at, struct banyan_buf *ret)
{
    size_t count = 0, failed = 0, bad = 0;
    char cell[64];

    for (size_t i = 0; i < report->run_count; i++) {
        const struct rehearse_run *run = &report->runs[i];

        if (run->is_new != is_new || run->at != at)
            continue;
        count++;
        failed += run->failed;
        bad += run->failed && !run->allowed_to;
    }
    if (count == 0)
        (void)snprintf(cell, sizeof(cell), "-"); /* fits, as those below */
    else if (failed == 0)
        (void)snprintf(cell, sizeof(cell), "all %zu work", count);
    else
        (void)snprintf(cell, sizeof(cell), "%zu of %zu fail%s", failed, count, bad > 0 ? " !" : " (may)");
    banyan_buf_printf(ret, "%-18s", cell);
}

static void add_code(const struct rehearse_report *report, struct banyan_buf *ret)
{
    if (report->run_count == 0)
        return;
    banyan_buf_printf(ret, "\n%-6s", "code");
    for (size_t i = 0; i < STATE_COUNT; i++)
        banyan_buf_printf(ret, "%-18s", state_names[i]);
    for (int is_new = 0; is_new <= 1; is_new++) {
        banyan_buf_printf(ret, "\n%-6s", is_new ? "new" : "old");
        for (size_t i = 0; i < STATE_COUNT; i++)
            add_cell(report, is_new == 1, states[i], ret);
    }
    banyan_buf_add_char(ret, '\n');
    for (size_t i = 0; i < report->run_count; i++) {
        const struct rehearse_run *run = &report->runs[i];

        if (run->failed)
            banyan_buf_printf(ret, "  %s code, line %u, %s%s: %.*s\n", run->is_new ? "new" : "old", run->line,
                              state_name(run->at), run->allowed_to ? " (it may)" : " (it must not)",
                              (int)(run->message.size > LINE_MAX_BYTES ? LINE_MAX_BYTES : run->message.size),
                              run->message.data);
    }
}

void rehearse_text(const struct rehearse_report *report, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "on %" PRId64 " copied rows\n", report->rows);
    add_steps(report, ret);
    add_code(report, ret);
    if (report->rolled_back && report->differs.size == 0)
        banyan_buf_add_text(ret, "\nafter the rollback every value is as it was before\n");
    else if (report->rolled_back)
        banyan_buf_printf(ret, "\nafter the rollback other values than before: %.*s\n", (int)report->differs.size,
                          report->differs.data);
    else
        banyan_buf_add_text(ret, "\nit was not rolled back\n");
    if (report->failure.size > 0)
        banyan_buf_printf(ret, "it ended early: %.*s\n", (int)report->failure.size, report->failure.data);
}

/* ---- for scripts ---- */

static void add_member(struct banyan_buf *ret, const char *name, struct banyan_str text)
{
    banyan_buf_printf(ret, ",\"%s\":", name);
    banyan_buf_add_json(ret, text.data == NULL ? BANYAN_STR("") : text);
}

static void add_step_json(const struct rehearse_report *report, const struct rehearse_step *step,
                          struct banyan_buf *ret)
{
    const struct plan_step *of = &report->plan.steps[step->step];

    banyan_buf_printf(
        ret, "{\"number\":%zu,\"phase\":\"%s\",\"name\":\"%s\",\"undo\":%s,\"elapsed_us\":%" PRId64 ",\"locks\":[",
        step->step + 1, plan_phase_name(of->phase), of->name, step->undo ? "true" : "false", step->elapsed_us);
    for (size_t k = 0; k < step->lock_count; k++) {
        banyan_buf_add_text(ret, k > 0 ? ",{\"relation\":" : "{\"relation\":");
        banyan_buf_add_json(ret, step->locks[k].relation);
        banyan_buf_printf(ret, ",\"lock\":\"%s\"}", effect_lock_name(step->locks[k].lock));
    }
    banyan_buf_add_text(ret, "]}");
}

void rehearse_json(const struct rehearse_report *report, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "{\"rows\":%" PRId64 ",\"failed\":%s,\"rolled_back\":%s", report->rows,
                      report->failed ? "true" : "false", report->rolled_back ? "true" : "false");
    add_member(ret, "differs", report->differs);
    add_member(ret, "failure", report->failure);
    banyan_buf_add_text(ret, ",\"steps\":[");
    for (size_t i = 0; i < report->step_count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        add_step_json(report, &report->steps[i], ret);
    }
    banyan_buf_add_text(ret, "],\"code\":[");
    for (size_t i = 0; i < report->run_count; i++) {
        const struct rehearse_run *run = &report->runs[i];

        banyan_buf_printf(ret,
                          "%s{\"code\":\"%s\",\"at\":\"%s\",\"statement\":%zu,\"line\":%u,\"failed\":%s,"
                          "\"may_fail\":%s,\"elapsed_us\":%" PRId64,
                          i > 0 ? "," : "", run->is_new ? "new" : "old", state_name(run->at), run->statement + 1,
                          run->line, run->failed ? "true" : "false", run->allowed_to ? "true" : "false",
                          run->elapsed_us);
        add_member(ret, "message", run->message);
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_text(ret, "]}");
}
