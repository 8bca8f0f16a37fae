/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model fulfillment_queue: what each warehouse has to do, and who is at it.
 *
 * It only shows jobs.  Who gets one is decided by LeaseJob on the fulfillment itself: a worker that reads an old list
 * and asks for a job that is gone is refused, and takes the next.
 */
#include <stdio.h>

#include "events.h"
#include "read_models.h"

enum {
    WAREHOUSE_TEXT_MAX = 24,
};

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct queue_row, state.row.name), scale, NULL},
#define JOB_FIELD(kind, name, flags)                                                                                   \
    {                                                                                                                  \
#name, BANYAN_FIELD_##kind, flags, offsetof(struct queue_row, state.name), 0, NULL                             \
    }

static const struct banyan_field fields[] = {
    SHIPMENT_ROW_COLUMNS(ROW_FIELD) JOB_FIELD(STRING, job, 0),
    JOB_FIELD(TIME, ready_at, BANYAN_FIELD_OPTIONAL),
    JOB_FIELD(STRING, worker, 0),
    JOB_FIELD(TIME, lease_until, BANYAN_FIELD_OPTIONAL),
    JOB_FIELD(INT, attempts, 0),
    JOB_FIELD(INT, packages, 0),
    BANYAN_FIELD_INT(struct queue_row, lines, 0),
    BANYAN_FIELD_INT(struct queue_row, units, 0),
    BANYAN_FIELD_STRING(struct queue_row, queue, BANYAN_FIELD_OPTIONAL),
};

const struct banyan_record commerce_queue_row = {"FulfillmentQueue", sizeof(struct queue_row), fields,
                                                 COMMERCE_COUNT(fields)};

static const struct banyan_view_index indexes[] = {
    {"by_queue", "queue", "ready_at"},
    {"by_warehouse", "warehouse_id", "ready_at"},
    {"by_status", "status", "created_at"},
};

const struct banyan_table commerce_fulfillment_queue_tables[1] = {
    {"fulfillment_queue", &commerce_queue_row, "shipment_id", indexes, COMMERCE_COUNT(indexes), NULL},
};

static void count_lines(struct queue_row *row, const struct banyan_list *lines)
{
    row->lines = (int64_t)lines->count;
    row->units = 0;
    for (size_t i = 0; i < lines->count; i++)
        row->units = count_add(row->units, ((const struct fulfillment_line *)lines->items)[i].quantity);
}

void commerce_fulfillment_queue_apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct queue_row *before = banyan_unit_get(unit, 0, event->key);
    char warehouse[WAREHOUSE_TEXT_MAX];
    struct queue_row row;
    bool open;

    banyan_record_init(&commerce_queue_row, &row);
    if (before != NULL)
        row = *before;
    row.state.lines = (struct banyan_list){NULL, 0};
    row.state.exists = before != NULL;
    commerce_fulfillment_evolve(&row.state, event->type, event->payload, event->at);
    if (!row.state.exists) {
        if (before != NULL)
            banyan_unit_delete(unit, 0, event->key);
        return;
    }
    if (event->type == FULFILLMENT_CREATED)
        count_lines(&row, &row.state.lines);
    open = text_is(row.state.job, JOB_STATUS_READY) || text_is(row.state.job, JOB_STATUS_LEASED);
    row.queue = (struct banyan_str){NULL, 0};
    if (open)
        row.queue = (struct banyan_str){
            warehouse, (size_t)snprintf(warehouse, sizeof(warehouse), "%lld", (long long)row.state.row.warehouse_id)};
    row.state.lines = (struct banyan_list){NULL, 0};
    banyan_unit_put(unit, 0, event->key, &row);
}
