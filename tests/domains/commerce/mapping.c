/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of the shop and of Northwind, without a server.  Rows of any content, sane or absurd: the events can be
 * stored, and folding them gives the row, if need be after reconciling; a source never stops.  Then the life of a sane
 * order, and one with everything odd about it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "commerce/commerce.h"
#include "commerce/mapping_northwind.h"
#include "commerce/mapping_shop.h"
#include "commerce/order.h"
#include "harness.h"
#include "store/emitter.h"
#include "support/seed.h"

enum {
    ROUNDS = 400,
    CHILDREN_MAX = 5,
    CHANGES_MAX = 24,
    EVENTS_MAX = 256,
    KEY = 7,
};

/* A stream that is told by a mapping. */
struct told {
    struct banyan_emitter emitter;
    const struct banyan_legacy_mapping *mapping;
    struct banyan_arena arena;
    void *state;
    size_t count, reconciled;
    unsigned types[EVENTS_MAX];
    const char *reasons[EVENTS_MAX];
    const void *payloads[EVENTS_MAX];
};

static void take(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct told *told = (struct told *)emitter;
    const struct banyan_record *record = commerce_events[event->type].record;
    struct banyan_buf buf = BANYAN_BUF_INIT((size_t)1 << 20);
    struct banyan_error err = BANYAN_ERROR_INIT;
    void *copy = banyan_arena_zalloc(&told->arena, record->size);

    assert_true(told->count < EVENTS_MAX);
    assert_int_not_equal(event->at.us, BANYAN_TIME_NULL);
    assert_true((event->provenance == BANYAN_EXACT) == (event->reason == NULL));
    if (banyan_record_encode(record, event->payload, &buf, &err) != BANYAN_OK)
        fail_msg("%s cannot be stored: %s", record->name, err.message);
    if (banyan_record_decode_in(record, banyan_arena_str(&told->arena, banyan_buf_str(&buf)), &told->arena, copy,
                                &err) != BANYAN_OK)
        fail_msg("%s cannot be read: %s", record->name, err.message);
    banyan_buf_release(&buf);
    told->types[told->count] = event->type;
    told->reasons[told->count] = event->reason;
    told->payloads[told->count++] = copy;
    told->reconciled += event->provenance == BANYAN_RECONCILED;
    told->mapping->aggregate->evolve(told->state, event->type, copy, event->at);
}

static void told_init(struct told *told, const struct banyan_legacy_mapping *mapping)
{
    *told = (struct told){.emitter = {.take = take}, .mapping = mapping};
    told->emitter.arena = &told->arena;
    told->state = banyan_arena_zalloc(&told->arena, mapping->aggregate->state->size);
    banyan_record_init(mapping->aggregate->state, told->state);
}

/* Does the state stand for *row* (NULL: for none)? */
static bool stands_for(struct told *told, const void *row)
{
    const struct banyan_record *record = told->mapping->tables[0].row;
    void *mine = banyan_arena_zalloc(&told->arena, record->size);
    bool exists;

    banyan_record_init(record, mine);
    exists = told->mapping->row(told->state, mine);
    return exists == (row != NULL) && (row == NULL || banyan_record_diff(record, mine, row) == 0);
}

static void prove(struct told *told, const void *row)
{
    if (stands_for(told, row))
        return;
    told->mapping->reconcile(told->state, KEY, row, (struct banyan_time){1000}, &told->emitter);
    if (!stands_for(told, row))
        fail_msg("%s is not the legacy row after reconciling", told->mapping->tables[0].name);
}

/* The events of a mapping function are folded only after it returned: it looks at the state before. */
static void tell_changes(struct told *told, const struct banyan_change *changes, size_t count, const void *row)
{
    size_t size = told->mapping->aggregate->state->size;
    void *before = banyan_arena_alloc(&told->arena, size);
    bool exists = told->count > 0;

    banyan_record_copy(told->mapping->aggregate->state, before, told->state, &told->arena);
    told->mapping->changes(before, exists, KEY, changes, count, &told->emitter);
    prove(told, row);
}

static void set_int(const struct banyan_record *record, void *row, const char *name, int64_t value)
{
    const struct banyan_field *field = banyan_record_field(record, banyan_str_of(name));

    memcpy((char *)row + field->offset, &value, sizeof(value));
}

/* Statuses of the domain's own that the shop's tables cannot have: they have a CHECK constraint. */
static void allow_status(const struct banyan_legacy_table *table, void *row)
{
    static const char *const own[][2] = {{"orders", "rejected"}, {"payments", "declined"}, {"shipments", "created"}};
    const struct banyan_field *field = banyan_record_field(table->row, BANYAN_STR("status"));

    for (size_t i = 0; field != NULL && i < COMMERCE_COUNT(own); i++) {
        struct banyan_str *status = (struct banyan_str *)((char *)row + field->offset);

        if (strcmp(table->name, own[i][0]) == 0 && banyan_str_equal(*status, banyan_str_of(own[i][1])))
            *status = BANYAN_STR("canceled");
    }
}

