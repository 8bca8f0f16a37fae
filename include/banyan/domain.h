/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The domain interface: all that is particular to a business.
 *
 * The engine never names an order or a payment.  A domain says what its events are, how they fold into a state, how
 * its legacy tables become events, and which read models it wants.  Everything in it is pure: no I/O, no clock, no
 * globals, so that it can be tested without a server and replayed anywhere.
 *
 *     legacy rows of one key ──history()──▶ events ──evolve()──▶ state ──row()──▶ must equal the legacy row
 *     changes of one key     ──changes()──▶ events ──evolve()──▶ state ──row()──▶ must equal the legacy row
 *                                                                  └─ if not: reconcile() names the difference
 *
 * Threads: the engine calls from several threads at once, on different data.
 */
#ifndef BANYAN_DOMAIN_H
#define BANYAN_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/attributes.h"
#include "banyan/record.h"
#include "banyan/types.h"
#include "banyan/uuid.h"

/* ABI of this header; a domain is refused when it was built for another. */
#define BANYAN_DOMAIN_ABI 2

/* ---- events ---- */

/* How far an event can be trusted. */
enum banyan_provenance {
    BANYAN_PROVENANCE_NONE = 0,
    BANYAN_EXACT,      /* recorded by its source when it happened */
    BANYAN_INFERRED,   /* rebuilt from what the source kept; the reason says what was missing */
    BANYAN_RECONCILED, /* names a difference that the source never explained */
};

/* An event type is known by its index in banyan_domain.events: a domain keeps an enum beside the table. */
struct banyan_event_type {
    const char *name;                   /* "OrderCreated"; stable for ever */
    uint16_t version;                   /* of the payload's record, from 1 */
    const struct banyan_record *record; /* the payload */
};

/* How a payload of an old version of an event type is read, where the rules of Avro are not enough (a field was split,
 * a unit changed).  Without an upcaster an old version is resolved by those rules: by name and alias, with defaults. */
struct banyan_upcaster {
    unsigned type;                    /* index in banyan_domain.events */
    uint16_t from_version;            /* below that of the type */
    const struct banyan_record *from; /* the payload as it was in that version */
    /* Fill *ret*, a fresh payload of the type's record, from *old*.  Strings may point into *old* or lie in *arena*.  A
     * pure function of *old*; false: such an event cannot be read, and is reported. */
    bool (*upcast)(const void *old, void *ret, struct banyan_arena *arena);
};

/* Where a domain function puts events.  Given by the engine. */
struct banyan_emitter;

struct banyan_emit {
    unsigned type;         /* index in banyan_domain.events */
    const void *payload;   /* struct of that type's record; copied */
    struct banyan_time at; /* when it happened in the business; BANYAN_TIME_NULL is refused */
    enum banyan_provenance provenance;
    const char *reason; /* static text; why it is not exact, NULL for exact */
};

/* Take one event.  Order of the calls is the order in the stream.  A payload that cannot be encoded is remembered:
 * the engine reports it with the key after the domain function returned. */
BANYAN_API void banyan_emit(struct banyan_emitter *emitter, const struct banyan_emit *event);
/* Memory that lives until the domain function's caller is done with the events. */
BANYAN_API struct banyan_arena *banyan_emitter_arena(struct banyan_emitter *emitter);

/* ---- aggregates ---- */

/* A command type is known by its index in banyan_aggregate.commands: a domain keeps an enum beside the table. */
struct banyan_command_type {
    const char *name;                   /* "PlaceOrder" */
    const struct banyan_record *record; /* its fields */
};

struct banyan_command {
    unsigned type;         /* index in banyan_aggregate.commands */
    struct banyan_str key; /* of the aggregate, as in the stream's name */
    const void *fields;    /* struct of that type's record */
    struct banyan_time now;
};

/* Why a command was refused. */
struct banyan_refusal {
    const char *code;       /* for programs: "order-closed"; static text, stable */
    struct banyan_str text; /* for people; static, or in the emitter's arena */
};

struct banyan_aggregate {
    const char *category;              /* streams are named "<category>-<key>" */
    const struct banyan_record *state; /* a fresh state is banyan_record_init() */
    /* Fold one event into the state.  Must accept every event at any time: history is not to be argued with.
     * Strings that the state keeps may point into the payload: the caller sees to their life. */
    void (*evolve)(void *state, unsigned type, const void *payload, struct banyan_time at);

    /* Raise it when evolve() or what a field of the state means changes: states kept from before are forgotten. */
    unsigned version;
    const struct banyan_command_type *commands;
    size_t command_count;
    /* Decide on a command: emit its events and return true (none: there is nothing to do), or fill in *ret* and return
     * false, which drops what was emitted.  *state* is what it was before the command, a fresh one where the stream
     * does not *exist*.  May be called again for the same command when the world changed meanwhile.  NULL: no commands.
     */
    bool (*decide)(const void *state, bool exists, const struct banyan_command *command, struct banyan_emitter *out,
                   struct banyan_refusal *ret);
};

