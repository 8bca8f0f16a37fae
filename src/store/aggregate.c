/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See aggregate.h.
 *
 * The usual way of a command takes no look into the store: the state is live, the append itself finds out whether the
 * command was executed before (its first event's id is known then) and whether somebody else wrote to the stream.
 * Only what would not be appended (a refusal, nothing to do, a condition of the caller's) is looked at more closely:
 * was it executed before?  Was the state the newest?
 *
 * Thread note: a live state and a workspace belong to whoever took them; there is no lock here beside the cache's.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/hex.h"
#include "store/aggregate_int.h"
#include "store/emitter.h"

enum {
    TRIES_MAX = 64, /* decisions on one command while others write to its stream */
    EVENTS_FIRST = 4,
    META_BYTES_MAX = 512,
};

/* One command under way. */
struct execution {
    struct banyan_emitter emitter; /* what the domain sees */
    struct aggregates *aggregates;
    const struct kind *kind;
    const struct aggregate_command *command;
    struct banyan_command decided; /* as the domain gets it */
    struct work *work;
    struct live *live;
    struct banyan_str stream, meta;
    struct store_condition permit; /* expect NONE: none */

    struct store_event *events; /* emitted; in the arena, as are the payload structs */
    const void **payloads;
    unsigned *types;
    size_t count, capacity;
    enum banyan_status status; /* the first failure of an emit */
    struct banyan_error *err;  /* what it was */
};

/* ---- emitting ---- */

/* XXH3 in its 128 bits, as for captured events: a collision would be refused as DUPLICATE, it cannot lose an event. */
struct banyan_uuid aggregate_event_id(struct banyan_uuid command, uint64_t index)
{
    uint8_t source[16 + 8 + 8] = "";
    XXH128_canonical_t canonical;

    memcpy(source, command.bytes, 16);
    memcpy(source + 16, "command", 8);
    for (unsigned i = 0; i < 8; i++)
        source[24 + i] = (uint8_t)(index >> (8 * i));
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(source, sizeof(source)));
    return banyan_uuid_v8(canonical.digest);
}

static void *grown(struct banyan_arena *arena, const void *old, size_t count, size_t capacity, size_t size)
{
    void *items = banyan_arena_alloc(arena, capacity * size);

    if (count > 0)
        memcpy(items, old, count * size);
    return items;
}

static void grow_events(struct execution *execution)
{
    struct banyan_arena *arena = &execution->work->arena;
    size_t count = execution->count, capacity = count == 0 ? EVENTS_FIRST : 2 * count;

    execution->events = grown(arena, execution->events, count, capacity, sizeof(*execution->events));
    execution->payloads = grown(arena, execution->payloads, count, capacity, sizeof(*execution->payloads));
    execution->types = grown(arena, execution->types, count, capacity, sizeof(*execution->types));
    execution->capacity = capacity;
}

static enum banyan_status add_event(struct execution *execution, const struct banyan_emit *event,
                                    struct banyan_error *err)
{
    const struct states *states = &execution->kind->states;
    struct work *work = execution->work;
    enum banyan_status status = emitter_check(states->domain, event, err);
    const struct state_type *type;
    void *payload;

    if (status != BANYAN_OK)
        return status;
    type = &states->types[event->type];
    banyan_buf_reset(&work->bytes);
    status = banyan_record_encode(type->record, event->payload, &work->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "event %.*s", (int)type->name.size, type->name.data);
        return status;
    }
    if (execution->count == execution->capacity)
        grow_events(execution);
    payload = banyan_arena_alloc(&work->arena, type->record->size);
    banyan_record_copy(type->record, payload, event->payload, &work->arena);
    execution->payloads[execution->count] = payload;
    execution->types[execution->count] = event->type;
    execution->events[execution->count] = (struct store_event){
        .id = aggregate_event_id(execution->command->id, execution->count),
        .stream = execution->stream,
        .type = type->name,
        .schema = type->version,
        .provenance = event->provenance,
        .at = event->at,
        .payload = banyan_arena_str(&work->arena, banyan_buf_str(&work->bytes)),
        .meta = execution->meta,
    };
    execution->count++;
    return BANYAN_OK;
}

