/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_type(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    (void)work;
    (void)table;
    (void)command;
    return false;
}
