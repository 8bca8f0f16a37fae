/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit of work behind banyan_unit_get(), _put() and _delete(): the rows that a projection works on, in memory.
 *
 *   sink ──get, get_many──▶ rows in memory ◀──get, put, delete──▶ apply()
 *                                 └── changed ones, once each, in key order ──▶ flush
 *
 * Invariants
 *   1. A row in memory equals the stored one with the unflushed changes applied.
 *   2. Only unchanged rows leave the memory, and only between flushes (unit_flushed()), least recently used first.
 *   3. While `complete` every stored row is in memory, so that a key that is missing there is missing at all.
 *   4. The key column of a row equals its key; a row that a sink could not take back is refused, not kept.
 *   5. After a failed read the rows cannot be trusted: unit_failed() says so until unit_forget().
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

enum {
    UNIT_CACHE_BYTES = 16 * 1024 * 1024, /* soft: of rows kept between flushes */
};

/* Borrows *sink*.  *empty*: the sink holds no rows.  *cache_bytes_max* 0: the default. */
struct banyan_unit *unit_new(const struct banyan_projection *projection, struct sink *sink, bool empty,
                             size_t cache_bytes_max);
void unit_free(struct banyan_unit *unit); /* NULL allowed */

/* Fetch what is not in memory, so that apply() need not.  Keys may repeat. */
BANYAN_MUST_CHECK enum banyan_status unit_read_ahead(struct banyan_unit *unit, const int64_t *keys, size_t count,
                                                     struct banyan_error *err);
/* A read failed since unit_forget(): the reason, or OK. */
enum banyan_status unit_failed(const struct banyan_unit *unit, struct banyan_error *err);
/* A put was refused since the last call: the reason (INVALID), or OK. */
enum banyan_status unit_refused(struct banyan_unit *unit, struct banyan_error *err);

/* Rows to flush. */
size_t unit_changed(const struct banyan_unit *unit);
/* Those rows, in key order; borrowed until the next call on the unit. */
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
