/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations that are disturbed at their N-th statement, for N = 1, 2, … until there is none: each verb of each
 * migration, from a copy of the database as it was before.
 *
 *   | what happens       | then                                                                                   |
 *   | killed before it   | another program goes on                                                                |
 *   | killed behind it   | the same: the server does it, or not; the answer is nobody's                            |
 *   | session ended      | the program goes on by itself                                                           |
 *   | … while it runs    | the same                                                                                |
 *   | cancelled          | the program goes on, or ends with an error that says so; then another goes on           |
 *   | server stopped     | at once, as in a crash: the program waits for it, and goes on                          |
 *
 * In the end catalog and rows, of what is kept, too, are as they are where nothing happened.  An UPDATE that adds one
 * shows what is done twice or not at all.
 *
 * The arguments: of how many statements one is disturbed, in turn (1: each, in all ways), and the number of one
 * migration. BANYAN_TEST_SEED repeats a run, up to what the scheduler does.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "migrate/run.h"
#include "migrate_world.h"
#include "support/every_step.h"
#include "support/seed.h"

enum {
    ARRIVED = 0,
    FAILED = 1,
    AGAIN = 75,
    AGAIN_MAX = 100,
    CHILD_SECONDS = 60,
    TEXT_SIZE = 1024,
};

enum disturbance {
    NOTHING = 0,
    KILLED_BEFORE,
    KILLED_BEHIND,
    ENDED_BEFORE,
    ENDED_BEHIND,
    CANCELLED,
    STOPPED,
    DISTURBANCES,
};
static const char *const names[] = {
    "nothing",   "killed before", "killed behind", "session ended", "session ended while it runs",
    "cancelled", "server stopped"};

enum verb { START = 0, COMPLETE, REOPEN, ROLLBACK, CLEANUP, VERBS };
static const struct {
    const char *name;
    enum books_state from, to;
} verbs[] = {{"start", BOOKS_NONE, BOOKS_READY},
             {"complete", BOOKS_READY, BOOKS_COMPLETED},
             {"reopen", BOOKS_COMPLETED, BOOKS_READY},
             {"rollback", BOOKS_COMPLETED, BOOKS_ROLLED_BACK},
             {"cleanup", BOOKS_COMPLETED, BOOKS_DONE}};

struct scenario {
    const char *name, *schema, *sql; /* sql NULL: the one made by hand */
};
static const char small_schema[] =
    "CREATE TABLE orders (id int PRIMARY KEY, symbol text NOT NULL, price numeric(10,2) NOT NULL, quantity int, "
    "filler text NOT NULL); CREATE INDEX orders_price ON orders (price);"
    "INSERT INTO orders SELECT i, CASE WHEN i % 3 = 0 THEN 'BTC' ELSE 'DAX' END, i % 1000 / 10.0, "
    "CASE WHEN i % 7 > 0 THEN i END, repeat('x', 150) FROM generate_series(1, 4000) i;"
    "CREATE TABLE trades (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders (id));"
    "INSERT INTO trades SELECT i, i FROM generate_series(1, 500) i;";
static const struct scenario scenarios[] = {
    {"values, kept", small_schema, "UPDATE orders SET price = price + 1, quantity = quantity + 1;"},
    {"new column", small_schema,
     "-- banyan: backfill orders.venue = CASE WHEN symbol = 'BTC' THEN 'COIN' ELSE 'XETR' END\n"
     "ALTER TABLE orders ADD COLUMN venue varchar(50) NOT NULL;"},
    {"type", small_schema, "ALTER TABLE orders ALTER COLUMN price TYPE numeric(18,8);"},
    {"drops", small_schema, "ALTER TABLE orders DROP COLUMN quantity;\nDROP INDEX orders_price;\nDROP TABLE trades;"},
    {"key", small_schema, "ALTER TABLE orders ALTER COLUMN id TYPE bigint;"},
    {"every step", every_step_schema, NULL},
};

/* ---- the N-th statement ---- */

static struct shared {
    unsigned count; /* of statements that were sent */
    bool disturbed;
} * shared;                   /* of this process and its child */
static unsigned disturbed_at; /* 0: never */
static enum disturbance disturbance;

typedef int send_simple(PGconn *conn, const char *sql);
typedef int send_params(PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values,
                        const int *lengths, const int *formats, int format);

static void *real(const char *name)
{
    void *ret = dlsym(RTLD_NEXT, name);

    if (ret == NULL)
        abort();
    return ret;
}

/* Its session, by another one. */
static void end_session(const PGconn *conn)
{
    char command[TEXT_SIZE];

    (void)snprintf(command, sizeof(command),
                   "psql -XqAt -d postgres -c 'SELECT pg_terminate_backend(%d, 5000)' >/dev/null 2>&1",
                   PQbackendPID(conn)); /* fits */
    (void)!system(command);             /* where it did nothing, nothing happens */
}

