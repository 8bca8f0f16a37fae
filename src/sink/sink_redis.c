/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation of a read model in Redis.
 *
 * A flush is MULTI … EXEC behind WATCH of the owner's epoch: the server runs all of it or, when somebody claimed the
 * generation meanwhile or the connection is lost before EXEC, nothing.  Where lists may change, the places that rows
 * have in them are read first, from the rows themselves.
 *
 *   we:     WATCH epoch, GET epoch = ours            MULTI, rows, checkpoint, EXEC → nil: BROKEN
 *   other:                              INCR epoch
 *
 * Threads: one a handle, but for loads, which have connections of their own.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "sink/redis_place.h"
#include "sink/sink_sql.h"
#include "sink/sink_value.h"

enum {
    LOAD_ROWS = 1000, /* of one MULTI */
};

struct sink_redis {
    struct sink base;
    struct redis_place place;
    struct redis_conn conn;
    int64_t epoch; /* 0: not claimed */
    bool sealed;
};

struct sink_load {
    struct sink_redis *sink;
    unsigned table;
    struct redis_conn conn;
};

/* A transaction at hand. */
struct writing {
    struct sink_redis *sink;
    struct redis_conn *conn;
    const struct sink_row *rows;
    size_t count;
    bool fresh;          /* no row is there yet */
    redisReply **places; /* of rows that may be in lists already: what they are there; NULL: need not be known */
};

static void redis_close(struct sink *base)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    redis_conn_close(&sink->conn);
    redis_place_release(&sink->place);
    free(sink);
}

/* ---- claim and checkpoint ---- */

static const char claim_one[] =
    "local m = ARGV[1] .. ARGV[2] .. ':' local form = redis.call('HGET', m .. 'meta', 'form') "
    "if not form then return {} end "
    "if string.sub(form, 1, #ARGV[3]) ~= ARGV[3] then return {form} end "
    "local t = redis.call('HMGET', m .. 'meta', 'sealed', 'layout') "
    "if t[1] ~= '1' then redis.call('DEL', m .. 'asides') end "
    "return {form, redis.call('INCR', m .. 'epoch'), t[1], t[2]}";

static enum banyan_status redis_checkpoint(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    redisReply *reply = NULL;
    enum banyan_status st = redis_use(&sink->conn, err);
    if (st != BANYAN_OK)
        return st;
    redis_begin(&sink->conn, "HMGET");
    redis_add_key(&sink->conn, base->generation, "meta");
    redis_add(&sink->conn, BANYAN_STR("position"));
    redis_add(&sink->conn, BANYAN_STR("at"));
    redis_add(&sink->conn, BANYAN_STR("lsn"));
    st = redis_call(&sink->conn, &reply, err);
    if (st != BANYAN_OK)
        return st;
    if (redis_text(redis_item(reply, 0)).data == NULL)
        st = sink_no_generation(base->projection, base->generation, err);
    else
        *ret = (struct sink_checkpoint){.position = {(uint64_t)redis_number(redis_item(reply, 0))},
                                        .at = {redis_number(redis_item(reply, 1))},
                                        .source_lsn = (uint64_t)redis_number(redis_item(reply, 2)),
                                        .generation = base->generation};
    freeReplyObject(reply);
    return st;
}

static enum banyan_status redis_claim(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    redisReply *reply = NULL;
    char form[SINK_FORM_SIZE];
    sink_form(base->projection, form);
    enum banyan_status st = redis_use(&sink->conn, err);
    if (st != BANYAN_OK)
        return st;
    redis_begin_script(&sink->conn, claim_one);
    redis_add_int(&sink->conn, base->generation);
    redis_add(&sink->conn, banyan_str_of(form));
    st = redis_call(&sink->conn, &reply, err);
    if (st != BANYAN_OK)
        return st;
    struct banyan_str stored = redis_text(redis_item(reply, 0));
    if (stored.data == NULL)
        st = sink_no_generation(base->projection, base->generation, err);
    else
        st = sink_form_check(base->projection, base->generation, stored.data, err);
    if (st == BANYAN_OK) {
        sink->base.ready = sink_form_mark(stored.data);
        sink->epoch = redis_number(redis_item(reply, 1));
        sink->sealed = redis_number(redis_item(reply, 2)) != 0;
        if (!sink->sealed) /* whatever was loaded before is not worth keeping */
            st = redis_remove_rows(&sink->conn, base->generation, redis_text(redis_item(reply, 3)), err);
    }
    freeReplyObject(reply);
    return st == BANYAN_OK ? redis_checkpoint(base, ret, err) : st;
}

