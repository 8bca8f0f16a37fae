/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_other(struct plan_work *work)
{
    (void)work;
    return false;
}
