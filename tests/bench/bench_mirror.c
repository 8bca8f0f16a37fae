/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: events of other writers into the legacy tables, against a plain client that sends the same changes as
 * prepared statements in pipelines of as many, one transaction each, without looking at what was there and without a
 * checkpoint.
 *
 * BENCH_EVENTS (default 50,000): an update of a document each, and every fifth a line of it.  The time to connect and
 * to prove is told apart.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "legacy/mirror.h"
#include "os/clock.h"
#include "os/random.h"
#include "support/doc_domain.h"
#include "support/legacy_rig.h"

enum {
    DOCS = 5000,
    APPEND_EVENTS = 100,
    PIPELINE = 500,
};

static double seconds_since(int64_t start_us)
{
    return (double)(os_clock_monotonic_us(os_clock_real()) - start_us) / 1e6;
}

static struct store_event event_of(struct banyan_arena *arena, int64_t key, unsigned type, const void *payload)
{
    struct banyan_buf bytes = BANYAN_BUF_INIT(1 << 16);
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(banyan_record_encode(doc_domain.events[type].record, payload, &bytes, &err), BANYAN_OK);
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = banyan_arena_printf(arena, "doc-%" PRId64, key),
        .type = banyan_str_of(doc_domain.events[type].name),
        .schema = 1,
        .provenance = BANYAN_EXACT,
        .at = {1700000000000000},
        .payload = banyan_arena_str(arena, banyan_buf_str(&bytes)),
    };
    banyan_buf_release(&bytes);
    return event;
}

static int64_t key_of(int64_t i)
{
    return i * 7919 % DOCS + 1;
}

static void append_events(struct rig *rig, int64_t from, int64_t to)
{
    struct store_event events[2 * APPEND_EVENTS];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_appended appended;
    for (int64_t i = from; i < to;) {
        struct store_append append = {.events = events};
        banyan_arena_reset(&arena);
        for (int n = 0; n < APPEND_EVENTS && i < to; n++, i++) {
            int64_t key = key_of(i);
            struct doc_row row = {.id = key,
                                  .title = banyan_arena_printf(&arena, "title %" PRId64, i),
                                  .amount = banyan_decimal_of(i, 4),
                                  .changed_at = {1700000000000000 + i}};
            struct doc_line line = {.doc_id = key, .id = i, .text = row.title};
            events[append.event_count++] = event_of(&arena, key, DOC_PUT, &row);
            if (i % 5 == 0)
                events[append.event_count++] = event_of(&arena, key, DOC_LINE_PUT, &line);
        }
        RIG_OK(rig, store_append(rig->store, &append, &appended, &rig->err));
    }
    banyan_arena_release(&arena);
}

static void add(struct rig *rig, struct pg_conn *conn, const char *sql, const struct pg_param *params, size_t count)
{
    RIG_OK(rig, pg_pipeline_add_prepared(conn, sql, params, count, &rig->err));
}

static double reference(struct rig *rig, int64_t from, int64_t to)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    int64_t start = os_clock_monotonic_us(os_clock_real());
    for (int64_t i = from; i < to;) {
        banyan_arena_reset(&arena);
        RIG_OK(rig, pg_pipeline_begin(rig->db, &rig->err));
        add(rig, rig->db, "BEGIN", NULL, 0);
        for (int n = 0; n < PIPELINE && i < to; n++, i++) {
            struct pg_param key = {banyan_arena_printf(&arena, "%" PRId64, key_of(i))};
            struct pg_param title = {banyan_arena_printf(&arena, "title %" PRId64, i)};
            struct pg_param amount = {banyan_arena_printf(&arena, "%" PRId64, i)};
            struct pg_param number = amount;
            add(rig, rig->db, "UPDATE docs SET title = $2, amount = $3, changed_at = now() WHERE id = $1",
                (struct pg_param[]){key, title, amount}, 3);
            if (i % 5 == 0)
                add(rig, rig->db, "INSERT INTO lines VALUES ($1, $2, $3)", (struct pg_param[]){key, number, title}, 3);
        }
        add(rig, rig->db, "COMMIT", NULL, 0);
        RIG_OK(rig, pg_pipeline_end(rig->db, &rig->err));
    }
    banyan_arena_release(&arena);
    return seconds_since(start);
}

static void bench(void **state)
{
    struct rig *rig = *state;
    const char *wanted = getenv("BENCH_EVENTS");
    int64_t count = wanted != NULL ? atoll(wanted) : 50000;
    struct legacy_mirror *mirror = NULL;
    struct legacy_mirror_status status;
    rig_open_store(rig);
    append_events(rig, 0, DOCS);
    struct legacy_mirror_options options = {
        .domain = &doc_domain, .source = "test", .conninfo = rig->conninfo, .store = rig->store, .stop = &rig->stop};
    int64_t start = os_clock_monotonic_us(os_clock_real());
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), 600000000, &rig->err));
    fprintf(stderr, "# connecting, proving and the first %d rows: %.2f s\n", DOCS, seconds_since(start));
    rig_sql(rig->db, "VACUUM ANALYZE");
    double base = (double)count / reference(rig, DOCS, DOCS + count);
    /* What the reference wrote is undone by nobody: the mirror is told the same documents anew. */
    rig_sql(rig->db, "DELETE FROM lines WHERE id >= %d", DOCS);
    rig_sql(rig->db,
            "UPDATE docs SET title = 'title ' || i, amount = i / 10000.0,"
            " changed_at = timestamptz '2023-11-14 22:13:20+00' + i * interval '1 microsecond'"
            " FROM generate_series(0, %d) i WHERE id = i::bigint * 7919 %% %d + 1",
            DOCS - 1, DOCS);
    rig_sql(rig->db, "VACUUM ANALYZE");
    start = os_clock_monotonic_us(os_clock_real());
    append_events(rig, DOCS, DOCS + count);
    double appended = seconds_since(start);
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), 600000000, &rig->err));
    double value = (double)count / seconds_since(start);
    legacy_mirror_status(mirror, &status);
    assert_int_equal(status.conflicts, 0);
    fprintf(stderr, "# appending took %.2f s of it; %" PRIu64 " transactions\n", appended, status.transactions);
    printf("{\"name\":\"mirror into PostgreSQL\",\"value\":%.0f,\"unit\":\"events/s\",\"reference\":%.0f,"
           "\"ratio\":%.2f,\"bar\":0.50,\"ok\":%s}\n",
           value, base, value / base, value / base >= 0.5 ? "true" : "false");
    legacy_mirror_stop(mirror);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(bench, rig_up, rig_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
