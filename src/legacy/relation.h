/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From messages of the stream to row changes: finds the columns of each relation by name, once a shape, and decodes
 * the cells into the records of the mapping.
 *
 * A table may change while it is captured: new columns are ignored, moved ones are found again, a missing one or one
 * whose type no longer fits stops capture with an error that names it, before a row is misread.
 *
 * Threads: one.
 */
#ifndef LEGACY_RELATION_H
#define LEGACY_RELATION_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "legacy/tables.h"
#include "legacy/transaction.h"
#include "pg/pgoutput.h"

/* How the rows of a relation are read into the record of one place. */
struct relation_map {
    bool known;
    uint64_t generation; /* of the relation that the map was made from */
    uint16_t column_count;
    uint16_t column[BANYAN_FIELDS_MAX]; /* of each field */
    uint32_t type[BANYAN_FIELDS_MAX];   /* oid of that column */
    uint64_t identity;                  /* fields whose columns are part of the replica identity */
};

/* A table as one mapping uses it: a table that is in several mappings has a place in each. */
struct relation_place {
    const struct legacy_table *table; /* borrowed */
    uint8_t mapping, index;           /* in the domain, in the mapping */
    int next;                         /* the next place of the same table of the server; -1: none */
    struct relation_map map;
};

struct relations {
    struct relation_place *places; /* owned; mapping by mapping */
    size_t place_count;
    uint64_t without_key;          /* row changes that were ignored because the stream does not tell their key */
    const char *without_key_table; /* of the first of them; NULL: none */
};

/* *tables*: one a mapping; borrowed. */
void relations_init(struct relations *relations, const struct legacy_tables *tables, size_t mapping_count);
void relations_release(struct relations *relations);
/* A new connection: the server sends all shapes again. */
void relations_reset(struct relations *relations);
/* The first place of a relation, an index in *places*, or -1: not one of ours. */
int relations_place(const struct relations *relations, const struct pgoutput_relation *relation);
/* Add an INSERT, UPDATE or DELETE to *tx*: for each place of its table one change, two when a key moved, none when the
 * key is not known.  TABLE names the table and the column. */
BANYAN_MUST_CHECK enum banyan_status relations_add(struct relations *relations, const struct pgoutput_message *message,
                                                   struct transaction *tx, struct banyan_error *err);
/* Fill the fields of *row* that are not in *fields* from another row of the same record; strings are borrowed. */
void relations_fill(const struct banyan_record *record, void *row, uint64_t *fields, const void *from);

#endif
