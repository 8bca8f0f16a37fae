/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cold segments: the same bytes, found by every way that leads to them; whole after a crash between any two steps, a
 * full disk or a failed flush; and no flipped bit is read as data.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "folder.h"
#include "log/log_int.h"
#include "log/verify.h"
#include "os/random.h"

enum {
    SEGMENT_BYTES = 96 * 1024,
};

/* A folder with hot/ and cold/. */
struct place {
    char root[FOLDER_PATH_MAX], hot[FOLDER_PATH_MAX + 8], cold[FOLDER_PATH_MAX + 8];
};

static void place_names(struct place *place)
{
    (void)snprintf(place->hot, sizeof(place->hot), "%s/hot", place->root);
    (void)snprintf(place->cold, sizeof(place->cold), "%s/cold", place->root);
}

static enum banyan_status try_open(const struct place *place, struct os_files *files, bool read_only, struct log **ret,
                                   struct banyan_error *err)
{
    struct log_options options = {
        .folder = place->hot,
        .cold_folder = place->cold,
        .files = files == NULL ? os_files_real() : files,
        .clock = os_clock_real(),
        .segment_bytes = SEGMENT_BYTES,
        .read_only = read_only,
    };

    banyan_error_clear(err);
    return log_open(&options, ret, err);
}

