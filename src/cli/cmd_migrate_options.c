/* SPDX-License-Identifier: Apache-2.0 */
/* Options that the verbs of `banyan migrate` have in common: see cmd_migrate.h. */
#include <string.h>

#include "cli/cmd_migrate.h"
#include "cli/options.h"

enum {
    OPTION_CONNINFO = 0x900,
    OPTION_JSON,
    OPTION_DRY_RUN,
    OPTION_WATCH,
    OPTION_COMPLETE,
    OPTION_CLEANUP,
    OPTION_TO_READY,
    OPTION_ALLOW,
    OPTION_LOCK_TIMEOUT,
    OPTION_GIVE_UP,
    OPTION_KILL_IDLE,
    OPTION_BATCH_TIME,
    OPTION_REPLICA_LAG,
    OPTION_REPLICA,
    OPTION_KEPT_WAL,
    OPTION_LOCK_WAITERS,
    OPTION_ACTIVE,
    OPTION_THROTTLE_FILE,
    OPTION_THROTTLE_QUERY,
    OPTION_ROWS,
    OPTION_OLD,
    OPTION_NEW,
    OPTION_DUMP,
    CHILDREN_MAX = 8,
    MS_MAX = 3600 * 1000,
    SECONDS_MAX = 30 * 24 * 3600,
    REHEARSE_ROWS = 10000,
};

struct parsing {
    const struct migrate_verb *verb;
    struct migrate_command *command;
    size_t child_count;
};

