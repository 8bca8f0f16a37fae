/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter, decode, apply, put aside: see fold.h.
 *
 * Decoded payloads live in the arena of the batch.  What is aside is found by the partition key, or by the hash of the
 * stream's name.
 */
#include "projection/fold.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "os/clock.h"
#include "projection/seen.h"

enum {
    ARENA_BYTES_KEPT = 8 * 1024 * 1024,
};

struct entry {
    struct banyan_seen seen;
    bool keyed;
    const char *poison; /* why it cannot be applied, in the arena; NULL: it can */
};

struct aside {
    struct sink_aside is; /* texts owned */
    bool changed;
};

struct list {
    struct sink_aside *items;
    size_t count, capacity;
};

struct fold {
    const struct banyan_projection *projection;
    struct seen_rules *rules; /* owned */
    struct sink_mark ready;   /* keys that are wanted */
    struct entry *batch;
    int64_t *keys; /* of the batch, for reading ahead */
    size_t count, capacity;
    struct banyan_arena arena; /* of the batch */

    struct hash by_key, by_stream; /* → struct aside */
    struct list changed, released; /* as they were asked for */
    struct banyan_arena released_arena;
    bool any_changed;
};

struct fold *fold_new(struct store *store, const struct banyan_domain *domain,
                      const struct banyan_projection *projection)
{
    struct fold *fold = alloc_zeroed(1, sizeof(*fold));
    fold->projection = projection;
    fold->rules = seen_rules_new(store, domain, projection);
    return fold;
}

static void free_aside(struct aside *aside)
{
    if (aside == NULL)
        return;
    free((char *)(uintptr_t)aside->is.stream.data);
    free((char *)(uintptr_t)aside->is.reason.data);
    free(aside);
}

static void forget_asides(struct fold *fold)
{
    struct hash *both[] = {&fold->by_key, &fold->by_stream};
    for (size_t i = 0; i < 2; i++) {
        size_t cursor = 0;
        for (struct hash_entry *at; (at = hash_next(both[i], &cursor)) != NULL;)
            free_aside(at->value);
        hash_reset(both[i]);
    }
}

void fold_free(struct fold *fold)
{
    if (fold == NULL)
        return;
    forget_asides(fold);
    hash_release(&fold->by_key);
    hash_release(&fold->by_stream);
    seen_rules_free(fold->rules);
    free(fold->batch);
    free(fold->keys);
    free(fold->changed.items);
    free(fold->released.items);
    banyan_arena_release(&fold->arena);
    banyan_arena_release(&fold->released_arena);
    free(fold);
}

void fold_ready(struct fold *fold, struct sink_mark ready)
{
    fold->ready = ready;
}

const struct store_filter *fold_filter(const struct fold *fold)
{
    return seen_filter(fold->rules);
}

/* ---- aside ---- */

static int64_t stream_hash(struct banyan_str stream)
{
    return (int64_t)XXH3_64bits(stream.data, stream.size);
}

static struct aside *find_stream(const struct fold *fold, struct banyan_str stream)
{
    return fold->by_stream.count == 0 ? NULL : hash_get(&fold->by_stream, stream_hash(stream));
}

static struct aside *find_key(const struct fold *fold, int64_t key)
{
    return fold->by_key.count == 0 ? NULL : hash_get(&fold->by_key, key);
}

static struct aside *find_aside(const struct fold *fold, const struct sink_aside *aside)
{
    return aside->by_stream ? find_stream(fold, aside->stream) : find_key(fold, aside->key);
}

static struct banyan_str copy_text(struct banyan_str text)
{
    char *copy = alloc_zeroed(1, text.size + 1);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    return (struct banyan_str){copy, text.size};
}

static struct aside *keep_aside(struct fold *fold, const struct sink_aside *is)
{
    struct aside *aside = alloc_zeroed(1, sizeof(*aside));
    aside->is = *is;
    aside->is.stream = copy_text(is->stream);
    aside->is.reason = copy_text(is->reason);
    struct hash *hash = is->by_stream ? &fold->by_stream : &fold->by_key;
    free_aside(hash_put(hash, is->by_stream ? stream_hash(is->stream) : is->key, aside));
    return aside;
}

static void changed(struct fold *fold, struct aside *aside)
{
    aside->changed = true;
    fold->any_changed = true;
}

static void put_aside(struct fold *fold, const struct banyan_seen *seen, bool keyed, const char *why)
{
    struct sink_aside is = {
        .by_stream = !keyed,
        .key = keyed ? seen->key : 0,
        .stream = seen->stream,
        .position = seen->position,
        .at = os_clock_now(os_clock_real()),
        .held = 1,
        .reason = banyan_str_of(why),
    };
    changed(fold, keep_aside(fold, &is));
}

