/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the streams of this source.  Any prefix of them is a valid state:
 *
 *   (nothing)          ─▶ a first start
 *   SlotCreating       ─▶ a first start that may have left a slot
 *   HandoverStarted    ─▶ cursor exists; chunks are done as far as ChunkRead events say, the rest is unread
 *   BackfillCompleted  ─▶ only capture
 *   MappingStarted     ─▶ a mapping came later; its chunks follow, and another BackfillCompleted
 *
 * Held changes are still undecided when their key is in no chunk that was read: a chunk's append decides the ones of
 * its keys.
 */
#include "legacy/recovery.h"

#include <string.h>

#include "legacy/records.h"

typedef enum banyan_status (*read_fn)(struct legacy *legacy, const struct store_event *event, struct recovery *recovery,
                                      struct banyan_error *err);

static enum banyan_status each_event(struct legacy *legacy, struct banyan_str stream, read_fn call,
                                     struct recovery *recovery, struct banyan_error *err)
{
    struct store_head head;
    enum banyan_status status = store_head(legacy->options.store, stream, &head, err);
    if (status != BANYAN_OK || head.version.value == 0)
        return status;
    struct store_reader *reader = store_reader_open(legacy->options.store);
    struct store_read_event read;
    status = store_reader_stream(reader, stream, (struct banyan_version){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, err)) == BANYAN_OK)
        status = call(legacy, &read.event, recovery, err);
    store_reader_close(reader);
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

static enum banyan_status find_mapping(const struct legacy *legacy, struct banyan_str category, size_t *ret,
                                       struct banyan_error *err)
{
    *ret = legacy_mapping_of(legacy, category);
    if (*ret < legacy->mapping_count)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_CONFIG,
                     "the log has taken over %.*s from this source, but domain %s has no mapping for it",
                     (int)category.size, category.data, legacy->options.domain->name);
    banyan_error_hint(err,
                      "put the mapping back: its changes would be missed; or give the source another name to begin "
                      "anew without it");
    return BANYAN_CONFIG;
}

/* What the log took over from the beginning; what is written before mappings had names began with the first one. */
static enum banyan_status begin_mappings(struct legacy *legacy, const struct records_event *record,
                                         struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    size_t mapping;
    if (record->category_count == 0)
        legacy->mappings[0].begun = true;
    for (size_t i = 0; status == BANYAN_OK && i < record->category_count; i++) {
        status = find_mapping(legacy, record->categories[i], &mapping, err);
        if (status == BANYAN_OK)
            legacy->mappings[mapping].begun = true;
    }
    return status;
}

static enum banyan_status read_mapping_event(struct legacy *legacy, bool is_chunk, const struct records_event *record,
                                             struct banyan_error *err)
{
    size_t mapping;
    enum banyan_status status = find_mapping(legacy, record->category, &mapping, err);
    if (status != BANYAN_OK)
        return status;
    if (is_chunk) {
        handover_chunk_restore(legacy->mappings[mapping].handover, record->lo, record->hi, &record->snapshot);
        legacy->shared.status.mappings[mapping].chunks_done++;
        legacy->shared.status.chunks_done++;
    } else {
        legacy->mappings[mapping].begun = true;
        legacy->backfill_lsn = 0;
        legacy->shared.status.backfill_done = false;
    }
    return BANYAN_OK;
}

