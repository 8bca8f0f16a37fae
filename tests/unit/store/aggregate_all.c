/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several commands as one append, with the accounts of support/transfers.h: all or none, repeats, states, permits, and
 * threads whose sets overlap.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/aggregate.h"
#include "support/seed.h"
#include "support/transfers.h"

enum {
    ACCOUNTS = 5,
    BALANCE = 1000,
    THREADS = 4,
    RACE_SETS = 300,
};

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct aggregates *aggregates;
    struct banyan_arena arena;
    /* The permit. */
    uint64_t epoch, asked;
    bool refuses;
};

static enum banyan_status permit(void *context, struct banyan_str category, struct banyan_str key, bool creates,
                                 struct banyan_arena *arena, struct store_condition *ret, struct banyan_error *err)
{
    struct rig *rig = context;

    rig->asked++;
    if (rig->refuses)
        return banyan_error_set(err, BANYAN_BUSY, "not now");
    *ret = (struct store_condition){BANYAN_STR("$epoch"), STORE_EXPECT_VERSION, {rig->epoch}};
    return BANYAN_OK;
}

static void open_rig(struct rig *rig, bool permits)
{
    struct store_options options = {.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024};
    struct aggregates_options all = {.domain = &transfers_domain};
    struct banyan_error err = BANYAN_ERROR_INIT;

    os_files_test_init(&rig->files);
    if (store_open(&options, &rig->store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    all.store = rig->store;
    if (permits)
        all.permit = (struct aggregates_permit){permit, rig};
    rig->aggregates = aggregates_new(&all);
}

static void close_rig(struct rig *rig)
{
    aggregates_free(rig->aggregates);
    store_close(rig->store);
}

static void start(struct rig *rig, bool permits)
{
    *rig = (struct rig){.store = NULL};
    folder_make_quick(rig->folder);
    open_rig(rig, permits);
}

static void finish(struct rig *rig)
{
    close_rig(rig);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
}

static struct aggregate_command command_of(struct banyan_arena *arena, int64_t account, const char *name,
                                           const void *fields)
{
    return (struct aggregate_command){
        .id = os_uuid_new(),
        .category = BANYAN_STR("account"),
        .key = banyan_arena_printf(arena, "%" PRId64, account),
        .name = banyan_str_of(name),
        .fields = fields,
    };
}

static void open_accounts(struct rig *rig)
{
    static const struct transfers_opened opened = {BALANCE};

    for (int64_t account = 1; account <= ACCOUNTS; account++) {
        struct aggregate_command command = command_of(&rig->arena, account, "Open", &opened);
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct aggregate_answer answer;

        if (aggregates_execute(rig->aggregates, &command, &rig->arena, &answer, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
    }
}

/* *amount* from account 1 to account 2; two answers. */
struct transfer {
    struct transfers_withdrawn withdrawn;
    struct transfers_deposited deposited;
    struct aggregate_command commands[2];
    struct aggregate_answer answers[2];
    struct transfers_account states[2];
    bool accepted;
};

static void make(struct transfer *transfer, struct banyan_arena *arena, int64_t from, int64_t to, int64_t amount)
{
    transfer->withdrawn = (struct transfers_withdrawn){1, amount};
    transfer->deposited = (struct transfers_deposited){1, amount, false};
    transfer->commands[0] = command_of(arena, from, "Withdraw", &transfer->withdrawn);
    transfer->commands[1] = command_of(arena, to, "Deposit", &transfer->deposited);
}

static enum banyan_status submit(struct aggregates *aggregates, struct banyan_arena *arena, struct transfer *transfer,
                                 struct banyan_error *err)
{
    void *states[] = {&transfer->states[0], &transfer->states[1]};

    return aggregates_submit_all(aggregates, transfer->commands, 2, arena, transfer->answers, states,
                                 &transfer->accepted, err);
}

static void must_submit(struct rig *rig, struct transfer *transfer)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (submit(rig->aggregates, &rig->arena, transfer, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void test_all_or_none(void **unused)
{
    struct transfer transfer, poor, again;
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t tail;
    struct rig rig;

    (void)unused;
    start(&rig, false);
    open_accounts(&rig);
    tail = store_tail(rig.store).value;
    make(&transfer, &rig.arena, 1, 2, 400);
    must_submit(&rig, &transfer);
    assert_true(transfer.accepted && transfer.answers[0].accepted && transfer.answers[1].accepted);
    assert_int_equal(transfer.states[0].balance, BALANCE - 400);
    assert_int_equal(transfer.states[1].balance, BALANCE + 400);
    assert_int_equal(transfer.answers[0].version.value, 2);
    assert_int_equal(transfer.answers[0].position.value, tail + 1);
    assert_int_equal(transfer.answers[1].position.value, tail + 2);

    make(&poor, &rig.arena, 1, 2, BALANCE); /* the second is refused for the first */
    must_submit(&rig, &poor);
    assert_false(poor.accepted || poor.answers[0].accepted || poor.answers[1].accepted);
    assert_non_null(poor.answers[0].code);
    assert_null(poor.answers[1].code);
    assert_int_equal(poor.states[0].balance, BALANCE - 400);
    make(&poor, &rig.arena, 1, 99, 1); /* the first is refused for the second */
    must_submit(&rig, &poor);
    assert_false(poor.accepted || poor.answers[0].accepted || poor.answers[0].code != NULL);
    assert_non_null(poor.answers[1].code);
    assert_int_equal(store_tail(rig.store).value, tail + 2);

    again = transfer;
    for (int round = 0; round < 3; round++) { /* at once, when the states went on, behind a start */
        must_submit(&rig, &again);
        assert_true(again.accepted && again.answers[0].repeated && again.answers[1].repeated);
        assert_int_equal(again.answers[1].position.value, transfer.answers[1].position.value);
        assert_int_equal(again.answers[0].version.value, transfer.answers[0].version.value);
        assert_int_equal(again.states[0].balance, BALANCE - 400);
        assert_int_equal(again.states[1].balance, BALANCE + 400);
        make(&poor, &rig.arena, 2, 1, 10);
        must_submit(&rig, &poor);
        assert_true(poor.accepted);
        if (round == 1) {
            assert_int_equal(store_wait(rig.store, store_tail(rig.store), INT64_MAX, &err), BANYAN_OK);
            close_rig(&rig);
            open_rig(&rig, false);
        }
    }
    transfer.withdrawn.amount = 401; /* commands of the copy point here */
    assert_int_equal(submit(rig.aggregates, &rig.arena, &again, &err), BANYAN_DUPLICATE);
    again = transfer;
    again.commands[1].id = again.commands[0].id;
    assert_int_equal(submit(rig.aggregates, &rig.arena, &again, &err), BANYAN_INVALID);
    finish(&rig);
}

/* Every append names the epoch; a set that was executed is answered whatever the permit says now. */
static void test_permit(void **unused)
{
    static const struct transfers_opened opened = {BALANCE};
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("$epoch"),
                                .type = BANYAN_STR("Next"),
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("{}")};
    struct aggregate_command command;
    struct aggregate_answer answer;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct transfer transfer, next;
    struct rig rig;
    uint64_t tail;

    (void)unused;
    start(&rig, true);
    open_accounts(&rig);
    make(&transfer, &rig.arena, 1, 2, 400);
    must_submit(&rig, &transfer);
    assert_int_equal(
        store_append(rig.store, &(struct store_append){.events = &event, .event_count = 1}, &appended, &err),
        BANYAN_OK);
    tail = store_tail(rig.store).value;
    make(&next, &rig.arena, 1, 2, 1);
    rig.asked = 0;
    assert_int_equal(submit(rig.aggregates, &rig.arena, &next, &err), BANYAN_CONFLICT);
    assert_true(rig.asked > 2); /* again and again */
    command = command_of(&rig.arena, 77, "Open", &opened);
    assert_int_equal(aggregates_submit(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_CONFLICT);
    rig.refuses = true;
    assert_int_equal(submit(rig.aggregates, &rig.arena, &next, &err), BANYAN_BUSY);
    assert_int_equal(aggregates_submit(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_BUSY);
    must_submit(&rig, &transfer);
    assert_true(transfer.accepted && transfer.answers[0].repeated);
    assert_int_equal(aggregates_submit(rig.aggregates, &transfer.commands[0], &rig.arena, &answer, &err), BANYAN_OK);
    assert_true(answer.repeated);
    assert_int_equal(store_tail(rig.store).value, tail);
    rig.refuses = false;
    rig.epoch = 1;
    must_submit(&rig, &next);
    assert_true(next.accepted);
    finish(&rig);
}

/* ---- many threads ---- */

struct worker {
    struct rig *rig;
    struct os_thread thread;
    uint64_t seed, accepted;
};

static void run_race(void *argument)
{
    struct worker *worker = argument;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;

    os_random_seed(&random, worker->seed);
    for (int i = 0; i < RACE_SETS; i++) {
        int64_t from = 1 + (int64_t)os_random_below(&random, ACCOUNTS);
        int64_t to = 1 + (from + (int64_t)os_random_below(&random, ACCOUNTS - 1)) % ACCOUNTS;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct transfer transfer;
        bool again = os_random_below(&random, 4) == 0;

        make(&transfer, &arena, from, to, 1 + (int64_t)os_random_below(&random, BALANCE / 2));
        do {
            if (submit(worker->rig->aggregates, &arena, &transfer, &err) != BANYAN_OK) {
                (void)fprintf(stderr, "%s\n", err.message);
                abort();
            }
            if (transfer.answers[0].repeated != transfer.answers[1].repeated)
                abort();
            worker->accepted += transfer.accepted && !transfer.answers[0].repeated;
            again = again && !transfer.answers[0].repeated && transfer.accepted;
        } while (again);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

static void test_race(void **unused)
{
    struct worker workers[THREADS];
    uint64_t seed = test_seed(), accepted = 0, moved = 0;
    int64_t sum = 0;
    struct rig rig;

    (void)unused;
    start(&rig, false);
    open_accounts(&rig);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = &rig, .seed = seed + i};
        os_thread_start(&workers[i].thread, "worker", run_race, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        os_thread_join(&workers[i].thread);
        accepted += workers[i].accepted;
    }
    for (int64_t account = 1; account <= ACCOUNTS; account++) {
        struct transfers_account state;
        struct banyan_version version;
        struct banyan_error err = BANYAN_ERROR_INIT;

        assert_int_equal(aggregates_state(rig.aggregates, BANYAN_STR("account"),
                                          banyan_arena_printf(&rig.arena, "%" PRId64, account), &rig.arena, &state,
                                          &version, &err),
                         BANYAN_OK);
        assert_true(state.balance >= 0);
        sum += state.balance;
        moved += (uint64_t)(state.withdrawals + state.deposits);
        assert_int_equal(version.value, 1 + state.withdrawals + state.deposits);
    }
    assert_int_equal(sum, ACCOUNTS * BALANCE);
    assert_int_equal(moved, 2 * accepted);
    assert_true(accepted > 0);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_or_none),
        cmocka_unit_test(test_permit),
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests_name("aggregate_all", tests, NULL, NULL);
}
