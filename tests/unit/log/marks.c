/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks of sealed segments: kept in files, made anew where those are missing or wrong, bounded in memory; and positions
 * found by time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "folder.h"
#include "log/log_int.h"
#include "os/random.h"

enum {
    SEGMENT_BYTES = 64 * 1024,
    RECORD_BYTES = 1000,
};

static struct log *must_open(const char *folder, struct os_clock *clock, uint64_t segment_bytes, bool read_only)
{
    struct log_options options = {
        .folder = folder,
        .files = os_files_real(),
        .clock = clock == NULL ? os_clock_real() : clock,
        .segment_bytes = segment_bytes,
        .read_only = read_only,
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log = NULL;

    if (log_open(&options, &log, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return log;
}

/* Each record is its position, and filling. */
static void append(struct log *log, uint64_t count, bool wait)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    char data[RECORD_BYTES] = "";
    struct banyan_position position;
    uint64_t next = log_tail(log).value + 1;

    assert_int_equal(log_append_begin(log, &err), BANYAN_OK);
    for (uint64_t i = 0; i < count; i++, next++) {
        memcpy(data, &next, sizeof(next));
        assert_int_equal(log_append_record(log, (struct banyan_str){data, sizeof(data)}, &position, &err), BANYAN_OK);
    }
    assert_int_equal(log_append_commit(log, &err), BANYAN_OK);
    if (wait)
        assert_int_equal(log_wait_durable(log, log_tail(log), INT64_MAX, &err), BANYAN_OK);
}

static void check_at(struct log_reader *reader, uint64_t position)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_record record;
    uint64_t number;

    if (log_reader_seek(reader, (struct banyan_position){position}, &err) != BANYAN_OK ||
        log_reader_next(reader, &record, &err) != BANYAN_OK)
        fail_msg("position %llu: %s", (unsigned long long)position, err.message);
    memcpy(&number, record.data.data, sizeof(number));
    assert_int_equal(record.position.value, position);
    assert_int_equal(number, position);
}

static void check_all(struct log *log)
{
    struct log_reader *reader = log_reader_open(log);

    for (uint64_t position = log_durable(log).value; position > 0; position--)
        check_at(reader, position);
    log_reader_close(reader);
}

static void marks_file(char path[FOLDER_PATH_MAX + 64], const char *folder, uint64_t first_position)
{
    (void)snprintf(path, FOLDER_PATH_MAX + 64, "%s/%020llu.idx", folder, (unsigned long long)first_position);
}

/* First positions of all segments. */
static size_t segments_of(struct log *log, uint64_t *ret, size_t max)
{
    size_t count = log->shared.segment_count;

    assert_true(count <= max);
    for (size_t i = 0; i < count; i++)
        ret[i] = log->shared.segments[i]->first_position;
    return count;
}

static void make_log(char folder[FOLDER_PATH_MAX], uint64_t records)
{
    struct log *log;

    folder_make_quick(folder);
    log = must_open(folder, NULL, SEGMENT_BYTES, false);
    for (uint64_t i = 0; i < records; i += 20)
        append(log, 20, i % 60 == 0);
    append(log, 1, true);
    log_close(log);
}

/* Each sealed segment has a file when the log was closed; it is what a look at the segment gives. */
static void test_saved(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    uint64_t firsts[64];
    struct log *log;
    size_t count;

    (void)state;
    make_log(folder, 2000);
    log = must_open(folder, NULL, SEGMENT_BYTES, false);
    count = segments_of(log, firsts, 64);
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        size_t saved_size, made_size;
        char *saved, *made;

        marks_file(path, folder, firsts[i]);
        if (i + 1 == count) {
            assert_int_equal(access(path, F_OK), -1);
            break;
        }
        saved = file_load(path, &saved_size);
        assert_int_equal(unlink(path), 0);
        check_all(log);
        made = file_load(path, &made_size);
        assert_int_equal(saved_size, made_size);
        assert_memory_equal(saved, made, made_size);
        free(saved);
        free(made);
        log_close(log);
        log = must_open(folder, NULL, SEGMENT_BYTES, false);
    }
    log_close(log);
    folder_remove(folder);
}

/* Whatever happens to the files of marks, positions are found. */
static void test_damaged_files(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64], other[FOLDER_PATH_MAX + 64];
    struct os_random random;
    uint64_t firsts[64];
    struct log *log;
    size_t count;

    (void)state;
    os_random_seed(&random, test_seed());
    make_log(folder, 400);
    log = must_open(folder, NULL, SEGMENT_BYTES, false);
    count = segments_of(log, firsts, 64);
    check_all(log);
    log_close(log);
    for (int round = 0; round < 200; round++) {
        size_t size;
        char *data;

        marks_file(path, folder, firsts[os_random_below(&random, count - 1)]);
        data = file_load(path, &size);
        switch (os_random_below(&random, 4)) {
        case 0:
            data[os_random_below(&random, size)] ^= (char)(1 + os_random_below(&random, 255));
            break;
        case 1:
            size = os_random_below(&random, size);
            break;
        case 2:
            free(data);
            marks_file(other, folder, firsts[os_random_below(&random, count - 1)]);
            data = file_load(other, &size);
            break;
        default:
            memset(data, 0, size);
            break;
        }
        file_save(path, data, size);
        free(data);
        log = must_open(folder, NULL, SEGMENT_BYTES, round % 2 == 0);
        check_all(log);
        log_close(log);
    }
    folder_remove(folder);
}

