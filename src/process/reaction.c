/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reaction: react() is called on copies of the states as they are submitted; whatever it emits and commands is
 * folded into the copies, so that it sees what it did; all of it becomes one append, on the condition that every stream
 * it looked at is still at the version of its copy.
 *
 *   look at a state ──▶ part {version, copy} ──emit, command──▶ events, new copy ──▶ append at all versions
 *                                                                                     │ CONFLICT: from the start
 *
 * Copies are never changed in place: the states that the domain holds stay what they were when it got them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "process/process_int.h"

enum {
    TRIES_MAX = 1000, /* decisions while others write to the same streams */
    EVENTS_FIRST = 8,
    PARTS_FIRST = 4,
    META_BYTES_MAX = 16 * 1024,
};

/* One stream that the reaction looked at. */
struct part {
    const struct banyan_aggregate *aggregate;
    struct banyan_str category, key, stream;
    struct banyan_version version; /* when it was looked at */
    uint64_t emitted;              /* events of this reaction */
    size_t last_event;             /* index of the newest of them */
    const void *state;             /* after them */
};

struct banyan_reaction {
    struct process *process;
    const struct trigger *trigger;
    struct banyan_arena *arena;
    struct banyan_time now;
    struct part *parts; /* parts[0] is the process's own stream */
    size_t part_count, part_capacity;
    struct store_event *events;
    size_t event_count, event_capacity;
    struct banyan_buf bytes;
    uint64_t commands, refused;
    enum banyan_status status; /* the first failure: nothing is appended */
    struct banyan_error err;
};

/* One command being decided. */
struct deciding {
    struct banyan_emitter emitter; /* the first member */
    struct banyan_reaction *reaction;
    struct part *part;
    struct banyan_str meta;
};

bool process_is_poison(enum banyan_status status)
{
    return status == BANYAN_INVALID || status == BANYAN_LIMIT || status == BANYAN_NOT_FOUND ||
           status == BANYAN_CORRUPT || status == BANYAN_DUPLICATE;
}

struct banyan_uuid process_event_id(struct process *process, const char *kind, struct banyan_str text, uint64_t cause,
                                    uint64_t index)
{
    uint64_t numbers[] = {process->name.size, text.size, cause, index};
    size_t kind_size = strlen(kind) + 1, size = kind_size + sizeof(numbers) + process->name.size + text.size;
    char *source = banyan_arena_alloc(&process->arena, size), *at = source;
    XXH128_canonical_t canonical;

    memcpy(at, kind, kind_size);
    at += kind_size;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        for (unsigned shift = 0; shift < 64; shift += 8)
            *at++ = (char)(numbers[i] >> shift);
    }
    memcpy(at, process->name.data, process->name.size);
    memcpy(at + process->name.size, text.data, text.size);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(source, size));
    return banyan_uuid_v8(canonical.digest);
}

/* A time-out is told by the version of the stream that it found; an event by its position. */
static struct banyan_uuid reaction_event_id(const struct banyan_reaction *reaction, uint64_t index)
{
    const struct trigger *trigger = reaction->trigger;

    return trigger->seen != NULL
               ? process_event_id(reaction->process, "process", BANYAN_STR(""), trigger->position, index)
               : process_event_id(reaction->process, "wake", trigger->key, reaction->parts[0].version.value, index);
}

static void fail(struct banyan_reaction *reaction, enum banyan_status status, const struct banyan_error *err)
{
    if (reaction->status != BANYAN_OK)
        return;
    reaction->status = status;
    reaction->err = *err;
}

static void *grown(struct banyan_arena *arena, const void *old, size_t count, size_t capacity, size_t size)
{
    void *items = banyan_arena_alloc(arena, capacity * size);

    if (count > 0)
        memcpy(items, old, count * size);
    return items;
}

/* ---- states ---- */

/* The part of that stream, looked at now if it was not before; NULL after a failure.  Good until the next call. */
static struct part *look_at(struct banyan_reaction *reaction, struct banyan_str category, struct banyan_str key)
{
    struct aggregates *aggregates = reaction->process->options.aggregates;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct part part = {.aggregate = aggregates_find(aggregates, category)};
    void *state;

