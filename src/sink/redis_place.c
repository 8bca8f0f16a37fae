/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, keys and rows of a view in Redis: see redis_place.h. */
#include "sink/redis_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "pg/copy.h"
#include "sink/sink_value.h"

enum {
    PORT = 6379,
    CONNECT_TIMEOUT_S = 2,
    SWEEP_ROWS = 500,
};

struct redis_place redis_place_copy(const struct redis_place *place)
{
    return (struct redis_place){place->projection, alloc_text(place->address), alloc_text(place->view)};
}

void redis_place_release(struct redis_place *place)
{
    free(place->address);
    free(place->view);
}

/* ---- connections ---- */

/* Parts of an address, each in memory of their own; NULL: not given. */
struct address {
    char *host, *path, *user, *password;
    int port;
    long database;
};

static void release_address(struct address *address)
{
    free(address->host);
    free(address->path);
    free(address->user);
    free(address->password);
}

static char *part(const char *begin, const char *end)
{
    char *text = alloc_zeroed(1, (size_t)(end - begin) + 1);
    memcpy(text, begin, (size_t)(end - begin));
    return text;
}

static void parse_address(const char *text, struct address *ret)
{
    *ret = (struct address){.port = PORT};
    if (strncmp(text, "unix:", 5) == 0 || text[0] == '/') {
        ret->path = alloc_text(text[0] == '/' ? text : text + 5);
        return;
    }
    if (strncmp(text, "redis://", 8) == 0)
        text += 8;
    const char *slash = strchr(text, '/'), *end = slash == NULL ? text + strlen(text) : slash;
    const char *at = memrchr(text, '@', (size_t)(end - text));
    if (at != NULL) {
        const char *colon = memchr(text, ':', (size_t)(at - text));
        if (colon != NULL && colon > text)
            ret->user = part(text, colon);
        ret->password = part(colon == NULL ? text : colon + 1, at);
        text = at + 1;
    }
    const char *colon = memrchr(text, ':', (size_t)(end - text));
    ret->host = colon == NULL ? part(text, end) : part(text, colon);
    if (colon != NULL)
        ret->port = (int)strtol(colon + 1, NULL, 10);
    if (slash != NULL)
        ret->database = strtol(slash + 1, NULL, 10);
    if (ret->host[0] == '\0') {
        free(ret->host);
        ret->host = alloc_text("127.0.0.1");
    }
}

void redis_conn_init(struct redis_conn *conn, const struct redis_place *place)
{
    *conn = (struct redis_conn){.place = place, .memory = BANYAN_BUF_INIT(REDIS_KEY_MAX * 512L)};
}

void redis_conn_close(struct redis_conn *conn)
{
    if (conn->context != NULL)
        redisFree(conn->context);
    conn->context = NULL;
    conn->queued = 0;
    banyan_buf_release(&conn->memory);
}

static enum banyan_status lost(struct redis_conn *conn, struct banyan_error *err)
{
    enum banyan_status st =
        banyan_error_set(err, BANYAN_UNAVAILABLE, "the Redis server of view %s: %s", conn->place->view,
                         conn->context == NULL ? "no memory" : conn->context->errstr);
    banyan_error_hint(err, "is it running, and is views[].store's address right?");
    if (conn->context != NULL)
        redisFree(conn->context);
    conn->context = NULL;
    conn->queued = 0;
    return st;
}

static enum banyan_status greet(struct redis_conn *conn, const struct address *address, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (address->password != NULL) {
        redis_begin(conn, "AUTH");
        if (address->user != NULL)
            redis_add(conn, banyan_str_of(address->user));
        redis_add(conn, banyan_str_of(address->password));
        st = redis_call(conn, NULL, err);
    }
    if (st == BANYAN_OK && address->database != 0) {
        redis_begin(conn, "SELECT");
        redis_add_int(conn, address->database);
        st = redis_call(conn, NULL, err);
    }
    return st;
}

