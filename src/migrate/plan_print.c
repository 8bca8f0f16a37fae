/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan for people: a page that is read before "start" is typed.  First what it is and what it needs, then the phases
 * in their order, each step with its SQL, what it locks and who waits, how it is tried again, what both codes see, what
 * it takes and how it is undone.
 */
#include <inttypes.h>
#include <string.h>

#include "migrate/plan.h"

enum {
    KIB = 1024,
    SECOND_US = 1000 * 1000,
    MINUTE_S = 60,
    HOUR_S = 3600,
};

static const struct phase_text {
    const char *title, *command, *meaning, *after;
} phases[] = {
    [PLAN_EXPAND] = {"EXPAND", "start", "adds and loosens: old code goes on", NULL},
    [PLAN_BACKFILL] = {"BACKFILL", "start", "fills, proves and builds, in nobody's way", NULL},
    [PLAN_CONTRACT] = {"CONTRACT", "complete",
                       "when no old code is left: takes away and tightens; what is taken is kept",
                       "COMPLETED  new code works; a rollback is still possible, with all values"},
    [PLAN_CLEANUP] = {"CLEANUP", "cleanup", "drops what was kept", "DONE  no way back"},
};

/* ---- amounts ---- */

static void add_bytes(struct banyan_buf *ret, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    int64_t tenths = bytes * 10;

    if (bytes == CATALOG_UNKNOWN) {
        banyan_buf_add_text(ret, "an unknown amount");
        return;
    }
    for (; tenths >= 10 * KIB && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        tenths = (tenths + KIB / 2) / KIB;
    if (tenths >= 100 || unit == 0)
        banyan_buf_printf(ret, "%" PRId64 " %s", (tenths + 5) / 10, units[unit]);
    else
        banyan_buf_printf(ret, "%" PRId64 ".%" PRId64 " %s", tenths / 10, tenths % 10, units[unit]);
}

static void add_time(struct banyan_buf *ret, int64_t us)
{
    int64_t seconds = (us + SECOND_US / 2) / SECOND_US;

    if (us == CATALOG_UNKNOWN)
        banyan_buf_add_text(ret, "a time that is not known");
    else if (us < SECOND_US)
        banyan_buf_add_text(ret, us < SECOND_US / 20 ? "an instant" : "less than a second");
    else if (seconds < 2 * MINUTE_S)
        banyan_buf_printf(ret, "about %" PRId64 " s", seconds);
    else if (seconds < 2 * HOUR_S)
        banyan_buf_printf(ret, "about %" PRId64 " min", (seconds + MINUTE_S / 2) / MINUTE_S);
    else
        banyan_buf_printf(ret, "about %" PRId64 ".%" PRId64 " h", seconds / HOUR_S, seconds % HOUR_S / (HOUR_S / 10));
}

static void add_needs(struct banyan_buf *ret, int64_t work_us, int64_t disk_bytes, int64_t wal_bytes)
{
    add_time(ret, work_us);
    if (disk_bytes != 0) {
        banyan_buf_add_text(ret, ", ");
        add_bytes(ret, disk_bytes);
        banyan_buf_add_text(ret, " of disk");
    }
    if (wal_bytes != 0) {
        banyan_buf_add_text(ret, ", ");
        add_bytes(ret, wal_bytes);
        banyan_buf_add_text(ret, " of WAL");
    }
}

/* ---- texts ---- */

static void add_str(struct banyan_buf *ret, struct banyan_str text)
{
    banyan_buf_add_str(ret, text);
}

static void add_label(struct banyan_buf *ret, const char *label)
{
    banyan_buf_printf(ret, "     %-9s ", label);
}

static void add_line(struct banyan_buf *ret, const char *label, struct banyan_str text)
{
    if (text.size == 0)
        return;
    add_label(ret, label);
    add_str(ret, text);
    banyan_buf_add_char(ret, '\n');
}

/* SQL of several lines keeps its form, further to the right. */
static void add_sql(struct banyan_buf *ret, const char *indent, struct banyan_str sql)
{
    banyan_buf_add_text(ret, indent);
    for (size_t i = 0; i < sql.size; i++) {
        banyan_buf_add_char(ret, sql.data[i]);
        if (sql.data[i] == '\n')
            banyan_buf_add_text(ret, indent);
    }
    banyan_buf_add_text(ret, ";\n");
}

static void add_action(struct banyan_buf *ret, const char *indent, const struct plan_action *action)
{
    const struct plan_batches *batches = &action->batches;

    if (action->kind == PLAN_BATCHES) {
        if (batches->keep.size > 0)
            add_sql(ret, indent, batches->keep);
        banyan_buf_add_text(ret, indent);
        banyan_buf_add_text(ret, "UPDATE ");
        add_str(ret, batches->table);
        banyan_buf_add_text(ret, " t SET ");
        add_str(ret, batches->set);
        if (batches->needs.size > 0) {
            banyan_buf_add_text(ret, " WHERE ");
            add_str(ret, batches->needs);
        }
        banyan_buf_add_text(ret, ";\n");
        return;
    }
    if (action->kind == PLAN_TRANSACTION && action->statement_count > 1)
        banyan_buf_printf(ret, "%sBEGIN;\n", indent);
    for (size_t i = 0; i < action->statement_count; i++)
        add_sql(ret, indent, action->statements[i]);
    if (action->kind == PLAN_TRANSACTION && action->statement_count > 1)
        banyan_buf_printf(ret, "%sCOMMIT;\n", indent);
    if (action->kind == PLAN_INDEX_DROP && action->statement_count == 0) {
        banyan_buf_printf(ret, "%sDROP INDEX CONCURRENTLY ", indent);
        add_str(ret, action->index);
        banyan_buf_add_text(ret, ";\n");
    }
}

static const char *retry_text(const struct plan_action *action)
{
    if (action->kind == PLAN_BATCHES)
        return "page by page, some 50 ms a transaction; rows that are locked are skipped and come later; waits where "
               "replicas or sessions do";
    switch (action->retry) {
    case PLAN_RETRY_SHORT:
        return "lock_timeout 200 ms, then again after a pause that grows: nobody queues behind it for longer";
    case PLAN_RETRY_LONG:
        return "a weak lock: it may wait for seconds, and work for as long as it takes";
    default:
        return "CONCURRENTLY: no lock_timeout; who it waits for is told; what is left invalid is dropped and made "
               "again";
    }
}

/* ---- a step ---- */

static void add_locks(struct banyan_buf *ret, const struct plan_step *step)
{
    size_t held = step->lock_count < PLAN_LOCKS_MAX ? step->lock_count : PLAN_LOCKS_MAX;

    for (size_t i = 0; i < held; i++) {
        add_label(ret, i == 0 ? "locks" : "");
        add_str(ret, step->locks[i].relation);
        banyan_buf_printf(ret, "  %s: %s\n", effect_lock_name(step->locks[i].lock),
                          effect_lock_stops(step->locks[i].lock));
    }
    if (step->lock_count > held) {
        add_label(ret, "");
        banyan_buf_printf(ret, "and %zu more\n", step->lock_count - held);
    }
}

static void add_undo(struct banyan_buf *ret, const struct plan_step *step)
{
    if (step->phase == PLAN_CLEANUP)
        return;
    if (step->undo_count == 0) {
        add_line(ret, "undo",
                 step->final ? BANYAN_STR("none: a rollback leaves it as it is") : BANYAN_STR("nothing to undo"));
        return;
    }
    for (size_t i = 0; i < step->undo_count; i++) {
        banyan_buf_add_text(ret, i == 0 ? "     undo\n" : "");
        add_action(ret, "       ", &step->undo[i]);
    }
}

static void add_step(struct banyan_buf *ret, const struct plan_step *step, const struct migration *migration,
                     size_t number)
{
    banyan_buf_printf(ret, "\n%3zu  %s", number, step->name);
    if (step->of < migration->statement_count)
        banyan_buf_printf(ret, " (line %u)", migration->statements[step->of].place.line);
    banyan_buf_add_text(ret, ": ");
    add_str(ret, step->title);
    banyan_buf_add_char(ret, '\n');
    if (step->as_written)
        banyan_buf_printf(ret, "     AS WRITTEN, not made safe: %s\n",
                          step->of < migration->statement_count && migration->statements[step->of].allowed
                              ? "\"allow\" stands before it"
                              : "needs --allow");
    add_action(ret, "       ", &step->act);
    add_locks(ret, step);
    add_line(ret, "tries", banyan_str_of(retry_text(&step->act)));
    add_line(ret, "old code", step->old_code);
    add_line(ret, "new code", step->new_code);
    add_label(ret, "takes");
    add_needs(ret, step->work_us, step->disk_bytes, step->wal_bytes);
    banyan_buf_add_char(ret, '\n');
    add_undo(ret, step);
}

/* ---- the page ---- */

static int64_t sum(int64_t a, int64_t b)
{
    return a == CATALOG_UNKNOWN || b == CATALOG_UNKNOWN ? CATALOG_UNKNOWN : a + b;
}

static void add_head(struct banyan_buf *ret, const struct plan *plan, const struct migration *migration)
{
    int64_t work_us = 0, disk_bytes = 0, wal_bytes = 0;

    add_str(ret, migration->version);
    if (migration->description.size > 0) {
        banyan_buf_add_text(ret, "  ");
        add_str(ret, migration->description);
    }
    banyan_buf_add_text(ret, "\n\n  changes   ");
    for (size_t i = 0; i < plan->table_count; i++) {
        banyan_buf_add_text(ret, i > 0 ? ", " : "");
        add_str(ret, plan->tables[i]);
    }
    banyan_buf_add_text(ret, plan->table_count == 0 ? "no table that is there\n  steps    " : "\n  steps    ");
    for (enum plan_phase phase = PLAN_EXPAND; phase <= PLAN_CLEANUP; phase++) {
        size_t count = 0;

        for (size_t i = 0; i < plan->step_count; i++)
            count += plan->steps[i].phase == phase;
        if (count > 0)
            banyan_buf_printf(ret, " %s %zu", plan_phase_name(phase), count);
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        work_us = sum(work_us, plan->steps[i].work_us);
        disk_bytes = sum(disk_bytes, plan->steps[i].disk_bytes);
        wal_bytes = sum(wal_bytes, plan->steps[i].wal_bytes);
    }
    banyan_buf_add_text(ret, "\n  takes     ");
    add_needs(ret, work_us, disk_bytes, wal_bytes);
    banyan_buf_add_char(ret, '\n');
    if (plan->needs_allow)
        banyan_buf_add_text(ret, "  --allow   is needed: a step below is as written\n");
}

static void add_list(struct banyan_buf *ret, const char *title, const struct banyan_str *texts, size_t count)
{
    if (count > 0)
        banyan_buf_printf(ret, "\n%s\n", title);
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(ret, "  - ");
        add_str(ret, texts[i]);
        banyan_buf_add_char(ret, '\n');
    }
}

