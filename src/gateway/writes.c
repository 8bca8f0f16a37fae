/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes: to the owner of the aggregates that they change.
 *
 *   gate ──▶ was it executed before? (with an Idempotency-Key) ──▶ sides of its parts
 *              all legacy  ──▶ upstream, as it came
 *              all Banyan  ──▶ commands as one append ──durable──▶ the façade's answer
 *              being handed over ──▶ back to the gate
 *              both        ──▶ 409, or the legacy part first, and ours when that was done
 *   an append that meets another epoch of the ownership ──▶ its sides again
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/facade.h"
#include "http/body.h"
#include "os/random.h"

/* ---- what is remembered, and measured ---- */

static void wrote_legacy(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    int64_t now = gateway_now(gateway);
    for (size_t i = 0; i < ask->route.part_count; i++)
        if (ask->route.parts[i].key != 0)
            recent_wrote_legacy(gateway->recent,
                                recent_key(banyan_str_of(ask->route.parts[i].category), ask->route.parts[i].key), now);
    if (ask->route.user.size > 0)
        recent_wrote_legacy(gateway->recent, recent_user(ask->route.user), now);
    if (ask->front != NULL)
        ask->front->legacy_us = now;
}

static void wrote_here(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    if (ask->route.user.size > 0)
        recent_wrote_here(gateway->recent, recent_user(ask->route.user), ask->position);
    if (ask->front != NULL && ask->front->position.value < ask->position.value)
        ask->front->position = ask->position;
}

static void measure(const struct ask *ask, enum traffic_side side, bool failed)
{
    const struct gateway *gateway = ask->loop->gateway;
    int64_t since = ask->began_us;
    bool told = side == TRAFFIC_BANYAN && ask->late;
    if (gateway->options.traffic != NULL && !told)
        traffic_answered(gateway->options.traffic, side, TRAFFIC_WRITE, gateway_now(gateway) - since, failed);
}

/* ---- at the legacy application ---- */

static void on_legacy(struct exchange *exchange, enum exchange_end end)
{
    struct ask *ask = exchange->context;
    struct front *front = ask->front;
    measure(ask, TRAFFIC_LEGACY, end != EXCHANGE_OK || exchange->code >= 500);
    wrote_legacy(ask);
    if (front != NULL)
        front->ask = NULL;
    ask->front = NULL;
    ask_free(ask);
    if (front != NULL)
        pass_over(front, exchange, end);
    else
        exchange_free(exchange);
}

/* ---- here ---- */

static enum banyan_status make_key(const struct ask *ask, const struct banyan_route_part *part, int64_t *ret,
                                   struct banyan_error *err)
{
    struct keys *keys = ask->loop->gateway->options.keys;
    if (ask->executed_key != 0) {
        *ret = ask->executed_key;
        return BANYAN_OK;
    }
    if (keys == NULL)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "there are no keys for %s", part->category);
    return keys_next(keys, banyan_str_of(part->category), ret, err);
}

static struct banyan_uuid command_id(const struct ask *ask, size_t part)
{
    struct banyan_str method = ask->head.method, target = ask->request.path;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_uuid id = os_uuid_new();
    if (ask->idempotency_key.data != NULL)
        id = body_derived_id(banyan_arena_printf(&arena, "gateway %.*s %.*s", (int)method.size, method.data,
                                                 (int)target.size, target.data),
                             ask->idempotency_key, part);
    banyan_arena_release(&arena);
    return id;
}

