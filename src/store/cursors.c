/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors in memory: few (one a source), so a sorted array. */
#include "store/cursors.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/store.h"

void cursors_release(struct cursors *cursors)
{
    for (size_t i = 0; i < cursors->count; i++) {
        free(cursors->items[i].name);
        free(cursors->items[i].value);
    }
    free(cursors->items);
    *cursors = (struct cursors){.items = NULL};
}

static int compare(const struct cursor *cursor, struct banyan_str name)
{
    size_t size = cursor->name_size < name.size ? cursor->name_size : name.size;
    int order = memcmp(cursor->name, name.data, size);

    if (order == 0 && cursor->name_size != name.size)
        return cursor->name_size < name.size ? -1 : 1;
    return order;
}

bool cursors_find(const struct cursors *cursors, struct banyan_str name, size_t *ret_at)
{
    size_t low = 0, high = cursors->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&cursors->items[middle], name);

        if (order == 0) {
            *ret_at = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_at = low;
    return false;
}

static char *copy(struct banyan_str text)
{
    char *data = alloc_resized(NULL, text.size + 1, 1);

    if (text.size > 0)
        memcpy(data, text.data, text.size);
    return data;
}

void cursors_put(struct cursors *cursors, const struct store_cursor *cursor)
{
    struct cursor *item;
    size_t at;

    if (!cursors_find(cursors, cursor->name, &at)) {
        if (cursors->count == cursors->capacity) {
            cursors->capacity = cursors->capacity == 0 ? 8 : cursors->capacity * 2;
            cursors->items = alloc_resized(cursors->items, cursors->capacity, sizeof(*cursors->items));
        }
        memmove(&cursors->items[at + 1], &cursors->items[at], (cursors->count - at) * sizeof(*cursors->items));
        cursors->count++;
        cursors->items[at] = (struct cursor){.name = copy(cursor->name), .name_size = cursor->name.size};
    }
    item = &cursors->items[at];
    free(item->value);
    item->value = copy(cursor->value);
    item->value_size = cursor->value.size;
}

void cursors_copy(struct cursors *to, const struct cursors *from)
{
    cursors_release(to);
    for (size_t i = 0; i < from->count; i++) {
        const struct cursor *item = &from->items[i];

        cursors_put(to, &(struct store_cursor){{item->name, item->name_size}, {item->value, item->value_size}});
    }
}
