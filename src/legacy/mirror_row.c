/* SPDX-License-Identifier: Apache-2.0 */
/* See mirror_row.h.  In a file of its own: a domain that is linked without a server needs nothing else. */
#include "legacy/mirror_row.h"

#include <assert.h>

void banyan_mirror_row(struct banyan_mirror *mirror, unsigned table, const void *old, const void *new)
{
    assert(table != 0 && table < BANYAN_LEGACY_TABLES_MAX);
    if (old != NULL || new != NULL)
        mirror->row(mirror, table, old, new);
}
