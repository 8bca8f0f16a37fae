/* SPDX-License-Identifier: Apache-2.0 */
/* The commerce domain: orders, payments, fulfillments and stock. */
#ifndef COMMERCE_COMMERCE_H
#define COMMERCE_COMMERCE_H

#include "banyan/domain.h"

/* Index in commerce_aggregates. */
enum commerce_aggregate {
    AGGREGATE_ORDER,
    AGGREGATE_PAYMENT,
    AGGREGATE_FULFILLMENT,
    AGGREGATE_STOCK,
    AGGREGATE_COUNT,
};

extern const struct banyan_aggregate commerce_aggregates[AGGREGATE_COUNT];
extern const struct banyan_domain banyan_domain_commerce;
/* The same over the tables of the Northwind sample database. */
extern const struct banyan_domain banyan_domain_northwind;

#endif