static void take_event(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct execution *execution = (struct execution *)emitter; /* its first member */

    if (execution->status == BANYAN_OK)
        execution->status = add_event(execution, event, execution->err);
}

/* ---- one command ---- */

/* {"command":"<name>","id":"<uuid>","digest":"<of the fields>"}: who caused the event, and what makes a repeat. */
struct banyan_str aggregate_meta(const char *name, struct banyan_uuid id, struct banyan_str fields,
                                 struct banyan_arena *arena)
{
    static const char id_key[] = "\",\"id\":\"", digest_key[] = "\",\"digest\":\"", end[] = "\"}";
    uint64_t digest = XXH3_64bits(fields.data, fields.size);
    size_t size = strlen(name);
    char *text = banyan_arena_alloc(arena, META_BYTES_MAX + size), *at = text;

    at = stpcpy(at, "{\"command\":\"");
    memcpy(at, name, size); /* a domain's own name: nothing in it needs an escape */
    at = stpcpy(at + size, id_key);
    banyan_uuid_format(id, at);
    at = stpcpy(at + BANYAN_UUID_TEXT_SIZE - 1, digest_key);
    at = hex_put(at, (uint32_t)(digest >> 32));
    at = hex_put(at, (uint32_t)digest);
    at = stpcpy(at, end);
    return (struct banyan_str){text, (size_t)(at - text)};
}

static enum banyan_status prepare(struct execution *execution, struct banyan_error *err)
{
    const struct aggregate_command *command = execution->command;
    const struct aggregates *aggregates = execution->aggregates;
    const struct kind *kind = aggregate_kind(aggregates, command->category);
    const struct banyan_command_type *type = kind == NULL ? NULL : aggregate_command_type(kind, command->name);
    struct work *work = execution->work;
    enum banyan_status status;

    if (type == NULL)
        return aggregate_no_command(aggregates, command, err);
    execution->kind = kind;
    execution->decided = (struct banyan_command){
        .type = (unsigned)(type - kind->states.aggregate->commands),
        .key = command->key,
        .fields = command->fields,
        .now = os_clock_now(aggregates->options.clock),
    };
    status = aggregate_name_stream(kind, command->key, &work->arena, &execution->stream, err);
    if (status != BANYAN_OK)
        return status;
    banyan_buf_reset(&work->bytes);
    status = banyan_record_encode(type->record, command->fields, &work->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "command %s", type->name);
        return status;
    }
    execution->meta = aggregate_meta(type->name, command->id, banyan_buf_str(&work->bytes), &work->arena);
    return BANYAN_OK;
}

enum banyan_status aggregate_find_original(const struct aggregates *aggregates, struct work *work,
                                           const struct aggregate_original *original, bool *ret_found,
                                           struct aggregate_answer *ret, struct banyan_error *err)
{
    struct banyan_uuid id = original->id;
    struct store_reader *reader = work->reader;
    struct banyan_position first = {0};
    struct store_read_event read;
    enum banyan_status status = store_find(aggregates->options.store, aggregate_event_id(id, 0), &first, err);
    char text[BANYAN_UUID_TEXT_SIZE];

