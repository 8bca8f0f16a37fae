/* SPDX-License-Identifier: Apache-2.0 */
/* What executing commands (aggregate.c) and loading states (aggregate_state.c) share. */
#ifndef STORE_AGGREGATE_INT_H
#define STORE_AGGREGATE_INT_H

#include "banyan/buf.h"
#include "store/aggregate.h"
#include "store/live.h"
#include "store/state.h"

enum {
    SPARE_MAX = 16, /* workspaces; more are made when more commands are under way */
};

/* An aggregate that takes commands. */
struct kind {
    struct banyan_str category;
    uint64_t snapshots; /* snapshot_kind() */
    struct states states;
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

static inline void count_one(uint64_t *counter)
{
    (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

/* ---- aggregate_state.c ---- */

struct work *aggregate_take_work(struct aggregates *aggregates);
void aggregate_give_work(struct aggregates *aggregates, struct work *work);
const struct kind *aggregate_kind(const struct aggregates *aggregates, struct banyan_str category);
/* The type of the command's name; NULL when there is none. */
const struct banyan_command_type *aggregate_command_type(const struct kind *kind, struct banyan_str name);
/* NOT_FOUND. */
enum banyan_status aggregate_no_command(const struct aggregates *aggregates, const struct aggregate_command *command,
                                        struct banyan_error *err);
/* "<category>-<key>" in *arena*.  INVALID, LIMIT. */
BANYAN_MUST_CHECK enum banyan_status aggregate_name_stream(const struct kind *kind, struct banyan_str key,
                                                           struct banyan_arena *arena, struct banyan_str *ret,
                                                           struct banyan_error *err);
/* work->state becomes the live state, its strings packed behind it. */
void aggregate_keep_state(const struct kind *kind, const struct work *work, struct live *live);
/* options.permit, or everything may. */
BANYAN_MUST_CHECK enum banyan_status aggregate_permit(const struct aggregates *aggregates, struct banyan_str category,
                                                      struct banyan_str key, bool creates, struct banyan_arena *arena,
                                                      struct store_condition *ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status aggregate_may_begin(const struct aggregates *aggregates,
                                                         struct banyan_str category, struct banyan_str key,
                                                         struct banyan_error *err);
/* The state of *stream* at *version*, which is durable, into *ret_state*. */
BANYAN_MUST_CHECK enum banyan_status aggregate_state_at(const struct kind *kind, struct work *work,
                                                        struct banyan_str stream, struct banyan_version version,
                                                        struct banyan_arena *arena, void *ret_state,
                                                        struct banyan_error *err);
/* As submitted; *ret_position: what has to be durable before anybody is told. */
BANYAN_MUST_CHECK enum banyan_status aggregate_current(struct aggregates *aggregates, const struct kind *kind,
                                                       struct banyan_str key, struct banyan_arena *arena,
                                                       void *ret_state, struct banyan_version *ret_version,
                                                       struct banyan_position *ret_position, struct banyan_error *err);
/* Bring a live state to what is submitted now. */
BANYAN_MUST_CHECK enum banyan_status aggregate_catch_up(struct aggregates *aggregates, const struct kind *kind,
                                                        struct work *work, struct live *live, struct banyan_error *err);
/* Keep the state of a long stream, when all of it is durable.  A state that its record cannot carry is not kept. */
void aggregate_save_snapshot(struct aggregates *aggregates, const struct kind *kind, struct work *work,
                             struct live *live);

/* ---- aggregate.c ---- */

/* aggregates_submit(), and the state that goes with the answer: after the command, or as it is where there was nothing
 * to do or it was refused; of a repeat that of then.  *ret_state* may be NULL. */
BANYAN_MUST_CHECK enum banyan_status aggregate_submit(struct aggregates *aggregates,
                                                      const struct aggregate_command *command,
                                                      struct banyan_arena *arena, struct aggregate_answer *ret,
                                                      void *ret_state, struct banyan_error *err);
/* The id of a command's event *index*. */
struct banyan_uuid aggregate_event_id(struct banyan_uuid command, uint64_t index);
/* What every event of the command has as its metadata; *fields* encoded. */
struct banyan_str aggregate_meta(const char *name, struct banyan_uuid id, struct banyan_str fields,
                                 struct banyan_arena *arena);
/* Does what the command expects of its stream hold at *version*? */
bool aggregate_holds(const struct aggregate_command *command, uint64_t version);
/* CONFLICT. */
enum banyan_status aggregate_condition_failed(struct banyan_str stream, uint64_t version, struct banyan_error *err);

/* By what a command that was executed before is known. */
struct aggregate_original {
    struct banyan_uuid id;
    struct banyan_str stream, meta;
};
/* The answer of then; *ret_found false: it was not executed.  DUPLICATE: the id was used for another command. */
BANYAN_MUST_CHECK enum banyan_status aggregate_find_original(const struct aggregates *aggregates, struct work *work,
                                                             const struct aggregate_original *original, bool *ret_found,
                                                             struct aggregate_answer *ret, struct banyan_error *err);

#endif
