/* SPDX-License-Identifier: Apache-2.0 */
/* What the mappings of legacy tables share. */
#include "mapping.h"

#include <string.h>

static const char reason_no_time[] = "the application did not record when";

void mapping_emit(struct banyan_emitter *out, enum commerce_event type, const void *payload, struct banyan_time at,
                  const char *reason)
{
    if (!time_is_known(at)) {
        at = (struct banyan_time){0};
        reason = reason == NULL ? reason_no_time : reason;
    }
    banyan_emit(out, &(struct banyan_emit){
                         .type = type,
                         .payload = payload,
                         .at = at,
                         .provenance = reason == NULL ? BANYAN_EXACT : BANYAN_INFERRED,
                         .reason = reason,
                     });
}

void mapping_emit_reconciled(struct banyan_emitter *out, enum commerce_event type, const void *payload,
                             struct banyan_time at, const char *reason)
{
    banyan_emit(out, &(struct banyan_emit){
                         .type = type,
                         .payload = payload,
                         .at = at,
                         .provenance = BANYAN_RECONCILED,
                         .reason = reason == NULL ? "no recorded change explains these columns" : reason,
                     });
}

static bool step_before(const struct mapping_step *a, const struct mapping_step *b)
{
    if (!time_is_known(b->at))
        return time_is_known(a->at);
    return time_is_known(a->at) && a->at.us < b->at.us;
}

void mapping_sort(struct mapping_step *steps, size_t count)
{
    /* The rows come sorted from the database; the few steps of columns behind them move to their places. */
    for (size_t i = 1; i < count; i++) {
        struct mapping_step step = steps[i];
        size_t to = i;

        while (to > 0 && step_before(&step, &steps[to - 1])) {
            steps[to] = steps[to - 1];
            to--;
        }
        steps[to] = step;
    }
}

struct banyan_str mapping_columns(const struct banyan_record *record, uint64_t columns, struct banyan_arena *arena)
{
    size_t size = 0;
    char *text, *at;

    for (size_t i = 0; i < record->field_count; i++)
        size += strlen(record->fields[i].name) + 1;
    text = at = banyan_arena_alloc(arena, size);
    for (size_t i = 0; i < record->field_count; i++) {
        if ((columns >> i & 1) == 0)
            continue;
        if (at != text)
            *at++ = ',';
        at = stpcpy(at, record->fields[i].name);
    }
    return (struct banyan_str){text, (size_t)(at - text)};
}

uint64_t mapping_column(const struct banyan_record *record, const char *name)
{
    return UINT64_C(1) << (banyan_record_field(record, banyan_str_of(name)) - record->fields);
}

struct banyan_time mapping_difference_time(struct banyan_time old, struct banyan_time new, struct banyan_time now)
{
    return time_is_known(new) && new.us != old.us ? new : now;
}
