/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h. */
#include "migrate/plan_int.h"

bool plan_rename(struct plan_work *work, const PgQuery__RenameStmt *statement)
{
    (void)work;
    (void)statement;
    return false;
}
