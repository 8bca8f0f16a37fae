/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back under kill -9 of the program and immediate stops of the server, at seeded moments, while commands run
 * and while somebody else writes rows that are not his any more.
 *
 * At the end every conflict is resolved for the log, and the tables are compared with its fold: every row and column,
 * every audit row and trade once.
 *
 * The argument says how many kills; BANYAN_TEST_SEED repeats a run, up to what the scheduler does.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "legacy/mirror.h"
#include "os/random.h"
#include "support/orders.h"
#include "support/test_domain.h"
#include "trading/trading.h"

enum {
    KEYS = 3000,
    WRITTEN_KEYS = 300, /* some of them, by somebody else */
    STOP_EVERY = 7,     /* kills between two immediate stops of the server */
    CONFLICT_EVERY = 3, /* and between two rows written by somebody else */
    LIFE_US_MIN = 60000,
    LIFE_US_MAX = 200000,
    WAIT_US = 120 * 1000 * 1000,
};

static int kills = 50;

static enum banyan_status mirror_up(struct rig *rig, uint32_t batch, struct legacy_mirror **ret)
{
    struct legacy_mirror_options options = {.domain = &banyan_domain_trading,
                                            .source = "test",
                                            .conninfo = rig->conninfo,
                                            .store = rig->store,
                                            .batch_events_max = batch,
                                            .stop = &rig->stop};
    return legacy_mirror_start(&options, ret, &rig->err);
}

/* Commands and the mirror, until killed.  A server that is away is no failure, and gives a life without a mirror. */
static void child(struct rig *rig, uint64_t seed)
{
    struct legacy_mirror *mirror = NULL;
    struct os_random random;
    os_random_seed(&random, seed);
    rig_open_store(rig);
    if (mirror_up(rig, (uint32_t)os_random_below(&random, 60) + 1, &mirror) != BANYAN_OK) {
        fprintf(stderr, "# a life without a mirror: %s\n", rig->err.message);
        banyan_error_clear(&rig->err);
    }
    struct aggregates *aggregates =
        aggregates_new(&(struct aggregates_options){.store = rig->store, .domain = &banyan_domain_trading});
    for (int i = 0;; i++) {
        orders_command(rig, aggregates, &random, KEYS);
        if (i % 64 == 63)
            usleep(1000); /* so that there are small batches, too */
    }
}

static void restart_server(struct rig *rig)
{
    char command[1024];
    const char *folder = getenv("BANYAN_TEST_PG");
    assert_non_null(folder);
    snprintf(command, sizeof(command), "%s/ctl immediate && %s/ctl start", folder, folder);
    assert_int_equal(system(command), 0);
    pg_close(rig->db);
    pg_close(rig->server);
    rig->db = rig_connect(rig);
    struct pg_options options = {.conninfo = getenv("BANYAN_TEST_CONNINFO"), .application_name = "test"};
    RIG_OK(rig, pg_connect(&options, &rig->server, &rig->err));
}

/* How often somebody wrote the row of an order, each time an hour. */
static int hours[KEYS + 1];

static void move_hours(struct rig *rig, uint64_t key, int count)
{
    struct pg_result *result = NULL;
    char sql[256];
    snprintf(sql, sizeof(sql),
             "UPDATE orders SET updated_at = updated_at + %d * interval '1 hour' WHERE order_id = %" PRIu64, count,
             key);
    RIG_OK(rig, pg_exec(rig->db, sql, NULL, 0, &result, &rig->err));
    if (pg_affected(result) > 0)
        hours[key] += count;
    pg_result_free(result);
}

static bool has_conflict(const struct legacy_conflict *open, size_t count, int64_t key)
{
    for (size_t i = 0; i < count; i++)
        if (open[i].key == key)
            return true;
    return false;
}

/* A row that somebody wrote is in conflict once an event touches it; before, nobody can know, and it is put back. */
static void resolve_all(struct rig *rig)
{
    struct legacy_conflict *open = NULL;
    struct banyan_position resolved;
    size_t count = 0;
    RIG_OK(rig, legacy_mirror_conflicts(rig->store, "test", &rig->arena, &open, &count, &rig->err));
    printf("# %zu conflicts\n", count);
    for (uint64_t key = 1; key <= KEYS; key++)
        if (hours[key] > 0 && !has_conflict(open, count, (int64_t)key))
            move_hours(rig, key, -hours[key]);
    for (size_t i = 0; i < count; i++)
        RIG_OK(rig, legacy_mirror_resolve(rig->store, "test", open[i].category, open[i].key, &resolved, &rig->err));
}

static void test_kills(void **state)
{
    struct rig *rig = *state;
    struct os_random random;
    os_random_seed(&random, test_seed());
    rig_sql(rig->db, "%s", orders_schema_sql);
    for (int kill = 1; kill <= kills; kill++) {
        uint64_t seed = os_random_next(&random);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            child(rig, seed);
        usleep((useconds_t)(LIFE_US_MIN + os_random_below(&random, LIFE_US_MAX - LIFE_US_MIN)));
        if (kill % STOP_EVERY == 0)
            restart_server(rig);
        if (kill % CONFLICT_EVERY == 0)
            move_hours(rig, os_random_below(&random, WRITTEN_KEYS) + 1, 1);
        rig_kill(pid);
    }
    rig_open_store(rig);
    struct legacy_mirror *mirror = NULL;
    RIG_OK(rig, mirror_up(rig, 0, &mirror));
    struct banyan_position end = store_durable(rig->store);
    if (legacy_mirror_wait(mirror, end, WAIT_US, &rig->err) == BANYAN_TIMEOUT)
        fail_msg("%s", rig->err.message);
    banyan_error_clear(&rig->err);
    resolve_all(rig);
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), WAIT_US, &rig->err));
    orders_equal(rig, 100);
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    printf("# %" PRIu64 " positions\n", status.tail.value);
    legacy_mirror_stop(mirror);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        kills = atoi(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_kills, rig_up, rig_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
