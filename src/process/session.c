/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: from the cursor on, until a failure or the end.  All that it knows is read anew at its beginning, so that
 * a failure whose outcome is not known is no special case: what is in the log counts.
 *
 *   open:  cursor ─▶ what is aside ─▶ timers ─▶ subscription
 *   step:  retries asked for ─▶ time-outs that are due ─▶ one event, or a wait for one
 *
 * Timers are folded from the process's streams.  An instance with a timer has its last event at or behind timers_from,
 * which the cursor carries: what is older needs no look.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "process/process_int.h"

enum {
    WAIT_US = 100 * 1000,             /* how late a stop or a moved clock may be seen */
    WAKES_MAX = 64,                   /* time-outs between two events */
    WAKE_AGAIN_US = 10 * 1000 * 1000, /* a time-out that changed nothing */
    MOVE_EVENTS = 4096,               /* seen without an append before the cursor is written alone */
    MOVE_POSITIONS = 1024 * 1024,     /* the same for events of others */
    OLDEST_EVERY = 1024,              /* appends between two looks for the oldest timer */
    ARENA_BYTES_KEPT = 1024 * 1024,
};

/* ---- timers ---- */

void session_set_timer(struct process *process, struct banyan_str key, const void *state, uint64_t position)
{
    const struct banyan_process *definition = process->options.process;
    int64_t asked_us = definition->wake == NULL ? BANYAN_TIME_NULL : definition->wake(state).us;
    int64_t now_us = os_clock_now(process->options.clock).us, wake_us = asked_us;
    const struct instance *known = instances_find(&process->instances, key);

    if (known != NULL && asked_us != BANYAN_TIME_NULL && known->asked_us == asked_us)
        wake_us = known->wake_us <= now_us ? now_us + WAKE_AGAIN_US : known->wake_us;
    if (position == 0)
        position = known == NULL ? process->timers_from : known->position;
    instances_wake_at(&process->instances, key, wake_us, asked_us, position);
}

static struct banyan_str key_of_stream(const struct process *process, struct banyan_str stream)
{
    size_t prefix = strlen(process->options.process->aggregate->category) + 1;

    return stream.size <= prefix ? BANYAN_STR("") : (struct banyan_str){stream.data + prefix, stream.size - prefix};
}

/* The last event of a stream of ours: what does its instance wait for? */
static enum banyan_status look_at_timer(struct process *process, const struct store_read_event *event,
                                        struct banyan_error *err)
{
    const struct banyan_aggregate *aggregate = process->options.process->aggregate;
    struct banyan_str key;
    struct banyan_version version;
    struct store_head head;
    void *state;
    enum banyan_status status = store_head(process->options.store, event->event.stream, &head, err);

    if (status != BANYAN_OK || head.version.value != event->version.value)
        return status;
    banyan_arena_reset_keeping(&process->arena, ARENA_BYTES_KEPT);
    state = banyan_arena_alloc(&process->arena, aggregate->state->size);
    key = banyan_arena_str(&process->arena, key_of_stream(process, event->event.stream));
    status = aggregates_submitted(process->options.aggregates, banyan_str_of(aggregate->category), key, &process->arena,
                                  state, &version, err);
    if (status == BANYAN_OK)
        session_set_timer(process, key, state, event->position.value);
    return status;
}

static enum banyan_status load_timers(struct process *process, struct banyan_error *err)
{
    struct banyan_str category = banyan_str_of(process->options.process->aggregate->category);
    struct store_filter filter = {.categories = &category, .category_count = 1};
    struct store_reader *reader = store_reader_open(process->options.store);
    struct store_read_event event;
    enum banyan_status status;

    store_reader_filter(reader, &filter);
    status = store_reader_seek(reader, (struct banyan_position){process->timers_from}, err);
    while (status == BANYAN_OK) {
        struct banyan_error why = BANYAN_ERROR_INIT;

        status = store_reader_next(reader, &event, err);
        if (status != BANYAN_OK)
            break;
        if (os_stop_requested(process->options.stop)) {
            status = banyan_error_set(err, BANYAN_STOPPED, "stopped while timers were read");
            break;
        }
        status = look_at_timer(process, &event, &why);
        if (process_is_poison(status))
            status = BANYAN_OK; /* its instance is put aside when an event comes to it */
        else if (status != BANYAN_OK)
            *err = why;
    }
    store_reader_close(reader);
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

/* ---- open and close ---- */

static enum banyan_status load_cursor(struct process *process, struct banyan_error *err)
{
    struct banyan_str value = store_cursor(process->options.store, process->cursor_name, &process->arena);
    uint64_t passed = 0, from = 0;
    unsigned version = 0;

