/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate status [--watch] and pause: over a connection of their own, beside whoever works.
 *
 * Without an argument all that is unfinished is shown.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd_migrate.h"
#include "migrate/look.h"
#include "migrate/throttle.h"

enum {
    WATCH_EVERY_US = 1000 * 1000,
    SHOWN_MAX = 64, /* migrations at once */
};

struct looking {
    struct migrate_command command;
    struct pg_conn *conn;
    struct look_memory memories[SHOWN_MAX];
    struct throttle_state throttle; /* remembers how far replicas were */
    struct banyan_arena arena;      /* of one look */
    struct banyan_buf text;
};

/* ---- for people ---- */

static const char *phase_text(const struct books_migration *books)
{
    switch (books->state) {
    case BOOKS_READY:
        return "ready: old and new code both work";
    case BOOKS_COMPLETED:
        return "completed: what was taken away is kept aside";
    case BOOKS_ROLLED_BACK:
        return "rolled back";
    default:
        return books_state_name(books->state);
    }
}

static void add_step(struct banyan_buf *text, const struct look *look)
{
    const struct plan_step *step;
    const struct books_step *books;
    char number[OUTPUT_TEXT_SIZE];

    if (look->step >= look->plan.step_count || look->step >= look->migration.step_count)
        return;
    step = &look->plan.steps[look->step];
    books = &look->migration.steps[look->step];
    banyan_buf_printf(text, "  %s %zu/%zu  %s: %.*s\n",
                      books->state == BOOKS_STEP_UNDOING ? "undo" : plan_phase_name(step->phase), look->step + 1,
                      look->plan.step_count, step->name, (int)step->title.size, step->title.data);
    banyan_buf_add_text(text, "   ");
    if (look->fraction >= 0)
        banyan_buf_printf(text, " %.0f %%", look->fraction >= 0.99 ? 99 : look->fraction * 100);
    if (step->act.kind == PLAN_BATCHES) {
        banyan_buf_printf(text, "  %s rows", output_count((uint64_t)books->rows, number));
        if (look->rows_a_second >= 0)
            banyan_buf_printf(text, "  %s/s", output_count((uint64_t)look->rows_a_second, number));
        if (look->eta_us >= 0)
            banyan_buf_printf(text, "  ETA %s", output_duration(look->eta_us, number));
        banyan_buf_printf(text, "  pass %" PRIu32 ", page %s", books->pass,
                          output_count((uint64_t)books->page, number));
        banyan_buf_printf(text, " of %s", output_count((uint64_t)books->pages, number));
        if (books->batch_pages > 0)
            banyan_buf_printf(text, ", batch %" PRIu32 " pages", books->batch_pages);
    }
    if (books->tries > 1)
        banyan_buf_printf(text, "  try %" PRIu32, books->tries);
    banyan_buf_add_char(text, '\n');
    if (books->message.size > 0)
        banyan_buf_printf(text, "    %s: %.*s\n", look->working ? "waits" : "stopped", (int)books->message.size,
                          books->message.data);
}

static void add_index(struct banyan_buf *text, const struct look_index *index)
{
    char done[OUTPUT_TEXT_SIZE], total[OUTPUT_TEXT_SIZE];

    if (index->phase.size == 0)
        return;
    banyan_buf_printf(text, "    index on %.*s: %.*s", (int)index->table.size, index->table.data,
                      (int)index->phase.size, index->phase.data);
    if (index->total > 0)
        banyan_buf_printf(text, ", %s of %s", output_count((uint64_t)index->done, done),
                          output_count((uint64_t)index->total, total));
    if (index->waiting_pid != 0)
        banyan_buf_printf(text, ", waits for pid %" PRId64, index->waiting_pid);
    banyan_buf_add_char(text, '\n');
}

