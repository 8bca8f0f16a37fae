/* SPDX-License-Identifier: Apache-2.0 */
/* See cutover_rig.h. */
#include "support/cutover_rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "legacy/fence.h"
#include "legacy/verify.h"
#include "os/clock.h"
#include "os/retry.h"
#include "os/thread.h"
#include "pg/conn.h"
#include "rollout/cutover_verify.h"
#include "sink/sinks.h"
#include "trading/commands.h"
#include "trading/trading.h"

enum {
    SCALE = 8, /* of quantities and prices */
    WAIT_US = 30 * 1000 * 1000,
};

static const char source[] = "oms";
static const int64_t units = 100000000; /* of one, at that scale */
static const int64_t held_us_max = 5000000;

static const char schema[] =
    "CREATE TABLE orders (order_id bigserial PRIMARY KEY, trader_id bigint NOT NULL, symbol text NOT NULL,"
    " side text NOT NULL, quantity numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, status text NOT NULL,"
    " filled_quantity numeric(18, 8) NOT NULL DEFAULT 0, avg_fill_price numeric(18, 8),"
    " created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);"
    "CREATE TABLE audit_log (id bigserial PRIMARY KEY, entity_id bigint NOT NULL, field_changed text NOT NULL,"
    " old_value text, new_value text, \"timestamp\" timestamptz NOT NULL);"
    "CREATE INDEX ON audit_log (entity_id, \"timestamp\");"
    "CREATE TABLE trades (id bigserial PRIMARY KEY, order_id bigint NOT NULL REFERENCES orders,"
    " quantity numeric(18, 8) NOT NULL, price numeric(18, 8) NOT NULL, executed_at timestamptz NOT NULL);"
    "CREATE INDEX ON trades (order_id);";

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

void cutover_rig_tables(struct pg_conn *conn, unsigned orders)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char sql[512];
    enum banyan_status st = pg_run(conn, schema, &err);

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO orders (trader_id, symbol, side, quantity, price, status, created_at, updated_at)"
                   " SELECT i %% 10 + 1, 'BTC', 'BUY', 1, 100, 'NEW', t, t FROM generate_series(1, %u) i,"
                   " date_trunc('milliseconds', now()) t ORDER BY i",
                   orders);
    if (st == BANYAN_OK)
        st = pg_run(conn, sql, &err);
    if (st != BANYAN_OK) {
        fprintf(stderr, "tables: %s\n", err.message);
        abort();
    }
}

/* ---- life ---- */

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    struct cutover_rig *rig = context;

    return owner_permit(rig->owner, category, key, creates, arena, ret, err);
}

static bool owned(void *context, struct banyan_str category, int64_t key)
{
    struct cutover_rig *rig = context;
    enum owner_side side = owner_side(rig->owner, category, key);

    return side == OWNER_SIDE_BANYAN || side == OWNER_SIDE_HELD;
}

static enum banyan_status door_hold(void *context, int64_t until_us, struct banyan_error *err)
{
    struct rig_door *door = context;
    enum banyan_status st = BANYAN_OK;

    pthread_mutex_lock(&door->lock);
    door->held_until_us = until_us;
    while (door->inside > 0 && now_us() < until_us)
        (void)os_cond_wait(&door->changed, &door->lock, until_us - now_us()); /* the time is looked at */
    if (door->inside > 0)
        st = banyan_error_set(err, BANYAN_TIMEOUT, "%u writes are still under way", door->inside);
    pthread_mutex_unlock(&door->lock);
    return st;
}

static void door_release(void *context)
{
    struct rig_door *door = context;

    pthread_mutex_lock(&door->lock);
    door->held_until_us = 0;
    pthread_cond_broadcast(&door->changed);
    pthread_mutex_unlock(&door->lock);
}

