/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random legacy applications, mapped both ways and compared.
 *
 * BANYAN_TEST_SEED=… repeats a run, BANYAN_TEST_ROUNDS=… multiplies its length.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "application.h"
#include "harness.h"

static uint64_t seed;
static unsigned rounds = 3000;

struct totals {
    size_t orders, exact, inferred, reconciled;
};

/* One application's life; *captured* and *rebuilt* get the events of both ways. */
static void live(uint64_t of, unsigned faults, struct banyan_arena *arena, struct banyan_emitter *captured,
                 struct banyan_emitter *rebuilt)
{
    struct application *application = banyan_arena_alloc(arena, sizeof(*application));
    struct banyan_history history;
    uint64_t steps;

    application_init(application, of, (int64_t)(of % 1000000) + 1, faults, arena);
    steps = 1 + application_random(application, 10);
    harness_init(captured, arena);
    while (steps-- > 0) {
        application_step(application);
        harness_changes(captured, application->row.order_id, application->changes, application->change_count,
                        application->exists ? &application->row : NULL);
    }
    application_history(application, &history);
    harness_init(rebuilt, arena);
    harness_history(rebuilt, &history);
}

static void count(struct totals *totals, const struct banyan_emitter *out)
{
    totals->orders++;
    totals->exact += out->exact;
    totals->inferred += out->inferred;
    totals->reconciled += out->reconciled;
}

static void print(const char *what, const struct totals *totals)
{
    printf("# %s: %zu orders, events: %zu exact, %zu inferred, %zu reconciled\n", what, totals->orders, totals->exact,
           totals->inferred, totals->reconciled);
}

/* Both ways give the same events, and none has to be inferred, where the application records everything. */
static void same_events_without_faults(void **unused)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_emitter captured, rebuilt;
    struct totals totals = {0};

    (void)unused;
    for (unsigned i = 0; i < rounds; i++, banyan_arena_reset(&arena)) {
        live(seed + i, 0, &arena, &captured, &rebuilt);
        harness_assert_same(&captured, &rebuilt);
        count(&totals, &rebuilt);
        count(&totals, &captured);
    }
    print("both", &totals);
    assert_int_equal(totals.inferred, 0);
    assert_int_equal(totals.reconciled, 0);
    assert_true(totals.exact > 4 * rounds);
    banyan_arena_release(&arena);
}

/* Capture needs no audit row: the rows themselves say what changed. */
static void capture_is_exact_with_faults(void **unused)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_emitter captured, rebuilt;
    struct totals totals = {0};

    (void)unused;
    for (unsigned i = 0; i < rounds; i++, banyan_arena_reset(&arena)) {
        live(seed + i, FAULTS_ALL, &arena, &captured, &rebuilt);
        count(&totals, &captured);
    }
    print("captured", &totals);
    assert_int_equal(totals.inferred, 0);
    /* A quantity raised by nothing, and nothing else: updated_at moves alone. */
    assert_true(totals.reconciled * 100 < totals.exact);
    banyan_arena_release(&arena);
}

/* Every history adds up (the harness asserts it), and what the faults hide is told apart. */
static void history_adds_up(unsigned faults, struct totals *totals)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_emitter captured, rebuilt;

    for (unsigned i = 0; i < rounds; i++, banyan_arena_reset(&arena)) {
        live(seed + i, faults, &arena, &captured, &rebuilt);
        count(totals, &rebuilt);
    }
    banyan_arena_release(&arena);
}

static void history_with_faults(void **unused)
{
    struct totals totals = {0};

    (void)unused;
    history_adds_up(FAULTS_ALL, &totals);
    print("all faults", &totals);
    assert_true(totals.inferred > 0 && totals.reconciled > 0);
    assert_true(totals.exact > totals.inferred + totals.reconciled);
}

static void history_with_each_fault(void **unused)
{
    struct totals totals = {0};

    (void)unused;
    history_adds_up(FAULT_AUDIT, &totals);
    print("no audit", &totals);
    assert_true(totals.inferred > 0);
    totals = (struct totals){0};
    history_adds_up(FAULT_CANCEL_TIME, &totals);
    print("no cancellation time", &totals);
    assert_true(totals.inferred > 0);
    assert_int_equal(totals.reconciled, 0);
    totals = (struct totals){0};
    history_adds_up(FAULT_TIES, &totals);
    print("ties", &totals);
    assert_true(totals.reconciled * 100 < totals.exact);
    totals = (struct totals){0};
    history_adds_up(FAULT_ORDER, &totals);
    print("overtaking commits", &totals);
    assert_true(totals.reconciled * 10 < totals.exact);
}

static void transactions_of_many_requests(void **unused)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_emitter captured, rebuilt;
    struct totals totals = {0};

    (void)unused;
    for (unsigned i = 0; i < rounds; i++, banyan_arena_reset(&arena)) {
        live(seed + i, FAULT_MIXED, &arena, &captured, &rebuilt);
        count(&totals, &captured);
    }
    print("captured", &totals);
    assert_int_equal(totals.inferred, 0);
    assert_true(totals.reconciled * 20 < totals.exact);
    banyan_arena_release(&arena);
}

static void removed_and_placed_again(void **unused)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_emitter captured, rebuilt;
    struct totals totals = {0};
    size_t removed = 0, created = 0;

    (void)unused;
    for (unsigned i = 0; i < rounds; i++, banyan_arena_reset(&arena)) {
        live(seed + i, FAULT_MIXED | FAULT_REMOVALS | FAULTS_ALL, &arena, &captured, &rebuilt);
        count(&totals, &captured);
        for (size_t e = 0; e < captured.count; e++) {
            const struct harness_event *event = &captured.events[e];

            created += event->type == ORDER_CREATED;
            removed += event->type == ORDER_RECONCILED && ((struct order_reconciled *)event->payload)->removed;
        }
    }
    print("captured", &totals);
    assert_true(removed > 0);
    assert_true(created > rounds);
    banyan_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_events_without_faults),    cmocka_unit_test(capture_is_exact_with_faults),
        cmocka_unit_test(history_with_faults),           cmocka_unit_test(history_with_each_fault),
        cmocka_unit_test(transactions_of_many_requests), cmocka_unit_test(removed_and_placed_again),
    };

    seed = getenv("BANYAN_TEST_SEED") != NULL ? strtoull(getenv("BANYAN_TEST_SEED"), NULL, 10)
                                              : (uint64_t)time(NULL) * 1000;
    if (getenv("BANYAN_TEST_ROUNDS") != NULL)
        rounds *= (unsigned)strtoul(getenv("BANYAN_TEST_ROUNDS"), NULL, 10);
    printf("# BANYAN_TEST_SEED=%llu ROUNDS=%u\n", (unsigned long long)seed, rounds);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
