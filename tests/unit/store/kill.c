/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kill -9 at seeded random moments.  A child appends (single events from threads, large batches) and tells each
 * acknowledged position through a pipe; the parent kills it, opens the store and looks: nothing acknowledged is lost,
 * no position and no version is missing, half of no batch is there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "../log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "store/store.h"

extern char **environ;

enum {
    ROUNDS = 32,
    BATCH_EVENTS = 900,
    WRITERS = 3,
};

/* ---- the child ---- */

struct child {
    struct store *store;
    int number;
};

static void tell(uint64_t position)
{
    if (write(STDOUT_FILENO, &position, sizeof(position)) != (ssize_t)sizeof(position))
        _exit(0); /* the parent is gone */
}

static void write_singles(void *argument)
{
    struct child *child = argument;
    char stream[32];

    for (;;) {
        struct store_event event = {.id = os_uuid_new(), .type = BANYAN_STR("Single"), .payload = BANYAN_STR("{}")};
        struct store_append append = {.events = &event, .event_count = 1};
        struct store_appended appended;

        event.stream =
            (struct banyan_str){stream, (size_t)snprintf(stream, sizeof(stream), "single-%d", child->number)};
        if (store_append(child->store, &append, &appended, NULL) != BANYAN_OK)
            _exit(3);
        tell(appended.last.value);
    }
}

static void write_batches(struct store *store)
{
    for (uint64_t number = 0;; number++) {
        struct store_appended appended;
        char value[32];
        struct store_cursor cursor = {.name = BANYAN_STR("batches")};

        if (store_batch_begin(store, NULL) != BANYAN_OK)
            _exit(4);
        for (int i = 0; i < BATCH_EVENTS; i++) {
            static const char payload[150];
            struct store_event event = {
                .id = os_uuid_new(),
                .stream = BANYAN_STR("batch-1"),
                .type = BANYAN_STR("Batched"),
                .payload = {payload, sizeof(payload)},
            };

            if (store_batch_add(store, &event, NULL) != BANYAN_OK)
                _exit(5);
        }
        cursor.value = (struct banyan_str){value, (size_t)snprintf(value, sizeof(value), "%d", BATCH_EVENTS)};
        if (store_batch_commit(store, cursor, &appended, NULL) != BANYAN_OK)
            _exit(6);
        tell(appended.last.value);
    }
}

static int child_main(const char *folder)
{
    struct store_options options = {.folder = folder, .segment_bytes = 256 * 1024};
    struct os_thread threads[WRITERS] = {{.started = false}};
    struct child children[WRITERS];
    struct store *store = NULL;

    if (store_open(&options, &store, NULL) != BANYAN_OK)
        return 2;
    tell(0);
    for (int i = 0; i < WRITERS; i++) {
        children[i] = (struct child){store, i};
        os_thread_start(&threads[i], "writer", write_singles, &children[i]);
    }
    write_batches(store);
    return 0;
}

/* ---- the parent ---- */

static pid_t start_child(const char *folder, int *ret_pipe)
{
    char program[] = "kill", role[] = "child";
    char *argv[] = {program, role, (char *)folder, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;

    folder_check(pipe(ends) == 0, "pipe");
    folder_check(posix_spawn_file_actions_init(&actions) == 0, "spawn");
    folder_check(posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0, "spawn");
    folder_check(posix_spawn_file_actions_addclose(&actions, ends[0]) == 0, "spawn");
    folder_check(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0, "spawn");
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    *ret_pipe = ends[0];
    return pid;
}

/* Read what the child told; returns the last acknowledged position. */
static uint64_t listen_and_kill(pid_t pid, int from_child, uint64_t messages, int64_t more_us)
{
    uint64_t position, acknowledged = 0;
    int status;

    for (uint64_t i = 0; i < messages; i++) {
        struct pollfd waits = {.fd = from_child, .events = POLLIN};

        assert_int_equal(poll(&waits, 1, 60000), 1);
        assert_int_equal(read(from_child, &position, sizeof(position)), sizeof(position));
        acknowledged = position > acknowledged ? position : acknowledged;
    }
    os_clock_real()->sleep_us(os_clock_real(), more_us); /* the moment of the kill, not a wait for something */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(from_child, &position, sizeof(position)) == (ssize_t)sizeof(position))
        acknowledged = position > acknowledged ? position : acknowledged;
    (void)close(from_child);
    return acknowledged;
}

static uint64_t check_store(const char *folder, uint64_t acknowledged)
{
    struct store_options options = {.folder = folder, .segment_bytes = 256 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t position = 0, batched = 0, singles[WRITERS] = {0};
    struct store_read_event event;
    struct store_reader *reader;
    enum banyan_status status;
    struct store *store;

    if (store_open(&options, &store, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_true(store_durable(store).value >= acknowledged);
    reader = store_reader_open(store);
    while ((status = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        assert_int_equal(event.position.value, ++position);
        if (event.event.stream.data[0] == 'b') {
            assert_int_equal(event.version.value, ++batched);
            assert_int_equal(event.ends_batch, batched % BATCH_EVENTS == 0);
            assert_int_equal(event.cursor.name.size > 0, event.ends_batch);
        } else {
            assert_int_equal(event.version.value, ++singles[event.event.stream.data[7] - '0']);
        }
    }
    assert_int_equal(status, BANYAN_NOT_FOUND);
    assert_int_equal(position, store_durable(store).value);
    assert_int_equal(batched % BATCH_EVENTS, 0);
    store_reader_close(reader);
    store_close(store);
    return position;
}

static void test_kill(void **state)
{
    char folder[FOLDER_PATH_MAX];
    uint64_t acknowledged = 0, kept = 0;
    struct os_random random;
    int from_child;
    pid_t pid;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make(folder); /* the first rounds on the disk, whose flushes take their time */
    for (int round = 0; round < ROUNDS; round++) {
        if (round % 8 == 0) { /* from nothing, too */
            folder_remove(folder);
            if (round == 0)
                folder_make(folder);
            else
                folder_make_quick(folder);
            kept = 0;
        }
        pid = start_child(folder, &from_child);
        acknowledged = listen_and_kill(pid, from_child, 1 + os_random_below(&random, 200),
                                       (int64_t)os_random_below(&random, 5000));
        assert_true(check_store(folder, acknowledged > kept ? acknowledged : kept) >= kept);
        kept = check_store(folder, acknowledged);
    }
    folder_remove(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill),
    };

    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return child_main(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