/* The commands of the parts that are ours; part_of[i] is the part of command i. */
static enum banyan_status make_commands(struct ask *ask, struct aggregate_command *commands, size_t *part_of,
                                        size_t *ret_count)
{
    struct aggregates *aggregates = ask->loop->gateway->options.aggregates;
    size_t count = 0;
    for (size_t i = 0; i < ask->route.part_count; i++) {
        const struct banyan_route_part *part = &ask->route.parts[i];
        const struct banyan_aggregate *aggregate = aggregates_find(aggregates, banyan_str_of(part->category));
        int64_t key = part->key;
        if (ask->is_split && ask->keep[i])
            continue;
        if (aggregate == NULL || part->command >= aggregate->command_count)
            return banyan_error_set(&ask->err, BANYAN_INVALID, "aggregate %s has no such command", part->category);
        enum banyan_status st = key != 0 ? BANYAN_OK : make_key(ask, part, &key, &ask->err);
        if (st != BANYAN_OK)
            return st;
        ask->outcomes[i].key = key;
        part_of[count] = i;
        commands[count++] = (struct aggregate_command){
            .id = command_id(ask, i),
            .category = banyan_str_of(part->category),
            .key = banyan_arena_printf(&ask->arena, "%" PRId64, key),
            .name = banyan_str_of(aggregate->commands[part->command].name),
            .fields = part->fields,
            .expect = part->key == 0 ? STORE_EXPECT_ABSENT : STORE_EXPECT_NONE,
            .new_key = part->key == 0 && ask->executed_key == 0,
        };
    }
    *ret_count = count;
    return BANYAN_OK;
}

static void take_answers(struct ask *ask, const struct aggregate_answer *answers, void *const *states,
                         const size_t *part_of, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct banyan_outcome *outcome = &ask->outcomes[part_of[i]];
        outcome->accepted = answers[i].accepted;
        outcome->refusal = (struct banyan_refusal){answers[i].code, answers[i].text};
        outcome->state = states[i];
        outcome->event_count = answers[i].event_count;
        outcome->position = answers[i].position;
        if (answers[i].position.value > ask->position.value)
            ask->position = answers[i].position;
    }
}

/* The states of the parts that the legacy application has written, which are in the log by now. */
static enum banyan_status look_at_legacy_parts(struct ask *ask)
{
    struct aggregates *aggregates = ask->loop->gateway->options.aggregates;
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < ask->route.part_count && st == BANYAN_OK; i++) {
        const struct banyan_route_part *part = &ask->route.parts[i];
        struct banyan_version version;
        if (!ask->is_split || !ask->keep[i])
            continue;
        const struct banyan_aggregate *aggregate = aggregates_find(aggregates, banyan_str_of(part->category));
        void *state = banyan_arena_alloc(&ask->arena, aggregate->state->size);
        st = aggregates_state(aggregates, banyan_str_of(part->category),
                              banyan_arena_printf(&ask->arena, "%" PRId64, part->key), &ask->arena, state, &version,
                              &ask->err);
        ask->outcomes[i] =
            (struct banyan_outcome){.accepted = true, .key = part->key, .state = state, .event_count = 1};
    }
    return st;
}

static enum banyan_status run(struct ask *ask, struct here *here)
{
    size_t parts = ask->route.part_count, count = 0;
    struct aggregates *aggregates = here->gateway->options.aggregates;
    struct aggregate_command *commands = banyan_arena_zalloc(&ask->arena, parts * sizeof(*commands));
    struct aggregate_answer *answers = banyan_arena_zalloc(&ask->arena, parts * sizeof(*answers));
    size_t *part_of = banyan_arena_zalloc(&ask->arena, parts * sizeof(*part_of));
    void **states = banyan_arena_zalloc(&ask->arena, parts * sizeof(*states));
    bool accepted;
    ask->outcomes = banyan_arena_zalloc(&ask->arena, parts * sizeof(*ask->outcomes));
    enum banyan_status st = make_commands(ask, commands, part_of, &count);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        states[i] = banyan_arena_alloc(&ask->arena, aggregates_find(aggregates, commands[i].category)->state->size);
    if (st == BANYAN_OK)
        st = aggregates_submit_all(aggregates, commands, count, &ask->arena, answers, states, &accepted, &ask->err);
    if (st == BANYAN_OK)
        take_answers(ask, answers, states, part_of, count);
    if (st == BANYAN_OK)
        st = look_at_legacy_parts(ask);
    return st;
}

