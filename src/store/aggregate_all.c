/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several commands as one append (aggregates_submit_all()): decided one after the other on copies of the states
 * (decision.h), again when somebody was first.
 *
 * A repeat is known by the first command that left events; that the others belong to the same set follows, as the
 * append was atomic: those without events had nothing to do then.
 */
#include <stdlib.h>
#include <string.h>

#include "store/aggregate_int.h"
#include "store/decision.h"

enum {
    TRIES_MAX = 1000, /* decisions while others write to the same streams */
    COMMANDS_MAX = 1000,
    EVENTS_MAX = 10000,
};

/* One command of the set. */
struct member {
    const struct aggregate_command *command;
    const struct kind *kind;
    unsigned type;
    struct banyan_str stream, meta;
    struct decision_part *part; /* NULL: not looked at, as one before it was refused */
    size_t first_event;         /* of the decision */
    size_t event_count;
};

struct set {
    struct aggregates *aggregates;
    struct member *members;
    size_t count;
    size_t deciding; /* the member that emits now */
    size_t refused;  /* the member that was; count: none */
    struct banyan_refusal refusal;
    struct work *work;
    struct banyan_arena *arena;
};

static struct banyan_uuid event_id(void *context, size_t index)
{
    const struct set *set = context;
    const struct member *member = &set->members[set->deciding];

    return aggregate_event_id(member->command->id, index - member->first_event);
}

static enum banyan_status prepare(struct set *set, struct member *member, struct banyan_error *err)
{
    const struct aggregate_command *command = member->command;
    const struct kind *kind = aggregate_kind(set->aggregates, command->category);
    const struct banyan_command_type *type = kind == NULL ? NULL : aggregate_command_type(kind, command->name);
    enum banyan_status status;

    if (type == NULL)
        return aggregate_no_command(set->aggregates, command, err);
    for (const struct member *other = set->members; other < member; other++) {
        if (banyan_uuid_equal(other->command->id, command->id))
            return banyan_error_set(err, BANYAN_INVALID, "two commands of a set have the same id");
    }
    member->kind = kind;
    member->type = (unsigned)(type - kind->states.aggregate->commands);
    status = aggregate_name_stream(kind, command->key, set->arena, &member->stream, err);
    if (status != BANYAN_OK)
        return status;
    banyan_buf_reset(&set->work->bytes);
    status = banyan_record_encode(type->record, command->fields, &set->work->bytes, err);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "command %s", type->name);
        return status;
    }
    member->meta = aggregate_meta(type->name, command->id, banyan_buf_str(&set->work->bytes), set->arena);
    return BANYAN_OK;
}

/* ---- repeats ---- */

static enum banyan_status give_state_then(struct set *set, const struct member *member,
                                          const struct aggregate_answer *answer, void *ret_state,
                                          struct banyan_error *err)
{
    return ret_state == NULL ? BANYAN_OK
                             : aggregate_state_at(member->kind, set->work, member->stream, answer->version, set->arena,
                                                  ret_state, err);
}

/* It had nothing to do then: its stream is told as it is now. */
static enum banyan_status answer_idle(struct set *set, const struct member *member, struct aggregate_answer *ret,
                                      void *ret_state, struct banyan_error *err)
{
    const struct banyan_record *record = member->kind->states.aggregate->state;
    void *state = ret_state != NULL ? ret_state : banyan_arena_alloc(set->arena, record->size);

    *ret = (struct aggregate_answer){.accepted = true, .repeated = true};
    return aggregate_current(set->aggregates, member->kind, member->command->key, set->arena, state, &ret->version,
                             &ret->position, err);
}

static enum banyan_status find_originals(struct set *set, bool *ret_found, struct aggregate_answer *ret,
                                         void *const *ret_states, struct banyan_error *err)
{
    bool *found = banyan_arena_zalloc(set->arena, set->count);
    enum banyan_status status = BANYAN_OK;

    *ret_found = false;
    for (size_t i = 0; status == BANYAN_OK && i < set->count; i++) {
        const struct member *member = &set->members[i];
        struct aggregate_original original = {member->command->id, member->stream, member->meta};

        status = aggregate_find_original(set->aggregates, set->work, &original, &found[i], &ret[i], err);
        *ret_found = *ret_found || (status == BANYAN_OK && found[i]);
    }
    for (size_t i = 0; status == BANYAN_OK && *ret_found && i < set->count; i++) {
        const struct member *member = &set->members[i];
        void *state = ret_states == NULL ? NULL : ret_states[i];

        status = found[i] ? give_state_then(set, member, &ret[i], state, err)
                          : answer_idle(set, member, &ret[i], state, err);
    }
    if (status == BANYAN_OK && *ret_found)
        count_one(&set->aggregates->stats.repeated);
    return status;
}

