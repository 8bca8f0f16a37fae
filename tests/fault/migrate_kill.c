/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations under kill -9 of the program and immediate stops of the server, at seeded moments: forward, back, and back
 * again in the middle of either.
 *
 *   reference: there and back undisturbed; the catalog and the rows of both ends
 *   then a child goes for one end; it is killed after some time, or at some named place of the runner, or the server
 * is; sometimes the other end is wanted from there; whenever a child arrives, what is there equals the reference
 *
 * The arguments: how many kills a migration, and the number of one migration.  BANYAN_TEST_SEED repeats a run, up to
 * what the scheduler does.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "migrate/run.h"
#include "os/clock.h"
#include "support/every_step.h"
#include "support/seed.h"

enum {
    ARRIVED = 0,
    FAILED = 1,
    AGAIN = 75,   /* the server is away, or the session of who was killed is not over yet */
    REFUSED = 77, /* the plan says that it cannot be done */
    AGAIN_MAX = 200,
    STOP_EVERY = 6, /* kills, between two immediate stops of the server */
    TURN_EVERY = 3,
    TIMES = 4,
};

/* Where the runner can be killed (run_at()): each as often, those that are passed once in a run at their first time. */
static const struct {
    const char *name;
    bool rare;
} places[] = {
    {"in the books", true},  {"state", false},       {"statement", false},   {"before commit", false},
    {"after commit", false}, {"before mark", false}, {"index begins", true}, {"index made", true},
    {"index dropped", true}, {"batch", false},
};

struct scenario {
    const char *name, *schema, *sql; /* sql NULL: the one made by hand */
};

static const char orders_schema[] =
    "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);"
    "INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 2000) i;"
    "CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL, symbol text NOT NULL, price numeric(10,2) NOT "
    "NULL, "
    "execution_time timestamptz, status text NOT NULL DEFAULT 'new', filler text NOT NULL);"
    "INSERT INTO orders SELECT i, 1 + i % 2000, CASE WHEN i % 3 = 0 THEN 'BTC' ELSE 'DAX' END, i % 10000 / 100.0, "
    "'2024-01-01'::timestamptz + i * interval '1 minute', 'new', repeat('x', 150) FROM generate_series(1, 24000) i;"
    "CREATE INDEX orders_time ON orders (execution_time); CREATE INDEX orders_price ON orders (price);"
    "CREATE TABLE trades (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders (id));"
    "INSERT INTO trades SELECT i, i FROM generate_series(1, 3000) i;"
    "CREATE VIEW dear AS SELECT id, price FROM orders WHERE price > 90;";

static const struct scenario scenarios[] = {
    {"every step", every_step_schema, NULL},
    {"new column", orders_schema,
     "-- banyan: backfill orders.venue = CASE WHEN symbol = 'BTC' THEN 'COIN' ELSE 'XETR' END\n"
     "ALTER TABLE orders ADD COLUMN venue varchar(50) NOT NULL;"},
    {"rename", orders_schema, "ALTER TABLE orders RENAME COLUMN execution_time TO execution_timestamp;"},
    {"type", orders_schema, "ALTER TABLE orders ALTER COLUMN price TYPE numeric(18,8);"},
    {"key", orders_schema, "ALTER TABLE orders ALTER COLUMN id TYPE bigint;"},
    {"indexes and foreign key", orders_schema,
     "CREATE INDEX orders_user ON orders (user_id, execution_time);\n"
     "DROP INDEX orders_time;\n"
     "ALTER TABLE orders ADD CONSTRAINT orders_users FOREIGN KEY (user_id) REFERENCES users (id);"},
    {"update", orders_schema, "UPDATE orders SET status = 'old' WHERE id % 2 = 0;"},
    {"drop column", orders_schema, "ALTER TABLE orders DROP COLUMN status;"},
};

static int kills = 8;
static int only = -1;

/* ---- the server ---- */

static struct pg_conn *connect_up(void)
{
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"), .application_name = "migrate kill"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

static void sql(const char *text)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = connect_up();

    if (pg_run(conn, text, &err) != BANYAN_OK)
        fail_msg("%s: %s", text, err.message);
    pg_close(conn);
}

