/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands over a store: states live and cold, repeats, other writers in between, failures of the disk, many threads.
 * The domain is the trading one; what it decides has tests of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/aggregate.h"
#include "store/snapshot.h"
#include "trading/commands.h"
#include "trading/order.h"
#include "trading/trading.h"

enum {
    THREADS = 6,
    RACE_COMMANDS = 400, /* of each thread */
    RACE_ORDERS = 5,
};

#define ONE INT64_C(100000000) /* units of 1 */

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct aggregates *aggregates;
    struct banyan_arena arena;
};

static struct banyan_decimal amount(int64_t units)
{
    return banyan_decimal_of(units, 8);
}

static void open_rig(struct rig *rig, size_t states_max)
{
    struct store_options options = {.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;

    os_files_test_init(&rig->files);
    if (store_open(&options, &rig->store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    rig->aggregates = aggregates_new(
        &(struct aggregates_options){.store = rig->store, .domain = &banyan_domain_trading, .states_max = states_max});
}

static void close_rig(struct rig *rig)
{
    aggregates_free(rig->aggregates);
    store_close(rig->store);
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.store = NULL};
    folder_make_quick(rig->folder);
    open_rig(rig, 0);
}

static void finish(struct rig *rig)
{
    close_rig(rig);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
}

static struct aggregate_command command_of(const char *key, const char *name, const void *fields)
{
    return (struct aggregate_command){
        .id = os_uuid_new(),
        .category = BANYAN_STR("order"),
        .key = banyan_str_of(key),
        .name = banyan_str_of(name),
        .fields = fields,
    };
}

static struct aggregate_answer execute(struct rig *rig, const struct aggregate_command *command)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;

    if (aggregates_execute(rig->aggregates, command, &rig->arena, &answer, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_true(store_durable(rig->store).value >= answer.position.value);
    return answer;
}

static const struct place_order placed = {
    7, {"BTCUSD", 6}, {"BUY", 3}, {10 * (__int128)ONE, 8}, {250 * (__int128)ONE, 8}};

static struct aggregate_answer place(struct rig *rig, const char *key)
{
    struct aggregate_command command = command_of(key, "PlaceOrder", &placed);

    return execute(rig, &command);
}

static struct aggregate_answer fill(struct rig *rig, const char *key, int64_t units)
{
    struct fill_order fields = {amount(units), amount(250 * ONE)};
    struct aggregate_command command = command_of(key, "FillOrder", &fields);

    return execute(rig, &command);
}

static struct order state_of(struct rig *rig, const char *key, uint64_t version)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_version found;
    struct order order;

    assert_int_equal(
        aggregates_state(rig->aggregates, BANYAN_STR("order"), banyan_str_of(key), &rig->arena, &order, &found, &err),
        BANYAN_OK);
    assert_int_equal(found.value, version);
    return order;
}

static void test_life_of_an_order(void **state)
{
    struct aggregate_answer answer;
    struct rig rig;

    (void)state;
    start(&rig);
    answer = place(&rig, "1");
    assert_true(answer.accepted && !answer.repeated && answer.version.value == 1 && answer.event_count == 1);
    answer = place(&rig, "1");
    assert_true(!answer.accepted && answer.version.value == 1 && answer.event_count == 0);
    assert_string_equal(answer.code, "order-exists");
    assert_int_equal(store_tail(rig.store).value, 1);
    for (int round = 0; round < 2; round++) { /* live, then folded from the store */
        answer = fill(&rig, "1", 3 * ONE);
        assert_true(answer.accepted && answer.version.value == 2 + (uint64_t)round);
        close_rig(&rig);
        open_rig(&rig, 0);
    }
    answer = fill(&rig, "1", 5 * ONE);
    assert_string_equal(answer.code, "quantity-exceeded");
    answer = fill(&rig, "1", 4 * ONE);
    assert_true(answer.accepted);
    assert_true(state_of(&rig, "1", 4).row.filled_quantity.units == 10 * ONE);
    answer = fill(&rig, "1", 1);
    assert_string_equal(answer.code, "order-filled");
    assert_false(state_of(&rig, "2", 0).exists);
    finish(&rig);
}

/* The same command again answers as before: at once, after others, after a restart, and where it would be refused. */
static void test_repeats(void **state)
{
    struct fill_order fields = {amount(4 * ONE), amount(250 * ONE)}, other = {amount(5 * ONE), amount(250 * ONE)};
    struct aggregate_command command = command_of("1", "FillOrder", &fields);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer first, again;
    struct rig rig;

    (void)state;
    start(&rig);
    (void)place(&rig, "1");
    first = execute(&rig, &command);
    assert_true(first.accepted && !first.repeated);
    for (int round = 0; round < 4; round++) {
        again = execute(&rig, &command);
        assert_true(again.accepted && again.repeated);
        assert_int_equal(again.position.value, first.position.value);
        assert_int_equal(again.version.value, first.version.value);
        assert_int_equal(again.event_count, first.event_count);
        if (round == 0)
            (void)fill(&rig, "1", 4 * ONE); /* the same fill would be too much now */
        if (round == 1)
            (void)fill(&rig, "1", 2 * ONE); /* closed */
        close_rig(&rig);
        open_rig(&rig, 0);
    }
    assert_int_equal(store_tail(rig.store).value, 4);
    /* The id for another command: other fields, another order, another name. */
    command.fields = &other;
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &again, &err), BANYAN_DUPLICATE);
    banyan_error_clear(&err);
    command.fields = &fields;
    (void)place(&rig, "2");
    command.key = BANYAN_STR("2");
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &again, &err), BANYAN_DUPLICATE);
    banyan_error_clear(&err);
    command.name = BANYAN_STR("CancelOrder");
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &again, &err), BANYAN_DUPLICATE);
    assert_int_equal(store_tail(rig.store).value, 5);
    finish(&rig);
}

