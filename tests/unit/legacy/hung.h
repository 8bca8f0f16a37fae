/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits that are in the WAL, and so captured, before any snapshot sees them: they wait for a standby that does not
 * exist.
 */
#ifndef TESTS_UNIT_LEGACY_HUNG_H
#define TESTS_UNIT_LEGACY_HUNG_H

#include <stdio.h>

#include "os/retry.h"
#include "os/thread.h"
#include "support/legacy_rig.h"

struct hung {
    struct pg_conn *conn;
    const char *sql;
    struct os_thread thread;
    char pid[16];
};

static inline void hung_main(void *argument)
{
    struct hung *hung = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_run(hung->conn, hung->sql, &err);
    (void)status; /* a cancelled wait is a warning; what became of the commit is looked at in the tables */
}

static inline void hung_start(struct rig *rig, struct hung *hung, const char *sql)
{
    hung->conn = rig_connect(rig);
    hung->sql = sql;
    rig_sql(hung->conn, "SET synchronous_commit = on");
    snprintf(hung->pid, sizeof(hung->pid), "%d", pg_backend_pid(hung->conn));
    os_thread_start(&hung->thread, "hung", hung_main, hung);
    rig_wait_value(rig, "SyncRep", "SELECT wait_event FROM pg_stat_activity WHERE pid = %s", hung->pid);
}

static inline void hung_end(struct rig *rig, struct hung *hung)
{
    rig_sql(rig->server, "SELECT pg_cancel_backend(%s)", hung->pid);
    os_thread_join(&hung->thread);
    pg_close(hung->conn);
}

static inline int ghost_up(void **state)
{
    if (rig_up(state) != 0)
        return -1;
    struct rig *rig = *state;
    rig_sql(rig->server, "SET synchronous_commit = local");
    rig_sql(rig->server, "ALTER DATABASE %s SET synchronous_commit = local", rig->database);
    rig_sql(rig->db, "SET synchronous_commit = local");
    rig_sql(rig->server, "ALTER SYSTEM SET synchronous_standby_names = 'ghost'");
    rig_sql(rig->server, "SELECT pg_reload_conf()");
    return 0;
}

static inline int ghost_down(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->server, "ALTER SYSTEM RESET synchronous_standby_names");
    rig_sql(rig->server, "SELECT pg_reload_conf()");
    return rig_down(state);
}

/* Until so many changes are held. */
static inline void wait_held(struct rig *rig, uint64_t count)
{
    struct os_retry retry = {.first_us = 5000, .pause_us_max = 50000, .total_us_max = 30 * 1000 * 1000};
    struct legacy_status status;
    do {
        legacy_status(rig->legacy, &status);
        if (status.changes_held >= count)
            return;
    } while (os_retry_pause(&retry, NULL));
    fail_msg("%llu changes are held, waited for %llu", (unsigned long long)status.changes_held,
             (unsigned long long)count);
}

#endif
