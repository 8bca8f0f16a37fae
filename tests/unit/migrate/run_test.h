/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of runs share: the migration made by hand, over an empty database with its schema. */
#ifndef TESTS_UNIT_MIGRATE_RUN_TEST_H
#define TESTS_UNIT_MIGRATE_RUN_TEST_H

#include "books_test.h"
#include "migrate/run.h"
#include "support/every_step.h"

static struct every_step every;

static inline int fresh(void **state)
{
    (void)state;
    conn = connect_as("run test");
    OK(pg_run(conn,
              "DROP SCHEMA IF EXISTS banyan CASCADE; DROP TABLE IF EXISTS t, c, p, p1, u CASCADE; "
              "DROP TYPE IF EXISTS mood",
              &err));
    OK(pg_run(conn, every_step_schema, &err));
    every_step_init(&every, "v1");
    return 0;
}

static inline int done(void **state)
{
    (void)state;
    every_step_release(&every);
    pg_close(conn);
    banyan_arena_release(&arena);
    return 0;
}

static inline struct run_options plain(void)
{
    return (struct run_options){.conninfo = getenv("BANYAN_TEST_CONNINFO"), .throttle = {.replica_lag_us_max = -1}};
}

#endif