/* Two changes are one append, and a repeat answers the last of them. */
static void test_two_events(void **state)
{
    struct modify_order fields = {amount(20 * ONE), amount(260 * ONE)};
    struct aggregate_command command = command_of("1", "ModifyOrder", &fields);
    struct aggregate_answer first, again;
    struct rig rig;

    (void)state;
    start(&rig);
    (void)place(&rig, "1");
    first = execute(&rig, &command);
    assert_true(first.event_count == 2 && first.version.value == 3 && first.position.value == 3);
    (void)place(&rig, "2");
    again = execute(&rig, &command); /* would change nothing now */
    assert_true(again.repeated && again.event_count == 2 && again.version.value == 3 && again.position.value == 3);
    command.id = os_uuid_new();
    again = execute(&rig, &command);
    assert_true(again.accepted && !again.repeated && again.event_count == 0 && again.version.value == 3);
    finish(&rig);
}

static void test_expectations(void **state)
{
    struct aggregate_command command = command_of("1", "CancelOrder", NULL);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    struct rig rig;

    (void)state;
    start(&rig);
    (void)place(&rig, "1");
    command.expect = STORE_EXPECT_VERSION;
    command.version.value = 2;
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_CONFLICT);
    banyan_error_clear(&err);
    command.version.value = 1;
    assert_true(execute(&rig, &command).accepted);
    assert_true(execute(&rig, &command).repeated); /* although the version is another now */
    command.name = BANYAN_STR("EatOrder");
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_NOT_FOUND);
    banyan_error_clear(&err);
    command = command_of("", "CancelOrder", NULL);
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_INVALID);
    finish(&rig);
}

/* Somebody else writes to the stream: what was decided on the old state is decided again, also a refusal. */
static void test_other_writers(void **state)
{
    struct aggregates *other;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct fill_order fields = {amount(10 * ONE), amount(250 * ONE)};
    struct modify_order more = {amount(20 * ONE), banyan_decimal_null()};
    struct aggregate_command command;
    struct aggregate_answer answer;
    struct aggregates_stats stats;
    struct rig rig;

    (void)state;
    start(&rig);
    other = aggregates_new(&(struct aggregates_options){.store = rig.store, .domain = &banyan_domain_trading});
    (void)place(&rig, "1");
    command = command_of("1", "FillOrder", &fields);
    assert_int_equal(aggregates_execute(other, &command, &rig.arena, &answer, &err), BANYAN_OK);
    assert_true(answer.accepted);
    answer = fill(&rig, "1", ONE); /* our state says that it fits; the append says no */
    assert_string_equal(answer.code, "order-filled");

    (void)place(&rig, "2");
    assert_string_equal(fill(&rig, "2", 15 * ONE).code, "quantity-exceeded");
    command = command_of("2", "ModifyOrder", &more);
    assert_int_equal(aggregates_execute(other, &command, &rig.arena, &answer, &err), BANYAN_OK);
    assert_true(fill(&rig, "2", 15 * ONE).accepted); /* refused on the old state, accepted on the new */
    aggregates_stats(rig.aggregates, &stats);
    assert_int_equal(stats.conflicts, 2);
    aggregates_free(other);
    finish(&rig);
}

