/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two owners wrote one aggregate: told in the stream "$conflict-<source>" as JSON.
 *
 *   LegacyWrote       {"category","key","lsn","xid","changes":[{"table","kind","old":{…}|null,"new":{…}|null}, …]}
 *                     capture saw the legacy application change what is not its own any more; it was not applied
 *   MirrorConflict    {"category","key","position","table","error","expected":{…}|null,"wanted":{…}|null,
 *                     "found":{…}|null}
 *                     the mirror found another row than the log says; nothing of the aggregate is written from the
 *                     event at *position* on
 *   ConflictResolved  {"category","key","take":"ours"}
 *                     the operator's word: the mirror overwrites the row with what the log says, where it reads this
 *
 * The mirror acts on them in the order of the log, so that its checkpoint also says which of them it has acted on.
 *
 * Threads: any.
 */
#ifndef LEGACY_CONFLICT_H
#define LEGACY_CONFLICT_H

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/store.h"

enum conflict_kind {
    CONFLICT_NONE = 0, /* an event of another type */
    CONFLICT_CAPTURED,
    CONFLICT_MIRRORED,
    CONFLICT_RESOLVED,
};

struct conflict {
    enum conflict_kind kind;
    struct banyan_str category;
    int64_t key;
    uint64_t position; /* of MIRRORED */
};

enum {
    CONFLICT_JSON_BYTES_MAX = 16 * 1024 * 1024,
};

/* "$conflict-<source>" */
struct banyan_str conflict_stream(const char *source, struct banyan_arena *arena);
/* Strings in *arena*.  CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status conflict_parse(const struct store_event *event, struct banyan_arena *arena,
                                                    struct conflict *ret, struct banyan_error *err);
/* Append `"name":<the row as JSON>`; NULL: null. */
void conflict_add_row(struct banyan_buf *json, const char *name, const struct banyan_record *record, const void *row);
/* An event of that stream with a payload that is copied into *arena*. */
struct store_event conflict_event(struct banyan_str stream, const char *type, const struct banyan_buf *json,
                                  struct banyan_arena *arena);
/* {"category":…,"key":…   without the closing brace */
void conflict_begin(struct banyan_buf *json, struct banyan_str category, int64_t key);

#endif
