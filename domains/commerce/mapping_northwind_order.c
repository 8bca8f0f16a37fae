/* SPDX-License-Identifier: Apache-2.0 */
/* Orders of Northwind: placed on one day, perhaps shipped on another.  What else changes has no day, and is reconciled.
 */
#include <string.h>

#include "mapping.h"
#include "mapping_northwind.h"
#include "order.h"

enum { TABLE_ORDERS, TABLE_DETAILS, TABLE_COUNT = NORTHWIND_ORDER_TABLE_COUNT };

enum {
    DISCOUNT_SCALE = 4,
    DISCOUNT_ALL = 10000, /* 1, at that scale */
};

static const struct banyan_field order_fields[] = {
    BANYAN_FIELD_INT(struct northwind_order, order_id, 0),
    BANYAN_FIELD_STRING(struct northwind_order, customer_id, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct northwind_order, order_date, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct northwind_order, required_date, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct northwind_order, shipped_date, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct northwind_order, freight, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct northwind_order, ship_name, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct northwind_order, ship_address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct northwind_order, ship_city, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct northwind_order, ship_region, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct northwind_order, ship_postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct northwind_order, ship_country, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field detail_fields[] = {
    BANYAN_FIELD_INT(struct northwind_detail, order_id, 0),
    BANYAN_FIELD_INT(struct northwind_detail, product_id, 0),
    BANYAN_FIELD_DECIMAL(struct northwind_detail, unit_price, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_INT(struct northwind_detail, quantity, 0),
    BANYAN_FIELD_DECIMAL(struct northwind_detail, discount, BANYAN_FIELD_OPTIONAL, DISCOUNT_SCALE),
};

const struct banyan_record northwind_order_record = {"NorthwindOrder", sizeof(struct northwind_order), order_fields,
                                                     COMMERCE_COUNT(order_fields)};
const struct banyan_record northwind_detail_record = {"NorthwindDetail", sizeof(struct northwind_detail), detail_fields,
                                                      COMMERCE_COUNT(detail_fields)};

static const char *const detail_order[] = {"product_id", NULL};

const struct banyan_legacy_table northwind_order_tables[TABLE_COUNT] = {
    [TABLE_ORDERS] = {"orders", &northwind_order_record, "order_id", NULL},
    [TABLE_DETAILS] = {"order_details", &northwind_detail_record, "order_id", detail_order},
};

static struct order_line line_of(const struct northwind_detail *detail)
{
    return (struct order_line){
        .line_id = northwind_line_id(detail->order_id, detail->product_id),
        .product_id = detail->product_id,
        .product = BANYAN_STR(""),
        .category = BANYAN_STR(""),
        .stock_id = detail->product_id,
        .quantity = detail->quantity,
        .unit_price = money_from_units(money_units(detail->unit_price)),
        .freight = money_of(0),
    };
}

/* What the line costs, to the cent. */
static struct banyan_decimal net_of(const struct northwind_detail *detail)
{
    __int128 rest = DISCOUNT_ALL - (detail->discount.scale == DISCOUNT_SCALE ? detail->discount.units : 0);
    __int128 units;

    if (__builtin_mul_overflow(money_units(detail->unit_price), (__int128)detail->quantity, &units) ||
        __builtin_mul_overflow(units, rest, &units))
        return money_of(0);
    return money_from_units((units + (units < 0 ? -DISCOUNT_ALL / 2 : DISCOUNT_ALL / 2)) / DISCOUNT_ALL);
}

/* ---- history ---- */

static void note(const struct northwind_order *row, const char *kind, struct banyan_emitter *out)
{
    struct order_anomaly_noted noted = {row->order_id, banyan_str_of(kind)};

    mapping_emit(out, ORDER_ANOMALY_NOTED, &noted, time_or(row->shipped_date, row->order_date),
                 "seen when the rows of the order were put together");
}

static void tell_shipped(const struct northwind_order *row, struct banyan_emitter *out)
{
    struct order_shipped shipped = {row->order_id};

    if (time_is_known(row->shipped_date))
        mapping_emit(out, ORDER_SHIPPED, &shipped, row->shipped_date, NULL);
}

static void tell(const struct northwind_order *row, const struct northwind_detail *const *details, size_t count,
                 struct banyan_emitter *out)
{
    struct order_line *lines = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*lines));
    struct order_placed placed = {
        .order_id = row->order_id,
        .customer_id = banyan_key_of_text(text_or_empty(row->customer_id)),
        .customer = text_or_empty(row->ship_name),
        .city = text_or_empty(row->ship_city),
        .state = row->ship_region,
        .address = row->ship_address,
        .postal_code = row->ship_postal_code,
        .country = row->ship_country,
        .external_id = row->customer_id,
        .placed_at = time_or(row->order_date, (struct banyan_time){0}),
        .promised_at = row->required_date,
        .lines = {lines, count},
        .items_total = money_of(0),
        .freight_total = money_from_units(money_units(row->freight)),
    };

    for (size_t i = 0; i < count; i++) {
        lines[i] = line_of(details[i]);
        placed.items_total = money_add(placed.items_total, net_of(details[i]));
    }
    mapping_emit(out, ORDER_PLACED, &placed, row->order_date, NULL);
    tell_shipped(row, out);
}

void northwind_order_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    const struct northwind_order *row = rows->root;

    if (row == NULL)
        return;
    tell(row, (const struct northwind_detail *const *)rows->rows[TABLE_DETAILS], rows->row_count[TABLE_DETAILS], out);
    if (rows->row_count[TABLE_DETAILS] == 0)
        note(row, ORDER_ANOMALY_NO_LINES, out);
    if (!time_is_known(row->shipped_date))
        note(row, ORDER_ANOMALY_NEVER_SHIPPED, out);
    else if (time_is_known(row->required_date) && row->shipped_date.us > row->required_date.us)
        note(row, ORDER_ANOMALY_SHIPPED_LATE, out);
}

