/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps, drops and groups the changes of one transaction; see transaction.h for the invariants.
 *
 * A streamed transaction goes to its spool early (at an eighth of the limit), because many of them can be open at once
 * and each is at least as large as the server's logical_decoding_work_mem.  Whether it is large is decided at its end,
 * by the sizes of the changes that survived.
 */
#include "legacy/transaction.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum {
    STREAMED_SHARE = 8,
    STREAMED_BYTES_MIN = 64 * 1024,
    SPOOL_BUFFER_BYTES = 256 * 1024,
    PARTITION_BUFFER_BYTES = 32 * 1024,
    PARTITIONS_MAX = 256,
    ROWS_FIRST = 64,
    ROWS_KEPT_MAX = 64 * 1024, /* a table of rows above this is given back at reset */
    ARENA_KEPT_MAX = 4 * 1024 * 1024,
    KEYS_LINEAR_MAX = 16, /* groups of so few rows are found by looking at each */
};

/* ---- life ---- */

void transaction_init(struct transaction *tx, const struct banyan_legacy_mapping *mappings, size_t mapping_count,
                      const char *folder, size_t memory_bytes_max)
{
    assert(mappings != NULL && mapping_count > 0 && mapping_count <= ROW_CHANGE_MAPPINGS_MAX);
    assert(folder != NULL && memory_bytes_max > 0);
    *tx = (struct transaction){.mappings = mappings,
                               .mapping_count = mapping_count,
                               .spool_folder = folder,
                               .memory_bytes_max = memory_bytes_max};
}

static void notes_reset(struct transaction_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        free((char *)notes->items[i].token.data);
    notes->count = 0;
}

void transaction_release(struct transaction *tx)
{
    if (tx == NULL)
        return;
    notes_reset(&tx->truncations);
    notes_reset(&tx->fences);
    free(tx->truncations.items);
    free(tx->fences.items);
    free(tx->rows);
    banyan_arena_release(&tx->arena);
    spool_close(&tx->spool);
    hash_release(&tx->aborted);
    *tx = (struct transaction){0};
}

static void forget_rows(struct transaction *tx)
{
    if (tx->row_capacity > ROWS_KEPT_MAX) {
        free(tx->rows);
        tx->rows = NULL;
        tx->row_capacity = 0;
    }
    if (tx->arena.bytes > ARENA_KEPT_MAX)
        banyan_arena_release(&tx->arena);
    else
        banyan_arena_reset(&tx->arena);
    tx->row_count = 0;
    tx->row_bytes = 0;
}

void transaction_reset(struct transaction *tx, uint32_t xid)
{
    forget_rows(tx);
    notes_reset(&tx->truncations);
    notes_reset(&tx->fences);
    if (tx->spool.file != NULL)
        spool_close(&tx->spool);
    if (tx->aborted.count > 0)
        hash_reset(&tx->aborted);
    tx->xid = xid;
    tx->streamed = false;
    tx->foreign_origin = false;
    tx->commit_lsn = tx->end_lsn = 0;
    tx->commit_time = (struct banyan_time){BANYAN_TIME_NULL};
    tx->total_count = tx->total_bytes = 0;
}

/* ---- adding ---- */

static void push_row(struct transaction *tx, const struct row_change *change)
{
    if (tx->row_count == tx->row_capacity) {
        tx->row_capacity = tx->row_capacity == 0 ? ROWS_FIRST : 2 * tx->row_capacity;
        tx->rows = alloc_resized(tx->rows, tx->row_capacity, sizeof(*tx->rows));
    }
    tx->rows[tx->row_count++] = *change;
    tx->row_bytes += change->bytes;
}

static enum banyan_status spill(struct transaction *tx, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct banyan_buf encoded = BANYAN_BUF_INIT(SIZE_MAX / 2);
    if (tx->spool.file == NULL)
        status = spool_open(&tx->spool, tx->spool_folder, SPOOL_BUFFER_BYTES, err);
    for (size_t i = 0; status == BANYAN_OK && i < tx->row_count; i++) {
        banyan_buf_reset(&encoded);
        row_change_encode(&tx->mappings[tx->rows[i].mapping], &tx->rows[i], &encoded);
        status = spool_add(&tx->spool, banyan_buf_str(&encoded), err);
    }
    banyan_buf_release(&encoded);
    if (status == BANYAN_OK)
        forget_rows(tx);
    return status;
}

