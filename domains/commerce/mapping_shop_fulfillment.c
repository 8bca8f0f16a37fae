/* SPDX-License-Identifier: Apache-2.0 */
/* Shipments of the shop: a column for the time of each step, and the lines that point at the shipment. */
#include "fulfillment.h"
#include "mapping.h"
#include "mapping_shop.h"

enum { TABLE_SHIPMENTS, TABLE_ITEMS = SHOP_FULFILLMENT_ITEMS, TABLE_COUNT = SHOP_FULFILLMENT_TABLE_COUNT };

static const char *const item_order[] = {"item_id", NULL};

const struct banyan_legacy_table shop_fulfillment_tables[TABLE_COUNT] = {
    [TABLE_SHIPMENTS] = {"shipments", &commerce_shipment_row, "shipment_id", NULL},
    [TABLE_ITEMS] = {"order_items", &shop_item_record, "shipment_id", item_order, .row_columns = item_order},
};

static const char reason_no_time[] = "the application did not record when this status came";

static void tell_created(const struct shipment_row *row, const struct banyan_list *lines, struct banyan_emitter *out)
{
    struct fulfillment_created created = {row->shipment_id, row->order_id, row->seller_id, *lines};
    struct fulfillment_assigned assigned = {row->shipment_id, row->order_id, row->warehouse_id};

    mapping_emit(out, FULFILLMENT_CREATED, &created, row->created_at, NULL);
    if (row->warehouse_id != 0)
        mapping_emit(out, FULFILLMENT_ASSIGNED, &assigned, row->created_at, NULL);
}

/* False: the status is none that an event leads to. */
static bool tell_step(const struct shipment_row *row, struct banyan_str status, struct banyan_time at,
                      const char *reason, struct banyan_emitter *out)
{
    struct fulfillment_packed packed = {row->shipment_id, row->order_id, 1};
    struct fulfillment_shipped shipped = {row->shipment_id, row->order_id, row->carrier, row->tracking};
    struct fulfillment_delivered delivered = {row->shipment_id, row->order_id};
    struct fulfillment_canceled canceled = {row->shipment_id, row->order_id, BANYAN_STR("")};

    if (text_is(status, FULFILLMENT_STATUS_PACKED))
        mapping_emit(out, FULFILLMENT_PACKED, &packed, at, reason);
    else if (text_is(status, FULFILLMENT_STATUS_SHIPPED))
        mapping_emit(out, FULFILLMENT_SHIPPED, &shipped, at, reason);
    else if (text_is(status, FULFILLMENT_STATUS_DELIVERED))
        mapping_emit(out, FULFILLMENT_DELIVERED, &delivered, at, reason);
    else if (text_is(status, FULFILLMENT_STATUS_CANCELED))
        mapping_emit(out, FULFILLMENT_CANCELED, &canceled, at, reason);
    else
        return false;
    return true;
}

/* The steps from *old* to *new*, by time, and the status where no time tells of it. */
static void tell_steps(const struct shipment_row *old, const struct shipment_row *new, struct banyan_emitter *out)
{
    const struct mapping_step all[] = {
        {BANYAN_STR(FULFILLMENT_STATUS_PACKED), new->packed_at, &old->packed_at},
        {BANYAN_STR(FULFILLMENT_STATUS_SHIPPED), new->shipped_at, &old->shipped_at},
        {BANYAN_STR(FULFILLMENT_STATUS_DELIVERED), new->delivered_at, &old->delivered_at},
        {BANYAN_STR(FULFILLMENT_STATUS_CANCELED), new->canceled_at, &old->canceled_at},
    };
    struct mapping_step steps[COMMERCE_COUNT(all)];
    struct banyan_str status = old->status;
    size_t count = 0;

    for (size_t i = 0; i < COMMERCE_COUNT(all); i++)
        if (time_is_known(all[i].at) && ((const struct banyan_time *)all[i].row)->us != all[i].at.us)
            steps[count++] = all[i];
    mapping_sort(steps, count);
    for (size_t i = 0; i < count; i++) {
        (void)tell_step(new, steps[i].name, steps[i].at, NULL, out); /* all of them have an event */
        status = steps[i].name;
    }
    if (!banyan_str_equal(status, new->status))
        (void)tell_step(new, new->status, new->updated_at, reason_no_time, out); /* else it is reconciled */
}

static struct fulfillment_line line_of(const struct shop_item *item)
{
    return (struct fulfillment_line){item->item_id, item->product_id, item->stock_id, item->quantity};
}