static const char print_sql[] =
    "CREATE OR REPLACE FUNCTION pg_temp.print() RETURNS SETOF text LANGUAGE plpgsql AS $print$ "
    "DECLARE r regclass; BEGIN "
    "RETURN QUERY SELECT format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, "
    "a.atttypmod), a.attnotnull, (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = "
    "a.attrelid "
    "AND d.adnum = a.attnum)) FROM pg_attribute a JOIN pg_class r2 ON r2.oid = a.attrelid "
    "WHERE r2.relnamespace = 'public'::regnamespace AND r2.relkind IN ('r', 'p') AND a.attnum > 0 "
    "AND NOT a.attisdropped;"
    "RETURN QUERY SELECT format('index %s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready) "
    "FROM pg_index i JOIN pg_class r2 ON r2.oid = i.indrelid WHERE r2.relnamespace = 'public'::regnamespace;"
    "RETURN QUERY SELECT format('constraint %s %s %s %s', k.conrelid::regclass, k.conname, "
    "pg_get_constraintdef(k.oid), "
    "k.convalidated) FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace AND k.conrelid <> 0;"
    "RETURN QUERY SELECT format('partition %s of %s %s', i.inhrelid::regclass, i.inhparent::regclass, "
    "i.inhdetachpending) FROM pg_inherits i JOIN pg_class r2 ON r2.oid = i.inhrelid WHERE r2.relkind = 'r';"
    "RETURN QUERY SELECT format('view %s %s', v.viewname, v.definition) FROM pg_views v WHERE v.schemaname = 'public';"
    "RETURN QUERY SELECT format('trigger %s %s', pg_get_triggerdef(g.oid), g.tgenabled) FROM pg_trigger g "
    "WHERE NOT g.tgisinternal;"
    "RETURN QUERY SELECT format('function %s', f.oid::regprocedure) FROM pg_proc f JOIN pg_namespace n "
    "ON n.oid = f.pronamespace WHERE n.nspname IN ('public', 'banyan');"
    "RETURN QUERY SELECT format('kept %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = c.relnamespace WHERE n.nspname = 'banyan' AND c.relkind = 'r' "
    "AND c.relname NOT LIKE 'schema_migration%';"
    "FOR r IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') "
    "LOOP RETURN QUERY EXECUTE format('SELECT %L || md5(string_agg(to_jsonb(x)::text, '','' ORDER BY "
    "to_jsonb(x)::text)) FROM %s x', 'rows of ' || r::text || ' ', r); END LOOP; END $print$";

/* Catalog and rows, line by line; one free(). */
static char *print(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = connect_up();
    struct pg_result *result = NULL;
    char *ret;

    if (pg_run(conn, print_sql, &err) != BANYAN_OK ||
        pg_exec(conn, "SELECT string_agg(l, E'\\n' ORDER BY l) FROM pg_temp.print() l", NULL, 0, &result, &err) !=
            BANYAN_OK)
        fail_msg("%s", err.message);
    ret = strndup(pg_text(result, 0, 0).data, pg_text(result, 0, 0).size);
    pg_result_free(result);
    pg_close(conn);
    return ret;
}

static void restart_server(void)
{
    char command[1024];

    (void)snprintf(command, sizeof(command), "%s/ctl restart", getenv("BANYAN_TEST_PG"));
    assert_int_equal(system(command), 0);
}

/* ---- the child ---- */

struct killer {
    const char *place; /* NULL: never */
    int times;         /* until it dies there */
};

static void die(void *context, const char *place)
{
    struct killer *killer = context;

    if (killer->place != NULL && strcmp(place, killer->place) == 0 && --killer->times == 0)
        (void)kill(getpid(), SIGKILL);
}

static int told(const char *what, enum banyan_status st, const struct banyan_error *err)
{
    if (st == BANYAN_OK)
        return ARRIVED;
    if (st == BANYAN_UNAVAILABLE || st == BANYAN_BUSY)
        return AGAIN;
    (void)fprintf(stderr, "%s: %s (%s) %s\n", what, err->message, err->detail, err->hint);
    return FAILED;
}

static int start(const struct run_options *options, struct pg_conn *conn, const struct scenario *scenario)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct migration *migration = NULL;
    struct catalog *catalog = NULL;
    struct plan plan = {.step_count = 0};
    struct every_step every;
    enum banyan_status st;
    int ret;

    if (scenario->sql == NULL) {
        every_step_init(&every, "v1");
        return told("start", run_start(options, &every.migration, &every.plan, &err), &err);
    }
    st = migration_parse("v1_scenario.sql", banyan_str_of(scenario->sql), &migration, &err);
    if (st == BANYAN_OK)
        st = catalog_open(conn, &catalog, &err);
    if (st == BANYAN_OK)
        st = plan_make(migration, catalog, &arena, &plan, &err);
    if (st == BANYAN_OK && plan.refusal_count > 0) {
        (void)printf("# %s: %s\n", scenario->name, plan.refusals[0].data);
        (void)fflush(stdout);
        return REFUSED;
    }
    if (st == BANYAN_OK)
        st = run_start(options, migration, &plan, &err);
    ret = told("start", st, &err);
    return ret;
}

/* From whatever is there to the one end or the other. */
static int go(const struct scenario *scenario, bool forward, struct killer killer)
{
    struct run_hooks hooks = {.at = die, .context = &killer};
    struct run_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"),
                                  .throttle = {.replica_lag_us_max = -1},
                                  .allow = true,
                                  .batch_us = 20000,
                                  .hooks = &hooks};
    struct pg_options at = {.conninfo = options.conninfo};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str version = scenario->sql == NULL ? BANYAN_STR("v1") : BANYAN_STR("v1_scenario");
    struct pg_conn *conn = NULL;

    if (pg_connect(&at, &conn, &err) != BANYAN_OK)
        return AGAIN;
    for (;;) {
        struct books_migration *list = NULL;
        enum books_state state = BOOKS_NONE;
        size_t count = 0;
        int ret;

        if (books_list(conn, &arena, &list, &count, &err) != BANYAN_OK)
            return AGAIN;
        if (count > 0) {
            state = list[0].state;
            version = list[0].version;
        }
        if (state == (forward ? BOOKS_COMPLETED : BOOKS_ROLLED_BACK) || (!forward && state == BOOKS_NONE))
            return ARRIVED;
        if (!forward)
            ret = told("rollback", run_rollback(&options, version, &err), &err);
        else if (state == BOOKS_NONE || state == BOOKS_ROLLED_BACK)
            ret = start(&options, conn, scenario);
        else if (state == BOOKS_READY)
            ret = told("complete", run_complete(&options, version, &err), &err);
        else
            ret = told("resume", run_resume(&options, version, &err), &err);
        if (ret != ARRIVED)
            return ret;
    }
}

