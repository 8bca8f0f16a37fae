/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reaction: react() is called on copies of the states as they are submitted; whatever it emits and commands is one
 * decision (store/decision.h), decided anew when somebody was first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "process/process_int.h"
#include "store/decision.h"

enum {
    TRIES_MAX = 1000, /* decisions while others write to the same streams */
    META_BYTES_MAX = 16 * 1024,
};

struct banyan_reaction {
    struct process *process;
    const struct trigger *trigger;
    struct banyan_arena *arena;
    struct banyan_time now;
    struct decision decision; /* its first part is the process's own stream */
    uint64_t commands, refused;
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
static struct banyan_uuid reaction_event_id(void *context, size_t index)
{
    const struct banyan_reaction *reaction = context;
    const struct trigger *trigger = reaction->trigger;

    return trigger->seen != NULL
               ? process_event_id(reaction->process, "process", BANYAN_STR(""), trigger->position, index)
               : process_event_id(reaction->process, "wake", trigger->key, reaction->decision.parts[0]->version.value,
                                  index);
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

void banyan_react_emit(struct banyan_reaction *reaction, const struct banyan_emit *event)
{
    if (reaction->decision.status == BANYAN_OK)
        decision_emit(&reaction->decision, reaction->decision.parts[0], make_meta(reaction, NULL), event);
}

/* ---- commands ---- */

static enum banyan_status check_command(struct banyan_reaction *reaction, const struct decision_part *part,
                                        const struct banyan_process_command *command, struct banyan_error *err)
{
    const struct banyan_aggregate *aggregate = part->aggregate;
    struct banyan_buf *bytes = &reaction->decision.bytes;
    enum banyan_status status;

    if (aggregate->decide == NULL || command->type >= aggregate->command_count)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "aggregate %s has no command number %u", aggregate->category,
                                command->type);
    banyan_buf_reset(bytes);
    status = banyan_record_encode(aggregate->commands[command->type].record, command->fields, bytes, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "command %s", aggregate->commands[command->type].name);
    return status;
}

/* An aggregate that is the legacy application's takes no command here: the process is told, as of any refusal.  One
 * that is being handed back is waited for.  A process makes no mapped aggregate while both sides may: it has no key
 * that the other one cannot give out.  So what is not there fails the reaction, which is put aside with the reason, and
 * is tried again once it is there or its owner is another. */
static bool check_permit(struct banyan_reaction *reaction, struct decision_part *part, struct banyan_refusal *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = decision_permit(&reaction->decision, part, false, &err);

    if (status == BANYAN_CONFLICT && part->version.value == 0) {
        banyan_error_clear(&err);
        status =
            banyan_error_set(&err, BANYAN_NOT_FOUND,
                             "there is no %.*s, and a process cannot make one that the legacy application may make",
                             (int)part->stream.size, part->stream.data);
    }
    if (status == BANYAN_CONFLICT) {
        reaction->refused++;
        *ret = (struct banyan_refusal){"not-owned", banyan_arena_str(reaction->arena, banyan_str_of(err.message))};
        return false;
    }
    if (status == BANYAN_OK)
        return true;
    decision_fail(&reaction->decision, status, &err);
    *ret = (struct banyan_refusal){"failed", BANYAN_STR("the reaction failed")};
    return false;
}

bool banyan_react_command(struct banyan_reaction *reaction, const struct banyan_process_command *command,
                          struct banyan_refusal *ret)
{
    struct decision *decision = &reaction->decision;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct decision_part *part = decision_look(decision, banyan_str_of(command->category), command->key);
    enum banyan_status status = part == NULL ? BANYAN_OK : check_command(reaction, part, command, &err);