/* ---- deciding ---- */

/* OK also when it was refused. */
static enum banyan_status decide_member(struct set *set, struct decision *decision, size_t index,
                                        struct banyan_error *err)
{
    struct member *member = &set->members[index];
    const struct aggregate_command *command = member->command;
    struct banyan_command decided = {
        .type = member->type,
        .key = command->key,
        .fields = command->fields,
        .now = os_clock_now(set->aggregates->options.clock),
    };
    enum banyan_status status;

    member->part = decision_look(decision, command->category, command->key);
    if (member->part == NULL) {
        if (err != NULL)
            *err = decision->err;
        return decision->status;
    }
    if (!aggregate_holds(command, member->part->version.value + member->part->emitted))
        return aggregate_condition_failed(member->stream, member->part->version.value + member->part->emitted, err);
    status = decision_permit(decision, member->part, command->new_key, err);
    if (status != BANYAN_OK)
        return status;
    set->deciding = index;
    member->first_event = decision->event_count;
    if (!decision_command(decision, member->part, &decided, member->meta, &set->refusal) &&
        decision->status == BANYAN_OK)
        set->refused = index;
    member->event_count = decision->event_count - member->first_event;
    if (decision->status != BANYAN_OK && err != NULL)
        *err = decision->err;
    return decision->status;
}

static void give_states(const struct set *set, void *const *ret_states)
{
    for (size_t i = 0; ret_states != NULL && i < set->count; i++) {
        const struct member *member = &set->members[i];
        const struct banyan_record *record = member->kind->states.aggregate->state;

        if (member->part != NULL)
            banyan_record_copy(record, ret_states[i], member->part->state, set->arena);
        else
            banyan_record_init(record, ret_states[i]);
    }
}

/* Nothing was appended: one was refused, or there was nothing to do. */
static void answer_nothing(const struct set *set, struct aggregate_answer *ret)
{
    bool accepted = set->refused == set->count;

    for (size_t i = 0; i < set->count; i++) {
        const struct decision_part *part = set->members[i].part;

        ret[i] = (struct aggregate_answer){.accepted = accepted};
        if (part != NULL) {
            ret[i].version = part->version;
            ret[i].position = part->position;
        }
    }
    if (accepted)
        return;
    ret[set->refused].code = set->refusal.code;
    ret[set->refused].text = banyan_arena_str(set->arena, set->refusal.text);
    count_one(&set->aggregates->stats.refused);
}

static void answer_appended(const struct set *set, const struct store_appended *appended, struct aggregate_answer *ret)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct member *member = &set->members[i];
        const struct decision_part *part = member->part;

        ret[i] = (struct aggregate_answer){
            .accepted = true,
            .event_count = member->event_count,
            .version = {part->version.value + part->emitted},
            .position = part->emitted == 0 ? part->position
                                           : (struct banyan_position){appended->first.value + part->last_event},
        };
    }
}

enum outcome {
    OUTCOME_NONE = 0,
    OUTCOME_ANSWERED,
    OUTCOME_NOTHING, /* to append: unless it is a repeat, the answers are there */
    OUTCOME_BEHIND,
    OUTCOME_REPEAT,
};

static enum banyan_status try_once(struct set *set, struct decision *decision, enum outcome *ret_outcome,
                                   struct aggregate_answer *ret, struct banyan_error *err)
{
    struct decision_append append = {.store = set->aggregates->options.store};
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_appended appended;
    enum banyan_status status = BANYAN_OK;

    *ret_outcome = OUTCOME_NOTHING;
    set->refused = set->count;
    for (size_t i = 0; i < set->count; i++)
        set->members[i].part = NULL;
    for (size_t i = 0; i < set->count && status == BANYAN_OK && set->refused == set->count; i++)
        status = decide_member(set, decision, i, err);
    if (status != BANYAN_OK)
        return status;
    if (set->refused < set->count || decision->event_count == 0) {
        answer_nothing(set, ret);
        return BANYAN_OK;
    }
    status = decision_submit(decision, &append, &appended, &why);
    if (status == BANYAN_CONFLICT) {
        *ret_outcome = OUTCOME_BEHIND;
    } else if (status == BANYAN_DUPLICATE || (status == BANYAN_OK && appended.repeated)) {
        *ret_outcome = OUTCOME_REPEAT;
    } else if (status == BANYAN_OK) {
        decision_learn(decision, &appended);
        answer_appended(set, &appended, ret);
        *ret_outcome = OUTCOME_ANSWERED;
    } else {
        if (err != NULL)
            *err = why;
        return status;
    }
    return BANYAN_OK;
}