/* What holds this event?  Its stream first, so that it is counted once. */
static struct aside *holder(const struct fold *fold, const struct banyan_seen *seen, bool keyed)
{
    struct aside *aside = find_stream(fold, seen->stream);
    return aside == NULL && keyed ? find_key(fold, seen->key) : aside;
}

static void list_add(struct list *list, const struct sink_aside *aside)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->items = alloc_resized(list->items, list->capacity, sizeof(*list->items));
    }
    list->items[list->count++] = *aside;
}

const struct sink_aside *fold_asides(struct fold *fold, size_t *ret_count)
{
    struct hash *both[] = {&fold->by_key, &fold->by_stream};
    fold->changed.count = 0;
    for (size_t i = 0; i < 2 && fold->any_changed; i++) {
        size_t cursor = 0;
        for (struct hash_entry *at; (at = hash_next(both[i], &cursor)) != NULL;) {
            const struct aside *aside = at->value;
            if (aside->changed)
                list_add(&fold->changed, &aside->is);
        }
    }
    *ret_count = fold->changed.count;
    return fold->changed.items;
}

const struct sink_aside *fold_released(struct fold *fold, size_t *ret_count)
{
    *ret_count = fold->released.count;
    return fold->released.items;
}

void fold_flushed(struct fold *fold)
{
    struct hash *both[] = {&fold->by_key, &fold->by_stream};
    for (size_t i = 0; i < 2 && fold->any_changed; i++) {
        size_t cursor = 0;
        for (struct hash_entry *at; (at = hash_next(both[i], &cursor)) != NULL;)
            ((struct aside *)at->value)->changed = false;
    }
    fold->any_changed = false;
    fold->released.count = 0;
    banyan_arena_reset(&fold->released_arena);
}

void fold_restore(struct fold *fold, const struct sink_aside *asides, size_t count)
{
    fold->count = 0;
    banyan_arena_reset(&fold->arena);
    fold_flushed(fold);
    forget_asides(fold);
    for (size_t i = 0; i < count; i++)
        (void)keep_aside(fold, &asides[i]); /* it is in the table */
}

size_t fold_aside_count(const struct fold *fold)
{
    return fold->by_key.count + fold->by_stream.count;
}

static struct sink_aside copy_aside(const struct sink_aside *is, struct banyan_arena *arena)
{
    struct sink_aside copy = *is;
    copy.stream = banyan_arena_str(arena, is->stream);
    copy.reason = banyan_arena_str(arena, is->reason);
    return copy;
}

bool fold_aside_find(const struct fold *fold, int64_t key, struct banyan_str stream, struct banyan_arena *arena,
                     struct sink_aside *ret)
{
    const struct aside *aside = stream.size > 0 ? find_stream(fold, stream) : find_key(fold, key);
    if (aside == NULL)
        return false;
    *ret = copy_aside(&aside->is, arena);
    return true;
}

void fold_lift(struct fold *fold, const struct sink_aside *aside)
{
    struct hash *hash = aside->by_stream ? &fold->by_stream : &fold->by_key;
    struct aside *was = hash_remove(hash, aside->by_stream ? stream_hash(aside->stream) : aside->key);
    if (was == NULL)
        return;
    struct sink_aside is = copy_aside(&was->is, &fold->released_arena);
    list_add(&fold->released, &is);
    free_aside(was);
}

void fold_explain(struct fold *fold, const struct sink_aside *aside, struct banyan_str reason)
{
    struct aside *is = find_aside(fold, aside);
    if (is == NULL)
        return;
    free((char *)(uintptr_t)is->is.reason.data);
    is->is.reason = copy_text(reason);
    changed(fold, is);
}

/* ---- the batch ---- */

size_t fold_count(const struct fold *fold)
{
    return fold->count;
}

size_t fold_bytes(const struct fold *fold)
{
    return fold->arena.bytes;
}

static void grow(struct fold *fold)
{
    fold->capacity = fold->capacity == 0 ? 1024 : fold->capacity * 2;
    fold->batch = alloc_resized(fold->batch, fold->capacity, sizeof(*fold->batch));
    fold->keys = alloc_resized(fold->keys, fold->capacity, sizeof(*fold->keys));
}

static const char *reason_of(const struct banyan_error *why, struct banyan_arena *arena)
{
    return banyan_arena_printf(arena, "%s%s%s", why->message, why->detail[0] == '\0' ? "" : ": ", why->detail).data;
}