/* False: the write waited too long. */
static bool door_enter(struct rig_door *door, int64_t *ret_waited_us)
{
    int64_t began_us = now_us(), until_us = began_us + held_us_max;
    bool may;

    pthread_mutex_lock(&door->lock);
    if (door->held_until_us > now_us())
        door->held++;
    while (door->held_until_us > now_us() && now_us() < until_us)
        (void)os_cond_wait(&door->changed, &door->lock,
                           (door->held_until_us < until_us ? door->held_until_us : until_us) - now_us());
    may = door->held_until_us <= now_us();
    if (may)
        door->inside++;
    pthread_mutex_unlock(&door->lock);
    *ret_waited_us += now_us() - began_us;
    return may;
}

static void door_leave(struct rig_door *door)
{
    pthread_mutex_lock(&door->lock);
    if (--door->inside == 0)
        pthread_cond_broadcast(&door->changed);
    pthread_mutex_unlock(&door->lock);
}

enum banyan_status cutover_rig_open(struct cutover_rig *rig, const char *conninfo, const char *folder,
                                    struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 2000, .pause_us_max = 20000, .total_us_max = WAIT_US};
    char path[512];
    enum banyan_status st;

    *rig = (struct cutover_rig){.folder = alloc_text(folder), .conninfo = alloc_text(conninfo)};
    pthread_mutex_init(&rig->door.lock, NULL);
    os_cond_init(&rig->door.changed);
    rig->gateway = (struct controller_gateway){.context = &rig->door, .hold = door_hold, .release = door_release};
    (void)snprintf(path, sizeof(path), "%s/store", folder);
    st = os_stop_open(&rig->stop, err);
    while (st == BANYAN_OK) {
        struct banyan_error why = BANYAN_ERROR_INIT;

        st = store_open(&(struct store_options){.folder = path}, &rig->store, &why);
        if (st != BANYAN_BUSY || !os_retry_pause(&retry, NULL)) {
            *err = why;
            break;
        }
        st = BANYAN_OK;
    }
    if (st == BANYAN_OK)
        st = owner_open(&(struct owner_options){&banyan_domain_trading, source, rig->store}, &rig->owner, err);
    if (st == BANYAN_OK)
        st = keys_open(&(struct keys_options){.domain = &banyan_domain_trading,
                                              .source = source,
                                              .conninfo = rig->conninfo,
                                              .store = rig->store,
                                              .owner = rig->owner},
                       &rig->keys, err);
    if (st == BANYAN_OK)
        rig->aggregates = aggregates_new(&(struct aggregates_options){
            .store = rig->store, .domain = &banyan_domain_trading, .permit = {permit, rig}});
    return st;
}

static enum banyan_status start_mirror(struct cutover_rig *rig, struct banyan_error *err)
{
    enum owner_mode mode = owner_mode(rig->owner, NULL);
    bool legacy = mode == OWNER_LEGACY || mode == OWNER_NONE;
    struct legacy_mirror_options options = {.domain = &banyan_domain_trading,
                                            .source = source,
                                            .conninfo = rig->conninfo,
                                            .store = rig->store,
                                            .from = legacy ? store_durable(rig->store) : owner_since(rig->owner),
                                            .stop = &rig->stop};
    enum banyan_status st = legacy_mirror_prove(&options, err);

    return st == BANYAN_OK ? legacy_mirror_start(&options, &rig->mirror, err) : st;
}

