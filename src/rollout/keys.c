/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keys.h.
 *
 * Every block is fetched under one lock, and the owner is asked under it: so a block of the sequence was given before a
 * reservation looks at the sequence, or the reservation's epoch is over.  A reservation is an event
 * KeysReserved {"from":1000,"to":1256,"epoch":3} (*to* exclusive), appended under the condition that the owner is still
 * of that epoch; only the first one of an epoch has to ask the server.
 *
 * Thread note: *fetch* guards connection and fetching; a category's lock guards its blocks and is taken after it.
 */
#include "rollout/keys.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "base/alloc.h"
#include "base/jtext.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "pg/conn.h"

enum {
    BLOCK_DEFAULT = 256,
    BLOCK_MAX = 1000 * 1000,
    TEXT_BYTES_MAX = 64 * 1024,
};

struct block {
    int64_t *keys; /* room for a whole block */
    size_t count, given;
};

struct category {
    const struct banyan_legacy_mapping *mapping;
    struct banyan_str name, stream;
    struct {
        pthread_mutex_t lock;
        struct block now, ahead;
    } shared;
};

/* The last KeysReserved of a stream. */
struct reservation {
    struct banyan_version version; /* 0: there is none */
    int64_t to;
    uint64_t epoch;
};

struct keys {
    struct keys_options options;
    struct banyan_arena arena; /* as long as the keys */
    struct banyan_str owner_stream;
    struct category *categories;
    size_t category_count;
    pthread_mutex_t fetch;
    struct pg_conn *conn; /* NULL: none yet, or lost */
    struct os_thread thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t wanted;
        bool stop, ahead; /* a category wants its next block */
    } shared;
};

/* ---- the server ---- */

static enum banyan_status ask(struct keys *keys, const char *sql, const struct pg_param *params, size_t count,
                              struct pg_result **ret, struct banyan_error *err)
{
    struct pg_options options = {.conninfo = keys->options.conninfo, .application_name = "banyan keys"};
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_UNAVAILABLE;
    bool had = keys->conn != NULL;

    /* A connection of before may have died meanwhile: that is no failure. */
    for (int tries = had ? 2 : 1; status == BANYAN_UNAVAILABLE && tries > 0; tries--) {
        banyan_error_clear(&why);
        status = keys->conn != NULL ? BANYAN_OK : pg_connect(&options, &keys->conn, &why);
        if (status == BANYAN_OK)
            status = pg_exec(keys->conn, sql, params, count, ret, &why);
        if (status == BANYAN_OK)
            return status;
        pg_close(keys->conn);
        keys->conn = NULL;
    }
    if (err != NULL)
        *err = why;
    return status;
}

/* The highest key that the sequence or a row has.  An application may use as many keys above a value of the sequence as
 * the sequence goes forward with each. */
static enum banyan_status highest_there(struct keys *keys, const struct category *category, int64_t *ret,
                                        struct banyan_error *err)
{
    const struct banyan_legacy_table *table = &category->mapping->tables[0];
    struct pg_param param = {banyan_str_of(category->mapping->key_sequence)};
    struct banyan_buf sql = BANYAN_BUF_INIT(TEXT_BYTES_MAX);
    struct pg_result *result = NULL;
    enum banyan_status status;

    banyan_buf_add_text(&sql, "SELECT greatest(coalesce(pg_catalog.pg_sequence_last_value(seqrelid) + seqincrement,"
                              " seqstart) - 1, (SELECT coalesce(max(");
    pg_add_identifier(&sql, banyan_str_of(table->key_column));
    banyan_buf_add_text(&sql, "), 0) FROM ");
    pg_add_table(&sql, banyan_str_of(table->name));
    banyan_buf_add_text(&sql, ")), seqincrement FROM pg_catalog.pg_sequence WHERE seqrelid = $1::text::regclass");
    banyan_buf_add_char(&sql, '\0');
    status = sql.overflow ? banyan_error_set(err, BANYAN_LIMIT, "a statement is too long")
                          : ask(keys, sql.data, &param, 1, &result, err);
    if (status == BANYAN_OK && pg_rows(result) != 1)
        status = banyan_error_set(err, BANYAN_NOT_FOUND, "%s is no sequence", category->mapping->key_sequence);
    if (status == BANYAN_OK && pg_int(result, 0, 1) < 1)
        status = banyan_error_set(err, BANYAN_INVALID, "sequence %s goes down: its keys cannot be continued",
                                  category->mapping->key_sequence);
    if (status == BANYAN_OK)
        *ret = pg_int(result, 0, 0);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return status;
}

