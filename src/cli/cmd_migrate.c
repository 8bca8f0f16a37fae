/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate VERB: what a PostgreSQL migration does to a busy database.  Needs no configuration, no store and, for
 * lint, no server.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/files.h"
#include "cli/options.h"
#include "migrate/lint.h"
#include "migrate/oracle.h"

enum {
    OPTION_CONNINFO = 0x900,
    OPTION_FORMAT,
    FILES_MAX = 256,
    FILE_BYTES_MAX = 64 * 1024 * 1024,
    REPORT_BYTES_MAX = 256 * 1024 * 1024,
};

struct migrate_command {
    const char *conninfo;
    enum lint_format format;
    bool takes_files;
    const char *arguments[FILES_MAX];
    size_t argument_count;
};

/* ---- options ---- */

static const struct argp_option lint_options[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0,
     "Database that the migration is for: sizes, indexes, CHECKs, views (default: none, the worst case is told)", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "text, json, sarif or github (default text)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option explain_options[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0,
     "Database whose schema is copied; the role needs CREATEDB.  Nothing is run in it", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "text or json (default text)", 0},
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
    struct migrate_command *command = state->input;

    switch (key) {
    case OPTION_CONNINFO:
        command->conninfo = argument;
        return 0;
    case OPTION_FORMAT:
        command->format = format_of(state, argument);
        if (!command->takes_files && command->format > LINT_JSON)
            argp_error(state, "--format of explain-lock is text or json");
        return 0;
    case ARGP_KEY_ARG:
        if (command->argument_count == (command->takes_files ? FILES_MAX : 1))
            argp_error(state, "too many arguments");
        command->arguments[command->argument_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->argument_count == 0)
            argp_error(state, command->takes_files ? "which files?" : "which statement?");
        if (!command->takes_files && command->conninfo == NULL)
            argp_error(state, "explain-lock needs --conninfo: the schema is copied from there");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- lint ---- */

struct linted {
    struct banyan_arena arena;
    struct pg_conn *conn;
    struct migration *migrations[FILES_MAX];
    struct catalog *catalogs[FILES_MAX];
    struct lint_report reports[FILES_MAX];
    struct lint_of items[FILES_MAX];
    unsigned errors, warnings;
};

static enum banyan_status lint_file(struct linted *all, size_t at, const char *path, struct banyan_error *err)
{
    struct banyan_buf source = BANYAN_BUF_INIT(FILE_BYTES_MAX);
    enum banyan_status st = files_read(path, &source, err);

    if (st == BANYAN_OK)
        st = migration_parse(path, banyan_buf_str(&source), &all->migrations[at], err);
    banyan_buf_release(&source);
    if (st != BANYAN_OK)
        return st;
    if (all->conn == NULL)
        all->catalogs[at] = catalog_offline(0);
    else
        st = catalog_open(all->conn, &all->catalogs[at], err);
    if (st == BANYAN_OK)
        st = lint_migration(all->migrations[at], all->catalogs[at], &all->arena, &all->reports[at], err);
    if (st != BANYAN_OK)
        return st;
    all->items[at] = (struct lint_of){.migration = all->migrations[at], .report = &all->reports[at]};
    for (size_t i = 0; i < all->reports[at].count; i++) {
        all->errors += all->reports[at].findings[i].severity == LINT_ERROR;
        all->warnings += all->reports[at].findings[i].severity == LINT_WARNING;
    }
    return BANYAN_OK;
}

static enum banyan_status lint_files(const struct migrate_command *command, struct linted *all,
                                     struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(REPORT_BYTES_MAX);
    enum banyan_status st = BANYAN_OK;

    if (command->conninfo != NULL) {
        struct pg_options options = {.conninfo = command->conninfo, .application_name = "banyan migrate lint"};

        st = pg_connect(&options, &all->conn, err);
    }
    for (size_t i = 0; i < command->argument_count && st == BANYAN_OK; i++)
        st = lint_file(all, i, command->arguments[i], err);
    if (st == BANYAN_OK) {
        lint_print(all->items, command->argument_count, command->format, &text);
        if (text.overflow)
            st = banyan_error_set(err, BANYAN_LIMIT, "the report is longer than %d bytes", REPORT_BYTES_MAX);
        else
            (void)fwrite(text.data == NULL ? "" : text.data, 1, text.size, stdout); /* nobody else to tell */
    }
    banyan_buf_release(&text);
    if (st == BANYAN_OK && all->errors + all->warnings > 0) {
        banyan_error_set(err, BANYAN_MISMATCH, "%u error%s and %u warning%s", all->errors, all->errors == 1 ? "" : "s",
                         all->warnings, all->warnings == 1 ? "" : "s");
        banyan_error_hint(err, "docs/MIGRATE.md has the rules; \"-- banyan: allow\" above a statement accepts it");
        st = BANYAN_MISMATCH;
    }
    return st;
}

static enum banyan_status lint(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static struct linted all; /* large */
    struct migrate_command command = {.takes_files = true};
    const struct argp argp = {lint_options,
                              parse_option,
                              "FILE...",
                              "What each statement locks, rewrites and reads, and the safe way.  Exit code 8 when "
                              "there is an error or warning.",
                              NULL,
                              NULL,
                              NULL};
    enum banyan_status st;

    (void)cli;
    options_parse(&argp, "banyan migrate lint", argc, argv, &command);
    st = lint_files(&command, &all, err);
    for (size_t i = 0; i < command.argument_count; i++) {
        catalog_free(all.catalogs[i]); /* before the trees that it borrows */
        migration_free(all.migrations[i]);
    }
    pg_close(all.conn);
    banyan_arena_release(&all.arena);
    return st;
}

/* ---- explain-lock ---- */

static void print_text(const struct oracle_result *result)
{
    if (result->failed)
        printf("the server refuses it: %s\n", result->failure.data);
    for (size_t i = 0; i < result->relation_count; i++) {
        const struct oracle_relation *relation = &result->relations[i];

        printf("%.*s: %s (%s)%s", (int)relation->name.size, relation->name.data, effect_lock_name(relation->lock),
               effect_lock_stops(relation->lock), relation->rewritten ? ", written anew" : "");
        if (relation->scans > 0)
            printf(", read %" PRId64 " time%s", relation->scans, relation->scans == 1 ? "" : "s");
        putchar('\n');
    }
    for (size_t i = 0; i < result->work_count; i++)
        printf("work: %.*s\n", (int)result->work[i].size, result->work[i].data);
    if (!result->failed && result->relation_count == 0)
        puts("locks no relation");
}

static void print_json(const struct oracle_result *result)
{
    struct banyan_buf text = BANYAN_BUF_INIT(REPORT_BYTES_MAX);

    banyan_buf_printf(&text, "{\"failed\":%s,\"failure\":", result->failed ? "true" : "false");
    banyan_buf_add_json(&text, result->failed ? result->failure : BANYAN_STR(""));
    banyan_buf_add_text(&text, ",\"relations\":[");
    for (size_t i = 0; i < result->relation_count; i++) {
        const struct oracle_relation *relation = &result->relations[i];

        banyan_buf_add_text(&text, i > 0 ? ",{\"name\":" : "{\"name\":");
        banyan_buf_add_json(&text, relation->name);
        banyan_buf_printf(&text, ",\"lock\":\"%s\",\"rewritten\":%s,\"scans\":%" PRId64 "}",
                          effect_lock_name(relation->lock), relation->rewritten ? "true" : "false", relation->scans);
    }
    banyan_buf_add_text(&text, "],\"work\":[");
    for (size_t i = 0; i < result->work_count; i++) {
        banyan_buf_add_text(&text, i > 0 ? "," : "");
        banyan_buf_add_json(&text, result->work[i]);
    }
    banyan_buf_add_text(&text, "]}\n");
    (void)fwrite(text.data, 1, text.size, stdout); /* nobody else to tell */
    banyan_buf_release(&text);
}

static enum banyan_status measure(const char *copy, const char *statement, struct banyan_arena *arena,
                                  struct oracle_result *ret, struct banyan_error *err)
{
    struct pg_options options = {.conninfo = copy, .application_name = "banyan migrate explain-lock"};
    struct pg_conn *conn = NULL;
    enum banyan_status st = pg_connect(&options, &conn, err);

    if (st == BANYAN_OK)
        st = oracle_measure(conn, BANYAN_STR(""), banyan_str_of(statement), arena, ret, err);
    pg_close(conn);
    return st;
}

static enum banyan_status explain_lock(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct migrate_command command = {.takes_files = false};
    const struct argp argp = {explain_options,
                              parse_option,
                              "STATEMENT",
                              "Runs the statement in a transaction that is rolled back, on a throwaway database with "
                              "the same schema, and tells "
                              "what it locked, rewrote and read there.",
                              NULL,
                              NULL,
                              NULL};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct oracle_result result = {.failed = false};
    struct banyan_error dropping = BANYAN_ERROR_INIT;
    const char *copy = NULL;
    enum banyan_status st;

    (void)cli;
    options_parse(&argp, "banyan migrate explain-lock", argc, argv, &command);
    st = oracle_copy(command.conninfo, &arena, &copy, err);
    if (st == BANYAN_OK) {
        st = measure(copy, command.arguments[0], &arena, &result, err);
        if (oracle_drop(command.conninfo, copy, &dropping) != BANYAN_OK && st == BANYAN_OK) {
            st = dropping.status;
            *err = dropping;
        }
    }
    if (st == BANYAN_OK && command.format == LINT_JSON)
        print_json(&result);
    else if (st == BANYAN_OK)
        print_text(&result);
    banyan_arena_release(&arena);
    return st;
}

static const struct cli_command verbs[] = {
    {"lint", "what the statements of a migration do to a busy database", lint},
    {"explain-lock", "measure one statement on a throwaway copy of the schema", explain_lock},
};

enum banyan_status cmd_migrate(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "migrate", "PostgreSQL migrations: what they lock, rewrite and read, and the safe way.", verbs,
                    sizeof(verbs) / sizeof(verbs[0]), argc, argv, err);
}
