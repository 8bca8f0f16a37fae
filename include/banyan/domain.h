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
#define BANYAN_DOMAIN_ABI 4

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
    /* Fill *ret*, a fresh payload of the type's record, from *old*.  Strings and lists may point into *old* or lie in
     * *arena*.  A pure function of *old*; false: such an event cannot be read, and is reported. */
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
     * Strings and lists that the state keeps may point into the payload: the caller sees to their life.  Items of a
     * list may be changed where they are. */
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

struct banyan_seen; /* below */

struct banyan_legacy_table {
    const char *name;                 /* schema-qualified or not; quoted by the engine */
    const struct banyan_record *row;  /* the columns that the mapping reads; column name = field name */
    const char *key_column;           /* holds the key of the aggregate; an integer column */
    const char *const *order_columns; /* order of the rows of one key within history(); NULL-terminated */
    /* For the mirror.  A column that the database fills in where a row is inserted ("id"); NULL: none. */
    const char *generated_column;
    /* Columns that tell the rows of one key apart, for UPDATE and DELETE; NULL-terminated; NULL: rows are only added.
     * The root table needs none: its key_column tells.  A table that several mappings write: the same in all of them,
     * and enough without the key_column. */
    const char *const *row_columns;
    /* This mapping's mirror() never writes it, another's does. */
    bool read_only;
};

/* All rows of one key, read in one snapshot. */
struct banyan_history {
    int64_t key;
    const void *root;           /* row of tables[0]; NULL: there is none, only children that lost their parent */
    const void *const *rows[8]; /* rows[t][i]: row i of tables[t], in the table's order; rows[0] is unused */
    size_t row_count[8];
};

enum {
    BANYAN_LEGACY_TABLES_MAX = 8, /* of one mapping */
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

/* Where a mapping puts the rows that the mirror writes.  Given by the engine. */
struct banyan_mirror;

/* A row of tables[table] is added (*old* NULL), changed, or removed (*new* NULL); copied.  Not for the root table,
 * which the engine writes by itself.  *old* may be of another key (key_column): so a row comes to this one; and where
 * another mapping writes the table too, columns that are the same in *old* and *new* are left alone. */
BANYAN_API void banyan_mirror_row(struct banyan_mirror *mirror, unsigned table, const void *old, const void *new);

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

    /* ---- the way back: events of commands become rows, once Banyan is the owner ---- */

    /* The rows beside the root row that the legacy application would have written for this event: an audit row, a
     * trade.  The root row is the engine's: row(before) to row(after).  May emit none.  NULL: this mapping has no way
     * back, and a rollout of it ends with the shadow. */
    void (*mirror)(const struct banyan_seen *event, const void *before, const void *after, struct banyan_mirror *out);
    /* The sequence that makes the root table's keys, as nextval() takes it; NULL: keys come with the requests. */
    const char *key_sequence;
};

/* ---- projections ---- */

/* A list that a table answers: rows with one value of *equal*, newest *range* first. */
struct banyan_view_index {
    const char *name;
    const char *equal; /* column name */
    const char *range; /* column name, a TIME */
};

/* Rows of one kind in a read model, at most one a key.  A row has no lists. */
struct banyan_table {
    const char *name; /* also in the URL: /views/<projection>/tables/<name>; that of tables[0]: the projection's */
    const struct banyan_record *row;
    const char *key_column; /* an INT field of the row */
    const struct banyan_view_index *indexes;
    size_t index_count;
    /* STRING columns that a full text search looks at, NULL-terminated, the weightiest first; NULL: no search. */
    const char *const *search;
};

enum {
    BANYAN_PROJECTION_TABLES_MAX = 8,
};

/* The rows that a projection changes, in memory until they are flushed with the checkpoint. */
struct banyan_unit;

/* The row of *key* in projection.tables[table], or NULL.  Borrowed until the next put or delete of that key. */
BANYAN_API const void *banyan_unit_get(struct banyan_unit *unit, unsigned table, int64_t key);
/* Insert or replace; copied, strings included. */
BANYAN_API void banyan_unit_put(struct banyan_unit *unit, unsigned table, int64_t key, const void *row);
BANYAN_API void banyan_unit_delete(struct banyan_unit *unit, unsigned table, int64_t key);

