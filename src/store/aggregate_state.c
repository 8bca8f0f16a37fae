/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states behind commands: where they come from (the cache, a snapshot, the stream), and what work on them needs.
 *
 * A live state is all of its stream up to what was submitted when somebody looked last; a snapshot is saved only of
 * what is durable.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/aggregate_int.h"
#include "store/snapshot.h"

enum {
    WORK_BYTES_MAX = 1024 * 1024, /* memory that a spare workspace keeps */
    SNAPSHOT_EVENTS = 128,        /* folded since the last snapshot before there is a new one */
};

/* ---- life ---- */

static void add_kind(struct aggregates *aggregates, const struct banyan_aggregate *aggregate)
{
    struct kind *kind = &aggregates->kinds[aggregates->kind_count];

    if (aggregate_kind(aggregates, banyan_str_of(aggregate->category)) != NULL)
        return;
    aggregates->kind_count++;
    kind->category = banyan_str_of(aggregate->category);
    kind->snapshots = snapshot_kind(aggregate);
    states_init(&kind->states, aggregates->options.store, aggregates->options.domain, aggregate, &aggregates->arena);
    if (aggregate->state->size > aggregates->state_size_max)
        aggregates->state_size_max = aggregate->state->size;
    if (kind->states.payload_size_max > aggregates->payload_size_max)
        aggregates->payload_size_max = kind->states.payload_size_max;
}

struct aggregates *aggregates_new(const struct aggregates_options *options)
{
    struct aggregates *aggregates = alloc_zeroed(1, sizeof(*aggregates));
    const struct banyan_domain *domain = options->domain;
    size_t kinds_max = domain->aggregate_count + domain->process_count;

    aggregates->options = *options;
    if (aggregates->options.clock == NULL)
        aggregates->options.clock = os_clock_real();
    aggregates->kinds = banyan_arena_zalloc(&aggregates->arena, kinds_max * sizeof(struct kind));
    for (size_t i = 0; i < domain->aggregate_count; i++)
        add_kind(aggregates, &domain->aggregates[i]);
    for (size_t i = 0; i < domain->process_count; i++)
        add_kind(aggregates, domain->processes[i].aggregate);
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

struct work *aggregate_take_work(struct aggregates *aggregates)
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

void aggregate_give_work(struct aggregates *aggregates, struct work *work)
{
    banyan_arena_reset_keeping(&work->arena, WORK_BYTES_MAX);
    for (size_t i = 0; i < SPARE_MAX && work != NULL; i++) {
        if (__atomic_load_n(&aggregates->spare[i], __ATOMIC_RELAXED) == NULL)
            work = __atomic_exchange_n(&aggregates->spare[i], work, __ATOMIC_ACQ_REL);
    }
    work_free(work);
}

const struct kind *aggregate_kind(const struct aggregates *aggregates, struct banyan_str category)
{
    for (size_t i = 0; i < aggregates->kind_count; i++) {
        if (banyan_str_equal(aggregates->kinds[i].category, category))
            return &aggregates->kinds[i];
    }
    return NULL;
}

/* The type of the command's name; NULL when there is none. */
const struct banyan_command_type *aggregate_command_type(const struct kind *kind, struct banyan_str name)
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
    const struct kind *kind = aggregate_kind(aggregates, category);
    const struct banyan_command_type *type = kind == NULL ? NULL : aggregate_command_type(kind, command);

    return type == NULL ? NULL : type->record;
}

/* "<category>-<key>" in *arena*. */
enum banyan_status aggregate_name_stream(const struct kind *kind, struct banyan_str key, struct banyan_arena *arena,
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
void aggregate_keep_state(const struct kind *kind, const struct work *work, struct live *live)
{
    const struct banyan_record *record = kind->states.aggregate->state;
    void *packed = alloc_resized(NULL, banyan_record_packed_size(record, work->state), 1);

    banyan_record_pack(record, work->state, packed);
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
        banyan_record_decode_in(kind->states.aggregate->state, snapshot.state, &work->arena, work->state, NULL) !=
            BANYAN_OK)
        return 0;
    return snapshot.version;
}

/* Keep the state of a long stream, when all of it is durable.  A state that its record cannot carry is not kept. */
void aggregate_save_snapshot(struct aggregates *aggregates, const struct kind *kind, struct work *work,
                             struct live *live)
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
    if (banyan_record_decode_in(record, snapshot.state, &work->arena, work->state, NULL) != BANYAN_OK ||
        banyan_record_diff(record, work->state, live->state) != 0 ||
        !find_event(work, stream, live->version, live->position, &snapshot.event))
        return;
    snapshots_save(aggregates->options.snapshots, stream, kind->snapshots, &snapshot);
}

/* Bring a live state to what is submitted now. */
enum banyan_status aggregate_catch_up(struct aggregates *aggregates, const struct kind *kind, struct work *work,
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
        states_begin(&kind->states, work->state, live->state, &work->arena);
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
    aggregate_keep_state(kind, work, live);
    live->version = head.version.value;
    live->position = head.position.value;
    return BANYAN_OK;
}

enum banyan_status aggregate_state_at(const struct kind *kind, struct work *work, struct banyan_str stream,
                                      struct banyan_version version, struct banyan_arena *arena, void *ret_state,
                                      struct banyan_error *err)
{
    const struct banyan_record *record = kind->states.aggregate->state;
    enum banyan_status status = BANYAN_OK;