static void tell(const struct shipment_row *row, const struct banyan_list *lines, struct banyan_emitter *out)
{
    struct shipment_row begun = {.status = row->warehouse_id != 0 ? BANYAN_STR(FULFILLMENT_STATUS_ASSIGNED)
                                                                  : BANYAN_STR(FULFILLMENT_STATUS_CREATED),
                                 .packed_at = COMMERCE_NO_TIME,
                                 .shipped_at = COMMERCE_NO_TIME,
                                 .delivered_at = COMMERCE_NO_TIME,
                                 .canceled_at = COMMERCE_NO_TIME};

    tell_created(row, lines, out);
    tell_steps(&begun, row, out);
}

void shop_fulfillment_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    size_t count = rows->row_count[TABLE_ITEMS];
    struct fulfillment_line *lines = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*lines));

    if (rows->root == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        lines[i] = line_of(rows->rows[TABLE_ITEMS][i]);
    tell(rows->root, &(struct banyan_list){lines, count}, out);
}

/* A shipment that was not known before, as the transaction left it. */
static void insert(const struct banyan_change *changes, size_t count, struct banyan_emitter *out)
{
    struct fulfillment_line *lines = banyan_arena_alloc(banyan_emitter_arena(out), (count + 1) * sizeof(*lines));
    const struct shipment_row *row = NULL;
    size_t line_count = 0;

    for (size_t i = 0; i < count; i++)
        if (changes[i].table == TABLE_SHIPMENTS)
            row = changes[i].new;
        else if (changes[i].kind == BANYAN_CHANGE_INSERT)
            lines[line_count++] = line_of(changes[i].new);
    if (row != NULL)
        tell(row, &(struct banyan_list){lines, line_count}, out);
}

void shop_fulfillment_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes,
                              size_t count, struct banyan_emitter *out)
{
    const struct fulfillment *fulfillment = state;

    (void)key; /* it is in the row */
    if (!exists || !fulfillment->exists) {
        insert(changes, count, out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct shipment_row *old = changes[i].old, *new = changes[i].new;

        if (changes[i].table != TABLE_SHIPMENTS || changes[i].kind != BANYAN_CHANGE_UPDATE)
            continue;
        if (old->warehouse_id != new->warehouse_id) {
            struct fulfillment_assigned assigned = {new->shipment_id, new->order_id, new->warehouse_id};

            mapping_emit(out, FULFILLMENT_ASSIGNED, &assigned, new->updated_at, NULL);
        }
        tell_steps(old, new, out);
    }
}

bool shop_fulfillment_row(const void *state, void *ret_row)
{
    const struct fulfillment *fulfillment = state;
    struct shipment_row *row = ret_row;

    if (!fulfillment->exists)
        return false;
    *row = fulfillment->row;
    if (text_is(row->status, FULFILLMENT_STATUS_CREATED)) /* the shop has no such word */
        row->status = BANYAN_STR(FULFILLMENT_STATUS_ASSIGNED);
    return true;
}

void shop_fulfillment_reconcile(const void *state, int64_t key, const void *legacy, struct banyan_time now,
                                struct banyan_emitter *out)
{
    const struct fulfillment *fulfillment = state;
    struct fulfillment_reconciled reconciled = {
        .row = fulfillment->row,
        .fields = BANYAN_STR(""),
        .removed = legacy == NULL,
        .status_before = fulfillment->exists ? text_or_empty(fulfillment->row.status) : BANYAN_STR(""),
    };
    uint64_t columns = 0;

    if (legacy == NULL) {
        reconciled.row.shipment_id = key;
        mapping_emit_reconciled(out, FULFILLMENT_RECONCILED, &reconciled, now,
                                "the legacy table has no such row any more");
        return;
    }
    reconciled.row = *(const struct shipment_row *)legacy;
    if (fulfillment->exists) {
        columns = banyan_record_diff(&commerce_shipment_row, &fulfillment->row, legacy);
        reconciled.fields = mapping_columns(&commerce_shipment_row, columns, banyan_emitter_arena(out));
    }
    mapping_emit_reconciled(out, FULFILLMENT_RECONCILED, &reconciled,
                            mapping_difference_time(fulfillment->row.updated_at, reconciled.row.updated_at, now),
                            columns == mapping_column(&commerce_shipment_row, "canceled_at") &&
                                    !time_is_known(reconciled.row.canceled_at)
                                ? "the application did not record when it was canceled"
                                : NULL);
}
