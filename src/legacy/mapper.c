/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls the domain with rows or changes of one key, folds what it emits and proves the result against the legacy row.
 *
 * Invariants
 *   1. After a call that returned OK, row(fold of all events of the key) is the legacy row, or both do not exist.
 *   2. An event's id is a function of its source: of (source, category, key, commit LSN, index) when captured, of
 *      (source, category, key, ordinal) in a history.  Whoever maps the same rows again gets the same ids.
 *   3. A domain function never sees the running state, only what it was before: folding goes on while it emits.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/alloc.h"
#include "legacy/mapper_int.h"
#include "pg/conn.h"
#include "store/emitter.h"

enum {
    ID_KIND_HISTORY = 1,
    ID_KIND_CAPTURED = 2,
    EVENTS_FIRST = 64,
};

/* One call of the domain for one key. */
struct mapping {
    struct banyan_emitter emitter; /* what the domain sees */
    struct mapper *mapper;
    struct mapper_events *events;
    const struct mapper_origin *origin;
    int64_t key;
    uint64_t *index; /* of the next event */
    bool reconciling;
    struct banyan_str stream, meta; /* made at the first event; meta of exact events */
    enum banyan_status status;      /* the first failure; nothing is taken after it */
};

/* ---- life ---- */

static void *zeroed_record(struct mapper *mapper, const struct banyan_record *record)
{
    void *value = banyan_arena_zalloc(&mapper->arena, record->size);
    banyan_record_init(record, value);
    return value;
}

struct mapper *mapper_new(const struct mapper_options *options)
{
    assert(options->mapping < options->domain->mapping_count);
    struct mapper *mapper = alloc_zeroed(1, sizeof(*mapper));
    mapper->domain = options->domain;
    mapper->legacy = &options->domain->mappings[options->mapping];
    mapper->aggregate = mapper->legacy->aggregate;
    mapper->state_record = mapper->aggregate->state;
    mapper->row_record = mapper->legacy->tables[0].row;
    mapper->store = options->store;
    mapper->ring_max = options->cached_keys_max != 0 ? options->cached_keys_max : MAPPER_CACHED_KEYS_DEFAULT;
    mapper->category_size = strlen(mapper->aggregate->category);
    assert(mapper->category_size + 24 < MAPPER_STREAM_BYTES_MAX);
    states_init(&mapper->states, mapper->store, mapper->domain, mapper->aggregate, &mapper->arena);
    mapper->kept = banyan_arena_zalloc(&mapper->arena, mapper->states.payload_size_max);
    mapper->fresh = zeroed_record(mapper, mapper->state_record);
    mapper->state = zeroed_record(mapper, mapper->state_record);
    mapper->before = zeroed_record(mapper, mapper->state_record);
    mapper->row = zeroed_record(mapper, mapper->row_record);
    mapper->row_before = zeroed_record(mapper, mapper->row_record);
    mapper->payload = (struct banyan_buf)BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);

    mapper_id_prefix(options->source_id, mapper->aggregate->category, mapper->id_prefix);
    return mapper;
}

void mapper_free(struct mapper *mapper)
{
    if (mapper == NULL)
        return;
    mapper_state_release(mapper);
    states_release(&mapper->states);
    banyan_buf_release(&mapper->payload);
    banyan_arena_release(&mapper->arena);
    free(mapper);
}

/* ---- names, ids, meta ---- */

struct banyan_str mapper_stream(const struct mapper *mapper, int64_t key, char text[MAPPER_STREAM_BYTES_MAX])
{
    char digits[24];
    size_t count = 0;
    uint64_t rest = key < 0 ? 0 - (uint64_t)key : (uint64_t)key;
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (key < 0)
        digits[count++] = '-';
    memcpy(text, mapper->aggregate->category, mapper->category_size);
    size_t size = mapper->category_size;
    text[size++] = '-';
    while (count > 0)
        text[size++] = digits[--count];
    return (struct banyan_str){text, size};
}

void mapper_id_prefix(struct banyan_str source_id, const char *category, uint8_t ret[16])
{
    struct banyan_buf name = BANYAN_BUF_INIT(64 * 1024);
    banyan_buf_add_str(&name, source_id);
    banyan_buf_add_char(&name, '\0');
    banyan_buf_add_text(&name, category);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(name.data, name.size));
    memcpy(ret, canonical.digest, 16);
    banyan_buf_release(&name);
}