/* ---- rows ---- */

static const struct banyan_table *table_of(const struct writing *writing, size_t row)
{
    return &writing->sink->base.projection->tables[writing->rows[row].table];
}

static bool changes_lists(const struct writing *writing, size_t row)
{
    const struct banyan_table *table = table_of(writing, row);
    return table->index_count > 0 &&
           (writing->rows[row].row == NULL || (writing->rows[row].changed & sink_sql_indexed_fields(table)) != 0);
}

static void add_list_field(struct redis_conn *conn, const struct banyan_view_index *index)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&name, "@%s", index->name);
    redis_add(conn, banyan_buf_str(&name));
    banyan_buf_release(&name);
}

/* WATCH, compare the epoch, and read the places of rows in lists: one round trip. */
static enum banyan_status look(struct writing *writing, struct banyan_error *err)
{
    struct sink_redis *sink = writing->sink;
    struct redis_conn *conn = writing->conn;
    redisReply *epoch = NULL;
    redis_begin(conn, "WATCH");
    redis_add_key(conn, sink->base.generation, "epoch");
    enum banyan_status st = redis_queue(conn, err);
    redis_begin(conn, "GET");
    redis_add_key(conn, sink->base.generation, "epoch");
    if (st == BANYAN_OK)
        st = redis_queue(conn, err);
    for (size_t i = 0; i < writing->count && st == BANYAN_OK && !writing->fresh; i++) {
        const struct banyan_table *table = table_of(writing, i);
        if (!changes_lists(writing, i))
            continue;
        redis_begin(conn, "HMGET");
        redis_add_row_key(conn, sink->base.generation, table, writing->rows[i].key);
        for (size_t n = 0; n < table->index_count; n++)
            add_list_field(conn, &table->indexes[n]);
        st = redis_queue(conn, err);
    }
    if (st == BANYAN_OK)
        st = redis_take(conn, NULL, err);
    if (st == BANYAN_OK)
        st = redis_take(conn, &epoch, err);
    if (st == BANYAN_OK) {
        if (redis_number(epoch) != sink->epoch || sink->epoch == 0)
            st = sink_taken_over(sink->base.projection, sink->base.generation, err);
        freeReplyObject(epoch);
    }
    for (size_t i = 0; i < writing->count && st == BANYAN_OK && !writing->fresh; i++)
        if (changes_lists(writing, i))
            st = redis_take(conn, &writing->places[i], err);
    return st;
}

/* Its place in one list: the old one out, the new one in, and a note of it in the row. */
static enum banyan_status write_place(struct writing *writing, size_t at, size_t list, struct banyan_error *err)
{
    const struct banyan_table *table = table_of(writing, at);
    const struct sink_row *row = &writing->rows[at];
    struct redis_conn *conn = writing->conn;
    uint32_t generation = writing->sink->base.generation;
    struct banyan_buf member = BANYAN_BUF_INIT(REDIS_KEY_MAX);
    struct banyan_str former = redis_text(redis_item(writing->places[at], list));
    const struct banyan_field *equal = banyan_record_field(table->row, banyan_str_of(table->indexes[list].equal));
    bool there = row->row != NULL && !sink_value_null(equal, row->row);
    enum banyan_status st = BANYAN_OK;
    if (there)
        redis_add_member(table, &table->indexes[list], row->key, row->row, &member);
    if (former.data != NULL && !(there && banyan_str_equal(former, banyan_buf_str(&member)))) {
        redis_begin(conn, "ZREM");
        redis_add_set_key(conn, generation, table, table->indexes[list].name);
        redis_add(conn, former);
        st = redis_queue(conn, err);
    }
    if (st == BANYAN_OK && there) {
        redis_begin(conn, "ZADD");
        redis_add_set_key(conn, generation, table, table->indexes[list].name);
        redis_add_int(conn, 0);
        redis_add(conn, banyan_buf_str(&member));
        st = redis_queue(conn, err);
    }
    if (st == BANYAN_OK && row->row != NULL) {
        redis_begin(conn, there ? "HSET" : "HDEL");
        redis_add_row_key(conn, generation, table, row->key);
        add_list_field(conn, &table->indexes[list]);
        if (there)
            redis_add(conn, banyan_buf_str(&member));
        st = redis_queue(conn, err);
    }
    banyan_buf_release(&member);
    return st;
}