    if (part == NULL || status != BANYAN_OK) {
        if (status != BANYAN_OK)
            decision_fail(decision, status, &err);
        *ret = (struct banyan_refusal){"failed", BANYAN_STR("the reaction failed before")};
        return false;
    }
    struct banyan_command decided = {
        .type = command->type, .key = part->key, .fields = command->fields, .now = reaction->now};
    reaction->commands++;
    if (!check_permit(reaction, part, ret))
        return false;
    if (decision_command(decision, part, &decided, make_meta(reaction, part->aggregate->commands[command->type].name),
                         ret))
        return true;
    if (decision->status != BANYAN_OK)
        return true; /* it was accepted, and what it emitted cannot be appended: the reaction does not count */
    reaction->refused++;
    return false;
}

const void *banyan_react_state(struct banyan_reaction *reaction, const char *category, struct banyan_str key)
{
    const struct banyan_aggregate *aggregate =
        aggregates_find(reaction->process->options.aggregates, banyan_str_of(category));
    struct decision_part *part = decision_look(&reaction->decision, banyan_str_of(category), key);
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
    struct decision_append append = {
        .store = process->options.store,
        .cursor = process_cursor(process, reaction->arena),
    };
    struct store_event done;

    if (trigger->done) {
        done = process_done_event(process, trigger->key, trigger->position, reaction->arena);
        append.extra = &done;
        append.extra_count = 1;
    }
    return decision_submit(&reaction->decision, &append, ret, err);
}

static void count(struct process *process, const struct banyan_reaction *reaction)
{
    process->figures.commands += reaction->commands;
    process->figures.refused += reaction->refused;
    process->figures.events += reaction->decision.event_count;
    process->figures.reactions++;
    process->figures.wakes += reaction->trigger->seen == NULL;
}

/* One decision; CONFLICT: again. */
static enum banyan_status decide_once(struct banyan_reaction *reaction, enum reacted *ret, struct banyan_error *err)
{
    struct process *process = reaction->process;
    const struct banyan_process *definition = process->options.process;
    const struct trigger *trigger = reaction->trigger;
    struct decision *decision = &reaction->decision;
    struct decision_part *own = decision_look(decision, banyan_str_of(definition->aggregate->category), trigger->key);
    struct store_appended appended;
    enum banyan_status status;

    *ret = REACTED_NOTHING;
    if (own != NULL && trigger->seen == NULL && definition->wake(own->state).us != trigger->due_us) {
        session_set_timer(process, own->key, own->state, 0); /* it changed meanwhile: it has another time now */
        return BANYAN_OK;
    }
    if (own != NULL)
        definition->react(own->state, own->version.value > 0, own->key, trigger->seen, reaction->now, reaction);
    if (decision->status != BANYAN_OK) {
        *err = decision->err;
        return decision->status;
    }
    if (decision->event_count == 0 && !trigger->done)
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
    decision_learn(decision, &appended);
    count(process, reaction);
    if (own->emitted > 0)
        session_set_timer(process, own->key, own->state, appended.first.value + own->last_event);
    return BANYAN_OK;
}

/* An id of this reaction that is in the log with other content: it was appended, by an earlier decision. */
static bool was_appended(const struct banyan_reaction *reaction)
{
    struct banyan_position position = {0};

    return reaction->decision.event_count > 0 &&
           store_find(reaction->process->options.store, reaction->decision.events[0].id, &position, NULL) ==
               BANYAN_OK &&
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
        };

        decision_init(&reaction.decision, &(struct decision_options){
                                              .aggregates = process->options.aggregates,
                                              .domain = process->options.domain,
                                              .arena = &process->arena,
                                              .streams_max = PROCESS_REACTION_STREAMS_MAX,
                                              .events_max = PROCESS_REACTION_EVENTS_MAX,
                                              .what = "a reaction",
                                              .event_id = reaction_event_id,
                                              .context = &reaction,
                                          });
        banyan_error_clear(&why);
        status = decide_once(&reaction, ret, &why);
        if (status == BANYAN_DUPLICATE && was_appended(&reaction)) {
            process->figures.repeated++;
            *ret = REACTED_REPEATED;
            status = BANYAN_OK;
        }
        process->figures.conflicts += status == BANYAN_CONFLICT;
        decision_release(&reaction.decision);
    }
    if (status != BANYAN_OK && err != NULL)
        *err = why;
    return status;
}
