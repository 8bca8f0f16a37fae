/* SPDX-License-Identifier: Apache-2.0 */
/* See stress_domain.h. */
#include "stress_domain.h"

static const struct banyan_field payload_fields[] = {
    BANYAN_FIELD_INT(struct stress_payload, id, 0),
    BANYAN_FIELD_INT(struct stress_payload, v, 0),
    BANYAN_FIELD_STRING(struct stress_payload, body, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record payload_record = {"stress_payload", sizeof(struct stress_payload), payload_fields, 3};

static const struct banyan_event_type events[STRESS_EVENTS] = {
    [STRESS_ITEM_BASE] = {"ItemBase", 1, &payload_record},    [STRESS_ITEM_SET] = {"ItemSet", 1, &payload_record},
    [STRESS_ITEM_GONE] = {"ItemGone", 1, &payload_record},    [STRESS_NOTE_BASE] = {"NoteBase", 1, &payload_record},
    [STRESS_NOTE_ADDED] = {"NoteAdded", 1, &payload_record},  [STRESS_NOTE_GONE] = {"NoteGone", 1, &payload_record},
    [STRESS_OTHER_BASE] = {"OtherBase", 1, &payload_record},  [STRESS_OTHER_SET] = {"OtherSet", 1, &payload_record},
    [STRESS_OTHER_GONE] = {"OtherGone", 1, &payload_record},  [STRESS_COPY_BASE] = {"CopyBase", 1, &payload_record},
    [STRESS_COPY_SET] = {"CopySet", 1, &payload_record},      [STRESS_COPY_GONE] = {"CopyGone", 1, &payload_record},
    [STRESS_RECONCILED] = {"Reconciled", 1, &payload_record},
};

struct item_row {
    int64_t id, v;
    struct banyan_str body;
};

static const struct banyan_field item_fields[] = {
    BANYAN_FIELD_INT(struct item_row, id, 0),
    BANYAN_FIELD_INT(struct item_row, v, 0),
    BANYAN_FIELD_STRING(struct item_row, body, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_record item_record = {"item", sizeof(struct item_row), item_fields, 3};

struct note_row {
    int64_t id, item_id;
};

static const struct banyan_field note_fields[] = {
    BANYAN_FIELD_INT(struct note_row, id, 0),
    BANYAN_FIELD_INT(struct note_row, item_id, 0),
};
static const struct banyan_record note_record = {"note", sizeof(struct note_row), note_fields, 2};

struct item_state {
    bool exists;
    int64_t id, v;
    struct banyan_str body;
};

static const struct banyan_field state_fields[] = {
    BANYAN_FIELD_BOOL(struct item_state, exists, 0),
    BANYAN_FIELD_INT(struct item_state, id, 0),
    BANYAN_FIELD_INT(struct item_state, v, 0),
    BANYAN_FIELD_STRING(struct item_state, body, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_record state_record = {"item_state", sizeof(struct item_state), state_fields, 4};

static void evolve(void *opaque, unsigned type, const void *data, struct banyan_time at)
{
    struct item_state *state = opaque;
    const struct stress_payload *payload = data;
    (void)at;
    switch (type) {
    case STRESS_ITEM_BASE:
    case STRESS_ITEM_SET:
    case STRESS_OTHER_BASE:
    case STRESS_OTHER_SET:
    case STRESS_RECONCILED:
        state->exists = payload->v != 0;
        state->id = payload->id;
        state->v = payload->v;
        state->body = payload->body;
        break;
    case STRESS_ITEM_GONE:
    case STRESS_OTHER_GONE:
        state->exists = false;
        state->v = 0;
        state->body = (struct banyan_str){NULL, 0};
        break;
    default: /* notes and copies are not part of the row */
        break;
    }
}

static const struct banyan_aggregate aggregates[] = {{"item", &state_record, evolve}, {"other", &state_record, evolve}};

static const struct item_row no_item = {0, 0, {NULL, 0}};

static void emit_item(struct banyan_emitter *out, unsigned type, const struct item_row *item)
{
    struct stress_payload payload = {item->id, item->v, item->body};
    bool exact = type != STRESS_RECONCILED;
    banyan_emit(out, &(struct banyan_emit){
                         type, &payload, {1}, exact ? BANYAN_EXACT : BANYAN_RECONCILED, exact ? NULL : "differs"});
}

static void emit_note(struct banyan_emitter *out, unsigned type, const struct note_row *note)
{
    struct stress_payload payload = {0, note->id, {NULL, 0}};
    banyan_emit(out, &(struct banyan_emit){type, &payload, {1}, BANYAN_EXACT, NULL});
}

static void history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    if (rows->root != NULL)
        emit_item(out, STRESS_ITEM_BASE, rows->root);
    for (size_t i = 0; i < rows->row_count[1]; i++)
        emit_note(out, STRESS_NOTE_BASE, rows->rows[1][i]);
}

static void changes(const void *state, bool exists, int64_t key, const struct banyan_change *list, size_t count,
                    struct banyan_emitter *out)
{
    (void)state, (void)exists, (void)key;
    for (size_t i = 0; i < count; i++) {
        const struct banyan_change *change = &list[i];
        bool gone = change->kind == BANYAN_CHANGE_DELETE;
        if (change->table == 0)
            emit_item(out, gone ? STRESS_ITEM_GONE : STRESS_ITEM_SET, gone ? &no_item : change->new);
        else if (gone && change->old != NULL)
            emit_note(out, STRESS_NOTE_GONE, change->old);
        else if (change->kind == BANYAN_CHANGE_INSERT)
            emit_note(out, STRESS_NOTE_ADDED, change->new);
    }
}

static void other_history(const struct banyan_history *rows, struct banyan_emitter *out)
{
    if (rows->root != NULL)
        emit_item(out, STRESS_OTHER_BASE, rows->root);
    for (size_t i = 0; i < rows->row_count[1]; i++)
        emit_item(out, STRESS_COPY_BASE, rows->rows[1][i]);
}

static void other_changes(const void *state, bool exists, int64_t key, const struct banyan_change *list, size_t count,
                          struct banyan_emitter *out)
{
    (void)state, (void)exists, (void)key;
    for (size_t i = 0; i < count; i++) {
        const struct banyan_change *change = &list[i];
        unsigned set = change->table == 0 ? STRESS_OTHER_SET : STRESS_COPY_SET;
        if (change->kind == BANYAN_CHANGE_DELETE)
            emit_item(out, set + 1, &no_item);
        else
            emit_item(out, set, change->new);
    }
}

static bool row(const void *opaque, void *ret)
{
    const struct item_state *state = opaque;
    struct item_row *item = ret;
    if (!state->exists)
        return false;
    *item = (struct item_row){state->id, state->v, state->body};
    return true;
}

static void reconcile(const void *state, int64_t key, const void *opaque, struct banyan_time now,
                      struct banyan_emitter *out)
{
    (void)state, (void)key, (void)now;
    emit_item(out, STRESS_RECONCILED, opaque == NULL ? &no_item : opaque);
}

static const char *const note_order[] = {"id", NULL};
static const char *const item_order[] = {NULL};

static const struct banyan_legacy_table tables[] = {
    {"items", &item_record, "id", item_order},
    {"notes", &note_record, "item_id", note_order},
};

static const struct banyan_legacy_table other_tables[] = {
    {"others", &item_record, "id", item_order},
    {"items", &item_record, "id", item_order},
};

static const struct banyan_legacy_mapping mappings[] = {
    {tables, 2, &aggregates[0], history, changes, row, reconcile},
    {other_tables, 2, &aggregates[1], other_history, other_changes, row, reconcile},
};

const struct banyan_domain stress_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "stress",
    .events = events,
    .event_count = STRESS_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = 2,
    .mappings = mappings,
    .mapping_count = 2,
};

const struct banyan_domain stress_early_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "stress",
    .events = events,
    .event_count = STRESS_EVENTS,
    .aggregates = aggregates,
    .aggregate_count = 2,
    .mappings = mappings,
    .mapping_count = 1,
};