enum banyan_status cutover_rig_start(struct cutover_rig *rig, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 2000, .pause_us_max = 20000, .total_us_max = WAIT_US};
    struct legacy_options options = {.domain = &banyan_domain_trading,
                                     .name = source,
                                     .conninfo = rig->conninfo,
                                     .slot = "banyan_oms",
                                     .publication = "banyan oms",
                                     .spool_folder = rig->folder,
                                     .store = rig->store,
                                     .stop = &rig->stop,
                                     .owned = owned,
                                     .owned_context = rig};
    struct legacy_status *status = alloc_zeroed(1, sizeof(*status));
    struct sink_home *home = NULL;
    enum banyan_status st;

    rig->projections = projections_new(&(struct projections_options){
        .domain = &banyan_domain_trading, .store = rig->store, .stop = &rig->stop, .cursor_lsn = legacy_cursor_lsn});
    st = sink_memory_home(&banyan_domain_trading.projections[0], &home, err);
    if (st == BANYAN_OK)
        st = projections_add(rig->projections,
                             &(struct projection_options){.name = "current-orders",
                                                          .projection = &banyan_domain_trading.projections[0],
                                                          .home = home},
                             err);
    if (st == BANYAN_OK)
        st = legacy_start(&options, &rig->legacy, err);
    while (st == BANYAN_OK) {
        legacy_status(rig->legacy, status);
        if (status->state == LEGACY_CAPTURING && status->backfill_done)
            break;
        if (status->state == LEGACY_FAILED || !os_retry_pause(&retry, NULL)) {
            st = banyan_error_set(err, BANYAN_TIMEOUT, "capture did not begin: %s", status->error.message);
            break;
        }
    }
    free(status);
    return st == BANYAN_OK ? start_mirror(rig, err) : st;
}

void cutover_rig_close(struct cutover_rig *rig)
{
    os_stop_request(&rig->stop);
    legacy_mirror_stop(rig->mirror);
    if (rig->legacy != NULL)
        legacy_stop(rig->legacy);
    if (rig->projections != NULL)
        projections_free(rig->projections);
    aggregates_free(rig->aggregates);
    keys_close(rig->keys);
    owner_close(rig->owner);
    store_close(rig->store);
    os_stop_close(&rig->stop);
    free(rig->folder);
    free(rig->conninfo);
}

/* ---- moving ---- */

enum banyan_status cutover_rig_move(struct cutover_rig *rig, const struct cutover_options *options, bool recover,
                                    struct cutover_report *ret, struct banyan_error *err)
{
    struct cutover_postgres *postgres = cutover_postgres_new(&(struct cutover_postgres_options){
        .domain = &banyan_domain_trading,
        .source = source,
        .conninfo = rig->conninfo,
        .store = rig->store,
        .projections = rig->projections,
        .aggregates = rig->aggregates,
        .owner = rig->owner,
        .keys = rig->keys,
        .legacy = rig->legacy,
        .mirror = rig->mirror,
        .gateway = &rig->gateway,
        .pause_us_max = options->pause_us_max,
        .at = rig->at,
        .at_context = rig->at_context,
        .stop = &rig->stop,
    });
    struct cutover_world world;
    enum banyan_status st;

    cutover_postgres_world(postgres, &world);
    st = recover ? cutover_recover(&world, options, ret, err) : cutover_run(&world, options, ret, err);
    cutover_postgres_verified(postgres, &rig->verified);
    cutover_postgres_free(postgres);
    return st;
}

/* ---- equal? ---- */

static enum banyan_status wait_model(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    struct cutover_rig *rig = context;

    return projections_wait_lsn(rig->projections, 0, lsn, timeout_us, err);
}

/* The read model against the table, every row and column. */
static enum banyan_status model_equal(struct cutover_rig *rig, struct banyan_error *err)
{
    struct legacy_options legacy = {.domain = &banyan_domain_trading, .name = source, .conninfo = rig->conninfo};
    struct verify_options options = {.legacy = &legacy,
                                     .projection = &banyan_domain_trading.projections[0],
                                     .wait = wait_model,
                                     .wait_context = rig,
                                     .stop = &rig->stop};
    struct verify_report report = {.rows = 0};
    enum banyan_status st = projections_view(rig->projections, 0, &options.view, err);

