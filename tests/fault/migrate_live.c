/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Six migrations of a big table in use: see migrate_live.h for how it is used.  Each case, through the program:
 *
 *   plain      start ▶ ready ▶ rollback;  start ▶ ready ▶ complete ▶ rollback to ready ▶ rollback
 *   killed     the same again and again, while the program is killed (-9) at seeded moments and resumed
 *   for good   start ▶ complete ▶ cleanup, killed too; the schema is what the plain DDL makes
 *
 *   mode of the load    old ......... both ....... new ................ both ........ old
 *
 * At each stop the whole table is compared with what clients were told, and behind each rollback the whole schema with
 * what it was.  No statement may fail, none may take WAIT_MS.
 *
 *   migrate_live PROGRAM [CASE …]
 *   ROWS 200000   KILLS 6 a case   KILLS_A_VERB 3 at most   RATE 400 statements a second   SECONDS 2 at each stop
 *   WAIT_MS 1000   BANYAN_TEST_SEED
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate_live.h"
#include "os/clock.h"
#include "support/seed.h"

enum {
    THREADS = 4,
    BUSY_US_MAX = 120000000, /* for the session of a killed program to be gone */
    KILLED = -1,
    EXIT_BUSY_US = 50000,
};

struct live_case {
    enum live_case_id id;
    const char *name, *file, *sql;
};
static const struct live_case cases[] = {
    {LIVE_VENUE, "venue", "add_execution_venue",
     "-- banyan: backfill orders.execution_venue = CASE venue_code WHEN 'N' THEN 'NYSE' WHEN 'L' THEN 'LSE' "
     "WHEN 'T' THEN 'TSE' ELSE 'OTHER' END\n"
     "ALTER TABLE orders ADD COLUMN execution_venue varchar(50) NOT NULL;\n"},
    {LIVE_RENAME, "rename", "rename_execution_time",
     "ALTER TABLE orders RENAME COLUMN execution_time TO execution_timestamp;\n"},
    {LIVE_TYPE, "type", "price_with_eight_decimals", "ALTER TABLE orders ALTER COLUMN price TYPE numeric(18,8);\n"},
    {LIVE_INDEX, "index", "index_venue_time",
     "CREATE INDEX orders_venue_time ON orders (venue_code, execution_time);\n"},
    {LIVE_UPDATE, "update", "more_quantity", "UPDATE orders SET quantity = quantity + 1000000;\n"},
    {LIVE_FOREIGN, "foreign", "account_of_order",
     "ALTER TABLE orders ADD CONSTRAINT orders_account FOREIGN KEY (account_id) REFERENCES accounts (account_id);\n"},
};