static void put_u64(uint8_t *place, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        place[i] = (uint8_t)(value >> (8 * i));
}

/* XXH3 in its 128 bits: 122 of them stay, so that even 10^12 events collide with a chance below 10^-13; and a
 * collision is refused by the store as DUPLICATE, it cannot lose an event. */
static struct banyan_uuid make_id(const uint8_t prefix[16], int64_t key, uint64_t commit_lsn, uint64_t index)
{
    uint8_t source[16 + 1 + 3 * 8];
    memcpy(source, prefix, 16);
    source[16] = commit_lsn != 0 ? ID_KIND_CAPTURED : ID_KIND_HISTORY;
    put_u64(source + 17, (uint64_t)key);
    put_u64(source + 25, commit_lsn);
    put_u64(source + 33, index);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(source, sizeof(source)));
    return banyan_uuid_v8(canonical.digest);
}

struct banyan_uuid mapper_history_id(const uint8_t prefix[16], int64_t key, uint64_t index)
{
    return make_id(prefix, key, 0, index);
}

/* What nearly every captured event has, once a key and transaction: by hand, printf() would be a tenth of capture. */
static struct banyan_str captured_meta(const struct mapper_origin *origin, struct banyan_arena *arena)
{
    char text[64 + PG_LSN_TEXT_SIZE] = "{\"xid\":", digits[24];
    char *at = text + strlen(text);
    size_t count = 0;
    uint64_t rest = origin->xid;
    do
        digits[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    memcpy(at, ",\"lsn\":\"", 8);
    at += 8;
    pg_lsn_format(origin->commit_lsn, at);
    at += strlen(at);
    memcpy(at, "\"}", 2);
    return banyan_arena_str(arena, (struct banyan_str){text, (size_t)(at + 2 - text)});
}

static struct banyan_str format_meta(const struct mapper_origin *origin, const char *reason, struct banyan_arena *arena)
{
    if (reason == NULL && origin->commit_lsn != 0)
        return captured_meta(origin, arena);
    struct banyan_buf text = BANYAN_BUF_INIT(STORE_META_BYTES_MAX / 2);
    if (origin->commit_lsn != 0) {
        char lsn[PG_LSN_TEXT_SIZE];
        pg_lsn_format(origin->commit_lsn, lsn);
        banyan_buf_printf(&text, "{\"xid\":%llu,\"lsn\":\"%s\"", (unsigned long long)origin->xid, lsn);
    }
    if (reason != NULL) {
        banyan_buf_add_text(&text, text.size == 0 ? "{\"reason\":" : ",\"reason\":");
        banyan_buf_add_json(&text, banyan_str_of(reason));
    }
    if (text.size > 0)
        banyan_buf_add_char(&text, '}');
    struct banyan_str meta = banyan_arena_str(arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return meta;
}

/* A history has the same few reasons a million times; they are static texts, so the address is enough to know one. */
static struct banyan_str meta_of(struct mapping *out, const char *reason)
{
    struct mapper *mapper = out->mapper;
    if (out->origin->commit_lsn != 0) {
        if (reason != NULL)
            return format_meta(out->origin, reason, out->emitter.arena);
        if (out->meta.data == NULL)
            out->meta = format_meta(out->origin, NULL, out->emitter.arena);
        return out->meta;
    }
    if (reason == NULL)
        return BANYAN_STR("");
    for (size_t i = 0; i < mapper->reason_count; i++)
        if (mapper->reasons[i].text == reason)
            return mapper->reasons[i].meta;
    if (mapper->reason_count == MAPPER_REASONS_MAX)
        return format_meta(out->origin, reason, out->emitter.arena);
    struct mapper_reason *made = &mapper->reasons[mapper->reason_count++];
    *made = (struct mapper_reason){reason, format_meta(out->origin, reason, &mapper->arena)};
    return made->meta;
}

/* ---- emitting ---- */

static void *grown(struct banyan_arena *arena, const void *old, size_t count, size_t *capacity, size_t size)
{
    *capacity = *capacity == 0 ? EVENTS_FIRST : 2 * *capacity;
    void *items = banyan_arena_alloc(arena, *capacity * size);
    if (count > 0)
        memcpy(items, old, count * size);
    return items;
}

/* The payload as the state may keep it: the caller's strings may be gone when banyan_emit() returns.  The struct itself
 * is needed for the folding only. */
static const void *payload_kept(struct mapping *out, const struct state_type *type, const void *payload)
{
    if (!type->borrows)
        return payload;
    banyan_record_copy(type->record, out->mapper->kept, payload, out->emitter.arena);
    return out->mapper->kept;
}

static void take(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct mapping *out = (struct mapping *)emitter; /* its first member */
    if (out->status != BANYAN_OK)
        return;
    struct mapper *mapper = out->mapper;
    struct mapper_events *events = out->events;
    out->status = emitter_check(mapper->domain, event, &mapper->error);
    if (out->status != BANYAN_OK)
        return;
    const struct state_type *type = &mapper->states.types[event->type];
    banyan_buf_reset(&mapper->payload);
    out->status = banyan_record_encode(type->record, event->payload, &mapper->payload, &out->mapper->error);
    if (out->status == BANYAN_OK && mapper->payload.overflow)
        out->status = banyan_error_set(&out->mapper->error, BANYAN_LIMIT, "the payload is larger than %d bytes",
                                       STORE_PAYLOAD_BYTES_MAX);
    if (out->status != BANYAN_OK) {
        banyan_error_context(&out->mapper->error, "event %.*s", (int)type->name.size, type->name.data);
        return;
    }
    if (out->stream.data == NULL) {
        char text[MAPPER_STREAM_BYTES_MAX];
        out->stream = banyan_arena_str(out->emitter.arena, mapper_stream(mapper, out->key, text));
    }
    if (events->count == events->capacity)
        events->items =
            grown(out->emitter.arena, events->items, events->count, &events->capacity, sizeof(*events->items));
    enum banyan_provenance provenance = out->reconciling ? BANYAN_RECONCILED : event->provenance;
    struct store_event *item = &events->items[events->count++];
    item->id = make_id(mapper->id_prefix, out->key, out->origin->commit_lsn, (*out->index)++);
    item->stream = out->stream;
    item->type = type->name;
    item->schema = type->version;
    item->provenance = provenance;
    item->at = event->at;
    item->payload = banyan_arena_str(out->emitter.arena, banyan_buf_str(&mapper->payload));
    item->meta = meta_of(out, event->reason);
    events->bytes += item->payload.size + item->meta.size + item->stream.size;
    events->exact += provenance == BANYAN_EXACT;
    events->inferred += provenance == BANYAN_INFERRED;
    events->reconciled += provenance == BANYAN_RECONCILED;
    mapper->aggregate->evolve(mapper->state, event->type, payload_kept(out, type, event->payload), event->at);
}

/* ---- the proof ---- */

/* Does mapper->state stand for *row* (NULL: none)?  *ret_differing: the columns; 0 where one side has no row. */
static bool stands_for(struct mapper *mapper, const void *row, uint64_t *ret_differing, bool *ret_exists)
{
    banyan_record_init(mapper->row_record, mapper->row);
    *ret_exists = mapper->legacy->row(mapper->state, mapper->row);
    *ret_differing = 0;
    if (!*ret_exists || row == NULL)
        return !*ret_exists && row == NULL;
    *ret_differing = banyan_record_diff(mapper->row_record, mapper->row, row);
    return *ret_differing == 0;
}

static enum banyan_status report_difference(const struct mapping *out, const void *row, uint64_t differing, bool exists,
                                            struct banyan_error *err)
{
    const struct mapper *mapper = out->mapper;
    struct banyan_buf text = BANYAN_BUF_INIT(4096);
    for (size_t i = 0; i < mapper->row_record->field_count; i++) {
        const struct banyan_field *field = &mapper->row_record->fields[i];
        if ((differing >> i & 1) == 0)
            continue;
        banyan_buf_printf(&text, "%s%s: ", text.size == 0 ? "" : "; ", field->name);
        banyan_field_json(field, mapper->row, &text);
        banyan_buf_add_text(&text, " by the events, ");
        banyan_field_json(field, row, &text);
        banyan_buf_add_text(&text, " in the table");
    }
    if (text.size == 0)
        banyan_buf_printf(&text, "by the events the row %s, in the table it %s", exists ? "exists" : "does not exist",
                          row != NULL ? "exists" : "does not exist");
    struct banyan_str told = banyan_buf_str(&text);
    banyan_error_set(err, BANYAN_INVALID, "table %s, key %lld: the events do not add up to the row: %.*s",
                     mapper->legacy->tables[0].name, (long long)out->key, (int)told.size, told.data);
    banyan_error_hint(err,
                      "the mapping of domain %s does not explain these columns, and its reconcile() does not "
                      "either: it has to be corrected",
                      mapper->domain->name);
    banyan_buf_release(&text);
    return BANYAN_INVALID;
}

static enum banyan_status emitter_failed(const struct mapping *out, struct banyan_error *err)
{
    if (err != NULL)
        *err = out->mapper->error;
    banyan_error_clear(&out->mapper->error);
    banyan_error_context(err, "table %s, key %lld", out->mapper->legacy->tables[0].name, (long long)out->key);
    return out->status;
}

/* The domain has emitted: make the state equal to *row* or say why not. */
static enum banyan_status prove(struct mapping *out, const void *row, struct banyan_error *err)
{
    struct mapper *mapper = out->mapper;
    uint64_t differing;
    bool exists;
    if (out->status != BANYAN_OK)
        return emitter_failed(out, err);
    if (stands_for(mapper, row, &differing, &exists))
        return BANYAN_OK;
    memcpy(mapper->before, mapper->state, mapper->state_record->size);
    out->reconciling = true;
    mapper->legacy->reconcile(mapper->before, out->key, row, out->origin->time, &out->emitter);
    if (out->status != BANYAN_OK)
        return emitter_failed(out, err);
    if (stands_for(mapper, row, &differing, &exists))
        return BANYAN_OK;
    return report_difference(out, row, differing, exists, err);
}

static void span_add(struct mapper_events *events, struct banyan_arena *arena, int64_t key, size_t first,
                     uint64_t version)
{
    if (events->count == first)
        return;
    if (events->span_count == events->span_capacity)
        events->spans = grown(arena, events->spans, events->span_count, &events->span_capacity, sizeof(*events->spans));
    events->spans[events->span_count++] = (struct mapper_span){key, first, events->count - first, version};
}

/* Did somebody else append to the stream since its state was kept?  What came to events finds out when they are
 * appended; what came to nothing, or to an error (*status*), has to ask.  Apart, for an error is a large struct. */
__attribute__((noinline)) static enum banyan_status check_newest(struct mapper *mapper, int64_t key, uint64_t version,
                                                                 enum banyan_status status, struct banyan_error *err)
{
    char text[MAPPER_STREAM_BYTES_MAX];
    struct store_head head = {{0}, {0}};
    struct banyan_error failure = BANYAN_ERROR_INIT;
    struct banyan_str stream = mapper_stream(mapper, key, text);
    if (mapper->store == NULL)
        return status;
    enum banyan_status found = store_head(mapper->store, stream, &head, &failure);
    if (found == BANYAN_OK && head.version.value <= version)
        return status;
    if (found == BANYAN_OK)
        found = banyan_error_set(&failure, BANYAN_CONFLICT, "stream %.*s is at version %llu, decided on %llu",
                                 (int)stream.size, stream.data, (unsigned long long)head.version.value,
                                 (unsigned long long)version);
    if (err != NULL)
        *err = failure;
    return found;
}

/* ---- what the room calls ---- */

enum banyan_status mapper_history(struct mapper *mapper, const struct banyan_history *history,
                                  const struct mapper_origin *origin, struct banyan_arena *arena,
                                  struct mapper_events *events, struct banyan_error *err)
{
    assert(origin->commit_lsn == 0);
    uint64_t index = 0;
    size_t first = events->count;
    struct mapping out = {.emitter = {take, arena},
                          .mapper = mapper,
                          .events = events,
                          .origin = origin,
                          .key = history->key,
                          .index = &index};
    memcpy(mapper->state, mapper->fresh, mapper->state_record->size);
    mapper->legacy->history(history, &out.emitter);
    enum banyan_status status = prove(&out, history->root, err);
    if (status == BANYAN_OK)
        span_add(events, arena, history->key, first, 0);
    return status;
}

/* Fill in the old rows of the root table and say what the row must be afterwards.  Where nothing is known of the row
 * (a capture that began without a backfill), an update is the first sight of it, an insert to the domain, and a delete
 * says nothing.  Returns how many changes are left. */
static size_t complete_root_changes(struct mapper *mapper, struct banyan_change *changes, size_t count,
                                    const void **ret_row)
{
    banyan_record_init(mapper->row_record, mapper->row_before);
    const void *row = mapper->legacy->row(mapper->state, mapper->row_before) ? mapper->row_before : NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct banyan_change change = changes[i];
        if (change.table == 0) {
            if (change.kind != BANYAN_CHANGE_INSERT && row != NULL)
                change.old = row;
            if (change.kind == BANYAN_CHANGE_UPDATE && change.old == NULL)
                change.kind = BANYAN_CHANGE_INSERT;
            row = change.kind == BANYAN_CHANGE_DELETE ? NULL : change.new;
            if (change.kind == BANYAN_CHANGE_DELETE && change.old == NULL)
                continue;
        }
        changes[kept++] = change;
    }
    *ret_row = row;
    return kept;
}

enum banyan_status mapper_changes(struct mapper *mapper, int64_t key, struct banyan_change *changes, size_t count,
                                  const struct mapper_origin *origin, uint64_t *index, struct banyan_arena *arena,
                                  struct mapper_events *events, struct banyan_error *err)
{
    assert(origin->commit_lsn != 0);
    uint64_t version;
    enum banyan_status status = mapper_state_load(mapper, key, arena, &version, err);
    if (status != BANYAN_OK)
        return status;
    void *before = banyan_arena_alloc(arena, mapper->state_record->size);
    memcpy(before, mapper->state, mapper->state_record->size);