static enum banyan_status read_system_event(struct legacy *legacy, const struct store_event *event,
                                            struct recovery *recovery, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    bool lasting = banyan_str_equal(event->type, BANYAN_STR("HandoverStarted"));
    struct records_event record = {.lsn = 0};
    enum banyan_status status =
        records_parse(event->type, event->payload, lasting ? &legacy->arena : &arena, &record, err);
    if (status != BANYAN_OK)
        goto out;
    if (banyan_str_equal(event->type, BANYAN_STR("SlotCreating"))) {
        recovery->slot_creating = true;
        recovery->slot = banyan_arena_str(&legacy->arena, record.slot);
    } else if (lasting) {
        recovery->handover_started = true;
        recovery->slot = record.slot;
        recovery->snapshot = record.snapshot;
        legacy->system_id = record.system;
        legacy->timeline = record.timeline;
        legacy->consistent_lsn = record.lsn;
        status = begin_mappings(legacy, &record, err);
    } else if (banyan_str_equal(event->type, BANYAN_STR("ChunkRead"))) {
        status = read_mapping_event(legacy, true, &record, err);
    } else if (banyan_str_equal(event->type, BANYAN_STR("MappingStarted"))) {
        status = read_mapping_event(legacy, false, &record, err);
    } else if (banyan_str_equal(event->type, BANYAN_STR("BackfillCompleted"))) {
        legacy->backfill_lsn = record.lsn;
        legacy->shared.status.backfill_done = true;
    }
out:
    banyan_arena_release(&arena);
    return status;
}

static enum banyan_status read_held_event(struct legacy *legacy, const struct store_event *event,
                                          struct recovery *recovery, struct banyan_error *err)
{
    struct records_held held;
    struct row_change front;
    (void)recovery;
    enum banyan_status status = records_held_decode(event->payload, &held, err);
    if (status != BANYAN_OK)
        return status;
    if (!row_change_peek(held.change, &front))
        return banyan_error_set(err, BANYAN_CORRUPT, "a held change has a damaged front");
    size_t mapping;
    status = find_mapping(legacy, held.category, &mapping, err);
    if (status != BANYAN_OK)
        return status;
    struct handover *handover = legacy->mappings[mapping].handover;
    if (handover_decide(handover, held.origin.xid, front.key) == HANDOVER_HOLD)
        handover_hold(handover, held.origin.xid, front.key, event->payload);
    return BANYAN_OK;
}

static enum banyan_status read_cursor(struct legacy *legacy, struct banyan_error *err)
{
    struct records_cursor cursor;
    struct banyan_str value = store_cursor(legacy->options.store, legacy->cursor_name, &legacy->arena);
    if (value.data == NULL)
        return banyan_error_set(err, BANYAN_CORRUPT, "source %s has begun, but its cursor is missing in the store",
                                legacy->options.name);
    enum banyan_status status = records_cursor_parse(value, &legacy->arena, &cursor, err);
    if (status != BANYAN_OK)
        return status;
    legacy->cursor_lsn = legacy->processed_lsn = cursor.lsn;
    legacy->xid_reference = cursor.xid;
    legacy->system_id = cursor.system;
    legacy->timeline = cursor.timeline;
    return BANYAN_OK;
}

enum banyan_status recovery_run(struct legacy *legacy, struct recovery *ret, struct banyan_error *err)
{
    struct recovery recovery = {.slot_creating = false};
    enum banyan_status status = each_event(legacy, legacy->system_stream, read_system_event, &recovery, err);
    if (status == BANYAN_OK && recovery.handover_started)
        status = read_cursor(legacy, err);
    if (status == BANYAN_OK && recovery.handover_started && legacy->backfill_lsn == 0)
        status = each_event(legacy, legacy->held_stream, read_held_event, &recovery, err);
    if (status != BANYAN_OK)
        goto out;
    if (recovery.handover_started && !banyan_str_equal(recovery.slot, banyan_str_of(legacy->options.slot))) {
        status =
            banyan_error_set(err, BANYAN_CONFIG, "source %s has read from slot %.*s so far, the settings say %s",
                             legacy->options.name, (int)recovery.slot.size, recovery.slot.data, legacy->options.slot);
        banyan_error_hint(err, "put the slot's name back, or give the source another name to begin anew");
        goto out;
    }
    *ret = recovery;
out:
    if (status != BANYAN_OK)
        banyan_error_context(err, "source %s", legacy->options.name);
    return status;
}
