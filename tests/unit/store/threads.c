/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads on one store: each version is won once, readers see only what is durable, batches keep others waiting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/store.h"
#include "support/head_version.h"

enum {
    WRITERS = 8,
    VERSIONS = 300,
    STREAMS = 3,
};

struct shared {
    struct store *store;
    int wins[STREAMS][VERSIONS + 1]; /* atomic: who won a version, plus one */
    uint64_t repeats;                /* atomic */
    bool done;                       /* atomic */
};

struct worker {
    struct shared *shared;
    int number;
};

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", what, err == NULL ? "" : err->message);
        abort();
    }
}

static struct banyan_str stream_name(int stream)
{
    static const char *const names[STREAMS] = {"race-0", "race-1", "race-2"};

    return banyan_str_of(names[stream]);
}

/* Append at the version that was read; whoever loses reads again. */
static void write_race(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    struct os_random random;

    os_random_seed(&random, (uint64_t)worker->number);
    for (int stream = 0; stream < STREAMS; stream++) {
        for (;;) {
            uint64_t version = head_version(shared->store, stream_name(stream));
            struct store_event event = {
                .id = os_uuid_new(),
                .stream = stream_name(stream),
                .type = BANYAN_STR("Raced"),
                .payload = BANYAN_STR("{}"),
            };
            struct store_condition condition = {event.stream, STORE_EXPECT_VERSION, {version}};
            struct store_append append = {
                .events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};
            struct banyan_error err = BANYAN_ERROR_INIT;
            struct store_appended appended, again;
            enum banyan_status status;

            if (version >= VERSIONS)
                break;
            status = store_append(shared->store, &append, &appended, &err);
            must(status == BANYAN_OK || status == BANYAN_CONFLICT, "append", &err);
            if (status != BANYAN_OK)
                continue;
            must(store_durable(shared->store).value >= appended.last.value, "durable", NULL);
            must(__atomic_fetch_add(&shared->wins[stream][version + 1], 1, __ATOMIC_SEQ_CST) == 0, "won twice", NULL);
            if (os_random_below(&random, 4) == 0) { /* the answer was lost: the retry finds it */
                must(store_append(shared->store, &append, &again, &err) == BANYAN_OK, "retry", &err);
                must(again.repeated && again.first.value == appended.first.value, "repeated", NULL);
                __atomic_fetch_add(&shared->repeats, 1, __ATOMIC_SEQ_CST);
            }
        }
    }
}

static void read_race(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    struct store_reader *reader = store_reader_open(shared->store);
    struct store_read_event event;
    uint64_t position = 0, streams[STREAMS] = {0};

    for (;;) {
        bool done = __atomic_load_n(&shared->done, __ATOMIC_SEQ_CST);
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = store_reader_next(reader, &event, &err);

        if (status == BANYAN_OK) {
            int stream = event.event.stream.data[event.event.stream.size - 1] - '0';

            must(event.position.value == ++position, "dense", NULL);
            must(event.position.value <= store_durable(shared->store).value, "durable", NULL);
            must(event.version.value == ++streams[stream], "version", NULL);
            continue;
        }
        must(status == BANYAN_NOT_FOUND, "read", &err);
        if (done)
            break;
        status = store_wait(shared->store, (struct banyan_position){position + 1}, 20000, &err);
        must(status == BANYAN_OK || status == BANYAN_TIMEOUT, "wait", &err);
    }
    must(position == store_tail(shared->store).value, "all read", NULL);
    store_reader_close(reader);
}

/* Streams read while they grow: never behind the durable end, never with a hole. */
static void read_streams(void *argument)
{
    struct worker *worker = argument;
    struct shared *shared = worker->shared;
    struct store_reader *reader = store_reader_open(shared->store);
    struct store_read_event event;
    struct os_random random;

    os_random_seed(&random, 99);
    while (!__atomic_load_n(&shared->done, __ATOMIC_SEQ_CST)) {
        uint64_t from = 1 + os_random_below(&random, VERSIONS), version = from;
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = store_reader_stream(reader, stream_name((int)os_random_below(&random, STREAMS)),
                                                        (struct banyan_version){from}, &err);

        must(status == BANYAN_OK || status == BANYAN_NOT_FOUND, "stream", &err);
        while (status == BANYAN_OK) {
            banyan_error_clear(&err);
            status = store_reader_next(reader, &event, &err);
            must(status == BANYAN_OK || status == BANYAN_NOT_FOUND, "next", &err);
            if (status == BANYAN_OK) {
                must(event.version.value == version++, "in order", NULL);
                must(event.position.value <= store_durable(shared->store).value, "durable", NULL);
            }
        }
    }
    store_reader_close(reader);
}

