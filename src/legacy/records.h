/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this room writes into the log for itself: its cursor, its JSON events, and held changes.
 *
 *   cursor              {"system":"7…","timeline":1,"slot":"banyan","lsn":"0/16B3748","xid":812}
 *   SlotCreating        {"slot":…,"system":…}           durable before the slot is made: a slot found later is ours
 *   HandoverStarted     {"slot":…,"system":…,"timeline":…,"lsn":…,"snapshot":"10:20:12","categories":["order",…]}
 *   MappingStarted      {"lsn":…,"snapshot":…,"category":…}      a mapping that came later: its keys are unread
 *   ChunkRead           {"lo":…|null,"hi":…|null,"snapshot":…,"category":…}   null: open
 *   BackfillCompleted   {"lsn":…}                       the log is consistent at each commit from here on
 *   Fence               {"token":…,"lsn":…}
 *   Idle                {"lsn":…}                       nothing of interest up to there; in the stream of fences
 *   ChangeHeld          bytes: version u8 = 2 · xid u64 · commit LSN u64 · commit time i64 ·
 *                       category size u16, category · a row change
 *
 * A mapping is named by its category.  What was written before there could be several has none, and is of the first
 * one: HandoverStarted, ChunkRead, and ChangeHeld of version 1.
 */
#ifndef LEGACY_RECORDS_H
#define LEGACY_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "legacy/legacy_int.h"
#include "legacy/row_change.h"

enum {
    RECORDS_CURSOR_BYTES_MAX = 512,
    RECORDS_JSON_BYTES_MAX = 1024 * 1024,
};

struct records_cursor {
    struct banyan_str system, slot;
    uint32_t timeline;
    uint64_t lsn, xid;
};

/* The part of a cursor's value that is always the same. */
struct banyan_str records_cursor_front(const struct legacy *legacy, struct banyan_arena *arena);
/* Into *text*; returns its length. */
size_t records_cursor_format(const struct legacy *legacy, uint64_t lsn, uint64_t xid,
                             char text[RECORDS_CURSOR_BYTES_MAX]);
BANYAN_MUST_CHECK enum banyan_status records_cursor_parse(struct banyan_str value, struct banyan_arena *arena,
                                                          struct records_cursor *ret, struct banyan_error *err);

void records_slot_creating(const struct legacy *legacy, struct banyan_buf *ret);
void records_handover_started(const struct legacy *legacy, const struct pg_snapshot *snapshot, struct banyan_buf *ret);
void records_mapping_started(struct banyan_str category, uint64_t lsn, const struct pg_snapshot *snapshot,
                             struct banyan_buf *ret);
void records_chunk_read(struct banyan_str category, int64_t lo, int64_t hi, const struct pg_snapshot *snapshot,
                        struct banyan_buf *ret);
void records_lsn(uint64_t lsn, struct banyan_buf *ret);
void records_fence(struct banyan_str token, uint64_t lsn, struct banyan_buf *ret);

/* Any of the JSON events; what an event does not have is 0 or empty. */
struct records_event {
    struct banyan_str slot, system;
    uint32_t timeline;
    uint64_t lsn;
    int64_t lo, hi;
    struct pg_snapshot snapshot;
    struct banyan_str category;
    struct banyan_str categories[LEGACY_MAPPINGS_MAX];
    size_t category_count;
};
BANYAN_MUST_CHECK enum banyan_status records_parse(struct banyan_str type, struct banyan_str payload,
                                                   struct banyan_arena *arena, struct records_event *ret,
                                                   struct banyan_error *err);

struct records_held {
    struct mapper_origin origin;
    struct banyan_str category; /* empty: of the first mapping */
    struct banyan_str change;   /* encoded row change */
};
void records_held_encode(const struct mapper_origin *origin, const struct banyan_legacy_mapping *mapping,
                         const struct row_change *change, struct banyan_buf *ret);
/* Borrows from *data*.  CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status records_held_decode(struct banyan_str data, struct records_held *ret,
                                                         struct banyan_error *err);

#endif
