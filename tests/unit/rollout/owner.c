/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may write: every change and who is allowed what after it, what a start finds again, and appends that race with
 * changes.  The trading domain has one mapped category: "order".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>

#include "../log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "rollout/owner.h"
#include "trading/trading.h"

enum {
    THREADS = 8,
    ROUNDS = 40,
    WAIT_US_MAX = 60 * 1000 * 1000,
};

#define ORDER BANYAN_STR("order")

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct os_files_test files;
    struct store *store;
    struct owner *owner;
    struct banyan_arena arena;
};

static void open_rig(struct rig *rig)
{
    struct store_options options = {.folder = rig->folder, .files = &rig->files.base, .segment_bytes = 1024 * 1024};
    struct owner_options owner = {.domain = &banyan_domain_trading, .source = "oms"};
    struct banyan_error err = BANYAN_ERROR_INIT;

    os_files_test_init(&rig->files);
    if (store_open(&options, &rig->store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    owner.store = rig->store;
    if (owner_open(&owner, &rig->owner, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void close_rig(struct rig *rig)
{
    owner_close(rig->owner);
    store_close(rig->store);
}

static void start(struct rig *rig)
{
    *rig = (struct rig){.store = NULL};
    folder_make_quick(rig->folder);
    open_rig(rig);
}

static void finish(struct rig *rig)
{
    close_rig(rig);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
}

static void again(struct rig *rig)
{
    close_rig(rig);
    open_rig(rig);
}

static void change(struct rig *rig, enum owner_mode mode)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t epoch, next;

    (void)owner_mode(rig->owner, &epoch);
    if (owner_change(rig->owner, epoch, mode, "a \"test\"", &next, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(next, epoch + 1);
    assert_int_equal(owner_mode(rig->owner, &epoch), mode);
    assert_int_equal(epoch, next);
}

static enum banyan_status permit(struct rig *rig, const char *key, bool creates, struct store_condition *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    return owner_permit(rig->owner, ORDER, banyan_str_of(key), creates, &rig->arena, ret, &err);
}

static enum banyan_status append(struct rig *rig, const char *key, const char *meta,
                                 const struct store_condition *condition)
{
    struct store_event event = {
        .id = os_uuid_new(),
        .type = BANYAN_STR("Something"),
        .stream = banyan_arena_printf(&rig->arena, "order-%s", key),
        .provenance = BANYAN_EXACT,
        .payload = BANYAN_STR("{}"),
        .meta = banyan_str_of(meta),
    };
    struct store_append append = {
        .events = &event, .event_count = 1, .conditions = condition, .condition_count = condition == NULL ? 0 : 1};
    struct store_appended appended;
    struct banyan_error err = BANYAN_ERROR_INIT;

    return store_append(rig->store, &append, &appended, &err);
}

static const char by_command[] = "{\"process\":\"a \\\"command\\\"\",\"command\":\"PlaceOrder\"}";

static void assert_sides(struct rig *rig, enum owner_side of_old, enum owner_side of_new)
{
    assert_int_equal(owner_side(rig->owner, ORDER, 1), of_old);
    assert_int_equal(owner_side(rig->owner, ORDER, 1000), of_new);
    assert_int_equal(owner_side(rig->owner, BANYAN_STR("basket"), 1), OWNER_SIDE_NONE);
}

/* Order 1 is old; 1000 is made by a command in SHARED. */
static void test_modes(void **unused)
{
    struct store_condition condition;
    struct banyan_position since;
    struct rig rig;

    (void)unused;
    start(&rig);
    assert_int_equal(append(&rig, "1", "{\"xid\":12,\"lsn\":\"0/1\"}", NULL), BANYAN_OK);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_LEGACY);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_CONFLICT);
    assert_int_equal(permit(&rig, "1000", true, &condition), BANYAN_CONFLICT);
    change(&rig, OWNER_SHARED);
    since = owner_since(rig.owner);
    assert_int_equal(since.value, store_durable(rig.store).value);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_CONFLICT);
    assert_int_equal(permit(&rig, "1", true, &condition), BANYAN_CONFLICT); /* there is such an order */
    assert_int_equal(permit(&rig, "1000", false, &condition), BANYAN_CONFLICT);
    assert_int_equal(permit(&rig, "1000", true, &condition), BANYAN_OK);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_BANYAN);
    assert_int_equal(append(&rig, "1000", by_command, &condition), BANYAN_OK);
    assert_int_equal(append(&rig, "2", "{\"reason\":\"command\"}", NULL), BANYAN_OK);
    assert_int_equal(owner_count(rig.owner), 1);

    again(&rig);
    assert_int_equal(owner_count(rig.owner), 1);
    assert_int_equal(owner_since(rig.owner).value, since.value);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_BANYAN);
    assert_int_equal(permit(&rig, "1000", false, &condition), BANYAN_OK);
    change(&rig, OWNER_CLOSING);
    assert_int_equal(append(&rig, "1000", by_command, &condition), BANYAN_CONFLICT);
    assert_int_equal(permit(&rig, "1000", false, &condition), BANYAN_BUSY);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_CONFLICT);
    again(&rig);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_HELD);
    change(&rig, OWNER_SHARED); /* it went wrong */
    assert_int_equal(permit(&rig, "1000", false, &condition), BANYAN_OK);
    assert_int_equal(owner_since(rig.owner).value, since.value);
    change(&rig, OWNER_BANYAN);
    assert_sides(&rig, OWNER_SIDE_BANYAN, OWNER_SIDE_BANYAN);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_OK);
    assert_int_equal(owner_since(rig.owner).value, since.value);
    change(&rig, OWNER_CLOSING);
    again(&rig);
    assert_sides(&rig, OWNER_SIDE_HELD, OWNER_SIDE_HELD);
    change(&rig, OWNER_LEGACY);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_LEGACY);
    change(&rig, OWNER_SHARED); /* another attempt: what was made in the first one is the legacy application's */
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_LEGACY);
    again(&rig);
    assert_sides(&rig, OWNER_SIDE_LEGACY, OWNER_SIDE_LEGACY);
    finish(&rig);
}

