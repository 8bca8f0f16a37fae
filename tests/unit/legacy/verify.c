/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify against a real server and a real SQLite read model.  What capture and projection do is done here in the wait
 * for the fence: the read model is brought to what legacy is then, and the test may change either side before.
 */
#include <fcntl.h>
#include <unistd.h>

#include "legacy/verify.h"
#include "legacy_tables.h"
#include "pg/copy.h"
#include "sink/sinks.h"
#include "support/seed.h"
#include "support/test_domain.h"
#include "trading/rows.h"

enum {
    DIFFERENCES_MAX = 64,
};

static struct world {
    struct sink_home *home;
    struct sink *sink;
    struct sink_view *reader;
    char *folder;
    struct banyan_arena arena;
    void (*before_refresh)(void); /* legacy changes that the snapshot does not see, the view does */
    void (*after_refresh)(void);  /* what the view gets wrong */
    unsigned waits;
    uint64_t lsn;
    struct verify_difference differences[DIFFERENCES_MAX];
    size_t count;
    struct os_stop stop;
    struct os_random random;
} world;

/* A view with other columns first and one of its own: fields are found by name. */
struct view_row {
    bool flag;
    struct order_row order;
};

#define VIEW_FIELD(kind, name, flags, scale)                                                                           \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct view_row, order.name), scale, NULL},
static const struct banyan_field view_fields[] = {BANYAN_FIELD_BOOL(struct view_row, flag, 0),
                                                  ORDER_COLUMNS(VIEW_FIELD)};
static const struct banyan_record view_record = {"ViewRow", sizeof(struct view_row), view_fields, 12};
static const struct banyan_projection other_view = {
    .name = "other",
    .version = 1,
    .tables = &(const struct banyan_table){.name = "other", .row = &view_record, .key_column = "order_id"},
    .table_count = 1,
    .categories = (const char *const[]){"order", NULL},
    .mirrors = &trading_tables[TABLE_ORDERS]};

/* A view of trades, which are children in the mapping of orders and have a key of their own. */
struct trade_view_row {
    int64_t id, order_id;
};
static const struct banyan_field trade_fields[] = {BANYAN_FIELD_INT(struct trade_view_row, id, 0),
                                                   BANYAN_FIELD_INT(struct trade_view_row, order_id, 0)};
static const struct banyan_record trade_view_record = {"Trade", sizeof(struct trade_view_row), trade_fields, 2};
static const struct banyan_projection trades_view = {
    .name = "trades",
    .version = 1,
    .tables = &(const struct banyan_table){.name = "trades", .row = &trade_view_record, .key_column = "id"},
    .table_count = 1,
    .categories = (const char *const[]){"order", NULL},
    .mirrors = &(const struct banyan_legacy_table){"trades", &trade_view_record, "id", NULL}};

/* ---- the read model ---- */

static void view_write(const struct sink_row *rows, size_t count)
{
    struct sink_flush flush = {.rows = rows,
                               .row_count = count,
                               .checkpoint = {.position = {++world.lsn}, .at = {1}, .source_lsn = world.lsn}};
    struct banyan_error err = BANYAN_ERROR_INIT;

    OK(world.sink->ops->flush(world.sink, &flush, &err));
}

static void view_delete(int64_t key)
{
    view_write(&(struct sink_row){0, key, NULL, UINT64_MAX}, 1);
}

static void view_put(int64_t key, const char *price)
{
    struct view_row row = {.order = {.order_id = key,
                                     .trader_id = 1,
                                     .symbol = BANYAN_STR("S"),
                                     .side = BANYAN_STR("BUY"),
                                     .status = BANYAN_STR("NEW"),
                                     .avg_fill_price = banyan_decimal_null(),
                                     .quantity = banyan_decimal_of(100000000, 8),
                                     .filled_quantity = banyan_decimal_of(0, 8)}};
    struct banyan_decimal parsed;

    assert_true(banyan_decimal_parse(banyan_str_of(price), &parsed));
    assert_true(banyan_decimal_rescale(parsed, 8, &row.order.price));
    view_write(&(struct sink_row){0, key, world.sink->projection == &other_view ? (void *)&row : (void *)&row.order,
                                  UINT64_MAX},
               1);
}