    *ret_found = false;
    if (status != BANYAN_OK || first.value == 0)
        return status;
    status = store_reader_seek(reader, first, err);
    if (status == BANYAN_OK)
        status = store_reader_next(reader, &read, err);
    if (status != BANYAN_OK)
        return status;
    if (!banyan_str_equal(read.event.stream, original->stream) || !banyan_str_equal(read.event.meta, original->meta)) {
        banyan_uuid_format(id, text);
        (void)banyan_error_set(err, BANYAN_DUPLICATE, "command id %s was used before, for another command", text);
        banyan_error_hint(err, "use a new id for a new command; repeat an old one unchanged");
        return BANYAN_DUPLICATE;
    }
    *ret = (struct aggregate_answer){.accepted = true, .repeated = true};
    do {
        ret->event_count++;
        ret->position = read.position;
        ret->version = read.version;
        status = read.ends_batch ? BANYAN_NOT_FOUND : store_reader_next(reader, &read, err);
    } while (status == BANYAN_OK && banyan_uuid_equal(read.event.id, aggregate_event_id(id, ret->event_count)));
    *ret_found = true;
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

/* What was submitted is part of the live state from now on. */
static void fold_emitted(struct execution *execution, struct banyan_position last)
{
    const struct banyan_aggregate *aggregate = execution->kind->states.aggregate;
    struct live *live = execution->live;

    /* Nothing can fail from here on: items of lists may be changed where they are. */
    memcpy(execution->work->state, live->state, aggregate->state->size);
    for (size_t i = 0; i < execution->count; i++)
        aggregate->evolve(execution->work->state, execution->types[i], execution->payloads[i], execution->events[i].at);
    aggregate_keep_state(execution->kind, execution->work, live);
    live->version += execution->count;
    live->position = last.value;
}

bool aggregate_holds(const struct aggregate_command *command, uint64_t version)
{
    switch (command->expect) {
    case STORE_EXPECT_VERSION:
        return version == command->version.value;
    case STORE_EXPECT_EXISTS:
        return version != 0;
    case STORE_EXPECT_ABSENT:
        return version == 0;
    default:
        return true;
    }
}

enum banyan_status aggregate_condition_failed(struct banyan_str stream, uint64_t version, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s is at version %" PRIu64 ", not as the command expects",
                           (int)stream.size, stream.data, version);
    banyan_error_hint(err, "read the state again and decide again");
    return BANYAN_CONFLICT;
}

/* How one try ended. */
enum outcome {
    OUTCOME_NONE = 0,
    OUTCOME_ANSWERED,
    OUTCOME_NOTHING, /* there is nothing to append */
    OUTCOME_BEHIND,  /* the state was not the newest */
    OUTCOME_REPEAT,  /* events of the command are there already */
};

static enum banyan_status append_emitted(struct execution *execution, enum outcome *ret_outcome,
                                         struct aggregate_answer *ret, struct banyan_error *err)
{
    struct live *live = execution->live;
    struct store_condition conditions[] = {{execution->stream, STORE_EXPECT_VERSION, {live->version}},
                                           execution->permit};
    struct store_append append = {
        .events = execution->events,
        .event_count = execution->count,
        .conditions = conditions,
        .condition_count = execution->permit.expect == STORE_EXPECT_NONE ? 1 : 2,
    };
    struct store_appended appended;
    struct banyan_error why;
    enum banyan_status status;

    banyan_error_clear(&why); /* not _INIT: zeros for all of its texts cost as much as the rest here */
    status = store_submit(execution->aggregates->options.store, &append, &appended, &why);
    if (status == BANYAN_CONFLICT) {
        *ret_outcome = OUTCOME_BEHIND;
        return BANYAN_OK;
    }
    if (status == BANYAN_DUPLICATE || (status == BANYAN_OK && appended.repeated)) {
        *ret_outcome = OUTCOME_REPEAT;
        return BANYAN_OK;
    }
    if (status != BANYAN_OK) {
        if (err != NULL)
            *err = why;
        return status;
    }
    fold_emitted(execution, appended.last);
    *ret = (struct aggregate_answer){
        .accepted = true, .event_count = execution->count, .version = {live->version}, .position = appended.last};
    *ret_outcome = OUTCOME_ANSWERED;
    return BANYAN_OK;
}

/* Decide on the live state, and append what comes out. */
static enum banyan_status try_once(struct execution *execution, enum outcome *ret_outcome,
                                   struct banyan_refusal *ret_refusal, struct aggregate_answer *ret,
                                   struct banyan_error *err)
{
    const struct banyan_aggregate *aggregate = execution->kind->states.aggregate;
    struct live *live = execution->live;

