/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fulfillment: some lines of an order that are sent together.  An order may have several (split shipments).
 *
 *     (none) ─Create─▶ created ─Assign─▶ assigned ─Pack─▶ packed ─Ship─▶ shipped ─Deliver─▶ delivered
 *                         └────Cancel────────┴──────────────┘─▶ canceled
 *
 * While it is assigned it is a job of its warehouse, which a worker leases:
 *
 *     ready ─Lease─▶ leased ─Acknowledge─▶ done
 *       ▲              │ Release (retry_at), or the lease runs out: visible to others again
 *       └──────────────┘
 *
 * A lease is refused while another worker's has not run out: the stream's version decides between two who try at once,
 * so no job is given twice, and a job whose worker vanished comes back by itself.
 */
#ifndef COMMERCE_FULFILLMENT_H
#define COMMERCE_FULFILLMENT_H

#include "banyan/domain.h"
#include "events.h"

#define FULFILLMENT_STATUS_CREATED "created"
#define FULFILLMENT_STATUS_ASSIGNED "assigned"
#define FULFILLMENT_STATUS_PACKED "packed"
#define FULFILLMENT_STATUS_SHIPPED "shipped"
#define FULFILLMENT_STATUS_DELIVERED "delivered"
#define FULFILLMENT_STATUS_CANCELED "canceled"

#define JOB_STATUS_NONE "" /* not assigned yet */
#define JOB_STATUS_READY "ready"
#define JOB_STATUS_LEASED "leased" /* until lease_until */
#define JOB_STATUS_DONE "done"

enum {
    JOB_ATTEMPTS_MAX = 10, /* then somebody has to look at it: assign it again, or cancel it */
};

struct fulfillment {
    struct shipment_row row;
    struct banyan_list lines; /* of fulfillment_line */
    int64_t packages;
    struct banyan_str job;          /* JOB_STATUS_… */
    struct banyan_time ready_at;    /* optional: not leased before */
    struct banyan_str worker;       /* of the last lease; empty: none */
    struct banyan_time lease_until; /* optional */
    int64_t attempts;               /* leases so far */
    bool exists;
};

/* Index in the commands of commerce_aggregates[AGGREGATE_FULFILLMENT]. */
enum fulfillment_command {
    FULFILLMENT_CREATE,
    FULFILLMENT_ASSIGN,
    FULFILLMENT_PACK,
    FULFILLMENT_SHIP,
    FULFILLMENT_DELIVER,
    FULFILLMENT_CANCEL,
    JOB_LEASE,
    JOB_ACKNOWLEDGE,
    JOB_RELEASE,
    FULFILLMENT_COMMAND_COUNT,
};

struct create_fulfillment {
    int64_t order_id;
    int64_t seller_id;        /* 0: several */
    struct banyan_list lines; /* of fulfillment_line */
};

struct assign_warehouse {
    int64_t warehouse_id;
};

struct pack_fulfillment {
    int64_t packages; /* 0: 1 */
};

struct ship_fulfillment {
    struct banyan_str carrier;  /* optional */
    struct banyan_str tracking; /* optional */
};

/* DeliverFulfillment has no fields. */

struct cancel_fulfillment {
    struct banyan_str reason; /* optional */
};

struct lease_job {
    struct banyan_str worker;
    struct banyan_time until; /* the visibility time-out */
};

struct acknowledge_job {
    struct banyan_str worker;
};

struct release_job {
    struct banyan_str worker;
    struct banyan_str reason;    /* optional */
    struct banyan_time retry_at; /* "no value": at once */
};

extern const struct banyan_record commerce_fulfillment_state;
extern const struct banyan_command_type commerce_fulfillment_commands[FULFILLMENT_COMMAND_COUNT];

/* See banyan_aggregate. */
void commerce_fulfillment_evolve(void *state, unsigned type, const void *payload, struct banyan_time at);
bool commerce_fulfillment_decide(const void *state, bool exists, const struct banyan_command *command,
                                 struct banyan_emitter *out, struct banyan_refusal *ret);

#endif
