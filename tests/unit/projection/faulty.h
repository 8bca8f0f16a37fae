/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A home of generations that outlives the engine that closes it, and whose flushes fail when told: before they happen,
 * or after; or the seal of a rebuild.  It hands everything on to a real home.
 */
#ifndef TEST_PROJECTION_FAULTY_H
#define TEST_PROJECTION_FAULTY_H

#include <stdatomic.h>
#include <stdlib.h>

#include "projection/sink.h"

struct faulty_home {
    struct sink_home base;
    struct sink_home *real;    /* owned */
    atomic_uint fail_before;   /* so many flushes fail, and nothing happened */
    atomic_uint fail_after;    /* so many fail although they happened */
    atomic_uint flushes, rows; /* that happened */
    atomic_bool fail_seal;     /* of a generation of all keys */
};

struct faulty_sink {
    struct sink base;
    struct sink *real;
    struct faulty_home *home;
};

static inline struct sink *real_sink(struct sink *sink)
{
    return ((struct faulty_sink *)sink)->real;
}

static void faulty_close(struct sink *sink)
{
    sink_close(real_sink(sink));
    free(sink);
}
static enum banyan_status faulty_claim(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err)
{
    enum banyan_status st = real_sink(sink)->ops->claim(real_sink(sink), ret, err);
    sink->ready = real_sink(sink)->ready;
    return st;
}
static enum banyan_status faulty_checkpoint(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err)
{
    return real_sink(sink)->ops->checkpoint(real_sink(sink), ret, err);
}
static bool take(atomic_uint *count)
{
    unsigned now = atomic_load(count);
    while (now > 0 && !atomic_compare_exchange_weak(count, &now, now - 1))
        ;
    return now > 0;
}
static enum banyan_status faulty_flush(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    struct faulty_home *home = ((struct faulty_sink *)sink)->home;
    if (take(&home->fail_before))
        return banyan_error_set(err, BANYAN_IO, "not today");
    enum banyan_status st = real_sink(sink)->ops->flush(real_sink(sink), flush, err);
    if (st != BANYAN_OK)
        return st;
    atomic_fetch_add(&home->flushes, 1);
    atomic_fetch_add(&home->rows, (unsigned)flush->row_count);
    return take(&home->fail_after) ? banyan_error_set(err, BANYAN_IO, "nobody knows") : BANYAN_OK;
}
static enum banyan_status faulty_finish(struct sink *sink, struct banyan_error *err)
{
    return real_sink(sink)->ops->finish(real_sink(sink), err);
}
static enum banyan_status faulty_asides(struct sink *sink, struct banyan_arena *arena, struct sink_aside **ret,
                                        size_t *ret_count, struct banyan_error *err)
{
    return real_sink(sink)->ops->asides(real_sink(sink), arena, ret, ret_count, err);
}
static enum banyan_status faulty_get_many(struct sink *sink, unsigned table, const int64_t *keys, size_t count,
                                          struct banyan_arena *arena, void **rows, bool *found,
                                          struct banyan_error *err)
{
    return real_sink(sink)->ops->get_many(real_sink(sink), table, keys, count, arena, rows, found, err);
}
static enum banyan_status faulty_load_open(struct sink *sink, unsigned table, struct sink_load **ret,
                                           struct banyan_error *err)
{
    return real_sink(sink)->ops->load_open(real_sink(sink), table, ret, err);
}
static enum banyan_status faulty_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                           struct banyan_error *err);
static enum banyan_status faulty_load_close(struct sink_load *load, bool commit, struct banyan_error *err);
static enum banyan_status faulty_seal(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    struct faulty_home *home = ((struct faulty_sink *)sink)->home;
    if (!sink->ready.partial && atomic_load(&home->fail_seal))
        return banyan_error_set(err, BANYAN_IO, "no seal today");
    return real_sink(sink)->ops->seal(real_sink(sink), flush, err);
}
static enum banyan_status faulty_count(struct sink *sink, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    return real_sink(sink)->ops->count(real_sink(sink), table, ret, err);
}

static struct sink_ops faulty_sink_ops = {
    .name = "faulty",
    .close = faulty_close,
    .claim = faulty_claim,
    .checkpoint = faulty_checkpoint,
    .flush = faulty_flush,
    .finish = faulty_finish,
    .asides = faulty_asides,
    .get_many = faulty_get_many,
    .load_open = faulty_load_open,
    .load_rows = faulty_load_rows,
    .load_close = faulty_load_close,
    .seal = faulty_seal,
    .count = faulty_count,
};

/* Loads are the real sink's: they do not know where they came from, so all real sinks of a test are of one kind. */
static _Atomic(const struct sink_ops *) faulty_loads;
static enum banyan_status faulty_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                           struct banyan_error *err)
{
    return atomic_load(&faulty_loads)->load_rows(load, rows, count, err);
}
static enum banyan_status faulty_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    return atomic_load(&faulty_loads)->load_close(load, commit, err);
}

static inline struct sink_home *real_home(struct sink_home *home)
{
    return ((struct faulty_home *)home)->real;
}
static void faulty_home_close(struct sink_home *home)
{
    (void)home; /* it outlives who closes it */
}
static enum banyan_status faulty_generations(struct sink_home *home, struct sink_generation *ret, size_t *ret_count,
                                             struct banyan_error *err)
{
    return real_home(home)->ops->generations(real_home(home), ret, ret_count, err);
}
static enum banyan_status faulty_make(struct sink_home *home, struct sink_mark ready, uint32_t *ret,
                                      struct banyan_error *err)
{
    return real_home(home)->ops->make(real_home(home), ready, ret, err);
}
static enum banyan_status faulty_open(struct sink_home *home, uint32_t number, struct sink **ret,
                                      struct banyan_error *err)
{
    struct sink *real = NULL;
    enum banyan_status st = real_home(home)->ops->open(real_home(home), number, &real, err);
    if (st != BANYAN_OK)
        return st;
    struct faulty_sink *sink = calloc(1, sizeof(*sink));
    sink->base = (struct sink){&faulty_sink_ops, home->projection, number, {.partial = false}};
    sink->real = real;
    sink->home = (struct faulty_home *)home;
    faulty_loads = real->ops;
    *ret = &sink->base;
    return BANYAN_OK;
}
static enum banyan_status faulty_serve(struct sink_home *home, uint32_t expected, uint32_t number,
                                       struct banyan_error *err)
{
    return real_home(home)->ops->serve(real_home(home), expected, number, err);
}
static enum banyan_status faulty_drop(struct sink_home *home, uint32_t number, struct banyan_error *err)
{
    return real_home(home)->ops->drop(real_home(home), number, err);
}
static enum banyan_status faulty_view(struct sink_home *home, struct sink_view **ret, struct banyan_error *err)
{
    return real_home(home)->ops->view(real_home(home), ret, err);
}

static const struct sink_home_ops faulty_home_ops = {
    .name = "faulty",
    .durable = true,
    .close = faulty_home_close,
    .generations = faulty_generations,
    .make = faulty_make,
    .open = faulty_open,
    .serve = faulty_serve,
    .drop = faulty_drop,
    .view = faulty_view,
};

static inline void faulty_home_init(struct faulty_home *home, struct sink_home *real)
{
    *home = (struct faulty_home){.base = {&faulty_home_ops, real->projection}, .real = real};
}

#endif
