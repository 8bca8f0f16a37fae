/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of pgoutput messages, protocols 1 and 2.  Bytes in, structs out: no I/O, no allocation but the relation
 * cache.  Hostile bytes give PROTOCOL, never a crash (it has a fuzz entry).
 */
#ifndef PG_PGOUTPUT_H
#define PG_PGOUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/types.h"

enum {
    PGOUTPUT_COLUMNS_MAX = 1600, /* PostgreSQL's own limit */
};

enum pgoutput_kind {
    PGOUTPUT_NONE = 0,
    PGOUTPUT_BEGIN,
    PGOUTPUT_COMMIT,
    PGOUTPUT_ORIGIN,
    PGOUTPUT_RELATION,
    PGOUTPUT_TYPE,
    PGOUTPUT_INSERT,
    PGOUTPUT_UPDATE,
    PGOUTPUT_DELETE,
    PGOUTPUT_TRUNCATE,
    PGOUTPUT_MESSAGE,
    PGOUTPUT_STREAM_START,
    PGOUTPUT_STREAM_STOP,
    PGOUTPUT_STREAM_COMMIT,
    PGOUTPUT_STREAM_ABORT,
};

enum pgoutput_cell_kind {
    PGOUTPUT_CELL_NULL = 'n',
    PGOUTPUT_CELL_UNCHANGED = 'u', /* TOASTed value that the update did not touch */
    PGOUTPUT_CELL_TEXT = 't',
    PGOUTPUT_CELL_BINARY = 'b',
};

struct pgoutput_cell {
    enum pgoutput_cell_kind kind;
    struct banyan_str data; /* TEXT, BINARY */
};

struct pgoutput_column {
    struct banyan_str name; /* owned by the cache, NUL-terminated */
    uint32_t type;          /* oid */
    int32_t modifier;
    bool identity; /* part of the replica identity */
};

/* A relation that is sent with another shape gets a struct of its own; the earlier one stays valid until
 * pgoutput_free(), because rows decoded with it may still be waiting. */
struct pgoutput_relation {
    uint32_t id;
    struct banyan_str schema, name; /* owned by the cache */
    char identity;                  /* 'd' default, 'n' nothing, 'f' full, 'i' index */
    uint16_t column_count;
    struct pgoutput_column *columns;
    uint64_t generation; /* from 1; grows each time the relation was sent with another shape */
};

struct pgoutput_tuple {
    uint16_t cell_count;               /* 0: absent */
    const struct pgoutput_cell *cells; /* borrowed from the decoder until its next call */
};

struct pgoutput_message {
    enum pgoutput_kind kind;
    uint32_t xid; /* BEGIN, STREAM_*: the top-level one; anything else inside a stream block: the (sub-)transaction's,
                     else 0 */
    uint32_t subxid;                /* STREAM_ABORT; equal to xid: all of it */
    uint64_t lsn;                   /* BEGIN: final LSN; COMMIT, STREAM_COMMIT: commit LSN; MESSAGE, ORIGIN: its own */
    uint64_t end_lsn;               /* COMMIT, STREAM_COMMIT */
    struct banyan_time commit_time; /* BEGIN, COMMIT, STREAM_COMMIT */
    bool first_segment;             /* STREAM_START */
    const struct pgoutput_relation *relation; /* RELATION, INSERT, UPDATE, DELETE */
    char old_kind;                            /* UPDATE, DELETE: 'K' key only, 'O' whole old row, 0 absent */
    struct pgoutput_tuple old, new;
    const struct pgoutput_relation *const *truncated; /* TRUNCATE */
    uint32_t truncated_count;
    bool transactional;        /* MESSAGE */
    struct banyan_str prefix;  /* MESSAGE; ORIGIN: its name */
    struct banyan_str content; /* MESSAGE */
};

struct pgoutput; /* the decoder: relation cache and whether we are inside a stream block */

struct pgoutput *pgoutput_new(unsigned protocol);
void pgoutput_free(struct pgoutput *decoder);
/* Decode one message; all borrowed from *data* or from the decoder until its next call. */
BANYAN_MUST_CHECK enum banyan_status pgoutput_decode(struct pgoutput *decoder, struct banyan_str data,
                                                     struct pgoutput_message *ret, struct banyan_error *err);

#endif