static void test_one_winner_a_version(void **state)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    struct os_thread threads[WRITERS + 2] = {{.started = false}};
    struct worker workers[WRITERS + 2];
    struct store_options options = {.segment_bytes = 64 * 1024, .index_events_max = 50};
    struct banyan_error err = BANYAN_ERROR_INIT;
    char folder[FOLDER_PATH_MAX];

    (void)state;
    folder_make_quick(folder);
    options.folder = folder;
    assert_int_equal(store_open(&options, &shared->store, &err), BANYAN_OK);
    for (int i = 0; i < WRITERS + 2; i++) {
        workers[i] = (struct worker){shared, i};
        os_thread_start(&threads[i], "worker",
                        i < WRITERS    ? write_race
                        : i == WRITERS ? read_race
                                       : read_streams,
                        &workers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        os_thread_join(&threads[i]);
    __atomic_store_n(&shared->done, true, __ATOMIC_SEQ_CST);
    os_thread_join(&threads[WRITERS]);
    os_thread_join(&threads[WRITERS + 1]);
    for (int stream = 0; stream < STREAMS; stream++) {
        for (int version = 1; version <= VERSIONS; version++)
            assert_int_equal(shared->wins[stream][version], 1);
        assert_true(head_version(shared->store, stream_name(stream)) >= VERSIONS);
    }
    assert_true(shared->repeats > 0);
    store_close(shared->store);
    folder_remove(folder);
    free(shared);
}

/* ---- batches beside appends ---- */

static void append_beside(void *argument)
{
    struct worker *worker = argument;

    for (int i = 0; i < 60; i++) {
        struct store_event events[2] = {
            {.id = os_uuid_new(), .stream = BANYAN_STR("beside-1"), .type = BANYAN_STR("T")},
            {.id = os_uuid_new(), .stream = BANYAN_STR("beside-2"), .type = BANYAN_STR("T")},
        };
        struct store_append append = {.events = events, .event_count = 2};
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_appended appended;

        must(store_append(worker->shared->store, &append, &appended, &err) == BANYAN_OK, "append", &err);
        must(appended.last.value == appended.first.value + 1, "together", NULL);
    }
}

static void batch_beside(void *argument)
{
    struct worker *worker = argument;
    struct store *store = worker->shared->store;

    for (int i = 0; i < 10; i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct store_appended appended;
        int count = i % 3 == 0 ? 3000 : 50;

        must(store_batch_begin(store, &err) == BANYAN_OK, "begin", &err);
        for (int n = 0; n < count; n++) {
            struct store_event event = {.id = os_uuid_new(), .stream = BANYAN_STR("batch-1"), .type = BANYAN_STR("T")};

            must(store_batch_add(store, &event, &err) == BANYAN_OK, "add", &err);
        }
        if (i % 2 == 1) {
            store_batch_abort(store);
            continue;
        }
        must(store_batch_commit(store, (struct store_cursor){.name = {NULL, 0}}, &appended, &err) == BANYAN_OK,
             "commit", &err);
        must(appended.last.value - appended.first.value + 1 == (uint64_t)count, "count", NULL);
    }
}

static void test_batches_beside_appends(void **state)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    struct os_thread threads[4] = {{.started = false}};
    struct worker worker = {shared, 0};
    struct store_options options = {.segment_bytes = 128 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    char folder[FOLDER_PATH_MAX];

    (void)state;
    folder_make_quick(folder);
    options.folder = folder;
    assert_int_equal(store_open(&options, &shared->store, &err), BANYAN_OK);
    for (int i = 0; i < 4; i++)
        os_thread_start(&threads[i], "beside", i < 2 ? append_beside : batch_beside, &worker);
    for (int i = 0; i < 4; i++)
        os_thread_join(&threads[i]);
    store_close(shared->store);
    assert_int_equal(store_open(&options, &shared->store, &err), BANYAN_OK);
    assert_int_equal(head_version(shared->store, BANYAN_STR("beside-2")), 120);
    assert_int_equal(head_version(shared->store, BANYAN_STR("batch-1")), 2 * (2 * 3000 + 3 * 50));
    store_close(shared->store);
    folder_remove(folder);
    free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_winner_a_version),
        cmocka_unit_test(test_batches_beside_appends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
