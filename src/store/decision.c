/* SPDX-License-Identifier: Apache-2.0 */
/* See decision.h. */
#include "store/decision.h"

#include <string.h>

#include "store/aggregate_int.h"
#include "store/emitter.h"

enum {
    EVENTS_FIRST = 8,
    PARTS_FIRST = 4,
};

/* One command being decided. */
struct deciding {
    struct banyan_emitter emitter; /* the first member */
    struct decision *decision;
    struct decision_part *part;
    struct banyan_str meta;
};

void decision_init(struct decision *decision, const struct decision_options *options)
{
    *decision = (struct decision){
        .options = *options,
        .bytes = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX),
    };
    banyan_error_clear(&decision->err);
}

void decision_release(struct decision *decision)
{
    banyan_buf_release(&decision->bytes);
}

void decision_fail(struct decision *decision, enum banyan_status status, const struct banyan_error *err)
{
    if (decision->status != BANYAN_OK)
        return;
    decision->status = status;
    decision->err = *err;
}

static void *grown(struct banyan_arena *arena, const void *old, size_t count, size_t capacity, size_t size)
{
    void *items = banyan_arena_alloc(arena, capacity * size);

    if (count > 0)
        memcpy(items, old, count * size);
    return items;
}

/* ---- states ---- */

static struct decision_part *find_part(const struct decision *decision, struct banyan_str category,
                                       struct banyan_str key)
{
    for (size_t i = 0; i < decision->part_count; i++) {
        struct decision_part *part = decision->parts[i];

        if (banyan_str_equal(part->category, category) && banyan_str_equal(part->key, key))
            return part;
    }
    return NULL;
}

static enum banyan_status load_part(struct decision *decision, const struct kind *kind, struct banyan_str key,
                                    struct decision_part *ret, struct banyan_error *err)
{
    struct banyan_arena *arena = decision->options.arena;
    void *state = banyan_arena_alloc(arena, kind->states.aggregate->state->size);
    enum banyan_status status =
        aggregate_current(decision->options.aggregates, kind, key, arena, state, &ret->version, &ret->position, err);

    if (status == BANYAN_OK)
        status = aggregate_name_stream(kind, key, arena, &ret->stream, err);
    ret->aggregate = kind->states.aggregate;
    ret->category = kind->category;
    ret->key = banyan_arena_str(arena, key);
    ret->state = state;
    return status;
}

struct decision_part *decision_look(struct decision *decision, struct banyan_str category, struct banyan_str key)
{
    struct banyan_arena *arena = decision->options.arena;
    const struct kind *kind = aggregate_kind(decision->options.aggregates, category);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct decision_part *part;

    if (decision->status != BANYAN_OK)
        return NULL;
    part = find_part(decision, category, key);
    if (part != NULL)
        return part;
    part = banyan_arena_zalloc(arena, sizeof(*part));
    if (kind == NULL)
        status = banyan_error_set(&err, BANYAN_NOT_FOUND, "the domain has no aggregate %.*s", (int)category.size,
                                  category.data);
    else if (decision->part_count == decision->options.streams_max)
        status = banyan_error_set(&err, BANYAN_LIMIT, "%s looks at more than %zu streams", decision->options.what,
                                  decision->options.streams_max);
    else
        status = load_part(decision, kind, key, part, &err);
    if (status != BANYAN_OK) {
        decision_fail(decision, status, &err);
        return NULL;
    }
    if (decision->part_count == decision->part_capacity) {
        decision->part_capacity = decision->part_capacity == 0 ? PARTS_FIRST : 2 * decision->part_capacity;
        decision->parts = grown(arena, decision->parts, decision->part_count, decision->part_capacity,
                                sizeof(struct decision_part *));
    }
    decision->parts[decision->part_count++] = part;
    return part;
}

enum banyan_status decision_permit(struct decision *decision, struct decision_part *part, bool creates,
                                   struct banyan_error *err)
{
    enum banyan_status status;

    if (part->permitted)
        return BANYAN_OK;
    status = aggregate_permit(decision->options.aggregates, part->category, part->key, creates, decision->options.arena,
                              &part->permit, err);
    part->permitted = status == BANYAN_OK;
    part->new_key = creates;
    return status;
}

/* ---- events ---- */

/* Fold the event into a new copy of the part's state. */
static void fold(struct decision *decision, struct decision_part *part, const struct banyan_emit *event)
{
    struct banyan_arena *arena = decision->options.arena;
    const struct banyan_record *record = decision->options.domain->events[event->type].record;
    void *payload = banyan_arena_alloc(arena, record->size);
    void *state = banyan_arena_alloc(arena, part->aggregate->state->size);

    banyan_record_copy(record, payload, event->payload, arena);
    banyan_record_copy(part->aggregate->state, state, part->state, arena);
    part->aggregate->evolve(state, event->type, payload, event->at);
    part->state = state;
}

