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
#include "store/aggregate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/buf.h"
#include "base/alloc.h"
#include "store/emitter.h"
#include "store/live.h"
#include "store/snapshot.h"
#include "store/state.h"

enum {
    TRIES_MAX = 64, /* decisions on one command while others write to its stream */
    EVENTS_FIRST = 4,
    WORK_BYTES_MAX = 1024 * 1024, /* memory that a spare workspace keeps */
    META_BYTES_MAX = 512,
    SNAPSHOT_EVENTS = 128, /* folded since the last snapshot before there is a new one */
    SPARE_MAX = 16,        /* workspaces; more are made when more commands are under way */
};

/* An aggregate that takes commands. */
struct kind {
    struct banyan_str category;
    uint64_t snapshots; /* snapshot_kind() */
    struct states states;
    size_t fields_max; /* of any command's struct */
};

/* What one command needs besides the live state.  Kept from command to command. */
struct work {
    struct banyan_arena arena;
    struct banyan_buf bytes; /* a payload, a record or a name being made */
    struct store_reader *reader;
    void *state;   /* room for any state */
    void *scratch; /* room for any payload */
};

struct aggregates {
    struct aggregates_options options;
    struct banyan_arena arena; /* as long as the aggregates */
    struct kind *kinds;
    size_t kind_count;
    size_t state_size_max, payload_size_max;
    struct live_cache cache;
    struct work *spare[SPARE_MAX]; /* each taken and given by one atomic exchange */
    struct aggregates_stats stats; /* atomic */
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

    struct store_event *events; /* emitted; in the arena, as are the payload structs */
    const void **payloads;
    unsigned *types;
    size_t count, capacity;
    enum banyan_status status; /* the first failure of an emit */
    struct banyan_error err;
};

