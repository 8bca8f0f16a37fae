/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read model in the memory of this process: the reference that other stores are compared with.
 *
 *   home ─▶ generation ─▶ state (checkpoint, asides, a tree a table and list): never changed, counted
 *
 * A flush makes a new state that shares what did not change, and puts it in place of the old one; a question holds the
 * state that it found.  So a reader waits for nobody, and nobody for a reader.
 *
 * Threads: a handle one.  home->shared is under its lock, which is held for some pointers only; generation->writing
 * keeps writers of one generation apart, and is taken first.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "sink/memory_tree.h"
#include "sink/sink_value.h"
#include "sink/sinks.h"

struct memory_table {
    struct memory_node **roots; /* by key, then one a list; held */
    uint64_t count;             /* rows */
};

struct memory_asides {
    atomic_size_t holders;
    struct banyan_arena arena;
    struct sink_aside *asides; /* by position */
    size_t count;
};

struct memory_state {
    atomic_size_t holders;
    size_t table_count;
    const struct banyan_projection *projection;
    struct sink_checkpoint checkpoint;
    struct memory_asides *asides; /* held; NULL: none */
    struct memory_table tables[BANYAN_PROJECTION_TABLES_MAX];
};

struct memory_generation {
    atomic_size_t holders;
    pthread_mutex_t writing;
    struct sink_generation about; /* its checkpoint is in the state; under home->shared.lock */
    uint64_t epoch;               /* the same */
    bool dropped;                 /* the same */
    struct memory_state *state;   /* the same; held */
};

struct sink_memory_home {
    struct sink_home base;
    struct {
        pthread_mutex_t lock;
        struct memory_generation *generations[SINK_GENERATIONS_MAX]; /* by number; held */
        size_t count;
        uint32_t last_number;
    } shared;
};

struct sink_memory {
    struct sink base;
    struct sink_memory_home *home;
    struct memory_generation *generation; /* held */
    uint64_t epoch;
};

struct sink_load {
    struct sink_memory *sink;
    unsigned table;
    struct memory_row **rows; /* held */
    size_t count, capacity;
};

struct memory_view {
    struct sink_view base;
    struct sink_memory_home *home;
    struct memory_state *held; /* between begin and end */
};

/* ---- states ---- */

static void asides_release(struct memory_asides *asides)
{
    if (asides == NULL || atomic_fetch_sub(&asides->holders, 1) != 1)
        return;
    banyan_arena_release(&asides->arena);
    free(asides);
}

static void state_release(struct memory_state *state)
{
    if (state == NULL || atomic_fetch_sub(&state->holders, 1) != 1)
        return;
    for (size_t t = 0; t < state->table_count; t++) {
        for (size_t i = 0; i <= state->projection->tables[t].index_count; i++)
            memory_tree_release(state->tables[t].roots[i]);
        free(state->tables[t].roots);
    }
    asides_release(state->asides);
    free(state);
}

static struct memory_state *state_hold(struct memory_state *state)
{
    atomic_fetch_add(&state->holders, 1);
    return state;
}

/* A state of the same content, *from* NULL: empty. */
static struct memory_state *state_new(const struct banyan_projection *projection, const struct memory_state *from)
{
    struct memory_state *state = alloc_zeroed(1, sizeof(*state));
    atomic_init(&state->holders, 1);
    state->projection = projection;
    state->table_count = projection->table_count;
    for (size_t t = 0; t < state->table_count; t++) {
        size_t roots = 1 + projection->tables[t].index_count;
        state->tables[t].roots = alloc_zeroed(roots, sizeof(struct memory_node *));
        for (size_t i = 0; from != NULL && i < roots; i++)
            state->tables[t].roots[i] = memory_tree_hold(from->tables[t].roots[i]);
        state->tables[t].count = from == NULL ? 0 : from->tables[t].count;
    }
    if (from == NULL)
        return state;
    state->checkpoint = from->checkpoint;
    state->asides = from->asides;
    if (state->asides != NULL)
        atomic_fetch_add(&state->asides->holders, 1);
    return state;
}

