/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate history: every migration of the database, oldest first; of one, its steps with their times.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/cmd_migrate.h"
#include "cli/table.h"

enum {
    CELL_SIZE = 64,
};

struct remembering {
    struct migrate_command command;
    struct pg_conn *conn;
    struct banyan_arena arena;
    struct banyan_buf json;
};

static const char *time_text(int64_t us, char text[CELL_SIZE])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts;

    if (us == 0 || gmtime_r(&seconds, &parts) == NULL)
        return "";
    return strftime(text, CELL_SIZE, "%Y-%m-%d %H:%M:%S", &parts) > 0 ? text : "";
}

static const char *text_of(struct remembering *all, struct banyan_str text)
{
    return text.data == NULL ? "" : banyan_arena_str(&all->arena, text).data;
}

/* ---- all ---- */

static void print_list(struct remembering *all, const struct books_migration *list, size_t count)
{
    static const char *const columns[] = {"version", "state", "applied (UTC)", "by", "work", "description"};
    struct table *table = table_new("migrations", columns, sizeof(columns) / sizeof(columns[0]));
    char applied[CELL_SIZE], work[OUTPUT_TEXT_SIZE];

    for (size_t i = 0; i < count; i++) {
        const char *const cells[] = {text_of(all, list[i].version),
                                     books_state_name(list[i].state),
                                     time_text(list[i].applied_us, applied),
                                     text_of(all, list[i].applied_by),
                                     output_duration(list[i].execution_ms * 1000, work),
                                     text_of(all, list[i].description)};

        table_add(table, cells);
    }
    table_print(table, stdout, false);
    table_free(table);
}

static enum banyan_status tell_all(struct remembering *all, struct banyan_error *err)
{
    struct books_migration *list = NULL;
    size_t count = 0;
    enum banyan_status st = books_list(all->conn, &all->arena, &list, &count, err);

    if (st == BANYAN_NOT_FOUND) { /* nothing was ever migrated here */
        banyan_error_clear(err);
        st = BANYAN_OK;
        count = 0;
    }
    if (st != BANYAN_OK)
        return st;
    if (!all->command.json) {
        print_list(all, list, count);
        return BANYAN_OK;
    }
    banyan_buf_add_text(&all->json, "{\"migrations\":[");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(&all->json, i > 0 ? ",{" : "{");
        migrate_add_json(&all->json, &list[i]);
        banyan_buf_add_char(&all->json, '}');
    }
    banyan_buf_add_text(&all->json, "]}\n");
    return migrate_print(&all->json, err);
}

/* ---- one ---- */

static const char *step_state(enum books_step_state state)
{
    static const char *const names[] = {"open", "running", "done", "undoing", "undone"};

    return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void print_steps(const struct books_migration *books, const struct plan *plan)
{
    static const char *const columns[] = {"step", "phase", "name", "state", "began (UTC)", "took", "tries", "rows"};
    struct table *table = table_new("steps", columns, sizeof(columns) / sizeof(columns[0]));

    for (size_t i = 0; i < books->step_count && i < plan->step_count; i++) {
        const struct books_step *step = &books->steps[i];
        char number[CELL_SIZE], began[CELL_SIZE], took[OUTPUT_TEXT_SIZE], tries[CELL_SIZE], rows[OUTPUT_TEXT_SIZE];
        const char *const cells[] = {
            number,
            plan_phase_name(plan->steps[i].phase),
            plan->steps[i].name,
            step_state(step->state),
            time_text(step->started_us, began),
            step->state == BOOKS_STEP_DONE ? output_duration(step->ended_us - step->started_us, took) : "",
            tries,
            plan->steps[i].act.kind == PLAN_BATCHES ? output_count((uint64_t)step->rows, rows) : ""};

        (void)snprintf(number, sizeof(number), "%zu", i + 1);          /* fits */
        (void)snprintf(tries, sizeof(tries), "%" PRIu32, step->tries); /* fits */
        table_add(table, cells);
    }
    table_print(table, stdout, false);
    table_free(table);
}

static void add_steps_json(struct banyan_buf *json, const struct books_migration *books, const struct plan *plan)
{
    banyan_buf_add_text(json, ",\"steps\":[");
    for (size_t i = 0; i < books->step_count && i < plan->step_count; i++) {
        const struct books_step *step = &books->steps[i];

        banyan_buf_printf(json,
                          "%s{\"number\":%zu,\"phase\":\"%s\",\"name\":\"%s\",\"state\":\"%s\",\"started_us\":%" PRId64
                          ",\"ended_us\":%" PRId64 ",\"tries\":%" PRIu32 ",\"rows\":%" PRId64 "}",
                          i > 0 ? "," : "", i + 1, plan_phase_name(plan->steps[i].phase), plan->steps[i].name,
                          step_state(step->state), step->started_us, step->ended_us, step->tries, step->rows);
    }
    banyan_buf_add_char(json, ']');
}

static enum banyan_status tell_one(struct remembering *all, struct banyan_error *err)
{
    struct books_migration books;
    struct plan plan = {.step_count = 0};
    enum banyan_status st = migrate_find(&all->command, all->conn, NULL, &all->arena, &books, err);

    if (st == BANYAN_OK && books.plan.size > 0)
        st = plan_read(books.plan, &all->arena, &plan, err);
    if (st != BANYAN_OK)
        return st;
    if (!all->command.json) {
        print_list(all, &books, 1);
        print_steps(&books, &plan);
        return BANYAN_OK;
    }
    banyan_buf_add_char(&all->json, '{');
    migrate_add_json(&all->json, &books);
    add_steps_json(&all->json, &books, &plan);
    banyan_buf_add_text(&all->json, "}\n");
    return migrate_print(&all->json, err);
}

enum banyan_status migrate_history(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate history",
        .arguments = "[VERSION|FILE]",
        .doc = "Every migration of the database with its state, who started it and when; of one, its steps and their "
               "times.",
        .argument_max = 1,
    };
    struct remembering all = {.json = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX)};
    enum banyan_status st = migrate_begin(&verb, argc, argv, &all.command, err);

    (void)cli;
    if (st == BANYAN_OK)
        st = migrate_connect(&all.command, "banyan migrate history", &all.conn, err);
    if (st == BANYAN_OK)
        st = all.command.argument_count > 0 ? tell_one(&all, err) : tell_all(&all, err);
    banyan_buf_release(&all.json);
    pg_close(all.conn);
    migrate_end(&all.command);
    banyan_arena_release(&all.arena);
    return st;
}