/* A key for rows that are told apart by several values or a text: the same *text*, the same key, for ever, never
 * negative.  Two texts with one key are about as likely as 2^-63 for each pair; apply() that keeps the text in its row
 * and compares will see it. */
BANYAN_API int64_t banyan_key_of_text(struct banyan_str text);

/* An event as a projection sees it. */
struct banyan_seen {
    unsigned type;       /* index in banyan_domain.events */
    const void *payload; /* struct of that type's record */
    struct banyan_str stream;
    int64_t key; /* of the stream; in apply() the partition key */
    struct banyan_position position;
    struct banyan_version version;
    struct banyan_time at;
    enum banyan_provenance provenance;
};

/* How the work of a projection may be spread. */
enum banyan_spread {
    BANYAN_JOINED = 0,  /* apply() touches rows of any key: events are applied in the order of the log, one by one */
    BANYAN_PARTITIONED, /* apply() touches only rows whose key is the event's partition key (the engine refuses others):
                         * a rebuild folds many keys at once, and an event that cannot be applied holds up its key only
                         */
};

/* Who waits when there is not enough for all. */
enum banyan_priority {
    BANYAN_NORMAL = 0,
    BANYAN_CRITICAL,   /* before all others */
    BANYAN_BACKGROUND, /* yields while a critical one is behind */
};

/* What a rebuild does with streams that are marked archivable. */
enum banyan_archive_policy {
    BANYAN_ARCHIVED_INCLUDED = 0, /* it reads them like others */
    BANYAN_ARCHIVED_CARRIED,      /* it does not read them: their rows are carried over from the generation before.
                                   * PARTITIONED only, by the key of the stream that was marked */
    BANYAN_ARCHIVED_DROPPED,      /* it does not read them and their rows are gone */
};

/* The rows of one generation at one position, for who answers a query. */
struct banyan_reader;

/* The row of *key* into *ret_row*, strings in the reader's arena; false: there is none. */
BANYAN_API bool banyan_reader_get(struct banyan_reader *reader, unsigned table, int64_t key, void *ret_row);

struct banyan_reader_list {
    unsigned table;
    const struct banyan_view_index *index; /* of the table; NULL: all rows, in key order */
    struct banyan_str equal;               /* its value as text */
    struct banyan_time from, to;           /* from inclusive, to exclusive; BANYAN_TIME_NULL: open */
    size_t limit;                          /* 0: all */
};

/* Calls *fn* for each row until it returns false; strings are borrowed for the call. */
BANYAN_API void banyan_reader_each(struct banyan_reader *reader, const struct banyan_reader_list *list,
                                   bool (*fn)(void *context, const void *row), void *context);
BANYAN_API struct banyan_arena *banyan_reader_arena(struct banyan_reader *reader);

/* Where a query puts the rows of its answer. */
struct banyan_answer;

/* Copied at once. */
BANYAN_API void banyan_answer_row(struct banyan_answer *answer, const void *row);
/* The arguments make no sense: what is wrong with them, for people; copied.  The rows are dropped. */
BANYAN_API void banyan_answer_refuse(struct banyan_answer *answer, const char *text);

/* A question with a name, where key, lists and search are not enough: GET /views/<projection>/queries/<name>?… */
struct banyan_query {
    const char *name;                      /* "delivery-times" */
    const struct banyan_record *arguments; /* from the URL; those that are missing are fresh */
    const struct banyan_record *row;       /* of the answer */
    /* Pure, but for the reader. */
    void (*answer)(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer);
};