static void count_one(uint64_t *counter)
{
    (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- life ---- */

struct aggregates *aggregates_new(const struct aggregates_options *options)
{
    struct aggregates *aggregates = alloc_zeroed(1, sizeof(*aggregates));
    const struct banyan_domain *domain = options->domain;

    aggregates->options = *options;
    if (aggregates->options.clock == NULL)
        aggregates->options.clock = os_clock_real();
    aggregates->kinds = banyan_arena_zalloc(&aggregates->arena, domain->aggregate_count * sizeof(struct kind));
    for (size_t i = 0; i < domain->aggregate_count; i++) {
        const struct banyan_aggregate *aggregate = &domain->aggregates[i];
        struct kind *kind = &aggregates->kinds[aggregates->kind_count++];

        kind->category = banyan_str_of(aggregate->category);
        kind->snapshots = snapshot_kind(aggregate);
        states_init(&kind->states, options->store, domain, aggregate, &aggregates->arena);
        if (aggregate->state->size > aggregates->state_size_max)
            aggregates->state_size_max = aggregate->state->size;
        if (kind->states.payload_size_max > aggregates->payload_size_max)
            aggregates->payload_size_max = kind->states.payload_size_max;
    }
    live_cache_init(&aggregates->cache, options->states_max == 0 ? AGGREGATES_STATES_DEFAULT : options->states_max);
    return aggregates;
}

static void work_free(struct work *work)
{
    if (work == NULL)
        return;
    banyan_arena_release(&work->arena);
    banyan_buf_release(&work->bytes);
    store_reader_close(work->reader);
    free(work->state);
    free(work->scratch);
    free(work);
}

void aggregates_free(struct aggregates *aggregates)
{
    if (aggregates == NULL)
        return;
    for (size_t i = 0; i < SPARE_MAX; i++)
        work_free(aggregates->spare[i]);
    live_cache_release(&aggregates->cache);
    for (size_t i = 0; i < aggregates->kind_count; i++)
        states_release(&aggregates->kinds[i].states);
    banyan_arena_release(&aggregates->arena);
    free(aggregates);
}

static struct work *take_work(struct aggregates *aggregates)
{
    struct work *work;

    for (size_t i = 0; i < SPARE_MAX; i++) {
        if (__atomic_load_n(&aggregates->spare[i], __ATOMIC_RELAXED) == NULL)
            continue;
        work = __atomic_exchange_n(&aggregates->spare[i], NULL, __ATOMIC_ACQUIRE);
        if (work != NULL)
            return work;
    }
    work = alloc_zeroed(1, sizeof(*work));
    work->bytes = (struct banyan_buf)BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    work->reader = store_reader_open(aggregates->options.store);
    work->state = alloc_zeroed(1, aggregates->state_size_max);
    work->scratch = alloc_zeroed(1, aggregates->payload_size_max);
    return work;
}

static void give_work(struct aggregates *aggregates, struct work *work)
{
    banyan_arena_reset_keeping(&work->arena, WORK_BYTES_MAX);
    for (size_t i = 0; i < SPARE_MAX && work != NULL; i++) {
        if (__atomic_load_n(&aggregates->spare[i], __ATOMIC_RELAXED) == NULL)
            work = __atomic_exchange_n(&aggregates->spare[i], work, __ATOMIC_ACQ_REL);
    }
    work_free(work);
}

static const struct kind *kind_of(const struct aggregates *aggregates, struct banyan_str category)
{
    for (size_t i = 0; i < aggregates->kind_count; i++) {
        if (banyan_str_equal(aggregates->kinds[i].category, category))
            return &aggregates->kinds[i];
    }
    return NULL;
}

/* The type of the command's name; NULL when there is none. */
static const struct banyan_command_type *type_of(const struct kind *kind, struct banyan_str name)
{
    const struct banyan_aggregate *aggregate = kind->states.aggregate;

    for (size_t i = 0; aggregate->decide != NULL && i < aggregate->command_count; i++) {
        if (banyan_str_equal(banyan_str_of(aggregate->commands[i].name), name))
            return &aggregate->commands[i];
    }
    return NULL;
}

const struct banyan_record *aggregates_record(const struct aggregates *aggregates, struct banyan_str category,
                                              struct banyan_str command)
{
    const struct kind *kind = kind_of(aggregates, category);
    const struct banyan_command_type *type = kind == NULL ? NULL : type_of(kind, command);

    return type == NULL ? NULL : type->record;
}

/* "<category>-<key>" in *arena*. */
static enum banyan_status name_stream(const struct kind *kind, struct banyan_str key, struct banyan_arena *arena,
                                      struct banyan_str *ret, struct banyan_error *err)
{
    size_t size = kind->category.size + 1 + key.size;
    char *name;

    if (key.size == 0)
        return banyan_error_set(err, BANYAN_INVALID, "a key of %.*s is empty", (int)kind->category.size,
                                kind->category.data);
    if (size > STORE_STREAM_NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the name of a stream has %zu bytes; at most %d are allowed", size,
                                STORE_STREAM_NAME_BYTES_MAX);
    name = banyan_arena_alloc(arena, size);
    memcpy(name, kind->category.data, kind->category.size);
    name[kind->category.size] = '-';
    memcpy(name + kind->category.size + 1, key.data, key.size);
    *ret = (struct banyan_str){name, size};
    return BANYAN_OK;
}

/* ---- states ---- */

/* work->state becomes the live state, its strings packed behind it. */
static void keep_state(const struct kind *kind, const struct work *work, struct live *live)
{
    const struct banyan_record *record = kind->states.aggregate->state;
    void *packed = alloc_resized(NULL, state_packed_size(record, work->state), 1);

    state_pack(record, work->state, packed);
    free(live->state);
    live->state = packed;
}

/* Read the event at *position* of version *version* of *stream*; false when it is another. */
static bool find_event(struct work *work, struct banyan_str stream, uint64_t version, uint64_t position,
                       struct banyan_uuid *ret)
{
    struct store_read_event read;

    if (store_reader_seek(work->reader, (struct banyan_position){position}, NULL) != BANYAN_OK ||
        store_reader_next(work->reader, &read, NULL) != BANYAN_OK || read.position.value != position ||
        read.version.value != version || !banyan_str_equal(read.event.stream, stream))
        return false;
    *ret = read.event.id;
    return true;
}

/* Begin with the snapshot of *stream* if there is one that fits; returns its version, or 0. */
static uint64_t load_snapshot(const struct aggregates *aggregates, const struct kind *kind, struct work *work,
                              struct banyan_str stream, const struct store_head *head)
{
    struct snapshot snapshot;
    struct banyan_uuid event;

    if (aggregates->options.snapshots == NULL || head->version.value < SNAPSHOT_EVENTS ||
        !snapshots_load(aggregates->options.snapshots, stream, kind->snapshots, &work->arena, &snapshot) ||
        snapshot.version > head->version.value || snapshot.position > head->position.value ||
        !find_event(work, stream, snapshot.version, snapshot.position, &event) ||
        !banyan_uuid_equal(event, snapshot.event) ||
        banyan_record_decode(kind->states.aggregate->state, snapshot.state, work->state, NULL) != BANYAN_OK)
        return 0;
    return snapshot.version;
}

/* Keep the state of a long stream, when all of it is durable.  A state that its record cannot carry is not kept. */
static void save_snapshot(struct aggregates *aggregates, const struct kind *kind, struct work *work, struct live *live)
{
    const struct banyan_record *record = kind->states.aggregate->state;
    struct banyan_str stream = {live->stream, live->stream_size};
    struct snapshot snapshot = {.version = live->version, .position = live->position};

    if (aggregates->options.snapshots == NULL || live->version < live->saved + SNAPSHOT_EVENTS ||
        live->position > store_durable(aggregates->options.store).value)
        return;
    live->saved = live->version;
    banyan_buf_reset(&work->bytes);
    if (banyan_record_encode(record, live->state, &work->bytes, NULL) != BANYAN_OK)
        return;
    snapshot.state = banyan_buf_str(&work->bytes);
    if (banyan_record_decode(record, snapshot.state, work->state, NULL) != BANYAN_OK ||
        banyan_record_diff(record, work->state, live->state) != 0 ||
        !find_event(work, stream, live->version, live->position, &snapshot.event))
        return;
    snapshots_save(aggregates->options.snapshots, stream, kind->snapshots, &snapshot);
}

/* Bring a live state to what is submitted now. */
static enum banyan_status catch_up(struct aggregates *aggregates, const struct kind *kind, struct work *work,
                                   struct live *live, struct banyan_error *err)
{
    const struct banyan_record *record = kind->states.aggregate->state;
    struct banyan_str stream = {live->stream, live->stream_size};
    struct store *store = aggregates->options.store;
    struct store_head head;
    struct banyan_version from = {live->version};
    enum banyan_status status = store_head(store, stream, &head, err);

    if (status != BANYAN_OK)
        return status;
    if (live->state != NULL && head.version.value == from.value)
        return BANYAN_OK;
    if (live->state == NULL || head.version.value < from.value) {
        banyan_record_init(record, work->state);
        status = store_wait(store, head.position, INT64_MAX, err);
        if (status != BANYAN_OK)
            return status;
        from.value = live->saved = load_snapshot(aggregates, kind, work, stream, &head);
        if (from.value == 0)
            banyan_record_init(record, work->state); /* a snapshot may have been looked at */
        count_one(&aggregates->stats.loads);
    } else {
        memcpy(work->state, live->state, record->size);
    }
    if (head.version.value > from.value) {
        status = store_wait(store, head.position, INT64_MAX, err);
        if (status == BANYAN_OK)
            status = states_fold_stream(&kind->states, work->state, work->scratch, work->reader, stream, from,
                                        head.version, &work->arena, err);
        if (status != BANYAN_OK)
            return status;
        (void)__atomic_fetch_add(&aggregates->stats.folded, head.version.value - from.value, __ATOMIC_RELAXED);
    }
    keep_state(kind, work, live);
    live->version = head.version.value;
    live->position = head.position.value;
    return BANYAN_OK;
}

/* ---- emitting ---- */

/* XXH3 in its 128 bits, as for captured events: a collision would be refused as DUPLICATE, it cannot lose an event. */
static struct banyan_uuid event_id(struct banyan_uuid command, uint64_t index)
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
        .id = event_id(execution->command->id, execution->count),
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
        execution->status = add_event(execution, event, &execution->err);
}

/* ---- one command ---- */

static char *put_hex(char *out, uint64_t value)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *out++ = "0123456789abcdef"[value >> shift & 15];
    return out;
}

