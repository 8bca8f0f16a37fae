/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   migrate_random [SEEDS [FIRST]]     default 4; beside tools/with-postgres.  VERBOSE=1: every migration;
 *   KEEPER=1: somebody does VACUUM FULL, CLUSTER, REINDEX … meanwhile
 *
 * Each seed: a random table, then a chain of random migrations.  Each of them is started under old code; both codes
 * write when it is ready; then it is rolled back, or completed under new code and then cleaned up or rolled back. Where
 * it goes on after it was stopped at a random moment is random, too.
 */
#include "migrate_random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/run.h"
#include "os/clock.h"
#include "os/stop.h"

enum {
    CHAIN = 4,
    MIX_US = 150 * 1000,
    STOP_US_MAX = 400 * 1000,
};

struct round {
    const char *conninfo;
    struct os_random random;
    uint64_t seed;
    unsigned number;
    struct table table;
    struct change change;
    struct load *load;
    struct keeper *keeper; /* NULL: none */
    uint64_t kept;
    struct pg_conn *twin, *still;
    char version[32];
};
static bool verbose;

/* ---- the server ---- */

struct pg_conn *random_connect(const char *conninfo, const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    char text[1024];
    struct pg_options options = {.conninfo = text, .application_name = "writer"};

    (void)snprintf(text, sizeof(text), "%s dbname=%s", conninfo, database); /* fits */
    MUST(pg_connect(&options, &conn, &err) == BANYAN_OK, "%s", err.message);
    return conn;
}

void random_run(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    MUST(pg_run(conn, sql, &err) == BANYAN_OK, "%s: %s %s", sql, err.message, err.detail);
}

static void on_server(const struct round *round, const char *sql)
{
    struct pg_conn *conn = random_connect(round->conninfo, "postgres");

    random_run(conn, sql);
    pg_close(conn);
}

/* ---- comparison ---- */

static struct pg_result *rows_of(struct pg_conn *conn, const char *select)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    MUST(pg_exec(conn, select, NULL, 0, &result, &err) == BANYAN_OK, "%s: %s", select, err.message);
    return result;
}

static void compare(struct round *round, struct pg_conn *oracle, bool is_new, const char *when)
{
    struct pg_conn *real = random_connect(round->conninfo, "real");
    char *select = calloc(1, TEXT_SIZE);
    struct pg_result *is, *wanted;

    table_select(&round->table, is_new, select);
    is = rows_of(real, select);
    wanted = rows_of(oracle, select);
    for (size_t i = 0; i < pg_rows(is) || i < pg_rows(wanted); i++) {
        struct banyan_str a = i < pg_rows(is) ? pg_text(is, i, 0) : BANYAN_STR("(none)");
        struct banyan_str b = i < pg_rows(wanted) ? pg_text(wanted, i, 0) : BANYAN_STR("(none)");

        MUST(banyan_str_equal(a, b),
             "seed %" PRIu64 ", migration %u, %s: row %zu of %zu (%zu) is\n#   %.*s, not\n#   %.*s\n# %s", round->seed,
             round->number, when, i, pg_rows(is), pg_rows(wanted), (int)a.size, a.data, (int)b.size, b.data,
             round->change.migration);
    }
    pg_result_free(is);
    pg_result_free(wanted);
    free(select);
    pg_close(real);
}

/* ---- the migration ---- */

static enum banyan_status start(struct round *round, const struct run_options *options, struct banyan_error *err)
{
    struct pg_conn *conn = random_connect(round->conninfo, "real");
    struct banyan_arena arena = {0};
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan = {0};
    char path[64];
    enum banyan_status st;

    (void)snprintf(path, sizeof(path), "%s_random.sql", round->version); /* fits */
    st = migration_parse(path, banyan_str_of(round->change.migration), &migration, err);
    if (st == BANYAN_OK)
        st = catalog_open(conn, &catalog, err);
    if (st == BANYAN_OK)
        st = plan_make(migration, catalog, &arena, &plan, err);
    for (size_t i = 0; i < plan.refusal_count; i++)
        (void)printf("# refused: %.*s\n", (int)plan.refusals[i].size, plan.refusals[i].data);
    if (st == BANYAN_OK)
        st = run_start(options, migration, &plan, err);
    catalog_free(catalog);
    migration_free(migration);
    banyan_arena_release(&arena);
    pg_close(conn);
    return st;
}

