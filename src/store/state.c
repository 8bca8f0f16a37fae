/* SPDX-License-Identifier: Apache-2.0 */
/* See state.h. */
#include "store/state.h"

#include <inttypes.h>
#include <string.h>

static bool has_kind(const struct banyan_record *record, enum banyan_field_kind kind)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind == kind)
            return true;
    }
    return false;
}

void states_init(struct states *states, struct store *store, const struct banyan_domain *domain,
                 const struct banyan_aggregate *aggregate, struct banyan_arena *arena)
{
    struct state_type *types = banyan_arena_zalloc(arena, domain->event_count * sizeof(*types));

    *states = (struct states){
        .domain = domain, .aggregate = aggregate, .types = types, .decoder = store_decoder_new(store, domain)};
    states->has_lists = has_kind(aggregate->state, BANYAN_FIELD_LIST);
    for (size_t i = 0; i < domain->event_count; i++) {
        const struct banyan_event_type *type = &domain->events[i];

        types[i].name = banyan_str_of(type->name);
        types[i].record = type->record;
        types[i].version = type->version;
        if (type->record->size > states->payload_size_max)
            states->payload_size_max = type->record->size;
        types[i].borrows = has_kind(type->record, BANYAN_FIELD_STRING) || has_kind(type->record, BANYAN_FIELD_LIST);
    }
}

void states_begin(const struct states *states, void *ret, const void *kept, struct banyan_arena *arena)
{
    if (states->has_lists)
        banyan_record_copy(states->aggregate->state, ret, kept, arena);
    else
        memcpy(ret, kept, states->aggregate->state->size);
}

void states_release(struct states *states)
{
    store_decoder_free(states->decoder);
    states->decoder = NULL;
}

const struct state_type *states_type(const struct states *states, struct banyan_str name)
{
    for (size_t i = 0; i < states->domain->event_count; i++) {
        if (banyan_str_equal(states->types[i].name, name))
            return &states->types[i];
    }
    return NULL;
}

enum banyan_status states_fold(const struct states *states, void *state, void *scratch, const struct store_event *event,
                               struct banyan_arena *arena, struct banyan_error *err)
{
    const struct state_type *type = states_type(states, event->type);
    enum banyan_status status;

    if (type == NULL) {
        (void)banyan_error_set(err, BANYAN_INVALID, "stream %.*s: event %.*s is not one of domain %s",
                               (int)event->stream.size, event->stream.data, (int)event->type.size, event->type.data,
                               states->domain->name);
        banyan_error_hint(err, "run the build of the domain that wrote this log, or a newer one that knows the event");
        return BANYAN_INVALID;
    }
    status = store_decode(states->decoder, (unsigned)(type - states->types), event->schema, event->payload, arena,
                          scratch, err);
    if (status == BANYAN_OK)
        states->aggregate->evolve(state, (unsigned)(type - states->types), scratch, event->at);
    else
        banyan_error_context(err, "stream %.*s", (int)event->stream.size, event->stream.data);
    return status;
}

enum banyan_status states_fold_stream(const struct states *states, void *state, void *scratch,
                                      struct store_reader *reader, struct banyan_str stream,
                                      struct banyan_version after, struct banyan_version to, struct banyan_arena *arena,
                                      struct banyan_error *err)
{
    enum banyan_status status = store_reader_stream(reader, stream, (struct banyan_version){after.value + 1}, err);
    struct store_read_event read;

    for (uint64_t version = after.value + 1; status == BANYAN_OK && version <= to.value; version++) {
        status = store_reader_next(reader, &read, err);
        if (status == BANYAN_NOT_FOUND)
            return banyan_error_set(err, BANYAN_CORRUPT,
                                    "stream %.*s ends at version %" PRIu64 ", its head says %" PRIu64, (int)stream.size,
                                    stream.data, version - 1, to.value);
        if (status != BANYAN_OK)
            return status;
        /* The reader's memory is gone at its next call, but the state may keep strings of the payload. */
        read.event.payload = banyan_arena_str(arena, read.event.payload);
        status = states_fold(states, state, scratch, &read.event, arena, err);
    }
    return status;
}
