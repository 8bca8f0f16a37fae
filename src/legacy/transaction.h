/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One open legacy transaction: its row changes in the order in which they were made, in memory up to a limit, beyond
 * that in a spool file.
 *
 *   transaction_reset ─▶ transaction_add / _abort_sub … ─▶ transaction_finish ─▶ transaction_each_group
 *
 * Invariants
 *   1. Rolling a sub-transaction back removes its changes and nothing else, wherever they are kept.
 *   2. How the changes are grouped depends on what the transaction holds, not on how the server sent it: in one piece,
 *      streamed while open, or again after a restart.
 *   3. Of one key of one mapping, all changes are in one group, in the order in which they were made.
 *   4. A large transaction needs memory for about one of its partitions (and for its largest group) only.
 *
 * Threads: one.
 */
#ifndef LEGACY_TRANSACTION_H
#define LEGACY_TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "base/hash.h"
#include "legacy/row_change.h"
#include "legacy/spool.h"

/* Something of a transaction that is no row. */
struct transaction_note {
    uint32_t subxid;
    uint8_t mapping, table;  /* TRUNCATE: indexes in the domain and in the mapping */
    struct banyan_str token; /* fence: owned */
};

struct transaction_notes {
    struct transaction_note *items; /* owned */
    size_t count, capacity;
};

struct transaction {
    const struct banyan_legacy_mapping *mappings; /* borrowed */
    size_t mapping_count;
    const char *spool_folder; /* borrowed */
    size_t memory_bytes_max;  /* above this it is a large one */
    bool streamed;            /* the server sends it before it ends */

    uint32_t xid; /* top-level */
    uint64_t commit_lsn, end_lsn;
    struct banyan_time commit_time;
    bool foreign_origin; /* written by ourselves (mirror): not to be captured */

    struct row_change *rows; /* owned; in memory, oldest first */
    size_t row_count, row_capacity;
    size_t row_bytes;                     /* of the rows in memory */
    uint64_t total_count, total_bytes;    /* of all rows ever added; after transaction_finish() of those that count */
    struct banyan_arena arena;            /* what the rows point to */
    struct spool spool;                   /* older rows */
    struct hash aborted;                  /* subxid → anything */
    struct transaction_notes truncations; /* tables */
    struct transaction_notes fences;      /* tokens */
};

/* Takes nothing; *mappings* and *folder* are borrowed. */
void transaction_init(struct transaction *tx, const struct banyan_legacy_mapping *mappings, size_t mapping_count,
                      const char *folder, size_t memory_bytes_max);
void transaction_release(struct transaction *tx);
/* Forget everything: a new transaction begins. */
void transaction_reset(struct transaction *tx, uint32_t xid);

/* Memory for the rows of the next change. */
static inline struct banyan_arena *transaction_arena(struct transaction *tx)
{
    return &tx->arena;
}
/* Add changes whose rows are in transaction_arena(); they belong to the transaction and may be gone afterwards. */
BANYAN_MUST_CHECK enum banyan_status transaction_add(struct transaction *tx, const struct row_change *changes,
                                                     size_t count, struct banyan_error *err);
void transaction_truncate(struct transaction *tx, uint32_t subxid, unsigned mapping, unsigned table);
void transaction_fence(struct transaction *tx, uint32_t subxid, struct banyan_str token);
/* The sub-transaction was rolled back. */
void transaction_abort_sub(struct transaction *tx, uint32_t subxid);

/* It committed: drop what was rolled back and count what is left. */
BANYAN_MUST_CHECK enum banyan_status transaction_finish(struct transaction *tx, struct banyan_error *err);
/* After transaction_finish(): more than fits into memory? */
bool transaction_is_large(const struct transaction *tx);

/* The changes of one key of one mapping.  Rows are borrowed for the call. */
typedef enum banyan_status (*transaction_group_fn)(void *context, int64_t key, struct row_change *rows, size_t count,
                                                   struct banyan_error *err);
/* A partition of a large transaction is done: memory can be given back. */
typedef void (*transaction_partition_fn)(void *context);

/* Call *group* for each key, mapping by mapping: keys of a small transaction in order of their first change; of a large
 * one partition by partition, and *partition* (may be NULL) after each. */
BANYAN_MUST_CHECK enum banyan_status transaction_each_group(struct transaction *tx, transaction_group_fn group,
                                                            transaction_partition_fn partition, void *context,
                                                            struct banyan_error *err);

#endif