struct alarm {
    struct os_stop *stop, quiet;
    int64_t us;
};

static void ring(void *argument)
{
    struct alarm *alarm = argument;

    if (!os_stop_wait(&alarm->quiet, alarm->us))
        os_stop_request(alarm->stop);
}

enum verb { VERB_START, VERB_COMPLETE, VERB_ROLLBACK, VERB_CLEANUP, VERB_RESUME };

static enum banyan_status act_once(struct round *round, enum verb verb, bool disturbed, struct banyan_error *err)
{
    struct os_stop stop;
    char conninfo[1024];
    struct run_options options = {.conninfo = conninfo,
                                  .throttle = {.replica_lag_us_max = -1, .lock_waiters_max = -1},
                                  .batch_us = 5000,
                                  .stop = &stop};
    struct alarm alarm = {.stop = &stop, .us = (int64_t)os_random_below(&round->random, STOP_US_MAX)};
    struct os_thread thread = {0};
    enum banyan_status st;

    (void)snprintf(conninfo, sizeof(conninfo), "%s dbname=real", round->conninfo); /* fits */
    MUST(os_stop_open(&stop, err) == BANYAN_OK && os_stop_open(&alarm.quiet, err) == BANYAN_OK, "%s", err->message);
    if (disturbed)
        os_thread_start(&thread, "alarm", ring, &alarm);
    switch (verb) {
    case VERB_START:
        st = start(round, &options, err);
        break;
    case VERB_COMPLETE:
        st = run_complete(&options, banyan_str_of(round->version), err);
        break;
    case VERB_ROLLBACK:
        st = run_rollback(&options, banyan_str_of(round->version), err);
        break;
    case VERB_CLEANUP:
        st = run_cleanup(&options, banyan_str_of(round->version), err);
        break;
    default:
        st = run_resume(&options, banyan_str_of(round->version), err);
    }
    os_stop_request(&alarm.quiet);
    os_thread_join(&thread);
    os_stop_close(&alarm.quiet);
    os_stop_close(&stop);
    return st;
}

