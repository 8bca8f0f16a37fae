/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders of the shop.
 *
 * The past is told by order_status_history and by the columns that keep the time of a step; what neither has (Olist
 * does not say when an order was canceled) is inferred.  The order is placed first, whatever the times say: an order
 * that was shipped before it was placed has events whose time goes backwards.
 *
 * Rows that contradict each other, in one table or between several, are named in OrderAnomalyNoted when the past is
 * told.  Nothing is put right: what the rows say is what the events say.
 */
#include <string.h>

#include "mapping.h"
#include "mapping_shop.h"
#include "order.h"

enum {
    TABLE_ORDERS,
    TABLE_ITEMS = SHOP_ORDER_ITEMS,
    TABLE_STATUSES = SHOP_ORDER_STATUSES,
    TABLE_PAYMENTS = SHOP_ORDER_PAYMENTS,
    TABLE_COUNT = SHOP_ORDER_TABLE_COUNT
};

static const struct banyan_field item_fields[] = {
    BANYAN_FIELD_INT(struct shop_item, item_id, 0),
    BANYAN_FIELD_INT(struct shop_item, order_id, 0),
    BANYAN_FIELD_INT(struct shop_item, product_id, 0),
    BANYAN_FIELD_STRING(struct shop_item, product, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct shop_item, category, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct shop_item, seller_id, 0),
    BANYAN_FIELD_INT(struct shop_item, stock_id, 0),
    BANYAN_FIELD_INT(struct shop_item, shipment_id, 0),
    BANYAN_FIELD_INT(struct shop_item, quantity, 0),
    BANYAN_FIELD_DECIMAL(struct shop_item, unit_price, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct shop_item, freight, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

static const struct banyan_field status_fields[] = {
    BANYAN_FIELD_INT(struct shop_status, id, 0),
    BANYAN_FIELD_INT(struct shop_status, order_id, 0),
    BANYAN_FIELD_STRING(struct shop_status, status, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct shop_status, changed_at, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field paid_fields[] = {
    BANYAN_FIELD_INT(struct shop_paid, payment_id, 0),
    BANYAN_FIELD_INT(struct shop_paid, order_id, 0),
    BANYAN_FIELD_STRING(struct shop_paid, status, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct shop_paid, amount, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct shop_paid, refunded, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

const struct banyan_record shop_item_record = {"ShopItem", sizeof(struct shop_item), item_fields,
                                               COMMERCE_COUNT(item_fields)};
static const struct banyan_record status_record = {"OrderStatus", sizeof(struct shop_status), status_fields,
                                                   COMMERCE_COUNT(status_fields)};
static const struct banyan_record paid_record = {"OrderPayment", sizeof(struct shop_paid), paid_fields,
                                                 COMMERCE_COUNT(paid_fields)};

static const char *const item_order[] = {"item_id", NULL};
static const char *const status_order[] = {"changed_at", "id", NULL};
static const char *const paid_order[] = {"payment_id", NULL};

const struct banyan_legacy_table shop_order_tables[TABLE_COUNT] = {
    [TABLE_ORDERS] = {"orders", &commerce_order_row, "order_id", NULL},
    [TABLE_ITEMS] = {"order_items", &shop_item_record, "order_id", item_order, .row_columns = item_order},
    [TABLE_STATUSES] = {"order_status_history", &status_record, "order_id", status_order, .generated_column = "id"},
    [TABLE_PAYMENTS] = {"payments", &paid_record, "order_id", paid_order, .read_only = true},
};

static const char reason_no_time[] = "the application did not record when this status came";
static const char reason_overtaken[] = "the application kept this status though another was recorded after it";
static const char reason_changed[] = "the order was changed later, and what it was before is not recorded";
static const char reason_anomaly[] = "seen when the rows of the order were put together";

static struct order_line line_of(const struct shop_item *item)
{
    return (struct order_line){
        .line_id = item->item_id,
        .product_id = item->product_id,
        .product = text_or_empty(item->product),
        .category = text_or_empty(item->category),
        .seller_id = item->seller_id,
        .stock_id = item->stock_id,
        .quantity = item->quantity,
        .unit_price = money_from_units(money_units(item->unit_price)),
        .freight = money_from_units(money_units(item->freight)),
    };
}

/* ---- steps ---- */

/* *status* begins at *at*.  Where *at* is not the time of the event's own column, the column is not told by it. */
static void tell_status(int64_t order_id, struct banyan_str status, struct banyan_time at, bool timed,
                        const char *reason, struct banyan_emitter *out)
{
    struct order_confirmed confirmed = {order_id, banyan_decimal_null()};
    struct order_shipped shipped = {order_id};
    struct order_completed completed = {order_id};
    struct order_canceled canceled = {order_id, BANYAN_STR("")};
    struct order_status_noted noted = {order_id, text_or_empty(status)};

    if (text_is(status, ORDER_STATUS_CANCELED))
        mapping_emit(out, ORDER_CANCELED, &canceled, at, reason);
    else if (timed && text_is(status, ORDER_STATUS_APPROVED))
        mapping_emit(out, ORDER_CONFIRMED, &confirmed, at, reason);
    else if (timed && text_is(status, ORDER_STATUS_SHIPPED))
        mapping_emit(out, ORDER_SHIPPED, &shipped, at, reason);
    else if (timed && text_is(status, ORDER_STATUS_DELIVERED))
        mapping_emit(out, ORDER_COMPLETED, &completed, at, reason);
    else
        mapping_emit(out, ORDER_STATUS_NOTED, &noted, at, reason);
}

/* The columns that keep the time of a status. */
enum { TIMED_STATUS_COUNT = 4 };

static void timed_statuses(const struct order_row *row, struct mapping_step ret[TIMED_STATUS_COUNT])
{
    ret[0] = (struct mapping_step){BANYAN_STR(ORDER_STATUS_APPROVED), row->approved_at, NULL};
    ret[1] = (struct mapping_step){BANYAN_STR(ORDER_STATUS_SHIPPED), row->shipped_at, NULL};
    ret[2] = (struct mapping_step){BANYAN_STR(ORDER_STATUS_DELIVERED), row->delivered_at, NULL};
    ret[3] = (struct mapping_step){BANYAN_STR(ORDER_STATUS_CANCELED), row->canceled_at, NULL};
}

static bool has_step(const struct mapping_step *steps, size_t count, struct banyan_str name)
{
    for (size_t i = 0; i < count; i++)
        if (banyan_str_equal(steps[i].name, name))
            return true;
    return false;
}

/* ---- the whole of an order ---- */

/* All that is known of an order that is told from its beginning. */
struct whole {
    const struct order_row *row;
    struct banyan_list lines; /* of order_line */
    const void *const *statuses;
    size_t status_count;
};

/* The time of the last thing that is known of the order. */
static struct banyan_time last_time(const struct order_row *row, const struct mapping_step *steps, size_t count)
{
    struct banyan_time last = row->placed_at;

    for (size_t i = 0; i < count; i++)
        if (time_is_known(steps[i].at) && steps[i].at.us > last.us)
            last = steps[i].at;
    return last;
}

static void tell_placed(const struct whole *whole, const char *reason, struct banyan_emitter *out)
{
    const struct order_row *row = whole->row;
    struct order_placed placed = {
        .order_id = row->order_id,
        .customer_id = row->customer_id,
        .customer = text_or_empty(row->customer),
        .city = text_or_empty(row->city),
        .state = row->state,
        .external_id = row->external_id,
        .placed_at = time_or(time_or(row->placed_at, row->updated_at), (struct banyan_time){0}),
        .promised_at = row->promised_at,
        .lines = whole->lines,
        .items_total = row->items_total,
        .freight_total = row->freight_total,
    };

    mapping_emit(out, ORDER_PLACED, &placed, placed.placed_at,
                 time_is_known(row->placed_at) ? reason : "the application did not record when it was placed");
}

/* The statuses after the placing: those that were recorded, and those of which a column keeps the time. */
static size_t find_steps(const struct whole *whole, struct mapping_step *ret)
{
    struct mapping_step timed[TIMED_STATUS_COUNT];
    size_t count = 0, recorded;

    for (size_t i = 0; i < whole->status_count; i++) {
        const struct shop_status *status = whole->statuses[i];

        if (!text_is(status->status, ORDER_STATUS_CREATED))
            ret[count++] = (struct mapping_step){status->status, status->changed_at, status};
    }
    recorded = count;
    timed_statuses(whole->row, timed);
    for (size_t i = 0; i < TIMED_STATUS_COUNT; i++)
        if (time_is_known(timed[i].at) && !has_step(ret, recorded, timed[i].name))
            ret[count++] = timed[i];
    mapping_sort(ret, count);
    return count;
}

/* False: the row is so strange that it can only be reconciled. */
static bool tell_whole(const struct whole *whole, struct banyan_emitter *out)
{
    const struct order_row *row = whole->row;
    struct mapping_step *steps = banyan_arena_alloc(
        banyan_emitter_arena(out), (whole->status_count + TIMED_STATUS_COUNT) * sizeof(struct mapping_step));
    struct banyan_str status = BANYAN_STR(ORDER_STATUS_CREATED);
    size_t count;
    bool changed;

    if (!money_is_number(row->items_total) || !money_is_number(row->freight_total))
        return false;
    count = find_steps(whole, steps);
    changed = time_is_known(row->updated_at) && row->updated_at.us > last_time(row, steps, count).us &&
              (count == 0 ? text_is(row->status, ORDER_STATUS_CREATED)
                          : banyan_str_equal(steps[count - 1].name, row->status));
    tell_placed(whole, changed ? reason_changed : NULL, out);
    for (size_t i = 0; i < count; i++) {
        tell_status(row->order_id, steps[i].name, time_or(steps[i].at, row->updated_at), true,
                    time_is_known(steps[i].at) ? NULL : reason_no_time, out);
        status = steps[i].name;
    }
    if (!banyan_str_equal(status, row->status))
        tell_status(row->order_id, row->status, row->updated_at, false,
                    has_step(steps, count, row->status) ? reason_overtaken : reason_no_time, out);
    return true;
}

/* ---- anomalies ---- */

static void note(const struct order_row *row, const char *kind, struct banyan_emitter *out)
{
    struct order_anomaly_noted noted = {row->order_id, banyan_str_of(kind)};

    mapping_emit(out, ORDER_ANOMALY_NOTED, &noted, time_or(row->updated_at, row->placed_at), reason_anomaly);
}

static void note_times(const struct order_row *row, struct banyan_emitter *out)
{
    if (!time_is_known(row->shipped_at))
        return;
    if (time_is_known(row->approved_at) && row->shipped_at.us < row->approved_at.us)
        note(row, ORDER_ANOMALY_SHIPPED_BEFORE_APPROVAL, out);
    if (time_is_known(row->placed_at) && row->shipped_at.us < row->placed_at.us)
        note(row, ORDER_ANOMALY_SHIPPED_BEFORE_PLACEMENT, out);
}

static void note_lines(const struct order_row *row, const struct banyan_list *list, struct banyan_emitter *out)
{
    const struct order_line *lines = list->items;

    if (list->count == 0)
        note(row, ORDER_ANOMALY_NO_LINES, out);
    for (size_t i = 1; i < list->count; i++)
        if (lines[i].seller_id != lines[0].seller_id) {
            note(row, ORDER_ANOMALY_SEVERAL_SELLERS, out);
            break;
        }
}

static void note_payments(const struct order_row *row, bool has_lines, const void *const *payments, size_t count,
                          struct banyan_emitter *out)
{
    __int128 paid = 0, kept = 0, total = money_units(row->items_total) + money_units(row->freight_total);

    for (size_t i = 0; i < count; i++) {
        const struct shop_paid *payment = payments[i];

        paid += money_units(payment->amount);
        if (!text_is(payment->status, "voided"))
            kept += money_units(payment->amount) - money_units(payment->refunded);
    }
    if (count == 0)
        note(row, ORDER_ANOMALY_NO_PAYMENT, out);
    if (count > 1)
        note(row, ORDER_ANOMALY_SEVERAL_PAYMENTS, out);
    if (has_lines && count > 0 && paid != total)
        note(row, ORDER_ANOMALY_PAID_DIFFERS, out);
    if (kept > 0 && text_is(row->status, ORDER_STATUS_CANCELED))
        note(row, ORDER_ANOMALY_CANCELED_BUT_PAID, out);
    if (kept > 0 && text_is(row->status, ORDER_STATUS_UNAVAILABLE))
        note(row, ORDER_ANOMALY_UNAVAILABLE_BUT_PAID, out);
}

/* ---- history ---- */

void shop_order_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    size_t count = rows->row_count[TABLE_ITEMS];
    struct order_line *lines = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*lines));
    struct whole whole = {rows->root, {lines, count}, rows->rows[TABLE_STATUSES], rows->row_count[TABLE_STATUSES]};

    if (rows->root == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        lines[i] = line_of(rows->rows[TABLE_ITEMS][i]);
    if (!tell_whole(&whole, out))
        return;
    note_times(whole.row, out);
    note_lines(whole.row, &whole.lines, out);
    note_payments(whole.row, count > 0, rows->rows[TABLE_PAYMENTS], rows->row_count[TABLE_PAYMENTS], out);
}

/* ---- capture ---- */

/* The lines while the changes of a transaction are applied to them. */
struct line_set {
    struct order_line *lines, *removed;
    size_t count, removed_count;
    bool changed;
};

static void line_set(struct line_set *set, const struct shop_item *item)
{
    struct order_line line = line_of(item);

    set->changed = true;
    for (size_t i = 0; i < set->count; i++)
        if (set->lines[i].line_id == line.line_id) {
            set->lines[i] = line;
            return;
        }
    set->lines[set->count++] = line;
}

static void line_remove(struct line_set *set, int64_t line_id)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->lines[i].line_id == line_id) {
            set->removed[set->removed_count++] = set->lines[i];
            memmove(&set->lines[i], &set->lines[i + 1], (set->count - i - 1) * sizeof(set->lines[0]));
            set->count--;
            set->changed = true;
            return;
        }
}

static struct line_set lines_after(const struct banyan_list *before, const struct banyan_change *changes, size_t count,
                                   struct banyan_arena *arena)
{
    size_t room = before->count + count + 1;
    struct line_set set = {.lines = banyan_arena_alloc(arena, room * sizeof(struct order_line)),
                           .removed = banyan_arena_alloc(arena, room * sizeof(struct order_line)),
                           .count = before->count};

    if (before->count > 0)
        memcpy(set.lines, before->items, before->count * sizeof(struct order_line));
    for (size_t i = 0; i < count; i++) {
        const struct shop_item *old = changes[i].old, *new = changes[i].new;

        if (changes[i].table != TABLE_ITEMS)
            continue;
        if (old != NULL && (new == NULL || new->item_id != old->item_id))
            line_remove(&set, old->item_id);
        if (new != NULL)
            line_set(&set, new);
    }
    return set;
}

static void tell_lines(const struct order_row *row, const struct line_set *set, struct banyan_time at,
                       const char *reason, struct banyan_emitter *out)
{
    struct order_lines_changed changed = {row->order_id,
                                          {set->lines, set->count},
                                          {set->removed, set->removed_count},
                                          row->items_total,
                                          row->freight_total};

    if (money_is_number(row->items_total) && money_is_number(row->freight_total))
        mapping_emit(out, ORDER_LINES_CHANGED, &changed, at, reason);
}

static void update(const struct order *order, const struct order_row *old, const struct order_row *new,
                   struct banyan_emitter *out)
{
    struct order_address_changed moved = {.order_id = new->order_id,
                                          .customer = text_or_empty(new->customer),
                                          .city = text_or_empty(new->city),
                                          .state = new->state,
                                          .address = order->address,
                                          .postal_code = order->postal_code,
                                          .country = order->country};
    struct mapping_step before[TIMED_STATUS_COUNT], after[TIMED_STATUS_COUNT];
    struct banyan_str status = old->status;

    if (!banyan_str_equal(old->customer, new->customer) || !banyan_str_equal(old->city, new->city) ||
        !banyan_str_equal(old->state, new->state))
        mapping_emit(out, ORDER_ADDRESS_CHANGED, &moved, new->updated_at, NULL);
    timed_statuses(old, before);
    timed_statuses(new, after);
    for (size_t i = 0; i < TIMED_STATUS_COUNT; i++)
        if (time_is_known(after[i].at) && before[i].at.us != after[i].at.us) {
            tell_status(new->order_id, after[i].name, after[i].at, true, NULL, out);
            status = after[i].name;
        }
    if (!banyan_str_equal(status, new->status))
        tell_status(new->order_id, new->status, new->updated_at, false,
                    text_is(new->status, ORDER_STATUS_CANCELED) ? reason_no_time : NULL, out);
}

/* An order that was not known before, as the transaction left it. */
static void insert(const struct order_row *row, const struct banyan_change *changes, size_t count,
                   struct banyan_emitter *out)
{
    struct banyan_arena *arena = banyan_emitter_arena(out);
    struct line_set set = lines_after(&(struct banyan_list){NULL, 0}, changes, count, arena);
    const void **statuses = banyan_arena_alloc(arena, (count + 1) * sizeof(*statuses));
    struct whole whole = {row, {set.lines, set.count}, statuses, 0};

    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_STATUSES && changes[i].kind == BANYAN_CHANGE_INSERT)
            statuses[whole.status_count++] = changes[i].new;
    (void)tell_whole(&whole, out); /* what it cannot tell is reconciled */
}

void shop_order_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                        struct banyan_emitter *out)
{
    const struct order *order = state;
    const struct order_row *last = NULL;
    struct line_set set;

    (void)key; /* it is in the row */
    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_ORDERS)
            last = changes[i].new;
    if (!exists || !order->exists) {
        if (last != NULL)
            insert(last, changes, count, out);
        return;
    }
    set = lines_after(&order->lines, changes, count, banyan_emitter_arena(out));
    if (set.changed && last != NULL)
        tell_lines(last, &set, last->updated_at, NULL, out);
    else if (set.changed)
        tell_lines(&order->row, &set, order->row.updated_at, "the order itself does not tell of the change", out);
    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_ORDERS && changes[i].kind == BANYAN_CHANGE_UPDATE)
            update(order, changes[i].old, changes[i].new, out);
}