static enum banyan_status collect_key(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    int64_t **next = context;

    (void)row;
    (void)err;
    *(*next)++ = key;
    return BANYAN_OK;
}

/* Make the view what legacy is now. */
static void view_refresh(void)
{
    static const uint32_t oids[] = {20, 20, 25, 25, 1700, 1700, 25, 1700, 1700, 1184, 1184};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_row *rows = banyan_arena_alloc(&world.arena, 20000 * sizeof(*rows));
    int64_t *keys = banyan_arena_alloc(&world.arena, 20000 * sizeof(*keys)), *end = keys;
    struct sink_checkpoint checkpoint;
    struct pg_copy_out copy;
    size_t count = 0;

    OK(world.reader->ops->range(world.reader, 0, INT64_MIN, INT64_MAX, &checkpoint, collect_key, &end, &err));
    for (; keys < end; keys++)
        rows[count++] = (struct sink_row){0, *keys, NULL, UINT64_MAX};
    view_write(rows, count);
    count = 0;
    OK(pg_copy_out_begin(&copy, conn, "SELECT * FROM orders ORDER BY order_id", &order_row_record, oids, &err));
    for (;;) {
        struct view_row *row = banyan_arena_zalloc(&world.arena, sizeof(*row));

        if (pg_copy_out_row(&copy, &world.arena, &row->order, &err) != BANYAN_OK)
            break;
        rows[count++] =
            (struct sink_row){0, row->order.order_id,
                              world.sink->projection == &other_view ? (void *)row : (void *)&row->order, UINT64_MAX};
    }
    pg_copy_out_end(&copy);
    view_write(rows, count);
    banyan_arena_reset(&world.arena);
}

static enum banyan_status wait_for(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    (void)context;
    (void)err;
    assert_true(lsn > 0 && timeout_us > 0);
    world.waits++;
    if (world.before_refresh != NULL)
        world.before_refresh();
    view_refresh();
    if (world.after_refresh != NULL)
        world.after_refresh();
    return BANYAN_OK;
}

/* ---- verifying ---- */

static void on_difference(void *context, const struct verify_difference *difference)
{
    (void)context;
    assert_in_range(world.count, 0, DIFFERENCES_MAX - 1);
    world.differences[world.count] = *difference;
    world.differences[world.count].legacy_row = difference->legacy_row == NULL ? NULL : &world;
    world.differences[world.count].view_row = difference->view_row == NULL ? NULL : &world;
    world.count++;
}

static struct verify_report run(uint64_t range_rows, unsigned rounds)
{
    static struct legacy_options legacy;
    struct verify_options options = {.legacy = &legacy,
                                     .projection = world.sink->projection,
                                     .view = world.reader,
                                     .wait = wait_for,
                                     .range_rows = range_rows,
                                     .rounds_max = rounds,
                                     .stop = &world.stop,
                                     .difference = on_difference};
    struct verify_report report = {.rows = 0};
    struct banyan_error err = BANYAN_ERROR_INIT;

    legacy = (struct legacy_options){.domain = &banyan_domain_trading, .name = "test", .conninfo = test_conninfo()};
    world.count = 0;
    OK(legacy_verify(&options, &report, &err));
    assert_int_equal(report.differences, world.count);
    assert_int_equal(report.differences, report.missing_in_view + report.missing_in_legacy + report.unequal);
    return report;
}

static const struct verify_difference *difference_of(int64_t key)
{
    for (size_t i = 0; i < world.count; i++)
        if (world.differences[i].key == key)
            return &world.differences[i];
    fail_msg("key %lld is not reported", (long long)key);
    return NULL;
}