static struct memory_sorting sorting_of(const struct banyan_table *table, size_t root)
{
    if (root == 0)
        return (struct memory_sorting){NULL, NULL};
    const struct banyan_view_index *index = &table->indexes[root - 1];
    return (struct memory_sorting){banyan_record_field(table->row, banyan_str_of(index->equal)),
                                   banyan_record_field(table->row, banyan_str_of(index->range))};
}

/* Put *row* (NULL: delete *key*) into a state that nobody else has. */
static void state_change(struct memory_state *state, unsigned table, int64_t key, struct memory_row *row)
{
    const struct banyan_table *about = &state->projection->tables[table];
    struct memory_table *rows = &state->tables[table];
    struct memory_row *former = memory_tree_get(rows->roots[0], key);
    rows->count += (row != NULL) - (former != NULL);
    if (former != NULL)
        memory_row_hold(former); /* its place in the lists is found by it */
    for (size_t i = 0; i <= about->index_count; i++) {
        struct memory_sorting sorting = sorting_of(about, i);
        if (former != NULL && (row == NULL || i > 0))
            rows->roots[i] = memory_tree_remove(&sorting, rows->roots[i], former);
        if (row != NULL)
            rows->roots[i] = memory_tree_put(&sorting, rows->roots[i], row);
    }
    memory_row_release(former);
}

static const struct sink_aside *find_aside(const struct sink_aside *asides, size_t count, const struct sink_aside *like)
{
    for (size_t i = 0; i < count; i++)
        if (sink_aside_same(&asides[i], like))
            return &asides[i];
    return NULL;
}

static int by_position(const void *a, const void *b)
{
    uint64_t x = ((const struct sink_aside *)a)->position.value, y = ((const struct sink_aside *)b)->position.value;
    return (x > y) - (x < y);
}

static struct sink_aside copy_aside(const struct sink_aside *aside, struct banyan_arena *arena)
{
    struct sink_aside copy = *aside;
    copy.stream = banyan_arena_str(arena, aside->stream);
    copy.reason = banyan_arena_str(arena, aside->reason);
    return copy;
}

static void state_change_asides(struct memory_state *state, const struct sink_flush *flush)
{
    if (flush->aside_count + flush->released_count == 0)
        return;
    struct memory_asides *former = state->asides, *asides = alloc_zeroed(1, sizeof(*asides));
    size_t count = former == NULL ? 0 : former->count;
    atomic_init(&asides->holders, 1);
    asides->asides = banyan_arena_alloc(&asides->arena, (count + flush->aside_count + 1) * sizeof(*asides->asides));
    for (size_t i = 0; i < count; i++)
        if (find_aside(flush->asides, flush->aside_count, &former->asides[i]) == NULL &&
            find_aside(flush->released, flush->released_count, &former->asides[i]) == NULL)
            asides->asides[asides->count++] = copy_aside(&former->asides[i], &asides->arena);
    for (size_t i = 0; i < flush->aside_count; i++)
        asides->asides[asides->count++] = copy_aside(&flush->asides[i], &asides->arena);
    qsort(asides->asides, asides->count, sizeof(*asides->asides), by_position);
    asides_release(former);
    state->asides = asides;
}

/* ---- generations ---- */

static void generation_release(struct memory_generation *generation)
{
    if (generation == NULL || atomic_fetch_sub(&generation->holders, 1) != 1)
        return;
    state_release(generation->state);
    (void)pthread_mutex_destroy(&generation->writing); /* nobody holds it */
    free(generation);
}

static void lock(pthread_mutex_t *mutex)
{
    (void)pthread_mutex_lock(mutex); /* fails only for a lock that is none */
}

static void unlock(pthread_mutex_t *mutex)
{
    (void)pthread_mutex_unlock(mutex); /* as above */
}

/* Under the lock; NULL: none. */
static struct memory_generation *find_generation(struct sink_memory_home *home, uint32_t number)
{
    for (size_t i = 0; i < home->shared.count; i++)
        if (home->shared.generations[i]->about.number == number)
            return home->shared.generations[i];
    return NULL;
}