static bool is_due(void)
{
    return ++shared->count == disturbed_at;
}

static void before(PGconn *conn)
{
    shared->disturbed = true;
    if (disturbance == KILLED_BEFORE)
        (void)kill(getpid(), SIGKILL);
    if (disturbance == ENDED_BEFORE)
        end_session(conn);
}

static void behind(PGconn *conn)
{
    char text[TEXT_SIZE];
    PGcancel *cancel;

    if (disturbance != ENDED_BEFORE && PQflush(conn) > 0)
        return;
    if (disturbance == KILLED_BEHIND)
        (void)kill(getpid(), SIGKILL);
    if (disturbance == ENDED_BEHIND)
        end_session(conn);
    if (disturbance == STOPPED)
        world_restart();
    if (disturbance != CANCELLED)
        return;
    cancel = PQgetCancel(conn);
    if (cancel != NULL)
        (void)PQcancel(cancel, text, sizeof(text)); /* it may have ended already */
    PQfreeCancel(cancel);
}

/* In the place of libpq's: the linker takes the program's own first. */
int PQsendQuery(PGconn *conn, const char *sql)
{
    bool due = is_due();
    int ret;

    if (due)
        before(conn);
    ret = ((send_simple *)real("PQsendQuery"))(conn, sql);
    if (due)
        behind(conn);
    return ret;
}

int PQsendQueryParams(PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values,
                      const int *lengths, const int *formats, int format)
{
    bool due = is_due();
    int ret;

    if (due)
        before(conn);
    ret = ((send_params *)real("PQsendQueryParams"))(conn, sql, count, types, values, lengths, formats, format);
    if (due)
        behind(conn);
    return ret;
}

/* ---- the child ---- */

static int told(const char *what, enum banyan_status st, const struct banyan_error *err)
{
    bool may_fail = shared->disturbed && disturbance == CANCELLED;

    if (st == BANYAN_OK)
        return ARRIVED;
    if (st == BANYAN_UNAVAILABLE || st == BANYAN_BUSY)
        return AGAIN;
    if (may_fail && st == BANYAN_TIMEOUT && strstr(err->message, "user request") != NULL)
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

    if (scenario->sql == NULL) {
        every_step_init(&every, "v1_scenario");
        shared->count = 0;
        return told("start", run_start(options, &every.migration, &every.plan, &err), &err);
    }
    st = migration_parse("v1_scenario.sql", banyan_str_of(scenario->sql), &migration, &err);
    if (st == BANYAN_OK)
        st = catalog_open(conn, &catalog, &err);
    if (st == BANYAN_OK)
        st = plan_make(migration, catalog, &arena, &plan, &err);
    shared->count = 0;
    if (st == BANYAN_OK)
        st = run_start(options, migration, &plan, &err);
    return told("start", st, &err);
}

static int once(const struct run_options *options, struct pg_conn *conn, const struct scenario *scenario,
                enum verb verb, enum books_state state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str version = BANYAN_STR("v1_scenario");

    if (state == BOOKS_NONE)
        return start(options, conn, scenario);
    if (state != verbs[verb].from || verb == START)
        return told("resume", run_resume(options, version, &err), &err);
    if (verb == COMPLETE)
        return told("complete", run_complete(options, version, &err), &err);
    if (verb == REOPEN)
        return told("reopen", run_reopen(options, version, &err), &err);
    if (verb == ROLLBACK)
        return told("rollback", run_rollback(options, version, &err), &err);
    return told("cleanup", run_cleanup(options, version, &err), &err);
}

/* From whatever is there to the end of *verb*. */
static int go(const struct scenario *scenario, enum verb verb)
{
    struct run_options options = {.conninfo = world_conninfo("work"),
                                  .throttle = {.replica_lag_us_max = -1},
                                  .allow = true,
                                  .lock_timeout_us = 1000000,
                                  .batch_us = 20000};
    struct pg_options at = {.conninfo = options.conninfo};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_conn *conn = NULL;
    struct books_migration *list = NULL;
    enum books_state state;
    size_t count = 0;
    int ret;

    (void)alarm(CHILD_SECONDS);
    disturbed_at += disturbed_at > 0 ? 1000000 : 0; /* not while we look */
    if (pg_connect(&at, &conn, &err) != BANYAN_OK)
        return AGAIN;
    if (books_list(conn, &arena, &list, &count, &err) != BANYAN_OK)
        return AGAIN;
    state = count > 0 ? list[0].state : BOOKS_NONE;
    if (state == verbs[verb].to && !(verb == REOPEN && state == BOOKS_COMPLETED))
        return ARRIVED;
    disturbed_at -= disturbed_at > 0 ? 1000000 : 0;
    shared->count = 0;
    ret = once(&options, conn, scenario, verb, state);
    pg_close(conn);
    return ret;
}

