/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Old and new code against a phase: each statement in a transaction that is rolled back, so that none sees what another
 * did.  Settings (SET search_path …) stay; BEGIN and COMMIT are left out, since they mean nothing then.
 *
 *   | code | before | expanded | ready | completed | reopened | rolled back |
 *   | old  | must   | must     | must  | may fail  | must     | must        |
 *   | new  | may    | may      | must  | must      | must     | may         |
 */
#include "migrate/rehearse_int.h"
#include "os/clock.h"

static bool may_fail(bool is_new, enum books_state at)
{
    if (is_new)
        return at == BOOKS_NONE || at == BOOKS_EXPANDING || at == BOOKS_ROLLED_BACK;
    return at == BOOKS_COMPLETED;
}

enum banyan_status rehearse_code_read(const char *text, bool is_new, struct rehearse_code *ret,
                                      struct banyan_error *err)
{
    enum banyan_status st;

    *ret = (struct rehearse_code){.is_new = is_new};
    if (text == NULL)
        return BANYAN_OK;
    st = migration_parse(is_new ? "new.sql" : "old.sql", banyan_str_of(text), &ret->statements, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "%s code", is_new ? "new" : "old");
    return st;
}

void rehearse_code_release(struct rehearse_code *code)
{
    migration_free(code->statements);
    code->statements = NULL;
}

static struct rehearse_run *add_run(struct rehearse_report *report, struct banyan_arena *arena)
{
    struct rehearse_run *runs = banyan_arena_alloc(arena, (report->run_count + 1) * sizeof(*runs));

    if (report->run_count > 0)
        memcpy(runs, report->runs, report->run_count * sizeof(*runs));
    report->runs = runs;
    runs[report->run_count] = (struct rehearse_run){.failed = false};
    return &runs[report->run_count++];
}

static enum banyan_status run_statement(struct pg_conn *conn, const struct statement *statement,
                                        struct banyan_arena *arena, struct banyan_error *err)
{
    const char *sql = banyan_arena_str(arena, statement->text).data;
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status st, ended;

    if (statement->kind == STATEMENT_SETTING)
        return pg_exec(conn, sql, NULL, 0, NULL, err);
    st = pg_run(conn, "BEGIN", err);
    if (st != BANYAN_OK)
        return st;
    st = pg_exec(conn, sql, NULL, 0, NULL, err);
    ended = pg_run(conn, "ROLLBACK", &ignored);
    if (st == BANYAN_OK && ended != BANYAN_OK)
        *err = ignored;
    return st == BANYAN_OK ? ended : st;
}

enum banyan_status rehearse_code_run(const struct rehearse_code *code, struct pg_conn *conn, enum books_state at,
                                     struct banyan_arena *arena, struct rehearse_report *report,
                                     struct banyan_error *err)
{
    for (size_t i = 0; code->statements != NULL && i < code->statements->statement_count; i++) {
        const struct statement *statement = &code->statements->statements[i];
        struct banyan_error failure = BANYAN_ERROR_INIT;
        struct rehearse_run *run;
        int64_t began = os_clock_monotonic_us(os_clock_real());
        enum banyan_status st;

        if (statement->kind == STATEMENT_TRANSACTION)
            continue;
        st = run_statement(conn, statement, arena, &failure);
        if (st == BANYAN_STOPPED || st == BANYAN_UNAVAILABLE || st == BANYAN_BROKEN) {
            *err = failure;
            return st;
        }
        run = add_run(report, arena);
        run->at = at;
        run->is_new = code->is_new;
        run->statement = i;
        run->line = statement->place.line;
        run->elapsed_us = os_clock_monotonic_us(os_clock_real()) - began;
        run->failed = st != BANYAN_OK;
        run->allowed_to = may_fail(code->is_new, at);
        run->message = banyan_arena_str(arena, banyan_str_of(failure.message));
        report->failed |= run->failed && !run->allowed_to;
    }
    return BANYAN_OK;
}