enum banyan_status transaction_add(struct transaction *tx, const struct row_change *changes, size_t count,
                                   struct banyan_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct row_change measured = changes[i];
        row_change_measure(&tx->mappings[measured.mapping], &measured);
        push_row(tx, &measured);
        tx->total_count++;
        tx->total_bytes += measured.bytes;
    }
    size_t limit = tx->memory_bytes_max;
    if (tx->streamed) {
        limit /= STREAMED_SHARE;
        if (limit < STREAMED_BYTES_MIN)
            limit = STREAMED_BYTES_MIN;
    }
    return tx->row_bytes > limit ? spill(tx, err) : BANYAN_OK;
}

static struct transaction_note *note_add(struct transaction_notes *notes)
{
    if (notes->count == notes->capacity) {
        notes->capacity = notes->capacity == 0 ? 4 : 2 * notes->capacity;
        notes->items = alloc_resized(notes->items, notes->capacity, sizeof(*notes->items));
    }
    struct transaction_note *note = &notes->items[notes->count++];
    *note = (struct transaction_note){0};
    return note;
}

void transaction_truncate(struct transaction *tx, uint32_t subxid, unsigned mapping, unsigned table)
{
    struct transaction_note *note = note_add(&tx->truncations);
    note->subxid = subxid;
    note->mapping = (uint8_t)mapping;
    note->table = (uint8_t)table;
}

void transaction_fence(struct transaction *tx, uint32_t subxid, struct banyan_str token)
{
    struct transaction_note *note = note_add(&tx->fences);
    note->subxid = subxid;
    char *copy = alloc_zeroed(1, token.size + 1);
    memcpy(copy, token.data, token.size);
    note->token = (struct banyan_str){copy, token.size};
}

void transaction_abort_sub(struct transaction *tx, uint32_t subxid)
{
    (void)hash_put(&tx->aborted, subxid, tx); /* any pointer says "yes" */
}

/* ---- the end ---- */

static bool survives(const struct transaction *tx, uint32_t subxid)
{
    return tx->aborted.count == 0 || hash_get(&tx->aborted, subxid) == NULL;
}

static void notes_keep_surviving(const struct transaction *tx, struct transaction_notes *notes)
{
    size_t kept = 0;
    for (size_t i = 0; i < notes->count; i++) {
        if (survives(tx, notes->items[i].subxid))
            notes->items[kept++] = notes->items[i];
        else
            free((char *)notes->items[i].token.data);
    }
    notes->count = kept;
}

