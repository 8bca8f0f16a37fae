/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of a fulfillment and its job.  Any event is accepted at any time. */
#include "fulfillment.h"

#define STATE_FIELD(kind, name, flags, scale)                                                                          \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct fulfillment, row.name), scale, NULL},

static const struct banyan_field state_fields[] = {
    SHIPMENT_ROW_COLUMNS(STATE_FIELD) BANYAN_FIELD_LIST_OF(struct fulfillment, lines, &commerce_fulfillment_line),
    BANYAN_FIELD_INT(struct fulfillment, packages, 0),
    BANYAN_FIELD_STRING(struct fulfillment, job, 0),
    BANYAN_FIELD_TIME(struct fulfillment, ready_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct fulfillment, worker, 0),
    BANYAN_FIELD_TIME(struct fulfillment, lease_until, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct fulfillment, attempts, 0),
    BANYAN_FIELD_BOOL(struct fulfillment, exists, 0),
};

const struct banyan_record commerce_fulfillment_state = {"FulfillmentState", sizeof(struct fulfillment), state_fields,
                                                         COMMERCE_COUNT(state_fields)};

static void create(struct fulfillment *fulfillment, const struct fulfillment_created *created, struct banyan_time at)
{
    struct shipment_row *row = &fulfillment->row;

    fulfillment->exists = true;
    fulfillment->lines = created->lines;
    row->shipment_id = created->fulfillment_id;
    row->order_id = created->order_id;
    row->seller_id = created->seller_id;
    row->status = BANYAN_STR(FULFILLMENT_STATUS_CREATED);
    row->created_at = at;
}

static void assign(struct fulfillment *fulfillment, const struct fulfillment_assigned *assigned, struct banyan_time at)
{
    fulfillment->row.warehouse_id = assigned->warehouse_id;
    fulfillment->row.status = BANYAN_STR(FULFILLMENT_STATUS_ASSIGNED);
    fulfillment->job = BANYAN_STR(JOB_STATUS_READY);
    fulfillment->ready_at = at;
    fulfillment->worker = BANYAN_STR("");
    fulfillment->lease_until = COMMERCE_NO_TIME;
    fulfillment->attempts = 0;
}

static void end_job(struct fulfillment *fulfillment)
{
    fulfillment->job = BANYAN_STR(JOB_STATUS_DONE);
    fulfillment->lease_until = COMMERCE_NO_TIME;
}

static void ship(struct shipment_row *row, const struct fulfillment_shipped *shipped, struct banyan_time at)
{
    row->status = BANYAN_STR(FULFILLMENT_STATUS_SHIPPED);
    row->carrier = shipped->carrier;
    row->tracking = shipped->tracking;
    row->shipped_at = at;
}

static void lease(struct fulfillment *fulfillment, const struct job_leased *leased)
{
    fulfillment->job = BANYAN_STR(JOB_STATUS_LEASED);
    fulfillment->worker = leased->worker;
    fulfillment->lease_until = leased->until;
    fulfillment->attempts = leased->attempt;
}

static void release(struct fulfillment *fulfillment, const struct job_released *released)
{
    fulfillment->job = BANYAN_STR(JOB_STATUS_READY);
    fulfillment->worker = BANYAN_STR("");
    fulfillment->lease_until = COMMERCE_NO_TIME;
    fulfillment->ready_at = released->retry_at;
}

/* The events of the shipment itself; those of the job leave the row alone, a legacy table knows nothing of them. */
static bool evolve_shipment(struct fulfillment *fulfillment, enum commerce_event type, const void *payload,
                            struct banyan_time at)
{
    struct shipment_row *row = &fulfillment->row;

    switch (type) {
    case FULFILLMENT_CREATED:
        create(fulfillment, payload, at);
        return true;
    case FULFILLMENT_ASSIGNED:
        assign(fulfillment, payload, at);
        return true;
    case FULFILLMENT_PACKED:
        fulfillment->packages = ((const struct fulfillment_packed *)payload)->packages;
        row->status = BANYAN_STR(FULFILLMENT_STATUS_PACKED);
        row->packed_at = at;
        end_job(fulfillment);
        return true;
    case FULFILLMENT_SHIPPED:
        ship(row, payload, at);
        end_job(fulfillment);
        return true;
    case FULFILLMENT_DELIVERED:
        row->status = BANYAN_STR(FULFILLMENT_STATUS_DELIVERED);
        row->delivered_at = at;
        return true;
    case FULFILLMENT_CANCELED:
        row->status = BANYAN_STR(FULFILLMENT_STATUS_CANCELED);
        row->canceled_at = at;
        end_job(fulfillment);
        return true;
    default:
        return false;
    }
}

void commerce_fulfillment_evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct fulfillment *fulfillment = state;
    const struct fulfillment_reconciled *reconciled;

    switch ((enum commerce_event)type) {
    case JOB_LEASED:
        lease(fulfillment, payload);
        break;
    case JOB_ACKNOWLEDGED:
        end_job(fulfillment);
        break;
    case JOB_RELEASED:
        release(fulfillment, payload);
        break;
    case FULFILLMENT_RECONCILED:
        reconciled = payload;
        fulfillment->row = reconciled->row;
        fulfillment->exists = !reconciled->removed;
        break;
    default:
        if (evolve_shipment(fulfillment, (enum commerce_event)type, payload, at))
            fulfillment->row.updated_at = at;
        break;
    }
}
