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
#include "migrate_world.h"
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

static const struct scenario scenarios[] = {
    {"every step", every_step_schema, NULL},
    {"new column", world_orders_schema,
     "-- banyan: backfill orders.venue = CASE WHEN symbol = 'BTC' THEN 'COIN' ELSE 'XETR' END\n"
     "ALTER TABLE orders ADD COLUMN venue varchar(50) NOT NULL;"},
    {"rename", world_orders_schema, "ALTER TABLE orders RENAME COLUMN execution_time TO execution_timestamp;"},
    {"type", world_orders_schema, "ALTER TABLE orders ALTER COLUMN price TYPE numeric(18,8);"},
    {"key", world_orders_schema, "ALTER TABLE orders ALTER COLUMN id TYPE bigint;"},
    {"indexes and foreign key", world_orders_schema,
     "CREATE INDEX orders_user ON orders (user_id, execution_time);\n"
     "DROP INDEX orders_time;\n"
     "ALTER TABLE orders ADD CONSTRAINT orders_users FOREIGN KEY (user_id) REFERENCES users (id);"},
    {"update", world_orders_schema, "UPDATE orders SET status = 'old' WHERE id % 2 = 0;"},
    {"drop column", world_orders_schema, "ALTER TABLE orders DROP COLUMN status;"},
};

static int kills = 8;
static int only = -1;

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
    char *now = world_print("postgres");

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
        world_restart();
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

    world_run("postgres", "DROP SCHEMA IF EXISTS banyan CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    world_run("postgres", scenario->schema);
    before = world_print("postgres");
    begun_us = os_clock_monotonic_us(os_clock_real());
    code = arrive(scenario, true);
    length_us = os_clock_monotonic_us(os_clock_real()) - begun_us;
    if (code == REFUSED) {
        (void)printf("# %s: refused, nothing to kill\n", scenario->name);
        free(before);
        return;
    }
    assert_int_equal(code, ARRIVED);
    references[1] = world_print("postgres");
    assert_int_equal(arrive(scenario, false), ARRIVED);
    references[0] = world_print("postgres");
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
