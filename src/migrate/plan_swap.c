/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

void plan_sync(struct plan_work *work, const struct catalog_table *table, const struct sync_column *column,
               struct banyan_str kept)
{
    (void)table;
    (void)column;
    (void)kept;
    plan_refuse(work, "columns cannot be held equal yet");
}

void plan_swap_finish(struct plan_work *work)
{
    (void)work;
}