    banyan_record_init(record, work->state);
    if (version.value > 0)
        status = states_fold_stream(&kind->states, work->state, work->scratch, work->reader, stream,
                                    (struct banyan_version){0}, version, &work->arena, err);
    if (status == BANYAN_OK)
        banyan_record_copy(record, ret_state, work->state, arena);
    return status;
}

enum banyan_status aggregate_current(struct aggregates *aggregates, const struct kind *kind, struct banyan_str key,
                                     struct banyan_arena *arena, void *ret_state, struct banyan_version *ret_version,
                                     struct banyan_position *ret_position, struct banyan_error *err)
{
    struct work *work = aggregate_take_work(aggregates);
    struct banyan_str stream;
    struct live *live;
    enum banyan_status status = aggregate_name_stream(kind, key, &work->arena, &stream, err);

    if (status == BANYAN_OK) {
        live = live_take(&aggregates->cache, stream);
        status = aggregate_catch_up(aggregates, kind, work, live, err);
        if (status == BANYAN_OK) {
            banyan_record_copy(kind->states.aggregate->state, ret_state, live->state, arena);
            ret_position->value = live->position;
            ret_version->value = live->version;
        }
        live_give(&aggregates->cache, live);
    }
    aggregate_give_work(aggregates, work);
    return status;
}

enum banyan_status aggregate_permit(const struct aggregates *aggregates, struct banyan_str category,
                                    struct banyan_str key, bool creates, struct banyan_arena *arena,
                                    struct store_condition *ret, struct banyan_error *err)
{
    const struct aggregates_permit *permit = &aggregates->options.permit;

    *ret = (struct store_condition){.expect = STORE_EXPECT_NONE};
    if (permit->permit == NULL)
        return BANYAN_OK;
    return permit->permit(permit->context, category, key, creates, arena, ret, err);
}

enum banyan_status aggregate_may_begin(const struct aggregates *aggregates, struct banyan_str category,
                                       struct banyan_str key, struct banyan_error *err)
{
    const struct aggregates_permit *permit = &aggregates->options.permit;

    return permit->begins == NULL ? BANYAN_OK : permit->begins(permit->context, category, key, err);
}

enum banyan_status aggregate_no_command(const struct aggregates *aggregates, const struct aggregate_command *command,
                                        struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_NOT_FOUND, "domain %s has no command %.*s of %.*s",
                            aggregates->options.domain->name, (int)command->name.size, command->name.data,
                            (int)command->category.size, command->category.data);
}

static enum banyan_status no_aggregate(const struct aggregates *aggregates, struct banyan_str category,
                                       struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_NOT_FOUND, "domain %s has no aggregate %.*s", aggregates->options.domain->name,
                            (int)category.size, category.data);
}

enum banyan_status aggregates_state(struct aggregates *aggregates, struct banyan_str category, struct banyan_str key,
                                    struct banyan_arena *arena, void *ret_state, struct banyan_version *ret_version,
                                    struct banyan_error *err)
{
    const struct kind *kind = aggregate_kind(aggregates, category);
    struct banyan_position position = {0};
    struct banyan_version version = {0};
    enum banyan_status status;

    if (kind == NULL)
        return no_aggregate(aggregates, category, err);
    status = aggregate_current(aggregates, kind, key, arena, ret_state, &version, &position, err);
    if (status == BANYAN_OK)
        status = store_wait(aggregates->options.store, position, INT64_MAX, err);
    if (status == BANYAN_OK)
        *ret_version = version;
    return status;
}

enum banyan_status aggregates_submitted(struct aggregates *aggregates, struct banyan_str category,
                                        struct banyan_str key, struct banyan_arena *arena, void *ret_state,
                                        struct banyan_version *ret_version, struct banyan_error *err)
{
    const struct kind *kind = aggregate_kind(aggregates, category);
    struct banyan_position position;

    if (kind == NULL)
        return no_aggregate(aggregates, category, err);
    return aggregate_current(aggregates, kind, key, arena, ret_state, ret_version, &position, err);
}

const struct banyan_aggregate *aggregates_find(const struct aggregates *aggregates, struct banyan_str category)
{
    const struct kind *kind = aggregate_kind(aggregates, category);

    return kind == NULL ? NULL : kind->states.aggregate;
}

void aggregates_learn(struct aggregates *aggregates, const struct aggregate_learnt *learnt)
{
    const struct kind *kind = aggregate_kind(aggregates, learnt->category);
    struct work *work;
    struct banyan_str stream;
    struct live *live;

    if (kind == NULL)
        return;
    work = aggregate_take_work(aggregates);
    if (aggregate_name_stream(kind, learnt->key, &work->arena, &stream, NULL) == BANYAN_OK) {
        live = live_take(&aggregates->cache, stream);
        if (live->version == learnt->before.value && (live->state != NULL || live->version == 0)) {
            memcpy(work->state, learnt->state, kind->states.aggregate->state->size);
            aggregate_keep_state(kind, work, live);
            live->version = learnt->after.value;
            live->position = learnt->position.value;
        }
        live_give(&aggregates->cache, live);
    }
    aggregate_give_work(aggregates, work);
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