static enum banyan_status run(struct set *set, struct aggregate_answer *ret, void *const *ret_states,
                              struct banyan_error *err)
{
    struct decision_options options = {
        .aggregates = set->aggregates,
        .domain = set->aggregates->options.domain,
        .arena = set->arena,
        .streams_max = COMMANDS_MAX,
        .events_max = EVENTS_MAX,
        .what = "a set of commands",
        .event_id = event_id,
        .context = set,
    };

    for (int tries = 0; tries < TRIES_MAX; tries++) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum outcome outcome = OUTCOME_NOTHING;
        struct decision decision;
        enum banyan_status status;
        bool found = false;

        decision_init(&decision, &options);
        status = try_once(set, &decision, &outcome, ret, &why);
        if (status == BANYAN_OK && (outcome == OUTCOME_ANSWERED || outcome == OUTCOME_NOTHING))
            give_states(set, ret_states);
        decision_release(&decision);
        if (status == BANYAN_OK && outcome == OUTCOME_ANSWERED)
            return BANYAN_OK;
        if (status != BANYAN_OK || outcome != OUTCOME_BEHIND) {
            struct aggregate_answer *then = banyan_arena_alloc(set->arena, set->count * sizeof(*then));
            enum banyan_status looked = find_originals(set, &found, then, ret_states, status == BANYAN_OK ? err : NULL);

            if (looked == BANYAN_OK && found) {
                memcpy(ret, then, set->count * sizeof(*then));
                return BANYAN_OK;
            }
            if (status != BANYAN_OK && err != NULL)
                *err = why;
            if (status != BANYAN_OK || looked != BANYAN_OK || outcome == OUTCOME_NOTHING)
                return status != BANYAN_OK ? status : looked;
        }
        count_one(&set->aggregates->stats.conflicts);
    }
    return banyan_error_set(err, BANYAN_CONFLICT, "the streams of a set of commands changed %d times", TRIES_MAX);
}

static enum banyan_status submit_set(struct set *set, const struct aggregate_command *commands,
                                     struct aggregate_answer *ret, void *const *ret_states, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    set->members = banyan_arena_zalloc(set->arena, set->count * sizeof(*set->members));
    for (size_t i = 0; i < set->count && status == BANYAN_OK; i++) {
        set->members[i].command = &commands[i];
        status = prepare(set, &set->members[i], err);
    }
    if (status != BANYAN_OK)
        return status;
    (void)__atomic_fetch_add(&set->aggregates->stats.commands, set->count, __ATOMIC_RELAXED);
    return run(set, ret, ret_states, err);
}

enum banyan_status aggregates_submit_all(struct aggregates *aggregates, const struct aggregate_command *commands,
                                         size_t count, struct banyan_arena *arena, struct aggregate_answer *ret,
                                         void *const *ret_states, bool *ret_accepted, struct banyan_error *err)
{
    struct set set = {.aggregates = aggregates, .count = count, .arena = arena};
    enum banyan_status status;

    if (count == 0 || count > COMMANDS_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "a set of %zu commands; 1 to %d are allowed", count, COMMANDS_MAX);
    if (count == 1) {
        status = aggregate_submit(aggregates, commands, arena, ret, ret_states == NULL ? NULL : ret_states[0], err);
    } else {
        set.work = aggregate_take_work(aggregates);
        status = submit_set(&set, commands, ret, ret_states, err);
        aggregate_give_work(aggregates, set.work);
    }
    if (status != BANYAN_OK)
        return status;
    *ret_accepted = true;
    for (size_t i = 0; i < count; i++)
        *ret_accepted = *ret_accepted && ret[i].accepted;
    return BANYAN_OK;
}

enum banyan_status aggregates_executed(struct aggregates *aggregates, struct banyan_uuid id, struct banyan_arena *arena,
                                       struct banyan_str *ret_stream, struct banyan_error *err)
{
    struct banyan_position position = {0};
    struct store_read_event event;
    enum banyan_status status = store_find(aggregates->options.store, aggregate_event_id(id, 0), &position, err);
    struct banyan_str stream = {NULL, 0};

    if (status == BANYAN_OK && position.value > 0) {
        struct work *work = aggregate_take_work(aggregates);
        status = store_reader_seek(work->reader, position, err);
        if (status == BANYAN_OK)
            status = store_reader_next(work->reader, &event, err);
        if (status == BANYAN_OK)
            stream = banyan_arena_str(arena, event.event.stream);
        aggregate_give_work(aggregates, work);
    }
    if (status == BANYAN_OK)
        *ret_stream = stream;
    return status;
}