enum banyan_status redis_use(struct redis_conn *conn, struct banyan_error *err)
{
    const struct timeval connect = {CONNECT_TIMEOUT_S, 0}, answer = {REDIS_TIMEOUT_S, 0};
    struct address address;
    if (conn->context != NULL && conn->context->err == 0 && conn->queued == 0)
        return BANYAN_OK;
    redis_conn_close(conn);
    parse_address(conn->place->address, &address);
    conn->context = address.path != NULL ? redisConnectUnixWithTimeout(address.path, connect)
                                         : redisConnectWithTimeout(address.host, address.port, connect);
    enum banyan_status st = BANYAN_OK;
    if (conn->context == NULL || conn->context->err != 0)
        st = lost(conn, err);
    else if (redisSetTimeout(conn->context, answer) == REDIS_OK)
        st = greet(conn, &address, err);
    else
        st = lost(conn, err);
    release_address(&address);
    return st;
}

/* ---- commands ---- */

static void end_argument(struct redis_conn *conn)
{
    if (conn->count < REDIS_ARGUMENTS_MAX)
        conn->ends[conn->count++] = conn->memory.size;
    else
        conn->memory.overflow = true;
}

void redis_begin(struct redis_conn *conn, const char *command)
{
    banyan_buf_reset(&conn->memory);
    conn->count = 0;
    redis_add(conn, banyan_str_of(command));
}

void redis_add(struct redis_conn *conn, struct banyan_str argument)
{
    banyan_buf_add(&conn->memory, argument.data == NULL ? "" : argument.data, argument.size);
    end_argument(conn);
}

void redis_add_int(struct redis_conn *conn, int64_t argument)
{
    banyan_buf_printf(&conn->memory, "%" PRId64, argument);
    end_argument(conn);
}

static void add_prefix(struct redis_conn *conn, uint32_t generation)
{
    banyan_buf_printf(&conn->memory, "banyan:{%s}:", conn->place->view);
    if (generation != 0)
        banyan_buf_printf(&conn->memory, "%u:", generation);
}

void redis_add_key(struct redis_conn *conn, uint32_t generation, const char *suffix)
{
    add_prefix(conn, generation);
    banyan_buf_add_text(&conn->memory, suffix);
    end_argument(conn);
}

void redis_add_row_key(struct redis_conn *conn, uint32_t generation, const struct banyan_table *table, int64_t key)
{
    add_prefix(conn, generation);
    banyan_buf_printf(&conn->memory, "%s:%" PRId64, table->name, key);
    end_argument(conn);
}

void redis_add_set_key(struct redis_conn *conn, uint32_t generation, const struct banyan_table *table, const char *list)
{
    add_prefix(conn, generation);
    banyan_buf_printf(&conn->memory, "%s@%s", table->name, list);
    end_argument(conn);
}

void redis_begin_script(struct redis_conn *conn, const char *script)
{
    redis_begin(conn, "EVAL");
    redis_add(conn, banyan_str_of(script));
    redis_add_int(conn, 0);
    redis_add_key(conn, 0, "");
}

enum banyan_status redis_queue(struct redis_conn *conn, struct banyan_error *err)
{
    const char *arguments[REDIS_ARGUMENTS_MAX];
    size_t sizes[REDIS_ARGUMENTS_MAX];
    if (conn->memory.overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "view %s: a row is too large for Redis", conn->place->view);
    for (size_t i = 0; i < conn->count; i++) {
        size_t begin = i == 0 ? 0 : conn->ends[i - 1];
        arguments[i] = conn->memory.data + begin;
        sizes[i] = conn->ends[i] - begin;
    }
    if (redisAppendCommandArgv(conn->context, (int)conn->count, arguments, sizes) != REDIS_OK)
        return lost(conn, err);
    conn->queued++;
    return BANYAN_OK;
}

static enum banyan_status status_of(const char *text)
{
    static const struct {
        const char *begin;
        enum banyan_status status;
    } known[] = {{"NOAUTH", BANYAN_AUTH},           {"WRONGPASS", BANYAN_AUTH}, {"ERR invalid password", BANYAN_AUTH},
                 {"NOPERM", BANYAN_PRIVILEGE},      {"OOM", BANYAN_NO_SPACE},   {"MISCONF", BANYAN_NO_SPACE},
                 {"LOADING", BANYAN_UNAVAILABLE},   {"BUSY", BANYAN_BUSY},      {"READONLY", BANYAN_UNAVAILABLE},
                 {"MASTERDOWN", BANYAN_UNAVAILABLE}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strncmp(text, known[i].begin, strlen(known[i].begin)) == 0)
            return known[i].status;
    return BANYAN_QUERY;
}