static enum banyan_status write_key(struct writing *writing, size_t at, struct banyan_error *err)
{
    const struct sink_row *row = &writing->rows[at];
    struct banyan_buf member = BANYAN_BUF_INIT(256);
    redis_add_key_member(&member, row->key);
    redis_begin(writing->conn, row->row == NULL ? "ZREM" : "ZADD");
    redis_add_set_key(writing->conn, writing->sink->base.generation, table_of(writing, at), "");
    if (row->row != NULL)
        redis_add_int(writing->conn, 0);
    redis_add(writing->conn, banyan_buf_str(&member));
    banyan_buf_release(&member);
    return redis_queue(writing->conn, err);
}

/* Columns with a value are set (*set*), the others removed. */
static enum banyan_status write_columns(struct writing *writing, size_t at, bool set, struct banyan_error *err)
{
    const struct banyan_table *table = table_of(writing, at);
    const struct sink_row *row = &writing->rows[at];
    struct banyan_buf text = BANYAN_BUF_INIT(512L * REDIS_KEY_MAX);
    bool any = false;
    redis_begin(writing->conn, set ? "HSET" : "HDEL");
    redis_add_row_key(writing->conn, writing->sink->base.generation, table, row->key);
    for (size_t f = 0; f < table->row->field_count; f++) {
        const struct banyan_field *field = &table->row->fields[f];
        if (sink_value_null(field, row->row) == set)
            continue;
        any = true;
        redis_add(writing->conn, banyan_str_of(field->name));
        banyan_buf_reset(&text);
        if (set) {
            banyan_field_text(field, row->row, &text);
            redis_add(writing->conn, banyan_buf_str(&text));
        }
    }
    banyan_buf_release(&text);
    return any ? redis_queue(writing->conn, err) : BANYAN_OK;
}

static enum banyan_status write_row(struct writing *writing, size_t at, struct banyan_error *err)
{
    const struct banyan_table *table = table_of(writing, at);
    const struct sink_row *row = &writing->rows[at];
    enum banyan_status st = write_key(writing, at, err);
    for (size_t list = 0; list < table->index_count && st == BANYAN_OK && changes_lists(writing, at); list++)
        st = write_place(writing, at, list, err);
    if (st == BANYAN_OK && row->row == NULL) {
        redis_begin(writing->conn, "DEL");
        redis_add_row_key(writing->conn, writing->sink->base.generation, table, row->key);
        return redis_queue(writing->conn, err);
    }
    if (st == BANYAN_OK)
        st = write_columns(writing, at, true, err);
    return st == BANYAN_OK && !writing->fresh ? write_columns(writing, at, false, err) : st;
}

/* ---- flush ---- */

static enum banyan_status write_aside(struct writing *writing, const struct sink_aside *aside, bool put,
                                      struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(512L * REDIS_KEY_MAX);
    redis_begin(writing->conn, put ? "HSET" : "HDEL");
    redis_add_key(writing->conn, writing->sink->base.generation, "asides");
    banyan_buf_printf(&text, "%c %" PRId64 " ", aside->by_stream ? 's' : 'k', aside->key);
    banyan_buf_add_str(&text, aside->stream);
    redis_add(writing->conn, banyan_buf_str(&text));
    if (put) {
        banyan_buf_reset(&text);
        banyan_buf_printf(&text, "%" PRIu64 " %" PRId64 " %" PRIu64 " ", aside->position.value, aside->at.us,
                          aside->held);
        banyan_buf_add_str(&text, aside->reason);
        redis_add(writing->conn, banyan_buf_str(&text));
    }
    banyan_buf_release(&text);
    return redis_queue(writing->conn, err);
}