static void add_throttle(struct banyan_buf *text, const struct throttle_state *throttle)
{
    char number[OUTPUT_TEXT_SIZE], bytes[OUTPUT_TEXT_SIZE];

    if (throttle->replica_lag_us >= 0)
        banyan_buf_printf(text, "  replicas: slowest %s behind, %s to replay\n",
                          output_duration(throttle->replica_lag_us, number),
                          output_bytes(throttle->replica_behind_bytes, bytes));
    else if (throttle->replicas_hidden)
        banyan_buf_add_text(text, "  replicas: not visible to this role (it needs pg_read_all_stats)\n");
    else
        banyan_buf_add_text(text, "  replicas: none is connected\n");
    banyan_buf_printf(text, "  WAL kept by slots: %s   lock waiters: %" PRId64 "   active sessions: ",
                      output_bytes(throttle->kept_wal_bytes, number), throttle->lock_waiters);
    if (throttle->active_sessions >= 0)
        banyan_buf_printf(text, "%" PRId64 "\n", throttle->active_sessions);
    else
        banyan_buf_add_text(text, "not visible to this role\n");
    if (throttle->hold)
        banyan_buf_printf(text, "  a backfill with the usual limits would wait: %.*s\n", (int)throttle->reason.size,
                          throttle->reason.data);
}

static void add_text(struct banyan_buf *text, const struct look *look, struct banyan_arena *arena)
{
    const struct books_migration *books = &look->migration;
    char time[OUTPUT_TEXT_SIZE];

    banyan_buf_printf(text, "%.*s  %.*s\n  %s%s%s, %zu of %zu steps, %s of work\n", (int)books->version.size,
                      books->version.data, (int)books->description.size, books->description.data, phase_text(books),
                      books->paused ? ", PAUSED" : "", look->working ? ", at work" : "", look->done,
                      look->plan.step_count, output_duration(books->execution_ms * 1000 + look->running_us, time));
    add_step(text, look);
    add_index(text, &look->index);
    for (size_t i = 0; i < look->blocker_count; i++) {
        struct banyan_str who = blocker_text(&look->blockers[i], arena);

        banyan_buf_printf(text, "    in the way: %.*s\n", (int)who.size, who.data);
    }
}

/* ---- for scripts ---- */

static void add_text_member(struct banyan_buf *json, const char *name, struct banyan_str text)
{
    banyan_buf_printf(json, ",\"%s\":", name);
    banyan_buf_add_json(json, text.data == NULL ? BANYAN_STR("") : text);
}

static void add_step_json(struct banyan_buf *json, const struct look *look)
{
    const struct plan_step *step;
    const struct books_step *books;

    if (look->step >= look->plan.step_count || look->step >= look->migration.step_count) {
        banyan_buf_add_text(json, ",\"step\":null");
        return;
    }
    step = &look->plan.steps[look->step];
    books = &look->migration.steps[look->step];
    banyan_buf_printf(json, ",\"step\":{\"number\":%zu,\"phase\":\"%s\",\"name\":\"%s\"", look->step + 1,
                      plan_phase_name(step->phase), step->name);
    add_text_member(json, "title", step->title);
    banyan_buf_printf(json,
                      ",\"undoing\":%s,\"tries\":%" PRIu32 ",\"rows\":%" PRId64 ",\"pass\":%" PRIu32
                      ",\"page\":%" PRId64 ",\"pages\":%" PRId64 ",\"batch_pages\":%" PRIu32,
                      books->state == BOOKS_STEP_UNDOING ? "true" : "false", books->tries, books->rows, books->pass,
                      books->page, books->pages, books->batch_pages);
    if (look->fraction >= 0)
        banyan_buf_printf(json, ",\"fraction\":%.4f", look->fraction);
    if (look->rows_a_second >= 0)
        banyan_buf_printf(json, ",\"rows_a_second\":%.0f", look->rows_a_second);
    if (look->eta_us >= 0)
        banyan_buf_printf(json, ",\"eta_us\":%" PRId64, look->eta_us);
    add_text_member(json, "waits", look->working ? books->message : BANYAN_STR(""));
    add_text_member(json, "stopped", look->working ? BANYAN_STR("") : books->message);
    banyan_buf_add_char(json, '}');
}