/* A failed flush: no answer, and none afterwards that rests on what was lost. */
static void test_failed_flush(void **state)
{
    struct fill_order fields = {amount(10 * ONE), amount(250 * ONE)};
    struct aggregate_command command = command_of("1", "FillOrder", &fields), next;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    struct rig rig;

    (void)state;
    start(&rig);
    (void)place(&rig, "1");
    rig.files.sync_fails_at = __atomic_load_n(&rig.files.syncs, __ATOMIC_SEQ_CST) + 1;
    assert_int_equal(aggregates_execute(rig.aggregates, &command, &rig.arena, &answer, &err), BANYAN_BROKEN);
    banyan_error_clear(&err);
    next = command_of("1", "CancelOrder", NULL); /* "it is filled" would be a lie */
    assert_int_equal(aggregates_execute(rig.aggregates, &next, &rig.arena, &answer, &err), BANYAN_BROKEN);
    close_rig(&rig);
    open_rig(&rig, 0);
    answer = execute(&rig, &command); /* new, or there since the first time: once in any case */
    assert_true(answer.accepted && answer.version.value == 2);
    assert_true(state_of(&rig, "1", 2).row.filled_quantity.units == 10 * ONE);
    finish(&rig);
}

/* ---- snapshots ---- */

struct snapshot_rig {
    struct rig rig;
    char path[FOLDER_PATH_MAX + 32];
    struct snapshots *snapshots;
};

static void open_with_snapshots(struct snapshot_rig *rig)
{
    open_rig(&rig->rig, 0);
    aggregates_free(rig->rig.aggregates);
    rig->snapshots = snapshots_open(rig->path);
    rig->rig.aggregates = aggregates_new(&(struct aggregates_options){
        .store = rig->rig.store, .domain = &banyan_domain_trading, .snapshots = rig->snapshots});
}

/* The events that were folded to answer a command on order 1 with a cold state; the answer is right in any case. */
static uint64_t folded_cold(struct snapshot_rig *rig, uint64_t version)
{
    struct aggregates_stats stats;

    open_with_snapshots(rig);
    assert_true(state_of(&rig->rig, "1", version).row.filled_quantity.units == (int64_t)(version - 1) * 1000);
    aggregates_stats(rig->rig.aggregates, &stats);
    close_rig(&rig->rig);
    snapshots_close(rig->snapshots);
    return stats.folded;
}

/* Whatever is in the file of snapshots, the state is the fold of the stream. */
static void test_snapshots(void **state)
{
    struct snapshot_rig rig = {.rig = {.store = NULL}};
    struct snapshot found, forged;
    uint64_t kind = snapshot_kind(&order_aggregate), version = 1;
    struct banyan_str stream = BANYAN_STR("order-1");
    size_t size = 0;
    char *file;

    (void)state;
    folder_make_quick(rig.rig.folder);
    (void)snprintf(rig.path, sizeof(rig.path), "%s/snapshots.sqlite", rig.rig.folder);
    open_with_snapshots(&rig);
    assert_non_null(rig.snapshots);
    (void)place(&rig.rig, "1");
    for (; version < 400; version++)
        assert_true(fill(&rig.rig, "1", 1000).accepted);
    close_rig(&rig.rig);
    snapshots_close(rig.snapshots);
    assert_in_range(folded_cold(&rig, version), 1, 200);

    rig.snapshots = snapshots_open(rig.path);
    assert_true(snapshots_load(rig.snapshots, stream, kind, &rig.rig.arena, &found));
    assert_false(snapshots_load(rig.snapshots, stream, kind + 1, &rig.rig.arena, &forged)); /* another domain's */
    assert_false(snapshots_load(rig.snapshots, BANYAN_STR("order-2"), kind, &rig.rig.arena, &forged));
    forged = found; /* a whole one that is not of this log */
    forged.event = os_uuid_new();
    snapshots_save(rig.snapshots, stream, kind, &forged);
    snapshots_close(rig.snapshots);
    assert_int_equal(folded_cold(&rig, version), version);

    forged = found; /* of a version that the event does not have */
    forged.version--;
    rig.snapshots = snapshots_open(rig.path);
    snapshots_save(rig.snapshots, stream, kind, &forged);
    snapshots_close(rig.snapshots);
    assert_int_equal(folded_cold(&rig, version), version);

    rig.snapshots = snapshots_open(rig.path);
    snapshots_save(rig.snapshots, stream, kind, &found);
    snapshots_close(rig.snapshots);
    assert_in_range(folded_cold(&rig, version), 1, 200);
    file = file_load(rig.path, &size);
    for (size_t i = 0; i < size; i += 61) { /* any part of it */
        char *damaged = memcpy(malloc(size), file, size);

        memset(damaged + i, 0x55, i + 40 < size ? 40 : size - i);
        file_save(rig.path, damaged, size);
        free(damaged);
        (void)folded_cold(&rig, version);
    }
    free(file);
    file_save(rig.path, "not a database, but long enough to be looked at as one", 54);
    assert_int_equal(folded_cold(&rig, version), version);
    assert_int_equal(unlink(rig.path), 0);
    assert_int_equal(folded_cold(&rig, version), version);
    banyan_arena_release(&rig.rig.arena);
    folder_remove(rig.rig.folder);
}