static void failed(struct ask *ask)
{
    enum banyan_status st = ask->status;
    char detail[BANYAN_ERROR_TEXT_MAX];
    (void)snprintf(detail, sizeof(detail), "%s%.600s",
                   ask->is_split ? "the legacy application has done its part; Banyan's part failed: " : "",
                   ask->err.message); /* cut where it is too long */
    measure(ask, TRAFFIC_BANYAN, st != BANYAN_DUPLICATE && st != BANYAN_INVALID);
    if (st == BANYAN_DUPLICATE)
        ask_problem(ask, 422, NULL, "DUPLICATE", "this Idempotency-Key was used for another request");
    else if (st == BANYAN_CONFLICT || st == BANYAN_BUSY || st == BANYAN_NO_SPACE ||
             st == BANYAN_UNAVAILABLE) /* of the source, for a key: before anything was written */
        ask_problem(ask, 503, "Retry-After: 1\r\n", banyan_status_name(st), detail);
    else
        ask_problem(ask, st == BANYAN_INVALID ? 400 : 500, NULL, banyan_status_name(st), detail);
}

static void route(struct ask *ask);

static void on_done(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    bool again = ask->status == BANYAN_CONFLICT || ask->status == BANYAN_BUSY ||
                 (ask->status == BANYAN_DUPLICATE && ask->idempotency_key.data != NULL);
    if (again && !ask->is_split && ++ask->tries < ASK_TRIES_MAX) {
        ask->looked = ask->looked && ask->status != BANYAN_DUPLICATE;
        route(ask); /* the ownership moved meanwhile, or the same request was under way */
        return;
    }
    gateway_count(&gateway->counts.writes_banyan);
    if (ask->status != BANYAN_OK) {
        failed(ask);
        return;
    }
    gateway->options.domain->facade->answer(&ask->request, &ask->route, ask->outcomes, &ask->arena, &ask->response);
    measure(ask, TRAFFIC_BANYAN, ask->response.code >= 500);
    wrote_here(ask);
    ask_answer(ask);
}

/* ---- both ---- */

static void on_first_half(struct exchange *exchange, enum exchange_end end)
{
    struct ask *ask = exchange->context;
    bool good = end == EXCHANGE_OK && exchange->code / 100 == 2;
    ask->exchange = NULL;
    measure(ask, TRAFFIC_LEGACY, end != EXCHANGE_OK || exchange->code >= 500);
    wrote_legacy(ask);
    if (good) {
        exchange_free(exchange);
        if (ask->front != NULL)
            ask->front->state = FRONT_THINK;
        ask->run = run;
        ask->done = on_done;
        work_submit(ask, true);
        return;
    }
    ask->response = (struct banyan_response){.code = end == EXCHANGE_OK ? exchange->code : 502,
                                             .content_type = "application/json",
                                             .body = banyan_arena_str(&ask->arena, banyan_buf_str(&exchange->copy))};
    exchange_free(exchange);
    ask_answer(ask);
}

static void split(struct ask *ask)
{
    const struct banyan_facade *facade = ask->loop->gateway->options.domain->facade;
    struct banyan_str body = BANYAN_STR("");
    if (!ask->loop->gateway->options.split || facade->split == NULL ||
        !facade->split(&ask->request, &ask->route, ask->keep, &ask->arena, &body)) {
        ask_problem(
            ask, 409, NULL, "CONFLICT",
            "this changes aggregates of both sides, which cannot be done at once while the ownership is shared");
        return;
    }
    ask->is_split = true;
    gateway_count(&ask->loop->gateway->counts.split);
    ask_legacy(ask, body, false, on_first_half);
}

/* ---- which side ---- */

static enum banyan_status run_look(struct ask *ask, struct here *here)
{
    struct aggregates *aggregates = here->gateway->options.aggregates;
    for (size_t i = 0; i < ask->route.part_count && !ask->executed; i++) {
        struct banyan_str stream = {NULL, 0};
        enum banyan_status st = aggregates_executed(aggregates, command_id(ask, i), &ask->arena, &stream, &ask->err);
        if (st != BANYAN_OK)
            return st;
        ask->executed = stream.data != NULL;
        const char *key = ask->executed ? memchr(stream.data, '-', stream.size) : NULL;
        if (key != NULL && ask->route.parts[i].key == 0)
            ask->executed_key = strtoll(key + 1, NULL, 10);
    }
    return BANYAN_OK;
}

