/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate of writes: through which they go one by one while the ownership moves.
 *
 *   comes ──open, nobody before it waits for one of its aggregates──▶ under way ──▶ left
 *     └── else ──▶ waits, in order ──hold over, and who was before it for one of its aggregates has left──▶ under way
 *
 * An aggregate is known by a bucket of its hash; two in one bucket only wait for each other.  Threads: any; the lock
 * guards all; nothing is called under it but loop_post().
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "gateway/facade.h"

enum {
    BUCKETS = 4096,
};

struct gate {
    struct gateway *gateway;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* fewer are under way */
    struct ask *first, **last;
    uint64_t under_way;
    uint64_t waiting;
    int64_t hold_until_us;  /* 0: no hold of gateway_hold() */
    uint32_t busy[BUCKETS]; /* that were held and are under way now */
    uint32_t blocked[BUCKETS];
};

struct gate *gate_new(struct gateway *gateway)
{
    struct gate *gate = alloc_zeroed(1, sizeof(*gate));
    gate->gateway = gateway;
    gate->last = &gate->first;
    (void)pthread_mutex_init(&gate->lock, NULL);
    os_cond_init(&gate->idle);
    return gate;
}

void gate_free(struct gate *gate)
{
    if (gate == NULL)
        return;
    (void)pthread_cond_destroy(&gate->idle);
    (void)pthread_mutex_destroy(&gate->lock);
    free(gate);
}

static unsigned bucket_of(const struct ask *ask, size_t part)
{
    const struct banyan_route_part *at = &ask->route.parts[part];
    return (unsigned)(recent_key(banyan_str_of(at->category), at->key) % BUCKETS);
}

static bool is_any(const struct ask *ask, const uint32_t *counts)
{
    for (size_t i = 0; i < ask->route.part_count; i++)
        if (ask->route.parts[i].key != 0 && counts[bucket_of(ask, i)] > 0)
            return true;
    return false;
}

static void change(const struct ask *ask, uint32_t *counts, int by)
{
    for (size_t i = 0; i < ask->route.part_count; i++)
        if (ask->route.parts[i].key != 0)
            counts[bucket_of(ask, i)] += (uint32_t)by;
}

static bool is_held(struct gate *gate)
{
    int64_t now = gateway_now(gate->gateway);
    struct routing_decisions decisions = {.hold_writes = false};
    if (gate->hold_until_us > now)
        return true;
    if (gate->gateway->options.routing != NULL)
        routing_get(gate->gateway->options.routing, &decisions);
    return decisions.hold_writes && decisions.hold_until_us > now;
}

static void run_go(struct message *message)
{
    facade_go((struct ask *)message);
}

/* With the lock: it waited, and may go on. */
static void let_go(struct gate *gate, struct ask *ask)
{
    change(ask, gate->busy, 1);
    ask->in_busy = true;
    gate->under_way++;
    gate->waiting--;
    ask->in_gate = true;
    ask->message.run = run_go;
    loop_post(ask->loop, &ask->message);
}

/* With the lock: all that may go on, in order. */
static void look(struct gate *gate)
{
    struct ask **at = &gate->first, *ask;
    if (gate->first == NULL || is_held(gate))
        return;
    for (unsigned i = 0; i < BUCKETS; i++)
        gate->blocked[i] = gate->busy[i];
    while ((ask = *at) != NULL) {
        bool waits = is_any(ask, gate->blocked);
        change(ask, gate->blocked, 1); /* whoever comes behind it waits for it */
        if (waits) {
            at = &ask->next;
            continue;
        }
        *at = ask->next;
        let_go(gate, ask);
    }
    gate->last = at;
}

bool gate_enter(struct ask *ask)
{
    struct gate *gate = ask->loop->gateway->gate;
    (void)pthread_mutex_lock(&gate->lock);
    bool held = is_held(gate), waits = held || gate->first != NULL || is_any(ask, gate->busy);
    ask->next = NULL;
    if (waits) {
        ask->place = ASK_GATE;
        ask->held_us = held ? gateway_now(gate->gateway) : 0;
        *gate->last = ask;
        gate->last = &ask->next;
        gate->waiting++;
        look(gate); /* it waits for its own aggregates only */
    } else {
        gate->under_way++;
        ask->in_gate = true;
    }
    (void)pthread_mutex_unlock(&gate->lock);
    return !waits;
}

/* With the lock. */
static void is_over(struct gate *gate, struct ask *ask)
{
    if (ask->in_busy)
        change(ask, gate->busy, -1);
    ask->in_gate = ask->in_busy = false;
    if (--gate->under_way == 0)
        (void)pthread_cond_broadcast(&gate->idle);
}

void gate_again(struct ask *ask)
{
    struct gate *gate = ask->loop->gateway->gate;
    (void)pthread_mutex_lock(&gate->lock);
    is_over(gate, ask);
    gate->waiting++;
    ask->place = ASK_GATE;
    if (ask->held_us == 0)
        ask->held_us = gateway_now(gate->gateway);
    ask->next = gate->first;
    gate->first = ask;
    if (ask->next == NULL)
        gate->last = &ask->next;
    (void)pthread_mutex_unlock(&gate->lock);
}

void gate_leave(struct ask *ask)
{
    struct gate *gate = ask->loop->gateway->gate;
    if (!ask->in_gate)
        return;
    (void)pthread_mutex_lock(&gate->lock);
    is_over(gate, ask);
    look(gate);
    (void)pthread_mutex_unlock(&gate->lock);
}

bool gate_cancel(struct ask *ask)
{
    struct gate *gate = ask->loop->gateway->gate;
    (void)pthread_mutex_lock(&gate->lock);
    struct ask **at = &gate->first;
    while (*at != NULL && *at != ask)
        at = &(*at)->next;
    bool found = *at != NULL;
    if (found) {
        *at = ask->next;
        if (gate->last == &ask->next)
            gate->last = at;
        gate->waiting--;
    }
    (void)pthread_mutex_unlock(&gate->lock);
    return found;
}

void gate_poll(struct gate *gate)
{
    (void)pthread_mutex_lock(&gate->lock);
    look(gate);
    (void)pthread_mutex_unlock(&gate->lock);
}

/* ---- for the controller ---- */

enum banyan_status gateway_hold(struct gateway *gateway, int64_t until_us, struct banyan_error *err)
{
    struct gate *gate = gateway->gate;
    enum banyan_status st = BANYAN_OK;
    (void)pthread_mutex_lock(&gate->lock);
    gate->hold_until_us = until_us;
    while (gate->under_way > 0 && st == BANYAN_OK) {
        int64_t left = until_us - gateway_now(gateway);
        if (left <= 0)
            st = banyan_error_set(err, BANYAN_TIMEOUT, "%" PRIu64 " writes are still under way at the gateway",
                                  gate->under_way);
        else
            (void)os_cond_wait(&gate->idle, &gate->lock, left);
    }
    (void)pthread_mutex_unlock(&gate->lock);
    return st;
}

void gateway_release(struct gateway *gateway)
{
    struct gate *gate = gateway->gate;
    (void)pthread_mutex_lock(&gate->lock);
    gate->hold_until_us = 0;
    look(gate);
    (void)pthread_mutex_unlock(&gate->lock);
}
