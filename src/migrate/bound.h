/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of a partition have in common: the bound as a condition on the columns of the parent's key, in the
 * form that the server makes of it (its get_qual_from_partbound()), so that a CHECK of it is a proof to the server.
 */
#ifndef MIGRATE_BOUND_H
#define MIGRATE_BOUND_H

#include "migrate/catalog.h"
#include "migrate/node.h"

/* *ret data NULL: it cannot be told: the default partition, keys that are expressions, a parent that is not known. */
BANYAN_MUST_CHECK enum banyan_status bound_condition(struct catalog *catalog, const struct catalog_table *parent,
                                                     const PgQuery__PartitionBoundSpec *spec,
                                                     struct banyan_arena *arena, struct banyan_str *ret,
                                                     struct banyan_error *err);
/* Is there a proven CHECK of this very condition, of the migration's own? */
bool bound_is_checked(const struct catalog_table *table, struct banyan_str condition, struct banyan_arena *arena);

#endif