/* Sizes of what is left, from the fronts of the changes. */
static enum banyan_status count_surviving(struct transaction *tx, struct banyan_error *err)
{
    tx->total_count = tx->total_bytes = 0;
    size_t kept = 0;
    for (size_t i = 0; i < tx->row_count; i++)
        if (survives(tx, tx->rows[i].subxid))
            tx->rows[kept++] = tx->rows[i];
    tx->row_count = kept;
    for (size_t i = 0; i < tx->row_count; i++)
        tx->total_bytes += tx->rows[i].bytes;
    tx->total_count = tx->row_count;
    if (tx->spool.file == NULL)
        return BANYAN_OK;
    struct banyan_str item;
    enum banyan_status status = spool_rewind(&tx->spool, err);
    while (status == BANYAN_OK && (status = spool_next(&tx->spool, &item, err)) == BANYAN_OK) {
        struct row_change front;
        if (!row_change_peek(item, &front))
            return banyan_error_set(err, BANYAN_CORRUPT, "spool of transaction %u is damaged", tx->xid);
        if (!survives(tx, front.subxid))
            continue;
        tx->total_count++;
        tx->total_bytes += front.bytes;
    }
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

static enum banyan_status decode_spooled(struct transaction *tx, struct banyan_str item, struct row_change *ret,
                                         struct banyan_error *err)
{
    if (!row_change_peek(item, ret) || ret->mapping >= tx->mapping_count)
        return banyan_error_set(err, BANYAN_CORRUPT, "spool of transaction %u is damaged", tx->xid);
    return row_change_decode(&tx->mappings[ret->mapping], item, &tx->arena, ret, err);
}

/* Spooled, but small after all (it was streamed, or much of it was rolled back): everything into memory. */
static enum banyan_status load_all(struct transaction *tx, struct banyan_error *err)
{
    struct row_change *newer = tx->rows;
    size_t newer_count = tx->row_count;
    tx->rows = NULL;
    tx->row_count = tx->row_capacity = 0;
    struct banyan_str item;
    enum banyan_status status = spool_rewind(&tx->spool, err);
    while (status == BANYAN_OK && (status = spool_next(&tx->spool, &item, err)) == BANYAN_OK) {
        struct row_change change;
        if (row_change_peek(item, &change) && !survives(tx, change.subxid))
            continue;
        status = decode_spooled(tx, item, &change, err);
        if (status == BANYAN_OK)
            push_row(tx, &change);
    }
    if (status == BANYAN_NOT_FOUND)
        status = BANYAN_OK;
    for (size_t i = 0; i < newer_count; i++)
        push_row(tx, &newer[i]);
    free(newer);
    spool_close(&tx->spool);
    return status;
}

enum banyan_status transaction_finish(struct transaction *tx, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    if (tx->aborted.count > 0) {
        status = count_surviving(tx, err);
        notes_keep_surviving(tx, &tx->truncations);
        notes_keep_surviving(tx, &tx->fences);
    }
    if (status == BANYAN_OK && tx->spool.file != NULL) {
        if (!transaction_is_large(tx))
            status = load_all(tx, err);
        else if (tx->row_count > 0)
            status = spill(tx, err); /* also appends behind what a rewind has read: writing goes on at the end */
    }
    if (status == BANYAN_OK && tx->spool.file == NULL && transaction_is_large(tx))
        status = spill(tx, err);
    return status;
}

bool transaction_is_large(const struct transaction *tx)
{
    return tx->total_bytes > tx->memory_bytes_max;
}

/* ---- groups ---- */

/* The number of each row's group, groups numbered in order of their first row; returns how many there are. */
static size_t number_groups(const struct row_change *rows, size_t count, size_t *group, struct banyan_arena *arena)
{
    size_t groups = 0;
    if (count <= KEYS_LINEAR_MAX) {
        for (size_t i = 0; i < count; i++) {
            size_t j = 0;
            while (rows[j].key != rows[i].key)
                j++;
            group[i] = j < i ? group[j] : groups++;
        }
        return groups;
    }
    size_t *numbers = banyan_arena_alloc(arena, count * sizeof(*numbers)); /* the map holds pointers into it */
    struct hash map = HASH_INIT;
    for (size_t i = 0; i < count; i++) {
        size_t *found = hash_get(&map, rows[i].key);
        if (found == NULL) {
            found = &numbers[groups];
            *found = groups++;
            (void)hash_put(&map, rows[i].key, found);
        }
        group[i] = *found;
    }
    hash_release(&map);
    return groups;
}

/* Rows of one mapping, group by group: a counting sort, so that the order within a group stays. */
static enum banyan_status call_keys(struct row_change *rows, size_t count, transaction_group_fn call, void *context,
                                    struct banyan_error *err)
{
    if (count == 0)
        return BANYAN_OK;
    if (count == 1)
        return call(context, rows[0].key, rows, 1, err);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t *group = banyan_arena_alloc(&arena, count * sizeof(*group));
    size_t groups = number_groups(rows, count, group, &arena);
    size_t *first = banyan_arena_zalloc(&arena, (groups + 1) * sizeof(*first));
    for (size_t i = 0; i < count; i++)
        first[group[i] + 1]++;
    for (size_t g = 0; g < groups; g++)
        first[g + 1] += first[g];
    size_t *next = banyan_arena_alloc(&arena, groups * sizeof(*next));
    memcpy(next, first, groups * sizeof(*next));
    struct row_change *sorted = banyan_arena_alloc(&arena, count * sizeof(*sorted));
    for (size_t i = 0; i < count; i++)
        sorted[next[group[i]]++] = rows[i];
    enum banyan_status status = BANYAN_OK;
    for (size_t g = 0; status == BANYAN_OK && g < groups; g++)
        status = call(context, sorted[first[g]].key, &sorted[first[g]], first[g + 1] - first[g], err);
    banyan_arena_release(&arena);
    return status;
}

static bool is_mixed(const struct transaction *tx)
{
    for (size_t i = 1; i < tx->row_count; i++)
        if (tx->rows[i].mapping != tx->rows[0].mapping)
            return true;
    return false;
}

/* Rows in memory, mapping by mapping. */
static enum banyan_status call_groups(const struct transaction *tx, transaction_group_fn call, void *context,
                                      struct banyan_error *err)
{
    if (tx->mapping_count == 1 || !is_mixed(tx))
        return call_keys(tx->rows, tx->row_count, call, context, err);
    struct row_change *sorted = alloc_zeroed(tx->row_count + 1, sizeof(*sorted));
    size_t first = 0, end = 0;
    enum banyan_status status = BANYAN_OK;
    for (size_t m = 0; status == BANYAN_OK && end < tx->row_count; m++, first = end) {
        for (size_t i = 0; i < tx->row_count; i++)
            if (tx->rows[i].mapping == m)
                sorted[end++] = tx->rows[i];
        status = call_keys(sorted + first, end - first, call, context, err);
    }
    free(sorted);
    return status;
}

/* How many files the changes of one mapping are spread over. */
static size_t partition_count(const struct transaction *tx)
{
    uint64_t wanted = tx->total_bytes / (tx->memory_bytes_max / 2 + 1) + 1;
    uint64_t most = PARTITIONS_MAX / tx->mapping_count;
    return wanted > most ? (size_t)most : (size_t)wanted;
}

/* Each change into the file of its key's partition; mapping by mapping, as their groups will be called. */
static enum banyan_status split(struct transaction *tx, struct spool *parts, size_t count, struct banyan_error *err)
{
    struct banyan_str item;
    enum banyan_status status = spool_rewind(&tx->spool, err);
    while (status == BANYAN_OK && (status = spool_next(&tx->spool, &item, err)) == BANYAN_OK) {
        struct row_change front;
        if (!row_change_peek(item, &front) || front.mapping >= tx->mapping_count)
            return banyan_error_set(err, BANYAN_CORRUPT, "spool of transaction %u is damaged", tx->xid);
        if (!survives(tx, front.subxid))
            continue;
        struct spool *part = &parts[front.mapping * count + hash_mix((uint64_t)front.key) % count];
        if (part->file == NULL)
            status = spool_open(part, tx->spool_folder, PARTITION_BUFFER_BYTES, err);
        if (status == BANYAN_OK)
            status = spool_add(part, item, err);
    }
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

static enum banyan_status call_partition(struct transaction *tx, struct spool *part, transaction_group_fn group,
                                         void *context, struct banyan_error *err)
{
    struct banyan_str item;
    assert(tx->row_count == 0);
    enum banyan_status status = spool_rewind(part, err);
    while (status == BANYAN_OK && (status = spool_next(part, &item, err)) == BANYAN_OK) {
        struct row_change change;
        status = decode_spooled(tx, item, &change, err);
        if (status == BANYAN_OK)
            push_row(tx, &change);
    }
    if (status == BANYAN_NOT_FOUND)
        status = call_keys(tx->rows, tx->row_count, group, context, err);
    forget_rows(tx);
    return status;
}

enum banyan_status transaction_each_group(struct transaction *tx, transaction_group_fn group,
                                          transaction_partition_fn partition, void *context, struct banyan_error *err)
{
    if (!transaction_is_large(tx))
        return call_groups(tx, group, context, err);
    size_t count = partition_count(tx), all = count * tx->mapping_count;
    struct spool *parts = alloc_zeroed(all, sizeof(*parts));
    enum banyan_status status = split(tx, parts, count, err);
    if (status == BANYAN_OK)
        spool_close(&tx->spool);
    for (size_t i = 0; status == BANYAN_OK && i < all; i++) {
        if (parts[i].file == NULL)
            continue;
        status = call_partition(tx, &parts[i], group, context, err);
        spool_close(&parts[i]);
        if (partition != NULL)
            partition(context);
    }
    for (size_t i = 0; i < all; i++)
        spool_close(&parts[i]);
    free(parts);
    return status;
}