    process->committed = 0;
    process->timers_from = 1;
    process->passed = process->begin_at_end ? store_durable(process->options.store).value : 0;
    if (value.data == NULL)
        return BANYAN_OK;
    if (sscanf(value.data, "%" SCNu64 " %" SCNu64 " %u", &passed, &from, &version) != 3 ||
        passed > store_durable(process->options.store).value || from == 0 || from > passed + 1)
        return banyan_error_set(err, BANYAN_CORRUPT, "cursor %.*s holds \"%.*s\", which is no place in this log",
                                (int)process->cursor_name.size, process->cursor_name.data, (int)value.size, value.data);
    process->passed = process->committed = passed;
    if (version == process->options.process->aggregate->version)
        process->timers_from = from;
    return BANYAN_OK;
}

static enum banyan_status subscribe(struct process *process, struct banyan_error *err)
{
    const struct banyan_process *definition = process->options.process;
    const struct banyan_domain *domain = process->options.domain;
    struct store_filter filter = {.type_count = definition->types == NULL ? 0 : definition->type_count};
    struct banyan_str *types = banyan_arena_alloc(&process->arena, (filter.type_count + 1) * sizeof(*types));
    struct banyan_str *categories;
    size_t count = 0;

    while (definition->categories[count] != NULL)
        count++;
    categories = banyan_arena_alloc(&process->arena, count * sizeof(*categories));
    for (size_t i = 0; i < filter.type_count; i++)
        types[i] = banyan_str_of(domain->events[definition->types[i]].name);
    for (size_t i = 0; i < count; i++)
        categories[i] = banyan_str_of(definition->categories[i]);
    filter.types = types;
    filter.categories = categories;
    filter.category_count = count;
    return store_subscription_open(
        process->options.store,
        &(struct store_subscribe){.after = {process->passed}, .since = {BANYAN_TIME_NULL}, .filter = &filter},
        &process->subscription, err);
}

enum banyan_status session_open(struct process *process, struct banyan_error *err)
{
    struct store *store = process->options.store;
    enum banyan_status status = store_wait(store, store_tail(store), INT64_MAX, err);

    process->reader = store_reader_open(store);
    process->live = false;
    process->unmoved = process->since_oldest = 0;
    process->aside_changed = true;
    if (status == BANYAN_OK)
        status = load_cursor(process, err);
    if (status == BANYAN_OK)
        status = process_load_aside(process, err);
    if (status == BANYAN_OK && process->options.process->wake != NULL)
        status = load_timers(process, err);
    if (status == BANYAN_OK)
        status = subscribe(process, err);
    if (status == BANYAN_OK && process->committed == 0 && process->passed > 0)
        status = process_move(process, err); /* where history ends is decided once */
    return status;
}

void session_close(struct process *process)
{
    store_subscription_close(process->subscription);
    store_reader_close(process->reader);
    process->subscription = NULL;
    process->reader = NULL;
    instances_release(&process->instances);
    banyan_arena_reset_keeping(&process->arena, ARENA_BYTES_KEPT);
}

/* ---- one event ---- */

/* The number that a stream is named by; 0 where it has another name. */
static int64_t number_of(struct banyan_str stream)
{
    const char *dash = memchr(stream.data, '-', stream.size);
    const char *end = stream.data + stream.size;
    bool negative;
    uint64_t value = 0;

    if (dash == NULL || ++dash == end)
        return 0;
    negative = *dash == '-';
    for (const char *at = dash + negative; at < end; at++) {
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return 0;
    }
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return 0;
    return negative ? (int64_t)(0 - value) : (int64_t)value;
}

enum banyan_status session_look(struct process *process, const struct store_read_event *event,
                                struct banyan_arena *arena, struct banyan_seen *ret_seen, struct banyan_str *ret_key,
                                bool *ret_wanted, struct banyan_error *err)
{
    const struct store_event *stored = &event->event;
    const struct state_type *type = states_type(&process->states, stored->type);
    enum banyan_status status;

    if (type == NULL) {
        (void)banyan_error_set(err, BANYAN_INVALID, "event %.*s is not one of domain %s", (int)stored->type.size,
                               stored->type.data, process->options.domain->name);
        banyan_error_hint(err, "run the build of the domain that wrote it, or a newer one that knows the event");
        return BANYAN_INVALID;
    }
    *ret_seen = (struct banyan_seen){
        .type = (unsigned)(type - process->states.types),
        .payload = process->payload,
        .stream = banyan_arena_str(arena, stored->stream),
        .key = number_of(stored->stream),
        .position = event->position,
        .version = event->version,
        .at = stored->at,
        .provenance = stored->provenance,
    };
    status = store_decode(process->states.decoder, ret_seen->type, stored->schema,
                          banyan_arena_str(arena, stored->payload), arena, process->payload, err);
    if (status != BANYAN_OK)
        return status;
    *ret_wanted = process->options.process->key(ret_seen, arena, ret_key);
    if (*ret_wanted && ret_key->size == 0)
        return banyan_error_set(err, BANYAN_INVALID, "the process gives an empty key to event %" PRIu64,
                                event->position.value);
    return BANYAN_OK;
}

static enum banyan_status handle_event(struct process *process, const struct store_read_event *event,
                                       struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct banyan_str key = BANYAN_STR("");
    struct banyan_seen seen;
    const struct instance *instance;
    enum reacted reacted = REACTED_NOTHING;
    uint64_t passed = process->passed;
    bool wanted = false;
    enum banyan_status status;

    banyan_arena_reset_keeping(&process->arena, ARENA_BYTES_KEPT);
    process->passed = event->position.value;
    process->figures.seen++;
    process->unmoved++;
    status = session_look(process, event, &process->arena, &seen, &key, &wanted, &why);
    if (status != BANYAN_OK && !wanted)
        key = BANYAN_STR("");
    instance = status == BANYAN_OK && wanted ? instances_find(&process->instances, key) : NULL;
    if (instance != NULL && instance->aside_count > 0)
        return process_put_aside(process, key, event->position.value, NULL, err);
    if (status == BANYAN_OK && wanted)
        status = process_react(process, &(struct trigger){.key = key, .seen = &seen, .position = event->position.value},
                               &reacted, &why);
    if (process_is_poison(status))
        return process_put_aside(process, key, event->position.value, &why, err);
    if (status != BANYAN_OK) {
        process->passed = passed; /* whoever waits for the event must not be told that it was seen */
        *err = why;
    }
    return status;
}

/* ---- time-outs ---- */

static enum banyan_status wake_one(struct process *process, const struct instance *instance, int64_t now_us,
                                   struct banyan_error *err)
{
    struct trigger trigger = {.due_us = instance->asked_us};
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum reacted reacted = REACTED_NOTHING;
    enum banyan_status status = BANYAN_OK;