/* What the projection sees of the event; false: nothing. */
static bool see(struct fold *fold, const struct store_read_event *event, bool borrow, struct entry *ret)
{
    struct banyan_error why;
    why.status = BANYAN_OK; /* clearing all its 2 KiB for each event would be seen in profiles */
    why.detail[0] = why.hint[0] = why.sqlstate[0] = '\0';
    enum seen_kind kind = seen_event(fold->rules, event, &fold->arena, borrow, &ret->seen, &ret->keyed, &why);
    if (kind == SEEN_UNWANTED)
        return false;
    ret->poison = kind == SEEN_POISON ? reason_of(&why, &fold->arena) : NULL;
    if (kind == SEEN_WANTED)
        ret->keyed = fold->projection->spread == BANYAN_PARTITIONED;
    return !(fold->ready.partial && ret->keyed && ret->seen.key < fold->ready.from);
}

bool fold_add(struct fold *fold, const struct store_read_event *event)
{
    if (fold->count == fold->capacity)
        grow(fold);
    if (!see(fold, event, false, &fold->batch[fold->count]))
        return false;
    fold->count++;
    return true;
}

static enum banyan_status read_ahead(struct fold *fold, struct banyan_unit *unit, struct banyan_error *err)
{
    /* A JOINED projection touches any rows; those of the event's key in its first table are the likeliest. */
    size_t tables = fold->projection->spread == BANYAN_PARTITIONED ? fold->projection->table_count : 1;
    size_t count = 0;
    for (size_t i = 0; i < fold->count; i++)
        if (fold->batch[i].poison == NULL)
            fold->keys[count++] = fold->batch[i].seen.key;
    enum banyan_status st = BANYAN_OK;
    for (unsigned table = 0; table < tables && st == BANYAN_OK; table++)
        st = unit_read_ahead(unit, table, fold->keys, count, err);
    return st;
}

/* INVALID: it was refused.  Any other error: the unit cannot be trusted. */
static enum banyan_status apply(struct fold *fold, struct banyan_unit *unit, const struct banyan_seen *seen,
                                struct banyan_error *err)
{
    unit_begin(unit, fold->projection->spread == BANYAN_PARTITIONED, seen->key);
    fold->projection->apply(seen, unit);
    enum banyan_status st = unit_end(unit, err);
    if (st == BANYAN_INVALID && unit_failed(unit, NULL) != BANYAN_OK)
        st = BANYAN_IO; /* a sink that calls a read invalid must not look like a refusal */
    return st;
}

enum banyan_status fold_apply(struct fold *fold, struct banyan_unit *unit, size_t *ret_applied,
                              struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    size_t applied = 0;
    enum banyan_status st = fold->count == 0 ? BANYAN_OK : read_ahead(fold, unit, err);
    for (size_t i = 0; i < fold->count && st == BANYAN_OK; i++) {
        const struct entry *entry = &fold->batch[i];
        struct aside *aside = holder(fold, &entry->seen, entry->keyed);
        if (aside != NULL) {
            aside->is.held++;
            changed(fold, aside);
            continue;
        }
        if (entry->poison != NULL) {
            put_aside(fold, &entry->seen, entry->keyed, entry->poison);
            continue;
        }
        st = apply(fold, unit, &entry->seen, &why);
        if (st == BANYAN_OK) {
            applied++;
        } else if (st == BANYAN_INVALID) {
            put_aside(fold, &entry->seen, entry->keyed, reason_of(&why, &fold->arena));
            banyan_error_clear(&why);
            st = BANYAN_OK;
        } else if (err != NULL) {
            *err = why;
        }
    }
    fold->count = 0;
    banyan_arena_reset_keeping(&fold->arena, ARENA_BYTES_KEPT);
    if (st == BANYAN_OK)
        *ret_applied = applied;
    return st;
}

/* ---- again ---- */

enum banyan_status fold_again(struct fold *fold, struct banyan_unit *unit, const struct sink_aside *aside,
                              const struct store_read_event *event, bool *ret_applied, struct banyan_error *err)
{
    struct entry entry;
    enum banyan_status st = BANYAN_OK;
    bool applied = false;
    if (!see(fold, event, true, &entry))
        goto out;
    if (aside->by_stream ? !banyan_str_equal(entry.seen.stream, aside->stream)
                         : !entry.keyed || entry.seen.key != aside->key)
        goto out;
    struct aside *other = holder(fold, &entry.seen, entry.keyed);
    if (other != NULL && other->is.position.value < entry.seen.position.value) {
        /* A stream that is aside has counted this event already; a key has not, since the stream came first. */
        if (aside->by_stream) {
            other->is.held++;
            changed(fold, other);
        }
        goto out;
    }
    if (entry.poison != NULL)
        st = banyan_error_set(err, BANYAN_INVALID, "%s", entry.poison);
    else
        st = apply(fold, unit, &entry.seen, err);
    applied = st == BANYAN_OK;
out:
    banyan_arena_reset(&fold->arena);
    if (st == BANYAN_OK)
        *ret_applied = applied;
    return st;
}