struct world {
    const char *program, *conninfo;
    char folder[64];
    const struct live_case *of;
    char version[64], path[256]; /* of the round at work */
    int round;
    int64_t rows;
    unsigned rate, seconds;
    int64_t wait_us_max; /* of a statement of the application */
    int kills, kills_wanted, kills_a_verb;
    struct os_random random;
    struct live_model model;
    struct live_load *load;
    PGconn *conn;
    char *schema, *schema_after;
    int64_t verb_us[LIVE_STAGES]; /* of the plain round */
    int64_t wrong;
    int broken;
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void pass(int64_t us)
{
    os_clock_real()->sleep_us(os_clock_real(), us);
}

static void broken(struct world *world, const char *what)
{
    world->broken++;
    printf("# BROKEN %s (%s): %s\n", world->of->name, world->version, what);
    (void)fflush(stdout);
}

/* ---- the program ---- */

static void print_log(const struct world *world, const char *path)
{
    char line[512];
    FILE *file = fopen(path, "r");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        printf("#   %s: %s", world->of->name, line);
    if (file != NULL)
        (void)fclose(file);
    (void)fflush(stdout);
}

/* Its exit code, or KILLED. */
static int run_program(struct world *world, const char *const *arguments, int64_t kill_us)
{
    char log[128];
    int64_t end = now_us() + kill_us;
    pid_t pid;
    int status;

    (void)snprintf(log, sizeof(log), "%s/log", world->folder);
    pid = fork();
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
            _exit(126);
        execv(world->program, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    while (waitpid(pid, &status, kill_us > 0 ? WNOHANG : 0) == 0) {
        if (now_us() >= end) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            break;
        }
        pass(500);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : KILLED;
}

/* Of the books; empty: there is none. */
static void read_state(struct world *world, char state[64])
{
    char sql[256];
    PGresult *result;

    state[0] = '\0';
    if (live_number(world->conn, "SELECT (to_regclass('banyan.schema_migrations') IS NOT NULL)::int") == 0)
        return;
    (void)snprintf(sql, sizeof(sql), "SELECT state FROM banyan.schema_migrations WHERE version = '%s'", world->version);
    result = PQexec(world->conn, sql);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
        (void)snprintf(state, 64, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
}

struct verb {
    const char *name, *until; /* state of the books */
    bool to_ready;
    enum live_stage stage;
};
static const struct verb verb_start = {"start", "ready", false, LIVE_START};
static const struct verb verb_complete = {"complete", "completed", false, LIVE_COMPLETE};
static const struct verb verb_back = {"rollback", "ready", true, LIVE_ROLLBACK};
static const struct verb verb_rollback = {"rollback", "rolled_back", false, LIVE_ROLLBACK};
static const struct verb verb_cleanup = {"cleanup", "done", false, LIVE_CLEANUP};

/* One life of the program: the verb itself, or resume of what was killed. */
static int one_life(struct world *world, const struct verb *verb, bool resume, int64_t kill_us)
{
    const char *arguments[12] = {world->program, "migrate", resume ? "resume" : verb->name};
    size_t count = 3;

    arguments[count++] = !resume && verb->stage == LIVE_START ? world->path : world->version;
    if (verb->to_ready && !resume) {
        arguments[count++] = "--to-ready";
    }
    arguments[count++] = "--conninfo";
    arguments[count++] = world->conninfo;
    return run_program(world, arguments, kill_us);
}

/* When a life of the verb ends: so that all of them together are about as long as the verb takes. */
static int64_t kill_moment(struct world *world, int64_t expected_us)
{
    return (int64_t)os_random_below(&world->random, (uint64_t)(2 * expected_us / (world->kills_a_verb + 1) + 1)) + 1000;
}

/* Until the books say that it is done.  Killed at most kills_a_verb times, and tried again while the server still has
 * the session of one that was killed. */
static bool do_verb(struct world *world, const struct verb *verb, bool may_kill)
{
    int64_t began = now_us(), expected = world->verb_us[verb->stage], killed_us = 0;
    char state[64], before[64], log[128];
    bool resume = false;
    int code, kills = 0;

    live_load_stage(world->load, verb->stage);
    read_state(world, before);
    for (;;) {
        bool kill = may_kill && kills < world->kills_a_verb && world->kills < world->kills_wanted && expected > 0;

        code = one_life(world, verb, resume, kill ? kill_moment(world, expected) : 0);
        read_state(world, state);
        if (code == 0 && strcmp(state, verb->until) == 0)
            break;
        if (code == KILLED && kill) {
            kills++;
            world->kills++;
            killed_us = now_us();
            /* Nothing was written of it yet: it has not begun. */
            resume = strcmp(state, before) != 0 && strcmp(state, verb->until) != 0;
            if (strcmp(state, verb->until) == 0)
                break;
            continue;
        }
        if (kills > 0 && now_us() - killed_us < BUSY_US_MAX && strcmp(state, verb->until) != 0) {
            pass(EXIT_BUSY_US);
            continue;
        }
        printf("# %s: %s ended with %d, state %s\n", world->of->name, resume ? "resume" : verb->name, code, state);
        (void)snprintf(log, sizeof(log), "%s/log", world->folder);
        print_log(world, log);
        broken(world, "the program did not do it");
        return false;
    }
    if (kills == 0)
        world->verb_us[verb->stage] = now_us() - began;
    return true;
}

/* ---- what must hold ---- */

static void same_schema(struct world *world, const char *expected, bool by_number, const char *when)
{
    char *text = live_schema_text(world->conn, by_number), path[128];

    if (strcmp(text, expected) != 0) {
        const char *const names[] = {"expected", "seen"};
        const char *const texts[] = {expected, text};
        char command[512];

        broken(world, when);
        for (int i = 0; i < 2; i++) {
            (void)snprintf(path, sizeof(path), "%s/%s", world->folder, names[i]);
            FILE *file = fopen(path, "w");
            if (file != NULL) {
                (void)fputs(texts[i], file);
                (void)fclose(file);
            }
        }
        (void)snprintf(command, sizeof(command), "diff -U0 %s/expected %s/seen | tail -n +3 | sed 's/^/# /'",
                       world->folder, world->folder);
        (void)fflush(stdout);
        (void)!system(command);
    }
    free(text);
}

static void compare(struct world *world, const struct live_expect *expect, const char *when)
{
    int64_t wrong;

    live_load_mode(world->load, LIVE_PAUSED);
    wrong = live_model_compare(&world->model, world->conn, expect);
    world->wrong += wrong;
    if (wrong > 0)
        broken(world, when);
}

static void stay(struct world *world, enum live_mode mode, enum live_stage stage)
{
    live_load_stage(world->load, stage);
    live_load_mode(world->load, mode);
    pass(world->seconds * INT64_C(1000000));
}

static void expect_before(struct world *world, const char *when)
{
    const struct live_expect expect = {.time = "execution_time", .fired = world->of->id == LIVE_UPDATE};

    compare(world, &expect, when);
    same_schema(world, world->schema, true, when);
    live_model_since(&world->model);
}

static void expect_ready(struct world *world)
{
    const struct live_expect expect = {
        .time = "execution_time",
        .second = world->of->id == LIVE_RENAME ? "execution_timestamp" : NULL,
        .execution = world->of->id == LIVE_VENUE,
        .fired = world->of->id == LIVE_UPDATE,
        .added = world->of->id == LIVE_UPDATE ? LIVE_PERHAPS_ADDED : LIVE_NOT_ADDED,
    };

    compare(world, &expect, "ready");
    if (world->of->id == LIVE_INDEX && live_number(world->conn, "SELECT count(*) FROM pg_index WHERE indexrelid = "
                                                                "to_regclass('orders_venue_time') AND indisvalid") != 1)
        broken(world, "the index is not there, or not valid");
}

static void expect_completed(struct world *world)
{
    const struct live_expect expect = {
        .time = world->of->id == LIVE_RENAME ? "execution_timestamp" : "execution_time",
        .execution = world->of->id == LIVE_VENUE,
        .fired = world->of->id == LIVE_UPDATE,
        .added = world->of->id == LIVE_UPDATE ? LIVE_IS_ADDED : LIVE_NOT_ADDED,
    };

    compare(world, &expect, "completed");
    if (world->of->id == LIVE_FOREIGN) {
        PGresult *result = PQexec(world->conn, "UPDATE orders SET account_id = 1000000 WHERE order_id = 1");

        if (PQresultStatus(result) == PGRES_COMMAND_OK)
            broken(world, "the foreign key does not hold");
        PQclear(result);
    }
}

/* ---- rounds ---- */

static void new_round(struct world *world)
{
    FILE *file;

    (void)snprintf(world->version, sizeof(world->version), "2024_11_01_%03d", ++world->round);
    (void)snprintf(world->path, sizeof(world->path), "%s/%s_%s.sql", world->folder, world->version, world->of->file);
    file = fopen(world->path, "w");
    if (file == NULL || fputs(world->of->sql, file) < 0 || fclose(file) != 0)
        exit(1);
}

static bool round_ready_and_back(struct world *world, bool killed)
{
    new_round(world);
    live_load_mode(world->load, LIVE_ONLY_OLD);
    if (!do_verb(world, &verb_start, killed))
        return false;
    expect_ready(world);
    stay(world, LIVE_BOTH, LIVE_READY);
    expect_ready(world);
    live_load_mode(world->load, LIVE_ONLY_OLD);
    if (!do_verb(world, &verb_rollback, killed))
        return false;
    live_load_mode(world->load, LIVE_PAUSED);
    live_model_forget_execution(&world->model);
    expect_before(world, "rolled back from ready");
    return true;
}

static bool round_completed_and_back(struct world *world, bool killed)
{
    new_round(world);
    live_load_mode(world->load, LIVE_ONLY_OLD);
    if (!do_verb(world, &verb_start, killed))
        return false;
    stay(world, LIVE_BOTH, LIVE_READY);
    live_load_mode(world->load, LIVE_ONLY_NEW);
    if (!do_verb(world, &verb_complete, killed))
        return false;
    live_load_exact(world->load, true);
    stay(world, LIVE_ONLY_NEW, LIVE_COMPLETED);
    expect_completed(world);
    live_load_exact(world->load, false);
    live_load_mode(world->load, LIVE_ONLY_NEW);
    if (!do_verb(world, &verb_back, killed))
        return false;
    live_load_mode(world->load, LIVE_PAUSED);
    if (world->of->id == LIVE_TYPE)
        live_model_round(&world->model);
    expect_ready(world);
    stay(world, LIVE_BOTH, LIVE_READY);
    live_load_mode(world->load, LIVE_ONLY_OLD);
    if (!do_verb(world, &verb_rollback, killed))
        return false;
    live_load_mode(world->load, LIVE_PAUSED);
    live_model_forget_execution(&world->model);
    expect_before(world, "rolled back from completed");
    return true;
}

static bool round_for_good(struct world *world, bool killed)
{
    new_round(world);
    live_load_mode(world->load, LIVE_ONLY_OLD);
    if (!do_verb(world, &verb_start, killed))
        return false;
    live_load_mode(world->load, LIVE_ONLY_NEW);
    if (!do_verb(world, &verb_complete, killed))
        return false;
    stay(world, LIVE_ONLY_NEW, LIVE_COMPLETED);
    if (!do_verb(world, &verb_cleanup, killed))
        return false;
    expect_completed(world);
    same_schema(world, world->schema_after, false, "cleaned up: the schema is not what the plain DDL makes");
    if (live_number(world->conn, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                                 "WHERE nspname = 'banyan' AND relname LIKE 'kept%'") +
            live_number(world->conn, "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
                                     "WHERE nspname = 'banyan' AND prorettype = 'trigger'::regtype") >
        0)
        broken(world, "something is left in schema banyan");
    return true;
}

/* ---- a case ---- */

/* What plain SQL makes of the schema, in a database without rows. */
static void learn_schema_after(struct world *world)
{
    PGconn *plain;

    live_run_sql(world->conn, "DROP DATABASE IF EXISTS live_plain");
    live_run_sql(world->conn, "CREATE DATABASE live_plain");
    plain = live_connect("live_plain", "live-plain");
    live_schema_make(plain);
    /* Plain SQL refuses to change the type of a column of a view. */
    if (world->of->id == LIVE_TYPE)
        live_run_sql(plain, "DROP VIEW dear_quantities, dear_orders");
    live_run_sql(plain, world->of->sql);
    if (world->of->id == LIVE_TYPE)
        live_schema_views(plain);
    world->schema_after = live_schema_text(plain, false);
    PQfinish(plain);
}

static void report(struct world *world)
{
    struct live_figures figures;

    live_load_mode(world->load, LIVE_PAUSED);
    live_load_figures(world->load, &figures);
    printf("# {\"test\": \"migrate-live\", \"case\": \"%s\", \"rows\": %" PRId64 ", \"statements\": %" PRIu64
           ", \"failed\": %" PRIu64 ", \"wrong\": %" PRIu64 ", \"prepared_again\": %" PRIu64
           ", \"kills\": %d, \"lock_wait_ms_max\": %.1f",
           world->of->name, world->rows, figures.statements, figures.failed, figures.wrong + (uint64_t)world->wrong,
           figures.prepared_again, world->kills, (double)figures.lock_wait_us_max / 1000);
    for (int stage = 0; stage < LIVE_STAGES; stage++)
        printf(", \"%s\": {\"count\": %" PRIu64 ", \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.1f, "
               "\"verb_s\": %.1f}",
               live_stage_name((enum live_stage)stage), figures.count[stage], (double)figures.p50_us[stage] / 1000,
               (double)figures.p99_us[stage] / 1000, (double)figures.max_us[stage] / 1000,
               (double)world->verb_us[stage] / 1e6);
    printf("}\n");
    if (figures.failed > 0)
        broken(world, "statements failed");
    if (figures.wrong > 0)
        broken(world, "values were wrong");
    for (int stage = 0; stage < LIVE_STAGES; stage++)
        if (figures.max_us[stage] >= world->wait_us_max)
            broken(world, live_stage_name((enum live_stage)stage));
    (void)fflush(stdout);
}

static bool run_round(struct world *world, bool (*round)(struct world *world, bool killed), bool killed)
{
    bool ret = round(world, killed);

    fprintf(stderr, "# %s: round %d of %" PRId64 " rows, %d kills so far, %d broken\n", world->of->name, world->round,
            world->rows, world->kills, world->broken);
    return ret;
}

static bool run_rounds(struct world *world)
{
    if (!run_round(world, round_ready_and_back, false) || !run_round(world, round_completed_and_back, false))
        return false;
    for (bool completed = true; world->kills < world->kills_wanted; completed = !completed)
        if (!run_round(world, completed ? round_completed_and_back : round_ready_and_back, true))
            return false;
    world->kills_wanted += world->kills_a_verb;
    return run_round(world, round_for_good, true);
}

static int run_case(struct world *world, const struct live_case *of, uint64_t seed)
{
    world->of = of;
    world->kills = world->broken = 0;
    world->wrong = 0;
    memset(world->verb_us, 0, sizeof(world->verb_us));
    live_schema_drop(world->conn);
    live_schema_make(world->conn);
    live_schema_fill(world->conn, world->rows);
    live_model_init(&world->model, world->rows);
    world->schema = live_schema_text(world->conn, true);
    learn_schema_after(world);
    world->load = live_load_start(&world->model, of->id, THREADS, world->rate, seed);
    stay(world, LIVE_ONLY_OLD, LIVE_ALONE);
    stay(world, LIVE_ONLY_OLD, LIVE_ALONE);
    expect_before(world, "without a migration");
    if (getenv("ALONE") == NULL)
        (void)run_rounds(world);
    report(world);
    live_load_stop(world->load);
    live_model_free(&world->model);
    free(world->schema);
    free(world->schema_after);
    return world->broken;
}

static unsigned number_of(const char *name, unsigned usual)
{
    const char *given = getenv(name);
    return given == NULL ? usual : (unsigned)strtoul(given, NULL, 10);
}

int main(int argc, char **argv)
{
    struct world world = {.rows = number_of("ROWS", 200000),
                          .rate = number_of("RATE", 400),
                          .seconds = number_of("SECONDS", 2),
                          .wait_us_max = number_of("WAIT_MS", 1000) * INT64_C(1000),
                          .kills_a_verb = (int)number_of("KILLS_A_VERB", 3),
                          .conninfo = getenv("BANYAN_TEST_CONNINFO"),
                          .folder = "/tmp/migrate-live.XXXXXX"};
    int bad = 0, done = 0;
    int kills = (int)number_of("KILLS", 6);

    if (argc < 2 || world.conninfo == NULL || mkdtemp(world.folder) == NULL) {
        fprintf(stderr, "usage: with-postgres migrate_live PROGRAM [CASE …]\n");
        return 2;
    }
    world.program = argv[1];
    seed_start(&world.random, "migrate-live");
    world.conn = live_connect(NULL, "live-test");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool wanted = argc == 2;
        int broken_here;

        for (int at = 2; at < argc; at++)
            wanted |= strcmp(argv[at], cases[i].name) == 0;
        if (!wanted)
            continue;
        world.kills_wanted = kills;
        broken_here = run_case(&world, &cases[i], os_random_next(&world.random));
        printf("%s %d - %s of %" PRId64 " rows under old and new code\n", broken_here == 0 ? "ok" : "not ok", ++done,
               cases[i].file, world.rows);
        (void)fflush(stdout);
        bad += broken_here > 0;
    }
    printf("1..%d\n", done);
    PQfinish(world.conn);
    if (bad == 0) {
        char command[128];

        (void)snprintf(command, sizeof(command), "rm -r %s", world.folder);
        (void)!system(command);
    }
    return bad > 0;
}