    const void *row;
    size_t first = events->count;
    struct mapping out = {
        .emitter = {take, arena}, .mapper = mapper, .events = events, .origin = origin, .key = key, .index = index};
    count = complete_root_changes(mapper, changes, count, &row);
    if (count > 0)
        mapper->legacy->changes(before, version > 0, key, changes, count, &out.emitter);
    status = prove(&out, row, err);
    if (status != BANYAN_OK || events->count == first)
        status = check_newest(mapper, key, version, status, err);
    if (status != BANYAN_OK)
        return status;
    span_add(events, arena, key, first, version);
    version += events->count - first;
    if (version > 0)
        mapper_state_keep(mapper, key, version);
    return BANYAN_OK;
}

enum banyan_status mapper_row(struct mapper *mapper, int64_t key, struct banyan_arena *arena, void *ret_row,
                              bool *ret_exists, struct banyan_error *err)
{
    uint64_t version;
    enum banyan_status status = mapper_state_load(mapper, key, arena, &version, err);
    if (status != BANYAN_OK)
        return status;
    if (version > 0 && hash_get(&mapper->cache, key) == NULL)
        mapper_state_keep(mapper, key, version);
    banyan_record_init(mapper->row_record, mapper->row);
    *ret_exists = mapper->legacy->row(mapper->state, mapper->row);
    if (*ret_exists)
        banyan_record_copy(mapper->row_record, ret_row, mapper->row, arena);
    return BANYAN_OK;
}

void mapper_submitted(struct mapper *mapper)
{
    mapper->append++;
}

enum banyan_status mapper_seed(struct mapper *mapper, int64_t key, const struct store_event *events, size_t count,
                               struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT; /* strings of old versions, until the state is kept */
    enum banyan_status status = BANYAN_OK;
    memcpy(mapper->state, mapper->fresh, mapper->state_record->size);
    for (size_t i = 0; i < count && status == BANYAN_OK; i++)
        status = states_fold(&mapper->states, mapper->state, mapper->kept, &events[i], &arena, err);
    if (status == BANYAN_OK)
        mapper_state_keep(mapper, key, count);
    banyan_arena_release(&arena);
    return status;
}
