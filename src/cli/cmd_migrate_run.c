/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate start | complete | rollback | cleanup | resume: the verbs that change the database.
 *
 * start takes files and folders, in order: what is applied is left out (an edited file is refused), what stopped goes
 * on.  The others take one migration, by version or file.
 *
 * ^C stops between two tries or batches; everything done is in the books, and resume goes on.  That is no success:
 * the exit code is NOT_MET, so that a script does not deploy on top of it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cmd_migrate.h"

struct running {
    struct migrate_command command;
    struct migrate_progress progress;
    struct pg_conn *conn; /* reads the books */
    struct banyan_arena arena;
    struct banyan_buf json; /* items of the array */
    size_t told;
};

static enum banyan_status begin(struct running *all, const struct migrate_verb *verb, int argc, char **argv,
                                struct banyan_error *err)
{
    *all = (struct running){.json = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX)};
    enum banyan_status st = migrate_begin(verb, argc, argv, &all->command, err);

    migrate_progress_init(&all->progress, all->command.json);
    all->command.run.progress = migrate_progress_show;
    all->command.run.context = &all->progress;
    if (st == BANYAN_OK)
        st = migrate_connect(&all->command, "banyan migrate books", &all->conn, err);
    return st;
}

/* It idles for as long as a migration works, on connections of its own: the server may have ended it since. */
static enum banyan_status wake(struct running *all, struct banyan_error *err)
{
    if (pg_run(all->conn, "SELECT 1", NULL) == BANYAN_OK)
        return BANYAN_OK;
    pg_close(all->conn);
    all->conn = NULL;
    return migrate_connect(&all->command, "banyan migrate books", &all->conn, err);
}

static enum banyan_status end(struct running *all, enum banyan_status st, struct banyan_error *err)
{
    migrate_progress_end(&all->progress);
    if (st == BANYAN_STOPPED) {
        banyan_error_clear(err);
        st = banyan_error_set(err, BANYAN_NOT_MET, "stopped on request; everything done so far is kept");
        banyan_error_hint(err, "`banyan migrate resume` goes on, `banyan migrate rollback VERSION` goes back");
    }
    if (all->command.json && all->json.size > 0)
        printf("{\"migrations\":[%s]}\n", all->json.data);
    banyan_buf_release(&all->json);
    pg_close(all->conn);
    migrate_end(&all->command);
    banyan_arena_release(&all->arena);
    return st;
}

/* ---- telling ---- */

static const char *next_of(enum books_state state)
{
    switch (state) {
    case BOOKS_READY:
        return "old and new code both work; when no old code runs any more: banyan migrate complete";
    case BOOKS_COMPLETED:
        return "banyan migrate rollback still undoes it, until banyan migrate cleanup";
    case BOOKS_ROLLED_BACK:
        return "the schema is as it was before";
    case BOOKS_DONE:
        return "nothing is kept; there is no way back";
    default:
        return "banyan migrate resume goes on";
    }
}

/* What a rollback left as it is: the books go on saying "done" of it. */
static bool is_left(const struct books_migration *books, const struct plan *plan, size_t at)
{
    return books->state == BOOKS_ROLLED_BACK && at < books->step_count && books->steps[at].state == BOOKS_STEP_DONE &&
           plan->steps[at].undo_count == 0;
}

static enum banyan_status tell_left(struct running *all, const struct books_migration *books, struct banyan_error *err)
{
    struct plan plan = {.step_count = 0};
    enum banyan_status st = plan_read(books->plan, &all->arena, &plan, err);
    bool any = false;

    for (size_t i = 0; st == BANYAN_OK && i < plan.step_count; i++) {
        if (!is_left(books, &plan, i))
            continue;
        if (!any)
            printf("the schema is as it was before, but for what nothing undoes:\n");
        any = true;
        printf("  step %zu, %s: %.*s\n", i + 1, plan.steps[i].name, (int)plan.steps[i].title.size,
               plan.steps[i].title.data);
        for (size_t k = 0; k < plan.steps[i].act.statement_count; k++)
            printf("    %.*s;\n", (int)plan.steps[i].act.statements[k].size, plan.steps[i].act.statements[k].data);
    }
    if (st == BANYAN_OK && !any)
        printf("%s\n", next_of(BOOKS_ROLLED_BACK));
    return st;
}