    for (size_t i = 0; i < reaction->part_count; i++) {
        if (banyan_str_equal(reaction->parts[i].category, category) && banyan_str_equal(reaction->parts[i].key, key))
            return &reaction->parts[i];
    }
    if (part.aggregate == NULL)
        status = banyan_error_set(&err, BANYAN_NOT_FOUND, "the domain has no aggregate %.*s", (int)category.size,
                                  category.data);
    else if (reaction->part_count == PROCESS_REACTION_STREAMS_MAX)
        status = banyan_error_set(&err, BANYAN_LIMIT, "a reaction looks at more than %d streams",
                                  PROCESS_REACTION_STREAMS_MAX);
    if (status == BANYAN_OK) {
        state = banyan_arena_alloc(reaction->arena, part.aggregate->state->size);
        status = aggregates_submitted(aggregates, category, key, reaction->arena, state, &part.version, &err);
        part.state = state;
    }
    if (status != BANYAN_OK) {
        fail(reaction, status, &err);
        return NULL;
    }
    part.category = banyan_str_of(part.aggregate->category);
    part.key = banyan_arena_str(reaction->arena, key);
    part.stream = banyan_arena_printf(reaction->arena, "%s-%.*s", part.aggregate->category, (int)key.size, key.data);
    if (reaction->part_count == reaction->part_capacity) {
        reaction->part_capacity = reaction->part_capacity == 0 ? PARTS_FIRST : 2 * reaction->part_capacity;
        reaction->parts = grown(reaction->arena, reaction->parts, reaction->part_count, reaction->part_capacity,
                                sizeof(*reaction->parts));
    }
    reaction->parts[reaction->part_count] = part;
    return &reaction->parts[reaction->part_count++];
}

/* ---- events ---- */

/* {"process":"checkout","key":"17","cause":1234}, and "command" where one made the event. */
static struct banyan_str make_meta(struct banyan_reaction *reaction, const char *command)
{
    struct banyan_buf text = BANYAN_BUF_INIT(META_BYTES_MAX);
    struct banyan_str meta;

    banyan_buf_add_text(&text, "{\"process\":");
    banyan_buf_add_json(&text, reaction->process->name);
    banyan_buf_add_text(&text, ",\"key\":");
    banyan_buf_add_json(&text, reaction->trigger->key);
    if (reaction->trigger->seen != NULL)
        banyan_buf_printf(&text, ",\"cause\":%" PRIu64, reaction->trigger->position);
    else
        banyan_buf_add_text(&text, ",\"cause\":\"time\"");
    if (command != NULL) {
        banyan_buf_add_text(&text, ",\"command\":");
        banyan_buf_add_json(&text, banyan_str_of(command));
    }
    banyan_buf_add_char(&text, '}');
    meta = banyan_arena_str(reaction->arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return meta;
}

/* Fold the event into a new copy of the part's state. */
static void fold(struct banyan_reaction *reaction, struct part *part, const struct banyan_emit *event)
{
    const struct banyan_record *record = reaction->process->options.domain->events[event->type].record;
    void *payload = banyan_arena_alloc(reaction->arena, record->size);
    void *state = banyan_arena_alloc(reaction->arena, part->aggregate->state->size);

    banyan_record_copy(record, payload, event->payload, reaction->arena);
    banyan_record_copy(part->aggregate->state, state, part->state, reaction->arena);
    part->aggregate->evolve(state, event->type, payload, event->at);
    part->state = state;
}

static enum banyan_status add_event(struct banyan_reaction *reaction, struct part *part, struct banyan_str meta,
                                    const struct banyan_emit *event, struct banyan_error *err)
{
    const struct banyan_domain *domain = reaction->process->options.domain;
    enum banyan_status status = emitter_check(domain, event, err);
    const struct banyan_event_type *type;

    if (status == BANYAN_OK && reaction->event_count == PROCESS_REACTION_EVENTS_MAX)
        status = banyan_error_set(err, BANYAN_LIMIT, "a reaction has more than %d events", PROCESS_REACTION_EVENTS_MAX);
    if (status != BANYAN_OK)
        return status;
    type = &domain->events[event->type];
    banyan_buf_reset(&reaction->bytes);
    status = banyan_record_encode(type->record, event->payload, &reaction->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "event %s", type->name);
        return status;
    }
    if (reaction->event_count == reaction->event_capacity) {
        reaction->event_capacity = reaction->event_capacity == 0 ? EVENTS_FIRST : 2 * reaction->event_capacity;
        reaction->events = grown(reaction->arena, reaction->events, reaction->event_count, reaction->event_capacity,
                                 sizeof(*reaction->events));
    }
    fold(reaction, part, event);
    part->emitted++;
    part->last_event = reaction->event_count;
    reaction->events[reaction->event_count] = (struct store_event){
        .id = reaction_event_id(reaction, reaction->event_count),
        .stream = part->stream,
        .type = banyan_str_of(type->name),
        .schema = type->version,
        .provenance = event->provenance,
        .at = event->at,
        .payload = banyan_arena_str(reaction->arena, banyan_buf_str(&reaction->bytes)),
        .meta = meta,
    };
    reaction->event_count++;
    return BANYAN_OK;
}