/* {"command":"<name>","id":"<uuid>","digest":"<of the fields>"}: who caused the event, and what makes a repeat. */
static struct banyan_str make_meta(const struct execution *execution, struct banyan_str fields)
{
    static const char id_key[] = "\",\"id\":\"", digest_key[] = "\",\"digest\":\"", end[] = "\"}";
    const char *name = execution->kind->states.aggregate->commands[execution->decided.type].name;
    size_t size = strlen(name);
    char *text = banyan_arena_alloc(&execution->work->arena, META_BYTES_MAX + size), *at = text;

    at = stpcpy(at, "{\"command\":\"");
    memcpy(at, name, size); /* a domain's own name: nothing in it needs an escape */
    at = stpcpy(at + size, id_key);
    banyan_uuid_format(execution->command->id, at);
    at = stpcpy(at + BANYAN_UUID_TEXT_SIZE - 1, digest_key);
    at = put_hex(at, XXH3_64bits(fields.data, fields.size));
    at = stpcpy(at, end);
    return (struct banyan_str){text, (size_t)(at - text)};
}

static enum banyan_status prepare(struct execution *execution, struct banyan_error *err)
{
    const struct aggregate_command *command = execution->command;
    const struct aggregates *aggregates = execution->aggregates;
    const struct kind *kind = kind_of(aggregates, command->category);
    const struct banyan_command_type *type = kind == NULL ? NULL : type_of(kind, command->name);
    struct work *work = execution->work;
    enum banyan_status status;

