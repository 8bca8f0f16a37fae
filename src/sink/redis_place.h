/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One view in a Redis server, what its home, writer and readers share.  Keys (all of a view in one slot of a cluster):
 *
 *   banyan:{<view>}:serving            number of the generation that serves
 *   banyan:{<view>}:last               the last number that was given
 *   banyan:{<view>}:numbers            sorted set: generations there are
 *   banyan:{<view>}:garbage            hash: generations that were dropped → what is to be removed yet
 *   banyan:{<view>}:<N>:meta           hash: form, version, sealed, position, at, lsn, made_at, served_at, served
 *   banyan:{<view>}:<N>:epoch          of the owner
 *   banyan:{<view>}:<N>:asides         hash: key put aside → position, at, held, reason
 *   banyan:{<view>}:<N>:<table>:<key>  hash: a row, column → text; "no value" is left out; "@<list>": its place there
 *   banyan:{<view>}:<N>:<table>@       sorted set: keys in their order
 *   banyan:{<view>}:<N>:<table>@<list> sorted set: equal, range, key in the order of the list
 *
 * Threads: one a connection.
 */
#ifndef SINK_REDIS_PLACE_H
#define SINK_REDIS_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hiredis/hiredis.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/record.h"
#include "projection/sink.h"

enum {
    REDIS_KEY_MAX = 1 << 20,
    REDIS_ARGUMENTS_MAX = 2 * BANYAN_FIELDS_MAX + 64,
    REDIS_TIMEOUT_S = 30, /* for an answer */
};

struct redis_place {
    const struct banyan_projection *projection;
    char *address, *view; /* owned */
};

struct redis_place redis_place_copy(const struct redis_place *place);
void redis_place_release(struct redis_place *place);

/* ---- a connection ---- */

struct redis_conn {
    const struct redis_place *place; /* borrowed */
    redisContext *context;           /* NULL: to be made */
    size_t queued;                   /* commands whose replies were not taken */
    struct banyan_buf memory;        /* of the arguments at hand */
    size_t ends[REDIS_ARGUMENTS_MAX];
    size_t count; /* arguments */
};

void redis_conn_init(struct redis_conn *conn, const struct redis_place *place);
void redis_conn_close(struct redis_conn *conn); /* may be used again */
BANYAN_MUST_CHECK enum banyan_status redis_use(struct redis_conn *conn, struct banyan_error *err);

/* A command is built argument by argument. */
void redis_begin(struct redis_conn *conn, const char *command);
void redis_add(struct redis_conn *conn, struct banyan_str argument);
void redis_add_int(struct redis_conn *conn, int64_t argument);
/* "banyan:{<view>}:<N>:<suffix>"; *generation* 0: without it. */
void redis_add_key(struct redis_conn *conn, uint32_t generation, const char *suffix);
void redis_add_row_key(struct redis_conn *conn, uint32_t generation, const struct banyan_table *table, int64_t key);
void redis_add_set_key(struct redis_conn *conn, uint32_t generation, const struct banyan_table *table,
                       const char *list);
/* Queue it; its reply is to be taken later, in order. */
BANYAN_MUST_CHECK enum banyan_status redis_queue(struct redis_conn *conn, struct banyan_error *err);
/* The next reply; an error reply is a status.  Gives *ret (may be NULL: thrown away); end it with freeReplyObject(). */
BANYAN_MUST_CHECK enum banyan_status redis_take(struct redis_conn *conn, redisReply **ret, struct banyan_error *err);
/* Queue and take; nothing else may be queued. */
BANYAN_MUST_CHECK enum banyan_status redis_call(struct redis_conn *conn, redisReply **ret, struct banyan_error *err);
/* A script, without its KEYS and ARGV: begins an EVAL whose ARGV[1] is "banyan:{<view>}:".  Add the others. */
void redis_begin_script(struct redis_conn *conn, const char *script);

struct banyan_str redis_text(const redisReply *reply);            /* data NULL: nil */
int64_t redis_number(const redisReply *reply);                    /* of an integer or of text; 0 else */
const redisReply *redis_item(const redisReply *reply, size_t at); /* of an array; NULL: none */

/* ---- rows ---- */

/* In the order of numbers, as text: 16 digits. */
void redis_add_order(struct banyan_buf *ret, int64_t value, bool descending);
/* A row from its columns in order (an array of texts).  Strings are copied to *arena*, or borrow where it is NULL. */
BANYAN_MUST_CHECK enum banyan_status redis_row(const struct banyan_table *table, const redisReply *columns,
                                               struct banyan_arena *arena, void *row, struct banyan_error *err);
/* The order of a key, and its text behind it. */
void redis_add_key_member(struct banyan_buf *ret, int64_t key);
/* The member of a list for a row that has a value there. */
void redis_add_member(const struct banyan_table *table, const struct banyan_view_index *index, int64_t key,
                      const void *row, struct banyan_buf *ret);
/* From the reply of HGETALL on asides. */
BANYAN_MUST_CHECK enum banyan_status redis_asides(const redisReply *all, struct banyan_arena *arena,
                                                  struct sink_aside **ret, size_t *ret_count, struct banyan_error *err);

/* Remove what generations left that were dropped; all rows of one. */
BANYAN_MUST_CHECK enum banyan_status redis_sweep(struct redis_conn *conn, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status redis_remove_rows(struct redis_conn *conn, uint32_t generation,
                                                       struct banyan_str layout, struct banyan_error *err);
/* The names of a generation's sorted sets, so that it can be removed by a program of another definition. */
void redis_add_layout(const struct banyan_projection *projection, struct banyan_buf *ret);

/* ---- in sink_redis.c and redis_view.c ---- */

struct sink *redis_sink_open(const struct redis_place *place, uint32_t generation);
struct sink_view *redis_view_open(const struct redis_place *place);

#endif
