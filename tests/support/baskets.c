/* SPDX-License-Identifier: Apache-2.0 */
/* Baskets with items: see baskets.h. */
#include "support/baskets.h"

#include <string.h>

static const struct banyan_field opened_fields[] = {
    BANYAN_FIELD_INT(struct basket_opened, id, 0),
    BANYAN_FIELD_STRING(struct basket_opened, name, 0),
};
static const struct banyan_field renamed_fields[] = {BANYAN_FIELD_STRING(struct basket_renamed, name, 0)};
static const struct banyan_field added_fields[] = {
    BANYAN_FIELD_STRING(struct basket_added, label, BANYAN_FIELD_OPTIONAL)};
static const struct banyan_field removed_fields[] = {BANYAN_FIELD_BOOL(struct basket_removed, sure, 0)};
static const struct banyan_field state_fields[] = {
    BANYAN_FIELD_BOOL(struct basket, exists, 0),
    BANYAN_FIELD_INT(struct basket, id, 0),
    BANYAN_FIELD_INT(struct basket, items, 0),
    BANYAN_FIELD_STRING(struct basket, name, 0),
    BANYAN_FIELD_STRING(struct basket, last_label, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field basket_fields[] = {
    BANYAN_FIELD_INT(struct basket_row, id, 0),
    BANYAN_FIELD_STRING(struct basket_row, name, 0),
};
static const struct banyan_field item_fields[] = {
    BANYAN_FIELD_INT(struct item_row, id, 0),
    BANYAN_FIELD_INT(struct item_row, basket, 0),
    BANYAN_FIELD_STRING(struct item_row, label, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_record opened_record = {"Opened", sizeof(struct basket_opened), opened_fields, 2};
static const struct banyan_record renamed_record = {"Renamed", sizeof(struct basket_renamed), renamed_fields, 1};
static const struct banyan_record added_record = {"Added", sizeof(struct basket_added), added_fields, 1};
static const struct banyan_record removed_record = {"Removed", sizeof(struct basket_removed), removed_fields, 1};
static const struct banyan_record state_record = {"Basket", sizeof(struct basket), state_fields, 5};
static const struct banyan_record basket_record = {"BasketRow", sizeof(struct basket_row), basket_fields, 2};
static const struct banyan_record item_record = {"ItemRow", sizeof(struct item_row), item_fields, 3};

static const struct banyan_event_type event_types[] = {
    [BASKET_OPENED] = {"Opened", 1, &opened_record},
    [BASKET_RENAMED] = {"Renamed", 1, &renamed_record},
    [BASKET_ADDED] = {"Added", 1, &added_record},
    [BASKET_REMOVED] = {"Removed", 1, &removed_record},
};

static void evolve(void *argument, unsigned type, const void *payload, struct banyan_time at)
{
    struct basket *basket = argument;
    (void)at;
    switch ((enum baskets_event)type) {
    case BASKET_OPENED:
        basket->exists = true;
        basket->id = ((const struct basket_opened *)payload)->id;
        basket->name = ((const struct basket_opened *)payload)->name;
        break;
    case BASKET_RENAMED:
        basket->name = ((const struct basket_renamed *)payload)->name;
        break;
    case BASKET_ADDED:
        basket->items++;
        basket->last_label = ((const struct basket_added *)payload)->label;
        break;
    case BASKET_REMOVED:
        basket->exists = false;
        break;
    }
}

/* ---- mapping ---- */

static bool name_begins(struct banyan_str name, const char *with)
{
    size_t size = strlen(with);
    return name.size >= size && memcmp(name.data, with, size) == 0;
}

static void emit(struct banyan_emitter *out, enum baskets_event type, const void *payload, const char *reason)
{
    struct banyan_emit event = {
        .type = type,
        .payload = payload,
        .at = {1000},
        .provenance = reason == NULL ? BANYAN_EXACT : BANYAN_INFERRED,
        .reason = reason,
    };
    banyan_emit(out, &event);
}

/* The name comes from the stack and is gone afterwards: the engine must have copied it. */
static void emit_opened(struct banyan_emitter *out, int64_t id, struct banyan_str name)
{
    char copy[256];
    struct basket_opened opened = {id, {copy, name.size < sizeof(copy) ? name.size : sizeof(copy)}};
    struct banyan_emit untimed = {
        .type = BASKET_OPENED, .payload = &opened, .at = {BANYAN_TIME_NULL}, .provenance = BANYAN_EXACT};
    memcpy(copy, name.data, opened.name.size);
    if (name_begins(name, "untimed"))
        banyan_emit(out, &untimed);
    if (name_begins(name, "drift") || name_begins(name, "stubborn"))
        opened.name = BANYAN_STR("something else");
    emit(out, BASKET_OPENED, &opened, name_begins(name, "old") ? "the row is \"old\"" : NULL);
    memset(copy, '#', sizeof(copy));
}

static void history(const struct banyan_history *history, struct banyan_emitter *out)
{
    const struct basket_row *root = history->root;
    if (root != NULL)
        emit_opened(out, root->id, root->name);
    for (size_t i = 0; i < history->row_count[1]; i++)
        emit(out, BASKET_ADDED, &(struct basket_added){((const struct item_row *)history->rows[1][i])->label}, NULL);
}

static void change_root(const struct banyan_change *change, struct banyan_emitter *out)
{
    const struct basket_row *old = change->old, *new = change->new;
    if (change->kind == BANYAN_CHANGE_INSERT)
        emit_opened(out, new->id, new->name);
    else if (change->kind == BANYAN_CHANGE_DELETE)
        emit(out, BASKET_REMOVED, &(struct basket_removed){true}, NULL);
    else if (!banyan_str_equal(old->name, new->name) && !name_begins(new->name, "drift") &&
             !name_begins(new->name, "stubborn"))
        emit(out, BASKET_RENAMED, &(struct basket_renamed){new->name}, NULL);
}

static void changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                    struct banyan_emitter *out)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].table == 0)
            change_root(&changes[i], out);
        else if (changes[i].kind == BANYAN_CHANGE_INSERT)
            emit(out, BASKET_ADDED, &(struct basket_added){((const struct item_row *)changes[i].new)->label}, NULL);
    }
    (void)state;
    (void)exists;
    (void)key;
}