static void open_world(const struct banyan_projection *projection)
{
    struct sink_checkpoint checkpoint;
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint32_t number;

    legacy_setup(NULL);
    memset(&world, 0, sizeof(world));
    world.folder = test_folder_new();
    OK(sink_sqlite_home(projection, world.folder, "view", &world.home, &err));
    OK(world.home->ops->make(world.home, (struct sink_mark){.partial = false}, &number, &err));
    OK(world.home->ops->open(world.home, number, &world.sink, &err));
    OK(world.sink->ops->claim(world.sink, &checkpoint, &err));
    OK(world.sink->ops->seal(world.sink, &(struct sink_flush){.row_count = 0}, &err));
    OK(world.home->ops->serve(world.home, 0, number, &err));
    OK(world.home->ops->view(world.home, &world.reader, &err));
    OK(os_stop_open(&world.stop, &err));
    seed_start(&world.random, "verify");
    test_run(conn, "INSERT INTO orders SELECT k * 3 - 150, k % 7, 'S' || k, 'BUY', k, k + 0.5, 'NEW', 0, NULL, now(),"
                   " now() FROM generate_series(1, 500) AS k");
}

static int setup(void **unused)
{
    (void)unused;
    open_world(&banyan_domain_trading.projections[0]);
    return 0;
}

static int setup_other(void **unused)
{
    (void)unused;
    open_world(&other_view);
    return 0;
}

static int setup_trades(void **unused)
{
    (void)unused;
    open_world(&trades_view);
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    sink_view_close(world.reader);
    sink_close(world.sink);
    sink_home_close(world.home);
    os_stop_close(&world.stop);
    banyan_arena_release(&world.arena);
    test_folder_remove(world.folder);
    return 0;
}

/* ---- tests ---- */

static void equal_in_every_range(void **unused)
{
    static const uint64_t range_rows[] = {1000, 500, 499, 7, 0};

    (void)unused;
    for (size_t i = 0; i < sizeof(range_rows) / sizeof(range_rows[0]); i++) {
        struct verify_report report = run(range_rows[i], 0);

        assert_int_equal(report.rows, 500);
        assert_int_equal(report.cells, 5500);
        assert_int_equal(report.differences, 0);
        assert_int_equal(report.looked_again, 0);
        assert_int_equal(report.unsettled, 0);
        assert_true(report.fence_lsn > 0);
    }
}

static void ends_of_the_key_space(void **unused)
{
    struct verify_report report;

    (void)unused;
    test_run(conn, "INSERT INTO orders SELECT k, 1, 's', 'BUY', 1, 1, 'NEW', 0, NULL, now(), now() FROM"
                   " unnest('{-9223372036854775808, 9223372036854775807}'::bigint[]) AS k");
    report = run(100, 0);
    assert_int_equal(report.rows, 502);
    assert_int_equal(report.differences, 0);
    test_run(conn, "DELETE FROM orders");
    report = run(100, 0);
    assert_int_equal(report.rows, 0);
}

static void plant(void)
{
    view_delete(-147);     /* the first */
    view_delete(300);      /* one between */
    view_put(303, "1.25"); /* many columns */
    view_put(-1000, "1");  /* below all */
    view_put(301, "1");    /* between */
    view_put(100000, "1"); /* above all */
    view_put(INT64_MAX, "1");
    view_put(INT64_MIN, "1");
}

static void planted_differences(void **unused)
{
    (void)unused;
    world.after_refresh = plant;
    for (uint64_t rows = 50; rows <= 5000; rows *= 10) {
        struct verify_report report = run(rows, 0);

        assert_int_equal(report.differences, 8);
        assert_int_equal(report.missing_in_view, 2);
        assert_int_equal(report.missing_in_legacy, 5);
        assert_int_equal(report.unequal, 1);
        assert_int_equal(report.unsettled, 0);
        assert_null(difference_of(-147)->view_row);
        assert_null(difference_of(300)->view_row);
        assert_null(difference_of(301)->legacy_row);
        assert_null(difference_of(INT64_MIN)->legacy_row);
        assert_null(difference_of(INT64_MAX)->legacy_row);
        /* trader, symbol, quantity, price, created_at, updated_at */
        assert_int_equal(difference_of(303)->fields, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 10);
    }
}

