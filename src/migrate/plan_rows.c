/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_rows(struct plan_work *work)
{
    (void)work;
    return false;
}

void plan_fill(struct plan_work *work, const struct catalog_table *table, struct banyan_str set,
               struct banyan_str needs)
{
    (void)table;
    (void)set;
    (void)needs;
    plan_refuse(work, "rows cannot be filled yet");
}