static size_t list_generations(struct sink_memory_home *home, struct sink_generation *ret)
{
    for (size_t i = 0; i < home->shared.count; i++) {
        ret[i] = home->shared.generations[i]->about;
        ret[i].checkpoint = home->shared.generations[i]->state->checkpoint;
    }
    return home->shared.count;
}

static enum banyan_status home_generations(struct sink_home *base, struct sink_generation *ret, size_t *ret_count,
                                           struct banyan_error *err)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    lock(&home->shared.lock);
    *ret_count = list_generations(home, ret);
    unlock(&home->shared.lock);
    return BANYAN_OK;
}

static enum banyan_status home_make(struct sink_home *base, struct sink_mark ready, uint32_t *ret_number,
                                    struct banyan_error *err)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    lock(&home->shared.lock);
    enum banyan_status st = sink_make_check(base->projection, home->shared.count, err);
    if (st == BANYAN_OK) {
        struct memory_generation *generation = alloc_zeroed(1, sizeof(*generation));
        atomic_init(&generation->holders, 1);
        (void)pthread_mutex_init(&generation->writing, NULL); /* cannot fail with default attributes */
        generation->about = (struct sink_generation){.number = ++home->shared.last_number,
                                                     .state = SINK_BUILDING,
                                                     .version = base->projection->version,
                                                     .made_at = os_clock_now(os_clock_real()),
                                                     .served_at = {BANYAN_TIME_NULL}};
        sink_form_marked(base->projection, ready, generation->about.form);
        generation->state = state_new(base->projection, NULL);
        generation->state->checkpoint.generation = generation->about.number;
        generation->state->checkpoint.ready = ready;
        home->shared.generations[home->shared.count++] = generation;
        *ret_number = generation->about.number;
    }
    unlock(&home->shared.lock);
    return st;
}

static enum banyan_status home_serve(struct sink_home *base, uint32_t expected, uint32_t number,
                                     struct banyan_error *err)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    lock(&home->shared.lock);
    size_t count = list_generations(home, all);
    enum banyan_status st = sink_serve_check(base->projection, all, count, expected, number, err);
    for (size_t i = 0; i < count && st == BANYAN_OK && expected != number; i++) {
        struct sink_generation *about = &home->shared.generations[i]->about;
        if (about->state == SINK_SERVING) {
            about->state = SINK_KEPT;
            about->served_at.us = BANYAN_TIME_NULL;
        }
        if (about->number == number) {
            about->state = SINK_SERVING;
            about->served_at = os_clock_now(os_clock_real());
        }
    }
    unlock(&home->shared.lock);
    return st;
}

static enum banyan_status home_drop(struct sink_home *base, uint32_t number, struct banyan_error *err)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct memory_generation *dropped = NULL;
    lock(&home->shared.lock);
    size_t count = list_generations(home, all);
    enum banyan_status st = sink_drop_check(base->projection, all, count, number, err);
    if (st == BANYAN_OK) {
        size_t at = 0;
        while (all[at].number != number)
            at++;
        dropped = home->shared.generations[at];
        dropped->dropped = true;
        memmove(&home->shared.generations[at], &home->shared.generations[at + 1], (count - at - 1) * sizeof(dropped));
        home->shared.count--;
    }
    unlock(&home->shared.lock);
    generation_release(dropped);
    return st;
}

static void home_close(struct sink_home *base)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    for (size_t i = 0; i < home->shared.count; i++)
        generation_release(home->shared.generations[i]);
    (void)pthread_mutex_destroy(&home->shared.lock); /* nobody holds it */
    free(home);
}

/* ---- writing ---- */

static void sink_memory_close(struct sink *base)
{
    struct sink_memory *sink = (struct sink_memory *)base;
    generation_release(sink->generation);
    free(sink);
}

static enum banyan_status sink_memory_checkpoint(struct sink *base, struct sink_checkpoint *ret,
                                                 struct banyan_error *err)
{
    struct sink_memory *sink = (struct sink_memory *)base;
    lock(&sink->home->shared.lock);
    *ret = sink->generation->state->checkpoint;
    unlock(&sink->home->shared.lock);
    return BANYAN_OK;
}