/* A write that the snapshot does not see, each time before the view is read. */
static void move_rows(void)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
             "UPDATE orders SET price = price + 1, updated_at = clock_timestamp() WHERE order_id %% 7 = %d;"
             "DELETE FROM orders WHERE order_id = %d; INSERT INTO orders SELECT max(order_id) + 1, 1, 'n', 'BUY', 1, 1,"
             " 'NEW', 0, NULL, now(), now() FROM orders",
             (int)os_random_below(&world.random, 7), (int)os_random_below(&world.random, 450) * 3 - 147);
    test_run(conn, sql);
}

static void moving_rows_are_no_differences(void **unused)
{
    struct verify_report report;

    (void)unused;
    world.before_refresh = move_rows;
    report = run(40, 100);
    assert_int_equal(report.differences, 0);
    assert_int_equal(report.unsettled, 0);
    assert_true(report.looked_again > 50);
}

static void plant_one(void)
{
    view_delete(-148);
}

static void a_difference_among_moving_rows(void **unused)
{
    struct verify_report report;

    (void)unused;
    world.before_refresh = move_rows;
    test_run(conn, "INSERT INTO orders VALUES (-148, 1, 's', 'BUY', 1, 1, 'NEW', 0, NULL, 'epoch', 'epoch')");
    world.after_refresh = plant_one;
    report = run(40, 100);
    assert_int_equal(report.differences, 1);
    assert_null(difference_of(-148)->view_row);
}

/* One row changes at each look: it is not judged. */
static void move_one(void)
{
    test_run(conn, "UPDATE orders SET price = price + 1 WHERE order_id = 0");
}

static void a_row_that_never_stands_still(void **unused)
{
    struct verify_report report;

    (void)unused;
    world.before_refresh = move_one;
    report = run(100, 4);
    assert_int_equal(report.differences, 0);
    assert_int_equal(report.unsettled, 1);
    assert_int_equal(report.looked_again, 1);
}

/* A commit is in the WAL and in the view, but legacy does not show it yet: no difference, whatever the rounds. */
static struct pg_conn *hung;
static unsigned hung_for;

static void commit_late(void)
{
    if (world.waits == 1)
        test_run(hung, "BEGIN; UPDATE orders SET status = 'FILLED' WHERE order_id = 0");
    if (world.waits == hung_for)
        test_run(hung, "COMMIT");
}

static void show_early(void)
{
    struct order_row row;
    struct banyan_error err = BANYAN_ERROR_INIT;

    int64_t key = 0;
    void *rows[] = {&row};
    bool found = false;

    OK(world.sink->ops->get_many(world.sink, 0, &key, 1, &world.arena, rows, &found, &err));
    assert_true(found);
    row.status = BANYAN_STR("FILLED");
    view_write(&(struct sink_row){0, 0, &row, UINT64_MAX}, 1);
}

static void captured_before_it_is_visible(void **unused)
{
    struct verify_report report;

    (void)unused;
    hung = test_connect(false);
    hung_for = 6;
    world.before_refresh = commit_late;
    world.after_refresh = show_early;
    report = run(1000, 10);
    pg_close(hung);
    assert_true(world.waits >= hung_for);
    assert_int_equal(report.differences, 0);
    assert_int_equal(report.unsettled, 0);
}

