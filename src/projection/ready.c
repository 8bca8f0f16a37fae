/* SPDX-License-Identifier: Apache-2.0 */
/* Refuses what is not ready: see ready.h. */
#include "projection/ready.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"

struct ready_view {
    struct sink_view base;
    struct sink_view *inner; /* owned */
};

static struct sink_view *inner_of(struct sink_view *base)
{
    return ((struct ready_view *)base)->inner;
}

static enum banyan_status refuse(const struct sink_view *view, struct sink_mark ready, struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(
        err, BANYAN_BUSY, "view %s is being filled, newest keys first: those from %" PRId64 " on are ready",
        view->projection->name, ready.from);
    banyan_error_hint(err, "ask again later, for newer keys, or, of a list or search, for what is ready");
    return st;
}

static void view_close(struct sink_view *base)
{
    sink_view_close(inner_of(base));
    free(base);
}

static enum banyan_status view_checkpoint(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    return inner_of(base)->ops->checkpoint(inner_of(base), ret, err);
}

static enum banyan_status view_get(struct sink_view *base, unsigned table, int64_t key,
                                   struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    enum banyan_status st = inner_of(base)->ops->get(inner_of(base), table, key, ret_checkpoint, fn, context, err);
    if (st == BANYAN_OK && ret_checkpoint->ready.partial && key < ret_checkpoint->ready.from)
        st = refuse(base, ret_checkpoint->ready, err);
    return st;
}

static enum banyan_status view_list(struct sink_view *base, const struct sink_list *query,
                                    struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    enum banyan_status st = inner_of(base)->ops->list(inner_of(base), query, ret_checkpoint, fn, context, err);
    if (st == BANYAN_OK && ret_checkpoint->ready.partial && !query->ready_only)
        st = refuse(base, ret_checkpoint->ready, err);
    return st;
}

static enum banyan_status view_range(struct sink_view *base, unsigned table, int64_t lo, int64_t hi,
                                     struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    enum banyan_status st = inner_of(base)->ops->range(inner_of(base), table, lo, hi, ret_checkpoint, fn, context, err);
    if (st == BANYAN_OK && ret_checkpoint->ready.partial && lo < ret_checkpoint->ready.from && lo < hi)
        st = refuse(base, ret_checkpoint->ready, err);
    return st;
}

static enum banyan_status view_search(struct sink_view *base, const struct sink_search *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    enum banyan_status st = inner_of(base)->ops->search(inner_of(base), query, ret_checkpoint, fn, context, err);
    if (st == BANYAN_OK && ret_checkpoint->ready.partial && !query->ready_only)
        st = refuse(base, ret_checkpoint->ready, err);
    return st;
}

static enum banyan_status view_begin(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    return inner_of(base)->ops->begin(inner_of(base), ret, err);
}

static void view_end(struct sink_view *base)
{
    inner_of(base)->ops->end(inner_of(base));
}

static enum banyan_status view_asides(struct sink_view *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    return inner_of(base)->ops->asides(inner_of(base), arena, ret, ret_count, err);
}

static const struct sink_view_ops ready_view_ops = {
    .close = view_close,
    .checkpoint = view_checkpoint,
    .get = view_get,
    .list = view_list,
    .range = view_range,
    .search = view_search,
    .begin = view_begin,
    .end = view_end,
    .asides = view_asides,
};

struct sink_view *ready_view(struct sink_view *view)
{
    struct ready_view *ready = alloc_zeroed(1, sizeof(*ready));
    ready->base = (struct sink_view){&ready_view_ops, view->projection};
    ready->inner = view;
    return &ready->base;
}