    if (type == NULL) {
        (void)banyan_error_set(err, BANYAN_NOT_FOUND, "domain %s has no command %.*s of %.*s",
                               aggregates->options.domain->name, (int)command->name.size, command->name.data,
                               (int)command->category.size, command->category.data);
        return BANYAN_NOT_FOUND;
    }
    execution->kind = kind;
    execution->decided = (struct banyan_command){
        .type = (unsigned)(type - kind->states.aggregate->commands),
        .key = command->key,
        .fields = command->fields,
        .now = os_clock_now(aggregates->options.clock),
    };
    status = name_stream(kind, command->key, &work->arena, &execution->stream, err);
    if (status != BANYAN_OK)
        return status;
    banyan_buf_reset(&work->bytes);
    status = banyan_record_encode(type->record, command->fields, &work->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "command %s", type->name);
        return status;
    }
    execution->meta = make_meta(execution, banyan_buf_str(&work->bytes));
    return BANYAN_OK;
}

/* The answer of a command that was executed before; *ret_found false when it was not. */
static enum banyan_status find_original(struct execution *execution, bool *ret_found, struct aggregate_answer *ret,
                                        struct banyan_error *err)
{
    struct banyan_uuid id = execution->command->id;
    struct store_reader *reader = execution->work->reader;
    struct banyan_position first = {0};
    struct store_read_event read;
    enum banyan_status status = store_find(execution->aggregates->options.store, event_id(id, 0), &first, err);
    char text[BANYAN_UUID_TEXT_SIZE];

    *ret_found = false;
    if (status != BANYAN_OK || first.value == 0)
        return status;
    status = store_reader_seek(reader, first, err);
    if (status == BANYAN_OK)
        status = store_reader_next(reader, &read, err);
    if (status != BANYAN_OK)
        return status;
    if (!banyan_str_equal(read.event.stream, execution->stream) ||
        !banyan_str_equal(read.event.meta, execution->meta)) {
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
    } while (status == BANYAN_OK && banyan_uuid_equal(read.event.id, event_id(id, ret->event_count)));
    *ret_found = true;
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

/* What was submitted is part of the live state from now on. */
static void fold_emitted(struct execution *execution, struct banyan_position last)
{
    const struct banyan_aggregate *aggregate = execution->kind->states.aggregate;
    struct live *live = execution->live;

    memcpy(execution->work->state, live->state, aggregate->state->size);
    for (size_t i = 0; i < execution->count; i++)
        aggregate->evolve(execution->work->state, execution->types[i], execution->payloads[i], execution->events[i].at);
    keep_state(execution->kind, execution->work, live);
    live->version += execution->count;
    live->position = last.value;
}

static bool holds(const struct aggregate_command *command, uint64_t version)
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

static enum banyan_status condition_failed(const struct execution *execution, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s is at version %" PRIu64 ", not as the command expects",
                           (int)execution->stream.size, execution->stream.data, execution->live->version);
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
    struct store_condition condition = {execution->stream, STORE_EXPECT_VERSION, {live->version}};
    struct store_append append = {
        .events = execution->events,
        .event_count = execution->count,
        .conditions = &condition,
        .condition_count = 1,
    };
    struct store_appended appended;
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = store_submit(execution->aggregates->options.store, &append, &appended, &why);

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
    if (!holds(execution->command, live->version))
        return BANYAN_OK;
    if (!aggregate->decide(live->state, live->version > 0, &execution->decided, &execution->emitter, ret_refusal)) {
        if (ret_refusal->code == NULL)
            ret_refusal->code = "refused";
        return BANYAN_OK;
    }
    if (execution->status != BANYAN_OK) {
        if (err != NULL)
            *err = execution->err;
        return execution->status;
    }
    return execution->count == 0 ? BANYAN_OK : append_emitted(execution, ret_outcome, ret, err);
}

/* Nothing is to be appended, and the state is the newest. */
static enum banyan_status answer_nothing(const struct execution *execution, const struct banyan_refusal *refusal,
                                         struct banyan_arena *arena, struct aggregate_answer *ret,
                                         struct banyan_error *err)
{
    const struct live *live = execution->live;

