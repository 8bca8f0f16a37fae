/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture of a backlog of single-row transactions, durable in the log, against pg_recvlogical of the same WAL to
 * /dev/null; then the same for transactions of 1,000 rows.
 *
 * BENCH_TRANSACTIONS (default 100,000) single-row transactions.  The time to start is included on both sides; ours
 * (open the store, prove server and slot) is told, so that short runs are not misread.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "support/legacy_rig.h"

enum {
    ROUNDS = 3, /* over all rows in order: more than the cache of states holds, so that each is read from the log */
};

static double seconds_since(int64_t start_us)
{
    return (double)(os_clock_monotonic_us(os_clock_real()) - start_us) / 1e6;
}

static int64_t processor_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Of the children that were waited for: the reference. */
static int64_t children_us(void)
{
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* Read everything up to *lsn* from *slot* and throw it away. */
static double reference(struct rig *rig, const char *slot, const char *lsn)
{
    char dsn[1024];
    pid_t pid;
    int code = -1;
    snprintf(dsn, sizeof(dsn), "%s", rig->conninfo);
    char slot_option[80], end_option[80];
    snprintf(slot_option, sizeof(slot_option), "--slot=%s", slot);
    snprintf(end_option, sizeof(end_option), "--endpos=%s", lsn);
    const char *const arguments[] = {"pg_recvlogical",
                                     "-d",
                                     dsn,
                                     slot_option,
                                     end_option,
                                     "--start",
                                     "-o",
                                     "proto_version=2",
                                     "-o",
                                     "publication_names=\"banyan pub\"",
                                     "-o",
                                     "messages=on",
                                     "-o",
                                     "binary=on",
                                     "-f",
                                     "/dev/null",
                                     NULL};
    int64_t start = os_clock_monotonic_us(os_clock_real());
    if (posix_spawnp(&pid, "pg_recvlogical", NULL, NULL, (char *const *)arguments, environ) != 0)
        fail_msg("pg_recvlogical is missing");
    waitpid(pid, &code, 0);
    assert_int_equal(code, 0);
    return seconds_since(start);
}

static void result(const char *name, double value, double base, double bar)
{
    printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"changes/s\",\"reference\":%.0f,\"ratio\":%.2f,\"bar\":%.2f,"
           "\"ok\":%s}\n",
           name, value, base, value / base, bar, value / base >= bar ? "true" : "false");
}

static void measure(struct rig *rig, const char *name, const char *sql, double changes, double bar)
{
    char slot[64];
    snprintf(slot, sizeof(slot), "%s_ref", rig->slot);
    rig_start(rig);
    rig_fence(rig);
    rig_stop(rig);
    rig_sql(rig->db, "SELECT pg_create_logical_replication_slot('%s', 'pgoutput')", slot);
    rig_sql(rig->db, "SET synchronous_commit = off");
    rig_sql(rig->db, "%s", sql);
    rig_sql(rig->db, "SET synchronous_commit = on; CHECKPOINT");
    const char *lsn = rig_value(rig, rig->db, "SELECT pg_logical_emit_message(true, 'x', 'end')");
    rig_sql(rig->db, "SELECT pg_logical_emit_message(true, 'x', 'end')");
    int64_t base_us = children_us();
    double base = changes / reference(rig, slot, lsn);
    base_us = children_us() - base_us;
    int64_t start = os_clock_monotonic_us(os_clock_real()), used_us = processor_us();
    rig_start(rig);
    double started = seconds_since(start);
    rig_fence(rig);
    double value = changes / seconds_since(start);
    fprintf(stderr, "# %s: %.1f us of processor a change, the reference %.1f; %.2f s to start\n", name,
            (double)(processor_us() - used_us) / changes, (double)base_us / changes, started);
    rig_stop(rig);
    rig_sql(rig->db, "SELECT pg_drop_replication_slot('%s')", slot);
    result(name, value, base, bar);
}

static void bench(void **state)
{
    struct rig *rig = *state;
    const char *wanted = getenv("BENCH_TRANSACTIONS");
    int count = wanted != NULL ? atoi(wanted) : 100000;
    char sql[512];
    rig->options.capture_only = true;
    snprintf(sql, sizeof(sql),
             "DO $$ BEGIN FOR i IN 1..%d LOOP INSERT INTO docs (id, title, amount) VALUES (i, 'a title', i); COMMIT;"
             " END LOOP; END $$",
             count);
    measure(rig, "capture of single-row transactions", sql, count, 0.9);
    snprintf(sql, sizeof(sql),
             "DO $$ BEGIN FOR round IN 1..%d LOOP FOR i IN 1..%d LOOP UPDATE docs SET amount = amount + 1 WHERE id "
             "BETWEEN i * 1000 AND i * 1000 + 999; COMMIT; END LOOP; END LOOP; END $$",
             ROUNDS, count / 1000 - 1);
    measure(rig, "capture of transactions of 1,000 rows", sql, ROUNDS * (count - 1000.0), 0.9);
    measure(rig, "capture of one transaction of a million rows",
            "INSERT INTO docs (id, title) SELECT i, 'a title' FROM generate_series(10000001, 11000000) i", 1e6, 0.5);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double megabytes = (double)usage.ru_maxrss / 1024;
    printf("{\"name\":\"memory for a transaction of a million rows\",\"value\":%.0f,\"unit\":\"MB\",\"bar\":200,"
           "\"ok\":%s}\n",
           megabytes, megabytes < 200 ? "true" : "false");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(bench, rig_up, rig_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
