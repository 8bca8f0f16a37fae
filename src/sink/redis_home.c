/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All generations of a view in Redis: see redis_place.h.
 *
 * Each change is one script, which the server runs alone.  How durable it is depends on the server (appendonly): what a
 * crash of the server took away is built again from the log.
 *
 * Threads: any; a lock guards the one connection.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "sink/redis_place.h"
#include "sink/sink_value.h"
#include "sink/sinks.h"

struct redis_home {
    struct sink_home base;
    struct redis_place place;
    struct {
        pthread_mutex_t lock;
        struct redis_conn conn;
    } shared;
};

static enum banyan_status begin_use(struct redis_home *home, struct banyan_error *err)
{
    (void)pthread_mutex_lock(&home->shared.lock); /* fails only for a lock that is none */
    return redis_use(&home->shared.conn, err);
}

static enum banyan_status end_use(struct redis_home *home, enum banyan_status st)
{
    (void)pthread_mutex_unlock(&home->shared.lock); /* as above */
    return st;
}

/* ---- generations ---- */

static const char list_all[] =
    "local p = ARGV[1] local all = {redis.call('GET', p .. 'serving') or '0'} "
    "for _, n in ipairs(redis.call('ZRANGE', p .. 'numbers', 0, 15)) do "
    "  local m = redis.call('HMGET', p .. n .. ':meta', 'form', 'version', 'sealed', 'position', 'at', 'lsn', "
    "    'made_at', 'served_at', 'served') "
    "  table.insert(m, 1, n) all[#all + 1] = m "
    "end "
    "return all";

static void read_generation(const redisReply *reply, uint32_t serving, struct sink_generation *ret)
{
    uint32_t number = (uint32_t)redis_number(redis_item(reply, 0));
    struct banyan_str form = redis_text(redis_item(reply, 1));
    bool served = redis_number(redis_item(reply, 9)) != 0;
    *ret = (struct sink_generation){
        .number = number,
        .state = number == serving ? SINK_SERVING
                 : served          ? SINK_KEPT
                                   : SINK_BUILDING,
        .version = (unsigned)redis_number(redis_item(reply, 2)),
        .sealed = redis_number(redis_item(reply, 3)) != 0,
        .checkpoint = {.position = {(uint64_t)redis_number(redis_item(reply, 4))},
                       .at = {redis_number(redis_item(reply, 5))},
                       .source_lsn = (uint64_t)redis_number(redis_item(reply, 6)),
                       .generation = number},
        .made_at = {redis_number(redis_item(reply, 7))},
        .served_at = {number == serving ? redis_number(redis_item(reply, 8)) : BANYAN_TIME_NULL},
    };
    memcpy(ret->form, form.data == NULL ? "" : form.data, form.size < SINK_FORM_SIZE ? form.size : SINK_FORM_SIZE - 1);
    ret->checkpoint.ready = sink_form_mark(ret->form);
}

static enum banyan_status list(struct redis_home *home, struct sink_generation *ret, size_t *ret_count,
                               struct banyan_error *err)
{
    redisReply *all = NULL;
    redis_begin_script(&home->shared.conn, list_all);
    enum banyan_status st = redis_call(&home->shared.conn, &all, err);
    if (st != BANYAN_OK)
        return st;
    uint32_t serving = (uint32_t)redis_number(redis_item(all, 0));
    *ret_count = 0;
    for (size_t i = 1; redis_item(all, i) != NULL && *ret_count < SINK_GENERATIONS_MAX; i++)
        read_generation(redis_item(all, i), serving, &ret[(*ret_count)++]);
    freeReplyObject(all);
    return BANYAN_OK;
}

static enum banyan_status home_generations(struct sink_home *base, struct sink_generation *ret, size_t *ret_count,
                                           struct banyan_error *err)
{
    struct redis_home *home = (struct redis_home *)base;
    enum banyan_status st = begin_use(home, err);
    return end_use(home, st == BANYAN_OK ? list(home, ret, ret_count, err) : st);
}

static const char make_one[] =
    "local p = ARGV[1] if redis.call('ZCARD', p .. 'numbers') >= tonumber(ARGV[2]) then return 0 end "
    "local n = redis.call('INCR', p .. 'last') "
    "redis.call('ZADD', p .. 'numbers', n, n) "
    "redis.call('HSET', p .. n .. ':meta', 'form', ARGV[3], 'version', ARGV[4], 'sealed', '0', 'position', '0', "
    "  'at', '0', 'lsn', '0', 'made_at', ARGV[5], 'layout', ARGV[6]) "
    "return n";

static enum banyan_status home_make(struct sink_home *base, struct sink_mark ready, uint32_t *ret_number,
                                    struct banyan_error *err)
{
    struct redis_home *home = (struct redis_home *)base;
    struct redis_conn *conn = &home->shared.conn;
    struct banyan_buf layout = BANYAN_BUF_INIT(REDIS_KEY_MAX);
    redisReply *reply = NULL;
    char form[SINK_FORM_SIZE];
    int64_t number = 0;
    sink_form_marked(base->projection, ready, form);
    redis_add_layout(base->projection, &layout);
    enum banyan_status st = begin_use(home, err);
    if (st == BANYAN_OK)
        st = redis_sweep(conn, err);
    if (st == BANYAN_OK) {
        redis_begin_script(conn, make_one);
        redis_add_int(conn, SINK_GENERATIONS_MAX);
        redis_add(conn, banyan_str_of(form));
        redis_add_int(conn, base->projection->version);
        redis_add_int(conn, os_clock_now(os_clock_real()).us);
        redis_add(conn, banyan_buf_str(&layout));
        st = redis_call(conn, &reply, err);
    }
    if (st == BANYAN_OK) {
        number = redis_number(reply);
        freeReplyObject(reply);
        if (number == 0)
            st = sink_make_check(base->projection, SINK_GENERATIONS_MAX, err);
    }
    if (st == BANYAN_OK)
        *ret_number = (uint32_t)number;
    banyan_buf_release(&layout);
    return end_use(home, st);
}

