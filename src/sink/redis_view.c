/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to a view in Redis: each is one script, which the server runs alone, so that rows and checkpoint are of one
 * instant and one generation.
 *
 * Redis keeps no former states: between begin() and end() a question is answered while the checkpoint of begin() is
 * still that of its generation; when it moved the answer is BUSY, and who asks begins anew.
 *
 * Threads: one a view.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sink/redis_place.h"
#include "sink/sink_value.h"

enum {
    HALF_FORM = SINK_FORM_DIGITS / 2, /* what sink_form_readable() compares */
    NOT_BUILT = 0,
    MOVED = 1,
    ROWS_AT = 6, /* in the answer: behind code, generation, position, at, lsn, form */
};

struct redis_view {
    struct sink_view base;
    struct redis_place place;
    struct redis_conn conn;
    bool held;                         /* between begin and end */
    struct sink_checkpoint checkpoint; /* of begin() */
};

/* ARGV: 2 generation (0: that which serves), 3 the position it must be at (or empty), 4 beginning of the form, 5 table,
 * 6 what: "none", "asides", "key", or the sorted set, 7 key or lowest member, 8 highest member, 9 limit, then columns.
 */
static const char ask_script[] =
    "local p, g = ARGV[1], ARGV[2] "
    "if g == '0' then g = redis.call('GET', p .. 'serving') end "
    "if not g then return {0} end "
    "local m = redis.call('HMGET', p .. g .. ':meta', 'form', 'position', 'at', 'lsn') "
    "if ARGV[3] ~= '' and m[2] ~= ARGV[3] then return {1} end "
    "if not m[1] or string.sub(m[1], 1, #ARGV[4]) ~= ARGV[4] then return {0} end "
    "local answer = {2, g, m[2], m[3], m[4], m[1]} "
    "local what = ARGV[6] "
    "if what == 'none' then return answer end "
    "if what == 'asides' then answer[7] = redis.call('HGETALL', p .. g .. ':asides') return answer end "
    "local columns, keys, rows = {}, {}, {} "
    "for i = 10, #ARGV do columns[#columns + 1] = ARGV[i] end "
    "if what == 'key' then keys[1] = ':' .. ARGV[7] "
    "elseif ARGV[9] == '-1' then keys = redis.call('ZRANGEBYLEX', p .. g .. ':' .. what, ARGV[7], ARGV[8]) "
    "else keys = redis.call('ZRANGEBYLEX', p .. g .. ':' .. what, ARGV[7], ARGV[8], 'LIMIT', 0, ARGV[9]) end "
    "for i, k in ipairs(keys) do "
    "  rows[i] = redis.call('HMGET', p .. g .. ':' .. ARGV[5] .. string.match(k, ':%-?%d+$'), unpack(columns)) "
    "end "
    "answer[7] = rows "
    "return answer";

struct question {
    const struct banyan_table *table; /* NULL: none */
    const char *what;
    struct banyan_str low, high;
    int64_t limit;
};

static enum banyan_status send_once(struct redis_view *view, const struct question *question, redisReply **ret,
                                    struct banyan_error *err)
{
    struct redis_conn *conn = &view->conn;
    char form[SINK_FORM_SIZE];
    sink_form(view->base.projection, form);
    enum banyan_status st = redis_use(conn, err);
    if (st != BANYAN_OK)
        return st;
    redis_begin_script(conn, ask_script);
    redis_add_int(conn, view->held ? view->checkpoint.generation : 0);
    if (view->held)
        redis_add_int(conn, (int64_t)view->checkpoint.position.value);
    else
        redis_add(conn, BANYAN_STR(""));
    redis_add(conn, (struct banyan_str){form, HALF_FORM});
    redis_add(conn, banyan_str_of(question->table == NULL ? "" : question->table->name));
    redis_add(conn, banyan_str_of(question->what));
    redis_add(conn, question->low);
    redis_add(conn, question->high);
    redis_add_int(conn, question->limit);
    for (size_t i = 0; question->table != NULL && i < question->table->row->field_count; i++)
        redis_add(conn, banyan_str_of(question->table->row->fields[i].name));
    return redis_call(conn, ret, err);
}

