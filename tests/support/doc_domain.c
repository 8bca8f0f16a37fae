/* SPDX-License-Identifier: Apache-2.0 */
/* Documents with lines: see doc_domain.h. */
#include "support/doc_domain.h"

#include <string.h>

const char doc_schema_sql[] = "CREATE TABLE docs (id bigint PRIMARY KEY, title text NOT NULL, body text,"
                              " amount numeric(20, 4) NOT NULL DEFAULT 0, note text,"
                              " changed_at timestamptz NOT NULL DEFAULT now());"
                              "ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;"
                              "CREATE TABLE lines (doc_id bigint NOT NULL, id bigint NOT NULL, text text,"
                              " PRIMARY KEY (doc_id, id));"
                              "CREATE TABLE other (id bigint PRIMARY KEY, filler text);";

struct doc_state {
    struct doc_row row;
    bool exists;
};

static const struct banyan_field row_fields[] = {
    BANYAN_FIELD_INT(struct doc_row, id, 0),
    BANYAN_FIELD_STRING(struct doc_row, title, 0),
    BANYAN_FIELD_STRING(struct doc_row, body, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct doc_row, amount, 0, 4),
    BANYAN_FIELD_STRING(struct doc_row, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct doc_row, changed_at, 0),
};
static const struct banyan_field line_fields[] = {
    BANYAN_FIELD_INT(struct doc_line, doc_id, 0),
    BANYAN_FIELD_INT(struct doc_line, id, 0),
    BANYAN_FIELD_STRING(struct doc_line, text, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field deleted_fields[] = {BANYAN_FIELD_BOOL(struct doc_deleted, whole, 0)};
/* The same as the row's, and whether there is one. */
static const struct banyan_field state_fields[] = {
    {"id", BANYAN_FIELD_INT, 0, offsetof(struct doc_state, row.id), 0},
    {"title", BANYAN_FIELD_STRING, 0, offsetof(struct doc_state, row.title), 0},
    {"body", BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, offsetof(struct doc_state, row.body), 0},
    {"amount", BANYAN_FIELD_DECIMAL, 0, offsetof(struct doc_state, row.amount), 4},
    {"note", BANYAN_FIELD_STRING, BANYAN_FIELD_OPTIONAL, offsetof(struct doc_state, row.note), 0},
    {"changed_at", BANYAN_FIELD_TIME, 0, offsetof(struct doc_state, row.changed_at), 0},
    BANYAN_FIELD_BOOL(struct doc_state, exists, 0),
};

#define RECORD(label, type, table)                                                                                     \
    {                                                                                                                  \
        .name = (label), .size = sizeof(type), .fields = (table), .field_count = sizeof(table) / sizeof((table)[0])    \
    }

static const struct banyan_record row_record = RECORD("doc", struct doc_row, row_fields);
static const struct banyan_record line_record = RECORD("line", struct doc_line, line_fields);
static const struct banyan_record deleted_record = RECORD("deleted", struct doc_deleted, deleted_fields);
static const struct banyan_record state_record = RECORD("state", struct doc_state, state_fields);

static const struct banyan_event_type events[DOC_EVENTS] = {
    [DOC_PUT] = {"DocPut", 1, &row_record},
    [DOC_DELETED] = {"DocDeleted", 1, &deleted_record},
    [DOC_LINE_PUT] = {"LinePut", 1, &line_record},
    [DOC_LINE_REMOVED] = {"LineRemoved", 1, &line_record},
};

static void evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct doc_state *doc = state;
    (void)at;
    if (type == DOC_PUT) {
        doc->row = *(const struct doc_row *)payload;
        doc->exists = true;
    } else if (type == DOC_DELETED)
        doc->exists = false;
}

static const struct banyan_aggregate aggregate = {"doc", &state_record, evolve};

static const struct banyan_legacy_table tables[] = {
    [DOC_TABLE_DOCS] = {"docs", &row_record, "id", (const char *const[]){NULL}},
    [DOC_TABLE_LINES] = {"lines", &line_record, "doc_id", (const char *const[]){"id", NULL},
                         .row_columns = (const char *const[]){"id", NULL}},
};

static void emit(struct banyan_emitter *out, unsigned type, const void *payload, struct banyan_time at)
{
    struct banyan_emit event = {.type = type, .payload = payload, .at = at, .provenance = BANYAN_EXACT};
    banyan_emit(out, &event);
}

static void history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    struct banyan_time at = {0};
    if (rows->root != NULL) {
        at = ((const struct doc_row *)rows->root)->changed_at;
        emit(out, DOC_PUT, rows->root, at);
    }
    for (size_t i = 0; i < rows->row_count[DOC_TABLE_LINES]; i++)
        emit(out, DOC_LINE_PUT, rows->rows[DOC_TABLE_LINES][i], at);
}

static void changes(const void *state, bool exists, int64_t key, const struct banyan_change *made, size_t count,
                    struct banyan_emitter *out)
{
    struct banyan_time at = {1};
    (void)state;
    (void)exists;
    (void)key;
    for (size_t i = 0; i < count; i++) {
        const struct banyan_change *change = &made[i];
        if (change->table == DOC_TABLE_LINES && change->kind == BANYAN_CHANGE_DELETE) {
            struct doc_line gone = {.doc_id = key};
            emit(out, DOC_LINE_REMOVED, change->old != NULL ? change->old : &gone, at);
        } else if (change->table == DOC_TABLE_LINES)
            emit(out, DOC_LINE_PUT, change->new, at);
        else if (change->kind == BANYAN_CHANGE_DELETE)
            emit(out, DOC_DELETED, &(struct doc_deleted){.whole = change->old != NULL}, at);
        else if (change->old == NULL || banyan_record_diff(&row_record, change->old, change->new) != 0)
            emit(out, DOC_PUT, change->new, ((const struct doc_row *)change->new)->changed_at);
    }
}

static bool row(const void *state, void *ret_row)
{
    const struct doc_state *doc = state;
    if (doc->exists)
        *(struct doc_row *)ret_row = doc->row;
    return doc->exists;
}

static void reconcile(const void *state, int64_t key, const void *wanted, struct banyan_time now,
                      struct banyan_emitter *out)
{
    (void)state;
    (void)key;
    if (wanted != NULL)
        emit(out, DOC_PUT, wanted, now);
    else
        emit(out, DOC_DELETED, &(struct doc_deleted){.whole = false}, now);
}

static void mirror(const struct banyan_seen *event, const void *before, const void *after, struct banyan_mirror *out)
{
    (void)before;
    (void)after;
    if (event->type == DOC_LINE_PUT)
        banyan_mirror_row(out, DOC_TABLE_LINES, NULL, event->payload);
    else if (event->type == DOC_LINE_REMOVED)
        banyan_mirror_row(out, DOC_TABLE_LINES, event->payload, NULL);
}

static const struct banyan_legacy_mapping mapping = {
    .tables = tables,
    .table_count = 2,
    .aggregate = &aggregate,
    .history = history,
    .changes = changes,
    .row = row,
    .reconcile = reconcile,
    .mirror = mirror,
};

const struct banyan_domain doc_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "docs",
    .events = events,
    .event_count = DOC_EVENTS,
    .aggregates = &aggregate,
    .aggregate_count = 1,
    .mappings = &mapping,
    .mapping_count = 1,
};