static bool row(const void *state, void *ret_row)
{
    const struct basket *basket = state;
    *(struct basket_row *)ret_row = (struct basket_row){basket->id, basket->name};
    return basket->exists;
}

static void reconcile(const void *state, int64_t key, const void *wanted, struct banyan_time now,
                      struct banyan_emitter *out)
{
    const struct basket *basket = state;
    const struct basket_row *target = wanted;
    (void)now;
    if (target == NULL)
        emit(out, BASKET_REMOVED, &(struct basket_removed){false}, "the row is gone");
    else if (!basket->exists)
        emit(out, BASKET_OPENED, &(struct basket_opened){key, target->name}, "the row is there");
    else if (!name_begins(target->name, "stubborn"))
        emit(out, BASKET_RENAMED, &(struct basket_renamed){target->name}, "the row differs");
}

static const char *const item_order[] = {"id", NULL};
static const struct banyan_legacy_table tables[] = {
    {"baskets", &basket_record, "id", NULL},
    {"items", &item_record, "basket", item_order},
};
static const struct banyan_aggregate aggregate = {"basket", &state_record, evolve};
static const struct banyan_legacy_mapping mapping = {
    .tables = tables,
    .table_count = 2,
    .aggregate = &aggregate,
    .history = history,
    .changes = changes,
    .row = row,
    .reconcile = reconcile,
};

const struct banyan_domain baskets_domain = {
    .abi = BANYAN_DOMAIN_ABI,
    .name = "baskets",
    .events = event_types,
    .event_count = 4,
    .aggregates = &aggregate,
    .aggregate_count = 1,
    .mappings = &mapping,
    .mapping_count = 1,
};
