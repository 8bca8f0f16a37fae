/* SPDX-License-Identifier: Apache-2.0 */
/* Domain queries over a view: see query.h. */
#include "projection/query.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"

struct banyan_reader {
    struct sink_view *view;
    struct banyan_arena arena;
    struct banyan_error err; /* of the first read that failed: the answer is worth nothing then */
};

struct banyan_answer {
    const struct banyan_query *query;
    struct banyan_arena arena;
    void **rows;
    size_t count, capacity;
    struct banyan_error err; /* it was refused, or is too large */
};

const struct banyan_query *query_find(const struct banyan_projection *projection, struct banyan_str name)
{
    for (size_t i = 0; i < projection->query_count; i++)
        if (banyan_str_equal(banyan_str_of(projection->queries[i].name), name))
            return &projection->queries[i];
    return NULL;
}

/* ---- reading ---- */

struct one {
    const struct banyan_record *record;
    struct banyan_arena *arena;
    void *row;
    bool found;
};

static enum banyan_status take_one(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct one *one = context;
    (void)key, (void)err;
    banyan_record_copy(one->record, one->row, row, one->arena);
    one->found = true;
    return BANYAN_OK;
}

static void failed(struct banyan_reader *reader, enum banyan_status status, const struct banyan_error *err)
{
    if (reader->err.status != BANYAN_OK)
        return;
    reader->err = *err;
    reader->err.status = status;
}

bool banyan_reader_get(struct banyan_reader *reader, unsigned table, int64_t key, void *ret_row)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct one one = {reader->view->projection->tables[table].row, &reader->arena, ret_row, false};
    if (reader->err.status != BANYAN_OK)
        return false;
    enum banyan_status st = reader->view->ops->get(reader->view, table, key, &checkpoint, take_one, &one, &err);
    if (st != BANYAN_OK)
        failed(reader, st, &err);
    return st == BANYAN_OK && one.found;
}

struct each {
    bool (*fn)(void *context, const void *row);
    void *context;
    size_t left; /* SIZE_MAX: no limit */
};

/* Ends a list early: STOPPED is no failure here. */
static enum banyan_status take_each(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct each *each = context;
    (void)key, (void)err;
    if (each->left-- == 0 || !each->fn(each->context, row))
        return BANYAN_STOPPED;
    return BANYAN_OK;
}

void banyan_reader_each(struct banyan_reader *reader, const struct banyan_reader_list *list,
                        bool (*fn)(void *context, const void *row), void *context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_view *view = reader->view;
    struct sink_checkpoint checkpoint;
    struct each each = {fn, context, list->limit == 0 ? SIZE_MAX : list->limit};
    enum banyan_status st;
    if (reader->err.status != BANYAN_OK)
        return;
    if (list->index == NULL) {
        st = view->ops->range(view, list->table, INT64_MIN, INT64_MAX, &checkpoint, take_each, &each, &err);
    } else {
        struct sink_list query = {.table = list->table,
                                  .index = list->index,
                                  .equal = list->equal,
                                  .from = list->from,
                                  .to = list->to,
                                  .limit = list->limit == 0 ? SIZE_MAX : list->limit};
        st = view->ops->list(view, &query, &checkpoint, take_each, &each, &err);
    }
    if (st != BANYAN_OK && st != BANYAN_STOPPED)
        failed(reader, st, &err);
}

struct banyan_arena *banyan_reader_arena(struct banyan_reader *reader)
{
    return &reader->arena;
}

/* ---- answering ---- */

void banyan_answer_row(struct banyan_answer *answer, const void *row)
{
    if (answer->err.status != BANYAN_OK)
        return;
    if (answer->count == QUERY_ROWS_MAX) {
        answer->err.status =
            banyan_error_set(&answer->err, BANYAN_LIMIT, "the answer has more than %d rows", (int)QUERY_ROWS_MAX);
        banyan_error_hint(&answer->err, "ask for less at once");
        return;
    }
    if (answer->count == answer->capacity) {
        answer->capacity = answer->capacity == 0 ? 64 : answer->capacity * 2;
        answer->rows = alloc_resized(answer->rows, answer->capacity, sizeof(*answer->rows));
    }
    void *copy = banyan_arena_alloc(&answer->arena, answer->query->row->size);
    banyan_record_copy(answer->query->row, copy, row, &answer->arena);
    answer->rows[answer->count++] = copy;
}

void banyan_answer_refuse(struct banyan_answer *answer, const char *text)
{
    if (answer->err.status == BANYAN_OK)
        answer->err.status = banyan_error_set(&answer->err, BANYAN_INVALID, "query %s: %s", answer->query->name, text);
}

static enum banyan_status give(const struct banyan_answer *answer, sink_row_fn fn, void *context,
                               struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < answer->count && st == BANYAN_OK; i++)
        st = fn(context, (int64_t)i, answer->rows[i], err);
    return st;
}

enum banyan_status query_run(struct sink_view *view, const struct banyan_query *query, const void *arguments,
                             struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                             struct banyan_error *err)
{
    struct banyan_reader reader = {.view = view, .arena = BANYAN_ARENA_INIT};
    struct banyan_answer answer = {.query = query, .arena = BANYAN_ARENA_INIT};
    enum banyan_status st = view->ops->begin(view, ret_checkpoint, err);
    if (st != BANYAN_OK)
        return st;
    query->answer(arguments, &reader, &answer);
    view->ops->end(view);
    const struct banyan_error *why = reader.err.status != BANYAN_OK ? &reader.err : &answer.err;
    if (why->status != BANYAN_OK) {
        st = why->status;
        if (err != NULL)
            *err = *why;
    } else {
        st = give(&answer, fn, context, err);
    }
    free(answer.rows);
    banyan_arena_release(&answer.arena);
    banyan_arena_release(&reader.arena);
    return st;
}

enum banyan_status query_facade(struct sink_view *view, const struct query_facade *asked, struct banyan_arena *arena,
                                struct sink_checkpoint *ret_checkpoint, struct banyan_response *ret,
                                struct banyan_error *err)
{
    struct banyan_reader reader = {.view = view, .arena = BANYAN_ARENA_INIT};
    struct banyan_response response;
    enum banyan_status st = view->ops->begin(view, ret_checkpoint, err);
    if (st != BANYAN_OK)
        return st;
    asked->facade->read(asked->request, asked->route, &reader, arena, &response);
    view->ops->end(view);
    st = reader.err.status;
    if (st == BANYAN_OK)
        *ret = response;
    else if (err != NULL)
        *err = reader.err;
    banyan_arena_release(&reader.arena);
    return st;
}