/* A frame that is damaged, even its header, hides no other frame, with marks or without. */
static void test_damaged_frame(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct frame_header frame;
    struct log_reader *reader;
    struct log_record record;
    struct log *log;
    size_t size;
    char *data;

    (void)state;
    folder_make_quick(folder);
    log = must_open(folder, NULL, SEGMENT_BYTES * 8, false);
    for (int i = 0; i < 80; i++)
        append(log, 10, true);
    log_close(log);
    folder_file(path, folder, 1);
    data = file_load(path, &size);
    memcpy(&frame, data + sizeof(struct segment_header), sizeof(frame));
    data[sizeof(struct segment_header) + sizeof(frame) + frame.size + 1] ^= 1; /* of the second frame's mark */
    file_save(path, data, size);
    free(data);
    for (int round = 0; round < 2; round++) {
        uint64_t bad = 0;

        log = must_open(folder, NULL, SEGMENT_BYTES * 8, true);
        reader = log_reader_open(log);
        for (uint64_t position = 1; position <= 800; position++) {
            if (log_reader_seek(reader, (struct banyan_position){position}, &err) != BANYAN_OK ||
                log_reader_next(reader, &record, &err) != BANYAN_OK)
                bad++;
        }
        /* Between marks frames are walked: what lies behind the damage and before the next mark is not reached. */
        assert_true(bad >= 10 && bad <= 2 * LOG_MARK_BYTES / RECORD_BYTES);
        log_reader_close(reader);
        log_close(log);
        marks_file(path, folder, 1);
        if (round == 0)
            assert_int_equal(unlink(path), 0);
    }
    folder_remove(folder);
}

/* More segments than have their marks in memory. */
static void test_bounded(void **state)
{
    char folder[FOLDER_PATH_MAX];
    struct log_reader *reader;
    struct os_random random;
    struct log *log;

    (void)state;
    os_random_seed(&random, test_seed());
    folder_make_quick(folder);
    log = must_open(folder, NULL, 8 * 1024, false);
    for (int i = 0; i < 400; i++)
        append(log, 5, i % 50 == 0);
    append(log, 1, true);
    assert_true(log->shared.segment_count > 300);
    for (int pass = 0; pass < 2; pass++) {
        reader = log_reader_open(log);
        for (int i = 0; i < 2000; i++)
            check_at(reader, 1 + os_random_below(&random, 2001));
        (void)pthread_mutex_lock(&log->lock);
        if (pass == 1)
            assert_true(log->shared.marked_segments <= LOG_MARKED_SEGMENTS_MAX);
        (void)pthread_mutex_unlock(&log->lock);
        log_reader_close(reader);
        log_close(log);
        log = must_open(folder, NULL, 8 * 1024, false);
    }
    log_close(log);
    folder_remove(folder);
}

/* By time, beside a walk over all records; the clock goes back now and then. */
static void test_position_at(void **state)
{
    char folder[FOLDER_PATH_MAX];
    struct os_clock_test clock;
    struct os_random random;
    static int64_t times[3000];
    uint64_t count = 0;
    struct log *log;

    (void)state;
    os_random_seed(&random, test_seed());
    os_clock_test_init(&clock, (struct banyan_time){1000000});
    folder_make_quick(folder);
    log = must_open(folder, &clock.base, SEGMENT_BYTES, false);
    while (count < 2000) {
        uint64_t batch = 1 + os_random_below(&random, 30);

        os_clock_test_move(&clock, (int64_t)os_random_below(&random, 3000));
        if (os_random_below(&random, 15) == 0)
            os_clock_test_move(&clock, -(int64_t)os_random_below(&random, 20000));
        append(log, batch, true);
        for (uint64_t i = 0; i < batch; i++)
            times[count++] = clock.now_us;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 500; i++) {
            int64_t time = 990000 + (int64_t)os_random_below(&random, (uint64_t)(clock.now_us - 970000));
            struct banyan_error err = BANYAN_ERROR_INIT;
            struct banyan_position found = {0};
            uint64_t expected = 1;

            while (expected <= count && times[expected - 1] < time)
                expected++;
            if (log_position_at(log, (struct banyan_time){time}, &found, &err) != BANYAN_OK)
                fail_msg("%s", err.message);
            assert_int_equal(found.value, expected);
        }
        log_close(log);
        log = must_open(folder, &clock.base, SEGMENT_BYTES, false);
    }
    log_close(log);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved),   cmocka_unit_test(test_damaged_files), cmocka_unit_test(test_damaged_frame),
        cmocka_unit_test(test_bounded), cmocka_unit_test(test_position_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
