/* SPDX-License-Identifier: Apache-2.0 */
/* The log: what is appended is read back, across frames, segments and openings; full disks and failed flushes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "folder.h"
#include "log/log_int.h"
#include "os/random.h"

/* Record number n is n % 37 bytes and the number, some are large. */
static size_t make_record(uint64_t n, char *data)
{
    size_t size = 8 + n % 37;

    if (n % 101 == 0)
        size += 3000;
    memset(data, (int)(n & 0xff), size);
    memcpy(data, &n, sizeof(n));
    return size;
}

static struct log *must_open(const char *folder, struct os_files *files, uint64_t segment_bytes)
{
    struct log_options options = {
        .folder = folder,
        .files = files == NULL ? os_files_real() : files,
        .clock = os_clock_real(),
        .segment_bytes = segment_bytes,
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log = NULL;

    if (log_open(&options, &log, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return log;
}

static enum banyan_status append_batch(struct log *log, uint64_t count, struct banyan_error *err)
{
    uint64_t first = log_tail(log).value + 1;
    enum banyan_status status = log_append_begin(log, err);
    struct banyan_position position;
    char data[4096];

    if (status != BANYAN_OK)
        return status;
    for (uint64_t i = 0; i < count && status == BANYAN_OK; i++) {
        size_t size = make_record(first + i, data);

        status = log_append_record(log, (struct banyan_str){data, size}, &position, err);
        if (status == BANYAN_OK)
            assert_int_equal(position.value, first + i);
    }
    if (status == BANYAN_OK)
        status = log_append_commit(log, err);
    if (status != BANYAN_OK)
        log_append_abort(log);
    return status;
}

static void must_append(struct log *log, uint64_t count)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    if (append_batch(log, count, &err) != BANYAN_OK ||
        log_wait_durable(log, log_tail(log), INT64_MAX, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

/* All from *first* on are as make_record() says; returns the last position. */
static uint64_t check_from(struct log *log, uint64_t first)
{
    struct log_reader *reader = log_reader_open(log);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_record record;
    enum banyan_status status;
    uint64_t position = first;
    char data[4096];

    assert_int_equal(log_reader_seek(reader, (struct banyan_position){first}, &err), BANYAN_OK);
    for (; (status = log_reader_next(reader, &record, &err)) == BANYAN_OK; position++) {
        size_t size = make_record(position, data);

        assert_int_equal(record.position.value, position);
        assert_int_equal(record.data.size, size);
        assert_memory_equal(record.data.data, data, size);
    }
    if (status != BANYAN_NOT_FOUND)
        fail_msg("%s", err.message);
    log_reader_close(reader);
    assert_int_equal(position - 1, log_durable(log).value);
    return position - 1;
}

static void test_round_trip(void **state)
{
    char folder[FOLDER_PATH_MAX];
    struct log *log;
    struct log_stats stats;

    (void)state;
    folder_make(folder);
    log = must_open(folder, NULL, 0);
    assert_int_equal(check_from(log, 1), 0);
    for (uint64_t i = 0; i < 50; i++)
        must_append(log, 1 + i * 7);
    assert_int_equal(check_from(log, 1), 50 + 7 * 49 * 50 / 2);
    assert_int_equal(check_from(log, 4000), 50 + 7 * 49 * 50 / 2);
    log_close(log);
    log = must_open(folder, NULL, 0);
    log_stats(log, &stats);
    assert_int_equal(stats.torn_bytes_cut, 0);
    assert_int_equal(check_from(log, 1), 50 + 7 * 49 * 50 / 2);
    must_append(log, 3);
    assert_int_equal(check_from(log, 8620), 50 + 7 * 49 * 50 / 2 + 3);
    log_close(log);
    folder_remove(folder);
}

static void test_segments(void **state)
{
    struct os_random random;
    uint64_t total = 0, first;
    char folder[FOLDER_PATH_MAX];
    struct log *log;
    struct log_stats stats;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make(folder);
    log = must_open(folder, NULL, 128 * 1024);
    for (int round = 0; round < 60; round++) {
        uint64_t count = 1 + os_random_below(&random, round % 10 == 0 ? 9000 : 300);

        must_append(log, count);
        total += count;
        if (os_random_below(&random, 4) == 0) {
            log_close(log);
            log = must_open(folder, NULL, 128 * 1024);
            assert_int_equal(log_durable(log).value, total);
        }
        first = 1 + os_random_below(&random, total);
        assert_int_equal(check_from(log, first), total);
    }
    log_stats(log, &stats);
    assert_true(stats.segments > 10);
    log_close(log);
    folder_remove(folder);
}

static void test_large_record(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    size_t size = 5 * 1024 * 1024;
    char folder[FOLDER_PATH_MAX], *data = malloc(size);
    struct banyan_position position;
    struct log_reader *reader;
    struct log_record record;
    struct log *log;

    (void)state;
    memset(data, 'x', size);
    folder_make(folder);
    log = must_open(folder, NULL, 1024 * 1024);
    must_append(log, 10);
    assert_int_equal(log_append_begin(log, &err), BANYAN_OK);
    assert_int_equal(log_append_record(log, (struct banyan_str){data, size}, &position, &err), BANYAN_OK);
    assert_int_equal(log_append_record(log, (struct banyan_str){data, 0}, &position, &err), BANYAN_OK);
    assert_int_equal(log_append_record(log, (struct banyan_str){data, LOG_RECORD_BYTES_MAX + 1}, &position, &err),
                     BANYAN_LIMIT);
    assert_int_equal(log_append_commit(log, &err), BANYAN_OK);
    log_close(log);
    log = must_open(folder, NULL, 1024 * 1024);
    assert_int_equal(log_durable(log).value, 12);
    reader = log_reader_open(log);
    assert_int_equal(log_reader_seek(reader, (struct banyan_position){11}, &err), BANYAN_OK);
    assert_int_equal(log_reader_next(reader, &record, &err), BANYAN_OK);
    assert_int_equal(record.data.size, size);
    assert_memory_equal(record.data.data, data, size);
    assert_false(record.ends_batch);
    assert_int_equal(log_reader_next(reader, &record, &err), BANYAN_OK);
    assert_int_equal(record.data.size, 0);
    assert_true(record.ends_batch);
    log_reader_close(reader);
    log_close(log);
    folder_remove(folder);
    free(data);
}

/* A batch that is given up leaves no trace, however much of it was written. */
static void test_abort(void **state)
{
    static const uint64_t counts[] = {1, 100, 5000, 40000};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position position;
    char folder[FOLDER_PATH_MAX], data[4096];
    uint64_t total = 0;
    struct log *log;

    (void)state;
    folder_make(folder);
    log = must_open(folder, NULL, 512 * 1024);
    for (size_t round = 0; round < 8; round++) {
        assert_int_equal(log_append_begin(log, &err), BANYAN_OK);
        for (uint64_t i = 0; i < counts[round % 4]; i++) {
            size_t size = make_record(999 + i, data);

            assert_int_equal(log_append_record(log, (struct banyan_str){data, size}, &position, &err), BANYAN_OK);
        }
        log_append_abort(log);
        assert_int_equal(log_tail(log).value, total);
        if (round > 0) { /* the first time the log is empty */
            must_append(log, 500);
            total += 500;
            assert_int_equal(check_from(log, 1), total);
        }
        if (round % 3 == 2) {
            log_close(log);
            log = must_open(folder, NULL, 512 * 1024);
            assert_int_equal(check_from(log, 1), total);
        }
    }
    log_close(log);
    log = must_open(folder, NULL, 512 * 1024);
    assert_int_equal(check_from(log, 1), total);
    log_close(log);
    folder_remove(folder);
}

static void test_disk_full(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct os_files_test files;
    char folder[FOLDER_PATH_MAX];
    uint64_t acknowledged = 0;
    struct log *log;

    (void)state;
    folder_make(folder);
    os_files_test_init(&files);
    log = must_open(folder, &files.base, 256 * 1024);
    for (int round = 0; round < 6; round++) {
        files.bytes_left = 5000 + (uint64_t)round * 70001;
        for (status = BANYAN_OK; status == BANYAN_OK;) {
            banyan_error_clear(&err);
            status = append_batch(log, 40, &err);
            if (status == BANYAN_OK)
                status = log_wait_durable(log, log_tail(log), INT64_MAX, &err);
            if (status == BANYAN_OK)
                acknowledged = log_tail(log).value;
        }
        assert_int_equal(status, BANYAN_NO_SPACE);
        assert_true(err.hint[0] != 0);
        assert_int_equal(append_batch(log, 40, NULL), BANYAN_NO_SPACE);
        assert_true(check_from(log, 1) >= acknowledged);
        assert_int_equal(log_health(log, NULL), BANYAN_OK);
        files.bytes_left = UINT64_MAX;
        must_append(log, 2); /* works again by itself */
        acknowledged = log_tail(log).value;
        assert_int_equal(check_from(log, 1), acknowledged);
    }
    log_close(log);
    log = must_open(folder, NULL, 256 * 1024);
    assert_int_equal(check_from(log, 1), acknowledged);
    log_close(log);
    folder_remove(folder);
}

/* What waits for room becomes durable without another append. */
static void test_room_by_itself(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_position last;
    struct os_files_test files;
    char folder[FOLDER_PATH_MAX];
    enum banyan_status status;
    struct log *log;

    (void)state;
    folder_make(folder);
    os_files_test_init(&files);
    log = must_open(folder, &files.base, 0);
    must_append(log, 5);
    __atomic_store_n(&files.bytes_left, 10, __ATOMIC_SEQ_CST);
    assert_int_equal(append_batch(log, 5, &err), BANYAN_OK);
    last = log_tail(log);
    assert_int_equal(log_wait_durable(log, last, INT64_MAX, NULL), BANYAN_NO_SPACE);
    __atomic_store_n(&files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 1000; i++) { /* a position behind the tail: no flush on our own */
        status = log_wait_durable(log, (struct banyan_position){last.value + 1}, 10000, NULL);
        assert_int_equal(status, BANYAN_TIMEOUT);
        if (log_durable(log).value == last.value)
            break;
    }
    assert_int_equal(check_from(log, 1), last.value);
    log_close(log);
    folder_remove(folder);
}

static void test_failed_flush(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_files_test files;
    char folder[FOLDER_PATH_MAX];
    uint64_t acknowledged;
    struct log *log;

    (void)state;
    for (uint64_t fails_at = 1; fails_at <= 4; fails_at++) {
        folder_make(folder);
        os_files_test_init(&files);
        log = must_open(folder, &files.base, 0);
        must_append(log, 5);
        files.sync_fails_at = files.syncs + fails_at;
        for (acknowledged = 5;; acknowledged += 3) {
            if (append_batch(log, 3, &err) != BANYAN_OK ||
                log_wait_durable(log, log_tail(log), INT64_MAX, &err) != BANYAN_OK)
                break;
        }
        assert_int_equal(err.status, BANYAN_BROKEN);
        assert_true(err.hint[0] != 0);
        assert_int_equal(acknowledged, 5 + 3 * (fails_at - 1));
        assert_int_equal(log_health(log, NULL), BANYAN_BROKEN);
        assert_int_equal(append_batch(log, 1, NULL), BANYAN_BROKEN);
        assert_int_equal(check_from(log, 1), acknowledged);
        log_close(log);
        log = must_open(folder, NULL, 0);
        assert_true(check_from(log, 1) >= acknowledged);
        must_append(log, 1);
        log_close(log);
        folder_remove(folder);
        banyan_error_clear(&err);
    }
}

struct racer {
    struct log *log;
    uint64_t until;
};

/* Follows the log while it is written: all in order, nothing that is not durable. */
static void follow(void *argument)
{
    struct racer *racer = argument;
    struct log_reader *reader = log_reader_open(racer->log);
    struct log_record record;
    enum banyan_status status;
    char data[4096];

    for (uint64_t position = 1; position <= racer->until;) {
        status = log_reader_next(reader, &record, NULL);
        if (status == BANYAN_NOT_FOUND) {
            status = log_wait_durable(racer->log, (struct banyan_position){position}, INT64_MAX, NULL);
            folder_check(status == BANYAN_OK, "wait");
            continue;
        }
        folder_check(status == BANYAN_OK && record.position.value == position, "next");
        folder_check(position <= log_durable(racer->log).value, "durable");
        folder_check(record.data.size == make_record(position, data), "size");
        folder_check(memcmp(record.data.data, data, record.data.size) == 0, "bytes");
        position++;
    }
    log_reader_close(reader);
}

static void test_followers(void **state)
{
    struct os_thread threads[3] = {{.started = false}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct racer racer = {.until = 60000};
    char folder[FOLDER_PATH_MAX];
    struct os_random random;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make(folder);
    racer.log = must_open(folder, NULL, 300 * 1024);
    for (size_t i = 0; i < 3; i++)
        os_thread_start(&threads[i], "follower", follow, &racer);
    while (log_tail(racer.log).value < racer.until) {
        uint64_t left = racer.until - log_tail(racer.log).value, count = 1 + os_random_below(&random, 200);

        assert_int_equal(append_batch(racer.log, count < left ? count : left, &err), BANYAN_OK);
        if (os_random_below(&random, 8) == 0)
            assert_int_equal(log_wait_durable(racer.log, log_tail(racer.log), INT64_MAX, &err), BANYAN_OK);
    }
    for (size_t i = 0; i < 3; i++)
        os_thread_join(&threads[i]);
    log_close(racer.log);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_segments),  cmocka_unit_test(test_large_record),
        cmocka_unit_test(test_abort),        cmocka_unit_test(test_disk_full), cmocka_unit_test(test_room_by_itself),
        cmocka_unit_test(test_failed_flush), cmocka_unit_test(test_followers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