static void add_blockers_json(struct banyan_buf *json, const struct look *look)
{
    banyan_buf_add_text(json, ",\"blockers\":[");
    for (size_t i = 0; i < look->blocker_count; i++) {
        const struct blocker *blocker = &look->blockers[i];

        banyan_buf_printf(json, "%s{\"pid\":%d,\"age_us\":%" PRId64 ",\"idle_in_transaction\":%s,\"prepared\":%s",
                          i > 0 ? "," : "", blocker->pid, blocker->age_us,
                          blocker->idle_in_transaction ? "true" : "false", blocker->prepared ? "true" : "false");
        add_text_member(json, "user", blocker->user);
        add_text_member(json, "application", blocker->application);
        add_text_member(json, "state", blocker->state);
        add_text_member(json, "query", blocker->query);
        banyan_buf_add_char(json, '}');
    }
    banyan_buf_add_char(json, ']');
}

static void add_json(struct banyan_buf *json, const struct look *look)
{
    const struct look_index *index = &look->index;

    banyan_buf_add_char(json, '{');
    migrate_add_json(json, &look->migration);
    banyan_buf_printf(json, ",\"at_work\":%s,\"steps_done\":%zu,\"steps\":%zu", look->working ? "true" : "false",
                      look->done, look->plan.step_count);
    add_step_json(json, look);
    if (index->phase.size > 0) {
        banyan_buf_printf(json, ",\"index\":{\"done\":%" PRId64 ",\"total\":%" PRId64 ",\"waiting_for_pid\":%" PRId64,
                          index->done, index->total, index->waiting_pid);
        add_text_member(json, "phase", index->phase);
        add_text_member(json, "table", index->table);
        banyan_buf_add_char(json, '}');
    }
    add_blockers_json(json, look);
    banyan_buf_add_char(json, '}');
}

/* What is not known is null. */
static void add_known(struct banyan_buf *json, const char *name, int64_t value)
{
    if (value >= 0)
        banyan_buf_printf(json, ",\"%s\":%" PRId64, name, value);
    else
        banyan_buf_printf(json, ",\"%s\":null", name);
}

static void add_throttle_json(struct banyan_buf *json, const struct throttle_state *throttle)
{
    banyan_buf_printf(json, "{\"hold\":%s,\"replicas\":%s,\"replicas_visible\":%s", throttle->hold ? "true" : "false",
                      throttle->replica_lag_us >= 0 || throttle->replicas_hidden ? "true" : "false",
                      throttle->replicas_hidden ? "false" : "true");
    add_known(json, "replica_lag_us", throttle->replica_lag_us);
    add_known(json, "replica_behind_bytes", throttle->replica_lag_us >= 0 ? throttle->replica_behind_bytes : -1);
    add_known(json, "kept_wal_bytes", throttle->kept_wal_bytes);
    add_known(json, "lock_waiters", throttle->lock_waiters);
    add_known(json, "active_sessions", throttle->active_sessions);
    add_text_member(json, "reason", throttle->hold ? banyan_buf_str(&throttle->reason) : BANYAN_STR(""));
    banyan_buf_add_char(json, '}');
}

/* ---- looking ---- */

/* The versions to show, in *arena*. */
static enum banyan_status shown(struct looking *all, struct banyan_str *ret, size_t *ret_count,
                                struct banyan_error *err)
{
    struct books_migration *list = NULL, one;
    size_t count = 0;
    enum banyan_status st;

    *ret_count = 0;
    if (all->command.argument_count > 0) {
        st = migrate_find(&all->command, all->conn, NULL, &all->arena, &one, err);
        ret[0] = one.version;
        *ret_count = st == BANYAN_OK;
        return st;
    }
    st = books_list(all->conn, &all->arena, &list, &count, err);
    if (st == BANYAN_NOT_FOUND) {
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    for (size_t i = 0; st == BANYAN_OK && i < count; i++)
        if (migrate_is_unfinished(&list[i]) && *ret_count < SHOWN_MAX)
            ret[(*ret_count)++] = list[i].version;
    return st;
}

static enum banyan_status show(struct looking *all, struct banyan_error *err)
{
    struct banyan_str versions[SHOWN_MAX];
    const struct throttle_options options = {.look = true};
    bool json = all->command.json;
    size_t count = 0;
    enum banyan_status st = shown(all, versions, &count, err);