static void *random_row(struct told *told, size_t table, struct os_random *random)
{
    const struct banyan_legacy_table *of = &told->mapping->tables[table];
    void *row = banyan_arena_zalloc(&told->arena, of->row->size);

    random_value(of->row, row, random, &told->arena);
    set_int(of->row, row, of->key_column, KEY);
    allow_status(of, row);
    /* Whole numbers as decimals stand for integer columns: they have no NaN and fit 64 bits. */
    for (size_t i = 0; i < of->row->field_count; i++) {
        const struct banyan_field *field = &of->row->fields[i];
        struct banyan_decimal *number = (struct banyan_decimal *)((char *)row + field->offset);

        if (field->kind == BANYAN_FIELD_DECIMAL && field->scale == 0 && number->scale != BANYAN_DECIMAL_NULL)
            *number = banyan_decimal_of((int64_t)os_random_below(random, 1000), 0);
    }
    return row;
}

/* ---- any rows ---- */

static void random_past(struct told *told, struct os_random *random, const void **ret_root)
{
    const void *children[BANYAN_LEGACY_TABLES_MAX][CHILDREN_MAX];
    struct banyan_history history = {.key = KEY,
                                     .root = os_random_below(random, 5) == 0 ? NULL : random_row(told, 0, random)};

    for (size_t t = 1; t < told->mapping->table_count; t++) {
        history.row_count[t] = os_random_below(random, CHILDREN_MAX + 1);
        history.rows[t] = children[t];
        for (size_t i = 0; i < history.row_count[t]; i++)
            children[t][i] = random_row(told, t, random);
    }
    told->mapping->history(&history, &told->emitter);
    *ret_root = history.root;
    prove(told, *ret_root);
}

/* A transaction of random changes, the root's in an order that is possible. */
static void random_transaction(struct told *told, struct os_random *random, const void **root)
{
    struct banyan_change changes[CHANGES_MAX];
    size_t count = 1 + os_random_below(random, CHANGES_MAX - 1);

    for (size_t i = 0; i < count; i++) {
        unsigned table = (unsigned)os_random_below(random, told->mapping->table_count);
        struct banyan_change *change = &changes[i];

        *change = (struct banyan_change){.table = table};
        if (table == 0) {
            bool gone = *root != NULL && os_random_below(random, 6) == 0;

            change->kind = *root == NULL ? BANYAN_CHANGE_INSERT : gone ? BANYAN_CHANGE_DELETE : BANYAN_CHANGE_UPDATE;
            change->old = *root;
            change->new = *root = gone ? NULL : random_row(told, 0, random);
            continue;
        }
        change->kind = BANYAN_CHANGE_INSERT + (enum banyan_change_kind)os_random_below(random, 3);
        if (change->kind != BANYAN_CHANGE_INSERT && os_random_below(random, 2) == 0)
            change->old = random_row(told, table, random);
        if (change->kind != BANYAN_CHANGE_DELETE)
            change->new = random_row(told, table, random);
    }
    tell_changes(told, changes, count, *root);
}

static void any_rows(const struct banyan_legacy_mapping *mappings, size_t count, const char *name)
{
    struct os_random random;

    seed_start(&random, name);
    for (unsigned round = 0; round < seed_rounds(ROUNDS); round++)
        for (size_t i = 0; i < count; i++) {
            const void *root = NULL;
            struct told told;

            told_init(&told, &mappings[i]);
            if (os_random_below(&random, 2) == 0)
                random_past(&told, &random, &root);
            for (int j = 0; j < 4 && told.count < EVENTS_MAX / 3; j++)
                random_transaction(&told, &random, &root);
            banyan_arena_release(&told.arena);
        }
}

static void any_rows_of_the_shop(void **state)
{
    (void)state;
    any_rows(shop_mappings, SHOP_MAPPING_COUNT, "any_rows_of_the_shop");
}

static void any_rows_of_northwind(void **state)
{
    (void)state;
    any_rows(northwind_mappings, NORTHWIND_MAPPING_COUNT, "any_rows_of_northwind");
}

/* ---- a sane order ---- */

static struct banyan_time at(int64_t minute)
{
    return (struct banyan_time){minute * 60000000};
}

static struct order_row placed_order(void)
{
    return (struct order_row){KEY,
                              BANYAN_STR("x-7"),
                              1,
                              BANYAN_STR("Ana"),
                              BANYAN_STR("santos"),
                              BANYAN_STR("SP"),
                              BANYAN_STR("created"),
                              money_of(2000),
                              money_of(150),
                              at(1),
                              COMMERCE_NO_TIME,
                              COMMERCE_NO_TIME,
                              COMMERCE_NO_TIME,
                              COMMERCE_NO_TIME,
                              at(9000),
                              at(1)};
}

static const struct shop_item item = {
    11, KEY, 3, {"lamp", 4}, {"home", 4}, 5, 6, 8, 2, {1000, COMMERCE_SCALE}, {150, COMMERCE_SCALE}};