static enum banyan_status sink_memory_claim(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_memory *sink = (struct sink_memory *)base;
    enum banyan_status st = sink_form_check(base->projection, base->generation, sink->generation->about.form, err);
    if (st != BANYAN_OK)
        return st;
    lock(&sink->home->shared.lock);
    sink->epoch = ++sink->generation->epoch;
    base->ready = sink_form_mark(sink->generation->about.form);
    *ret = sink->generation->state->checkpoint;
    unlock(&sink->home->shared.lock);
    return BANYAN_OK;
}

static struct memory_state *current(struct sink_memory *sink)
{
    lock(&sink->home->shared.lock);
    struct memory_state *state = state_hold(sink->generation->state);
    unlock(&sink->home->shared.lock);
    return state;
}

/* A state to change, which publish() or state_release() ends; generation->writing is held by then. */
static struct memory_state *begin_change(struct sink_memory *sink)
{
    lock(&sink->generation->writing);
    struct memory_state *from = current(sink);
    struct memory_state *state = state_new(sink->base.projection, from);
    state_release(from);
    return state;
}

static enum banyan_status publish(struct sink_memory *sink, struct memory_state *state, bool seals,
                                  struct banyan_error *err)
{
    struct memory_state *former = state;
    enum banyan_status st = BANYAN_OK;
    lock(&sink->home->shared.lock);
    if (sink->epoch == 0 || sink->epoch != sink->generation->epoch || sink->generation->dropped) {
        st = sink_taken_over(sink->base.projection, sink->base.generation, err);
    } else {
        former = sink->generation->state;
        sink->generation->state = state;
        sink->generation->about.sealed |= seals;
    }
    unlock(&sink->home->shared.lock);
    unlock(&sink->generation->writing);
    state_release(former);
    return st;
}

static enum banyan_status sink_memory_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_memory *sink = (struct sink_memory *)base;
    struct memory_state *state = begin_change(sink);
    for (size_t i = 0; i < flush->row_count; i++) {
        const struct sink_row *row = &flush->rows[i];
        struct memory_row *copy =
            row->row == NULL ? NULL : memory_row_new(base->projection->tables[row->table].row, row->key, row->row);
        state_change(state, row->table, row->key, copy);
        memory_row_release(copy);
    }
    state_change_asides(state, flush);
    state->checkpoint = flush->checkpoint;
    state->checkpoint.generation = base->generation;
    state->checkpoint.ready = base->ready;
    return publish(sink, state, true, err);
}

static enum banyan_status sink_memory_finish(struct sink *base, struct banyan_error *err)
{
    return BANYAN_OK; /* lists are there from the beginning */
}

static enum banyan_status give_asides(const struct memory_state *state, struct banyan_arena *arena,
                                      struct sink_aside **ret, size_t *ret_count)
{
    size_t count = state->asides == NULL ? 0 : state->asides->count;
    *ret = banyan_arena_alloc(arena, (count + 1) * sizeof(**ret));
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = copy_aside(&state->asides->asides[i], arena);
    *ret_count = count;
    return BANYAN_OK;
}

static enum banyan_status sink_memory_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                             size_t *ret_count, struct banyan_error *err)
{
    struct memory_state *state = current((struct sink_memory *)base);
    enum banyan_status st = give_asides(state, arena, ret, ret_count);
    state_release(state);
    return st;
}

static enum banyan_status sink_memory_get_many(struct sink *base, unsigned table, const int64_t *keys, size_t count,
                                               struct banyan_arena *arena, void **rows, bool *found,
                                               struct banyan_error *err)
{
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    struct memory_state *state = current((struct sink_memory *)base);
    for (size_t i = 0; i < count; i++) {
        const struct memory_row *row = memory_tree_get(state->tables[table].roots[0], keys[i]);
        found[i] = row != NULL;
        if (found[i])
            banyan_record_copy(base->projection->tables[table].row, rows[i], row->value, arena);
    }
    state_release(state);
    return BANYAN_OK;
}

static enum banyan_status sink_memory_count(struct sink *base, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    struct memory_state *state = current((struct sink_memory *)base);
    *ret = state->tables[table].count;
    state_release(state);
    return BANYAN_OK;
}

/* ---- loading ---- */

