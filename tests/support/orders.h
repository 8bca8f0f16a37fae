/* SPDX-License-Identifier: Apache-2.0 */
/* Orders for tests of the way back: the tables of the order management system, and random commands. */
#ifndef SUPPORT_ORDERS_H
#define SUPPORT_ORDERS_H

#include "os/random.h"
#include "store/aggregate.h"
#include "support/legacy_rig.h"

/* As examples/legacy-oms/schema.sql has them. */
extern const char orders_schema_sql[];

/* A command for a random order of 1 … *keys*; many are refused. */
void orders_command(struct rig *rig, struct aggregates *aggregates, struct os_random *random, int keys);
/* The tables are what the log says, with at least *rows_min* rows; fails the test with the first differences. */
void orders_equal(struct rig *rig, uint64_t rows_min);

#endif