/* ---- capture ---- */

static void insert(const struct northwind_order *row, const struct banyan_change *changes, size_t count,
                   struct banyan_emitter *out)
{
    const struct northwind_detail **details =
        banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(struct northwind_detail *));
    size_t detail_count = 0;

    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_DETAILS && changes[i].kind == BANYAN_CHANGE_INSERT)
            details[detail_count++] = changes[i].new;
    tell(row, details, detail_count, out);
}

/* Details of an order that is there: those that come are told exactly; what others cost after their discount is not in
 * the state, so the total of the order is then that of the lines. */
static void change_lines(const struct order *order, const struct banyan_change *changes, size_t count,
                         struct banyan_emitter *out)
{
    struct banyan_arena *arena = banyan_emitter_arena(out);
    struct order_line *lines = banyan_arena_alloc(arena, (order->lines.count + count) * sizeof(*lines));
    struct order_lines_changed changed = {
        order->row.order_id, {lines, order->lines.count}, {NULL, 0}, order->row.items_total, order->row.freight_total};
    bool any = false, replaced = false;

    if (order->lines.count > 0)
        memcpy(lines, order->lines.items, order->lines.count * sizeof(*lines));
    for (size_t i = 0; i < count; i++) {
        const struct northwind_detail *detail = changes[i].new;
        size_t at = 0;

        if (changes[i].table != TABLE_DETAILS || detail == NULL)
            continue;
        while (at < changed.lines.count && lines[at].line_id != northwind_line_id(detail->order_id, detail->product_id))
            at++;
        replaced |= at < changed.lines.count;
        changed.lines.count += at == changed.lines.count;
        lines[at] = line_of(detail);
        changed.items_total = money_add(changed.items_total, net_of(detail));
        any = true;
    }
    if (replaced && !order_totals(&changed.lines, &changed.items_total, &(struct banyan_decimal){0}))
        return;
    changed.freight_total = money_from_units(money_units(order->row.freight_total));
    if (any)
        mapping_emit(out, ORDER_LINES_CHANGED, &changed, order->row.updated_at,
                     replaced ? "the row of the line does not tell what it replaced, nor when"
                              : "the row of the line does not tell when it was added");
}

