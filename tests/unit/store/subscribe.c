/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions while writers race: each gives exactly the events that its filter lets pass, in order, once, over
 * restarts of the subscriber, and of the store; and says once that it caught up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/subscribe.h"

enum {
    WRITERS = 4,
    SUBSCRIBERS = 6,
    APPENDS = 1500, /* of each writer */
    CATEGORIES = 3,
    WAIT_US = 20000000, /* far above what it takes; a hang ends the test */
};

struct shared {
    struct store *store;
    uint64_t seed;
    bool done; /* atomic: the writers are */
};

struct worker {
    struct shared *shared;
    unsigned number;
    struct os_thread thread;
    uint64_t *seen; /* positions given, owned */
    size_t seen_count;
    uint64_t restarts, caught_up;
};

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? "" : err->message);
        abort();
    }
}

static struct store *open_store(const char *folder)
{
    struct store_options options = {.folder = folder, .segment_bytes = 256 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store = NULL;

    must(store_open(&options, &store, &err) == BANYAN_OK, "open", &err);
    return store;
}

static void append(struct store *store, const char *stream, const char *type, size_t count)
{
    struct store_event events[8];
    struct store_append batch = {.events = events, .event_count = count};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_appended appended;

    for (size_t i = 0; i < count; i++)
        events[i] = (struct store_event){.id = os_uuid_new(),
                                         .stream = banyan_str_of(stream),
                                         .type = banyan_str_of(type),
                                         .payload = BANYAN_STR("{}")};
    must(store_append(store, &batch, &appended, &err) == BANYAN_OK, "append", &err);
}

static void write_events(void *argument)
{
    static const char *const streams[CATEGORIES] = {"a-1", "b-1", "c-1"}, *const types[] = {"Made", "Changed"};
    struct worker *worker = argument;
    struct os_random random;

    os_random_seed(&random, worker->shared->seed + worker->number);
    for (int i = 0; i < APPENDS; i++)
        append(worker->shared->store, streams[os_random_below(&random, CATEGORIES)], types[os_random_below(&random, 2)],
               1 + os_random_below(&random, 3));
}

/* Subscriber n wants category n % 4 (3: all), and from 4 on only one type. */
static struct store_filter filter_of(unsigned number)
{
    static const struct banyan_str categories[] = {{"a", 1}, {"b", 1}, {"c", 1}}, made = {"Made", 4};
    struct store_filter filter = {.types = NULL};

    if (number % 4 < CATEGORIES) {
        filter.categories = &categories[number % 4];
        filter.category_count = 1;
    }
    if (number >= 4) {
        filter.types = &made;
        filter.type_count = 1;
    }
    return filter;
}

static void see(struct worker *worker, uint64_t position)
{
    if ((worker->seen_count & (worker->seen_count - 1)) == 0)
        worker->seen =
            alloc_resized(worker->seen, worker->seen_count == 0 ? 1 : worker->seen_count * 2, sizeof(*worker->seen));
    worker->seen[worker->seen_count++] = position;
}

static void subscribe(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    struct store_filter filter = filter_of(worker->number);
    struct store_subscribe from = {.filter = &filter, .since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct store_subscription_item item;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_random random;

    os_random_seed(&random, shared->seed + 1000 + worker->number);
    must(store_subscription_open(shared->store, &from, &subscription, &err) == BANYAN_OK, "subscribe", &err);
    for (;;) {
        bool done = __atomic_load_n(&shared->done, __ATOMIC_SEQ_CST);
        int64_t timeout_us = done ? 0 : (int64_t)os_random_below(&random, 3) * 500;
        enum banyan_status status = store_subscription_next(subscription, timeout_us, &item, &err);

        if (status == BANYAN_OK) {
            must(item.position.value <= store_durable(shared->store).value, "durable", NULL);
            must(item.position.value >= from.after.value, "forward", NULL);
            from.after = item.position;
            if (item.kind == STORE_SUBSCRIPTION_EVENT)
                see(worker, item.position.value);
            else
                worker->caught_up++;
        } else {
            must(status == BANYAN_TIMEOUT && err.status == BANYAN_OK, "next", &err);
            must(store_subscription_position(subscription).value >= from.after.value, "position", NULL);
            if (done && store_subscription_position(subscription).value == store_durable(shared->store).value)
                break;
            if (os_random_below(&random, 4) == 0)
                from.after = store_subscription_position(subscription);
        }
        if (os_random_below(&random, 200) == 0) {
            store_subscription_close(subscription);
            must(store_subscription_open(shared->store, &from, &subscription, &err) == BANYAN_OK, "again", &err);
            worker->restarts++;
        }
    }
    store_subscription_close(subscription);
}

/* What a subscriber must have seen, read from the store event by event. */
static void check_seen(struct store *store, const struct worker *worker)
{
    struct store_filter filter = filter_of(worker->number);
    struct store_reader *reader = store_reader_open(store);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    size_t at = 0;

    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        if (filter.category_count > 0 && event.event.stream.data[0] != filter.categories[0].data[0])
            continue;
        if (filter.type_count > 0 && !banyan_str_equal(event.event.type, filter.types[0]))
            continue;
        assert_true(at < worker->seen_count);
        assert_int_equal(worker->seen[at], event.position.value);
        at++;
    }
    assert_int_equal(at, worker->seen_count);
    assert_true(worker->caught_up > 0);
    store_reader_close(reader);
}

static void test_race(void **state)
{
    struct worker writers[WRITERS] = {0}, subscribers[SUBSCRIBERS] = {0};
    struct shared shared = {.seed = test_seed()};
    char folder[FOLDER_PATH_MAX];

    (void)state;
    folder_make_quick(folder);
    shared.store = open_store(folder);
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i].shared = &shared;
        subscribers[i].number = i;
        os_thread_start(&subscribers[i].thread, "subscriber", subscribe, &subscribers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].shared = &shared;
        writers[i].number = i;
        os_thread_start(&writers[i].thread, "writer", write_events, &writers[i]);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        os_thread_join(&writers[i].thread);
    __atomic_store_n(&shared.done, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < SUBSCRIBERS; i++) {
        os_thread_join(&subscribers[i].thread);
        check_seen(shared.store, &subscribers[i]);
        free(subscribers[i].seen);
    }
    store_close(shared.store);
    folder_remove(folder);
}