static enum banyan_status write_checkpoint(struct writing *writing, const struct sink_flush *flush,
                                           struct banyan_error *err)
{
    struct redis_conn *conn = writing->conn;
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < flush->released_count && st == BANYAN_OK; i++)
        st = write_aside(writing, &flush->released[i], false, err);
    for (size_t i = 0; i < flush->aside_count && st == BANYAN_OK; i++)
        st = write_aside(writing, &flush->asides[i], true, err);
    redis_begin(conn, "HSET");
    redis_add_key(conn, writing->sink->base.generation, "meta");
    redis_add(conn, BANYAN_STR("position"));
    redis_add_int(conn, (int64_t)flush->checkpoint.position.value);
    redis_add(conn, BANYAN_STR("at"));
    redis_add_int(conn, flush->checkpoint.at.us);
    redis_add(conn, BANYAN_STR("lsn"));
    redis_add_int(conn, (int64_t)flush->checkpoint.source_lsn);
    redis_add(conn, BANYAN_STR("sealed"));
    redis_add_int(conn, 1);
    return st == BANYAN_OK ? redis_queue(conn, err) : st;
}

/* Take all replies of MULTI … EXEC; that of EXEC is the last. */
static enum banyan_status execute(struct writing *writing, struct banyan_error *err)
{
    redisReply *last = NULL;
    redis_begin(writing->conn, "EXEC");
    enum banyan_status st = redis_queue(writing->conn, err);
    while (st == BANYAN_OK && writing->conn->queued > 1)
        st = redis_take(writing->conn, NULL, err);
    if (st == BANYAN_OK)
        st = redis_take(writing->conn, &last, err);
    if (st != BANYAN_OK)
        return st;
    if (last->type == REDIS_REPLY_NIL)
        st = sink_taken_over(writing->sink->base.projection, writing->sink->base.generation, err);
    for (size_t i = 0; last->type == REDIS_REPLY_ARRAY && i < last->elements && st == BANYAN_OK; i++)
        if (last->element[i]->type == REDIS_REPLY_ERROR)
            st = banyan_error_set(err, BANYAN_QUERY, "the Redis server of view %s: %s", writing->sink->place.view,
                                  last->element[i]->str);
    freeReplyObject(last);
    return st;
}

/* Rows and, where *flush* is not NULL, what else it has, in one transaction. */
static enum banyan_status transact(struct writing *writing, const struct sink_flush *flush, struct banyan_error *err)
{
    writing->places = alloc_zeroed(writing->count + 1, sizeof(redisReply *));
    enum banyan_status st = redis_use(writing->conn, err);
    if (st == BANYAN_OK)
        st = look(writing, err);
    redis_begin(writing->conn, "MULTI");
    if (st == BANYAN_OK)
        st = redis_queue(writing->conn, err);
    for (size_t i = 0; i < writing->count && st == BANYAN_OK; i++)
        st = write_row(writing, i, err);
    if (st == BANYAN_OK && flush != NULL)
        st = write_checkpoint(writing, flush, err);
    if (st == BANYAN_OK)
        st = execute(writing, err);
    for (size_t i = 0; i < writing->count; i++)
        if (writing->places[i] != NULL)
            freeReplyObject(writing->places[i]);
    free(writing->places);
    if (st != BANYAN_OK)
        redis_conn_close(writing->conn); /* nothing of a transaction that failed can be left */
    return st;
}

static enum banyan_status redis_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    struct writing writing = {.sink = sink, .conn = &sink->conn, .rows = flush->rows, .count = flush->row_count};
    enum banyan_status st = transact(&writing, flush, err);
    sink->sealed |= st == BANYAN_OK;
    return st;
}

static enum banyan_status redis_finish(struct sink *base, struct banyan_error *err)
{
    return BANYAN_OK; /* lists are there from the beginning */
}

/* ---- read ---- */

static enum banyan_status sink_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                      size_t *ret_count, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    redisReply *reply = NULL;
    enum banyan_status st = redis_use(&sink->conn, err);
    if (st != BANYAN_OK)
        return st;
    redis_begin(&sink->conn, "HGETALL");
    redis_add_key(&sink->conn, base->generation, "asides");
    st = redis_call(&sink->conn, &reply, err);
    if (st != BANYAN_OK)
        return st;
    st = redis_asides(reply, arena, ret, ret_count, err);
    freeReplyObject(reply);
    return st;
}

