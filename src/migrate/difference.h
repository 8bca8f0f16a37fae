/* SPDX-License-Identifier: Apache-2.0 */
/* How two texts differ, line by line, in the form that everybody reads: unified, three lines around. */
#ifndef MIGRATE_DIFFERENCE_H
#define MIGRATE_DIFFERENCE_H

#include "banyan/buf.h"

enum {
    DIFFERENCE_AROUND = 3,
    DIFFERENCE_CELLS_MAX = 4 * 1024 * 1024, /* lines that may differ, old times new; above it they are shown as one */
};

/* Nothing is added where they are equal. */
void difference_add(struct banyan_buf *ret, struct banyan_str before, struct banyan_str after);

#endif