static const char serve_one[] =
    "local p = ARGV[1] local s = redis.call('GET', p .. 'serving') "
    "if (s or '0') ~= ARGV[2] or redis.call('HGET', p .. ARGV[3] .. ':meta', 'sealed') ~= '1' then return 0 end "
    "if s then redis.call('HSET', p .. s .. ':meta', 'served', '1') end "
    "redis.call('SET', p .. 'serving', ARGV[3]) "
    "redis.call('HSET', p .. ARGV[3] .. ':meta', 'served_at', ARGV[4]) "
    "return 1";

static const char drop_one[] =
    "local p = ARGV[1] local m = p .. ARGV[2] .. ':' "
    "if redis.call('GET', p .. 'serving') == ARGV[2] then return 0 end "
    "redis.call('HSET', p .. 'garbage', ARGV[2], redis.call('HGET', m .. 'meta', 'layout') or '') "
    "redis.call('ZREM', p .. 'numbers', ARGV[2]) "
    "redis.call('DEL', m .. 'meta', m .. 'epoch', m .. 'asides') "
    "return 1";

/* Run a script that says 1, or 0 when the world changed since it was looked at. */
static enum banyan_status change(struct redis_home *home, struct banyan_error *err)
{
    redisReply *reply = NULL;
    enum banyan_status st = redis_call(&home->shared.conn, &reply, err);
    if (st != BANYAN_OK)
        return st;
    if (redis_number(reply) != 1)
        st = banyan_error_set(err, BANYAN_CONFLICT, "view %s: somebody else switched at the same time",
                              home->base.projection->name);
    freeReplyObject(reply);
    return st;
}

static enum banyan_status home_serve(struct sink_home *base, uint32_t expected, uint32_t number,
                                     struct banyan_error *err)
{
    struct redis_home *home = (struct redis_home *)base;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = begin_use(home, err);
    if (st == BANYAN_OK)
        st = list(home, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_serve_check(base->projection, all, count, expected, number, err);
    if (st == BANYAN_OK && expected != number) {
        redis_begin_script(&home->shared.conn, serve_one);
        redis_add_int(&home->shared.conn, expected);
        redis_add_int(&home->shared.conn, number);
        redis_add_int(&home->shared.conn, os_clock_now(os_clock_real()).us);
        st = change(home, err);
    }
    return end_use(home, st);
}

static enum banyan_status home_drop(struct sink_home *base, uint32_t number, struct banyan_error *err)
{
    struct redis_home *home = (struct redis_home *)base;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = begin_use(home, err);
    if (st == BANYAN_OK)
        st = list(home, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_drop_check(base->projection, all, count, number, err);
    if (st == BANYAN_OK) {
        redis_begin_script(&home->shared.conn, drop_one);
        redis_add_int(&home->shared.conn, number);
        st = change(home, err);
    }
    if (st == BANYAN_OK)
        st = redis_sweep(&home->shared.conn, err);
    return end_use(home, st);
}

/* ---- handles ---- */

static enum banyan_status home_open(struct sink_home *base, uint32_t number, struct sink **ret,
                                    struct banyan_error *err)
{
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = home_generations(base, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_open_check(base->projection, all, count, number, err);
    if (st == BANYAN_OK)
        *ret = redis_sink_open(&((struct redis_home *)base)->place, number);
    return st;
}

static enum banyan_status home_view(struct sink_home *base, struct sink_view **ret, struct banyan_error *err)
{
    *ret = redis_view_open(&((struct redis_home *)base)->place);
    return BANYAN_OK;
}

static void home_close(struct sink_home *base)
{
    struct redis_home *home = (struct redis_home *)base;
    redis_conn_close(&home->shared.conn);
    (void)pthread_mutex_destroy(&home->shared.lock); /* nobody holds it */
    redis_place_release(&home->place);
    free(home);
}

static const struct sink_home_ops redis_home_ops = {
    .name = "redis",
    .durable = true,
    .close = home_close,
    .generations = home_generations,
    .make = home_make,
    .open = home_open,
    .serve = home_serve,
    .drop = home_drop,
    .view = home_view,
};

enum banyan_status sink_redis_home(const struct banyan_projection *projection, const char *address, const char *view,
                                   struct sink_home **ret, struct banyan_error *err)
{
    enum banyan_status st = sink_check(projection, err);
    if (st != BANYAN_OK)
        return st;
    if (strncmp(address, "rediss://", 9) == 0) {
        st = banyan_error_set(err, BANYAN_INVALID, "view %s: Redis over TLS is not supported", view);
        banyan_error_hint(err, "put a TLS proxy in front of it, or use a Unix socket");
        return st;
    }
    struct redis_home *home = alloc_zeroed(1, sizeof(*home));
    home->base = (struct sink_home){&redis_home_ops, projection};
    home->place = (struct redis_place){projection, alloc_text(address), alloc_text(view)};
    redis_conn_init(&home->shared.conn, &home->place);
    (void)pthread_mutex_init(&home->shared.lock, NULL); /* cannot fail with default attributes */
    st = end_use(home, begin_use(home, err));
    if (st != BANYAN_OK) {
        home_close(&home->base);
        return st;
    }
    *ret = &home->base;
    return BANYAN_OK;
}