static void on_looked(struct ask *ask)
{
    ask->looked = true;
    if (ask->status != BANYAN_OK)
        failed(ask);
    else
        route(ask);
}

/* Of an aggregate that is to be made: the same request, the same side. */
static enum owner_side side_of_new(const struct ask *ask, const struct banyan_route_part *part)
{
    const struct gateway_options *options = &ask->loop->gateway->options;
    char text[BANYAN_UUID_TEXT_SIZE];
    struct banyan_str key = ask->idempotency_key;
    uint64_t epoch;
    enum owner_mode mode = owner_mode(options->owner, &epoch);
    if (mode != OWNER_SHARED)
        return mode == OWNER_BANYAN ? OWNER_SIDE_BANYAN : mode == OWNER_CLOSING ? OWNER_SIDE_HELD : OWNER_SIDE_LEGACY;
    if (key.data == NULL) {
        banyan_uuid_format(os_uuid_new(), text);
        key = banyan_str_of(text);
    }
    return options->routing != NULL && routing_in(options->routing, ROUTING_NEW, banyan_str_of(part->category), key)
               ? OWNER_SIDE_BANYAN
               : OWNER_SIDE_LEGACY;
}

/* *ask*->keep: the parts of the legacy application.  False: some are being handed over. */
static bool find_sides(struct ask *ask, bool *ret_legacy, bool *ret_here)
{
    struct owner *owner = ask->loop->gateway->options.owner;
    *ret_legacy = *ret_here = false;
    for (size_t i = 0; i < ask->route.part_count; i++) {
        const struct banyan_route_part *part = &ask->route.parts[i];
        enum owner_side side = owner == NULL    ? OWNER_SIDE_LEGACY
                               : ask->executed  ? OWNER_SIDE_BANYAN
                               : part->key == 0 ? side_of_new(ask, part)
                                                : owner_side(owner, banyan_str_of(part->category), part->key);
        if (side == OWNER_SIDE_HELD)
            return false;
        ask->keep[i] = side == OWNER_SIDE_LEGACY;
        *ret_legacy = *ret_legacy || ask->keep[i];
        *ret_here = *ret_here || !ask->keep[i];
    }
    return true;
}

static void route(struct ask *ask)
{
    const struct gateway_options *options = &ask->loop->gateway->options;
    bool legacy, here;
    if (ask->front != NULL)
        ask->front->state = FRONT_THINK;
    if (ask->idempotency_key.data != NULL && !ask->looked && options->aggregates != NULL) {
        ask->run = run_look;
        ask->done = on_looked;
        work_submit(ask, false);
        return;
    }
    if (!find_sides(ask, &legacy, &here)) {
        if (ask->front == NULL) {
            ask_free(ask);
            return;
        }
        int64_t left = options->hold_us_max - (gateway_now(ask->loop->gateway) - ask->began_us);
        timer_set(&ask->front->timer, left < 0 ? 0 : left);
        gate_again(ask);
    } else if (legacy && here) {
        split(ask);
    } else if (legacy) {
        gateway_count(&ask->loop->gateway->counts.writes_legacy);
        ask_legacy(ask, banyan_buf_str(&ask->body), true, on_legacy);
    } else {
        ask->run = run;
        ask->done = on_done;
        work_submit(ask, false);
    }
}

void write_begin(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    struct banyan_str key = wire_find(&ask->head, "Idempotency-Key");
    if (key.size > 0 && key.size <= ASK_KEY_MAX)
        ask->idempotency_key = key;
    if (!ask->in_gate) {
        timer_set(&ask->front->timer, gateway->options.hold_us_max);
        if (!gate_enter(ask)) {
            if (ask->held_us != 0)
                gateway_count(&gateway->counts.held);
            return;
        }
        timer_set(&ask->front->timer, INT64_MAX);
    }
    route(ask);
}