    if (st != BANYAN_OK)
        return st;
    st = legacy_verify(&options, &report, err);
    sink_view_close(options.view);
    if (st == BANYAN_OK && (report.differences > 0 || report.unsettled > 0 || report.rows == 0))
        st = banyan_error_set(err, BANYAN_MISMATCH,
                              "read model: %" PRIu64 " of %" PRIu64 " rows differ, %" PRIu64 " unsettled",
                              report.differences, report.rows, report.unsettled);
    return st;
}

enum banyan_status cutover_rig_equal(struct cutover_rig *rig, struct banyan_error *err)
{
    struct cutover_verify *verify = cutover_verify_new(&(struct cutover_verify_options){
        .domain = &banyan_domain_trading, .store = rig->store, .aggregates = rig->aggregates, .stop = &rig->stop});
    struct cutover_verify_round round = {.at_rest = true};
    struct pg_options options = {.conninfo = rig->conninfo, .application_name = "equal"};
    uint64_t lsn = 0;
    enum banyan_status st = pg_connect(&options, &round.conn, err);

    if (st == BANYAN_OK)
        st = fence_message(round.conn, source, &lsn, err);
    if (st == BANYAN_OK)
        st = legacy_wait(rig->legacy, lsn, WAIT_US, err);
    if (st == BANYAN_OK)
        st = legacy_mirror_wait(rig->mirror, store_tail(rig->store), WAIT_US, err);
    if (st == BANYAN_OK)
        st = cutover_verify_resolve(verify, round.conn, err);
    if (st == BANYAN_OK)
        st = cutover_verify_round(verify, &round, err);
    if (st == BANYAN_OK)
        st = model_equal(rig, err);
    pg_close(round.conn);
    cutover_verify_free(verify);
    return st;
}

/* ---- writes ---- */

static enum rig_wrote sql_failed(const struct banyan_error *err)
{
    return strcmp(err->sqlstate, "25006") == 0 ? RIG_REFUSED : RIG_UNKNOWN;
}

enum rig_wrote rig_legacy_write(struct pg_conn *conn, int64_t key, int64_t number, struct banyan_error *err)
{
    char sql[640];

    /* One transaction, as the application would write it; nothing where the step was done before. */
    (void)snprintf(sql, sizeof(sql),
                   "WITH step AS (UPDATE orders SET quantity = %" PRId64 ", updated_at = clock_timestamp()"
                   " WHERE order_id = %" PRId64 " AND quantity = %" PRId64 " RETURNING order_id, updated_at)"
                   " INSERT INTO audit_log (entity_id, field_changed, old_value, new_value, \"timestamp\")"
                   " SELECT order_id, 'quantity', '%" PRId64 "', '%" PRId64 "', updated_at FROM step",
                   number, key, number - 1, number - 1, number);
    return pg_run(conn, sql, err) == BANYAN_OK ? RIG_WROTE : sql_failed(err);
}

static struct banyan_uuid command_id(int64_t key, int64_t number)
{
    uint8_t bytes[16] = {0};

    memcpy(bytes, &key, 6); /* version and variant are in bytes 6 and 8 */
    memcpy(bytes + 9, &number, 6);
    return banyan_uuid_v8(bytes);
}

static enum rig_wrote execute(struct cutover_rig *rig, int64_t key, const char *name, const void *fields,
                              struct banyan_uuid id, enum store_expect expect, struct banyan_error *err)
{
    struct banyan_arena arena = {0};
    struct aggregate_answer answer = {.accepted = false};
    struct aggregate_command command = {
        .id = id,
        .category = BANYAN_STR("order"),
        .key = banyan_arena_printf(&arena, "%" PRId64, key),
        .name = banyan_str_of(name),
        .fields = fields,
        .expect = expect,
        .new_key = expect == STORE_EXPECT_ABSENT,
    };
    enum banyan_status st = aggregates_execute(rig->aggregates, &command, &arena, &answer, err);

