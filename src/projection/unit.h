/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit of work behind banyan_unit_get(), _put() and _delete(): the rows that a projection works on, in memory.
 *
 *   sink ──get_many──▶ rows in memory ◀──get, put, delete──▶ apply(), between unit_begin() and unit_end()
 *                            └── changed ones, once each, by table and key ──▶ flush
 *
 * Invariants
 *   1. A row in memory equals the stored one with the unflushed changes applied.
 *   2. Only unchanged rows leave the memory, and only between flushes (unit_flushed()), least recently used first.
 *   3. While `complete` every stored row is in memory, so that a key that is missing there is missing at all.
 *   4. The key column of a row equals its key; a row that a sink could not take back is refused, not kept.
 *   5. An event that is refused changes nothing: what it had changed before is put back.
 *   6. An event that is bound to a partition key touches rows of that key only: else it is refused.
 *   7. After a failed read the rows cannot be trusted: unit_failed() says so until unit_forget().
 *
 * Threads: one.
 */
#ifndef PROJECTION_UNIT_H
#define PROJECTION_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"

/* Who takes the calls of apply(): banyan_unit_get(), _put() and _delete() go to the ops of the unit.  The unit of this
 * header works on a sink; that of a rebuild (rebuild_table.h) has all rows in memory.  Every implementation's struct
 * begins with this. */
struct unit_ops {
    const void *(*get)(struct banyan_unit *unit, unsigned table, int64_t key);
    void (*put)(struct banyan_unit *unit, unsigned table, int64_t key, const void *row);
    void (*remove)(struct banyan_unit *unit, unsigned table, int64_t key);
};
struct unit_head {
    const struct unit_ops *ops;
};
/* Could every sink take this row and give it back as it was?  INVALID, with the reason, when not. */
BANYAN_MUST_CHECK enum banyan_status unit_check_row(const struct banyan_projection *projection, unsigned table,
                                                    int64_t key, const void *row, struct banyan_error *err);
/* Is there such a table, and may an event that is *bound* to *bound_key* touch that row?  INVALID when not. */
BANYAN_MUST_CHECK enum banyan_status unit_check_key(const struct banyan_projection *projection, unsigned table,
                                                    int64_t key, bool bound, int64_t bound_key,
                                                    struct banyan_error *err);

enum {
    UNIT_CACHE_BYTES = 16 * 1024 * 1024, /* soft: of rows kept between flushes */
};

/* Borrows *sink*; NULL: all rows are in memory and stay there.  *empty*: the sink holds no rows.  *cache_bytes_max* 0:
 * the default. */
struct banyan_unit *unit_new(const struct banyan_projection *projection, struct sink *sink, bool empty,
                             size_t cache_bytes_max);
void unit_free(struct banyan_unit *unit); /* NULL allowed */

/* Fetch what is not in memory, so that apply() need not.  Keys may repeat. */
BANYAN_MUST_CHECK enum banyan_status unit_read_ahead(struct banyan_unit *unit, unsigned table, const int64_t *keys,
                                                     size_t count, struct banyan_error *err);

/* An event is about to be applied; *bound*: to rows of *key* only. */
void unit_begin(struct banyan_unit *unit, bool bound, int64_t key);
/* It was applied.  INVALID: it was refused, with the reason, and nothing of it is left; any other error: a read failed,
 * as unit_failed() says. */
BANYAN_MUST_CHECK enum banyan_status unit_end(struct banyan_unit *unit, struct banyan_error *err);
/* A read failed since unit_forget(): the reason, or OK. */
enum banyan_status unit_failed(const struct banyan_unit *unit, struct banyan_error *err);

/* Rows to flush. */
size_t unit_changed(const struct banyan_unit *unit);
/* Those rows, by table and key; borrowed until the next call on the unit. */
const struct sink_row *unit_rows(struct banyan_unit *unit, size_t *ret_count);
/* They were written: forget that they changed, and make room. */
void unit_flushed(struct banyan_unit *unit);
/* Drop everything, changes too: the sink was or is to be read anew.  *empty* as in unit_new(). */
void unit_forget(struct banyan_unit *unit, bool empty);

struct unit_stats {
    size_t rows, bytes;
    uint64_t reads, read_aheads, hits, evictions;
};
void unit_stats(const struct banyan_unit *unit, struct unit_stats *ret);

#endif