/* ---- many threads ---- */

struct worker {
    struct rig *rig;
    struct aggregates *aggregates;
    struct os_thread thread;
    uint64_t seed;
    unsigned accepted[RACE_ORDERS];
};

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? "" : err->message);
        abort();
    }
}

/* Fill one lot of one of a few orders, again and again; sometimes the answer is lost and the command sent again. */
static void run_race(void *argument)
{
    struct worker *worker = argument;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct os_random random;

    os_random_seed(&random, worker->seed);
    for (int i = 0; i < RACE_COMMANDS; i++) {
        static const char *const keys[RACE_ORDERS] = {"1", "2", "3", "4", "5"};
        unsigned order = (unsigned)os_random_below(&random, RACE_ORDERS);
        struct fill_order fields = {amount(ONE), amount(250 * ONE)};
        struct aggregate_command command = command_of(keys[order], "FillOrder", &fields);
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct aggregate_answer answer, again;

        must(aggregates_execute(worker->aggregates, &command, &arena, &answer, &err) == BANYAN_OK, "execute", &err);
        if (!answer.accepted)
            must(strcmp(answer.code, "order-filled") == 0, answer.code, NULL);
        worker->accepted[order] += answer.accepted;
        if (answer.accepted && os_random_below(&random, 4) == 0) {
            must(aggregates_execute(worker->aggregates, &command, &arena, &again, &err) == BANYAN_OK, "again", &err);
            must(again.repeated && again.position.value == answer.position.value &&
                     again.version.value == answer.version.value,
                 "repeated", NULL);
        }
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

/* Threads over two caches of one store, with room for a few states only: each lot of an order is filled once. */
static void test_race(void **state)
{
    struct worker workers[THREADS] = {0};
    struct aggregates *other;
    uint64_t seed = test_seed();
    struct rig rig;

    (void)state;
    start(&rig);
    close_rig(&rig);
    open_rig(&rig, 3);
    other = aggregates_new(&(struct aggregates_options){.store = rig.store, .domain = &banyan_domain_trading});
    for (int order = 0; order < RACE_ORDERS; order++) {
        char key[8];
        struct place_order fields = placed;
        struct aggregate_command command;

        (void)snprintf(key, sizeof(key), "%d", order + 1);
        fields.quantity = amount((RACE_COMMANDS * THREADS / RACE_ORDERS / 2 + order) * ONE); /* about half get one */
        command = command_of(key, "PlaceOrder", &fields);
        assert_true(execute(&rig, &command).accepted);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.rig = &rig, .aggregates = i % 2 == 0 ? rig.aggregates : other, .seed = seed + i};
        os_thread_start(&workers[i].thread, "writer", run_race, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        os_thread_join(&workers[i].thread);
    for (int order = 0; order < RACE_ORDERS; order++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct banyan_version version;
        unsigned accepted = 0;
        struct order found;
        char key[8];

        (void)snprintf(key, sizeof(key), "%d", order + 1);
        for (unsigned i = 0; i < THREADS; i++)
            accepted += workers[i].accepted[order];
        assert_int_equal(
            aggregates_state(other, BANYAN_STR("order"), banyan_str_of(key), &rig.arena, &found, &version, &err),
            BANYAN_OK);
        assert_true(found.row.filled_quantity.units == accepted * (__int128)ONE);
        assert_true(found.row.filled_quantity.units <= found.row.quantity.units);
        assert_int_equal(version.value, accepted + 1);
    }
    aggregates_free(other);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_an_order), cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_two_events),       cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_other_writers),    cmocka_unit_test(test_failed_flush),
        cmocka_unit_test(test_snapshots),        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
