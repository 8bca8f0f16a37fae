/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cutover_verify.h.
 *
 * Why a key that is unequal although the log does not name it again is a difference: rows are read first, then the log
 * is brought up to them, then the state is read.  So the state is never older than the row; when it is newer, what made
 * it so is in the log behind the position at which the round began, and the next round finds the key there.  (A commit
 * can be in the log a moment before others see it in the table: so one look says nothing, several in a row do.)
 */
#include "rollout/cutover_verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "legacy/tables.h"
#include "pg/copy.h"

enum {
    KEYS_AT_ONCE = 2000,
    SQL_MAX = 1 << 20,
    NAMED_MAX = 5, /* keys in an error */
};

/* One mapping.  A key's value in *keys*: 1 + how often in a row it was unequal. */
struct compared {
    const struct banyan_legacy_mapping *mapping;
    struct banyan_str category;
    struct legacy_table table;
    struct hash keys; /* to be compared in the next round */
    int64_t *order;   /* the keys of this round, ascending; owned */
    size_t order_count, order_capacity;
};

struct cutover_verify {
    struct cutover_verify_options options;
    struct store_reader *reader;
    struct banyan_position seen; /* the log was looked at up to here */
    struct compared *compared;
    size_t count;
    struct banyan_arena rows_arena, state_arena;
    const void **rows; /* of the keys of a chunk, NULL: none; memory in rows_arena */
    struct cutover_verify_figures figures;
};

/* ---- life ---- */

struct cutover_verify *cutover_verify_new(const struct cutover_verify_options *options)
{
    struct cutover_verify *verify = alloc_zeroed(1, sizeof(*verify));
    const struct banyan_domain *domain = options->domain;
    struct banyan_str *categories;
    struct store_filter filter;

    verify->options = *options;
    verify->seen = options->from;
    verify->count = domain->mapping_count;
    verify->compared = alloc_zeroed(verify->count + 1, sizeof(*verify->compared));
    verify->rows = alloc_zeroed(KEYS_AT_ONCE, sizeof(*verify->rows));
    categories = alloc_zeroed(verify->count + 1, sizeof(*categories));
    for (size_t m = 0; m < verify->count; m++) {
        verify->compared[m].mapping = &domain->mappings[m];
        categories[m] = verify->compared[m].category = banyan_str_of(domain->mappings[m].aggregate->category);
    }
    filter = (struct store_filter){.categories = categories, .category_count = verify->count};
    verify->reader = store_reader_open(options->store);
    store_reader_filter(verify->reader, &filter);
    free(categories);
    return verify;
}

void cutover_verify_free(struct cutover_verify *verify)
{
    if (verify == NULL)
        return;
    for (size_t m = 0; m < verify->count; m++) {
        hash_release(&verify->compared[m].keys);
        free(verify->compared[m].order);
    }
    store_reader_close(verify->reader);
    banyan_arena_release(&verify->rows_arena);
    banyan_arena_release(&verify->state_arena);
    free(verify->rows);
    free(verify->compared);
    free(verify);
}

enum banyan_status cutover_verify_resolve(struct cutover_verify *verify, struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t m = 0; st == BANYAN_OK && m < verify->count; m++)
        st = legacy_table_resolve(conn, &verify->compared[m].mapping->tables[0], true, &verify->compared[m].table, err);
    return st;
}

void cutover_verify_figures(const struct cutover_verify *verify, struct cutover_verify_figures *ret)
{
    *ret = verify->figures;
}

/* ---- which keys ---- */

static void *looks_value(unsigned looks)
{
    return (void *)(uintptr_t)(looks + 1);
}

static unsigned looks_of(const void *value)
{
    return (unsigned)(uintptr_t)value - 1;
}

/* "order-17" */
static void take_stream(struct cutover_verify *verify, struct banyan_str stream)
{
    const char *dash = memchr(stream.data, '-', stream.size);
    size_t size = dash == NULL ? stream.size : (size_t)(dash - stream.data);
    char number[24], *end = NULL;
    size_t digits = stream.size - size - (dash != NULL);
    int64_t key;

    if (dash == NULL || digits == 0 || digits >= sizeof(number))
        return;
    memcpy(number, dash + 1, digits);
    number[digits] = '\0';
    key = strtoll(number, &end, 10);
    if (*end != '\0')
        return; /* no key of a mapped table */
    for (size_t m = 0; m < verify->count; m++)
        if (banyan_str_equal(verify->compared[m].category, (struct banyan_str){stream.data, size}))
            (void)hash_put(&verify->compared[m].keys, key, looks_value(0)); /* named again: whatever was seen is old */
}

