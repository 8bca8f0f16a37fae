/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody who keeps the tables in order by hand: they get other files, rows other pages, and locks are in the way. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "migrate_random.h"
#include "os/clock.h"

enum {
    PAUSE_US_MAX = 60 * 1000,
};

struct keeper {
    struct os_thread thread;
    struct os_random random;
    struct pg_conn *conn;
    uint64_t done;
    bool stop; /* atomic */
};

static const char *const deeds[] = {
    "VACUUM FULL", "VACUUM (FREEZE, INDEX_CLEANUP on)", "REINDEX TABLE", "CLUSTER", "ANALYZE",
};
/* One that is there now. */
static const char table_sql[] =
    "SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
    "ORDER BY random() LIMIT 1";
/* Or CLUSTER would follow no index. */
static const char index_sql[] =
    "DO $$ DECLARE i record; BEGIN FOR i IN SELECT indrelid::regclass AS t, c.relname FROM pg_index JOIN pg_class c "
    "ON c.oid = indexrelid WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'i' AND indisvalid "
    "LOOP EXECUTE format('ALTER TABLE %s CLUSTER ON %I', i.t, i.relname); END LOOP; END $$";

/* A lock that was not had, a table that was renamed meanwhile, a deadlock with others: the next time. */
static void keep_one(struct keeper *keeper)
{
    const char *deed = deeds[os_random_below(&keeper->random, sizeof(deeds) / sizeof(deeds[0]))];
    struct pg_result *result = NULL;
    char sql[256];

    if (deed[0] == 'C')
        (void)!pg_run(keeper->conn, index_sql, NULL);
    if (pg_exec(keeper->conn, table_sql, NULL, 0, &result, NULL) == BANYAN_OK && pg_rows(result) > 0) {
        (void)snprintf(sql, sizeof(sql), "%s %.*s", deed, (int)pg_text(result, 0, 0).size,
                       pg_text(result, 0, 0).data); /* fits */
        if (pg_run(keeper->conn, sql, NULL) == BANYAN_OK)
            keeper->done++;
    }
    pg_result_free(result);
}

static void keep(void *argument)
{
    struct keeper *keeper = argument;

    random_run(keeper->conn, "SET lock_timeout = '100ms'; SET client_min_messages = error");
    while (!__atomic_load_n(&keeper->stop, __ATOMIC_RELAXED)) {
        keep_one(keeper);
        os_clock_real()->sleep_us(os_clock_real(), (int64_t)os_random_below(&keeper->random, PAUSE_US_MAX));
    }
}

struct keeper *keeper_start(const char *conninfo, uint64_t seed)
{
    struct keeper *keeper = alloc_zeroed(1, sizeof(*keeper));

    os_random_seed(&keeper->random, seed);
    keeper->conn = random_connect(conninfo, "real");
    os_thread_start(&keeper->thread, "keeper", keep, keeper);
    return keeper;
}

uint64_t keeper_end(struct keeper *keeper)
{
    uint64_t ret;

    if (keeper == NULL)
        return 0;
    __atomic_store_n(&keeper->stop, true, __ATOMIC_RELAXED);
    os_thread_join(&keeper->thread);
    ret = keeper->done;
    pg_close(keeper->conn);
    free(keeper);
    return ret;
}