/* A connection that was at rest may have ended with a server that is back by now: that is no reader's problem. */
static enum banyan_status send_question(struct redis_view *view, const struct question *question, redisReply **ret,
                                        struct banyan_error *err)
{
    struct banyan_error problem = BANYAN_ERROR_INIT;
    bool rested = view->conn.context != NULL && !view->held;
    enum banyan_status st = send_once(view, question, ret, &problem);
    if (st == BANYAN_UNAVAILABLE && rested && view->conn.context == NULL) {
        banyan_error_clear(&problem);
        st = send_once(view, question, ret, &problem);
    }
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = problem;
    return st;
}

static enum banyan_status ask(struct redis_view *view, const struct question *question, struct sink_checkpoint *ret,
                              redisReply **ret_reply, struct banyan_error *err)
{
    redisReply *reply = NULL;
    enum banyan_status st = send_question(view, question, &reply, err);
    if (st != BANYAN_OK)
        return st;
    int64_t code = redis_number(redis_item(reply, 0));
    if (code == MOVED)
        st = banyan_error_set(err, BANYAN_BUSY, "view %s moved on between two questions of one instant",
                              view->base.projection->name);
    else if (code == NOT_BUILT)
        st = sink_not_built(view->base.projection, err);
    else
        *ret = (struct sink_checkpoint){.position = {(uint64_t)redis_number(redis_item(reply, 2))},
                                        .at = {redis_number(redis_item(reply, 3))},
                                        .source_lsn = (uint64_t)redis_number(redis_item(reply, 4)),
                                        .generation = (uint32_t)redis_number(redis_item(reply, 1)),
                                        .ready = sink_form_mark(redis_text(redis_item(reply, 5)).data)};
    if (st == BANYAN_OK && ret_reply != NULL)
        *ret_reply = reply;
    else
        freeReplyObject(reply);
    return st;
}

static enum banyan_status ask_rows(struct redis_view *view, const struct question *question,
                                   struct sink_checkpoint *ret, sink_row_fn fn, void *context, struct banyan_error *err)
{
    const struct banyan_table *table = question->table;
    const struct banyan_field *key = banyan_record_field(table->row, banyan_str_of(table->key_column));
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    redisReply *reply = NULL;
    enum banyan_status st = ask(view, question, ret, &reply, err);
    if (st != BANYAN_OK)
        return st;
    const redisReply *rows = redis_item(reply, ROWS_AT);
    void *row = banyan_arena_zalloc(&arena, table->row->size);
    for (size_t i = 0; redis_item(rows, i) != NULL && st == BANYAN_OK; i++) {
        const redisReply *columns = redis_item(rows, i);
        if (redis_text(redis_item(columns, (size_t)(key - table->row->fields))).data == NULL)
            continue; /* of a key that was asked for and is not there */
        st = redis_row(table, columns, NULL, row, err);
        if (st == BANYAN_OK)
            st = fn(context, sink_key_of(table, row), row, err);
    }
    banyan_arena_release(&arena);
    freeReplyObject(reply);
    return st;
}

/* ---- questions ---- */

static enum banyan_status view_checkpoint(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    const struct question question = {.what = "none"};
    return ask((struct redis_view *)base, &question, ret, NULL, err);
}

static enum banyan_status view_asides(struct sink_view *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    const struct question question = {.what = "asides"};
    struct sink_checkpoint checkpoint;
    redisReply *reply = NULL;
    enum banyan_status st = ask((struct redis_view *)base, &question, &checkpoint, &reply, err);
    if (st != BANYAN_OK)
        return st;
    st = redis_asides(redis_item(reply, ROWS_AT), arena, ret, ret_count, err);
    freeReplyObject(reply);
    return st;
}

static enum banyan_status view_get(struct sink_view *base, unsigned table, int64_t key,
                                   struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(64);
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    banyan_buf_printf(&text, "%" PRId64, key);
    const struct question question = {
        .table = &base->projection->tables[table], .what = "key", .low = banyan_buf_str(&text)};
    st = ask_rows((struct redis_view *)base, &question, ret_checkpoint, fn, context, err);
    banyan_buf_release(&text);
    return st;
}

static enum banyan_status view_range(struct sink_view *base, unsigned table, int64_t lo, int64_t hi,
                                     struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                     struct banyan_error *err)
{
    struct banyan_buf low = BANYAN_BUF_INIT(64), high = BANYAN_BUF_INIT(64), set = BANYAN_BUF_INIT(4096);
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    banyan_buf_add_char(&low, '[');
    redis_add_order(&low, lo, false);
    banyan_buf_add_char(&high, hi == INT64_MAX ? '+' : '(');
    if (hi != INT64_MAX)
        redis_add_order(&high, hi, false);
    banyan_buf_printf(&set, "%s@", base->projection->tables[table].name);
    const struct question question = {&base->projection->tables[table], set.data, banyan_buf_str(&low),
                                      banyan_buf_str(&high), -1};
    st = ask_rows((struct redis_view *)base, &question, ret_checkpoint, fn, context, err);
    banyan_buf_release(&low);
    banyan_buf_release(&high);
    banyan_buf_release(&set);
    return st;
}

