/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of `banyan migrate` share: options, the files that are named, progress.
 *
 *   cmd_migrate.c            the verbs
 *   cmd_migrate_options.c    options that verbs have in common
 *   cmd_migrate_files.c      files, folders, versions
 *   cmd_migrate_lint.c       lint, without a server
 *   cmd_migrate_explain.c    explain-lock
 *   cmd_migrate_plan.c       plan, and what --dry-run tells
 *   cmd_migrate_run.c        start, complete, rollback, cleanup, resume
 *   cmd_migrate_progress.c   what is shown while they work
 *   cmd_migrate_status.c     status, pause
 *   cmd_migrate_history.c    history
 *   cmd_migrate_rehearse.c   rehearse
 */
#ifndef CLI_CMD_MIGRATE_H
#define CLI_CMD_MIGRATE_H

#include <argp.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "migrate/run.h"

enum {
    MIGRATE_FILES_MAX = 4096,
    MIGRATE_REPLICAS_MAX = 32,
    MIGRATE_FILE_BYTES_MAX = 64 * 1024 * 1024,
    MIGRATE_REPORT_BYTES_MAX = 256 * 1024 * 1024,
};

/* ---- options ---- */

struct migrate_command {
    const char *conninfo; /* empty: what PG* variables say */
    bool json, dry_run, watch, complete, cleanup, to_ready;
    struct run_options run; /* without conninfo and stop until migrate_begin() */
    const char *replicas[MIGRATE_REPLICAS_MAX];
    const char *arguments[MIGRATE_FILES_MAX];
    size_t argument_count;
    const char *old_code, *new_code, *dump; /* rehearse */
    int64_t rows;
    struct os_stop stop;
};

/* What a verb takes.  *own*: options beside --conninfo and --json. */
struct migrate_verb {
    const char *title;     /* "banyan migrate start" */
    const char *arguments; /* "FILE|FOLDER..." */
    const char *doc;
    size_t argument_min, argument_max;
    bool dry_run, watch, complete; /* complete: --cleanup, too */
    bool to_ready;
    bool plans; /* --allow alone */
    bool runs;  /* locks, tries, throttles */
    bool rehearses;
};
/* Read the command line (argp leaves the process on wrong use) and watch signals; migrate_end() in any case. */
BANYAN_MUST_CHECK enum banyan_status migrate_begin(const struct migrate_verb *verb, int argc, char **argv,
                                                   struct migrate_command *ret, struct banyan_error *err);
void migrate_end(struct migrate_command *command);
/* A connection that ^C ends. */
BANYAN_MUST_CHECK enum banyan_status migrate_connect(struct migrate_command *command, const char *name,
                                                     struct pg_conn **ret, struct banyan_error *err);

/* ---- files and versions ---- */

struct migrate_files {
    struct migration **items; /* owned */
    size_t count;
};
/* Files in the order in which they are named, *.sql of folders by name.  INVALID where two have one version. */
BANYAN_MUST_CHECK enum banyan_status migrate_files_read(const char *const *arguments, size_t count,
                                                        struct migrate_files *ret, struct banyan_error *err);
void migrate_files_release(struct migrate_files *files);

/* The migration that the one argument names, by version or by its file (MISMATCH with a diff where that was edited);
 * without an argument the only one for which *fits* is true.  In *arena*. */
BANYAN_MUST_CHECK enum banyan_status migrate_find(const struct migrate_command *command, struct pg_conn *conn,
                                                  bool (*fits)(const struct books_migration *migration),
                                                  struct banyan_arena *arena, struct books_migration *ret,
                                                  struct banyan_error *err);
/* It has neither ended nor gone back. */
bool migrate_is_unfinished(const struct books_migration *migration);
/* "2024_11_01_001 is ready (backfill took …)" as members of a JSON object, without the braces. */
void migrate_add_json(struct banyan_buf *json, const struct books_migration *migration);
/* Standard output; LIMIT where the text did not fit. */
BANYAN_MUST_CHECK enum banyan_status migrate_print(const struct banyan_buf *text, struct banyan_error *err);

/* Print what plan prints of the files that are named; also --dry-run of start. */
BANYAN_MUST_CHECK enum banyan_status migrate_plan_files(struct migrate_command *command, struct banyan_error *err);

/* ---- progress ---- */

struct migrate_progress {
    struct output_progress line;
    bool silent; /* --json */
    size_t step; /* shown; SIZE_MAX: none */
    bool undoing;
    int64_t step_us;          /* monotone time of its start */
    struct banyan_buf waited; /* what was last said that it waits for */
    int64_t waited_us;
};
void migrate_progress_init(struct migrate_progress *progress, bool silent);
void migrate_progress_show(void *context, const struct run_progress *now); /* for run_options */
void migrate_progress_end(struct migrate_progress *progress);

/* ---- verbs ---- */

enum banyan_status migrate_lint(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_explain_lock(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_plan(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_start(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_complete(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_rollback(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_cleanup(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_resume(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_pause(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_status(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_history(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status migrate_rehearse(struct cli *cli, int argc, char **argv, struct banyan_error *err);

#endif