/* How the migration stands now, from the books. */
static enum banyan_status tell(struct running *all, struct banyan_str version, const char *did,
                               struct banyan_error *err)
{
    struct books_migration books;
    char time[OUTPUT_TEXT_SIZE];
    enum banyan_status st = wake(all, err);

    if (st == BANYAN_OK)
        st = books_read(all->conn, version, &all->arena, &books, err);
    migrate_progress_end(&all->progress);
    if (st != BANYAN_OK)
        return st;
    if (all->command.json) {
        banyan_buf_add_text(&all->json, all->told++ > 0 ? ",{" : "{");
        migrate_add_json(&all->json, &books);
        banyan_buf_printf(&all->json, ",\"did\":\"%s\"}", did);
        return BANYAN_OK;
    }
    printf("%.*s is %s (%s of work): ", (int)books.version.size, books.version.data, books_state_name(books.state),
           output_duration(books.execution_ms * 1000, time));
    if (books.state == BOOKS_ROLLED_BACK)
        st = tell_left(all, &books, err);
    else
        printf("%s\n", next_of(books.state));
    (void)fflush(stdout);
    return st;
}

/* ---- start ---- */

static void print_refusals(const struct plan *plan, const struct migration *migration)
{
    for (size_t i = 0; i < plan->refusal_count; i++)
        fprintf(stderr, "%s: %.*s\n", migration->path, (int)plan->refusals[i].size, plan->refusals[i].data);
}

static enum banyan_status start_new(struct running *all, const struct migration *migration, struct banyan_error *err)
{
    struct catalog *catalog = NULL;
    struct plan plan = {.step_count = 0};
    enum banyan_status st = catalog_open(all->conn, &catalog, err);

    if (st == BANYAN_OK)
        st = plan_make(migration, catalog, &all->arena, &plan, err);
    if (st == BANYAN_OK && plan.refusal_count > 0) {
        print_refusals(&plan, migration);
        st = banyan_error_set(err, BANYAN_NOT_MET, "%s cannot start like this: %zu reason%s, see above",
                              migration->path, plan.refusal_count, plan.refusal_count == 1 ? "" : "s");
    }
    if (st == BANYAN_OK && plan.needs_allow && !all->command.run.allow) {
        st = banyan_error_set(err, BANYAN_NOT_MET, "a step of %s runs as it is written: it is not made safe",
                              migration->path);
        banyan_error_hint(err, "`banyan migrate plan` tells what it locks; `--allow` runs it");
    }
    if (st == BANYAN_OK)
        st = run_start(&all->command.run, migration, &plan, err);
    catalog_free(catalog); /* before the trees that it borrows */
    return st;
}

/* Whatever the books say of it: *ret_did* is what was done, NULL: nothing was to do. */
static enum banyan_status start_known(struct running *all, const struct migration *migration,
                                      const struct books_migration *books, const char **ret_did,
                                      struct banyan_error *err)
{
    enum banyan_status st;

    if (books->state == BOOKS_ROLLED_BACK) {
        *ret_did = "started";
        return start_new(all, migration, err);
    }
    st = books_same(books, migration, err);
    if (st != BANYAN_OK)
        return st;
    switch (books->state) {
    case BOOKS_STARTED:
    case BOOKS_EXPANDING:
    case BOOKS_BACKFILLING:
        *ret_did = "resumed";
        return run_resume(&all->command.run, migration->version, err);
    case BOOKS_CONTRACTING:
    case BOOKS_REOPENING:
    case BOOKS_ROLLING_BACK:
    case BOOKS_CLEANING:
        st = banyan_error_set(err, BANYAN_CONFLICT, "%.*s is %s", (int)migration->version.size, migration->version.data,
                              books_state_name(books->state));
        banyan_error_hint(err, "`banyan migrate resume %.*s` brings it to the end of that",
                          (int)migration->version.size, migration->version.data);
        return st;
    default:
        return BANYAN_OK;
    }
}

/* As far as --complete and --cleanup say, from *state* on. */
static enum banyan_status go_on(struct running *all, struct banyan_str version, enum books_state state,
                                const char **did, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    if (all->command.complete && state == BOOKS_READY) {
        *did = *did == NULL ? "completed" : *did;
        st = run_complete(&all->command.run, version, err);
        state = BOOKS_COMPLETED;
    }
    if (st == BANYAN_OK && all->command.cleanup && state == BOOKS_COMPLETED) {
        *did = *did == NULL ? "cleaned up" : *did;
        st = run_cleanup(&all->command.run, version, err);
    }
    return st;
}