static enum banyan_status fetch_sequence(struct keys *keys, const struct category *category, struct block *ret,
                                         struct banyan_error *err)
{
    char count[16];
    struct pg_param params[2] = {{banyan_str_of(category->mapping->key_sequence)}};
    struct pg_result *result = NULL;
    enum banyan_status status;

    (void)snprintf(count, sizeof(count), "%" PRIu32, keys->options.block);
    params[1].text = banyan_str_of(count);
    status = ask(keys, "SELECT nextval($1::text::regclass) FROM generate_series(1, $2::int)", params, 2, &result, err);
    ret->count = ret->given = 0;
    for (size_t i = 0; status == BANYAN_OK && i < pg_rows(result) && i < keys->options.block; i++)
        ret->keys[ret->count++] = pg_int(result, i, 0);
    pg_result_free(result);
    return status;
}

/* ---- reservations ---- */

static bool parse_number(struct banyan_str text, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned char)text.data[i] - (unsigned)'0';

        if (digit > 9 || value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return text.size > 0;
}

static enum banyan_status parse_reservation(const struct store_event *event, struct reservation *ret)
{
    struct jtext_input in = jtext_input(event->payload);
    struct banyan_str name, text;
    uint64_t to = 0;

    if (!jtext_object(&in))
        return BANYAN_CORRUPT;
    while (jtext_member(&in, &name)) {
        if (!jtext_is(name, "to") && !jtext_is(name, "epoch")) {
            (void)jtext_skip(&in, &text); /* a fault is seen at the end */
            continue;
        }
        if (!jtext_number(&in, &text) || !parse_number(text, jtext_is(name, "to") ? &to : &ret->epoch))
            return BANYAN_CORRUPT;
    }
    ret->to = (int64_t)to;
    return jtext_end(&in) && to > 0 ? BANYAN_OK : BANYAN_CORRUPT;
}

static enum banyan_status last_reservation(struct keys *keys, const struct category *category, struct reservation *ret,
                                           struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(keys->options.store);
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_read_event event;
    enum banyan_status status =
        store_reader_stream_backward(reader, category->stream, (struct banyan_version){0}, &why);

    *ret = (struct reservation){.to = 0};
    if (status == BANYAN_OK)
        status = store_reader_next(reader, &event, &why);
    if (status == BANYAN_OK) {
        ret->version = event.version;
        status = parse_reservation(&event.event, ret);
        if (status != BANYAN_OK)
            (void)banyan_error_set(&why, status, "stream %.*s: no reservation of keys", (int)category->stream.size,
                                   category->stream.data);
    }
    store_reader_close(reader);
    if (status == BANYAN_NOT_FOUND)
        return BANYAN_OK;
    if (status != BANYAN_OK && err != NULL)
        *err = why;
    return status;
}

static enum banyan_status reserve(struct keys *keys, const struct category *category, uint64_t epoch, struct block *ret,
                                  struct banyan_error *err)
{
    char payload[128];
    struct store_condition conditions[2] = {{keys->owner_stream, STORE_EXPECT_VERSION, {epoch}}};
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = category->stream,
        .type = BANYAN_STR("KeysReserved"),
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(os_clock_real()),
    };
    struct store_append append = {.events = &event, .event_count = 1, .conditions = conditions, .condition_count = 2};
    struct store_appended appended;
    struct reservation last;
    int64_t there = 0, from;
    enum banyan_status status = last_reservation(keys, category, &last, err);

    if (status == BANYAN_OK && (last.version.value == 0 || last.epoch != epoch))
        status = highest_there(keys, category, &there, err);
    if (status != BANYAN_OK)
        return status;
    from = last.to > there + 1 ? last.to : there + 1;
    if (from > INT64_MAX - keys->options.block)
        return banyan_error_set(err, BANYAN_LIMIT, "there are no more keys of %.*s", (int)category->name.size,
                                category->name.data);
    conditions[1] = (struct store_condition){category->stream, STORE_EXPECT_VERSION, last.version};
    event.payload =
        (struct banyan_str){payload, (size_t)snprintf(payload, sizeof(payload),
                                                      "{\"from\":%" PRId64 ",\"to\":%" PRId64 ",\"epoch\":%" PRIu64 "}",
                                                      from, from + keys->options.block, epoch)};
    status = store_append(keys->options.store, &append, &appended, err);
    if (status != BANYAN_OK)
        return status;
    for (size_t i = 0; i < keys->options.block; i++)
        ret->keys[i] = from + (int64_t)i;
    ret->count = keys->options.block;
    ret->given = 0;
    return BANYAN_OK;
}

