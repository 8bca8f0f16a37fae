/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate plan: the steps of migrations that are not applied yet, as they would be made now.  Changes nothing,
 * and needs no books.
 *
 * One catalog follows all the files, so that the second is planned for what the first leaves behind.
 */
#include <stdio.h>

#include "cli/cmd_migrate.h"

struct planned {
    struct migrate_command *command;
    struct pg_conn *conn;
    struct catalog *catalog;
    struct banyan_arena arena;
    struct migrate_files files;
    struct banyan_buf text;
    size_t refusals, printed;
    bool needs_allow;
};

/* Applied, or under way: told, and not planned again. */
static enum banyan_status is_known(struct planned *all, const struct migration *migration, bool *ret,
                                   struct banyan_error *err)
{
    struct books_migration books;
    struct banyan_error reading = BANYAN_ERROR_INIT;
    enum banyan_status st = books_read(all->conn, migration->version, &all->arena, &books, &reading);

    *ret = false;
    if (st == BANYAN_NOT_FOUND)
        return BANYAN_OK;
    if (st != BANYAN_OK) {
        *err = reading;
        return st;
    }
    if (books.state == BOOKS_ROLLED_BACK)
        return BANYAN_OK;
    st = books_same(&books, migration, err);
    if (st != BANYAN_OK)
        return st;
    *ret = true;
    if (all->command->json)
        return BANYAN_OK;
    banyan_buf_printf(&all->text, "%.*s is %s: left out\n", (int)books.version.size, books.version.data,
                      books_state_name(books.state));
    return BANYAN_OK;
}

static void add_plan(struct planned *all, const struct migration *migration, const struct plan *plan)
{
    if (!all->command->json) {
        if (all->printed++ > 0)
            banyan_buf_add_char(&all->text, '\n');
        plan_text(plan, migration, &all->text);
        return;
    }
    banyan_buf_add_text(&all->text, all->printed++ > 0 ? ",{\"version\":" : "{\"version\":");
    banyan_buf_add_json(&all->text, migration->version);
    banyan_buf_add_text(&all->text, ",\"file\":");
    banyan_buf_add_json(&all->text, banyan_str_of(migration->path));
    banyan_buf_add_text(&all->text, ",\"plan\":");
    plan_json(plan, &all->text);
    banyan_buf_add_char(&all->text, '}');
}

static enum banyan_status plan_files(struct planned *all, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    if (all->command->json)
        banyan_buf_add_text(&all->text, "{\"plans\":[");
    for (size_t i = 0; i < all->files.count && st == BANYAN_OK; i++) {
        const struct migration *migration = all->files.items[i];
        struct plan plan = {.step_count = 0};
        bool known = false;

        st = is_known(all, migration, &known, err);
        if (st != BANYAN_OK || known)
            continue;
        st = plan_make(migration, all->catalog, &all->arena, &plan, err);
        if (st != BANYAN_OK) {
            banyan_error_context(err, "%s", migration->path);
            continue;
        }
        add_plan(all, migration, &plan);
        all->refusals += plan.refusal_count;
        all->needs_allow |= plan.needs_allow;
    }
    if (all->command->json)
        banyan_buf_add_text(&all->text, "]}\n");
    else if (st == BANYAN_OK && all->text.size == 0)
        banyan_buf_add_text(&all->text, "nothing to do\n");
    return st;
}

static enum banyan_status verdict(const struct planned *all, struct banyan_error *err)
{
    if (all->refusals > 0) {
        banyan_error_set(err, BANYAN_NOT_MET, "it cannot start like this: %zu reason%s, see above", all->refusals,
                         all->refusals == 1 ? "" : "s");
        return BANYAN_NOT_MET;
    }
    if (all->needs_allow && !all->command->run.allow) {
        banyan_error_set(err, BANYAN_NOT_MET, "a step runs as it is written: it is not made safe, see above");
        banyan_error_hint(err, "`--allow`, or \"-- banyan: allow\" above the statement, accepts it");
        return BANYAN_NOT_MET;
    }
    return BANYAN_OK;
}

enum banyan_status migrate_plan_files(struct migrate_command *command, struct banyan_error *err)
{
    struct planned all = {.command = command, .text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX)};
    enum banyan_status st = migrate_files_read(command->arguments, command->argument_count, &all.files, err);

    if (st == BANYAN_OK)
        st = migrate_connect(command, "banyan migrate plan", &all.conn, err);
    if (st == BANYAN_OK)
        st = catalog_open(all.conn, &all.catalog, err);
    if (st == BANYAN_OK)
        st = plan_files(&all, err);
    if (st == BANYAN_OK)
        st = migrate_print(&all.text, err);
    if (st == BANYAN_OK)
        st = verdict(&all, err);
    banyan_buf_release(&all.text);
    catalog_free(all.catalog); /* before the trees that it borrows */
    pg_close(all.conn);
    migrate_files_release(&all.files);
    banyan_arena_release(&all.arena);
    return st;
}

enum banyan_status migrate_plan(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate plan",
        .arguments = "FILE|FOLDER...",
        .doc =
            "The phases and steps of migrations that are not applied yet: statements, locks, tries, what old and new "
            "code see, sizes and times, and the undo of each.  Changes nothing.  Exit code 27 when one cannot start.",
        .argument_min = 1,
        .argument_max = MIGRATE_FILES_MAX,
        .plans = true,
    };
    struct migrate_command command;
    enum banyan_status st = migrate_begin(&verb, argc, argv, &command, err);

    (void)cli;
    if (st == BANYAN_OK)
        st = migrate_plan_files(&command, err);
    migrate_end(&command);
    return st;
}
