/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_constraint(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    (void)work;
    (void)table;
    (void)command;
    return false;
}

void plan_constraint_checked(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                             struct banyan_str definition, enum plan_phase add_in, enum plan_phase validate_in)
{
    (void)table;
    (void)name;
    (void)definition;
    (void)add_in;
    (void)validate_in;
    plan_refuse(work, "constraints cannot be planned yet");
}
