/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of a rebuild: all of a worker's keys in memory, behind banyan_unit_get(), _put() and _delete().
 *
 *   slots: [ key │ row ]──▶ [ capacity, exists │ struct of the record │ its strings ]   in an arena
 *
 * Nothing is read from or written to a store, so a look-up that misses is an answer.  A row that changes goes to a
 * block that another one has left, and leaves its own for the next.
 *
 * Invariants
 *   1. An event is applied whole or not at all: what it changed is taken back when one of its puts is refused.
 *   2. PARTITIONED: only rows of the event's partition key are given out or changed; others are refused.
 *
 * Threads: one at a time.
 */
#ifndef PROJECTION_REBUILD_TABLE_H
#define PROJECTION_REBUILD_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"

struct rebuild_table;

struct rebuild_table *rebuild_table_new(const struct banyan_projection *projection);
void rebuild_table_free(struct rebuild_table *table); /* NULL allowed */
/* Forget all rows. */
void rebuild_table_reset(struct rebuild_table *table);

/* Apply one event.  INVALID: one of its puts was refused, and nothing of it is left. */
enum banyan_status rebuild_table_apply(struct rebuild_table *table, const struct banyan_seen *event,
                                       struct banyan_error *err);
/* Have the memory of what *key* needs brought nearer: first the slot, some events later the row. */
void rebuild_table_prefetch_slot(const struct rebuild_table *table, int64_t key);
void rebuild_table_prefetch_row(const struct rebuild_table *table, int64_t key);

/* Bytes held. */
size_t rebuild_table_bytes(const struct rebuild_table *table);
size_t rebuild_table_count(const struct rebuild_table *table, unsigned index);
/* Append the rows of projection.tables[index] to *rows*, which has room, in no order; they live until the next apply or
 * reset. */
void rebuild_table_rows(const struct rebuild_table *table, unsigned index, struct sink_row *rows);

#endif