    execution->count = 0;
    *ret_refusal = (struct banyan_refusal){.code = NULL};
    *ret_outcome = OUTCOME_NOTHING;
    if (!aggregate_holds(execution->command, live->version))
        return BANYAN_OK;
    if (!aggregate->decide(live->state, live->version > 0, &execution->decided, &execution->emitter, ret_refusal)) {
        if (ret_refusal->code == NULL)
            ret_refusal->code = "refused";
        return BANYAN_OK;
    }
    if (execution->status != BANYAN_OK) {
        if (err != NULL)
            *err = *execution->err;
        return execution->status;
    }
    if (execution->count > 0 && live->version == 0 && !execution->command->new_key) {
        enum banyan_status status =
            aggregate_may_begin(execution->aggregates, execution->command->category, execution->command->key, err);

        if (status != BANYAN_OK)
            return status;
    }
    return execution->count == 0 ? BANYAN_OK : append_emitted(execution, ret_outcome, ret, err);
}

/* Nothing is to be appended, and the state is the newest. */
static enum banyan_status answer_nothing(const struct execution *execution, const struct banyan_refusal *refusal,
                                         struct banyan_arena *arena, struct aggregate_answer *ret,
                                         struct banyan_error *err)
{
    const struct live *live = execution->live;

    if (!aggregate_holds(execution->command, live->version))
        return aggregate_condition_failed(execution->stream, live->version, err);
    *ret = (struct aggregate_answer){
        .accepted = refusal->code == NULL,
        .version = {live->version},
        .position = {live->position},
        .code = refusal->code,
    };
    if (refusal->code != NULL) {
        ret->text = banyan_arena_str(arena, refusal->text.data == NULL ? BANYAN_STR("") : refusal->text);
        count_one(&execution->aggregates->stats.refused);
    }
    return BANYAN_OK;
}

static enum banyan_status find_original(struct execution *execution, bool *ret_found, struct aggregate_answer *ret,
                                        struct banyan_error *err)
{
    struct aggregate_original original = {execution->command->id, execution->stream, execution->meta};
    enum banyan_status status =
        aggregate_find_original(execution->aggregates, execution->work, &original, ret_found, ret, err);

    if (status == BANYAN_OK && *ret_found)
        count_one(&execution->aggregates->stats.repeated);
    return status;
}

/* May it be appended?  What was executed before is answered, whoever owns the aggregate now (*ret_found). */
static enum banyan_status permit(struct execution *execution, bool *ret_found, struct aggregate_answer *ret,
                                 struct banyan_error *err)
{
    const struct aggregate_command *command = execution->command;
    struct banyan_error why;
    enum banyan_status status;

    *ret_found = false;
    execution->permit.expect = STORE_EXPECT_NONE;
    if (execution->aggregates->options.permit.permit == NULL)
        return BANYAN_OK;
    banyan_error_clear(&why);
    status = aggregate_permit(execution->aggregates, command->category, command->key, command->new_key,
                              &execution->work->arena, &execution->permit, &why);
    if (status == BANYAN_OK)
        return BANYAN_OK;
    if (find_original(execution, ret_found, ret, NULL) == BANYAN_OK && *ret_found)
        return BANYAN_OK;
    if (err != NULL)
        *err = why;
    return status;
}

/* Until the state was the newest and the permit held, from the decision to the append. */
static enum banyan_status decide(struct execution *execution, struct banyan_arena *arena, struct aggregate_answer *ret,
                                 struct banyan_error *err)
{
    struct aggregates *aggregates = execution->aggregates;
    struct banyan_refusal refusal = {.code = NULL};
    struct live *live = execution->live;
    enum banyan_status status = BANYAN_OK;
    enum outcome outcome = OUTCOME_BEHIND;
    bool found = false;