static enum banyan_status find_keys(struct cutover_verify *verify, struct banyan_error *err)
{
    struct banyan_position end = store_durable(verify->options.store);
    struct store_read_event event;
    enum banyan_status st;

    if (end.value <= verify->seen.value)
        return BANYAN_OK;
    store_reader_end(verify->reader, end);
    st = store_reader_seek(verify->reader, (struct banyan_position){verify->seen.value + 1}, err);
    while (st == BANYAN_OK) {
        st = store_reader_next(verify->reader, &event, err);
        if (st == BANYAN_OK)
            take_stream(verify, event.event.stream);
        if (verify->options.stop != NULL && os_stop_requested(verify->options.stop))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while looking for what changed");
    }
    if (st != BANYAN_NOT_FOUND)
        return st;
    verify->seen = end;
    return BANYAN_OK;
}

static int compare_keys(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void order_keys(struct compared *compared)
{
    struct hash_entry *entry;
    size_t cursor = 0;

    compared->order_count = 0;
    if (compared->order_capacity < compared->keys.count) {
        compared->order_capacity = 2 * compared->keys.count;
        compared->order = alloc_resized(compared->order, compared->order_capacity, sizeof(*compared->order));
    }
    while ((entry = hash_next(&compared->keys, &cursor)) != NULL)
        compared->order[compared->order_count++] = entry->key;
    if (compared->order_count > 1)
        qsort(compared->order, compared->order_count, sizeof(*compared->order), compare_keys);
}

/* ---- the two sides ---- */

/* The rows of keys [0, count), in their order, into verify->rows. */
static enum banyan_status read_rows(struct cutover_verify *verify, const struct compared *compared,
                                    struct pg_conn *conn, const int64_t *keys, size_t count, struct banyan_error *err)
{
    const struct banyan_record *record = compared->mapping->tables[0].row;
    struct banyan_buf select = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_copy_out copy;
    enum banyan_status st;
    size_t at = 0;

    banyan_arena_reset(&verify->rows_arena);
    memset(verify->rows, 0, count * sizeof(verify->rows[0]));
    legacy_tables_select_keys(&compared->table, keys, count, &select);
    st = select.overflow ? banyan_error_set(err, BANYAN_LIMIT, "the statement that reads the legacy rows is too long")
                         : pg_copy_out_begin(&copy, conn, select.data, record, compared->table.column_oids, err);
    if (st != BANYAN_OK)
        goto out;
    for (;;) {
        void *row = banyan_arena_alloc(&verify->rows_arena, record->size);
        int64_t key;

        st = pg_copy_out_row(&copy, &verify->rows_arena, row, err);
        if (st != BANYAN_OK)
            break;
        key = legacy_table_key(&compared->table, row);
        while (at < count && keys[at] < key)
            at++;
        if (at < count && keys[at] == key)
            verify->rows[at] = row;
    }
    pg_copy_out_end(&copy);
    if (st == BANYAN_NOT_FOUND)
        st = BANYAN_OK;
out:
    banyan_buf_release(&select);
    return st;
}

/* Is *row* (NULL: none) what the state of the key stands for? */
static enum banyan_status look_at_state(struct cutover_verify *verify, const struct compared *compared, int64_t key,
                                        const void *row, bool *ret_equal, struct banyan_error *err)
{
    const struct banyan_legacy_mapping *mapping = compared->mapping;
    const struct banyan_record *record = mapping->tables[0].row;
    struct banyan_arena *arena = &verify->state_arena;
    struct banyan_version version = {0};
    void *state, *mine;
    enum banyan_status st;
    bool exists;

    banyan_arena_reset(arena);
    state = banyan_arena_alloc(arena, mapping->aggregate->state->size);
    mine = banyan_arena_alloc(arena, record->size);
    st = aggregates_state(verify->options.aggregates, compared->category, banyan_arena_printf(arena, "%" PRId64, key),
                          arena, state, &version, err);
    if (st != BANYAN_OK)
        return st;
    banyan_record_init(record, mine);
    exists = version.value > 0 && mapping->row(state, mine);
    if (!exists || row == NULL)
        *ret_equal = exists == (row != NULL);
    else
        *ret_equal = banyan_record_diff(record, mine, row) == 0;
    return BANYAN_OK;
}

static void judge(struct cutover_verify *verify, struct compared *compared, int64_t key, bool equal, bool at_rest)
{
    const struct cutover_verify_options *options = &verify->options;
    unsigned looks = looks_of(hash_get(&compared->keys, key)) + 1;

    if (!equal && at_rest && options->exempt != NULL)
        equal = options->exempt(options->exempt_context, compared->category, key);
    if (equal) {
        (void)hash_remove(&compared->keys, key); /* gives the value that it had */
        return;
    }
    (void)hash_put(&compared->keys, key, looks_value(looks));
    verify->figures.suspected++;
    if (looks > verify->figures.looks_most)
        verify->figures.looks_most = looks;
}

static enum banyan_status compare_chunk(struct cutover_verify *verify, struct compared *compared,
                                        const struct cutover_verify_round *round, const int64_t *keys, size_t count,
                                        struct banyan_error *err)
{
    enum banyan_status st = read_rows(verify, compared, round->conn, keys, count, err);

    if (st == BANYAN_OK && !round->at_rest && round->rows_first)
        st = round->meet(round->context, verify->seen, err);
    for (size_t i = 0; st == BANYAN_OK && i < count; i++) {
        bool equal = false;

        st = look_at_state(verify, compared, keys[i], verify->rows[i], &equal, err);
        if (st == BANYAN_OK)
            judge(verify, compared, keys[i], equal, round->at_rest);
    }
    return st;
}

enum banyan_status cutover_verify_round(struct cutover_verify *verify, const struct cutover_verify_round *round,
                                        struct banyan_error *err)
{
    struct cutover_verify_figures *figures = &verify->figures;
    enum banyan_status st = find_keys(verify, err);

    figures->rounds++;
    figures->keys_last = figures->suspected = 0;
    figures->looks_most = 0;
    if (st == BANYAN_OK && !round->at_rest && !round->rows_first)
        st = round->meet(round->context, verify->seen, err);
    for (size_t m = 0; st == BANYAN_OK && m < verify->count; m++) {
        struct compared *compared = &verify->compared[m];

        order_keys(compared);
        figures->keys_last += compared->order_count;
        for (size_t first = 0; st == BANYAN_OK && first < compared->order_count; first += KEYS_AT_ONCE) {
            size_t left = compared->order_count - first;

            st = compare_chunk(verify, compared, round, compared->order + first,
                               left < KEYS_AT_ONCE ? left : KEYS_AT_ONCE, err);
        }
    }
    figures->keys += figures->keys_last;
    if (st == BANYAN_OK && round->at_rest && figures->suspected > 0)
        st = cutover_verify_refuse(verify, err);
    return st;
}

enum banyan_status cutover_verify_refuse(const struct cutover_verify *verify, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(BANYAN_ERROR_TEXT_MAX);
    enum banyan_status st;
    unsigned named = 0;

    for (size_t m = 0; m < verify->count; m++) {
        const struct compared *compared = &verify->compared[m];
        struct hash_entry *entry;
        size_t cursor = 0;

        while (named < NAMED_MAX && (entry = hash_next(&compared->keys, &cursor)) != NULL)
            if (looks_of(entry->value) > 0)
                banyan_buf_printf(&text, "%s%s, key %" PRId64, named++ == 0 ? "" : "; ",
                                  compared->mapping->tables[0].name, entry->key);
    }
    st = banyan_error_set(err, BANYAN_MISMATCH, "%" PRIu64 " rows differ from what the log says",
                          verify->figures.suspected);
    if (text.size > 0)
        banyan_error_detail(err, "%s%s.", text.data, verify->figures.suspected > named ? "; …" : "");
    banyan_error_hint(err, "`banyan verify` shows rows and columns.  A row that was written past the stream (replica "
                           "role, restored table) or an event that was not: find out which, then verify again.");
    banyan_buf_release(&text);
    return st;
}
