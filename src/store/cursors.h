/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors in memory: name → value, as last committed. */
#ifndef STORE_CURSORS_H
#define STORE_CURSORS_H

#include <stdbool.h>
#include <stddef.h>

#include "banyan/types.h"

struct store_cursor;

struct cursor {
    char *name;  /* owned */
    char *value; /* owned */
    size_t name_size, value_size;
};

struct cursors {
    struct cursor *items; /* owned; sorted by name */
    size_t count, capacity;
};

void cursors_release(struct cursors *cursors);
/* *ret_at: where it is or belongs. */
bool cursors_find(const struct cursors *cursors, struct banyan_str name, size_t *ret_at);
void cursors_put(struct cursors *cursors, const struct store_cursor *cursor);
/* Make *to* the same as *from*. */
void cursors_copy(struct cursors *to, const struct cursors *from);

#endif