/* Members go down in time: a list begins behind what is at *to* or later ('g' is behind all digits) or behind the row
 * that a page ended with, whatever is further down. */
static void list_bounds(const struct banyan_table *table, const struct sink_list *query, const void *value,
                        struct banyan_buf *low, struct banyan_buf *high)
{
    const struct banyan_field *equal = banyan_record_field(table->row, banyan_str_of(query->index->equal));
    bool open = query->from.us == BANYAN_TIME_NULL && query->to.us == BANYAN_TIME_NULL;
    banyan_buf_add_char(low, query->to.us == BANYAN_TIME_NULL && !query->after ? '[' : '(');
    banyan_field_text(equal, value, low);
    banyan_buf_add_char(low, '\0');
    if (query->after && (query->to.us == BANYAN_TIME_NULL || query->after_range.us < query->to.us)) {
        redis_add_order(low, query->after_range.us, true);
        redis_add_order(low, query->after_key, true);
        banyan_buf_printf(low, ":%" PRId64, query->after_key);
    } else if (query->to.us != BANYAN_TIME_NULL) {
        redis_add_order(low, query->to.us, true);
        banyan_buf_add_char(low, 'g');
    }
    banyan_buf_add_char(high, '(');
    banyan_field_text(equal, value, high);
    banyan_buf_add_char(high, open ? '\1' : '\0');
    if (!open) {
        redis_add_order(high, query->from.us, true); /* BANYAN_TIME_NULL is the last: those without a time are out */
        if (query->from.us != BANYAN_TIME_NULL)
            banyan_buf_add_char(high, 'g');
    }
}

static enum banyan_status view_list(struct sink_view *base, const struct sink_list *query,
                                    struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                    struct banyan_error *err)
{
    struct banyan_buf low = BANYAN_BUF_INIT(REDIS_KEY_MAX), high = BANYAN_BUF_INIT(REDIS_KEY_MAX);
    struct banyan_buf set = BANYAN_BUF_INIT(4096);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const void *value = NULL;
    enum banyan_status st = sink_list_value(base->projection, query, &arena, &value, err);
    if (st == BANYAN_OK) {
        const struct banyan_table *table = &base->projection->tables[query->table];
        list_bounds(table, query, value, &low, &high);
        banyan_buf_printf(&set, "%s@%s", table->name, query->index->name);
        const struct question question = {table, set.data, banyan_buf_str(&low), banyan_buf_str(&high),
                                          query->limit > INT32_MAX ? INT32_MAX : (int64_t)query->limit};
        st = ask_rows((struct redis_view *)base, &question, ret_checkpoint, fn, context, err);
    }
    banyan_arena_release(&arena);
    banyan_buf_release(&low);
    banyan_buf_release(&high);
    banyan_buf_release(&set);
    return st;
}

static enum banyan_status view_search(struct sink_view *base, const struct sink_search *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "view %s is kept in Redis, which does not search",
                                             base->projection->name);
    banyan_error_hint(err, "ask by key or by list, or keep the view in sqlite, postgres or memory");
    return st;
}

static enum banyan_status view_begin(struct sink_view *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct redis_view *view = (struct redis_view *)base;
    enum banyan_status st = view_checkpoint(base, &view->checkpoint, err);
    view->held = st == BANYAN_OK;
    if (st == BANYAN_OK)
        *ret = view->checkpoint;
    return st;
}

static void view_end(struct sink_view *base)
{
    ((struct redis_view *)base)->held = false;
}

static void view_close(struct sink_view *base)
{
    struct redis_view *view = (struct redis_view *)base;
    redis_conn_close(&view->conn);
    redis_place_release(&view->place);
    free(view);
}

static const struct sink_view_ops redis_view_ops = {
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

struct sink_view *redis_view_open(const struct redis_place *place)
{
    struct redis_view *view = alloc_zeroed(1, sizeof(*view));
    view->base = (struct sink_view){&redis_view_ops, place->projection};
    view->place = redis_place_copy(place);
    redis_conn_init(&view->conn, &view->place);
    return &view->base;
}