enum banyan_status redis_take(struct redis_conn *conn, redisReply **ret, struct banyan_error *err)
{
    redisReply *reply = NULL;
    enum banyan_status st = BANYAN_OK;
    if (redisGetReply(conn->context, (void **)&reply) != REDIS_OK)
        return lost(conn, err);
    conn->queued--;
    if (reply->type == REDIS_REPLY_ERROR)
        st = banyan_error_set(err, status_of(reply->str), "the Redis server of view %s: %s", conn->place->view,
                              reply->str);
    if (st == BANYAN_OK && ret != NULL)
        *ret = reply;
    else
        freeReplyObject(reply);
    return st;
}

enum banyan_status redis_call(struct redis_conn *conn, redisReply **ret, struct banyan_error *err)
{
    enum banyan_status st = redis_queue(conn, err);
    return st == BANYAN_OK ? redis_take(conn, ret, err) : st;
}

struct banyan_str redis_text(const redisReply *reply)
{
    if (reply == NULL || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
        return (struct banyan_str){NULL, 0};
    return (struct banyan_str){reply->str, reply->len};
}

int64_t redis_number(const redisReply *reply)
{
    if (reply == NULL)
        return 0;
    return reply->type == REDIS_REPLY_INTEGER  ? reply->integer
           : reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
                                               : 0;
}

const redisReply *redis_item(const redisReply *reply, size_t at)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY && at < reply->elements ? reply->element[at] : NULL;
}

/* ---- rows ---- */

void redis_add_order(struct banyan_buf *ret, int64_t value, bool descending)
{
    uint64_t order = (uint64_t)value ^ UINT64_C(1) << 63;
    banyan_buf_printf(ret, "%016" PRIx64, descending ? ~order : order);
}

enum banyan_status redis_row(const struct banyan_table *table, const redisReply *columns, struct banyan_arena *arena,
                             void *row, struct banyan_error *err)
{
    static const uint32_t oids[] = {0, PG_TYPE_TEXT, PG_TYPE_INT8, PG_TYPE_BOOL, PG_TYPE_TIMESTAMPTZ, PG_TYPE_NUMERIC};
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < table->row->field_count && st == BANYAN_OK; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        st = pg_cell_parse(field, oids[field->kind], redis_text(redis_item(columns, i)), arena, row, err);
    }
    return st;
}

void redis_add_key_member(struct banyan_buf *ret, int64_t key)
{
    redis_add_order(ret, key, false);
    banyan_buf_printf(ret, ":%" PRId64, key);
}

void redis_add_member(const struct banyan_table *table, const struct banyan_view_index *index, int64_t key,
                      const void *row, struct banyan_buf *ret)
{
    const struct banyan_field *equal = banyan_record_field(table->row, banyan_str_of(index->equal));
    const struct banyan_field *range = banyan_record_field(table->row, banyan_str_of(index->range));
    banyan_field_text(equal, row, ret);
    banyan_buf_add_char(ret, '\0');
    redis_add_order(ret, ((const struct banyan_time *)((const char *)row + range->offset))->us, true);
    redis_add_order(ret, key, true);
    banyan_buf_printf(ret, ":%" PRId64, key);
}

static int by_position(const void *a, const void *b)
{
    uint64_t x = ((const struct sink_aside *)a)->position.value, y = ((const struct sink_aside *)b)->position.value;
    return (x > y) - (x < y);
}