    if (json)
        banyan_buf_add_text(&all->text, "{\"migrations\":[");
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        struct look look;

        st = look_at(all->conn, versions[i], &all->memories[i], &all->arena, &look, err);
        if (st != BANYAN_OK)
            break;
        if (i > 0 && json)
            banyan_buf_add_char(&all->text, ',');
        if (json)
            add_json(&all->text, &look);
        else
            add_text(&all->text, &look, &all->arena);
    }
    if (st == BANYAN_OK)
        throttle_ask(&options, all->conn, &all->throttle);
    if (json) {
        banyan_buf_add_text(&all->text, "],\"server\":");
        add_throttle_json(&all->text, &all->throttle);
        banyan_buf_add_text(&all->text, "}\n");
    } else {
        if (count == 0)
            banyan_buf_add_text(&all->text, "no migration is unfinished\n");
        add_throttle(&all->text, &all->throttle);
    }
    return st;
}

enum banyan_status migrate_status(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate status",
        .arguments = "[VERSION|FILE]",
        .doc = "Phase, step, progress, rate, time left, tries, who is in the way, replica lag, kept WAL.  Without an "
               "argument: all that is unfinished.",
        .argument_max = 1,
        .watch = true,
    };
    struct looking all = {.text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX)};
    enum banyan_status st = migrate_begin(&verb, argc, argv, &all.command, err);

    (void)cli;
    if (st == BANYAN_OK)
        st = migrate_connect(&all.command, "banyan migrate status", &all.conn, err);
    while (st == BANYAN_OK) {
        st = show(&all, err);
        if (os_stop_requested(&all.command.stop)) /* what it asked then was broken off */
            break;
        if (st == BANYAN_OK && all.command.watch && output_colored(stdout) && !all.command.json)
            fputs("\033[H\033[2J", stdout);
        if (st == BANYAN_OK)
            st = migrate_print(&all.text, err);
        banyan_buf_reset(&all.text);
        banyan_arena_reset(&all.arena);
        if (!all.command.watch || os_stop_wait(&all.command.stop, WATCH_EVERY_US))
            break;
    }
    throttle_state_release(&all.throttle);
    banyan_buf_release(&all.text);
    pg_close(all.conn);
    migrate_end(&all.command);
    banyan_arena_release(&all.arena);
    return st;
}

/* ---- pause ---- */

static bool may_pause(const struct books_migration *migration)
{
    return migrate_is_unfinished(migration) && !migration->paused && migration->state != BOOKS_COMPLETED;
}

enum banyan_status migrate_pause(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate pause",
        .arguments = "[VERSION|FILE]",
        .doc = "Whoever works on it stops behind the batch or step that is under way; resume goes on.",
        .argument_max = 1,
    };
    struct looking all = {.text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX)};
    struct books_migration books;
    enum banyan_status st = migrate_begin(&verb, argc, argv, &all.command, err);

    (void)cli;
    if (st == BANYAN_OK)
        st = migrate_connect(&all.command, "banyan migrate pause", &all.conn, err);
    if (st == BANYAN_OK)
        st = migrate_find(&all.command, all.conn, may_pause, &all.arena, &books, err);
    if (st == BANYAN_OK && !migrate_is_unfinished(&books))
        st = banyan_error_set(err, BANYAN_CONFLICT, "%.*s is %s: there is nothing to pause", (int)books.version.size,
                              books.version.data, books_state_name(books.state));
    if (st == BANYAN_OK)
        st = books_pause(all.conn, books.version, true, err);
    books.paused = true;
    if (st == BANYAN_OK && all.command.json) {
        banyan_buf_add_char(&all.text, '{');
        migrate_add_json(&all.text, &books);
        banyan_buf_add_text(&all.text, "}\n");
    } else if (st == BANYAN_OK) {
        banyan_buf_printf(&all.text, "%.*s is paused; banyan migrate resume goes on\n", (int)books.version.size,
                          books.version.data);
    }
    if (st == BANYAN_OK)
        st = migrate_print(&all.text, err);
    banyan_buf_release(&all.text);
    pg_close(all.conn);
    migrate_end(&all.command);
    banyan_arena_release(&all.arena);
    return st;
}