static enum banyan_status add_event(struct decision *decision, struct decision_part *part, struct banyan_str meta,
                                    const struct banyan_emit *event, struct banyan_error *err)
{
    const struct decision_options *options = &decision->options;
    enum banyan_status status = emitter_check(options->domain, event, err);
    const struct banyan_event_type *type;

    if (status == BANYAN_OK && decision->event_count == options->events_max)
        status = banyan_error_set(err, BANYAN_LIMIT, "%s has more than %zu events", options->what, options->events_max);
    if (status != BANYAN_OK)
        return status;
    type = &options->domain->events[event->type];
    banyan_buf_reset(&decision->bytes);
    status = banyan_record_encode(type->record, event->payload, &decision->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "event %s", type->name);
        return status;
    }
    if (decision->event_count == decision->event_capacity) {
        decision->event_capacity = decision->event_capacity == 0 ? EVENTS_FIRST : 2 * decision->event_capacity;
        decision->events = grown(options->arena, decision->events, decision->event_count, decision->event_capacity,
                                 sizeof(*decision->events));
    }
    fold(decision, part, event);
    part->emitted++;
    part->last_event = decision->event_count;
    decision->events[decision->event_count] = (struct store_event){
        .id = options->event_id(options->context, decision->event_count),
        .stream = part->stream,
        .type = banyan_str_of(type->name),
        .schema = type->version,
        .provenance = event->provenance,
        .at = event->at,
        .payload = banyan_arena_str(options->arena, banyan_buf_str(&decision->bytes)),
        .meta = meta,
    };
    decision->event_count++;
    return BANYAN_OK;
}

void decision_emit(struct decision *decision, struct decision_part *part, struct banyan_str meta,
                   const struct banyan_emit *event)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;

    if (decision->status != BANYAN_OK)
        return;
    status = add_event(decision, part, meta, event, &err);
    if (status != BANYAN_OK)
        decision_fail(decision, status, &err);
}

/* ---- commands ---- */

static void take_event(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct deciding *deciding = (struct deciding *)emitter; /* its first member */

    decision_emit(deciding->decision, deciding->part, deciding->meta, event);
}

bool decision_command(struct decision *decision, struct decision_part *part, const struct banyan_command *command,
                      struct banyan_str meta, struct banyan_refusal *ret)
{
    struct deciding deciding = {{take_event, decision->options.arena}, decision, part, meta};
    struct banyan_refusal refusal = {.code = NULL};
    struct decision_part before = *part;
    size_t count = decision->event_count;

    if (part->aggregate->decide(part->state, part->version.value + part->emitted > 0, command, &deciding.emitter,
                                &refusal))
        return decision->status == BANYAN_OK;
    *part = before;
    decision->event_count = count;
    if (refusal.code == NULL)
        refusal.code = "refused";
    if (refusal.text.data == NULL)
        refusal.text = BANYAN_STR("");
    *ret = refusal;
    return false;
}

/* ---- the append ---- */

/* One condition for each owner, as nearly all parts have the same. */
static size_t add_permit(struct store_condition *conditions, size_t from, size_t count,
                         const struct store_condition *permit)
{
    for (size_t i = from; i < count; i++) {
        if (conditions[i].expect == permit->expect && conditions[i].version.value == permit->version.value &&
            banyan_str_equal(conditions[i].stream, permit->stream))
            return count;
    }
    conditions[count] = *permit;
    return count + 1;
}

/* May what commands began be there under its key? */
static enum banyan_status check_begun(const struct decision *decision, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; status == BANYAN_OK && i < decision->part_count; i++) {
        const struct decision_part *part = decision->parts[i];

        if (part->permitted && !part->new_key && part->emitted > 0 && part->version.value == 0)
            status = aggregate_may_begin(decision->options.aggregates, part->category, part->key, err);
    }
    return status;
}

enum banyan_status decision_submit(struct decision *decision, const struct decision_append *append,
                                   struct store_appended *ret, struct banyan_error *err)
{
    struct banyan_arena *arena = decision->options.arena;
    size_t count = decision->part_count;
    struct store_condition *conditions = banyan_arena_alloc(arena, 2 * (count + 1) * sizeof(*conditions));
    struct store_event *events =
        banyan_arena_alloc(arena, (decision->event_count + append->extra_count + 1) * sizeof(*events));
    struct store_append all = {
        .events = events,
        .event_count = decision->event_count + append->extra_count,
        .conditions = conditions,
        .cursor = append->cursor,
    };
    enum banyan_status status = check_begun(decision, err);

    if (status != BANYAN_OK)
        return status;
    for (size_t i = 0; i < decision->part_count; i++)
        conditions[i] =
            (struct store_condition){decision->parts[i]->stream, STORE_EXPECT_VERSION, decision->parts[i]->version};
    for (size_t i = 0; i < decision->part_count; i++) {
        if (decision->parts[i]->permitted && decision->parts[i]->permit.expect != STORE_EXPECT_NONE)
            count = add_permit(conditions, decision->part_count, count, &decision->parts[i]->permit);
    }
    all.condition_count = count;
    if (decision->event_count > 0)
        memcpy(events, decision->events, decision->event_count * sizeof(*events));
    if (append->extra_count > 0)
        memcpy(events + decision->event_count, append->extra, append->extra_count * sizeof(*events));
    return store_submit(append->store, &all, ret, err);
}

void decision_learn(struct decision *decision, const struct store_appended *appended)
{
    for (size_t i = 0; i < decision->part_count; i++) {
        const struct decision_part *part = decision->parts[i];

        if (part->emitted > 0)
            aggregates_learn(decision->options.aggregates, &(struct aggregate_learnt){
                                                               .category = part->category,
                                                               .key = part->key,
                                                               .before = part->version,
                                                               .after = {part->version.value + part->emitted},
                                                               .position = {appended->first.value + part->last_event},
                                                               .state = part->state,
                                                           });
    }
}