static enum banyan_status start_file(struct running *all, const struct migration *migration, struct banyan_error *err)
{
    struct books_migration books = {.state = BOOKS_NONE};
    struct banyan_error reading = BANYAN_ERROR_INIT;
    const char *did = NULL;
    enum banyan_status st = books_read(all->conn, migration->version, &all->arena, &books, &reading);

    if (st == BANYAN_NOT_FOUND) {
        did = "started";
        st = start_new(all, migration, err);
    } else if (st == BANYAN_OK) {
        st = start_known(all, migration, &books, &did, err);
    } else {
        *err = reading;
    }
    if (st == BANYAN_OK)
        st = go_on(all, migration->version, did != NULL ? BOOKS_READY : books.state, &did, err);
    if (st != BANYAN_OK)
        return st;
    if (did == NULL && !all->command.json) {
        printf("%.*s is %s: left out\n", (int)migration->version.size, migration->version.data,
               books_state_name(books.state));
        return BANYAN_OK;
    }
    return tell(all, migration->version, did == NULL ? "left out" : did, err);
}

enum banyan_status migrate_start(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate start",
        .arguments = "FILE|FOLDER...",
        .doc =
            "Expand and backfill, file by file: what is applied is left out, what stopped goes on.  Afterwards old and "
            "new code both work.",
        .argument_min = 1,
        .argument_max = MIGRATE_FILES_MAX,
        .dry_run = true,
        .complete = true,
        .runs = true,
    };
    struct running all;
    struct migrate_files files = {.items = NULL};
    enum banyan_status st = begin(&all, &verb, argc, argv, err);

    (void)cli;
    if (st == BANYAN_OK && all.command.dry_run)
        return end(&all, migrate_plan_files(&all.command, err), err);
    if (st == BANYAN_OK)
        st = migrate_files_read(all.command.arguments, all.command.argument_count, &files, err);
    for (size_t i = 0; i < files.count && st == BANYAN_OK; i++)
        st = start_file(&all, files.items[i], err);
    st = end(&all, st, err);
    migrate_files_release(&files);
    return st;
}

/* ---- one migration that is in the books ---- */

static bool may_complete(const struct books_migration *migration)
{
    return migration->state == BOOKS_READY || migration->state == BOOKS_CONTRACTING;
}
static bool may_clean(const struct books_migration *migration)
{
    return migration->state == BOOKS_COMPLETED || migration->state == BOOKS_CLEANING;
}
static bool may_resume(const struct books_migration *migration)
{
    return migration->paused ||
           (migrate_is_unfinished(migration) && migration->state != BOOKS_READY && migration->state != BOOKS_COMPLETED);
}

struct deed {
    const char *did;
    bool (*fits)(const struct books_migration *migration);
    enum banyan_status (*run)(const struct migrate_command *command, struct banyan_str version,
                              struct banyan_error *err);
    enum plan_phase phase; /* that --dry-run prints; 0: the undo */
};

static void print_action(const struct plan_action *action)
{
    for (size_t i = 0; i < action->statement_count; i++)
        printf("  %.*s;\n", (int)action->statements[i].size, action->statements[i].data);
    if (action->kind == PLAN_BATCHES)
        printf("  UPDATE %.*s AS t SET %.*s WHERE %.*s;  -- in batches\n", (int)action->batches.table.size,
               action->batches.table.data, (int)action->batches.set.size, action->batches.set.data,
               (int)action->batches.needs.size, action->batches.needs.data);
}

/* What would be undone, last first. */
static void print_undo(const struct running *all, const struct books_migration *books, const struct plan *plan)
{
    for (size_t i = plan->step_count; i-- > 0;) {
        const struct plan_step *step = &plan->steps[i];
        enum books_step_state state = i < books->step_count ? books->steps[i].state : BOOKS_STEP_OPEN;

        if (state == BOOKS_STEP_OPEN || state == BOOKS_STEP_UNDONE ||
            (all->command.to_ready && step->phase != PLAN_CONTRACT))
            continue;
        printf("-- undo of %s: %.*s%s\n", step->name, (int)step->title.size, step->title.data,
               step->final             ? ": it stays, nothing undoes it"
               : step->undo_count == 0 ? ": nothing is to be done"
                                       : "");
        for (size_t k = 0; k < step->undo_count; k++)
            print_action(&step->undo[k]);
    }
}