void northwind_order_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                             size_t count, struct banyan_emitter *out)
{
    const struct order *order = state;
    const struct northwind_order *last = NULL;

    (void)key; /* it is in the row */
    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_ORDERS)
            last = changes[i].new;
    if (!exists || !order->exists) {
        if (last != NULL)
            insert(last, changes, count, out);
        return;
    }
    change_lines(order, changes, count, out);
    if (last != NULL && !time_is_known(order->row.shipped_at))
        tell_shipped(last, out);
}

/* ---- the proof ---- */

bool northwind_order_row(const void *state, void *ret_row)
{
    const struct order *order = state;

    if (!order->exists)
        return false;
    *(struct northwind_order *)ret_row = (struct northwind_order){
        .order_id = order->row.order_id,
        .customer_id = order->row.external_id,
        .order_date = order->row.placed_at,
        .required_date = order->row.promised_at,
        .shipped_date = order->row.shipped_at,
        .freight = order->row.freight_total,
        .ship_name = order->row.customer,
        .ship_address = order->address,
        .ship_city = order->row.city,
        .ship_region = order->row.state,
        .ship_postal_code = order->postal_code,
        .ship_country = order->country,
    };
    return true;
}

/* The columns that OrderReconciled does not carry. */
static void reconcile_address(const struct order *order, const struct northwind_order *legacy, struct banyan_time now,
                              struct banyan_emitter *out)
{
    struct order_address_changed changed = {.order_id = legacy->order_id,
                                            .customer = text_or_empty(legacy->ship_name),
                                            .city = text_or_empty(legacy->ship_city),
                                            .state = legacy->ship_region,
                                            .address = legacy->ship_address,
                                            .postal_code = legacy->ship_postal_code,
                                            .country = legacy->ship_country};

    if (!banyan_str_equal(order->address, legacy->ship_address) ||
        !banyan_str_equal(order->postal_code, legacy->ship_postal_code) ||
        !banyan_str_equal(order->country, legacy->ship_country))
        mapping_emit_reconciled(out, ORDER_ADDRESS_CHANGED, &changed, now, NULL);
}

void northwind_order_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                               struct banyan_emitter *out)
{
    const struct order *order = state;
    const struct northwind_order *row = legacy;
    struct order_reconciled reconciled = {
        .row = order->row, .lines = order->lines, .fields = BANYAN_STR(""), .removed = legacy == NULL};
    struct northwind_order told;

    if (legacy == NULL) {
        reconciled.row.order_id = key;
        mapping_emit_reconciled(out, ORDER_RECONCILED, &reconciled, now, "the legacy table has no such row any more");
        return;
    }
    if (northwind_order_row(order, &told))
        reconciled.fields =
            mapping_columns(&northwind_order_record, banyan_record_diff(&northwind_order_record, &told, legacy),
                            banyan_emitter_arena(out));
    else
        reconciled.row.status = BANYAN_STR(ORDER_STATUS_CREATED);
    reconcile_address(order, row, now, out);
    reconciled.row.order_id = row->order_id;
    reconciled.row.external_id = row->customer_id;
    reconciled.row.customer_id = banyan_key_of_text(text_or_empty(row->customer_id));
    reconciled.row.placed_at = row->order_date;
    reconciled.row.promised_at = row->required_date;
    reconciled.row.shipped_at = row->shipped_date;
    reconciled.row.freight_total = row->freight;
    reconciled.row.customer = row->ship_name;
    reconciled.row.city = row->ship_city;
    reconciled.row.state = row->ship_region;
    reconciled.row.updated_at = now;
    mapping_emit_reconciled(out, ORDER_RECONCILED, &reconciled, now, NULL);
}
