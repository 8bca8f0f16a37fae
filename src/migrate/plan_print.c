/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for people. */
#include <inttypes.h>

#include "migrate/plan.h"

void plan_text(const struct plan *plan, const struct migration *migration, struct banyan_buf *ret)
{
    banyan_buf_printf(ret, "migration %.*s\n", (int)migration->version.size, migration->version.data);
    for (size_t i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];

        banyan_buf_printf(ret, "%3zu %-8s %s: ", i + 1, plan_phase_name(step->phase), step->name);
        banyan_buf_add_str(ret, step->title);
        banyan_buf_add_char(ret, '\n');
    }
}
