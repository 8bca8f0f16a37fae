/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness.h"
#include "trading/mapping.h"
#include "trading/trading.h"

/* ---- the functions that the engine gives to a domain ---- */

const void *banyan_unit_get(struct banyan_unit *unit, unsigned table, int64_t key)
{
    assert_int_equal(table, 0);
    return unit->present ? &unit->row : NULL;
}

void banyan_unit_put(struct banyan_unit *unit, unsigned table, int64_t key, const void *row)
{
    struct order_row copy;

    assert_int_equal(table, 0);
    assert_int_equal(((const struct order_row *)row)->order_id, key);
    banyan_record_copy(&order_row_record, &copy, row, unit->arena);
    unit->row = copy;
    unit->present = true;
}

void banyan_unit_delete(struct banyan_unit *unit, unsigned table, int64_t key)
{
    assert_int_equal(table, 0);
    assert_true(unit->present);
    unit->present = false;
}

static void project(struct banyan_emitter *out, const struct harness_event *event)
{
    struct banyan_seen seen = {.type = event->type,
                               .payload = event->payload,
                               .key = out->key,
                               .at = event->at,
                               .provenance = event->provenance};

    banyan_domain_trading.projections[0].apply(&seen, &out->view);
}

void banyan_emit(struct banyan_emitter *out, const struct banyan_emit *event)
{
    const struct banyan_record *record;
    struct harness_event *kept;
    struct banyan_buf encoded = BANYAN_BUF_INIT(1 << 20);
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_in_range(event->type, 0, ORDER_EVENT_COUNT - 1);
    assert_int_not_equal(event->at.us, BANYAN_TIME_NULL);
    assert_int_not_equal(event->provenance, BANYAN_PROVENANCE_NONE);
    assert_true((event->reason == NULL) == (event->provenance == BANYAN_EXACT));
    record = order_events[event->type].record;
    if (banyan_record_encode(record, event->payload, &encoded, &err) != BANYAN_OK)
        fail_msg("%s cannot be encoded: %s", record->name, err.message);
    banyan_buf_release(&encoded);
    if (out->count == out->capacity) {
        struct harness_event *grown;

        out->capacity = out->capacity == 0 ? 16 : 2 * out->capacity;
        grown = banyan_arena_alloc(out->arena, out->capacity * sizeof(*grown));
        if (out->count > 0)
            memcpy(grown, out->events, out->count * sizeof(*grown));
        out->events = grown;
    }
    kept = &out->events[out->count++];
    *kept = (struct harness_event){event->type, banyan_arena_alloc(out->arena, record->size), event->at,
                                   event->provenance, event->reason};
    banyan_record_copy(record, kept->payload, event->payload, out->arena);
    out->exact += event->provenance == BANYAN_EXACT;
    out->inferred += event->provenance == BANYAN_INFERRED;
    out->reconciled += event->provenance == BANYAN_RECONCILED;
    order_evolve(&out->state, event->type, kept->payload, event->at);
    project(out, kept);
}

struct banyan_arena *banyan_emitter_arena(struct banyan_emitter *emitter)
{
    return emitter->arena;
}

/* ---- the proof ---- */

void harness_init(struct banyan_emitter *out, struct banyan_arena *arena)
{
    *out = (struct banyan_emitter){.arena = arena, .view.arena = arena};
    banyan_record_init(order_aggregate.state, &out->state);
}

static bool stands_for(const struct banyan_emitter *out, const struct order_row *row)
{
    struct order_row folded;
    bool exists = trading_row(&out->state, &folded);

    assert_int_equal(exists, out->view.present);
    assert_true(!exists || banyan_record_diff(&order_row_record, &folded, &out->view.row) == 0);
    if (!exists || row == NULL)
        return !exists && row == NULL;
    return banyan_record_diff(&order_row_record, &folded, row) == 0;
}

static void prove(struct banyan_emitter *out, int64_t key, const struct order_row *row)
{
    struct order before;

    if (stands_for(out, row))
        return;
    before = out->state;
    trading_reconcile(&before, key, row, (struct banyan_time){1}, out);
    if (stands_for(out, row))
        return;
    harness_print(out);
    fail_msg("order %lld: the events do not add up to the row", (long long)key);
}

void harness_history(struct banyan_emitter *out, const struct banyan_history *history)
{
    out->key = history->key;
    banyan_domain_trading.mappings->history(history, out);
    prove(out, history->key, history->root);
}

void harness_changes(struct banyan_emitter *out, int64_t key, const struct banyan_change *changes, size_t count,
                     const struct order_row *row)
{
    struct order before = out->state;

    out->key = key;
    banyan_domain_trading.mappings->changes(&before, before.exists, key, changes, count, out);
    prove(out, key, row);
}

void harness_print(const struct banyan_emitter *out)
{
    static const char *const known[] = {"?", "exact", "inferred", "reconciled"};
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);

    for (size_t i = 0; i < out->count; i++) {
        const struct harness_event *event = &out->events[i];

        banyan_buf_reset(&text);
        banyan_record_json(order_events[event->type].record, event->payload, &text);
        printf("# %zu %s at %lld %s %s%s%s\n", i, order_events[event->type].name, (long long)event->at.us, text.data,
               known[event->provenance], event->reason == NULL ? "" : ": ", event->reason == NULL ? "" : event->reason);
    }
    banyan_buf_release(&text);
}

void harness_assert_same(const struct banyan_emitter *a, const struct banyan_emitter *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same =
            a->events[i].type == b->events[i].type && a->events[i].at.us == b->events[i].at.us &&
            banyan_record_diff(order_events[a->events[i].type].record, a->events[i].payload, b->events[i].payload) == 0;
    if (same)
        return;
    harness_print(a);
    printf("# but\n");
    harness_print(b);
    fail_msg("the two histories differ");
}

struct banyan_decimal amount(const char *text)
{
    struct banyan_decimal any, ret;

    if (text == NULL)
        return banyan_decimal_null();
    assert_true(banyan_decimal_parse(banyan_str_of(text), &any));
    if (any.scale < 0)
        return any;
    assert_true(banyan_decimal_rescale(any, 8, &ret));
    return ret;
}