    if (!holds(execution->command, live->version))
        return condition_failed(execution, err);
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

static enum banyan_status run(struct execution *execution, struct banyan_arena *arena, struct aggregate_answer *ret,
                              struct banyan_error *err)
{
    struct aggregates *aggregates = execution->aggregates;
    struct banyan_refusal refusal = {.code = NULL};
    struct live *live = execution->live;
    enum banyan_status status = BANYAN_OK;
    enum outcome outcome;
    bool found = false;

    if (live->state == NULL)
        status = catch_up(aggregates, execution->kind, execution->work, live, err);
    if (status == BANYAN_OK)
        save_snapshot(aggregates, execution->kind, execution->work, live);
    for (int tries = 0; status == BANYAN_OK && tries < TRIES_MAX; tries++) {
        uint64_t version = live->version;

        status = try_once(execution, &outcome, &refusal, ret, err);
        if (status != BANYAN_OK || outcome == OUTCOME_ANSWERED)
            return status;
        if (outcome != OUTCOME_BEHIND) {
            status = find_original(execution, &found, ret, err);
            if (status != BANYAN_OK || found) {
                count_one(&aggregates->stats.repeated);
                return status;
            }
        }
        status = catch_up(aggregates, execution->kind, execution->work, live, err);
        if (status == BANYAN_OK && outcome == OUTCOME_NOTHING && version == live->version)
            return answer_nothing(execution, &refusal, arena, ret, err);
        count_one(&aggregates->stats.conflicts);
    }
    if (status == BANYAN_OK)
        status = banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s changed %d times while it was decided",
                                  (int)execution->stream.size, execution->stream.data, TRIES_MAX);
    return status;
}

enum banyan_status aggregates_submit(struct aggregates *aggregates, const struct aggregate_command *command,
                                     struct banyan_arena *arena, struct aggregate_answer *ret, struct banyan_error *err)
{
    struct work *work = take_work(aggregates);
    struct execution execution = {
        .emitter = {take_event, &work->arena},
        .aggregates = aggregates,
        .command = command,
        .work = work,
    };
    enum banyan_status status = prepare(&execution, err);

    if (status == BANYAN_OK) {
        count_one(&aggregates->stats.commands);
        execution.live = live_take(&aggregates->cache, execution.stream);
        status = run(&execution, arena, ret, err);
        live_give(&aggregates->cache, execution.live);
    }
    give_work(aggregates, work);
    return status;
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

enum banyan_status aggregates_state(struct aggregates *aggregates, struct banyan_str category, struct banyan_str key,
                                    struct banyan_arena *arena, void *ret_state, struct banyan_version *ret_version,
                                    struct banyan_error *err)
{
    const struct kind *kind = kind_of(aggregates, category);
    struct banyan_position position = {0};
    struct banyan_version version = {0};
    struct banyan_str stream;
    struct work *work;
    struct live *live;
    enum banyan_status status;

    if (kind == NULL)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "domain %s has no aggregate %.*s",
                                aggregates->options.domain->name, (int)category.size, category.data);
    work = take_work(aggregates);
    status = name_stream(kind, key, &work->arena, &stream, err);
    if (status == BANYAN_OK) {
        live = live_take(&aggregates->cache, stream);
        status = catch_up(aggregates, kind, work, live, err);
        if (status == BANYAN_OK) {
            banyan_record_copy(kind->states.aggregate->state, ret_state, live->state, arena);
            position.value = live->position;
            version.value = live->version;
        }
        live_give(&aggregates->cache, live);
    }
    give_work(aggregates, work);
    if (status == BANYAN_OK)
        status = store_wait(aggregates->options.store, position, INT64_MAX, err);
    if (status == BANYAN_OK)
        *ret_version = version;
    return status;
}

void aggregates_stats(struct aggregates *aggregates, struct aggregates_stats *ret)
{
    const struct aggregates_stats *stats = &aggregates->stats;

    ret->commands = __atomic_load_n(&stats->commands, __ATOMIC_RELAXED);
    ret->refused = __atomic_load_n(&stats->refused, __ATOMIC_RELAXED);
    ret->repeated = __atomic_load_n(&stats->repeated, __ATOMIC_RELAXED);
    ret->conflicts = __atomic_load_n(&stats->conflicts, __ATOMIC_RELAXED);
    ret->loads = __atomic_load_n(&stats->loads, __ATOMIC_RELAXED);
    ret->folded = __atomic_load_n(&stats->folded, __ATOMIC_RELAXED);
    ret->states = live_count(&aggregates->cache);
}