/* Past and present tell the same, exactly, and nothing has to be reconciled. */
static void a_sane_order(void **state)
{
    const enum commerce_event wanted[] = {ORDER_PLACED, ORDER_CONFIRMED, ORDER_STATUS_NOTED, ORDER_SHIPPED,
                                          ORDER_COMPLETED};
    const char *const words[] = {"created", "approved", "processing", "shipped", "delivered"};
    struct order_row rows[5];
    struct shop_status statuses[5];
    const void *status_rows[5], *items[] = {&item};
    const struct shop_paid paid = {1, KEY, BANYAN_STR("captured"), money_of(2150), money_of(0)};
    const void *payments[] = {&paid};
    struct told past, present;

    (void)state;
    told_init(&past, &shop_mappings[0]);
    told_init(&present, &shop_mappings[0]);
    for (int i = 0; i < 5; i++) {
        struct banyan_change changes[3] = {{0}};
        size_t count = 0;

        rows[i] = i == 0 ? placed_order() : rows[i - 1];
        rows[i].status = banyan_str_of(words[i]);
        rows[i].updated_at = at(i + 1);
        *(i == 1   ? &rows[i].approved_at
          : i == 3 ? &rows[i].shipped_at
          : i == 4 ? &rows[i].delivered_at
                   : &rows[i].updated_at) = at(i + 1);
        statuses[i] = (struct shop_status){i + 1, KEY, rows[i].status, at(i + 1)};
        status_rows[i] = &statuses[i];
        changes[count++] = (struct banyan_change){i == 0 ? BANYAN_CHANGE_INSERT : BANYAN_CHANGE_UPDATE, 0,
                                                  i == 0 ? NULL : &rows[i - 1], &rows[i]};
        changes[count++] = (struct banyan_change){BANYAN_CHANGE_INSERT, 2, NULL, &statuses[i]};
        if (i == 0)
            changes[count++] = (struct banyan_change){BANYAN_CHANGE_INSERT, 1, NULL, &item};
        tell_changes(&present, changes, count, &rows[i]);
    }
    past.mapping->history(&(struct banyan_history){KEY, &rows[4], {NULL, items, status_rows, payments}, {0, 1, 5, 1}},
                          &past.emitter);
    prove(&past, &rows[4]);
    assert_int_equal(past.count, COMMERCE_COUNT(wanted));
    assert_int_equal(present.count, COMMERCE_COUNT(wanted));
    for (size_t i = 0; i < COMMERCE_COUNT(wanted); i++) {
        assert_int_equal(past.types[i], wanted[i]);
        assert_int_equal(present.types[i], wanted[i]);
        assert_null(past.reasons[i]);
        assert_null(present.reasons[i]);
        assert_true(banyan_record_diff(commerce_events[wanted[i]].record, past.payloads[i], present.payloads[i]) == 0);
    }
    banyan_arena_release(&past.arena);
    banyan_arena_release(&present.arena);
}

/* ---- an odd one ---- */

/* Canceled though paid twice and too much, shipped before it was placed; nobody wrote down when it was canceled. */
static void an_odd_order(void **state)
{
    const char *const wanted[] = {ORDER_ANOMALY_SHIPPED_BEFORE_APPROVAL, ORDER_ANOMALY_SHIPPED_BEFORE_PLACEMENT,
                                  ORDER_ANOMALY_NO_LINES, ORDER_ANOMALY_SEVERAL_PAYMENTS,
                                  ORDER_ANOMALY_CANCELED_BUT_PAID};
    const struct shop_paid paid[] = {{1, KEY, BANYAN_STR("captured"), money_of(2150), money_of(0)},
                                     {2, KEY, BANYAN_STR("captured"), money_of(10), money_of(0)}};
    const void *payments[] = {&paid[0], &paid[1]};
    struct order_row row = placed_order();
    struct told told;
    size_t found = 0;

    (void)state;
    told_init(&told, &shop_mappings[0]);
    row.status = BANYAN_STR("canceled");
    row.shipped_at = at(0);
    row.approved_at = row.updated_at = at(2);
    told.mapping->history(&(struct banyan_history){KEY, &row, {NULL, NULL, NULL, payments}, {0, 0, 0, 2}},
                          &told.emitter);
    prove(&told, &row);
    assert_int_equal(told.types[0], ORDER_PLACED);
    assert_int_equal(told.types[1], ORDER_SHIPPED);
    assert_int_equal(told.types[2], ORDER_CONFIRMED);
    assert_int_equal(told.types[3], ORDER_CANCELED);
    assert_non_null(told.reasons[3]);
    for (size_t i = 4; i < told.count && told.types[i] == ORDER_ANOMALY_NOTED; i++) {
        const struct order_anomaly_noted *noted = told.payloads[i];

        assert_true(found < COMMERCE_COUNT(wanted));
        assert_true(text_is(noted->kind, wanted[found++]));
    }
    assert_int_equal(found, COMMERCE_COUNT(wanted));
    assert_int_equal(told.types[told.count - 1], ORDER_RECONCILED);
    assert_true(text_is(((const struct order_reconciled *)told.payloads[told.count - 1])->fields, "canceled_at"));
    banyan_arena_release(&told.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sane_order),
        cmocka_unit_test(an_odd_order),
        cmocka_unit_test(any_rows_of_the_shop),
        cmocka_unit_test(any_rows_of_northwind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