static uint64_t next_event(struct store_subscription *subscription)
{
    struct store_subscription_item item;
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_int_equal(store_subscription_next(subscription, WAIT_US, &item, &err), BANYAN_OK);
    assert_int_equal(item.kind, STORE_SUBSCRIPTION_EVENT);
    assert_int_equal(item.position.value, item.event.position.value);
    return item.position.value;
}

static void caught_up(struct store_subscription *subscription, uint64_t position)
{
    struct store_subscription_item item;
    struct banyan_error err = BANYAN_ERROR_INIT;

    assert_int_equal(store_subscription_next(subscription, 0, &item, &err), BANYAN_OK);
    assert_int_equal(item.kind, STORE_SUBSCRIPTION_CAUGHT_UP);
    assert_int_equal(item.position.value, position);
    assert_int_equal(store_subscription_next(subscription, 1000, &item, &err), BANYAN_TIMEOUT);
    assert_int_equal(err.status, BANYAN_OK);
}

/* Caught up is said once, and again when the subscriber had fallen far behind; positions survive the store. */
static void test_states(void **state)
{
    struct store_subscribe from = {.since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char folder[FOLDER_PATH_MAX];
    struct store *store;

    (void)state;
    folder_make_quick(folder);
    store = open_store(folder);
    assert_int_equal(store_subscription_open(store, &from, &subscription, &err), BANYAN_OK);
    caught_up(subscription, 0);
    append(store, "a-1", "Made", 3);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(next_event(subscription), i);
    struct store_subscription_item item;
    assert_int_equal(store_subscription_next(subscription, 0, &item, &err), BANYAN_TIMEOUT);
    for (int i = 0; i < STORE_SUBSCRIPTION_BEHIND / 8 + 1; i++)
        append(store, "a-1", "Made", 8);
    for (uint64_t i = 4; i <= store_durable(store).value; i++)
        assert_int_equal(next_event(subscription), i);
    caught_up(subscription, store_durable(store).value);
    store_subscription_close(subscription);

    from.after.value = 2;
    store_close(store);
    store = open_store(folder);
    assert_int_equal(store_subscription_open(store, &from, &subscription, &err), BANYAN_OK);
    assert_int_equal(next_event(subscription), 3);
    store_subscription_close(subscription);

    from.after.value = store_durable(store).value + 1;
    assert_int_equal(store_subscription_open(store, &from, &subscription, &err), BANYAN_INVALID);
    banyan_error_clear(&err);

    /* Behind all there is by time: only what comes. */
    from = (struct store_subscribe){.since = {os_clock_now(os_clock_real()).us + 3600 * INT64_C(1000000)}};
    assert_int_equal(store_subscription_open(store, &from, &subscription, &err), BANYAN_OK);
    caught_up(subscription, store_durable(store).value);
    append(store, "a-1", "Made", 1);
    assert_int_equal(next_event(subscription), store_durable(store).value);
    store_subscription_close(subscription);
    store_close(store);
    folder_remove(folder);
}

/* A failed flush ends the wait of everybody at the end, whoever of them led. */
struct waiter {
    struct store *store;
    struct os_thread thread;
    enum banyan_status status;
};

static void wait_broken(void *argument)
{
    struct waiter *waiter = argument;
    struct store_subscribe from = {.since = {BANYAN_TIME_NULL}};
    struct store_subscription *subscription = NULL;
    struct store_subscription_item item;
    struct banyan_error err = BANYAN_ERROR_INIT;

    must(store_subscription_open(waiter->store, &from, &subscription, &err) == BANYAN_OK, "subscribe", &err);
    do
        waiter->status = store_subscription_next(subscription, WAIT_US, &item, &err);
    while (waiter->status == BANYAN_OK);
    store_subscription_close(subscription);
}

static void test_broken(void **state)
{
    struct os_files_test files;
    struct waiter waiters[SUBSCRIBERS] = {0};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_event event = {.id = os_uuid_new(), .stream = BANYAN_STR("a-1"), .type = BANYAN_STR("Made")};
    struct store_append one = {.events = &event, .event_count = 1};
    struct store_appended appended;
    char folder[FOLDER_PATH_MAX];
    struct store_options options = {.folder = folder, .files = &files.base};
    struct store *store = NULL;

    (void)state;
    folder_make_quick(folder);
    os_files_test_init(&files);
    assert_int_equal(store_open(&options, &store, &err), BANYAN_OK);
    append(store, "a-1", "Made", 2);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        waiters[i].store = store;
        os_thread_start(&waiters[i].thread, "subscriber", wait_broken, &waiters[i]);
    }
    files.sync_fails_at = __atomic_load_n(&files.syncs, __ATOMIC_SEQ_CST) + 1;
    assert_int_equal(store_append(store, &one, &appended, &err), BANYAN_BROKEN);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        os_thread_join(&waiters[i].thread);
        assert_int_equal(waiters[i].status, BANYAN_BROKEN);
    }
    store_close(store);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