/* An old writer stays open all the time: the difference is reported at the last look. */
static void old_writer_does_not_hide_a_difference(void **unused)
{
    struct verify_report report;

    (void)unused;
    hung = test_connect(false);
    test_run(hung, "BEGIN; SELECT pg_current_xact_id()");
    world.after_refresh = plant_one;
    test_run(conn, "INSERT INTO orders VALUES (-148, 1, 's', 'BUY', 1, 1, 'NEW', 0, NULL, 'epoch', 'epoch')");
    report = run(1000, 3);
    pg_close(hung);
    assert_int_equal(report.differences, 1);
}

static enum banyan_status no_wait(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    (void)context, (void)lsn, (void)timeout_us, (void)err;
    return BANYAN_OK;
}

/* The mirrored table need not be a root: it is found by its own name and key. */
static void a_child_table_by_its_own_key(void **unused)
{
    struct legacy_options legacy = {.domain = &banyan_domain_trading, .name = "test", .conninfo = test_conninfo()};
    struct verify_options options = {.legacy = &legacy,
                                     .projection = &trades_view,
                                     .view = world.reader,
                                     .wait = no_wait,
                                     .range_rows = 6,
                                     .stop = &world.stop,
                                     .difference = on_difference};
    struct verify_report report;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    test_run(conn, "INSERT INTO trades SELECT k, 150, 1, 1, now() FROM generate_series(1, 20) AS k");
    for (int64_t id = 1; id <= 20; id++) {
        struct trade_view_row row = {.id = id, .order_id = id == 7 ? 151 : 150};

        if (id != 5)
            view_write(&(struct sink_row){0, id, &row, UINT64_MAX}, 1);
    }
    view_write(&(struct sink_row){0, 99, &(struct trade_view_row){99, 150}, UINT64_MAX}, 1);
    OK(legacy_verify(&options, &report, &err));
    assert_int_equal(report.rows, 21);
    assert_int_equal(report.differences, 3);
    assert_null(difference_of(5)->view_row);
    assert_int_equal(difference_of(7)->fields, 2);
    assert_null(difference_of(99)->legacy_row);

    struct banyan_projection plain = trades_view;
    plain.mirrors = NULL;
    options.projection = &plain;
    FAILS(INVALID, legacy_verify(&options, &report, &err));
}

static void stop_now(void)
{
    os_stop_request(&world.stop);
}

static void stops_and_failures(void **unused)
{
    struct legacy_options legacy = {.domain = &banyan_domain_trading, .name = "test", .conninfo = test_conninfo()};
    struct verify_options options = {.legacy = &legacy,
                                     .projection = world.sink->projection,
                                     .view = world.reader,
                                     .wait = wait_for,
                                     .range_rows = 10,
                                     .stop = &world.stop};
    struct verify_report report;
    struct banyan_error err = BANYAN_ERROR_INIT;

    (void)unused;
    world.before_refresh = stop_now;
    test_run(conn, "CREATE TABLE keep AS SELECT * FROM orders");
    assert_int_equal(legacy_verify(&options, &report, &err), BANYAN_STOPPED);
    os_stop_close(&world.stop);
    OK(os_stop_open(&world.stop, &err));
    world.before_refresh = NULL;
    test_run(conn, "ALTER TABLE orders DROP COLUMN status");
    FAILS(TABLE, legacy_verify(&options, &report, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_in_every_range, setup, teardown),
        cmocka_unit_test_setup_teardown(ends_of_the_key_space, setup, teardown),
        cmocka_unit_test_setup_teardown(planted_differences, setup, teardown),
        {"planted_differences_with_columns_by_name", planted_differences, setup_other, teardown, NULL},
        cmocka_unit_test_setup_teardown(moving_rows_are_no_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(a_difference_among_moving_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_row_that_never_stands_still, setup, teardown),
        cmocka_unit_test_setup_teardown(captured_before_it_is_visible, setup, teardown),
        cmocka_unit_test_setup_teardown(old_writer_does_not_hide_a_difference, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_table_by_its_own_key, setup_trades, teardown),
        cmocka_unit_test_setup_teardown(stops_and_failures, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, legacy_finish);
}