void banyan_react_emit(struct banyan_reaction *reaction, const struct banyan_emit *event)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;

    if (reaction->status != BANYAN_OK)
        return;
    status = add_event(reaction, &reaction->parts[0], make_meta(reaction, NULL), event, &err);
    if (status != BANYAN_OK)
        fail(reaction, status, &err);
}

/* ---- commands ---- */

static void take_event(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct deciding *deciding = (struct deciding *)emitter; /* its first member */
    struct banyan_reaction *reaction = deciding->reaction;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status;

    if (reaction->status != BANYAN_OK)
        return;
    status = add_event(reaction, deciding->part, deciding->meta, event, &err);
    if (status != BANYAN_OK)
        fail(reaction, status, &err);
}

static enum banyan_status check_command(struct banyan_reaction *reaction, const struct part *part,
                                        const struct banyan_process_command *command, struct banyan_error *err)
{
    const struct banyan_aggregate *aggregate = part->aggregate;
    enum banyan_status status;

    if (aggregate->decide == NULL || command->type >= aggregate->command_count)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "aggregate %s has no command number %u", aggregate->category,
                                command->type);
    banyan_buf_reset(&reaction->bytes);
    status = banyan_record_encode(aggregate->commands[command->type].record, command->fields, &reaction->bytes, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "command %s", aggregate->commands[command->type].name);
    return status;
}

bool banyan_react_command(struct banyan_reaction *reaction, const struct banyan_process_command *command,
                          struct banyan_refusal *ret)
{
    struct banyan_refusal refusal = {.code = NULL};
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct part *part =
        reaction->status == BANYAN_OK ? look_at(reaction, banyan_str_of(command->category), command->key) : NULL;
    struct part before;
    size_t count = reaction->event_count;

    if (part != NULL)
        status = check_command(reaction, part, command, &err);
    if (part == NULL || status != BANYAN_OK) {
        if (status != BANYAN_OK)
            fail(reaction, status, &err);
        *ret = (struct banyan_refusal){"failed", BANYAN_STR("the reaction failed before")};
        return false;
    }
    struct deciding deciding = {
        .emitter = {take_event, reaction->arena},
        .reaction = reaction,
        .part = part,
        .meta = make_meta(reaction, part->aggregate->commands[command->type].name),
    };
    struct banyan_command decided = {
        .type = command->type, .key = part->key, .fields = command->fields, .now = reaction->now};
    before = *part;
    reaction->commands++;
    if (part->aggregate->decide(part->state, part->version.value + part->emitted > 0, &decided, &deciding.emitter,
                                &refusal))
        return true;
    *part = before;
    reaction->event_count = count;
    reaction->refused++;
    if (refusal.code == NULL)
        refusal.code = "refused";
    if (refusal.text.data == NULL)
        refusal.text = BANYAN_STR("");
    *ret = refusal;
    return false;
}

const void *banyan_react_state(struct banyan_reaction *reaction, const char *category, struct banyan_str key)
{
    const struct banyan_aggregate *aggregate =
        aggregates_find(reaction->process->options.aggregates, banyan_str_of(category));
    struct part *part = reaction->status == BANYAN_OK ? look_at(reaction, banyan_str_of(category), key) : NULL;
    void *fresh;

    if (part != NULL)
        return part->state;
    /* The reaction failed and will not count; the domain still needs something to look at. */
    if (aggregate == NULL)
        return banyan_arena_zalloc(reaction->arena, 4096);
    fresh = banyan_arena_alloc(reaction->arena, aggregate->state->size);
    banyan_record_init(aggregate->state, fresh);
    return fresh;
}

/* ---- the append ---- */

struct store_cursor process_cursor(struct process *process, struct banyan_arena *arena)
{
    return (struct store_cursor){
        process->cursor_name, banyan_arena_printf(arena, "%" PRIu64 " %" PRIu64 " %u", process->passed,
                                                  process->timers_from, process->options.process->aggregate->version)};
}

void process_committed(struct process *process, const struct store_appended *appended)
{
    process->committed = process->passed;
    process->unmoved = 0;
    process->submitted = appended->last.value;
    process->since_oldest++;
}

static enum banyan_status submit(struct banyan_reaction *reaction, struct store_appended *ret, struct banyan_error *err)
{
    struct process *process = reaction->process;
    const struct trigger *trigger = reaction->trigger;
    struct store_condition *conditions =
        banyan_arena_alloc(reaction->arena, reaction->part_count * sizeof(*conditions));
    struct store_event *events = banyan_arena_alloc(reaction->arena, (reaction->event_count + 1) * sizeof(*events));
    struct store_append append = {
        .events = events,
        .event_count = reaction->event_count,
        .conditions = conditions,
        .condition_count = reaction->part_count,
        .cursor = process_cursor(process, reaction->arena),
    };