/* ---- legacy mapping ---- */

struct banyan_legacy_table {
    const char *name;                 /* schema-qualified or not; quoted by the engine */
    const struct banyan_record *row;  /* the columns that the mapping reads; column name = field name */
    const char *key_column;           /* holds the key of the aggregate; an integer column */
    const char *const *order_columns; /* order of the rows of one key within history(); NULL-terminated */
};

/* All rows of one key, read in one snapshot. */
struct banyan_history {
    int64_t key;
    const void *root;           /* row of tables[0]; NULL: there is none, only children that lost their parent */
    const void *const *rows[8]; /* rows[t][i]: row i of tables[t], in the table's order; rows[0] is unused */
    size_t row_count[8];
};

enum {
    BANYAN_LEGACY_TABLES_MAX = 8,
};

enum banyan_change_kind {
    BANYAN_CHANGE_NONE = 0,
    BANYAN_CHANGE_INSERT,
    BANYAN_CHANGE_UPDATE,
    BANYAN_CHANGE_DELETE, /* also each half of a moved key, and each row of a truncated table */
};

/* One row change of a legacy transaction. */
struct banyan_change {
    enum banyan_change_kind kind;
    unsigned table;  /* index in banyan_legacy_mapping.tables */
    const void *old; /* UPDATE, DELETE: the row before.  Of the root table always complete (the engine knows the
                      * state); of a child NULL where the replica identity does not carry it */
    const void *new; /* INSERT, UPDATE: the row after, complete */
};

struct banyan_legacy_mapping {
    const struct banyan_legacy_table *tables; /* tables[0] is the root: at most one row a key */
    size_t table_count;
    const struct banyan_aggregate *aggregate;

    /* The events that explain how a key's rows came to be.  Called once a key by the backfill. */
    void (*history)(const struct banyan_history *history, struct banyan_emitter *out);
    /* The events of one legacy transaction for one key; changes in the order in which they were made.  *state* is the
     * key's state before (a fresh one where *exists* is false).  No event for a change that changes nothing. */
    void (*changes)(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                    struct banyan_emitter *out);
    /* The row of tables[0] that *state* stands for; false when there is none.  Strings borrow from the state. */
    bool (*row)(const void *state, void *ret_row);
    /* Called when row(state) differs from the legacy row (NULL: legacy has none): emit what makes them equal.  The
     * engine checks that it did. */
    void (*reconcile)(const void *state, int64_t key, const void *row, struct banyan_time now,
                      struct banyan_emitter *out);
};

/* ---- projections ---- */

/* Rows that a projection changes, in memory until they are flushed with the checkpoint. */
struct banyan_unit;

/* The row of *key*, or NULL.  Borrowed until the next put or delete of that key. */
BANYAN_API const void *banyan_unit_get(struct banyan_unit *unit, int64_t key);
/* Insert or replace; copied, strings included. */
BANYAN_API void banyan_unit_put(struct banyan_unit *unit, int64_t key, const void *row);
BANYAN_API void banyan_unit_delete(struct banyan_unit *unit, int64_t key);

/* A list that the read model answers: rows with one value of *equal*, newest *range* first. */
struct banyan_view_index {
    const char *name;
    const char *equal; /* column name */
    const char *range; /* column name, a TIME */
};

/* An event as a projection sees it. */
struct banyan_seen {
    unsigned type;       /* index in banyan_domain.events */
    const void *payload; /* struct of that type's record */
    struct banyan_str stream;
    int64_t key; /* of the stream */
    struct banyan_position position;
    struct banyan_version version;
    struct banyan_time at;
    enum banyan_provenance provenance;
};

struct banyan_projection {
    const char *name; /* also the table and the URL: /views/<name> */
    unsigned version; /* raise it when apply() or the row changes: the read model is built anew */
    const struct banyan_record *row;
    const char *key_column; /* an INT field of the row */
    const struct banyan_view_index *indexes;
    size_t index_count;
    const char *category; /* only streams of this category are shown to apply() */
    void (*apply)(const struct banyan_seen *event, struct banyan_unit *unit);
    /* The legacy table whose rows this view must equal, column by column (`banyan verify`); NULL: none.  Index in
     * banyan_legacy_mapping.tables is always 0: the root. */
    bool mirrors_legacy_root;
};

/* ---- the domain ---- */

struct banyan_domain {
    unsigned abi; /* BANYAN_DOMAIN_ABI */
    const char *name;
    const struct banyan_event_type *events;
    size_t event_count;
    const struct banyan_upcaster *upcasters; /* at most one for each old version of a type */
    size_t upcaster_count;
    const struct banyan_aggregate *aggregates;
    size_t aggregate_count;
    const struct banyan_projection *projections;
    size_t projection_count;
    const struct banyan_legacy_mapping *legacy; /* NULL: nothing to migrate */
};

#endif