/* What the deed would run, as SQL. */
static enum banyan_status print_deed(struct running *all, const struct books_migration *books, const struct deed *deed,
                                     struct banyan_error *err)
{
    struct plan plan;
    enum banyan_status st;

    if (books->plan.size == 0) { /* adopted: what another tool wrote down */
        printf("%.*s\n", (int)books->rollback_script.size, books->rollback_script.data);
        return BANYAN_OK;
    }
    st = plan_read(books->plan, &all->arena, &plan, err);
    if (st == BANYAN_OK && deed->phase == 0)
        print_undo(all, books, &plan);
    if (deed->phase == 0)
        return st;
    if (st == BANYAN_OK && !deed->fits(books))
        printf("-- it is %s: now this would be refused\n", books_state_name(books->state));
    for (size_t i = 0; st == BANYAN_OK && i < plan.step_count; i++) {
        const struct plan_step *step = &plan.steps[i];
        bool done = i < books->step_count && books->steps[i].state == BOOKS_STEP_DONE;

        if (step->phase != deed->phase || done)
            continue;
        printf("-- %s: %.*s\n", step->name, (int)step->title.size, step->title.data);
        print_action(&step->act);
    }
    return st;
}

static enum banyan_status run_deed(const struct migrate_verb *verb, const struct deed *deed, int argc, char **argv,
                                   struct banyan_error *err)
{
    struct running all;
    struct books_migration books;
    enum banyan_status st = begin(&all, verb, argc, argv, err);

    if (st == BANYAN_OK)
        st = migrate_find(&all.command, all.conn, deed->fits, &all.arena, &books, err);
    if (st == BANYAN_OK && all.command.dry_run)
        return end(&all, print_deed(&all, &books, deed, err), err);
    if (st == BANYAN_OK)
        st = deed->run(&all.command, books.version, err);
    if (st == BANYAN_OK)
        st = tell(&all, books.version, deed->did, err);
    return end(&all, st, err);
}

static enum banyan_status do_complete(const struct migrate_command *command, struct banyan_str version,
                                      struct banyan_error *err)
{
    return run_complete(&command->run, version, err);
}

enum banyan_status migrate_complete(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate complete",
        .arguments = "[VERSION|FILE]",
        .doc = "Contract: what only old code needed is taken away and kept aside.  Old code may fail from here on.",
        .argument_max = 1,
        .dry_run = true,
        .runs = true,
    };
    static const struct deed deed = {"completed", may_complete, do_complete, PLAN_CONTRACT};

    (void)cli;
    return run_deed(&verb, &deed, argc, argv, err);
}

static enum banyan_status run_back(const struct migrate_command *command, struct banyan_str version,
                                   struct banyan_error *err)
{
    return command->to_ready ? run_reopen(&command->run, version, err) : run_rollback(&command->run, version, err);
}

enum banyan_status migrate_rollback(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate rollback",
        .arguments = "VERSION|FILE",
        .doc = "Undo every step that was done, last first; behind complete, too, until cleanup.",
        .argument_min = 1,
        .argument_max = 1,
        .dry_run = true,
        .to_ready = true,
        .runs = true,
    };
    static const struct deed deed = {"rolled back", NULL, run_back, 0};

    (void)cli;
    return run_deed(&verb, &deed, argc, argv, err);
}

static enum banyan_status do_cleanup(const struct migrate_command *command, struct banyan_str version,
                                     struct banyan_error *err)
{
    return run_cleanup(&command->run, version, err);
}

enum banyan_status migrate_cleanup(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate cleanup",
        .arguments = "VERSION|FILE",
        .doc = "Drop what complete kept aside.  There is no way back from here.",
        .argument_min = 1,
        .argument_max = 1,
        .dry_run = true,
        .runs = true,
    };
    static const struct deed deed = {"cleaned up", may_clean, do_cleanup, PLAN_CLEANUP};

    (void)cli;
    return run_deed(&verb, &deed, argc, argv, err);
}

static enum banyan_status do_resume(const struct migrate_command *command, struct banyan_str version,
                                    struct banyan_error *err)
{
    return run_resume(&command->run, version, err);
}

enum banyan_status migrate_resume(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate resume",
        .arguments = "[VERSION|FILE]",
        .doc = "Go on with whatever was under way when it stopped or was paused.",
        .argument_max = 1,
        .runs = true,
    };
    static const struct deed deed = {"resumed", may_resume, do_resume, PLAN_EXPAND};

    (void)cli;
    return run_deed(&verb, &deed, argc, argv, err);
}