/* Its exit code, or 128 and the signal that ended it. */
static int child(const struct scenario *scenario, enum verb verb, enum disturbance what, unsigned at)
{
    pid_t pid;
    int status;

    (void)fflush(NULL);
    shared->disturbed = false;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        disturbance = what;
        disturbed_at = at;
        _exit(go(scenario, verb));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- the test ---- */

static unsigned stride = 1;
static int only = -1;

static int arrive(const struct scenario *scenario, enum verb verb)
{
    int code = AGAIN;

    for (int i = 0; i < AGAIN_MAX && code == AGAIN; i++) {
        code = child(scenario, verb, NOTHING, 0);
        if (code == AGAIN)
            (void)usleep(50000);
    }
    return code;
}

static void copy(const char *from, const char *to)
{
    char command[TEXT_SIZE];

    (void)snprintf(command, sizeof(command), "DROP DATABASE IF EXISTS %s WITH (FORCE)", to); /* fits */
    world_run("postgres", command);
    (void)snprintf(command, sizeof(command), "CREATE DATABASE %s TEMPLATE %s", to, from); /* fits */
    for (int i = 0; i < AGAIN_MAX; i++) { /* who looked at it may not be gone yet */
        char ask[TEXT_SIZE], *users;
        bool any;

        (void)snprintf(ask, sizeof(ask), "SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'", from); /* fits */
        users = world_ask("postgres", ask);
        any = strcmp(users, "0") != 0;
        free(users);
        if (!any)
            break;
        (void)usleep(20000);
    }
    world_run("postgres", command);
}

static void expect_same(const char *reference, const struct scenario *scenario, enum verb verb, enum disturbance what,
                        unsigned at)
{
    char *now = world_print("work");

    if (strcmp(now, reference) != 0) {
        (void)fprintf(stderr, "---- wanted\n%s\n---- is\n%s\n", reference, now);
        fail_msg("%s, %s: %s at statement %u: differs", scenario->name, verbs[verb].name, names[what], at);
    }
    free(now);
}

static void disturb(const struct scenario *scenario, enum verb verb, enum disturbance what, unsigned at,
                    const char *reference)
{
    bool killed = what == KILLED_BEFORE || what == KILLED_BEHIND;
    int code;

    copy("before", "work");
    code = child(scenario, verb, what, at);
    if (getenv("VERBOSE") != NULL)
        (void)printf("# %s, %s: %s at statement %u: %d\n", scenario->name, verbs[verb].name, names[what], at, code);
    if (code == AGAIN || (killed && code == 128 + SIGKILL))
        code = arrive(scenario, verb);
    if (code != ARRIVED)
        fail_msg("%s, %s: %s at statement %u: %d", scenario->name, verbs[verb].name, names[what], at, code);
    expect_same(reference, scenario, verb, what, at);
}

/* "before" is a copy of where it begins. */
static unsigned run_verb(const struct scenario *scenario, enum verb verb, struct os_random *random)
{
    unsigned count, done = 0, at = 1 + (unsigned)os_random_below(random, stride);
    enum disturbance what = (enum disturbance)os_random_below(random, DISTURBANCES);
    char *reference;

    copy("before", "work");
    assert_int_equal(child(scenario, verb, NOTHING, 0), ARRIVED);
    count = shared->count;
    reference = world_print("work");
    for (; at <= count; at += stride) {
        for (int i = 1; i < DISTURBANCES; i++) {
            what = what + 1 >= DISTURBANCES ? KILLED_BEFORE : what + 1;
            disturb(scenario, verb, what, at, reference);
            done++;
            if (stride > 1) /* one after the other */
                break;
        }
    }
    free(reference);
    (void)printf("# %s, %s: %u statements, %u disturbed\n", scenario->name, verbs[verb].name, count, done);
    (void)fflush(stdout);
    return done;
}

static void run_scenario(const struct scenario *scenario, struct os_random *random)
{
    static const enum verb way[] = {START, COMPLETE, REOPEN, ROLLBACK, CLEANUP};

    world_run("postgres", "DROP DATABASE IF EXISTS before WITH (FORCE)");
    world_run("postgres", "CREATE DATABASE before");
    world_run("before", scenario->schema);
    for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
        (void)run_verb(scenario, way[i], random);
        if (way[i] == START || way[i] == COMPLETE) {
            copy("before", "work");
            assert_int_equal(arrive(scenario, way[i]), ARRIVED);
            copy("work", "before");
        }
    }
}

static void test_nth(void **state)
{
    struct os_random random;

    (void)state;
    seed_start(&random, "migrate_nth");
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    for (int i = 0; i < (int)(sizeof(scenarios) / sizeof(scenarios[0])); i++)
        if (only < 0 || only == i)
            run_scenario(&scenarios[i], &random);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nth)};

    if (argc > 1 && atoi(argv[1]) > 0)
        stride = (unsigned)atoi(argv[1]);
    if (argc > 2)
        only = atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
