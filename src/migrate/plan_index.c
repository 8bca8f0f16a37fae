/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_index(struct plan_work *work)
{
    (void)work;
    return false;
}

void plan_index_build(struct plan_work *work, const struct catalog_table *table, struct banyan_str name, bool unique,
                      struct banyan_str definition, enum plan_phase phase)
{
    (void)table;
    (void)name;
    (void)unique;
    (void)definition;
    (void)phase;
    plan_refuse(work, "indexes cannot be planned yet");
}
