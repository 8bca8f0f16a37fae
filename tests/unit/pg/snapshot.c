/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots against a slow model, and transaction ids around 2^32. */
#include "pg/snapshot.h"
#include "os/random.h"
#include "pg_test.h"

static void parses_and_formats(void **state)
{
    static const char *const good[] = {
        "10:20:10,14,15", "10:10:", "1:2:", "4294967290:4294967310:4294967290,4294967296", "3:18446744073709551615:3"};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf text = BANYAN_BUF_INIT(1000);
    struct pg_snapshot snapshot;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(pg_snapshot_parse(banyan_str_of(good[i]), &arena, &snapshot));
        banyan_buf_reset(&text);
        pg_snapshot_format(&snapshot, &text);
        assert_string_equal(text.data, good[i]);
    }
    banyan_buf_release(&text);
    banyan_arena_release(&arena);
}

static void refuses_what_is_none(void **state)
{
    static const char *const bad[] = {"",
                                      ":",
                                      "1:2",
                                      "10:9:",
                                      "10:20:9",
                                      "10:20:20",
                                      "10:20:14,14",
                                      "10:20:15,14",
                                      "10:20:,",
                                      "10:20:11,",
                                      "a:b:c",
                                      "10:20:11 ",
                                      "0:5:",
                                      "10:18446744073709551616:",
                                      "10:20:11,x",
                                      "-1:2:"};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_snapshot snapshot;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (pg_snapshot_parse(banyan_str_of(bad[i]), &arena, &snapshot))
            fail_msg("\"%s\" was taken for a snapshot", bad[i]);
    }
    banyan_arena_release(&arena);
}

static bool model_sees(const struct pg_snapshot *snapshot, uint64_t xid)
{
    if (xid >= snapshot->xmax)
        return false;
    for (size_t i = 0; i < snapshot->xip_count; i++) {
        if (snapshot->xip[i] == xid)
            return false;
    }
    return true;
}

static void sees_as_the_model_does(void **state)
{
    uint64_t xip[40], seed = 20240607;
    struct os_random random;

    (void)state;
    print_message("# seed %llu\n", (unsigned long long)seed);
    os_random_seed(&random, seed);
    for (int turn = 0; turn < 2000; turn++) {
        struct pg_snapshot snapshot = {.xmin = UINT64_C(4294967280) + os_random_below(&random, 30), .xip = xip};
        uint64_t next = snapshot.xmin;

        while (snapshot.xip_count < 40 && os_random_below(&random, 8) != 0) {
            xip[snapshot.xip_count++] = next;
            next += 1 + os_random_below(&random, 4);
        }
        snapshot.xmax = next + os_random_below(&random, 3);
        for (uint64_t xid = snapshot.xmin - 3; xid < snapshot.xmax + 3; xid++) {
            if (pg_snapshot_sees(&snapshot, xid) != model_sees(&snapshot, xid))
                fail_msg("seed %llu turn %d xid %llu", (unsigned long long)seed, turn, (unsigned long long)xid);
        }
    }
}

static void widens_around_the_wrap(void **state)
{
    const uint64_t wrap = UINT64_C(1) << 32;

    (void)state;
    assert_int_equal(pg_xid_widen(1000, 1000), 1000);
    assert_int_equal(pg_xid_widen(4294967290u, wrap + 10), wrap - 6);
    assert_int_equal(pg_xid_widen(5, wrap - 10), wrap + 5);
    assert_int_equal(pg_xid_widen(5, 7 * wrap - 10), 7 * wrap + 5);
    assert_int_equal(pg_xid_widen(0, wrap), wrap);
    for (int64_t distance = -(INT64_C(1) << 31); distance < (INT64_C(1) << 31); distance += 104729) {
        uint64_t reference = 3 * wrap + 12345, xid = reference + (uint64_t)distance;

        assert_int_equal(pg_xid_widen((uint32_t)xid, reference), xid);
    }
}

/* The server's own view: a running transaction is not seen, a finished one is. */
static void agrees_with_the_server(void **state)
{
    struct pg_conn *writer = test_connect(false), *reader = test_connect(false);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    char *xid, *before, *after;
    struct pg_snapshot snapshot;

    (void)state;
    test_run(writer, "BEGIN");
    xid = test_value(writer, "SELECT pg_current_xact_id()");
    before = test_value(reader, "SELECT pg_current_snapshot()");
    test_run(writer, "COMMIT");
    after = test_value(reader, "SELECT pg_current_snapshot()");
    assert_true(pg_snapshot_parse(banyan_str_of(before), &arena, &snapshot));
    assert_false(pg_snapshot_sees(&snapshot, strtoull(xid, NULL, 10)));
    assert_true(pg_snapshot_parse(banyan_str_of(after), &arena, &snapshot));
    assert_true(pg_snapshot_sees(&snapshot, strtoull(xid, NULL, 10)));
    free(xid);
    free(before);
    free(after);
    banyan_arena_release(&arena);
    pg_close(writer);
    pg_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_and_formats),     cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(sees_as_the_model_does), cmocka_unit_test(widens_around_the_wrap),
        cmocka_unit_test(agrees_with_the_server),
    };

    return cmocka_run_group_tests_name("pg/snapshot", tests, NULL, NULL);
}
