/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    (void)work;
    (void)table;
    (void)command;
    return false;
}

bool plan_drop_table(struct plan_work *work)
{
    (void)work;
    return false;
}

void plan_not_null(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                   enum plan_phase check_in, enum plan_phase set_in)
{
    (void)table;
    (void)column;
    (void)check_in;
    (void)set_in;
    plan_refuse(work, "NOT NULL cannot be planned yet");
}