/* Under *fetch*. */
static enum banyan_status fetch(struct keys *keys, const struct category *category, struct block *ret,
                                struct banyan_error *err)
{
    uint64_t epoch;
    enum banyan_status status;

    switch (owner_mode(keys->options.owner, &epoch)) {
    case OWNER_BANYAN:
        status = reserve(keys, category, epoch, ret, err);
        break;
    case OWNER_CLOSING:
        status = banyan_error_set(err, BANYAN_BUSY, "%.*s is being handed back: there are no new keys",
                                  (int)category->name.size, category->name.data);
        break;
    default:
        status = fetch_sequence(keys, category, ret, err);
        break;
    }
    if (status != BANYAN_OK)
        banyan_error_context(err, "keys of %.*s", (int)category->name.size, category->name.data);
    return status;
}

/* ---- giving ---- */

/* Under the category's lock. */
static bool take(struct category *category, int64_t *ret)
{
    struct block *now = &category->shared.now, spent;

    if (now->given == now->count) {
        spent = *now;
        *now = category->shared.ahead;
        category->shared.ahead = (struct block){.keys = spent.keys};
    }
    if (now->given == now->count)
        return false;
    *ret = now->keys[now->given++];
    return true;
}

/* Is it time to fetch the block behind the present one?  Under the category's lock. */
static bool wants_ahead(const struct category *category)
{
    return category->shared.ahead.count == 0 && 2 * category->shared.now.given >= category->shared.now.count;
}

/* Fetch a block into *ahead*, unless somebody did meanwhile. */
static enum banyan_status fill(struct keys *keys, struct category *category, struct block *room,
                               struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct block spent;
    bool wants;

    pthread_mutex_lock(&keys->fetch);
    pthread_mutex_lock(&category->shared.lock);
    wants = category->shared.ahead.count == 0;
    pthread_mutex_unlock(&category->shared.lock);
    if (wants)
        status = fetch(keys, category, room, err);
    if (wants && status == BANYAN_OK) {
        pthread_mutex_lock(&category->shared.lock);
        spent = category->shared.ahead;
        category->shared.ahead = *room;
        *room = (struct block){.keys = spent.keys};
        pthread_mutex_unlock(&category->shared.lock);
    }
    pthread_mutex_unlock(&keys->fetch);
    return status;
}

static struct block block_new(const struct keys *keys)
{
    return (struct block){.keys = alloc_zeroed(keys->options.block, sizeof(int64_t))};
}

static struct category *find_category(struct keys *keys, struct banyan_str name, struct banyan_error *err)
{
    for (size_t i = 0; i < keys->category_count; i++) {
        if (banyan_str_equal(keys->categories[i].name, name))
            return &keys->categories[i];
    }
    (void)banyan_error_set(err, BANYAN_NOT_FOUND, "%.*s has no sequence: its keys come with the requests",
                           (int)name.size, name.data);
    return NULL;
}

/* Was it given in another way: to who appended under a key of his own? */
static enum banyan_status is_there(struct keys *keys, const struct category *category, int64_t key, bool *ret,
                                   struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_head head = {.version = {0}};
    enum banyan_status status = store_head(
        keys->options.store,
        banyan_arena_printf(&arena, "%.*s-%" PRId64, (int)category->name.size, category->name.data, key), &head, err);

    banyan_arena_release(&arena);
    *ret = head.version.value != 0;
    return status;
}

enum banyan_status keys_next(struct keys *keys, struct banyan_str category, int64_t *ret, struct banyan_error *err)
{
    struct category *from = find_category(keys, category, err);
    enum banyan_status status = BANYAN_OK;
    bool taken = false, ahead = false;
    struct block room;

    if (from == NULL)
        return BANYAN_NOT_FOUND;
    while (!taken && status == BANYAN_OK) {
        pthread_mutex_lock(&from->shared.lock);
        taken = take(from, ret);
        ahead = wants_ahead(from);
        pthread_mutex_unlock(&from->shared.lock);
        if (taken) {
            bool there = false;

            status = is_there(keys, from, *ret, &there, err);
            taken = !there;
            continue;
        }
        room = block_new(keys);
        status = fill(keys, from, &room, err);
        free(room.keys);
    }
    if (ahead && taken && status == BANYAN_OK) {
        pthread_mutex_lock(&keys->shared.lock);
        keys->shared.ahead = true;
        pthread_cond_signal(&keys->shared.wanted);
        pthread_mutex_unlock(&keys->shared.lock);
    }
    return status;
}

