/* SPDX-License-Identifier: Apache-2.0 */
/* See market.h. */
#include "support/market.h"

const char market_schema_sql[] =
    "CREATE TABLE orders (id bigint PRIMARY KEY, text text);"
    "CREATE TABLE items (order_id bigint NOT NULL, id bigint NOT NULL, text text, PRIMARY KEY (order_id, id));"
    "CREATE TABLE payments (id bigint PRIMARY KEY, order_id bigint NOT NULL, text text);"
    "CREATE INDEX ON payments (order_id); ALTER TABLE payments REPLICA IDENTITY FULL;"
    "CREATE TABLE notes (payment_id bigint NOT NULL, id bigint NOT NULL, text text, PRIMARY KEY (payment_id, id));"
    "CREATE TABLE stock (id bigint PRIMARY KEY, text text);";

struct market_state {
    bool exists;
    int64_t id;
    struct banyan_str text;
};

#define KEY(name)                                                                                                      \
    {                                                                                                                  \
        name, BANYAN_FIELD_INT, 0, offsetof(struct market_row, key), 0, NULL                                           \
    }
#define TEXT BANYAN_FIELD_STRING(struct market_row, text, BANYAN_FIELD_OPTIONAL)
#define ID BANYAN_FIELD_INT(struct market_row, id, 0)

static const struct banyan_field payload_fields[] = {KEY("key"), ID, BANYAN_FIELD_INT(struct market_row, table, 0),
                                                     TEXT};
static const struct banyan_field root_fields[] = {KEY("id"), TEXT};
static const struct banyan_field item_fields[] = {KEY("order_id"), ID, TEXT};
static const struct banyan_field note_fields[] = {KEY("payment_id"), ID, TEXT};
static const struct banyan_field state_fields[] = {
    BANYAN_FIELD_BOOL(struct market_state, exists, 0),
    BANYAN_FIELD_INT(struct market_state, id, 0),
    BANYAN_FIELD_STRING(struct market_state, text, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record payload_record = {"payload", sizeof(struct market_row), payload_fields, 4};
static const struct banyan_record root_record = {"root", sizeof(struct market_row), root_fields, 2};
static const struct banyan_record item_record = {"of_order", sizeof(struct market_row), item_fields, 3};
static const struct banyan_record note_record = {"note", sizeof(struct market_row), note_fields, 3};
static const struct banyan_record state_record = {"state", sizeof(struct market_state), state_fields, 3};

static const struct banyan_event_type events[MARKET_EVENTS] = {
    [MARKET_PUT] = {"Put", 1, &payload_record},
    [MARKET_GONE] = {"Gone", 1, &payload_record},
    [MARKET_CHILD_PUT] = {"ChildPut", 1, &payload_record},
    [MARKET_CHILD_GONE] = {"ChildGone", 1, &payload_record},
};

static void evolve(void *opaque, unsigned type, const void *data, struct banyan_time at)
{
    struct market_state *state = opaque;
    const struct market_row *payload = data;
    (void)at;
    if (type == MARKET_PUT)
        *state = (struct market_state){true, payload->key, payload->text};
    else if (type == MARKET_GONE)
        *state = (struct market_state){.exists = false};
}

static void emit(struct banyan_emitter *out, unsigned type, unsigned table, const struct market_row *row)
{
    struct market_row payload = *row;
    payload.table = table;
    if (table == 0)
        payload.id = 0; /* a root's row does not have it */
    banyan_emit(out, &(struct banyan_emit){type, &payload, {1}, BANYAN_EXACT, NULL});
}

static void history(const struct banyan_history *history, struct banyan_emitter *out)
{
    if (history->root != NULL)
        emit(out, MARKET_PUT, 0, history->root);
    for (unsigned t = 1; t < 8; t++)
        for (size_t i = 0; i < history->row_count[t]; i++)
            emit(out, MARKET_CHILD_PUT, t, history->rows[t][i]);
}

static void changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                    struct banyan_emitter *out)
{
    (void)state, (void)exists, (void)key;
    for (size_t i = 0; i < count; i++) {
        const struct banyan_change *change = &changes[i];
        unsigned child = change->table > 0 ? MARKET_CHILD_PUT : MARKET_PUT;
        if (change->kind != BANYAN_CHANGE_DELETE)
            emit(out, child, change->table, change->new);
        else if (change->old != NULL)
            emit(out, child + 1, change->table, change->old);
    }
}

static bool row(const void *opaque, void *ret)
{
    const struct market_state *state = opaque;
    struct market_row *row = ret;
    row->key = state->id;
    row->text = state->text;
    return state->exists;
}

/* Nothing here needs it. */
static void reconcile(const void *state, int64_t key, const void *row, struct banyan_time now,
                      struct banyan_emitter *out)
{
    (void)state, (void)key, (void)row, (void)now, (void)out;
}

static const char *const by_id[] = {"id", NULL};
static const struct banyan_legacy_table order_tables[] = {
    {"orders", &root_record, "id", NULL},
    {"items", &item_record, "order_id", by_id},
    {"payments", &item_record, "order_id", by_id},
};
static const struct banyan_legacy_table payment_tables[] = {
    {"payments", &root_record, "id", NULL},
    {"notes", &note_record, "payment_id", by_id},
};
static const struct banyan_legacy_table stock_tables[] = {{"stock", &root_record, "id", NULL}};

static const struct banyan_aggregate aggregates[] = {
    {"order", &state_record, evolve},
    {"payment", &state_record, evolve},
    {"stock", &state_record, evolve},
};

static const struct banyan_legacy_mapping mappings[] = {
    {order_tables, 3, &aggregates[0], history, changes, row, reconcile},
    {payment_tables, 2, &aggregates[1], history, changes, row, reconcile},
    {stock_tables, 1, &aggregates[2], history, changes, row, reconcile},
};

const struct banyan_domain market_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "market",
    .events = events,
    .event_count = MARKET_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = 3,
    .mappings = mappings,
    .mapping_count = 3,
};

const struct banyan_domain market_orders_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "market",
    .events = events,
    .event_count = MARKET_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = 3,
    .mappings = mappings,
    .mapping_count = 1,
};