static void test_refused(void **unused)
{
    static const char *const no_keys[] = {"", "a", "01", "-0", "+1", "1 ", "9223372036854775808", "1.0"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    uint64_t epoch;
    struct rig rig;

    (void)unused;
    start(&rig);
    assert_int_equal(owner_change(rig.owner, 0, OWNER_CLOSING, NULL, &epoch, &err), BANYAN_INVALID);
    change(&rig, OWNER_LEGACY);
    assert_int_equal(owner_change(rig.owner, 0, OWNER_SHARED, NULL, &epoch, &err), BANYAN_CONFLICT);
    assert_int_equal(owner_change(rig.owner, 1, OWNER_LEGACY, NULL, &epoch, &err), BANYAN_INVALID);
    change(&rig, OWNER_BANYAN);
    assert_int_equal(owner_change(rig.owner, 2, OWNER_LEGACY, NULL, &epoch, &err), BANYAN_INVALID);
    assert_int_equal(owner_change(rig.owner, 2, OWNER_SHARED, NULL, &epoch, &err), BANYAN_INVALID);
    for (size_t i = 0; i < sizeof(no_keys) / sizeof(no_keys[0]); i++)
        assert_int_equal(permit(&rig, no_keys[i], false, &condition), BANYAN_INVALID);
    assert_int_equal(permit(&rig, "-9223372036854775808", false, &condition), BANYAN_OK);
    assert_int_equal(
        owner_permit(rig.owner, BANYAN_STR("basket"), BANYAN_STR("x"), false, &rig.arena, &condition, &err), BANYAN_OK);
    assert_int_equal(condition.expect, STORE_EXPECT_NONE);
    assert_int_equal(owner_wait(rig.owner, 2, 1000, &err), BANYAN_TIMEOUT);
    assert_int_equal(owner_wait(rig.owner, 1, 1000, &err), BANYAN_OK);
    finish(&rig);
}

/* The disk is full: it is not known whether the change counts, and nobody writes until it is. */
static void test_unknown(void **unused)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    uint64_t epoch = 0;
    struct rig rig;

    (void)unused;
    start(&rig);
    change(&rig, OWNER_SHARED);
    __atomic_store_n(&rig.files.bytes_left, 0, __ATOMIC_SEQ_CST);
    assert_int_equal(owner_change(rig.owner, 1, OWNER_BANYAN, "", &epoch, &err), BANYAN_NO_SPACE);
    assert_int_equal(epoch, 0);
    assert_int_equal(owner_mode(rig.owner, &epoch), OWNER_CLOSING);
    assert_int_equal(epoch, 1);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_BUSY);
    assert_int_equal(owner_change(rig.owner, 1, OWNER_BANYAN, "", &epoch, &err), BANYAN_BUSY);
    __atomic_store_n(&rig.files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
    assert_int_equal(store_wait(rig.store, store_tail(rig.store), INT64_MAX, &err), BANYAN_OK);
    assert_int_equal(owner_wait(rig.owner, 1, 0, &err), BANYAN_OK);
    assert_int_equal(owner_mode(rig.owner, &epoch), OWNER_BANYAN);
    assert_int_equal(epoch, 2);
    assert_int_equal(permit(&rig, "1", false, &condition), BANYAN_OK);
    finish(&rig);
}