static enum banyan_status sink_memory_load_open(struct sink *base, unsigned table, struct sink_load **ret,
                                                struct banyan_error *err)
{
    struct sink_memory *sink = (struct sink_memory *)base;
    lock(&sink->home->shared.lock);
    bool sealed = sink->generation->about.sealed;
    unlock(&sink->home->shared.lock);
    enum banyan_status st = sink_load_check(base, table, sealed, err);
    if (st != BANYAN_OK)
        return st;
    *ret = alloc_zeroed(1, sizeof(**ret));
    (*ret)->sink = sink;
    (*ret)->table = table;
    return BANYAN_OK;
}

static enum banyan_status sink_memory_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                                struct banyan_error *err)
{
    const struct banyan_record *record = load->sink->base.projection->tables[load->table].row;
    if (load->count + count > load->capacity) {
        load->capacity = (load->count + count) * 2;
        load->rows = alloc_resized(load->rows, load->capacity, sizeof(struct memory_row *));
    }
    for (size_t i = 0; i < count; i++)
        if (rows[i].row != NULL)
            load->rows[load->count++] = memory_row_new(record, rows[i].key, rows[i].row);
    return BANYAN_OK;
}

static enum banyan_status sink_memory_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (commit) {
        struct memory_state *state = begin_change(load->sink);
        for (size_t i = 0; i < load->count; i++)
            state_change(state, load->table, load->rows[i]->key, load->rows[i]);
        st = publish(load->sink, state, false, err);
    }
    for (size_t i = 0; i < load->count; i++)
        memory_row_release(load->rows[i]);
    free(load->rows);
    free(load);
    return st;
}

/* ---- questions ---- */

/* The state to answer from; the caller's until state_release(). */
static enum banyan_status ask(struct memory_view *view, struct memory_state **ret, struct banyan_error *err)
{
    char form[SINK_FORM_SIZE];
    struct memory_state *state = NULL;
    if (view->held != NULL) {
        *ret = state_hold(view->held);
        return BANYAN_OK;
    }
    sink_form(view->base.projection, form);
    lock(&view->home->shared.lock);
    for (size_t i = 0; i < view->home->shared.count; i++) {
        struct memory_generation *generation = view->home->shared.generations[i];
        if (generation->about.state == SINK_SERVING && sink_form_readable(generation->about.form, form))
            state = state_hold(generation->state);
    }
    unlock(&view->home->shared.lock);
    if (state == NULL)
        return sink_not_built(view->base.projection, err);
    *ret = state;
    return BANYAN_OK;
}

static void view_end(struct sink_view *base)
{
    struct memory_view *view = (struct memory_view *)base;
    state_release(view->held);
    view->held = NULL;
}

static enum banyan_status view_begin(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct memory_view *view = (struct memory_view *)base;
    enum banyan_status st = ask(view, &view->held, err);
    if (st == BANYAN_OK)
        *ret = view->held->checkpoint;
    return st;
}

static void view_close(struct sink_view *base)
{
    view_end(base);
    free(base);
}

static enum banyan_status view_checkpoint(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct memory_state *state = NULL;
    enum banyan_status st = ask((struct memory_view *)base, &state, err);
    if (st == BANYAN_OK)
        *ret = state->checkpoint;
    state_release(state);
    return st;
}

static enum banyan_status view_asides(struct sink_view *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    struct memory_state *state = NULL;
    enum banyan_status st = ask((struct memory_view *)base, &state, err);
    if (st == BANYAN_OK)
        st = give_asides(state, arena, ret, ret_count);
    state_release(state);
    return st;
}

static enum banyan_status view_get(struct sink_view *base, unsigned table, int64_t key,
                                   struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    struct memory_state *state = NULL;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = ask((struct memory_view *)base, &state, err);
    if (st != BANYAN_OK)
        return st;
    *ret_checkpoint = state->checkpoint;
    const struct memory_row *row = memory_tree_get(state->tables[table].roots[0], key);
    if (row != NULL)
        st = fn(context, key, row->value, err);
    state_release(state);
    return st;
}

