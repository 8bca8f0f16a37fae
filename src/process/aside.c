/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is put aside, told in the stream "$process-<name>" as JSON:
 *
 *   ProcessAside {"key", "position", "error"}   the instance stops at this event (position 0: at a time-out)
 *   ProcessHeld  {"key", "position"}            an event that waits behind it
 *   ProcessDone  {"key", "position"}            it was understood after all: in one append with what followed from it
 *   ProcessMoved {"position"}                   nothing but the cursor
 *
 * Each carries the cursor, so that an event is either seen again or told here.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/alloc.h"
#include "os/random.h"
#include "process/process_int.h"

static struct store_event note(struct process *process, const char *type, struct banyan_str key, uint64_t position,
                               const char *error, struct banyan_arena *arena)
{
    struct banyan_buf text = BANYAN_BUF_INIT(STORE_META_BYTES_MAX);
    struct banyan_str payload;

    banyan_buf_printf(&text, "{\"position\":%" PRIu64, position);
    if (key.data != NULL) {
        banyan_buf_add_text(&text, ",\"key\":");
        banyan_buf_add_json(&text, key);
    }
    if (error != NULL) {
        banyan_buf_add_text(&text, ",\"error\":");
        banyan_buf_add_json(&text, banyan_str_of(error));
    }
    banyan_buf_add_char(&text, '}');
    payload = banyan_arena_str(arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return (struct store_event){
        .id = os_uuid_new(),
        .stream = process->aside_stream,
        .type = banyan_str_of(type),
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(process->options.clock),
        .payload = payload,
    };
}

static enum banyan_status append_note(struct process *process, const struct store_event *event,
                                      struct banyan_error *err)
{
    struct store_append append = {
        .events = event, .event_count = 1, .cursor = process_cursor(process, &process->arena)};
    struct store_appended appended;
    enum banyan_status status = store_submit(process->options.store, &append, &appended, err);

    if (status == BANYAN_OK)
        process_committed(process, &appended);
    return status;
}

enum banyan_status process_move(struct process *process, struct banyan_error *err)
{
    struct store_event event =
        note(process, "ProcessMoved", (struct banyan_str){NULL, 0}, process->passed, NULL, &process->arena);

    return append_note(process, &event, err);
}

struct store_event process_done_event(struct process *process, struct banyan_str key, uint64_t position,
                                      struct banyan_arena *arena)
{
    return note(process, "ProcessDone", key, position, NULL, arena);
}

enum banyan_status process_put_aside(struct process *process, struct banyan_str key, uint64_t position,
                                     const struct banyan_error *why, struct banyan_error *err)
{
    const char *error = why == NULL ? NULL : why->message;
    struct store_event event =
        note(process, why == NULL ? "ProcessHeld" : "ProcessAside", key, position, error, &process->arena);
    enum banyan_status status;

    if (process->instances.held_count >= PROCESS_ASIDE_MAX) {
        (void)banyan_error_set(err, BANYAN_LIMIT, "process %s has put %d events aside", process->options.process->name,
                               PROCESS_ASIDE_MAX);
        banyan_error_hint(err, "`banyan process status` says why; it goes on once they can be understood");
        return BANYAN_LIMIT;
    }
    status = append_note(process, &event, err);
    if (status != BANYAN_OK)
        return status;
    instances_put_aside(&process->instances, key, position, error);
    process->aside_changed = true;
    return BANYAN_OK;
}

/* ---- from the stream ---- */

static void take_note(struct process *process, const struct store_event *event)
{
    json_t *json = json_loadb(event->payload.data, event->payload.size, 0, NULL);
    const json_t *key = json_object_get(json, "key");
    uint64_t position = (uint64_t)json_integer_value(json_object_get(json, "position"));

    if (json_is_string(key)) {
        struct banyan_str text = {json_string_value(key), json_string_length(key)};

        if (banyan_str_equal(event->type, BANYAN_STR("ProcessDone")))
            instances_done(&process->instances, text, position);
        else
            instances_put_aside(&process->instances, text, position, json_string_value(json_object_get(json, "error")));
    }
    json_decref(json);
}

enum banyan_status process_load_aside(struct process *process, struct banyan_error *err)
{
    struct store_read_event event;
    enum banyan_status status =
        store_reader_stream(process->reader, process->aside_stream, (struct banyan_version){1}, err);

    while (status == BANYAN_OK) {
        status = store_reader_next(process->reader, &event, err);
        if (status == BANYAN_OK)
            take_note(process, &event.event);
    }
    if (status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err);
    return BANYAN_OK;
}

/* ---- again ---- */

static enum banyan_status react_again(struct process *process, struct banyan_str key, uint64_t position,
                                      struct banyan_error *err)
{
    struct trigger trigger = {.key = key, .position = position, .done = 1};
    struct store_read_event event;
    struct banyan_seen seen;
    enum reacted reacted;
    bool wanted = false;
    enum banyan_status status = store_reader_seek(process->reader, (struct banyan_position){position}, err);
    struct banyan_str found = key;

    if (status == BANYAN_OK)
        status = store_reader_next(process->reader, &event, err);
    if (status != BANYAN_OK)
        return status == BANYAN_NOT_FOUND
                   ? banyan_error_set(err, BANYAN_IO, "position %" PRIu64 " is not there", position)
                   : status;
    status = session_look(process, &event, &process->arena, &seen, &found, &wanted, err);
    if (status != BANYAN_OK)
        return status;
    if (!wanted || key.size == 0) {
        /* Now it is known whose it is, or that it is nobody's: that it waited here is over either way. */
        struct store_event done = process_done_event(process, key, position, &process->arena);

        if (wanted) {
            struct trigger late = {.key = found, .seen = &seen, .position = position};

            status = process_react(process, &late, &reacted, err);
        }
        return status == BANYAN_OK ? append_note(process, &done, err) : status;
    }
    trigger.seen = &seen;
    return process_react(process, &trigger, &reacted, err);
}

/* The events of one instance in their order, until one still cannot be understood. */
static enum banyan_status retry_instance(struct process *process, struct banyan_str key, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    struct instance *instance;
    size_t at = 0;

    while (status == BANYAN_OK && (instance = instances_find(&process->instances, key)) != NULL &&
           at < instance->aside_count) {
        uint64_t position = instance->aside[at];
        struct banyan_error why = BANYAN_ERROR_INIT;
        struct store_event done;

        banyan_arena_reset(&process->arena);
        if (position == 0) { /* the time-out: its timer still stands and will ring again */
            done = process_done_event(process, key, 0, &process->arena);
            status = append_note(process, &done, &why);
        } else {
            status = react_again(process, key, position, &why);
        }
        if (status == BANYAN_OK) {
            instances_done(&process->instances, key, position);
        } else if (process_is_poison(status)) {
            status = BANYAN_OK;
            if (key.size > 0)
                break;
            at++; /* events whose instance is not known do not wait for each other */
        } else {
            *err = why;
        }
    }
    return status;
}

enum banyan_status process_retry_aside(struct process *process, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct instance **aside;
    size_t count = instances_list_aside(&process->instances, SIZE_MAX, &arena, &aside);
    struct banyan_str *keys = banyan_arena_alloc(&arena, (count + 1) * sizeof(*keys));
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; i < count; i++)
        keys[i] = banyan_arena_str(&arena, instance_key(aside[i]));
    for (size_t i = 0; i < count && status == BANYAN_OK; i++)
        status = retry_instance(process, keys[i], err);
    process->aside_changed = true;
    banyan_arena_release(&arena);
    return status;
}
