/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate lint: what the statements of a migration do to a busy database.  Needs no configuration, no store and
 * no server; with one it knows more.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cmd_migrate.h"
#include "cli/options.h"
#include "migrate/lint.h"

enum {
    OPTION_CONNINFO = 0x900,
    OPTION_FORMAT,
};

struct lint_command {
    const char *conninfo;
    enum lint_format format;
    const char *arguments[MIGRATE_FILES_MAX];
    size_t argument_count;
};

static const struct argp_option lint_options[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0,
     "Database that the migration is for: sizes, indexes, CHECKs, views (default: none, the worst case is told)", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "text, json, sarif or github (default text)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static enum lint_format format_of(struct argp_state *state, const char *name)
{
    static const char *const names[] = {"text", "json", "sarif", "github"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return (enum lint_format)i;
    argp_error(state, "--format is one of text, json, sarif, github");
    return LINT_TEXT;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct lint_command *command = state->input;

    switch (key) {
    case OPTION_CONNINFO:
        command->conninfo = argument;
        return 0;
    case OPTION_FORMAT:
        command->format = format_of(state, argument);
        return 0;
    case ARGP_KEY_ARG:
        if (command->argument_count == MIGRATE_FILES_MAX)
            argp_error(state, "too many arguments");
        command->arguments[command->argument_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->argument_count == 0)
            argp_error(state, "which files?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct linted {
    struct banyan_arena arena;
    struct pg_conn *conn;
    struct migrate_files files;
    struct catalog **catalogs; /* one a file, as all that follows */
    struct lint_report *reports;
    struct lint_of *items;
    unsigned errors, warnings;
};

static enum banyan_status lint_file(struct linted *all, size_t at, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    if (all->conn == NULL)
        all->catalogs[at] = catalog_offline(0);
    else
        st = catalog_open(all->conn, &all->catalogs[at], err);
    if (st == BANYAN_OK)
        st = lint_migration(all->files.items[at], all->catalogs[at], &all->arena, &all->reports[at], err);
    if (st != BANYAN_OK)
        return st;
    all->items[at] = (struct lint_of){.migration = all->files.items[at], .report = &all->reports[at]};
    for (size_t i = 0; i < all->reports[at].count; i++) {
        all->errors += all->reports[at].findings[i].severity == LINT_ERROR;
        all->warnings += all->reports[at].findings[i].severity == LINT_WARNING;
    }
    return BANYAN_OK;
}

static enum banyan_status lint_files(const struct lint_command *command, struct linted *all, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX);
    enum banyan_status st = migrate_files_read(command->arguments, command->argument_count, &all->files, err);

    if (st != BANYAN_OK)
        return st;
    all->catalogs = banyan_arena_zalloc(&all->arena, all->files.count * sizeof(struct catalog *));
    all->reports = banyan_arena_zalloc(&all->arena, all->files.count * sizeof(struct lint_report));
    all->items = banyan_arena_zalloc(&all->arena, all->files.count * sizeof(struct lint_of));
    if (command->conninfo != NULL) {
        struct pg_options options = {.conninfo = command->conninfo, .application_name = "banyan migrate lint"};

        st = pg_connect(&options, &all->conn, err);
    }
    for (size_t i = 0; i < all->files.count && st == BANYAN_OK; i++)
        st = lint_file(all, i, err);
    if (st == BANYAN_OK) {
        lint_print(all->items, all->files.count, command->format, &text);
        st = migrate_print(&text, err);
    }
    banyan_buf_release(&text);
    if (st == BANYAN_OK && all->errors + all->warnings > 0) {
        banyan_error_set(err, BANYAN_MISMATCH, "%u error%s and %u warning%s", all->errors, all->errors == 1 ? "" : "s",
                         all->warnings, all->warnings == 1 ? "" : "s");
        banyan_error_hint(
            err,
            "this is what it does where psql or another tool runs it; `banyan migrate plan` tells how Banyan would. "
            "docs/MIGRATE.md has the rules; \"-- banyan: allow\" above a statement accepts it");
        st = BANYAN_MISMATCH;
    }
    return st;
}

enum banyan_status migrate_lint(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static struct lint_command command; /* large */
    struct linted all = {.arena = BANYAN_ARENA_INIT};
    const struct argp argp = {lint_options,
                              parse_option,
                              "FILE|FOLDER...",
                              "What each statement locks, rewrites and reads, and the safe way.  Exit code 8 when "
                              "there is an error or warning.",
                              NULL,
                              NULL,
                              NULL};
    enum banyan_status st;

    (void)cli;
    options_parse(&argp, "banyan migrate lint", argc, argv, &command);
    st = lint_files(&command, &all, err);
    for (size_t i = 0; i < all.files.count && all.catalogs != NULL; i++)
        catalog_free(all.catalogs[i]); /* before the trees that it borrows */
    migrate_files_release(&all.files);
    pg_close(all.conn);
    banyan_arena_release(&all.arena);
    return st;
}