/* A walk over a tree for whoever asks. */
struct walk {
    sink_row_fn fn;
    void *context;
    struct banyan_error *err;
    enum banyan_status st;
    int64_t hi;                    /* of a range */
    const struct sink_list *list;  /* of a list: */
    struct memory_sorting sorting; /* its */
    const void *value;             /* what equal must be */
    size_t left;                   /* rows to give */
};

static bool give_row(struct walk *walk, const struct memory_row *row)
{
    walk->st = walk->fn(walk->context, row->key, row->value, walk->err);
    return walk->st == BANYAN_OK;
}

static bool range_row(void *context, struct memory_row *row)
{
    struct walk *walk = context;
    return (row->key < walk->hi || walk->hi == INT64_MAX) && give_row(walk, row);
}

static enum banyan_status view_range(struct sink_view *base, unsigned table, int64_t lo, int64_t hi,
                                     struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    struct memory_state *state = NULL;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = ask((struct memory_view *)base, &state, err);
    if (st != BANYAN_OK)
        return st;
    struct walk walk = {.fn = fn, .context = context, .err = err, .hi = hi};
    struct memory_row from = {.key = lo};
    struct memory_sorting by_key = {NULL, NULL};
    memory_tree_each(&by_key, state->tables[table].roots[0], &from, range_row, &walk);
    *ret_checkpoint = state->checkpoint;
    state_release(state);
    return walk.st;
}

static bool list_row(void *context, struct memory_row *row)
{
    struct walk *walk = context;
    const struct sink_list *list = walk->list;
    struct banyan_time at = *(const struct banyan_time *)((const char *)row->value + walk->sorting.range->offset);
    if (sink_value_compare(walk->sorting.equal, row->value, walk->value) != 0 || walk->left == 0)
        return false;
    if (list->after && row->key == list->after_key && at.us == list->after_range.us)
        return true; /* the one that the page before ended with */
    if (!sink_time_within(at, list->from, list->to))
        return false;
    walk->left--;
    return give_row(walk, row);
}

/* Where a list begins: in an order that goes down from the newest. */
static struct memory_row list_start(const struct sink_list *list, const struct memory_sorting *sorting, void *value)
{
    struct banyan_time *at = (struct banyan_time *)((char *)value + sorting->range->offset);
    struct memory_row from = {.key = INT64_MAX, .value = value};
    at->us = list->to.us == BANYAN_TIME_NULL ? INT64_MAX : list->to.us - (list->to.us > INT64_MIN + 1);
    if (list->after && list->after_range.us <= at->us) {
        *at = list->after_range;
        from.key = list->after_key;
    }
    return from;
}

static enum banyan_status view_list(struct sink_view *base, const struct sink_list *query,
                                    struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct memory_state *state = NULL;
    const void *value = NULL;
    struct walk walk = {.fn = fn, .context = context, .err = err, .list = query, .left = query->limit};
    enum banyan_status st = sink_list_value(base->projection, query, &arena, &value, err);
    if (st == BANYAN_OK)
        st = ask((struct memory_view *)base, &state, err);
    if (st != BANYAN_OK)
        goto out;
    const struct banyan_table *table = &base->projection->tables[query->table];
    size_t root = 1 + (size_t)(query->index - table->indexes);
    walk.sorting = sorting_of(table, root);
    void *start = banyan_arena_alloc(&arena, table->row->size);
    memcpy(start, value, table->row->size);
    walk.value = value;
    struct memory_row from = list_start(query, &walk.sorting, start);
    memory_tree_each(&walk.sorting, state->tables[query->table].roots[root], &from, list_row, &walk);
    *ret_checkpoint = state->checkpoint;
    st = walk.st;
out:
    state_release(state);
    banyan_arena_release(&arena);
    return st;
}

/* ---- search ---- */

struct hit {
    double rank;
    const struct memory_row *row;
};

struct searching {
    const struct sink_search_plan *plan;
    const struct sink_search *search;
    struct banyan_arena scratch;
    struct hit *hits;
    size_t count, capacity;
};