static const struct argp_option common_options[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0, "The database (default: what PGHOST, PGDATABASE … say)", 0},
    {"json", OPTION_JSON, NULL, 0, "Print JSON, for scripts", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option dry_run_options[] = {
    {"dry-run", OPTION_DRY_RUN, NULL, 0, "Only say what would be done", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option watch_options[] = {
    {"watch", OPTION_WATCH, NULL, 0, "Again every second", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option complete_options[] = {
    {"complete", OPTION_COMPLETE, NULL, 0, "Contract each one, too, before the next begins: where no old code runs", 0},
    {"cleanup", OPTION_CLEANUP, NULL, 0, "Contract each one and drop what is kept: where nobody needs the way back", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option to_ready_options[] = {
    {"to-ready", OPTION_TO_READY, NULL, 0,
     "Only what complete did, back to 'ready': both codes work there, so that the old one can come back first", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option allow_options[] = {
    {"allow", OPTION_ALLOW, NULL, 0, "Do not fail for what could not be made safe and runs as it is written", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option run_options_list[] = {
    {"allow", OPTION_ALLOW, NULL, 0,
     "Also what could not be made safe, as it is written; and an undo that loses values", 0},
    {"lock-timeout", OPTION_LOCK_TIMEOUT, "MS", 0,
     "Wait at most so long for a strong lock, then try again (default 200)", 0},
    {"give-up", OPTION_GIVE_UP, "SECONDS", 0, "Stop when a step gets no lock for so long (default 600)", 0},
    {"kill-idle-blockers", OPTION_KILL_IDLE, "SECONDS", 0,
     "End sessions in the way that are idle in a transaction for longer (default: never)", 0},
    {"batch-time", OPTION_BATCH_TIME, "MS", 0, "A batch of the backfill takes about so long (default 50)", 0},
    {"max-replica-lag", OPTION_REPLICA_LAG, "MS", 0,
     "The backfill waits while a replica is further behind (default 1000; 0: not looked at)", 0},
    {"replica", OPTION_REPLICA, "NAME", 0, "This replica (application_name) has to be there; again for more", 0},
    {"max-kept-wal", OPTION_KEPT_WAL, "MB", 0,
     "The backfill waits while replication slots keep more (default: not looked at)", 0},
    {"max-lock-waiters", OPTION_LOCK_WAITERS, "N", 0,
     "The backfill waits while more sessions wait for a lock (default 4; 0: not looked at)", 0},
    {"max-active", OPTION_ACTIVE, "N", 0, "The backfill waits while more sessions are active (default: not looked at)",
     0},
    {"throttle-file", OPTION_THROTTLE_FILE, "FILE", 0, "The backfill waits while this file is there", 0},
    {"throttle-query", OPTION_THROTTLE_QUERY, "SQL", 0, "The backfill waits while this query answers true", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option rehearse_options_list[] = {
    {"rows", OPTION_ROWS, "N", 0, "Rows of each table that are copied at most (default 10000)", 0},
    {"old", OPTION_OLD, "FILE", 0, "SQL statements of the code that runs now", 0},
    {"new", OPTION_NEW, "FILE", 0, "SQL statements of the code that comes", 0},
    {"dump", OPTION_DUMP, "FILE", 0, "On a throwaway cluster made of this dump, instead of beside the database", 0},
    {"allow", OPTION_ALLOW, NULL, 0, "Also what could not be made safe, as it is written", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static int64_t us_of_ms(struct argp_state *state, const char *name, const char *text)
{
    return (int64_t)options_number(state, name, text, 0, MS_MAX) * 1000;
}
static int64_t us_of_seconds(struct argp_state *state, const char *name, const char *text)
{
    return (int64_t)options_number(state, name, text, 1, SECONDS_MAX) * 1000000;
}
/* In throttle.h 0 is the default, and what is negative is not looked at. */
static int64_t or_not_looked_at(int64_t value)
{
    return value == 0 ? -1 : value;
}

static error_t parse_throttle(int key, char *argument, struct argp_state *state)
{
    struct migrate_command *command = ((struct parsing *)state->input)->command;
    struct throttle_options *throttle = &command->run.throttle;

    switch (key) {
    case OPTION_REPLICA_LAG:
        throttle->replica_lag_us_max = or_not_looked_at(us_of_ms(state, "--max-replica-lag", argument));
        return 0;
    case OPTION_REPLICA:
        if (throttle->replica_count == MIGRATE_REPLICAS_MAX)
            argp_error(state, "--replica: too many");
        command->replicas[throttle->replica_count++] = argument;
        return 0;
    case OPTION_KEPT_WAL:
        throttle->kept_wal_bytes_max = (int64_t)options_number(state, "--max-kept-wal", argument, 1, 1 << 30) * 1000000;
        return 0;
    case OPTION_LOCK_WAITERS:
        throttle->lock_waiters_max =
            or_not_looked_at((int64_t)options_number(state, "--max-lock-waiters", argument, 0, 1 << 20));
        return 0;
    case OPTION_ACTIVE:
        throttle->active_sessions_max = (int64_t)options_number(state, "--max-active", argument, 1, 1 << 20);
        return 0;
    case OPTION_THROTTLE_FILE:
        throttle->flag_file = argument;
        return 0;
    case OPTION_THROTTLE_QUERY:
        throttle->query = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_run(int key, char *argument, struct argp_state *state)
{
    struct run_options *run = &((struct parsing *)state->input)->command->run;

    switch (key) {
    case OPTION_ALLOW:
        run->allow = true;
        return 0;
    case OPTION_LOCK_TIMEOUT:
        run->lock_timeout_us = (int64_t)options_number(state, "--lock-timeout", argument, 1, MS_MAX) * 1000;
        return 0;
    case OPTION_GIVE_UP:
        run->try_us_max = us_of_seconds(state, "--give-up", argument);
        return 0;
    case OPTION_KILL_IDLE:
        run->kill_idle_us = us_of_seconds(state, "--kill-idle-blockers", argument);
        return 0;
    case OPTION_BATCH_TIME:
        run->batch_us = (int64_t)options_number(state, "--batch-time", argument, 1, MS_MAX) * 1000;
        return 0;
    default:
        return parse_throttle(key, argument, state);
    }
}

static error_t parse_rehearse(int key, char *argument, struct argp_state *state)
{
    struct migrate_command *command = ((struct parsing *)state->input)->command;

    switch (key) {
    case OPTION_ROWS:
        command->rows = (int64_t)options_number(state, "--rows", argument, 0, INT64_MAX);
        return 0;
    case OPTION_OLD:
        command->old_code = argument;
        return 0;
    case OPTION_NEW:
        command->new_code = argument;
        return 0;
    case OPTION_DUMP:
        command->dump = argument;
        return 0;
    default:
        return parse_run(key, argument, state);
    }
}

static void take_argument(const struct parsing *parsing, const char *argument, struct argp_state *state)
{
    struct migrate_command *command = parsing->command;

    if (command->argument_count == parsing->verb->argument_max)
        argp_error(state, "too many arguments");
    command->arguments[command->argument_count++] = argument;
}

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct migrate_command *command = parsing->command;

    switch (key) {
    case ARGP_KEY_INIT:
        for (size_t i = 0; i < parsing->child_count; i++)
            state->child_inputs[i] = parsing;
        return 0;
    case OPTION_CONNINFO:
        command->conninfo = argument;
        return 0;
    case OPTION_JSON:
        command->json = true;
        return 0;
    case OPTION_DRY_RUN:
        command->dry_run = true;
        return 0;
    case OPTION_WATCH:
        command->watch = true;
        return 0;
    case OPTION_COMPLETE:
        command->complete = true;
        return 0;
    case OPTION_CLEANUP:
        command->complete = command->cleanup = true;
        return 0;
    case OPTION_TO_READY:
        command->to_ready = true;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(parsing, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (command->argument_count < parsing->verb->argument_min)
            argp_error(state, "%s?", parsing->verb->arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Flags of the command itself: no arguments of their own, so the root's parser takes them. */
static error_t parse_flag(int key, char *argument, struct argp_state *state)
{
    return key == OPTION_DRY_RUN || key == OPTION_WATCH || key == OPTION_COMPLETE || key == OPTION_CLEANUP ||
                   key == OPTION_TO_READY
               ? parse_common(key, argument, state)
               : ARGP_ERR_UNKNOWN;
}

static const struct argp dry_run_argp = {dry_run_options, parse_flag, NULL, NULL, NULL, NULL, NULL};
static const struct argp watch_argp = {watch_options, parse_flag, NULL, NULL, NULL, NULL, NULL};
static const struct argp complete_argp = {complete_options, parse_flag, NULL, NULL, NULL, NULL, NULL};
static const struct argp to_ready_argp = {to_ready_options, parse_flag, NULL, NULL, NULL, NULL, NULL};
static const struct argp allow_argp = {allow_options, parse_run, NULL, NULL, NULL, NULL, NULL};
static const struct argp run_argp = {run_options_list, parse_run, NULL, NULL, NULL, NULL, NULL};
static const struct argp rehearse_argp = {rehearse_options_list, parse_rehearse, NULL, NULL, NULL, NULL, NULL};

enum banyan_status migrate_begin(const struct migrate_verb *verb, int argc, char **argv, struct migrate_command *ret,
                                 struct banyan_error *err)
{
    struct argp_child children[CHILDREN_MAX] = {{NULL, 0, NULL, 0}};
    struct parsing parsing = {.verb = verb, .command = ret};
    const struct argp argp = {common_options, parse_common, verb->arguments, verb->doc, children, NULL, NULL};
    size_t count = 0;
    enum banyan_status st;

    *ret = (struct migrate_command){.conninfo = "", .rows = REHEARSE_ROWS};
    if (verb->dry_run)
        children[count++].argp = &dry_run_argp;
    if (verb->watch)
        children[count++].argp = &watch_argp;
    if (verb->complete)
        children[count++].argp = &complete_argp;
    if (verb->to_ready)
        children[count++].argp = &to_ready_argp;
    if (verb->plans)
        children[count++].argp = &allow_argp;
    if (verb->runs)
        children[count++].argp = &run_argp;
    if (verb->rehearses)
        children[count++].argp = &rehearse_argp;
    parsing.child_count = count;
    options_parse(&argp, verb->title, argc, argv, &parsing);
    ret->run.throttle.replicas = ret->run.throttle.replica_count > 0 ? ret->replicas : NULL;
    st = os_stop_open(&ret->stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&ret->stop, err);
    ret->run.conninfo = ret->conninfo;
    ret->run.stop = &ret->stop;
    return st;
}

void migrate_end(struct migrate_command *command)
{
    os_stop_close(&command->stop);
}

enum banyan_status migrate_connect(struct migrate_command *command, const char *name, struct pg_conn **ret,
                                   struct banyan_error *err)
{
    struct pg_options options = {.conninfo = command->conninfo, .application_name = name, .stop = &command->stop};

    return pg_connect(&options, ret, err);
}