    for (int tries = 0; tries < TRIES_MAX; tries++) {
        uint64_t version = live->version;

        if (outcome == OUTCOME_BEHIND)
            status = permit(execution, &found, ret, err);
        if (status == BANYAN_OK && !found)
            status = try_once(execution, &outcome, &refusal, ret, err);
        if (status != BANYAN_OK || found || outcome == OUTCOME_ANSWERED)
            return status;
        if (outcome != OUTCOME_BEHIND) {
            status = find_original(execution, &found, ret, err);
            if (status != BANYAN_OK || found)
                return status;
        }
        status = aggregate_catch_up(aggregates, execution->kind, execution->work, live, err);
        if (status != BANYAN_OK)
            return status;
        if (outcome == OUTCOME_NOTHING && version == live->version)
            return answer_nothing(execution, &refusal, arena, ret, err);
        count_one(&aggregates->stats.conflicts);
    }
    return banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s changed %d times while it was decided",
                            (int)execution->stream.size, execution->stream.data, TRIES_MAX);
}

/* The state that goes with the answer, into *ret_state*. */
static enum banyan_status give_state(struct execution *execution, const struct aggregate_answer *answer,
                                     struct banyan_arena *arena, void *ret_state, struct banyan_error *err)
{
    const struct kind *kind = execution->kind;
    struct live *live = execution->live;

    if (answer->repeated)
        return aggregate_state_at(kind, execution->work, execution->stream, answer->version, arena, ret_state, err);
    banyan_record_copy(kind->states.aggregate->state, ret_state, live->state, arena);
    return BANYAN_OK;
}

static enum banyan_status run(struct execution *execution, struct banyan_arena *arena, struct aggregate_answer *ret,
                              void *ret_state, struct banyan_error *err)
{
    struct aggregates *aggregates = execution->aggregates;
    struct live *live = execution->live;
    enum banyan_status status = BANYAN_OK;

    if (live->state == NULL)
        status = aggregate_catch_up(aggregates, execution->kind, execution->work, live, err);
    if (status != BANYAN_OK)
        return status;
    aggregate_save_snapshot(aggregates, execution->kind, execution->work, live);
    status = decide(execution, arena, ret, err);
    if (status == BANYAN_OK && ret_state != NULL)
        status = give_state(execution, ret, arena, ret_state, err);
    return status;
}

enum banyan_status aggregate_submit(struct aggregates *aggregates, const struct aggregate_command *command,
                                    struct banyan_arena *arena, struct aggregate_answer *ret, void *ret_state,
                                    struct banyan_error *err)
{
    struct work *work = aggregate_take_work(aggregates);
    struct banyan_error emit_err;
    struct execution execution = {
        .emitter = {take_event, &work->arena},
        .err = &emit_err,
        .aggregates = aggregates,
        .command = command,
        .work = work,
    };
    enum banyan_status status = prepare(&execution, err);

    banyan_error_clear(&emit_err);
    if (status == BANYAN_OK) {
        count_one(&aggregates->stats.commands);
        execution.live = live_take(&aggregates->cache, execution.stream);
        status = run(&execution, arena, ret, ret_state, err);
        live_give(&aggregates->cache, execution.live);
    }
    aggregate_give_work(aggregates, work);
    return status;
}

enum banyan_status aggregates_submit(struct aggregates *aggregates, const struct aggregate_command *command,
                                     struct banyan_arena *arena, struct aggregate_answer *ret, struct banyan_error *err)
{
    return aggregate_submit(aggregates, command, arena, ret, NULL, err);
}

enum banyan_status aggregates_execute(struct aggregates *aggregates, const struct aggregate_command *command,
                                      struct banyan_arena *arena, struct aggregate_answer *ret,
                                      struct banyan_error *err)
{
    struct aggregate_answer answer;
    enum banyan_status status = aggregates_submit(aggregates, command, arena, &answer, err);

    if (status == BANYAN_OK)
        status = store_wait(aggregates->options.store, answer.position, INT64_MAX, err);
    if (status == BANYAN_OK)
        *ret = answer;
    return status;
}