static bool search_row(void *context, struct memory_row *row)
{
    struct searching *all = context;
    double rank = 1;
    if (!sink_search_holds(all->plan, all->search, row->value))
        return true;
    if (all->plan->words.count > 0) {
        rank = sink_search_rank(all->plan, row->value, &all->scratch);
        banyan_arena_reset(&all->scratch);
    }
    if (rank == 0)
        return true;
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 64 : all->capacity * 2;
        all->hits = alloc_resized(all->hits, all->capacity, sizeof(*all->hits));
    }
    all->hits[all->count++] = (struct hit){rank, row};
    return true;
}

static int best_first(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? 1 : -1;
    return (x->row->key < y->row->key) - (x->row->key > y->row->key);
}

static enum banyan_status view_search(struct sink_view *base, const struct sink_search *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct memory_state *state = NULL;
    struct sink_search_plan plan;
    struct searching all = {.plan = &plan, .search = query};
    enum banyan_status st = sink_search_plan(base->projection, query, &arena, &plan, err);
    if (st == BANYAN_OK)
        st = ask((struct memory_view *)base, &state, err);
    if (st != BANYAN_OK)
        goto out;
    struct memory_sorting by_key = {NULL, NULL};
    if (!plan.empty)
        memory_tree_each(&by_key, state->tables[query->table].roots[0], NULL, search_row, &all);
    if (all.count > 0)
        qsort(all.hits, all.count, sizeof(*all.hits), best_first);
    *ret_checkpoint = state->checkpoint;
    for (size_t i = query->skip; i < all.count && i - query->skip < query->limit && st == BANYAN_OK; i++)
        st = fn(context, all.hits[i].row->key, all.hits[i].row->value, err);
out:
    free(all.hits);
    banyan_arena_release(&all.scratch);
    state_release(state);
    banyan_arena_release(&arena);
    return st;
}

/* ---- handles ---- */

static const struct sink_ops memory_ops = {
    .name = "memory",
    .close = sink_memory_close,
    .claim = sink_memory_claim,
    .checkpoint = sink_memory_checkpoint,
    .flush = sink_memory_flush,
    .finish = sink_memory_finish,
    .asides = sink_memory_asides,
    .get_many = sink_memory_get_many,
    .load_open = sink_memory_load_open,
    .load_rows = sink_memory_load_rows,
    .load_close = sink_memory_load_close,
    .seal = sink_memory_flush,
    .count = sink_memory_count,
};

static const struct sink_view_ops memory_view_ops = {
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

static enum banyan_status home_open(struct sink_home *base, uint32_t number, struct sink **ret,
                                    struct banyan_error *err)
{
    struct sink_memory_home *home = (struct sink_memory_home *)base;
    lock(&home->shared.lock);
    struct memory_generation *generation = find_generation(home, number);
    if (generation != NULL)
        atomic_fetch_add(&generation->holders, 1);
    unlock(&home->shared.lock);
    if (generation == NULL)
        return sink_no_generation(base->projection, number, err);
    struct sink_memory *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base = (struct sink){&memory_ops, base->projection, number};
    sink->home = home;
    sink->generation = generation;
    *ret = &sink->base;
    return BANYAN_OK;
}

static enum banyan_status home_view(struct sink_home *base, struct sink_view **ret, struct banyan_error *err)
{
    struct memory_view *view = alloc_zeroed(1, sizeof(*view));
    view->base = (struct sink_view){&memory_view_ops, base->projection};
    view->home = (struct sink_memory_home *)base;
    *ret = &view->base;
    return BANYAN_OK;
}

static const struct sink_home_ops memory_home_ops = {
    .name = "memory",
    .durable = false,
    .close = home_close,
    .generations = home_generations,
    .make = home_make,
    .open = home_open,
    .serve = home_serve,
    .drop = home_drop,
    .view = home_view,
};

enum banyan_status sink_memory_home(const struct banyan_projection *projection, struct sink_home **ret,
                                    struct banyan_error *err)
{
    enum banyan_status st = sink_check(projection, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_memory_home *home = alloc_zeroed(1, sizeof(*home));
    home->base = (struct sink_home){&memory_home_ops, projection};
    (void)pthread_mutex_init(&home->shared.lock, NULL); /* cannot fail with default attributes */
    *ret = &home->base;
    return BANYAN_OK;
}
