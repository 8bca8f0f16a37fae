/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions on fulfillments and their jobs; fulfillment.h has the drawings.
 *
 * Invariants
 *   1. Steps go forward only; shipped and delivered cannot be canceled any more.
 *   2. While a lease has not run out, nobody but its worker can lease, acknowledge or release the job.
 *   3. What has happened already gives no event: a command may be repeated.
 */
#include "fulfillment.h"

enum {
    WORKER_BYTES_MAX = 200,
    LINES_MAX = 500,
};

static const struct banyan_field create_fields[] = {
    BANYAN_FIELD_INT(struct create_fulfillment, order_id, 0),
    BANYAN_FIELD_INT(struct create_fulfillment, seller_id, 0),
    BANYAN_FIELD_LIST_OF(struct create_fulfillment, lines, &commerce_fulfillment_line),
};

static const struct banyan_field assign_fields[] = {
    BANYAN_FIELD_INT(struct assign_warehouse, warehouse_id, 0),
};

static const struct banyan_field pack_fields[] = {
    BANYAN_FIELD_INT(struct pack_fulfillment, packages, 0),
};

static const struct banyan_field ship_fields[] = {
    BANYAN_FIELD_STRING(struct ship_fulfillment, carrier, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct ship_fulfillment, tracking, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field cancel_fields[] = {
    BANYAN_FIELD_STRING(struct cancel_fulfillment, reason, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field lease_fields[] = {
    BANYAN_FIELD_STRING(struct lease_job, worker, 0),
    BANYAN_FIELD_TIME(struct lease_job, until, 0),
};

static const struct banyan_field acknowledge_fields[] = {
    BANYAN_FIELD_STRING(struct acknowledge_job, worker, 0),
};

static const struct banyan_field release_fields[] = {
    BANYAN_FIELD_STRING(struct release_job, worker, 0),
    BANYAN_FIELD_STRING(struct release_job, reason, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct release_job, retry_at, BANYAN_FIELD_OPTIONAL),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record records[FULFILLMENT_COMMAND_COUNT] = {
    [FULFILLMENT_CREATE] = RECORD("CreateFulfillment", struct create_fulfillment, create_fields),
    [FULFILLMENT_ASSIGN] = RECORD("AssignWarehouse", struct assign_warehouse, assign_fields),
    [FULFILLMENT_PACK] = RECORD("PackFulfillment", struct pack_fulfillment, pack_fields),
    [FULFILLMENT_SHIP] = RECORD("ShipFulfillment", struct ship_fulfillment, ship_fields),
    [FULFILLMENT_DELIVER] = {"DeliverFulfillment", 0, NULL, 0},
    [FULFILLMENT_CANCEL] = RECORD("CancelFulfillment", struct cancel_fulfillment, cancel_fields),
    [JOB_LEASE] = RECORD("LeaseJob", struct lease_job, lease_fields),
    [JOB_ACKNOWLEDGE] = RECORD("AcknowledgeJob", struct acknowledge_job, acknowledge_fields),
    [JOB_RELEASE] = RECORD("ReleaseJob", struct release_job, release_fields),
};

const struct banyan_command_type commerce_fulfillment_commands[FULFILLMENT_COMMAND_COUNT] = {
    [FULFILLMENT_CREATE] = {"CreateFulfillment", &records[FULFILLMENT_CREATE]},
    [FULFILLMENT_ASSIGN] = {"AssignWarehouse", &records[FULFILLMENT_ASSIGN]},
    [FULFILLMENT_PACK] = {"PackFulfillment", &records[FULFILLMENT_PACK]},
    [FULFILLMENT_SHIP] = {"ShipFulfillment", &records[FULFILLMENT_SHIP]},
    [FULFILLMENT_DELIVER] = {"DeliverFulfillment", &records[FULFILLMENT_DELIVER]},
    [FULFILLMENT_CANCEL] = {"CancelFulfillment", &records[FULFILLMENT_CANCEL]},
    [JOB_LEASE] = {"LeaseJob", &records[JOB_LEASE]},
    [JOB_ACKNOWLEDGE] = {"AcknowledgeJob", &records[JOB_ACKNOWLEDGE]},
    [JOB_RELEASE] = {"ReleaseJob", &records[JOB_RELEASE]},
};

/* ---- how far it got ---- */

enum phase {
    PHASE_NONE = 0,
    PHASE_CREATED,
    PHASE_ASSIGNED,
    PHASE_PACKED,
    PHASE_SHIPPED,
    PHASE_DELIVERED,
    PHASE_CANCELED,
    PHASE_COUNT,
};

static const struct {
    const char *status, *code, *text;
} phases[PHASE_COUNT] = {
    [PHASE_CREATED] = {FULFILLMENT_STATUS_CREATED, "fulfillment-not-assigned", "no warehouse is assigned yet"},
    [PHASE_ASSIGNED] = {FULFILLMENT_STATUS_ASSIGNED, "fulfillment-not-packed", "the fulfillment is not packed yet"},
    [PHASE_PACKED] = {FULFILLMENT_STATUS_PACKED, "fulfillment-packed",
                      "the fulfillment is packed, and not shipped yet"},
    [PHASE_SHIPPED] = {FULFILLMENT_STATUS_SHIPPED, "fulfillment-shipped", "the fulfillment is shipped already"},
    [PHASE_DELIVERED] = {FULFILLMENT_STATUS_DELIVERED, "fulfillment-delivered", "the fulfillment is delivered already"},
    [PHASE_CANCELED] = {FULFILLMENT_STATUS_CANCELED, "fulfillment-canceled", "the fulfillment is canceled"},
};

static enum phase phase_of(const struct fulfillment *fulfillment)
{
    for (enum phase phase = PHASE_CREATED; fulfillment->exists && phase < PHASE_COUNT; phase++) {
        if (text_is(fulfillment->row.status, phases[phase].status))
            return phase;
    }
    return PHASE_NONE;
}

static bool refuse_phase(const struct fulfillment *fulfillment, enum phase phase, struct banyan_refusal *ret)
{
    if (!fulfillment->exists)
        return commerce_refuse(ret, "fulfillment-unknown", "there is no such fulfillment");
    if (phase == PHASE_NONE)
        return commerce_refuse(ret, "fulfillment-status-unknown",
                               "the fulfillment has a status that this program does not know");
    return commerce_refuse(ret, phases[phase].code, phases[phase].text);
}

/* ---- the shipment ---- */

static bool same_lines(const struct banyan_list *a, const struct banyan_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (banyan_record_diff(&commerce_fulfillment_line, (const struct fulfillment_line *)a->items + i,
                               (const struct fulfillment_line *)b->items + i) != 0)
            return false;
    }
    return true;
}

static bool create(const struct fulfillment *fulfillment, bool exists, const struct banyan_command *command,
                   struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct create_fulfillment *create = command->fields;
    const struct fulfillment_line *lines = create->lines.items;
    struct fulfillment_created created = {
        .order_id = create->order_id, .seller_id = create->seller_id, .lines = create->lines};

    if (fulfillment->exists && fulfillment->row.order_id == create->order_id &&
        same_lines(&fulfillment->lines, &create->lines))
        return true;
    if (exists)
        return commerce_refuse(ret, "fulfillment-exists", "another fulfillment with this id was created before");
    if (!commerce_parse_key(command->key, &created.fulfillment_id))
        return commerce_refuse(ret, "fulfillment-id-invalid",
                               "the id of a fulfillment is a positive number of 64 bits");
    if (create->order_id <= 0)
        return commerce_refuse(ret, "order-id-invalid", "a fulfillment belongs to an order");
    if (create->lines.count == 0 || create->lines.count > LINES_MAX)
        return commerce_refuse(ret, "lines-missing", "a fulfillment has between 1 and 500 lines");
    for (size_t i = 0; i < create->lines.count; i++) {
        if (lines[i].line_id <= 0 || lines[i].quantity <= 0)
            return commerce_refuse(ret, "line-invalid", "a line of a fulfillment has an id and a quantity");
    }
    commerce_emit(out, command, FULFILLMENT_CREATED, &created);
    return true;
}

/* Also another warehouse, while nothing is packed. */
static bool assign(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                   struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct assign_warehouse *assign = command->fields;
    const struct shipment_row *row = &fulfillment->row;
    struct fulfillment_assigned assigned = {row->shipment_id, row->order_id, assign->warehouse_id};
    bool exhausted = fulfillment->attempts >= JOB_ATTEMPTS_MAX;

    if (assign->warehouse_id <= 0)
        return commerce_refuse(ret, "warehouse-invalid", "the id of a warehouse is a positive number");
    if (phase == PHASE_ASSIGNED && row->warehouse_id == assign->warehouse_id && !exhausted)
        return true;
    if (phase != PHASE_CREATED && phase != PHASE_ASSIGNED)
        return refuse_phase(fulfillment, phase, ret);
    commerce_emit(out, command, FULFILLMENT_ASSIGNED, &assigned);
    return true;
}

static bool pack(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                 struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct pack_fulfillment *pack = command->fields;
    struct fulfillment_packed packed = {fulfillment->row.shipment_id, fulfillment->row.order_id,
                                        pack->packages == 0 ? 1 : pack->packages};

    if (phase == PHASE_PACKED)
        return true;
    if (phase != PHASE_ASSIGNED)
        return refuse_phase(fulfillment, phase, ret);
    if (packed.packages < 0)
        return commerce_refuse(ret, "packages-invalid", "the number of packages is above 0");
    commerce_emit(out, command, FULFILLMENT_PACKED, &packed);
    return true;
}

static bool ship(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                 struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct ship_fulfillment *ship = command->fields;
    struct fulfillment_shipped shipped = {fulfillment->row.shipment_id, fulfillment->row.order_id, ship->carrier,
                                          ship->tracking};

    if (phase == PHASE_SHIPPED || phase == PHASE_DELIVERED)
        return true;
    if (phase != PHASE_PACKED)
        return refuse_phase(fulfillment, phase, ret);
    commerce_emit(out, command, FULFILLMENT_SHIPPED, &shipped);
    return true;
}

static bool deliver(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                    struct banyan_emitter *out, struct banyan_refusal *ret)
{
    struct fulfillment_delivered delivered = {fulfillment->row.shipment_id, fulfillment->row.order_id};

    if (phase == PHASE_DELIVERED)
        return true;
    if (phase != PHASE_SHIPPED)
        return refuse_phase(fulfillment, phase, ret);
    commerce_emit(out, command, FULFILLMENT_DELIVERED, &delivered);
    return true;
}

static bool cancel(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                   struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct cancel_fulfillment *cancel = command->fields;
    struct fulfillment_canceled canceled = {fulfillment->row.shipment_id, fulfillment->row.order_id,
                                            text_or_empty(cancel->reason)};

    if (phase == PHASE_CANCELED)
        return true;
    if (phase != PHASE_CREATED && phase != PHASE_ASSIGNED && phase != PHASE_PACKED)
        return refuse_phase(fulfillment, phase, ret);
    commerce_emit(out, command, FULFILLMENT_CANCELED, &canceled);
    return true;
}

/* ---- the job ---- */

/* A job that a worker can have something to do with. */
static bool check_job(const struct fulfillment *fulfillment, enum phase phase, struct banyan_str worker,
                      struct banyan_refusal *ret)
{
    if (worker.size == 0 || worker.size > WORKER_BYTES_MAX)
        return commerce_refuse(ret, "worker-invalid", "a worker has a name of 1 to 200 bytes");
    if (!fulfillment->exists || phase == PHASE_CREATED || phase == PHASE_NONE)
        return refuse_phase(fulfillment, phase, ret);
    if (phase == PHASE_CANCELED)
        return refuse_phase(fulfillment, phase, ret);
    return true;
}

static bool is_leased(const struct fulfillment *fulfillment, struct banyan_time now)
{
    return text_is(fulfillment->job, JOB_STATUS_LEASED) && fulfillment->lease_until.us > now.us;
}

/* The lease that a worker speaks of is not, or not any more, its own. */
static bool refuse_lost(struct banyan_refusal *ret)
{
    return commerce_refuse(ret, "lease-lost", "the worker has no lease on this job, or it ran out");
}

static bool lease(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                  struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct lease_job *lease = command->fields;
    struct job_leased leased = {fulfillment->row.shipment_id, fulfillment->row.order_id, lease->worker, lease->until,
                                fulfillment->attempts};
    bool held = is_leased(fulfillment, command->now);

    if (!check_job(fulfillment, phase, lease->worker, ret))
        return false;
    if (text_is(fulfillment->job, JOB_STATUS_DONE))
        return commerce_refuse(ret, "job-done", "the job is done");
    if (held && !banyan_str_equal(fulfillment->worker, lease->worker))
        return commerce_refuse(ret, "job-leased", "another worker has the job; try again when its lease ran out");
    if (held && lease->until.us == fulfillment->lease_until.us)
        return true;
    if (lease->until.us <= command->now.us || lease->until.us == BANYAN_TIME_INFINITY)
        return commerce_refuse(ret, "until-invalid", "a lease ends at a time in the future");
    if (!held && !time_is_null(fulfillment->ready_at) && fulfillment->ready_at.us > command->now.us)
        return commerce_refuse(ret, "job-not-ready", "the job was put off to a later time");
    if (!held && fulfillment->attempts >= JOB_ATTEMPTS_MAX)
        return commerce_refuse(ret, "job-exhausted",
                               "the job was tried 10 times; assign a warehouse again, or cancel the fulfillment");
    leased.attempt = held ? fulfillment->attempts : count_add(fulfillment->attempts, 1);
    commerce_emit(out, command, JOB_LEASED, &leased);
    return true;
}

static bool acknowledge(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                        struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct acknowledge_job *acknowledge = command->fields;
    struct job_acknowledged acknowledged = {fulfillment->row.shipment_id, fulfillment->row.order_id,
                                            acknowledge->worker};
    bool own = banyan_str_equal(fulfillment->worker, acknowledge->worker);

    if (!check_job(fulfillment, phase, acknowledge->worker, ret))
        return false;
    if (text_is(fulfillment->job, JOB_STATUS_DONE) && own)
        return true;
    if (!own || !is_leased(fulfillment, command->now))
        return refuse_lost(ret);
    commerce_emit(out, command, JOB_ACKNOWLEDGED, &acknowledged);
    return true;
}

static bool release(const struct fulfillment *fulfillment, enum phase phase, const struct banyan_command *command,
                    struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct release_job *release = command->fields;
    struct job_released released = {fulfillment->row.shipment_id, fulfillment->row.order_id, release->worker,
                                    text_or_empty(release->reason),
                                    time_is_null(release->retry_at) ? command->now : release->retry_at};

    if (!check_job(fulfillment, phase, release->worker, ret))
        return false;
    if (!banyan_str_equal(fulfillment->worker, release->worker) || !is_leased(fulfillment, command->now))
        return refuse_lost(ret);
    commerce_emit(out, command, JOB_RELEASED, &released);
    return true;
}

bool commerce_fulfillment_decide(const void *state, bool exists, const struct banyan_command *command,
                                 struct banyan_emitter *out, struct banyan_refusal *ret)
{
    const struct fulfillment *fulfillment = state;
    enum phase phase = phase_of(fulfillment);

    switch ((enum fulfillment_command)command->type) {
    case FULFILLMENT_CREATE:
        return create(fulfillment, exists, command, out, ret);
    case FULFILLMENT_ASSIGN:
        return assign(fulfillment, phase, command, out, ret);
    case FULFILLMENT_PACK:
        return pack(fulfillment, phase, command, out, ret);
    case FULFILLMENT_SHIP:
        return ship(fulfillment, phase, command, out, ret);
    case FULFILLMENT_DELIVER:
        return deliver(fulfillment, phase, command, out, ret);
    case FULFILLMENT_CANCEL:
        return cancel(fulfillment, phase, command, out, ret);
    case JOB_LEASE:
        return lease(fulfillment, phase, command, out, ret);
    case JOB_ACKNOWLEDGE:
        return acknowledge(fulfillment, phase, command, out, ret);
    case JOB_RELEASE:
        return release(fulfillment, phase, command, out, ret);
    case FULFILLMENT_COMMAND_COUNT:
        break;
    }
    return commerce_refuse(ret, "command-unknown", "fulfillments have no such command");
}