/* ---- races ---- */

struct racer {
    struct rig *rig;
    struct os_thread thread;
    unsigned number;
    bool *stop;
    uint64_t accepted;
};

static void race(void *argument)
{
    struct racer *racer = argument;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;
    struct store_condition condition;

    for (uint64_t i = 0; !__atomic_load_n(racer->stop, __ATOMIC_RELAXED); i++) {
        struct banyan_str key = banyan_arena_printf(&arena, "%u", racer->number + 1);
        struct store_event event = {
            .id = os_uuid_new(),
            .type = BANYAN_STR("Something"),
            .stream = banyan_arena_printf(&arena, "order-%u", racer->number + 1),
            .provenance = BANYAN_EXACT,
            .payload = BANYAN_STR("{}"),
            .meta = BANYAN_STR("{\"command\":\"X\"}"),
        };
        struct store_append append = {
            .events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};

        banyan_error_clear(&err);
        if (owner_permit(racer->rig->owner, ORDER, key, false, &arena, &condition, &err) == BANYAN_OK &&
            store_submit(racer->rig->store, &append, &appended, &err) == BANYAN_OK)
            racer->accepted++;
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

/* Between CLOSING and BANYAN there is not one event. */
static uint64_t count_wrong(struct rig *rig, uint64_t *ret_events)
{
    struct store_reader *reader = store_reader_open(rig->store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    bool open = false;
    uint64_t wrong = 0, owners = 0;

    assert_int_equal(store_reader_seek(reader, (struct banyan_position){1}, &err), BANYAN_OK);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        if (banyan_str_equal(event.event.type, BANYAN_STR("OwnerChanged"))) {
            open = owners++ % 2 == 0;
        } else {
            wrong += !open;
            (*ret_events)++;
        }
    }
    store_reader_close(reader);
    return wrong;
}

/* A busy machine may not have let any thread run yet. */
static void await_append(struct rig *rig)
{
    int64_t began_us = os_clock_monotonic_us(os_clock_real());
    uint64_t tail = store_tail(rig->store).value;

    while (store_tail(rig->store).value == tail) {
        assert_true(os_clock_monotonic_us(os_clock_real()) - began_us < WAIT_US_MAX);
        (void)sched_yield();
    }
}

static void test_race(void **unused)
{
    struct racer racers[THREADS] = {{.number = 0}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t accepted = 0, events = 0;
    bool stop = false;
    struct rig rig;

    (void)unused;
    start(&rig);
    change(&rig, OWNER_BANYAN);
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.rig = &rig, .number = i, .stop = &stop};
        os_thread_start(&racers[i].thread, "racer", race, &racers[i]);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct banyan_position before;

        change(&rig, OWNER_CLOSING);
        before = store_tail(rig.store);
        assert_int_equal(store_wait(rig.store, before, INT64_MAX, &err), BANYAN_OK);
        assert_int_equal(store_tail(rig.store).value, before.value);
        change(&rig, OWNER_BANYAN);
        await_append(&rig);
    }
    change(&rig, OWNER_CLOSING);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++) {
        os_thread_join(&racers[i].thread);
        accepted += racers[i].accepted;
    }
    assert_int_equal(count_wrong(&rig, &events), 0);
    assert_int_equal(events, accepted);
    assert_true(events > 0);
    print_message("# %llu events, %d changes\n", (unsigned long long)events, 2 * ROUNDS + 2);
    finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
