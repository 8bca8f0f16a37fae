/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes over a store, with the small domain of support/transfers.h: reactions, refusals, time-outs, restarts, what
 * is put aside, and others who write to the same streams meanwhile.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "support/seed.h"
#include "support/transfers.h"

enum {
    LIMIT_US = 20 * 1000 * 1000,
    RICH = 1000000,
    RACE_ACCOUNTS = 4,
    RACE_THREADS = 3,
    RACE_TRANSFERS = 300, /* of each thread */
};

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct aggregates *aggregates;
    struct process *process;
    struct os_stop stop;
    struct os_clock_test clock;
    struct banyan_arena arena;
    enum banyan_status permit; /* of commands of accounts; atomic */
    uint64_t epoch;
};

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    struct rig *rig = context;
    enum banyan_status status = __atomic_load_n(&rig->permit, __ATOMIC_SEQ_CST);

    *ret = (struct store_condition){.expect = STORE_EXPECT_NONE};
    if (!banyan_str_equal(category, BANYAN_STR("account")))
        return BANYAN_OK;
    *ret = (struct store_condition){BANYAN_STR("$epoch"), STORE_EXPECT_VERSION, {rig->epoch}};
    return status == BANYAN_OK ? status : banyan_error_set(err, status, "it is not ours");
}

static void check(enum banyan_status status, const struct banyan_error *err)
{
    if (status != BANYAN_OK)
        fail_msg("%s: %s", banyan_status_name(status), err->message);
}

static void open_rig(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    check(store_open(
              &(struct store_options){.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024},
              &rig->store, &err),
          &err);
    rig->aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig->store, .domain = &transfers_domain, .clock = &rig->clock.base, .permit = {permit, rig}});
    check(os_stop_open(&rig->stop, &err), &err);
}

static void start_process(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    check(process_start(&(struct process_options){.domain = &transfers_domain,
                                                  .process = transfers_domain.processes,
                                                  .store = rig->store,
                                                  .aggregates = rig->aggregates,
                                                  .stop = &rig->stop,
                                                  .clock = &rig->clock.base},
                        &rig->process, &err),
          &err);
}

static void close_rig(struct rig *rig)
{
    os_stop_request(&rig->stop);
    process_stop(rig->process);
    rig->process = NULL;
    aggregates_free(rig->aggregates);
    store_close(rig->store);
    os_stop_close(&rig->stop);
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.store = NULL};
    os_files_test_init(&rig->files);
    folder_make_quick(rig->folder);
    os_clock_test_init(&rig->clock, (struct banyan_time){INT64_C(1700000000000000)});
    open_rig(rig);
}

static void finish(struct rig *rig)
{
    close_rig(rig);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
}

static void restart(struct rig *rig)
{
    close_rig(rig);
    open_rig(rig);
    start_process(rig);
}

/* ---- what is asked ---- */

static void command(struct rig *rig, const char *category, int64_t key, const char *name, const void *fields)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct aggregate_command command = {
        .id = os_uuid_new(), .category = banyan_str_of(category), .name = banyan_str_of(name), .fields = fields};
    struct aggregate_answer answer;
    struct banyan_error err = BANYAN_ERROR_INIT;

    command.key = banyan_arena_printf(&arena, "%" PRId64, key);
    check(aggregates_execute(rig->aggregates, &command, &arena, &answer, &err), &err);
    assert_true(answer.accepted);
    banyan_arena_release(&arena);
}

static void open_account(struct rig *rig, int64_t key, int64_t balance)
{
    command(rig, "account", key, "Open", &(struct transfers_opened){balance});
}

static void freeze(struct rig *rig, int64_t key, bool frozen)
{
    command(rig, "account", key, "Freeze", &(struct transfers_frozen){frozen});
}

static void ask(struct rig *rig, int64_t key, int64_t from, int64_t to, int64_t amount)
{
    command(rig, "transfer", key, "Ask", &(struct transfers_asked){from, to, amount});
}

/* ---- what came of it ---- */

/* What the process appends leads to more that it sees: until nothing is left. */
static void settle(struct rig *rig)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position tail = {0};

    while (tail.value != store_tail(rig->store).value) {
        tail = store_tail(rig->store);
        check(process_wait(rig->process, tail, LIMIT_US, &err), &err);
    }
}

static int64_t balance_of(struct rig *rig, int64_t key)
{
    struct transfers_account account;
    struct banyan_version version;
    struct banyan_error err = BANYAN_ERROR_INIT;

    check(aggregates_state(rig->aggregates, BANYAN_STR("account"), banyan_arena_printf(&rig->arena, "%" PRId64, key),
                           &rig->arena, &account, &version, &err),
          &err);
    return account.balance;
}