    banyan_arena_reset_keeping(&process->arena, ARENA_BYTES_KEPT);
    trigger.key = banyan_arena_str(&process->arena, instance_key(instance));
    if (instance->aside_count == 0)
        status = process_react(process, &trigger, &reacted, &why);
    if (process_is_poison(status)) {
        status = process_put_aside(process, trigger.key, 0, &why, err);
    } else if (status != BANYAN_OK) {
        *err = why;
    }
    instance = instances_find(&process->instances, trigger.key);
    if (status == BANYAN_OK && instance != NULL && instance->wake_us <= now_us && instance->heap_at >= 0)
        instances_wake_at(&process->instances, trigger.key, now_us + WAKE_AGAIN_US, instance->asked_us,
                          instance->position);
    return status;
}

static enum banyan_status wake_due(struct process *process, int64_t *ret_wait_us, struct banyan_error *err)
{
    const struct instance *first;
    enum banyan_status status = BANYAN_OK;
    int64_t now_us = os_clock_now(process->options.clock).us;

    *ret_wait_us = WAIT_US;
    for (int i = 0; i < WAKES_MAX && status == BANYAN_OK; i++) {
        first = instances_first(&process->instances);
        if (first == NULL)
            return BANYAN_OK;
        if (first->wake_us > now_us) {
            if (first->wake_us - now_us < WAIT_US)
                *ret_wait_us = first->wake_us - now_us;
            return BANYAN_OK;
        }
        status = wake_one(process, first, now_us, err);
    }
    *ret_wait_us = 0; /* more are due: an event in between, if there is one */
    return status;
}

/* ---- the round ---- */

/* Asked for now and then only: it looks at every timer. */
static void look_for_oldest(struct process *process)
{
    if (process->since_oldest < OLDEST_EVERY && process->instances.heap_count > 0)
        return;
    process->since_oldest = 0;
    process->timers_from = instances_oldest(&process->instances, process->passed + 1);
}

enum banyan_status session_step(struct process *process, int64_t *ret_wait_us, struct banyan_error *err)
{
    struct store_subscription_item item;
    enum banyan_status status = wake_due(process, ret_wait_us, err);

    if (status == BANYAN_OK)
        status = store_subscription_next(process->subscription, 0, &item, err);
    if (status == BANYAN_OK && item.kind == STORE_SUBSCRIPTION_EVENT) {
        status = handle_event(process, &item.event, err);
        *ret_wait_us = 0;
    } else if (status == BANYAN_OK || status == BANYAN_TIMEOUT) {
        process->live |= status == BANYAN_OK;
        process->passed = store_subscription_position(process->subscription).value;
        status = BANYAN_OK;
    }
    if (status != BANYAN_OK)
        return status;
    look_for_oldest(process);
    if (process->unmoved >= MOVE_EVENTS || process->passed - process->committed >= MOVE_POSITIONS)
        status = process_move(process, err);
    return status;
}

enum banyan_status session_wait(struct process *process, int64_t wait_us, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status =
        store_wait(process->options.store, (struct banyan_position){process->passed + 1}, wait_us, &why);

    if (status == BANYAN_TIMEOUT)
        return BANYAN_OK;
    if (status != BANYAN_OK)
        *err = why;
    return status;
}
