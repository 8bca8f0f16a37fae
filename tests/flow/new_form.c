/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program `banyan` after a change: its read model current_orders is of version 2.  FORM=lists: with a list less, so
 * that rows of version 1 cannot be read by it.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/domain.h"
#include "banyan/main.h"
#include "trading/trading.h"

int main(int argc, char **argv)
{
    const char *form = getenv("FORM");
    struct banyan_domain domain = banyan_domain_trading;
    struct banyan_projection projection = domain.projections[0];
    struct banyan_table table = projection.tables[0];
    if (form != NULL && strcmp(form, "lists") == 0)
        table.index_count--;
    projection.version++;
    projection.tables = &table;
    domain.projections = &projection;
    const struct banyan_domain *const domains[] = {&domain};
    return banyan_main(argc, argv, domains, 1);
}