/* Until it is done, however often it is stopped: the same again, but a start that is in the books is gone on with. */
static void act(struct round *round, enum verb verb)
{
    static const char *const verbs[] = {"start", "complete", "rollback", "cleanup", "resume"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = act_once(round, verb, os_random_below(&round->random, 3) == 0, &err);

    for (int again = 0; st == BANYAN_STOPPED && again < 20; again++) {
        bool disturbed = again < 3 && os_random_below(&round->random, 2) == 0;

        banyan_error_clear(&err);
        st = act_once(round, verb == VERB_START ? VERB_RESUME : verb, disturbed, &err);
        if (st == BANYAN_NOT_FOUND && verb == VERB_START) { /* it was stopped before it was in the books */
            banyan_error_clear(&err);
            st = act_once(round, verb, false, &err);
        }
    }
    MUST(st == BANYAN_OK, "seed %" PRIu64 ", migration %u, %s: %s %s %s\n# %s", round->seed, round->number, verbs[verb],
         err.message, err.detail, err.hint, round->change.migration);
}

/* ---- one migration of the chain ---- */

static void begin(struct round *round)
{
    on_server(round, "DROP DATABASE IF EXISTS twin");
    on_server(round, "DROP DATABASE IF EXISTS still");
    on_server(round, "CREATE DATABASE twin TEMPLATE real");
    on_server(round, "CREATE DATABASE still TEMPLATE real");
    round->twin = random_connect(round->conninfo, "twin");
    round->still = random_connect(round->conninfo, "still");
    (void)snprintf(round->version, sizeof(round->version), "2026_11_%02u_%03u", round->number + 1, 1); /* fits */
    change_random(&round->table, &round->random, &round->change);
    if (verbose)
        (void)printf("# seed %" PRIu64 ", migration %u:\n%s", round->seed, round->number, round->change.migration);
    (void)fflush(stdout);
    round->load = load_start(round->conninfo, &round->table, round->number, round->seed * 100 + round->number);
    round->keeper = getenv("KEEPER") != NULL ? keeper_start(round->conninfo, round->seed) : NULL;
}

static void pass(int64_t us)
{
    os_clock_real()->sleep_us(os_clock_real(), us);
}

static void back(struct round *round, enum load_form form, const char *when)
{
    load_form(round->load, form);
    act(round, VERB_ROLLBACK);
    load_form(round->load, LOAD_OLD);
    pass(MIX_US / 3);
    load_form(round->load, LOAD_REST);
    load_replay(round->load, round->still, true, false, false);
    compare(round, round->still, false, when);
}

/* What both have written is there under either's names. */
static void both_see_it(struct round *round)
{
    load_replay(round->load, round->still, false, false, false);
    if (!round->table.update_third) /* what an UPDATE of the migration wrote old code sees as well */
        compare(round, round->still, false, "ready, to old code");
    load_replay(round->load, round->twin, false, false, false);
    random_run(round->twin, round->change.plain);
    load_replay(round->load, round->twin, false, false, true);
    compare(round, round->twin, true, "ready, to new code");
}

/* Gives whether the new form is what the table is from now on. */
static bool one_way(struct round *round)
{
    uint64_t end = os_random_below(&round->random, 4);

    pass(MIX_US / 3);
    act(round, VERB_START);
    load_form(round->load, LOAD_BOTH);
    pass(MIX_US);
    load_form(round->load, LOAD_REST);
    load_mark(round->load);
    both_see_it(round);
    if (end == 0) {
        back(round, LOAD_OLD, "rolled back when it was ready");
        return false;
    }
    load_form(round->load, LOAD_NEW);
    act(round, VERB_COMPLETE);
    pass(MIX_US);
    load_form(round->load, LOAD_REST);
    load_replay(round->load, round->twin, true, true, false);
    compare(round, round->twin, true, "completed");
    if (end == 1) {
        back(round, LOAD_REST, "rolled back behind complete");
        return false;
    }
    act(round, VERB_CLEANUP);
    compare(round, round->twin, true, "cleaned up");
    return true;
}

static uint64_t run_seed(const char *conninfo, uint64_t seed)
{
    static struct round round;
    struct pg_conn *real;
    uint64_t writes = 0;

    round = (struct round){.conninfo = conninfo, .seed = seed};
    os_random_seed(&round.random, seed);
    on_server(&round, "DROP DATABASE IF EXISTS real");
    on_server(&round, "CREATE DATABASE real");
    table_random(&round.table, &round.random);
    real = random_connect(conninfo, "real");
    table_make(&round.table, real, &round.random);
    pg_close(real);
    for (round.number = 0; round.number < CHAIN; round.number++) {
        bool kept;

        begin(&round);
        kept = one_way(&round);
        round.kept += keeper_end(round.keeper);
        writes += load_count(round.load);
        load_end(round.load);
        pg_close(round.twin);
        pg_close(round.still);
        change_done(&round.table, kept);
    }
    if (round.kept > 0)
        (void)printf("# seed %" PRIu64 ": kept in order %" PRIu64 " times\n", seed, round.kept);
    (void)fflush(stdout);
    return writes;
}

int main(int argc, char **argv)
{
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 4, first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const char *conninfo = getenv("BANYAN_TEST_CONNINFO");
    uint64_t writes = 0;

    verbose = getenv("VERBOSE") != NULL;
    MUST(conninfo != NULL, "run it beside tools/with-postgres");
    for (uint64_t seed = first; seed < first + seeds; seed++)
        writes += run_seed(conninfo, seed);
    (void)printf("ok 1 - %" PRIu64 " seeds, %" PRIu64 " migrations, %" PRIu64 " writes of old and new code\n1..1\n",
                 seeds, seeds * CHAIN, writes);
    return 0;
}