static void add_checks(struct banyan_buf *ret, const struct plan *plan)
{
    if (plan->check_count > 0)
        banyan_buf_add_text(ret, "\nCHECKS  asked before it starts, and again before the phase that needs them; each "
                                 "has to count 0\n");
    for (size_t i = 0; i < plan->check_count; i++) {
        const struct plan_check *check = &plan->checks[i];

        banyan_buf_printf(ret, "  - %s%s: 0 ", plan_phase_name(check->phase), check->late ? ", only then" : "");
        add_str(ret, check->message);
        banyan_buf_add_char(ret, '\n');
        add_sql(ret, "       ", check->sql);
        if (check->hint.size > 0) {
            banyan_buf_add_text(ret, "       else: ");
            add_str(ret, check->hint);
            banyan_buf_add_char(ret, '\n');
        }
    }
}

static void add_phase(struct banyan_buf *ret, const struct plan *plan, const struct migration *migration,
                      enum plan_phase phase)
{
    bool any = false;

    for (size_t i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].phase != phase)
            continue;
        if (!any)
            banyan_buf_printf(ret, "\n%s  (%s)  %s\n", phases[phase].title, phases[phase].command,
                              phases[phase].meaning);
        any = true;
        add_step(ret, &plan->steps[i], migration, i + 1);
    }
    if (phase == PLAN_BACKFILL)
        banyan_buf_add_text(ret, "\nREADY  old and new code both work; roll new code out, then \"complete\"\n");
    if (any && phases[phase].after != NULL)
        banyan_buf_printf(ret, "\n%s\n", phases[phase].after);
}

void plan_text(const struct plan *plan, const struct migration *migration, struct banyan_buf *ret)
{
    add_head(ret, plan, migration);
    add_list(ret, "REFUSED  it cannot start", plan->refusals, plan->refusal_count);
    add_list(ret, "NOTES", plan->notes, plan->note_count);
    add_checks(ret, plan);
    for (enum plan_phase phase = PLAN_EXPAND; phase <= PLAN_CLEANUP && plan->step_count > 0; phase++)
        add_phase(ret, plan, migration, phase);
}