static enum banyan_status redis_get_many(struct sink *base, unsigned table, const int64_t *keys, size_t count,
                                         struct banyan_arena *arena, void **rows, bool *found, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = redis_use(&sink->conn, err);
    if (st != BANYAN_OK)
        return st;
    const struct banyan_table *about = &base->projection->tables[table];
    const struct banyan_field *key = banyan_record_field(about->row, banyan_str_of(about->key_column));
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        redis_begin(&sink->conn, "HMGET");
        redis_add_row_key(&sink->conn, base->generation, about, keys[i]);
        for (size_t f = 0; f < about->row->field_count; f++)
            redis_add(&sink->conn, banyan_str_of(about->row->fields[f].name));
        st = redis_queue(&sink->conn, err);
    }
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        redisReply *reply = NULL;
        st = redis_take(&sink->conn, &reply, err);
        if (st != BANYAN_OK)
            break;
        found[i] = redis_text(redis_item(reply, (size_t)(key - about->row->fields))).data != NULL;
        if (found[i])
            st = redis_row(about, reply, arena, rows[i], err);
        freeReplyObject(reply);
    }
    return st;
}

static enum banyan_status redis_count(struct sink *base, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    redisReply *reply = NULL;
    enum banyan_status st = sink_table_check(base->projection, table, err);
    if (st == BANYAN_OK)
        st = redis_use(&sink->conn, err);
    if (st != BANYAN_OK)
        return st;
    redis_begin(&sink->conn, "ZCARD");
    redis_add_set_key(&sink->conn, base->generation, &base->projection->tables[table], "");
    st = redis_call(&sink->conn, &reply, err);
    if (st != BANYAN_OK)
        return st;
    *ret = (uint64_t)redis_number(reply);
    freeReplyObject(reply);
    return BANYAN_OK;
}

/* ---- load ---- */

static enum banyan_status redis_load_open(struct sink *base, unsigned table, struct sink_load **ret,
                                          struct banyan_error *err)
{
    struct sink_redis *sink = (struct sink_redis *)base;
    enum banyan_status st = sink_load_check(base, table, sink->sealed, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_load *load = alloc_zeroed(1, sizeof(*load));
    load->sink = sink;
    load->table = table;
    redis_conn_init(&load->conn, &sink->place);
    st = redis_use(&load->conn, err);
    if (st != BANYAN_OK) {
        redis_conn_close(&load->conn);
        free(load);
        return st;
    }
    *ret = load;
    return BANYAN_OK;
}

static enum banyan_status redis_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                          struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t at = 0; at < count && st == BANYAN_OK; at += LOAD_ROWS) {
        struct sink_row some[LOAD_ROWS];
        size_t kept = 0;
        for (size_t i = at; i < count && i < at + LOAD_ROWS; i++)
            if (rows[i].row != NULL)
                some[kept++] = (struct sink_row){load->table, rows[i].key, rows[i].row, UINT64_MAX};
        struct writing writing = {.sink = load->sink, .conn = &load->conn, .rows = some, .count = kept, .fresh = true};
        st = transact(&writing, NULL, err);
    }
    return st;
}

static enum banyan_status redis_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    redis_conn_close(&load->conn); /* each part was written at once; nobody reads it before seal() */
    free(load);
    return BANYAN_OK;
}

static const struct sink_ops redis_ops = {
    .name = "redis",
    .close = redis_close,
    .claim = redis_claim,
    .checkpoint = redis_checkpoint,
    .flush = redis_flush,
    .finish = redis_finish,
    .asides = sink_asides,
    .get_many = redis_get_many,
    .load_open = redis_load_open,
    .load_rows = redis_load_rows,
    .load_close = redis_load_close,
    .seal = redis_flush,
    .count = redis_count,
};

struct sink *redis_sink_open(const struct redis_place *place, uint32_t generation)
{
    struct sink_redis *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base = (struct sink){&redis_ops, place->projection, generation};
    sink->place = redis_place_copy(place);
    redis_conn_init(&sink->conn, &sink->place);
    return &sink->base;
}