static pid_t child(const struct scenario *scenario, bool forward, struct killer killer)
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(go(scenario, forward, killer));
    return pid;
}

/* Its exit code; -1: killed. */
static int wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- the test ---- */

static int arrive(const struct scenario *scenario, bool forward)
{
    for (int i = 0; i < AGAIN_MAX; i++) {
        int code = wait_for(child(scenario, forward, (struct killer){.place = NULL}));

        if (code != AGAIN)
            return code;
        (void)usleep(50000);
    }
    return AGAIN;
}

static void expect_same(const char *reference, const struct scenario *scenario, bool forward)
{
    char *now = print();

    if (strcmp(now, reference) != 0) {
        (void)fprintf(stderr, "---- wanted\n%s\n---- is\n%s\n", reference, now);
        fail_msg("%s: %s differs", scenario->name, forward ? "forward" : "back");
    }
    free(now);
}

static struct killer killer_at(struct os_random *random)
{
    size_t i = os_random_below(random, sizeof(places) / sizeof(places[0]));

    return (struct killer){.place = places[i].name,
                           .times = places[i].rare ? 1 : 1 + (int)os_random_below(random, TIMES)};
}

/* A child for *forward* that is killed in some way; its exit code or -1. */
static int attempt(const struct scenario *scenario, struct os_random *random, bool forward, int64_t length_us,
                   bool stop)
{
    bool at_place = !stop && os_random_below(random, 3) > 0;
    struct killer killer = {.place = NULL};
    uint64_t after_us = os_random_below(random, (uint64_t)length_us);
    pid_t pid;

    if (at_place)
        killer = killer_at(random);
    pid = child(scenario, forward, killer);
    if (at_place)
        return wait_for(pid);
    (void)usleep((useconds_t)after_us);
    if (stop) { /* the program lives, and goes on behind the server's recovery */
        restart_server();
        return wait_for(pid);
    }
    (void)kill(pid, SIGKILL);
    return wait_for(pid);
}

static void torture(const struct scenario *scenario, struct os_random *random, const char *const references[2],
                    int64_t length_us)
{
    bool forward = true;
    int killed = 0, arrivals = 0;

    for (int i = 0; killed < kills && i < 20 * kills; i++) {
        int code = attempt(scenario, random, forward, length_us, i % STOP_EVERY == STOP_EVERY - 1);

        if (code == FAILED)
            fail_msg("%s: failed", scenario->name);
        if (code == ARRIVED) {
            expect_same(references[forward], scenario, forward);
            arrivals++;
            forward = !forward;
        } else if (code == -1) {
            killed++;
        }
        if (code != ARRIVED && os_random_below(random, TURN_EVERY) == 0)
            forward = !forward;
    }
    for (int end = 0; end < 3; end++, forward = !forward) {
        assert_int_equal(arrive(scenario, forward), ARRIVED);
        expect_same(references[forward], scenario, forward);
    }
    (void)printf("# %s: %d killed, %d arrived meanwhile\n", scenario->name, killed, arrivals);
}

static void run_scenario(const struct scenario *scenario, struct os_random *random)
{
    char *references[2] = {NULL, NULL}, *before;
    int64_t begun_us, length_us;
    int code;

    sql("DROP SCHEMA IF EXISTS banyan CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    sql(scenario->schema);
    before = print();
    begun_us = os_clock_monotonic_us(os_clock_real());
    code = arrive(scenario, true);
    length_us = os_clock_monotonic_us(os_clock_real()) - begun_us;
    if (code == REFUSED) {
        (void)printf("# %s: refused, nothing to kill\n", scenario->name);
        free(before);
        return;
    }
    assert_int_equal(code, ARRIVED);
    references[1] = print();
    assert_int_equal(arrive(scenario, false), ARRIVED);
    references[0] = print();
    expect_same(before, scenario, false);
    torture(scenario, random, (const char *const *)references, length_us);
    free(references[0]);
    free(references[1]);
    free(before);
}

static void test_kills(void **state)
{
    struct os_random random;

    (void)state;
    seed_start(&random, "migrate_kill");
    for (int i = 0; i < (int)(sizeof(scenarios) / sizeof(scenarios[0])); i++)
        if (only < 0 || only == i)
            run_scenario(&scenarios[i], &random);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};

    if (argc > 1)
        kills = atoi(argv[1]);
    if (argc > 2)
        only = atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
