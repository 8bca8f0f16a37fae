// SPDX-License-Identifier: Apache-2.0
/* The past that legacy-seed invents: orders and what happened to each, made by simulating the server's transactions. */
#ifndef LEGACY_OMS_SEED_MODEL_H
#define LEGACY_OMS_SEED_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum order_status { STATUS_NEW, STATUS_PARTIALLY_FILLED, STATUS_FILLED, STATUS_CANCELED, STATUS_COUNT };

struct past_order {
    int64_t order_id;
    int64_t trader_id;
    int64_t quantity, price;        /* 1e-8, as all amounts */
    int64_t filled, average;        /* average is 0 without a fill */
    int64_t created_us, updated_us; /* µs since 1970 */
    int64_t placed_us;              /* when the placing was committed; no column has it */
    const char *symbol;
    enum order_status status;
    int is_buy;
};

enum past_kind { PAST_TRADE, PAST_AUDIT_PRICE, PAST_AUDIT_QUANTITY, PAST_AUDIT_STATUS };

/* One row of trades or audit_log. */
struct past_row {
    int64_t commit_us; /* when it was really written: gives the order of the rows' ids */
    int64_t at_us;     /* the timestamp that it carries */
    int64_t order_id;
    uint64_t number; /* breaks ties of commit_us */
    int64_t a, b;    /* trade: quantity, price; audit: old, new (of the status: enum order_status) */
    enum past_kind kind;
};

/* What really happened, and how much of it the tables still tell. */
struct past_truth {
    int64_t modifications, modifications_audited;
    int64_t cancellations, cancellations_timed;
    int64_t fills;
    int64_t by_status[STATUS_COUNT];
};

struct past_options {
    int64_t orders;
    int64_t end_us; /* the present: nothing happens later */
    unsigned faults;
    uint64_t seed;
};

struct past {
    struct past_order *orders;
    size_t order_count;
    struct past_row *rows; /* in commit order */
    size_t row_count, row_room;
    struct past_truth truth;
};

const char *order_status_name(enum order_status status);
void past_make(struct past *past, struct past_options options);
void past_release(struct past *past);

#endif
