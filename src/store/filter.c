/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See filter.h.
 *
 * A name has two bits and not one: a block is read in vain only when others there have both.  With five other types in
 * a block that is 2 % of the names, with one bit it would be 8 %.
 */
#include "store/filter.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"

struct banyan_str filter_category(struct banyan_str stream)
{
    const char *dash = stream.size == 0 ? NULL : memchr(stream.data, '-', stream.size);

    return (struct banyan_str){stream.data, dash == NULL ? stream.size : (size_t)(dash - stream.data)};
}

uint64_t filter_bits(struct banyan_str name)
{
    uint64_t hash = XXH3_64bits(name.data, name.size); /* not seeded: the bits are stored */

    return UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 8 & 63);
}

static struct banyan_str *copy_names(struct filter *filter, const struct banyan_str *names, size_t count,
                                     uint64_t **ret_bits)
{
    struct banyan_str *copies;

    *ret_bits = NULL;
    if (count == 0)
        return NULL;
    copies = banyan_arena_alloc(&filter->arena, count * sizeof(*copies));
    *ret_bits = banyan_arena_alloc(&filter->arena, count * sizeof(**ret_bits));
    for (size_t i = 0; i < count; i++) {
        copies[i] = banyan_arena_str(&filter->arena, names[i]);
        (*ret_bits)[i] = filter_bits(names[i]);
    }
    return copies;
}

struct filter *filter_new(const struct store_filter *wanted)
{
    struct filter *filter;

    if (wanted == NULL || (wanted->type_count == 0 && wanted->category_count == 0))
        return NULL;
    filter = alloc_zeroed(1, sizeof(*filter));
    filter->wanted = *wanted;
    filter->wanted.types = copy_names(filter, wanted->types, wanted->type_count, &filter->type_bits);
    filter->wanted.categories = copy_names(filter, wanted->categories, wanted->category_count, &filter->category_bits);
    return filter;
}

void filter_free(struct filter *filter)
{
    if (filter == NULL)
        return;
    banyan_arena_release(&filter->arena);
    free(filter);
}

static bool is_one_of(struct banyan_str name, const struct banyan_str *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (names[i].size == name.size && memcmp(names[i].data, name.data, name.size) == 0)
            return true;
    }
    return count == 0;
}

bool filter_passes(const struct filter *filter, const struct store_event *event)
{
    return is_one_of(event->type, filter->wanted.types, filter->wanted.type_count) &&
           (filter->wanted.category_count == 0 ||
            is_one_of(filter_category(event->stream), filter->wanted.categories, filter->wanted.category_count));
}

static bool one_in(uint64_t set, const uint64_t *bits, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((bits[i] & ~set) == 0)
            return true;
    }
    return count == 0;
}

bool filter_may_pass(const struct filter *filter, uint64_t types, uint64_t categories)
{
    return one_in(types, filter->type_bits, filter->wanted.type_count) &&
           one_in(categories, filter->category_bits, filter->wanted.category_count);
}