    for (size_t i = 0; i < reaction->part_count; i++)
        conditions[i] =
            (struct store_condition){reaction->parts[i].stream, STORE_EXPECT_VERSION, reaction->parts[i].version};
    if (reaction->event_count > 0)
        memcpy(events, reaction->events, reaction->event_count * sizeof(*events));
    if (trigger->done)
        events[append.event_count++] = process_done_event(process, trigger->key, trigger->position, reaction->arena);
    return store_submit(process->options.store, &append, ret, err);
}

/* The states that came out need not be folded again by whoever looks at them next. */
static void learn(struct banyan_reaction *reaction, const struct store_appended *appended)
{
    for (size_t i = 0; i < reaction->part_count; i++) {
        const struct part *part = &reaction->parts[i];

        if (part->emitted > 0)
            aggregates_learn(reaction->process->options.aggregates,
                             &(struct aggregate_learnt){
                                 .category = part->category,
                                 .key = part->key,
                                 .before = part->version,
                                 .after = {part->version.value + part->emitted},
                                 .position = {appended->first.value + part->last_event},
                                 .state = part->state,
                             });
    }
}

static void count(struct process *process, const struct banyan_reaction *reaction)
{
    process->figures.commands += reaction->commands;
    process->figures.refused += reaction->refused;
    process->figures.events += reaction->event_count;
    process->figures.reactions++;
    process->figures.wakes += reaction->trigger->seen == NULL;
}

/* One decision; CONFLICT: again. */
static enum banyan_status decide_once(struct banyan_reaction *reaction, enum reacted *ret, struct banyan_error *err)
{
    struct process *process = reaction->process;
    const struct banyan_process *definition = process->options.process;
    const struct trigger *trigger = reaction->trigger;
    struct part *own = look_at(reaction, banyan_str_of(definition->aggregate->category), trigger->key);
    struct store_appended appended;
    enum banyan_status status;

    *ret = REACTED_NOTHING;
    if (own != NULL && trigger->seen == NULL && definition->wake(own->state).us != trigger->due_us) {
        session_set_timer(process, own->key, own->state, 0); /* it changed meanwhile: it has another time now */
        return BANYAN_OK;
    }
    if (own != NULL)
        definition->react(own->state, own->version.value > 0, own->key, trigger->seen, reaction->now, reaction);
    if (reaction->status != BANYAN_OK) {
        *err = reaction->err;
        return reaction->status;
    }
    if (reaction->event_count == 0 && !trigger->done)
        return BANYAN_OK;
    status = submit(reaction, &appended, err);
    if (status != BANYAN_OK)
        return status;
    *ret = appended.repeated ? REACTED_REPEATED : REACTED_APPENDED;
    if (appended.repeated) {
        process->figures.repeated++;
        return BANYAN_OK;
    }
    process_committed(process, &appended);
    learn(reaction, &appended);
    count(process, reaction);
    own = &reaction->parts[0];
    if (own->emitted > 0)
        session_set_timer(process, own->key, own->state, appended.first.value + own->last_event);
    return BANYAN_OK;
}

/* An id of this reaction that is in the log with other content: it was appended, by an earlier decision. */
static bool was_appended(const struct banyan_reaction *reaction)
{
    struct banyan_position position = {0};

    return reaction->event_count > 0 &&
           store_find(reaction->process->options.store, reaction->events[0].id, &position, NULL) == BANYAN_OK &&
           position.value > 0;
}

enum banyan_status process_react(struct process *process, const struct trigger *trigger, enum reacted *ret,
                                 struct banyan_error *err)
{
    enum banyan_status status = BANYAN_CONFLICT;
    struct banyan_error why = BANYAN_ERROR_INIT;

    for (int tries = 0; status == BANYAN_CONFLICT && tries < TRIES_MAX; tries++) {
        struct banyan_reaction reaction = {
            .process = process,
            .trigger = trigger,
            .arena = &process->arena,
            .now = os_clock_now(process->options.clock),
            .bytes = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX),
        };

        banyan_error_clear(&why);
        status = decide_once(&reaction, ret, &why);
        if (status == BANYAN_DUPLICATE && was_appended(&reaction)) {
            process->figures.repeated++;
            *ret = REACTED_REPEATED;
            status = BANYAN_OK;
        }
        process->figures.conflicts += status == BANYAN_CONFLICT;
        banyan_buf_release(&reaction.bytes);
    }
    if (status != BANYAN_OK && err != NULL)
        *err = why;
    return status;
}