/* Field "<k or s> <key> <stream>", value "<position> <at> <held> <reason>". */
enum banyan_status redis_asides(const redisReply *all, struct banyan_arena *arena, struct sink_aside **ret,
                                size_t *ret_count, struct banyan_error *err)
{
    size_t count = all->type == REDIS_REPLY_ARRAY ? all->elements / 2 : 0;
    struct sink_aside *asides = banyan_arena_zalloc(arena, (count + 1) * sizeof(*asides));
    for (size_t i = 0; i < count; i++) {
        struct banyan_str field = redis_text(all->element[2 * i]), value = redis_text(all->element[2 * i + 1]);
        char kind = 0;
        int stream_at = 0, reason_at = 0;
        if (sscanf(field.data, "%c %" SCNd64 "%n", &kind, &asides[i].key, &stream_at) != 2 ||
            sscanf(value.data, "%" SCNu64 " %" SCNd64 " %" SCNu64 "%n", &asides[i].position.value, &asides[i].at.us,
                   &asides[i].held, &reason_at) != 3)
            return banyan_error_set(err, BANYAN_CORRUPT, "what is aside cannot be read: %.100s", field.data);
        asides[i].by_stream = kind == 's';
        asides[i].stream = banyan_arena_str(
            arena, (struct banyan_str){field.data + stream_at + 1, field.size - (size_t)stream_at - 1});
        asides[i].reason = banyan_arena_str(
            arena, (struct banyan_str){value.data + reason_at + 1, value.size - (size_t)reason_at - 1});
    }
    qsort(asides, count, sizeof(*asides), by_position);
    *ret = asides;
    *ret_count = count;
    return BANYAN_OK;
}

/* ---- removing ---- */

/* A line a sorted set: "<table>@" has the rows' keys. */
void redis_add_layout(const struct banyan_projection *projection, struct banyan_buf *ret)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct banyan_table *table = &projection->tables[t];
        banyan_buf_printf(ret, "%s@\n", table->name);
        for (size_t i = 0; i < table->index_count; i++)
            banyan_buf_printf(ret, "%s@%s\n", table->name, table->indexes[i].name);
    }
}

/* Some rows of a table at a time, so that nobody waits long.  The key is the decimal behind the order. */
static const char remove_some[] =
    "local base = ARGV[1] .. ARGV[2] .. ':' "
    "local set = base .. ARGV[3] "
    "local rows = redis.call('ZRANGE', set, 0, tonumber(ARGV[4]) - 1) "
    "local table = string.match(ARGV[3], '^(.*)@') "
    "if string.sub(ARGV[3], -1) == '@' then "
    "  for _, member in ipairs(rows) do "
    "    redis.call('UNLINK', base .. table .. ':' .. string.match(member, ':(%-?%d+)$')) "
    "  end "
    "end "
    "if #rows > 0 then redis.call('ZREMRANGEBYRANK', set, 0, #rows - 1) end "
    "return #rows";

enum banyan_status redis_remove_rows(struct redis_conn *conn, uint32_t generation, struct banyan_str layout,
                                     struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t at = 0; at < layout.size && st == BANYAN_OK;) {
        const char *end = memchr(layout.data + at, '\n', layout.size - at);
        size_t size = end == NULL ? layout.size - at : (size_t)(end - layout.data) - at;
        int64_t removed = 1;
        while (removed > 0 && st == BANYAN_OK) {
            redisReply *reply = NULL;
            redis_begin_script(conn, remove_some);
            redis_add_int(conn, generation);
            redis_add(conn, (struct banyan_str){layout.data + at, size});
            redis_add_int(conn, SWEEP_ROWS);
            st = redis_call(conn, &reply, err);
            removed = st == BANYAN_OK ? redis_number(reply) : 0;
            if (st == BANYAN_OK)
                freeReplyObject(reply);
        }
        at += size + 1;
    }
    return st;
}

enum banyan_status redis_sweep(struct redis_conn *conn, struct banyan_error *err)
{
    redisReply *all = NULL;
    redis_begin(conn, "HGETALL");
    redis_add_key(conn, 0, "garbage");
    enum banyan_status st = redis_call(conn, &all, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i + 1 < all->elements && st == BANYAN_OK; i += 2) {
        uint32_t generation = (uint32_t)redis_number(all->element[i]);
        st = redis_remove_rows(conn, generation, redis_text(all->element[i + 1]), err);
        if (st != BANYAN_OK)
            break;
        redis_begin(conn, "HDEL");
        redis_add_key(conn, 0, "garbage");
        redis_add_int(conn, generation);
        st = redis_call(conn, NULL, err);
    }
    freeReplyObject(all);
    return st;
}