/* ---- the proof ---- */

struct banyan_str shop_order_status(struct banyan_str status)
{
    return text_is(status, ORDER_STATUS_REJECTED) ? BANYAN_STR(ORDER_STATUS_CANCELED) : status;
}

bool shop_order_row(const void *state, void *ret_row)
{
    const struct order *order = state;
    struct order_row *row = ret_row;

    if (!order->exists)
        return false;
    *row = order->row;
    row->status = shop_order_status(row->status);
    return true;
}

static const char *reason_of(const struct order_row *row, uint64_t columns)
{
    if (columns == mapping_column(&commerce_order_row, "canceled_at") && !time_is_known(row->canceled_at))
        return "the application did not record when it was canceled";
    if (columns == mapping_column(&commerce_order_row, "updated_at"))
        return "no recorded change explains updated_at";
    return NULL;
}

void shop_order_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                          struct banyan_emitter *out)
{
    const struct order *order = state;
    struct order_reconciled reconciled = {
        .row = order->row, .lines = order->lines, .fields = BANYAN_STR(""), .removed = legacy == NULL};
    uint64_t columns = 0;

    if (legacy == NULL) {
        reconciled.row.order_id = key;
        mapping_emit_reconciled(out, ORDER_RECONCILED, &reconciled, now, "the legacy table has no such row any more");
        return;
    }
    reconciled.row = *(const struct order_row *)legacy;
    if (order->exists) {
        columns = banyan_record_diff(&commerce_order_row, &order->row, legacy);
        reconciled.fields = mapping_columns(&commerce_order_row, columns, banyan_emitter_arena(out));
    }
    mapping_emit_reconciled(out, ORDER_RECONCILED, &reconciled,
                            mapping_difference_time(order->row.updated_at, reconciled.row.updated_at, now),
                            reason_of(&reconciled.row, columns));
}