static struct log *must_open(const struct place *place, struct os_files *files, bool read_only)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log = NULL;

    if (try_open(place, files, read_only, &log, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return log;
}

/* Like events: much alike, and not quite. */
static size_t make_record(uint64_t n, char data[9000])
{
    struct os_random random;
    int size;

    os_random_seed(&random, n);
    size = snprintf(data, 9000, "{\"order\":\"order-%llu\",\"trader\":%llu,\"quantity\":\"%llu.00\",\"note\":\"",
                    (unsigned long long)(n % 97), (unsigned long long)os_random_below(&random, 1000),
                    (unsigned long long)os_random_below(&random, 100000));
    for (uint64_t i = os_random_below(&random, n % 50 == 0 ? 8000 : 60); i > 0; i--)
        data[size++] = (char)(n % 3 == 0 ? os_random_next(&random) : 'a' + i % 26);
    return (size_t)size;
}

static enum banyan_status append(struct log *log, uint64_t count, struct banyan_error *err)
{
    enum banyan_status status = log_append_begin(log, err);
    struct banyan_position position;
    char data[9000];

    for (uint64_t i = 0, next = log_tail(log).value + 1; i < count && status == BANYAN_OK; i++, next++)
        status = log_append_record(log, (struct banyan_str){data, make_record(next, data)}, &position, err);
    if (status == BANYAN_OK)
        status = log_append_commit(log, err);
    if (status == BANYAN_OK)
        return log_wait_durable(log, log_tail(log), INT64_MAX, err);
    log_append_abort(log);
    return status;
}

static void make_place(struct place *place)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log;

    folder_make_quick(place->root);
    place_names(place);
    log = must_open(place, NULL, false);
    for (uint64_t i = 0; i < 60; i++) {
        if (append(log, i % 7 == 0 ? 300 : 5, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
    }
    log_close(log);
}

/* The first position that cannot be read, or is another's; 0: all are as they were appended. */
static uint64_t first_bad(struct log *log)
{
    struct log_reader *reader = log_reader_open(log);
    struct log_record record;
    uint64_t bad = 0;
    char data[9000];

    for (uint64_t position = 1; position <= log_durable(log).value && bad == 0; position++) {
        size_t size = make_record(position, data);

        if (log_reader_next(reader, &record, NULL) != BANYAN_OK || record.position.value != position ||
            record.data.size != size || memcmp(record.data.data, data, size) != 0)
            bad = position;
    }
    log_reader_close(reader);
    return bad;
}

static void check_random(struct log *log, struct os_random *random, int count)
{
    struct log_reader *reader = log_reader_open(log);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_record record;
    char data[9000];

    for (int i = 0; i < count; i++) {
        uint64_t position = 1 + os_random_below(random, log_durable(log).value);
        size_t size = make_record(position, data);

        if (log_reader_seek(reader, (struct banyan_position){position}, &err) != BANYAN_OK ||
            log_reader_next(reader, &record, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(record.data.size, size);
        assert_memory_equal(record.data.data, data, size);
    }
    log_reader_close(reader);
}

/* Archive until there is nothing left; returns how many. */
static uint64_t archive_all(struct log *log)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_archived archived = {.segments = 1};
    uint64_t count = 0;

    while (archived.segments > 0) {
        if (log_segment_archive(log, (struct banyan_position){UINT64_MAX}, &archived, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        count += archived.segments;
        if (archived.segments > 0)
            assert_true(archived.bytes_after < archived.bytes_before);
    }
    return count;
}

static size_t count_names(const char *folder, const char *suffix)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    size_t count = 0;

    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        size_t size = strlen(entry->d_name), end = strlen(suffix);

        count += size > end && strcmp(entry->d_name + size - end, suffix) == 0;
    }
    (void)closedir(dir);
    return count;
}

static void test_same_bytes(void **state)
{
    char original[FOLDER_PATH_MAX];
    struct os_random random;
    struct log_stats stats;
    struct place place;
    struct log *log;
    uint64_t *firsts = NULL;
    size_t count = 0;
    uint64_t archived;

    (void)state;
    os_random_seed(&random, test_seed());
    make_place(&place);
    (void)snprintf(original, sizeof(original), "%.300s.original", place.root);
    folder_copy(place.hot, original);
    log = must_open(&place, NULL, false);
    archived = archive_all(log);
    assert_true(archived > 5);
    assert_int_equal(first_bad(log), 0);
    check_random(log, &random, 300);
    assert_int_equal(log_segments_list(&log->folders, &firsts, &count, NULL), BANYAN_OK);
    assert_int_equal(count, archived + 1);
    log_stats(log, &stats);
    assert_int_equal(stats.cold_segments, archived);
    assert_int_equal(count_names(place.hot, ".seg"), 1);
    for (size_t i = 0; i + 1 < count; i++) {
        struct log_source *source = NULL;
        char path[FOLDER_PATH_MAX + 64], piece[40000];
        size_t size, got;
        char *data;

        folder_file(path, original, firsts[i]);
        data = file_load(path, &size);
        assert_int_equal(log_source_open(&log->folders, firsts[i], &source, NULL), BANYAN_OK);
        assert_true(log_source_is_cold(source) && log_source_bytes(source) <= size);
        for (int round = 0; round < 200; round++) {
            uint64_t at = round == 0 ? 0 : os_random_below(&random, log_source_bytes(source) + 1);
            size_t most = os_random_below(&random, sizeof(piece)), least = os_random_below(&random, most + 1);
            size_t there = (size_t)(log_source_bytes(source) - at);

            assert_int_equal(log_source_read(source, at, piece, least, most, &got, NULL), BANYAN_OK);
            assert_true(got <= most && got >= (least < there ? least : there));
            assert_memory_equal(piece, data + at, got);
        }
        log_source_close(source);
        free(data);
    }
    log_close(log);
    for (int round = 0; round < 2; round++) { /* with the files of marks, and without */
        log = must_open(&place, NULL, round == 0);
        assert_int_equal(first_bad(log), 0);
        check_random(log, &random, 300);
        for (size_t i = 0; i + 1 < count; i++) {
            char *path = log_segment_path(place.hot, firsts[i], LOG_MARKS_SUFFIX);

            assert_int_equal(unlink(path), 0);
            free(path);
        }
        log_close(log);
    }
    free(firsts);
    folder_remove(original);
    folder_remove(place.root);
}

/* Killed before each step of an archiving in turn. */
static void test_crash(void **state)
{
    struct place pristine, place;
    uint64_t steps = 0;
    bool done = false;

    (void)state;
    make_place(&pristine);
    (void)snprintf(place.root, sizeof(place.root), "%.300s.copy", pristine.root);
    place_names(&place);
    for (uint64_t dies_at = 1; !done; dies_at++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct log_archived archived;
        struct os_files_test files;
        struct log *log;

        folder_copy(pristine.root, place.root);
        os_files_test_init(&files);
        log = must_open(&place, &files.base, false);
        steps = __atomic_load_n(&files.steps, __ATOMIC_SEQ_CST);
        __atomic_store_n(&files.dies_at, steps + dies_at, __ATOMIC_SEQ_CST);
        done = log_segment_archive(log, (struct banyan_position){UINT64_MAX}, &archived, &err) == BANYAN_OK;
        if (done)
            assert_int_equal(archived.segments, 1);
        assert_int_equal(first_bad(log), 0);
        log_close(log);
        log = must_open(&place, NULL, true);
        assert_int_equal(first_bad(log), 0);
        log_close(log);
        log = must_open(&place, NULL, false);
        assert_int_equal(count_names(place.cold, ".new"), 0);
        assert_int_equal(first_bad(log), 0);
        if (dies_at % 7 == 0 || done) {
            assert_true(archive_all(log) > 5);
            assert_int_equal(append(log, 30, &err), BANYAN_OK);
            assert_int_equal(first_bad(log), 0);
        }
        log_close(log);
        folder_remove(place.root);
        assert_true(dies_at < 200);
    }
    folder_remove(pristine.root);
}

/* No bit of a cold file can turn without being seen; what is not behind it is still read. */
static void test_flips(void **state)
{
    char path[FOLDER_PATH_MAX + 64];
    struct os_random random;
    struct place place;
    struct log *log;
    char *data;
    size_t size;

    (void)state;
    os_random_seed(&random, test_seed());
    make_place(&place);
    log = must_open(&place, NULL, false);
    (void)archive_all(log);
    log_close(log);
    (void)snprintf(path, sizeof(path), "%.300s/%020d.seg.zst", place.cold, 1);
    data = file_load(path, &size);
    for (int round = 0; round < 600; round++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        uint64_t at = round < 216 ? (uint64_t)round : os_random_below(&random, size);
        char was = data[at];

        if (round % 4 == 1 && round > 216) { /* or the end of the file is missing */
            file_save(path, data, at);
        } else {
            data[at] ^= (char)(1 << os_random_below(&random, 8));
            file_save(path, data, size);
            data[at] = was;
        }
        if (try_open(&place, NULL, true, &log, &err) == BANYAN_OK) {
            assert_int_not_equal(first_bad(log), 0);
            log_close(log);
        } else {
            assert_true(strstr(err.message, ".seg.zst") != NULL || strstr(err.message, ".seg is damaged") != NULL);
            assert_true(err.hint[0] != 0 || strstr(err.message, "format") != NULL);
        }
    }
    file_save(path, data, size);
    log = must_open(&place, NULL, false);
    assert_int_equal(first_bad(log), 0);
    log_close(log);
    assert_int_equal(unlink(path), 0);
    {
        struct banyan_error err = BANYAN_ERROR_INIT;

        assert_int_equal(try_open(&place, NULL, false, &log, &err), BANYAN_CORRUPT);
        assert_non_null(strstr(err.message, "missing"));
    }
    free(data);
    folder_remove(place.root);
}

struct found {
    size_t count; /* findings of damage */
    char kind[32], path[FOLDER_PATH_MAX + 64];
    uint64_t position, lost_first, lost_last, lost_count;
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct found *found = context;

    if (finding->class == LOG_FINDING_NOTE)
        return;
    found->count++;
    found->position = finding->position;
    (void)snprintf(found->kind, sizeof(found->kind), "%s", finding->kind);
    (void)snprintf(found->path, sizeof(found->path), "%s", finding->path);
}

static void on_lost(void *context, uint64_t first, uint64_t last)
{
    struct found *found = context;

    found->lost_first = first;
    found->lost_last = last;
    found->lost_count++;
}

/* A cold file that cannot be opened is one finding, and all other segments are read. */
static void check_unreadable(const struct place *place, const uint64_t *firsts, size_t number, uint64_t tail)
{
    struct found found = {.count = 0};
    struct log_verify_visitor visitor = {.context = &found, .finding = on_finding, .lost = on_lost};
    struct log_verify_options options = {
        .folder = place->hot, .cold_folder = place->cold, .files = os_files_real(), .visitor = &visitor};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_verify_place at;
    char *path = log_segment_path(place->cold, firsts[number], LOG_COLD_SUFFIX);

    log_verify_place_init(&at);
    if (log_verify(&options, &at, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(found.count, 1);
    assert_int_equal(at.damages, 1);
    assert_string_equal(found.kind, "cold_file");
    assert_string_equal(found.path, path);
    assert_int_equal(found.position, firsts[number]);
    assert_int_equal(found.lost_count, 1);
    assert_int_equal(found.lost_first, firsts[number]);
    assert_int_equal(found.lost_last, firsts[number + 1] - 1);
    assert_int_equal(at.records, tail - (firsts[number + 1] - firsts[number]));
    assert_int_equal(at.whole_position, tail);
    free(path);
}

static void test_verify_goes_on(void **state)
{
    struct cold_header header;
    struct place place;
    struct log *log;
    uint64_t *firsts = NULL, tail;
    size_t count = 0;

    (void)state;
    make_place(&place);
    log = must_open(&place, NULL, false);
    (void)archive_all(log);
    tail = log_durable(log).value;
    assert_int_equal(log_segments_list(&log->folders, &firsts, &count, NULL), BANYAN_OK);
    log_close(log);
    assert_true(count > 4);
    const size_t numbers[] = {0, 1, count / 2, count - 2};
    for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
        size_t number = numbers[n];
        char *path = log_segment_path(place.cold, firsts[number], LOG_COLD_SUFFIX);
        size_t size;
        char *data = file_load(path, &size);

        memcpy(&header, data, sizeof(header));
        assert_true(header.dictionary_bytes > 0);
        const size_t places[] = {1, sizeof(header) - 1, sizeof(header) + header.dictionary_bytes / 2,
                                 header.index_at + 2, size - 1};
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            data[places[i]] ^= 0x10;
            file_save(path, data, size);
            check_unreadable(&place, firsts, number, tail);
            data[places[i]] ^= 0x10;
        }
        file_save(path, data, 10);
        check_unreadable(&place, firsts, number, tail);
        file_save(path, data, size - 1);
        check_unreadable(&place, firsts, number, tail);
        file_save(path, data, size);
        free(data);
        free(path);
    }
    free(firsts);
    folder_remove(place.root);
}

/* A full disk and a failed flush: an error, the plain file stays, and the next attempt does it. */
static void test_faults(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_archived archived;
    struct os_files_test files;
    struct place place;
    struct log *log;
    size_t hot;

    (void)state;
    make_place(&place);
    os_files_test_init(&files);
    log = must_open(&place, &files.base, false);
    hot = count_names(place.hot, ".seg");
    for (uint64_t bytes = 0; bytes < 12000; bytes += 2900) {
        __atomic_store_n(&files.bytes_left, bytes, __ATOMIC_SEQ_CST);
        assert_int_equal(log_segment_archive(log, (struct banyan_position){UINT64_MAX}, &archived, &err),
                         BANYAN_NO_SPACE);
        assert_int_equal(count_names(place.hot, ".seg"), hot);
        assert_int_equal(count_names(place.cold, ".new") + count_names(place.cold, ".zst"), 0);
    }
    __atomic_store_n(&files.bytes_left, UINT64_MAX, __ATOMIC_SEQ_CST);
    __atomic_store_n(&files.sync_fails_at, __atomic_load_n(&files.syncs, __ATOMIC_SEQ_CST) + 1, __ATOMIC_SEQ_CST);
    assert_int_equal(log_segment_archive(log, (struct banyan_position){UINT64_MAX}, &archived, &err), BANYAN_IO);
    assert_int_equal(count_names(place.hot, ".seg"), hot);
    assert_int_equal(count_names(place.cold, ".zst"), 0);
    assert_int_equal(log_health(log, &err), BANYAN_OK);
    assert_int_equal(append(log, 3, &err), BANYAN_OK);
    assert_true(archive_all(log) >= hot - 1);
    assert_int_equal(first_bad(log), 0);
    log_close(log);
    folder_remove(place.root);
}

/* A reader in the middle of a segment goes on when that becomes cold; the limit is kept; damage is not archived. */
static void test_beside_readers(void **state)
{
    char path[FOLDER_PATH_MAX + 64], data[9000];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_archived archived;
    struct log_reader *reader;
    struct log_record record;
    struct place place;
    struct log *log, *other;
    uint64_t second;
    char *bytes;
    size_t size;

    (void)state;
    make_place(&place);
    log = must_open(&place, NULL, false);
    other = must_open(&place, NULL, true); /* another process that looks */
    reader = log_reader_open(log);
    assert_int_equal(log_reader_next(reader, &record, &err), BANYAN_OK);
    second = log->shared.segments[1]->first_position;
    assert_int_equal(log_segment_archive(log, (struct banyan_position){second - 2}, &archived, &err), BANYAN_OK);
    assert_int_equal(archived.segments, 0);
    assert_int_equal(log_segment_archive(log, (struct banyan_position){second - 1}, &archived, &err), BANYAN_OK);
    assert_int_equal(archived.segments, 1);
    assert_int_equal(archived.last_position, second - 1);
    folder_file(path, place.hot, second);
    bytes = file_load(path, &size);
    bytes[5000] ^= 1;
    file_save(path, bytes, size);
    assert_int_equal(log_segment_archive(log, (struct banyan_position){UINT64_MAX}, &archived, &err), BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(access(path, F_OK), 0);
    bytes[5000] ^= 1;
    file_save(path, bytes, size);
    free(bytes);
    (void)archive_all(log);
    for (uint64_t position = 2; position <= log_durable(log).value; position++) {
        size_t expected = make_record(position, data);

        assert_int_equal(log_reader_next(reader, &record, &err), BANYAN_OK);
        assert_int_equal(record.data.size, expected);
        assert_memory_equal(record.data.data, data, expected);
    }
    assert_int_equal(first_bad(other), 0);
    log_reader_close(reader);
    log_close(other);
    log_close(log);
    folder_remove(place.root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes),     cmocka_unit_test(test_crash),  cmocka_unit_test(test_flips),
        cmocka_unit_test(test_verify_goes_on), cmocka_unit_test(test_faults), cmocka_unit_test(test_beside_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