static struct transfers_mover mover_of(struct rig *rig, int64_t key)
{
    struct transfers_mover mover;
    struct banyan_version version;
    struct banyan_error err = BANYAN_ERROR_INIT;

    check(aggregates_state(rig->aggregates, BANYAN_STR("mover"), banyan_arena_printf(&rig->arena, "%" PRId64, key),
                           &rig->arena, &mover, &version, &err),
          &err);
    return mover;
}

static void assert_outcome(struct rig *rig, int64_t key, const char *outcome)
{
    struct transfers_mover mover = mover_of(rig, key);

    assert_int_equal(mover.stage, TRANSFERS_STAGE_ENDED);
    assert_true(banyan_str_equal(mover.outcome, banyan_str_of(outcome)));
}

/* Wait until the process has woken so often. */
static void await_wakes(struct rig *rig, uint64_t wakes)
{
    struct process_status status = {.wakes = 0};

    for (int64_t waited_us = 0; status.wakes < wakes; waited_us += 1000) {
        if (waited_us > LIMIT_US)
            fail_msg("%" PRIu64 " wakes, not %" PRIu64, status.wakes, wakes);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        process_status(rig->process, &status);
    }
    settle(rig);
}

/* ---- tests ---- */

static void moves_and_refuses(void **context)
{
    struct process_status status;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    start_process(&rig);
    ask(&rig, 10, 1, 2, 30);
    ask(&rig, 11, 1, 2, 71);
    ask(&rig, 12, 1, 3, 5);
    settle(&rig);
    assert_outcome(&rig, 10, "done");
    assert_outcome(&rig, 11, "poor");
    assert_outcome(&rig, 12, "back");
    assert_int_equal(balance_of(&rig, 1), 70);
    assert_int_equal(balance_of(&rig, 2), 30);
    process_status(rig.process, &status);
    assert_int_equal(status.state, PROCESS_LIVE);
    assert_int_equal(status.reactions, 5);
    assert_int_equal(status.commands, 6);
    assert_int_equal(status.refused, 2);
    assert_int_equal(status.timers, 0);
    assert_int_equal(status.aside, 0);
    finish(&rig);
}

/* Commands of aggregates that somebody else owns are refused; those that are being handed over are waited for. */
static void asks_the_owner(void **context)
{
    struct process_status status = {.state = PROCESS_NONE};
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    ask(&rig, 10, 1, 2, 30);
    ask(&rig, 11, 1, 2, 40);
    rig.permit = BANYAN_CONFLICT;
    start_process(&rig);
    settle(&rig);
    assert_outcome(&rig, 10, "not-owned");
    assert_outcome(&rig, 11, "not-owned");
    /* What is not there may be made by the other side at any moment: aside, with the reason, and no loop. */
    ask(&rig, 13, 99, 2, 1);
    settle(&rig);
    process_status(rig.process, &status);
    assert_int_equal(status.state, PROCESS_LIVE);
    assert_int_equal(status.aside, 1);
    __atomic_store_n(&rig.permit, BANYAN_BUSY, __ATOMIC_SEQ_CST);
    ask(&rig, 12, 1, 2, 50);
    for (int64_t waited_us = 0; status.state != PROCESS_FAILED; waited_us += 1000) {
        assert_true(waited_us < LIMIT_US);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        process_status(rig.process, &status);
    }
    assert_int_equal(status.error.status, BANYAN_BUSY);
    __atomic_store_n(&rig.permit, BANYAN_OK, __ATOMIC_SEQ_CST);
    settle(&rig);
    assert_outcome(&rig, 12, "done");
    assert_int_equal(balance_of(&rig, 1), 50);
    finish(&rig);
}

/* An event says who caused it, and the reaction is one batch with its cursor. */
static void explains_itself(void **context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    struct store_reader *reader;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    ask(&rig, 10, 1, 2, 30);
    start_process(&rig);
    settle(&rig);
    reader = store_reader_open(rig.store);
    check(store_reader_seek(reader, (struct banyan_position){3}, &err), &err);
    check(store_reader_next(reader, &event, &err), &err);
    assert_true(banyan_str_equal(event.event.type, BANYAN_STR("MoveStarted")));
    assert_true(banyan_str_equal(event.event.meta, BANYAN_STR("{\"process\":\"mover\",\"key\":\"10\",\"cause\":2}")));
    assert_false(event.ends_batch);
    check(store_reader_next(reader, &event, &err), &err);
    assert_true(banyan_str_equal(event.event.type, BANYAN_STR("Withdrawn")));
    assert_true(banyan_str_equal(
        event.event.meta, BANYAN_STR("{\"process\":\"mover\",\"key\":\"10\",\"cause\":2,\"command\":\"Withdraw\"}")));
    assert_true(event.ends_batch);
    assert_true(banyan_str_equal(event.cursor.name, BANYAN_STR("process:mover")));
    assert_memory_equal(event.cursor.value.data, "2 ", 2);
    store_reader_close(reader);
    finish(&rig);
}