struct banyan_projection {
    const char *name; /* URL: /views/<name> */
    unsigned version; /* raise it when apply() or key() change: the read model is rebuilt beside the old one */
    const struct banyan_table *tables; /* tables[0] is what /views/<name>/<key> answers */
    size_t table_count;
    const char *const *categories; /* only streams of these are shown to apply(); NULL-terminated */
    const unsigned *types;         /* only events of these types, indexes in banyan_domain.events; NULL: all */
    size_t type_count;
    /* The partition key: that of the rows that the event changes.  Pure; false: the event is not wanted after all.
     * NULL: the key of the stream. */
    bool (*key)(const struct banyan_seen *event, int64_t *ret_key);
    void (*apply)(const struct banyan_seen *event, struct banyan_unit *unit);
    enum banyan_spread spread;
    enum banyan_priority priority;
    enum banyan_archive_policy archived;
    /* Where nothing could be shown until a rebuild is over, the newest keys (the largest) are served before the others
     * are there.  PARTITIONED and ARCHIVED_INCLUDED only. */
    bool recent_first;
    bool in_memory; /* prefers to be kept in memory, rebuilt at each start */
    const struct banyan_query *queries;
    size_t query_count;
    /* The legacy table whose rows tables[0] must equal, column by column (`banyan verify`); its key_column is the rows'
     * own key; NULL: none. */
    const struct banyan_legacy_table *mirrors;
};

/* ---- processes ---- */

/* Where a process puts what it wants to happen.  Given by the engine. */
struct banyan_reaction;

/* An event of the process's own stream. */
BANYAN_API void banyan_react_emit(struct banyan_reaction *reaction, const struct banyan_emit *event);

struct banyan_process_command {
    const char *category;  /* of the aggregate */
    struct banyan_str key; /* copied */
    unsigned type;         /* index in that aggregate's commands */
    const void *fields;    /* struct of that type's record; copied */
};

/* Decide a command now.  Its events are part of the reaction: all of it is appended in one atomic batch, at the
 * versions that were decided on, or nothing.  False: it was refused, and *ret* says why; the process should react to
 * that. */
BANYAN_API bool banyan_react_command(struct banyan_reaction *reaction, const struct banyan_process_command *command,
                                     struct banyan_refusal *ret);
/* The state of an aggregate as this reaction has left it so far, a struct of its record. */
BANYAN_API const void *banyan_react_state(struct banyan_reaction *reaction, const char *category,
                                          struct banyan_str key);

/*
 * A process ties aggregates together: it sees events and sends commands.  What it knows is an aggregate of its own,
 * folded from its own events (streams "<category>-<key>"), so that it survives any crash, and explains itself.
 *
 *     event seen ─▶ key() ─▶ state of the process ─▶ react() ─▶ own events + events of the commands + the cursor,
 *     time over  ───────────────────▲                           in one append
 */
struct banyan_process {
    const char *name;                         /* "checkout"; its cursor is "process:<name>" */
    const struct banyan_aggregate *aggregate; /* its state; without commands */
    const char *const *categories;            /* of the events that it sees; NULL-terminated */
    const unsigned *types;                    /* of them; NULL: all */
    size_t type_count;
    /* Which instance an event concerns, as the key of its stream, in *arena*; false: none. */
    bool (*key)(const struct banyan_seen *event, struct banyan_arena *arena, struct banyan_str *ret_key);
    /* *event* NULL: the time that wake() told is over.  Must bear to see an event whose effect is already there. */
    void (*react)(const void *state, bool exists, struct banyan_str key, const struct banyan_seen *event,
                  struct banyan_time now, struct banyan_reaction *out);
    /* When react() is to be called without an event; BANYAN_TIME_NULL: never.  A pure function of the state.  It acts
     * once for one version of the state: react() should emit an event of its own that moves the time or ends it. */
    struct banyan_time (*wake)(const void *state);
};

/* Streams that belong together, so that they are archived together: the graph is that of the keys that events name. */
struct banyan_archive_group {
    const char *category; /* of the root: an order */
    /* Does the event tie its stream to the group of *ret_root* (a root's key)?  NULL: streams are alone. */
    bool (*root)(const struct banyan_seen *event, int64_t *ret_root);
    /* After this event: may the stream be closed?  +1 it is closed, -1 it is open (again), 0 as before. */
    int (*closes)(const struct banyan_seen *event);
    int64_t keep_days; /* closed for so long, all of them: then they are marked archivable */
};

/* ---- façade: the legacy application's own API ---- */

/*
 * The gateway stands in front of the legacy application.  What it cannot understand goes through as it came.  A request
 * that the façade understands is a read, or a write of some aggregates; who owns those decides where it goes, and the
 * client cannot tell from the answer.
 *
 *     request ──route()──▶ read  ──▶ legacy application, or read() over the read models, or both and compared
 *                      └─▶ write ──▶ legacy application, or commands decided here ──answer()──▶ the same answer
 */

