/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands while the ownership moves: eight threads decide single commands and sets of them; once CLOSING is durable,
 * not one more event is appended until it is over, and every command that was answered is there.
 */
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "rollout/owner.h"
#include "store/aggregate.h"
#include "trading/commands.h"
#include "trading/trading.h"

enum {
    THREADS = 8,
    ROUNDS = 30,
    ORDERS = 4,
    WAIT_US_MAX = 60 * 1000 * 1000,
};

#define ONE INT64_C(100000000)

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct owner *owner;
    struct aggregates *aggregates;
    bool stop; /* atomic */
};

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    enum banyan_status status = owner_permit(context, category, key, creates, arena, ret, err);

    (void)sched_yield(); /* so that it is old by the time of the append, now and then */
    return status;
}

static void must(enum banyan_status status, const struct banyan_error *err)
{
    if (status == BANYAN_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", banyan_status_name(status), err->message);
    abort();
}

static void start(struct rig *rig)
{
    struct store_options options = {.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;

    *rig = (struct rig){.store = NULL};
    folder_make_quick(rig->folder);
    os_files_test_init(&rig->files);
    must(store_open(&options, &rig->store, &err), &err);
    must(owner_open(&(struct owner_options){&banyan_domain_trading, "oms", rig->store}, &rig->owner, &err), &err);
    rig->aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig->store, .domain = &banyan_domain_trading, .permit = {permit, rig->owner}});
}

static void finish(struct rig *rig)
{
    aggregates_free(rig->aggregates);
    owner_close(rig->owner);
    store_close(rig->store);
    folder_remove(rig->folder);
}

static void change(struct rig *rig, enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch;

    (void)owner_mode(rig->owner, &epoch);
    must(owner_change(rig->owner, epoch, mode, "test", &epoch, &err), &err);
}

struct worker {
    struct rig *rig;
    struct os_thread thread;
    unsigned number;
    uint64_t accepted, refused;
};

/* Sets of one command are the ones that are decided on live states. */
static size_t make_commands(unsigned number, uint64_t turn, const struct modify_order *fields,
                            struct banyan_arena *arena, struct aggregate_command commands[ORDERS])
{
    size_t count = turn % 2 == 0 ? 1 : 1 + turn % ORDERS;

    for (size_t i = 0; i < count; i++)
        commands[i] = (struct aggregate_command){
            .id = os_uuid_new(),
            .category = BANYAN_STR("order"),
            .key = banyan_arena_printf(arena, "%" PRIu64, 1 + (number + turn + i) % ORDERS),
            .name = BANYAN_STR("ModifyOrder"),
            .fields = fields,
        };
    return count;
}

static void run(void *argument)
{
    struct worker *worker = argument;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct aggregate_command commands[ORDERS];
    struct aggregate_answer answers[ORDERS];

    for (uint64_t turn = 0; !__atomic_load_n(&worker->rig->stop, __ATOMIC_RELAXED); turn++) {
        struct modify_order fields = {banyan_decimal_null(),
                                      banyan_decimal_of((int64_t)(1 + turn * THREADS + worker->number), 8)};
        size_t count = make_commands(worker->number, turn, &fields, &arena, commands);
        struct banyan_error err = BANYAN_ERROR_INIT;
        bool accepted = false;
        enum banyan_status status =
            aggregates_submit_all(worker->rig->aggregates, commands, count, &arena, answers, NULL, &accepted, &err);

        if (status == BANYAN_BUSY) {
            (void)__atomic_add_fetch(&worker->refused, 1, __ATOMIC_RELAXED);
        } else {
            must(status, &err);
            for (size_t i = 0; i < count; i++)
                worker->accepted += answers[i].event_count;
        }
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

/* Events of orders that are between CLOSING and what ends it. */
static uint64_t count_wrong(struct rig *rig, uint64_t *ret_events)
{
    struct store_reader *reader = store_reader_open(rig->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    uint64_t wrong = 0, changes = 0;

    must(store_reader_seek(reader, (struct banyan_position){1}, &err), &err);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        if (banyan_str_equal(event.event.type, BANYAN_STR("OwnerChanged"))) {
            changes++;
        } else if (banyan_str_equal(event.event.type, BANYAN_STR("OrderModified"))) {
            wrong += changes % 2 == 0;
            (*ret_events)++;
        }
    }
    store_reader_close(reader);
    return wrong;
}

static void place_orders(struct rig *rig)
{
    static const struct place_order placed = {
        7, {"BTCUSD", 6}, {"BUY", 3}, {10 * (__int128)ONE, 8}, {250 * (__int128)ONE, 8}};
    struct banyan_arena arena = BANYAN_ARENA_INIT;

    for (int i = 1; i <= ORDERS; i++) {
        struct aggregate_command command = {
            .id = os_uuid_new(),
            .category = BANYAN_STR("order"),
            .key = banyan_arena_printf(&arena, "%d", i),
            .name = BANYAN_STR("PlaceOrder"),
            .fields = &placed,
            .expect = STORE_EXPECT_ABSENT,
            .new_key = true,
        };
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct aggregate_answer answer;

        must(aggregates_execute(rig->aggregates, &command, &arena, &answer, &err), &err);
        assert_true(answer.accepted);
    }
    banyan_arena_release(&arena);
}

/* A busy machine may not have let any thread run yet. */
static void yield_since(int64_t began_us)
{
    assert_true(os_clock_monotonic_us(os_clock_real()) - began_us < WAIT_US_MAX);
    (void)sched_yield();
}

static void await_append(struct rig *rig)
{
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    uint64_t tail = store_tail(rig->store).value;

    while (store_tail(rig->store).value < tail + 20)
        yield_since(began_us);
}

static uint64_t refusals(const struct worker workers[THREADS])
{
    uint64_t count = 0;

    for (unsigned i = 0; i < THREADS; i++)
        count += __atomic_load_n(&workers[i].refused, __ATOMIC_RELAXED);
    return count;
}

static void await_refusal(const struct worker workers[THREADS])
{
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    uint64_t count = refusals(workers);

    while (refusals(workers) == count)
        yield_since(began_us);
}

static void test_race(void **unused)
{
    struct worker workers[THREADS];
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t accepted = 0, refused = 0, events = 0;
    struct rig rig;

    (void)unused;
    start(&rig);
    change(&rig, OWNER_BANYAN);
    place_orders(&rig);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = &rig, .number = i};
        os_thread_start(&workers[i].thread, "worker", run, &workers[i]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t tail;

        change(&rig, OWNER_CLOSING);
        tail = store_tail(rig.store).value;
        await_refusal(workers);
        assert_int_equal(store_tail(rig.store).value, tail);
        change(&rig, OWNER_BANYAN);
        await_append(&rig);
    }
    __atomic_store_n(&rig.stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++) {
        os_thread_join(&workers[i].thread);
        accepted += workers[i].accepted;
        refused += workers[i].refused;
    }
    must(store_wait(rig.store, store_tail(rig.store), INT64_MAX, &err), &err);
    assert_int_equal(count_wrong(&rig, &events), 0);
    assert_int_equal(events, accepted);
    assert_true(accepted > 0 && refused > 0);
    print_message("# %" PRIu64 " events, %" PRIu64 " sets refused, %d changes\n", accepted, refused, 2 * ROUNDS + 1);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_race)};

    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