static void waits_and_gives_up(void **context)
{
    struct process_status status;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    open_account(&rig, 3, 0);
    freeze(&rig, 2, true);
    freeze(&rig, 3, true);
    start_process(&rig);
    ask(&rig, 10, 1, 2, 30);
    ask(&rig, 11, 1, 3, 20);
    settle(&rig);
    process_status(rig.process, &status);
    assert_int_equal(status.timers, 2);
    assert_int_equal(status.next_wake.us, rig.clock.now_us + TRANSFERS_WAIT_US);
    assert_int_equal(balance_of(&rig, 1), 50);
    freeze(&rig, 2, false);
    os_clock_test_move(&rig.clock, TRANSFERS_WAIT_US);
    await_wakes(&rig, 2);
    assert_outcome(&rig, 10, "done");
    assert_int_equal(mover_of(&rig, 11).tries, 2);
    os_clock_test_move(&rig.clock, TRANSFERS_WAIT_US);
    await_wakes(&rig, 3);
    os_clock_test_move(&rig.clock, TRANSFERS_WAIT_US);
    await_wakes(&rig, 4);
    assert_outcome(&rig, 11, "back");
    assert_int_equal(balance_of(&rig, 1), 70);
    process_status(rig.process, &status);
    assert_int_equal(status.timers, 0);
    finish(&rig);
}

/* Timers are found again, also when much came after them, and a restart acts on nothing twice. */
static void goes_on_after_a_restart(void **context)
{
    struct process_status status;
    uint64_t tail;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, RICH);
    open_account(&rig, 2, 0);
    open_account(&rig, 3, 0);
    freeze(&rig, 2, true);
    start_process(&rig);
    ask(&rig, 10, 1, 2, 30);
    for (int64_t key = 100; key < 1400; key++)
        ask(&rig, key, 1, 3, 1);
    settle(&rig);
    tail = store_tail(rig.store).value;
    restart(&rig);
    settle(&rig);
    assert_int_equal(store_tail(rig.store).value, tail);
    process_status(rig.process, &status);
    assert_int_equal(status.timers, 1);
    assert_true(status.seen <= 1); /* the last event may have caused nothing */
    freeze(&rig, 2, false);
    os_clock_test_move(&rig.clock, TRANSFERS_WAIT_US);
    await_wakes(&rig, 1);
    assert_outcome(&rig, 10, "done");
    assert_int_equal(balance_of(&rig, 1), RICH - 30 - 1300);
    assert_int_equal(balance_of(&rig, 3), 1300);
    finish(&rig);
}

/* A cursor that was set back: everything is seen again, and nothing is done again. */
static void acts_once_for_each_cause(void **context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("note-1"),
                                .type = BANYAN_STR("Note"),
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("{}")};
    struct store_append append = {
        .events = &event, .event_count = 1, .cursor = {BANYAN_STR("process:mover"), BANYAN_STR("0 1 1")}};
    struct store_appended appended;
    struct process_status status;
    uint64_t tail;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    start_process(&rig);
    for (int64_t key = 10; key < 20; key++)
        ask(&rig, key, 1, 2, 3);
    settle(&rig);
    check(store_append(rig.store, &append, &appended, &err), &err);
    tail = store_tail(rig.store).value;
    restart(&rig);
    settle(&rig);
    assert_int_equal(store_tail(rig.store).value, tail);
    process_status(rig.process, &status);
    assert_int_equal(status.seen, 20);
    assert_int_equal(balance_of(&rig, 1), 70);
    assert_int_equal(balance_of(&rig, 2), 30);
    finish(&rig);
}