enum banyan_status keys_highest(struct keys *keys, struct banyan_str category, int64_t *ret, struct banyan_error *err)
{
    struct category *of = find_category(keys, category, err);
    struct reservation last;
    int64_t there = 0;
    enum banyan_status status;

    if (of == NULL)
        return BANYAN_NOT_FOUND;
    pthread_mutex_lock(&keys->fetch);
    status = last_reservation(keys, of, &last, err);
    if (status == BANYAN_OK)
        status = highest_there(keys, of, &there, err);
    pthread_mutex_unlock(&keys->fetch);
    if (status != BANYAN_OK)
        banyan_error_context(err, "keys of %.*s", (int)category.size, category.data);
    else
        *ret = last.to > there + 1 ? last.to : there + 1;
    return status;
}

/* ---- life ---- */

/* Fetches what will be wanted soon.  What fails here is tried again by who runs out, and told to it. */
static void fetch_ahead(void *argument)
{
    struct keys *keys = argument;
    struct block room = block_new(keys);
    bool stop = false;

    while (!stop) {
        for (size_t i = 0; i < keys->category_count; i++) {
            struct category *category = &keys->categories[i];

            pthread_mutex_lock(&category->shared.lock);
            bool wants = category->shared.now.count > 0 && wants_ahead(category);
            pthread_mutex_unlock(&category->shared.lock);
            if (wants)
                (void)!fill(keys, category, &room, NULL);
        }
        pthread_mutex_lock(&keys->shared.lock);
        while (!keys->shared.ahead && !keys->shared.stop)
            pthread_cond_wait(&keys->shared.wanted, &keys->shared.lock);
        keys->shared.ahead = false;
        stop = keys->shared.stop;
        pthread_mutex_unlock(&keys->shared.lock);
    }
    free(room.keys);
}

static void add_category(struct keys *keys, const struct banyan_legacy_mapping *mapping)
{
    struct category *category = &keys->categories[keys->category_count++];

    category->mapping = mapping;
    category->name = banyan_str_of(mapping->aggregate->category);
    category->stream =
        banyan_arena_printf(&keys->arena, "$keys-%s-%s", keys->options.source, mapping->aggregate->category);
    category->shared.now = block_new(keys);
    category->shared.ahead = block_new(keys);
    pthread_mutex_init(&category->shared.lock, NULL);
}

enum banyan_status keys_open(const struct keys_options *options, struct keys **ret, struct banyan_error *err)
{
    const struct banyan_domain *domain = options->domain;
    struct keys *keys;

    if (options->block > BLOCK_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "a block of %" PRIu32 " keys; at most %d are allowed",
                                options->block, BLOCK_MAX);
    keys = alloc_zeroed(1, sizeof(*keys));
    keys->options = *options;
    if (keys->options.block == 0)
        keys->options.block = BLOCK_DEFAULT;
    keys->owner_stream = banyan_arena_printf(&keys->arena, "$owner-%s", options->source);
    keys->categories = banyan_arena_zalloc(&keys->arena, (domain->mapping_count + 1) * sizeof(*keys->categories));
    for (size_t i = 0; i < domain->mapping_count; i++) {
        if (domain->mappings[i].key_sequence != NULL)
            add_category(keys, &domain->mappings[i]);
    }
    pthread_mutex_init(&keys->fetch, NULL);
    pthread_mutex_init(&keys->shared.lock, NULL);
    os_cond_init(&keys->shared.wanted);
    os_thread_start(&keys->thread, "keys", fetch_ahead, keys);
    *ret = keys;
    return BANYAN_OK;
}

void keys_close(struct keys *keys)
{
    if (keys == NULL)
        return;
    pthread_mutex_lock(&keys->shared.lock);
    keys->shared.stop = true;
    pthread_cond_signal(&keys->shared.wanted);
    pthread_mutex_unlock(&keys->shared.lock);
    os_thread_join(&keys->thread);
    for (size_t i = 0; i < keys->category_count; i++) {
        free(keys->categories[i].shared.now.keys);
        free(keys->categories[i].shared.ahead.keys);
        pthread_mutex_destroy(&keys->categories[i].shared.lock);
    }
    pg_close(keys->conn);
    pthread_cond_destroy(&keys->shared.wanted);
    pthread_mutex_destroy(&keys->shared.lock);
    pthread_mutex_destroy(&keys->fetch);
    banyan_arena_release(&keys->arena);
    free(keys);
}