    if (st == BANYAN_OK && !answer.accepted)
        (void)banyan_error_set(err, BANYAN_NOT_MET, "%s", answer.code);
    banyan_arena_release(&arena);
    if (st == BANYAN_OK)
        return answer.accepted ? RIG_WROTE : RIG_REFUSED;
    /* Somebody else owns it since it was looked at: nothing was written. */
    return st == BANYAN_CONFLICT || st == BANYAN_BUSY ? RIG_MOVED : RIG_UNKNOWN;
}

static enum rig_wrote banyan_write(struct cutover_rig *rig, int64_t key, int64_t number, struct banyan_error *err)
{
    struct modify_order modify = {.quantity = {.units = number * units, .scale = SCALE},
                                  .price = banyan_decimal_null()};

    return execute(rig, key, "ModifyOrder", &modify, command_id(key, number), STORE_EXPECT_EXISTS, err);
}

enum rig_wrote rig_door_write(struct cutover_rig *rig, struct pg_conn *conn, int64_t key, int64_t number,
                              int64_t *ret_waited_us, struct banyan_error *err)
{
    enum rig_wrote wrote;

    *ret_waited_us = 0;
    for (;;) {
        enum owner_side side;

        if (!door_enter(&rig->door, ret_waited_us)) {
            (void)banyan_error_set(err, BANYAN_BUSY, "held for too long");
            return RIG_HELD;
        }
        side = owner_side(rig->owner, BANYAN_STR("order"), key);
        if (side == OWNER_SIDE_HELD) { /* a hold that ended by itself: the rest of it is still to come */
            door_leave(&rig->door);
            os_clock_real()->sleep_us(os_clock_real(), 1000);
            *ret_waited_us += 1000;
            if (*ret_waited_us < held_us_max)
                continue;
            (void)banyan_error_set(err, BANYAN_BUSY, "held for too long");
            return RIG_HELD;
        }
        wrote =
            side == OWNER_SIDE_BANYAN ? banyan_write(rig, key, number, err) : rig_legacy_write(conn, key, number, err);
        door_leave(&rig->door);
        return wrote;
    }
}

static enum rig_wrote legacy_create(struct pg_conn *conn, int64_t *ret_key, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn,
                                    "INSERT INTO orders (trader_id, symbol, side, quantity, price, status, created_at,"
                                    " updated_at) SELECT 99, 'ETH', 'SELL', 1, 100, 'NEW', t, t FROM"
                                    " clock_timestamp() t RETURNING order_id",
                                    NULL, 0, &result, err);

    if (st == BANYAN_OK)
        *ret_key = pg_int(result, 0, 0);
    pg_result_free(result);
    return st == BANYAN_OK ? RIG_WROTE : sql_failed(err);
}

enum rig_wrote rig_door_create(struct cutover_rig *rig, struct pg_conn *conn, int64_t *ret_key,
                               struct banyan_error *err)
{
    struct place_order place = {.trader_id = 99,
                                .symbol = BANYAN_STR("ETH"),
                                .side = BANYAN_STR("SELL"),
                                .quantity = {.units = units, .scale = SCALE},
                                .price = {.units = 100 * units, .scale = SCALE}};
    int64_t waited_us = 0, key = 0;
    enum rig_wrote wrote;

    if (!door_enter(&rig->door, &waited_us)) {
        (void)banyan_error_set(err, BANYAN_BUSY, "held for too long");
        return RIG_HELD;
    }
    if (owner_mode(rig->owner, NULL) != OWNER_BANYAN)
        wrote = legacy_create(conn, ret_key, err);
    else if (keys_next(rig->keys, BANYAN_STR("order"), &key, err) != BANYAN_OK)
        wrote = RIG_UNKNOWN;
    else {
        wrote = execute(rig, key, "PlaceOrder", &place, command_id(key, 0), STORE_EXPECT_ABSENT, err);
        *ret_key = key;
    }
    door_leave(&rig->door);
    return wrote == RIG_MOVED ? RIG_HELD : wrote;
}