/* What the domain gets wrong holds up its instance and nobody else, over a restart, until it is put right. */
static void puts_aside_and_tries_again(void **context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct process_status status;
    struct process_aside *aside;
    struct rig rig;
    size_t count;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 10000);
    open_account(&rig, 2, 0);
    __atomic_store_n(&transfers_broken, true, __ATOMIC_RELAXED);
    start_process(&rig);
    ask(&rig, 10, 1, 2, TRANSFERS_BAD_AMOUNT);
    ask(&rig, 11, 1, 2, 30);
    /* An event of instance 10 that has to wait behind it. */
    command(&rig, "account", 1, "Withdraw", &(struct transfers_withdrawn){10, 1});
    settle(&rig);
    assert_outcome(&rig, 11, "done");
    for (int i = 0; i < 2; i++) {
        process_status(rig.process, &status);
        assert_int_equal(status.aside, 1);
        assert_int_equal(status.held, 2);
        process_list_aside(rig.process, 10, &rig.arena, &aside, &count);
        assert_int_equal(count, 1);
        assert_true(banyan_str_equal(aside->key, BANYAN_STR("10")));
        assert_int_equal(aside->events, 2);
        assert_true(aside->error.size > 0);
        restart(&rig); /* tries again, in vain */
        settle(&rig);
    }
    __atomic_store_n(&transfers_broken, false, __ATOMIC_RELAXED);
    assert_int_equal(process_retry(rig.process), 1);
    for (int tries = 0; status.aside > 0 && tries < 10000; tries++) {
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        process_status(rig.process, &status);
    }
    assert_int_equal(status.aside, 0);
    assert_int_equal(status.held, 0);
    settle(&rig);
    check(process_wait(rig.process, store_tail(rig.store), LIMIT_US, &err), &err);
    assert_outcome(&rig, 10, "done");
    assert_int_equal(balance_of(&rig, 2), 30 + TRANSFERS_BAD_AMOUNT);
    restart(&rig);
    settle(&rig);
    process_status(rig.process, &status);
    assert_int_equal(status.aside, 0);
    finish(&rig);
}

static void bears_what_cannot_be_decoded(void **context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("transfer-77"),
                                .type = BANYAN_STR("TransferAsked"),
                                .schema = 1,
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("\xff")};
    struct store_append append = {.events = &event, .event_count = 1};
    struct store_appended appended;
    struct process_status status;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    start_process(&rig);
    check(store_append(rig.store, &append, &appended, &err), &err);
    event.id = os_uuid_new();
    check(store_append(rig.store, &append, &appended, &err), &err);
    ask(&rig, 10, 1, 2, 30);
    settle(&rig);
    assert_outcome(&rig, 10, "done");
    process_status(rig.process, &status);
    assert_int_equal(status.aside, 1);
    assert_int_equal(status.held, 2);
    (void)process_retry(rig.process);
    ask(&rig, 11, 1, 2, 30);
    settle(&rig);
    process_status(rig.process, &status);
    assert_int_equal(status.held, 2);
    finish(&rig);
}

/* A full disk: nothing is lost and nothing is done twice, once there is room again. */
static void goes_on_when_there_is_room(void **context)
{
    struct process_status status = {.state = PROCESS_NONE};
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, RICH);
    open_account(&rig, 2, 0);
    for (int64_t key = 10; key < 510; key++)
        ask(&rig, key, 1, 2, 3);
    __atomic_store_n(&rig.files.bytes_left, 30000, __ATOMIC_SEQ_CST);
    start_process(&rig);
    for (int tries = 0; status.state != PROCESS_FAILED && tries < 20000; tries++) {
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        process_status(rig.process, &status);
    }
    assert_int_equal(status.state, PROCESS_FAILED);
    assert_int_equal(status.error.status, BANYAN_NO_SPACE);
    __atomic_store_n(&rig.files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
    settle(&rig);
    for (int64_t key = 10; key < 510; key++)
        assert_outcome(&rig, key, "done");
    assert_int_equal(balance_of(&rig, 1), RICH - 1500);
    assert_int_equal(balance_of(&rig, 2), 1500);
    finish(&rig);
}

/* Nothing is acted on while history is brought in, nor is history. */
static void leaves_history_alone(void **context)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct process_options options;
    struct rig rig;

    (void)context;
    start(&rig);
    options = (struct process_options){.domain = &transfers_domain,
                                       .process = transfers_domain.processes,
                                       .store = rig.store,
                                       .aggregates = rig.aggregates,
                                       .stop = &rig.stop,
                                       .clock = &rig.clock.base,
                                       .held = true};
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    check(process_start(&options, &rig.process, &err), &err);
    ask(&rig, 10, 1, 2, 30);
    process_release(rig.process);
    settle(&rig);
    assert_int_equal(mover_of(&rig, 10).stage, TRANSFERS_STAGE_NONE);
    ask(&rig, 11, 1, 2, 30);
    settle(&rig);
    assert_outcome(&rig, 11, "done");
    restart(&rig);
    settle(&rig);
    assert_int_equal(mover_of(&rig, 10).stage, TRANSFERS_STAGE_NONE);
    finish(&rig);
}