/* As it came: the query without '?', nothing decoded. */
struct banyan_request {
    struct banyan_str method, path, query, body;
    struct banyan_time now;
};

enum banyan_request_kind {
    BANYAN_REQUEST_OTHER = 0, /* not the façade's: it goes to the legacy application */
    BANYAN_REQUEST_READ,
    BANYAN_REQUEST_WRITE,
};

enum {
    BANYAN_ROUTE_PARTS_MAX = 128,
};

/* One aggregate that a write changes. */
struct banyan_route_part {
    const char *category;
    int64_t key;        /* 0: the request makes a new one and the engine gives it a key (creates) */
    bool creates;       /* it must not exist */
    unsigned command;   /* index in the aggregate's commands */
    const void *fields; /* struct of that type's record; in the arena */
};

struct banyan_route {
    enum banyan_request_kind kind;
    /* READ: the read model that answers it, and what tells users apart where there is no key: the same text, the same
     * side, for ever ("trader-17"). */
    const char *projection;
    int64_t key;            /* of the aggregate that is read; 0: a list or a search */
    const char *category;   /* of that aggregate */
    struct banyan_str user; /* may be empty */
    /* WRITE: all parts or none, in this order. */
    struct banyan_route_part parts[BANYAN_ROUTE_PARTS_MAX];
    size_t part_count;
    void *context; /* of the façade, in the arena: what answer() or read() want to know */
};

/* What became of one part. */
struct banyan_outcome {
    bool accepted;
    struct banyan_refusal refusal; /* where it was not */
    int64_t key;                   /* also of a new one */
    const void *state;  /* a struct of the aggregate's record: after the command, or as it is where refused */
    size_t event_count; /* 0: there was nothing to do */
    struct banyan_position position; /* of its last event */
};

struct banyan_response {
    int code;                 /* HTTP */
    const char *content_type; /* static */
    struct banyan_str body;   /* in the arena */
};

struct banyan_facade {
    /* What a request means; all memory in *arena*.  False: it is malformed, and the legacy application shall say so
     * itself (the gateway passes it on). */
    bool (*route)(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret);
    /* The body of the same request with only the parts for which keep[i] is set; for requests that touch aggregates of
     * both owners.  NULL or false: such a request cannot be split. */
    bool (*split)(const struct banyan_request *request, const struct banyan_route *route, const bool *keep,
                  struct banyan_arena *arena, struct banyan_str *ret_body);
    /* What the legacy application would answer to the write.  One refused part refuses all: then *outcomes* holds that
     * one alone at its place, the others are not accepted and have no refusal. */
    void (*answer)(const struct banyan_request *request, const struct banyan_route *route,
                   const struct banyan_outcome *outcomes, struct banyan_arena *arena, struct banyan_response *ret);
    /* What it would answer to the read, from the rows of route->projection. */
    void (*read)(const struct banyan_request *request, const struct banyan_route *route, struct banyan_reader *reader,
                 struct banyan_arena *arena, struct banyan_response *ret);
    /* The same, of one aggregate whose state is at hand (key is not 0): always the newest.  NULL: read() is asked. */
    void (*read_state)(const struct banyan_request *request, const struct banyan_route *route, const void *state,
                       bool exists, struct banyan_arena *arena, struct banyan_response *ret);
    /* JSON pointers of what may differ between two answers to the same read ("/served_by"); NULL-terminated; may be
     * NULL.  Configuration adds to it. */
    const char *const *ignored;
    /* It does not understand all writes of the mapped aggregates: the others would go on at the legacy application, and
     * meet what Banyan owns.  A rollout of it ends with the shadow. */
    bool shadow_only;
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
    /* The legacy tables, an aggregate a mapping; a table may be in several.  None: nothing to migrate. */
    const struct banyan_legacy_mapping *mappings;
    size_t mapping_count;
    const struct banyan_process *processes;
    size_t process_count;
    const struct banyan_archive_group *archive; /* NULL: nothing is archived by itself */
    const struct banyan_facade *facade;         /* NULL: no gateway */
};

#endif
