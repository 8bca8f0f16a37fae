/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row change of a legacy transaction as capture keeps it: decoded into the record of its table, with the set of
 * fields that the stream really told.  Not told are TOASTed values that an UPDATE did not touch, and everything but the
 * identity in a key-only old row.
 *
 * The encoded form (spool files, ChangeHeld events) is self-contained; docs in row_change.c.
 */
#ifndef LEGACY_ROW_CHANGE_H
#define LEGACY_ROW_CHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"

struct row_change {
    uint32_t subxid; /* the (sub-)transaction that made it; 0 outside of streamed transactions */
    uint8_t kind;    /* enum banyan_change_kind */
    uint8_t mapping; /* index in the domain: a row of a table that is in several is a change for each of them */
    uint8_t table;   /* index in the mapping */
    int64_t key;
    uint64_t old_fields, new_fields; /* bit i: fields[i] was told */
    void *old_row, *new_row;         /* of the table's record; NULL: absent */
    uint32_t bytes;                  /* what it counts for against the memory limit; a function of its content */
};

enum {
    ROW_CHANGE_MAPPINGS_MAX = 64, /* the encoded form has six bits for it */
};

/* The bits of all fields of a record. */
uint64_t row_change_all_fields(const struct banyan_record *record);
/* The mapping in what follows is the change's own.  Fill in *bytes*. */
void row_change_measure(const struct banyan_legacy_mapping *mapping, struct row_change *change);
void row_change_encode(const struct banyan_legacy_mapping *mapping, const struct row_change *change,
                       struct banyan_buf *ret);
/* Rows and strings in *arena*.  CORRUPT when the bytes are not exactly one change of this mapping. */
BANYAN_MUST_CHECK enum banyan_status row_change_decode(const struct banyan_legacy_mapping *mapping,
                                                       struct banyan_str data, struct banyan_arena *arena,
                                                       struct row_change *ret, struct banyan_error *err);
/* The fixed front of an encoded change, without decoding the rest; false when it is too short. */
bool row_change_peek(struct banyan_str data, struct row_change *ret);

#endif