/* ---- others at the same streams ---- */

static struct rig *interfered;

static void withdraw_first(void)
{
    command(interfered, "account", 1, "Withdraw", &(struct transfers_withdrawn){0, 50});
}

/* Somebody writes between the decision and the append: it is decided anew on what is there then. */
static void decides_anew(void **context)
{
    struct process_status status;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, 100);
    open_account(&rig, 2, 0);
    start_process(&rig);
    settle(&rig);
    interfered = &rig;
    __atomic_store_n(&transfers_interfere, withdraw_first, __ATOMIC_SEQ_CST);
    ask(&rig, 10, 1, 2, 80);
    settle(&rig);
    assert_outcome(&rig, 10, "poor");
    assert_int_equal(balance_of(&rig, 1), 50);
    process_status(rig.process, &status);
    assert_int_equal(status.conflicts, 1);
    finish(&rig);
}

struct racer {
    struct rig *rig;
    unsigned number;
    struct os_thread thread;
};

static void race(void *argument)
{
    struct racer *racer = argument;
    struct os_random random;

    os_random_seed(&random, racer->number);
    for (int64_t i = 0; i < RACE_TRANSFERS; i++) {
        int64_t from = 1 + (int64_t)os_random_below(&random, RACE_ACCOUNTS);

        ask(racer->rig, 1000 * (racer->number + 1) + i, from, from % RACE_ACCOUNTS + 1, 5);
        freeze(racer->rig, from, os_random_below(&random, 4) == 0);
    }
}

static void is_right_beside_others(void **context)
{
    struct racer racers[RACE_THREADS];
    struct process_status status;
    struct rig rig;
    int64_t sum = 0;

    (void)context;
    start(&rig);
    for (int64_t key = 1; key <= RACE_ACCOUNTS; key++)
        open_account(&rig, key, 1000);
    start_process(&rig);
    for (unsigned i = 0; i < RACE_THREADS; i++) {
        racers[i] = (struct racer){&rig, i, {.started = false}};
        os_thread_start(&racers[i].thread, "racer", race, &racers[i]);
    }
    for (unsigned i = 0; i < RACE_THREADS; i++)
        os_thread_join(&racers[i].thread);
    settle(&rig);
    do {
        os_clock_test_move(&rig.clock, TRANSFERS_WAIT_US);
        os_clock_real()->sleep_us(os_clock_real(), 1000);
        settle(&rig);
        process_status(rig.process, &status);
    } while (status.timers > 0);
    for (int64_t key = 1; key <= RACE_ACCOUNTS; key++)
        sum += balance_of(&rig, key);
    assert_int_equal(sum, 1000 * RACE_ACCOUNTS);
    for (unsigned i = 0; i < RACE_THREADS; i++) {
        for (int64_t t = 0; t < RACE_TRANSFERS; t++)
            assert_int_equal(mover_of(&rig, 1000 * (i + 1) + t).stage, TRANSFERS_STAGE_ENDED);
    }
    (void)printf("# %" PRIu64 " reactions, %" PRIu64 " conflicts, %" PRIu64 " wakes\n", status.reactions,
                 status.conflicts, status.wakes);
    finish(&rig);
}

/* Much that concerns nobody moves the cursor now and then, and not with each event. */
static void moves_over_what_is_not_wanted(void **context)
{
    struct process_status status;
    struct rig rig;

    (void)context;
    start(&rig);
    open_account(&rig, 1, RICH);
    for (int i = 0; i < 5000; i++)
        command(&rig, "account", 1, "Withdraw", &(struct transfers_withdrawn){1, 1});
    start_process(&rig);
    settle(&rig);
    process_status(rig.process, &status);
    assert_int_equal(status.seen, 5000);
    assert_int_equal(store_tail(rig.store).value, 5002);
    restart(&rig);
    settle(&rig);
    process_status(rig.process, &status);
    assert_in_range(status.seen, 1, 1000);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_and_refuses),
        cmocka_unit_test(asks_the_owner),
        cmocka_unit_test(explains_itself),
        cmocka_unit_test(waits_and_gives_up),
        cmocka_unit_test(goes_on_after_a_restart),
        cmocka_unit_test(acts_once_for_each_cause),
        cmocka_unit_test(puts_aside_and_tries_again),
        cmocka_unit_test(bears_what_cannot_be_decoded),
        cmocka_unit_test(goes_on_when_there_is_room),
        cmocka_unit_test(leaves_history_alone),
        cmocka_unit_test(decides_anew),
        cmocka_unit_test(is_right_beside_others),
        cmocka_unit_test(moves_over_what_is_not_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
