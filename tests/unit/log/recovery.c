/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: a torn tail at every byte is cut back to the last whole batch; damage elsewhere is refused, or found by who
 * reads it, and left alone.
 * Where damage is proven by later frames is computed here from the stored headers, not by the code under test.
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
    SEGMENT_BYTES = 24 * 1024,
    FRAMES_MAX = 4096,
};

/* Files whose flush does nothing: the kernel is not going away in this test, and it would take minutes. */
static struct os_files quick;

static enum banyan_status no_sync(struct os_file *file, struct banyan_error *err)
{
    (void)file;
    (void)err;
    return BANYAN_OK;
}

static enum banyan_status no_sync_folder(struct os_files *files, const char *folder, struct banyan_error *err)
{
    (void)files;
    (void)folder;
    (void)err;
    return BANYAN_OK;
}

static int set_up(void **state)
{
    (void)state;
    quick = *os_files_real();
    quick.sync = no_sync;
    quick.sync_folder = no_sync_folder;
    return 0;
}

static enum banyan_status try_open(const char *folder, bool read_only, struct log **ret, struct banyan_error *err)
{
    struct log_options options = {
        .folder = folder,
        .files = &quick,
        .clock = os_clock_real(),
        .segment_bytes = SEGMENT_BYTES,
        .read_only = read_only,
    };

    banyan_error_clear(err);
    return log_open(&options, ret, err);
}

static struct log *must_open(const char *folder)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log = NULL;

    if (try_open(folder, false, &log, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return log;
}

static size_t make_record(uint64_t n, char data[256])
{
    size_t size = 8 + n * 7 % 90;

    memset(data, (int)(n & 0x7f), size);
    memcpy(data, &n, sizeof(n));
    return size;
}

static void add_records(struct log *log, uint64_t count)
{
    struct banyan_position position;
    char data[256];

    for (uint64_t i = 0; i < count; i++) {
        size_t size = make_record(log->next_position, data);

        assert_int_equal(log_append_record(log, (struct banyan_str){data, size}, &position, NULL), BANYAN_OK);
    }
}

static void append_batch(struct log *log, uint64_t count, bool wait)
{
    assert_int_equal(log_append_begin(log, NULL), BANYAN_OK);
    add_records(log, count);
    assert_int_equal(log_append_commit(log, NULL), BANYAN_OK);
    if (wait)
        assert_int_equal(log_wait_durable(log, log_tail(log), INT64_MAX, NULL), BANYAN_OK);
}

static void check_content(struct log *log, uint64_t last)
{
    struct log_reader *reader = log_reader_open(log);
    struct log_record record;
    char data[256];

    assert_int_equal(log_durable(log).value, last);
    for (uint64_t position = 1; position <= last; position++) {
        assert_int_equal(log_reader_next(reader, &record, NULL), BANYAN_OK);
        assert_int_equal(record.data.size, make_record(position, data));
        assert_memory_equal(record.data.data, data, record.data.size);
    }
    assert_int_equal(log_reader_next(reader, &record, NULL), BANYAN_NOT_FOUND);
    log_reader_close(reader);
}

/* ---- an independent look at the files ---- */

struct seen {
    uint64_t first_of_file; /* name of the segment */
    uint64_t at, end;       /* bytes in it */
    uint64_t flushed, offset;
    uint64_t last_position;
    bool ends_batch;
};

struct map {
    struct seen frames[FRAMES_MAX];
    size_t count;
};

static void look_at_file(struct map *map, const char *folder, uint64_t first_position)
{
    char path[FOLDER_PATH_MAX + 64];
    size_t size, at = sizeof(struct segment_header);
    char *data;

    folder_file(path, folder, first_position);
    data = file_load(path, &size);
    while (at + sizeof(struct frame_header) <= size) {
        struct frame_header header;

        memcpy(&header, data + at, sizeof(header));
        if (header.magic != FRAME_MAGIC)
            break;
        assert_true(map->count < FRAMES_MAX);
        map->frames[map->count++] = (struct seen){
            .first_of_file = first_position,
            .at = at,
            .end = at + sizeof(header) + header.size,
            .flushed = header.flushed,
            .offset = header.offset,
            .last_position = header.first_position + header.record_count - 1,
            .ends_batch = (header.flags & FRAME_CONTINUES) == 0,
        };
        at += sizeof(header) + header.size;
    }
    free(data);
}

static struct map *look(const char *folder)
{
    struct map *map = calloc(1, sizeof(*map));
    DIR *dir = opendir(folder);
    struct dirent *entry;
    uint64_t names[200];
    size_t count = 0;

    while ((entry = readdir(dir)) != NULL) {
        if (log_segment_parse_name(entry->d_name, &names[count]))
            count++;
        assert_true(count < 200);
    }
    (void)closedir(dir);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (names[j] < names[i]) {
                uint64_t other = names[i];

                names[i] = names[j];
                names[j] = other;
            }
        }
    }
    for (size_t i = 0; i < count; i++)
        look_at_file(map, folder, names[i]);
    return map;
}

enum damage { TRUNCATE, FLIP, ZERO, DAMAGES };

/* Damage byte *at* of a file's content.  In place: a file that is written anew costs a flush. */
static void damage_file(const char *path, enum damage damage, uint64_t at)
{
    static const char zeros[SEGMENT_BYTES * 4];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat info;
    char byte;

    folder_check(fd >= 0 && fstat(fd, &info) == 0, path);
    if (damage == TRUNCATE) {
        folder_check(ftruncate(fd, (off_t)at) == 0, path);
    } else if (damage == FLIP) {
        folder_check(pread(fd, &byte, 1, (off_t)at) == 1, path);
        byte ^= 0x41;
        folder_check(pwrite(fd, &byte, 1, (off_t)at) == 1, path);
    } else {
        size_t size = (size_t)info.st_size - at;

        assert_true(size <= sizeof(zeros));
        folder_check(pwrite(fd, zeros, size, (off_t)at) == (ssize_t)size, path);
    }
    (void)close(fd);
}

enum outcome { CUT, REFUSED, FOUND_WHEN_READ };

/* What must come out when the bytes from *at* of the file on are lost (or one byte, for FLIP).  *ret: the last position
 * that survives. */
static enum outcome expect(const struct map *map, uint64_t file, enum damage damage, uint64_t at, uint64_t *ret)
{
    uint64_t last = 0, hit_offset = 0;
    bool hit = false;

    /* A later segment's header says that this one was flushed: what it holds is not looked at, only that it is there.
     */
    if (map->frames[map->count - 1].first_of_file > file) {
        *ret = map->frames[map->count - 1].last_position;
        return damage == TRUNCATE || at < sizeof(struct segment_header) ? REFUSED : FOUND_WHEN_READ;
    }
    for (size_t i = 0; i < map->count; i++) {
        const struct seen *frame = &map->frames[i];

        if (!hit && frame->first_of_file == file && frame->end > at) {
            hit = true;
            hit_offset = frame->offset;
        }
        if (!hit && frame->ends_batch)
            last = frame->last_position;
        /* A later frame that is still there. */
        if (hit && frame->flushed > hit_offset && damage == FLIP)
            return REFUSED;
    }
    *ret = last;
    return CUT;
}

/* The log opens, and a reader names the damaged file. */
static void check_found_when_read(const char *folder, uint64_t last, const char *name)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_OK;
    struct log_reader *reader;
    struct log_record record;
    struct log *log = NULL;
    uint64_t read = 0;

    assert_int_equal(try_open(folder, true, &log, &err), BANYAN_OK);
    assert_int_equal(log_durable(log).value, last);
    reader = log_reader_open(log);
    while ((status = log_reader_next(reader, &record, &err)) == BANYAN_OK)
        read++;
    assert_int_equal(status, BANYAN_CORRUPT);
    assert_true(read < last);
    assert_non_null(strstr(err.message, name));
    assert_true(err.hint[0] != 0);
    log_reader_close(reader);
    log_close(log);
}

static void compare_files(const char *a, const char *b)
{
    size_t a_size, b_size;
    char *a_data = file_load(a, &a_size), *b_data = file_load(b, &b_size);

    assert_int_equal(a_size, b_size);
    assert_memory_equal(a_data, b_data, a_size);
    free(a_data);
    free(b_data);
}

static void damage_and_open(const char *pristine, const struct map *map, uint64_t file, enum damage damage, uint64_t at)
{
    char broken[FOLDER_PATH_MAX + 16], before[FOLDER_PATH_MAX + 16], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log = NULL;
    uint64_t survives = 0;
    enum banyan_status status;
    enum outcome outcome;
    char name[40];

    (void)snprintf(broken, sizeof(broken), "%s.broken", pristine);
    (void)snprintf(before, sizeof(before), "%s.before", pristine);
    folder_copy(pristine, broken);
    folder_file(path, broken, file);
    damage_file(path, damage, at);
    (void)snprintf(name, sizeof(name), "%020llu.seg", (unsigned long long)file);
    outcome = expect(map, file, damage, at, &survives);
    if (outcome != CUT) {
        char copy[FOLDER_PATH_MAX + 64];

        folder_copy(broken, before);
        status = try_open(broken, false, &log, &err);
        if (outcome == REFUSED) {
            if (status != BANYAN_CORRUPT)
                fail_msg("damage %d at byte %llu of %llu: status %d", damage, (unsigned long long)at,
                         (unsigned long long)file, status);
            if (strstr(err.message, name) == NULL)
                fail_msg("damage %d at byte %llu of %s: %s", damage, (unsigned long long)at, name, err.message);
            assert_true(err.hint[0] != 0);
            assert_int_equal(try_open(broken, true, &log, &err), BANYAN_CORRUPT);
        } else {
            if (status != BANYAN_OK)
                fail_msg("damage %d at byte %llu of %s: %s", damage, (unsigned long long)at, name, err.message);
            log_close(log);
            check_found_when_read(broken, survives, name);
        }
        folder_file(copy, before, file);
        compare_files(path, copy);
        folder_remove(before);
        folder_remove(broken);
        return;
    }
    assert_int_equal(try_open(broken, true, &log, &err), BANYAN_OK); /* looks only */
    check_content(log, survives);
    log_close(log);
    status = try_open(broken, false, &log, &err);
    if (status != BANYAN_OK)
        fail_msg("damage %d at byte %llu: %s", damage, (unsigned long long)at, err.message);
    check_content(log, survives);
    append_batch(log, 2, true);
    append_batch(log, 300, true);
    log_close(log);
    log = must_open(broken);
    check_content(log, survives + 302);
    log_close(log);
    folder_remove(broken);
}

/* A log as a killed process leaves it: a copy made while it is open. */
static struct map *make_killed(char pristine[FOLDER_PATH_MAX], uint64_t batches, bool grouped)
{
    char folder[FOLDER_PATH_MAX];
    struct log *log;

    folder_make_quick(folder);
    folder_make_quick(pristine);
    log = must_open(folder);
    append_batch(log, 500, true); /* several frames are in the log's first segments */
    append_batch(log, 700, true);
    for (uint64_t i = 0; i < batches; i++)
        append_batch(log, 1 + i % 4, !grouped || i + 1 == batches);
    folder_copy(folder, pristine);
    log_close(log);
    folder_remove(folder);
    return look(pristine);
}

static void tear_everywhere(uint64_t batches, bool grouped)
{
    char pristine[FOLDER_PATH_MAX];
    struct map *map = make_killed(pristine, batches, grouped);
    const struct seen *last = &map->frames[map->count - 1];
    uint64_t from = last->end > 900 ? last->end - 900 : 0;

    for (uint64_t at = from; at <= last->end + 3; at++) {
        damage_and_open(pristine, map, last->first_of_file, TRUNCATE, at);
        damage_and_open(pristine, map, last->first_of_file, ZERO, at);
        if (at < last->end)
            damage_and_open(pristine, map, last->first_of_file, FLIP, at);
    }
    free(map);
    folder_remove(pristine);
}

static void test_torn_everywhere(void **state)
{
    (void)state;
    tear_everywhere(5, false);
}

static void test_torn_group(void **state)
{
    (void)state;
    tear_everywhere(6, true);
}

/* Anywhere in the log: headers of segments, frames of large batches, last segment or not. */
static void test_damage_anywhere(void **state)
{
    char pristine[FOLDER_PATH_MAX];
    struct map *map = make_killed(pristine, 4, false);
    struct os_random random;

    (void)state;
    os_random_seed(&random, test_seed());
    assert_true(map->frames[0].first_of_file != map->frames[map->count - 1].first_of_file);
    for (int round = 0; round < 600; round++) {
        const struct seen *frame = &map->frames[os_random_below(&random, map->count)];
        enum damage damage = (enum damage)os_random_below(&random, DAMAGES);
        uint64_t at = frame->at + os_random_below(&random, frame->end - frame->at);

        if (round % 10 == 0)
            at = os_random_below(&random, damage == ZERO ? 32 : sizeof(struct segment_header)); /* zeros stay zeros */
        damage_and_open(pristine, map, frame->first_of_file, damage, at);
    }
    free(map);
    folder_remove(pristine);
}

/* After an orderly close even the last frame is known to have been flushed. */
static void test_damage_after_close(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log *log;
    struct map *map;
    const struct seen *frame;

    (void)state;
    folder_make_quick(folder);
    log = must_open(folder);
    append_batch(log, 3, true);
    append_batch(log, 3, true);
    log_close(log);
    map = look(folder);
    assert_int_equal(map->count, 3);
    frame = &map->frames[1];
    folder_file(path, folder, 1);
    damage_file(path, FLIP, frame->at + 60);
    assert_int_equal(try_open(folder, false, &log, &err), BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, "position 4"));
    damage_file(path, FLIP, frame->at + 60); /* mended */
    damage_file(path, FLIP, frame->end + 9); /* the closing frame itself: nothing is lost */
    log = must_open(folder);
    check_content(log, 6);
    log_close(log);
    free(map);
    folder_remove(folder);
}

/* Killed inside a batch that spans segments: all of it goes, files too. */
static void test_half_batch(void **state)
{
    char folder[FOLDER_PATH_MAX], copy[FOLDER_PATH_MAX];
    struct log_stats stats;
    struct log *log, *other;

    (void)state;
    folder_make_quick(folder);
    folder_make_quick(copy);
    log = must_open(folder);
    append_batch(log, 10, true);
    assert_int_equal(log_append_begin(log, NULL), BANYAN_OK);
    add_records(log, 20000);
    log_append_abort(log);
    check_content(log, 10);
    assert_int_equal(log_append_begin(log, NULL), BANYAN_OK);
    add_records(log, 20000);
    (void)pthread_mutex_lock(&log->lock);
    while (log->shared.queue != NULL || log->shared.flushing)
        (void)pthread_cond_wait(&log->room, &log->lock);
    (void)pthread_mutex_unlock(&log->lock);
    folder_copy(folder, copy);
    other = must_open(copy);
    log_stats(other, &stats);
    assert_int_equal(stats.segments, 1);
    assert_true(stats.torn_bytes_cut > 0);
    check_content(other, 10);
    append_batch(other, 20000, true);
    check_content(other, 20010);
    log_close(other);
    other = must_open(copy);
    check_content(other, 20010);
    log_close(other);
    add_records(log, 1);
    assert_int_equal(log_append_commit(log, NULL), BANYAN_OK);
    assert_int_equal(log_wait_durable(log, log_tail(log), INT64_MAX, NULL), BANYAN_OK);
    check_content(log, 20011);
    log_close(log);
    folder_remove(folder);
    folder_remove(copy);
}

static void test_missing_segment(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint64_t second = 0;
    struct log *log;
    struct map *map;

    (void)state;
    folder_make_quick(folder);
    log = must_open(folder);
    for (int i = 0; i < 40; i++)
        append_batch(log, 50, true);
    log_close(log);
    map = look(folder);
    for (size_t i = 0; i < map->count && second == 0; i++) {
        if (map->frames[i].first_of_file != 1)
            second = map->frames[i].first_of_file;
    }
    folder_file(path, folder, second);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(folder, false, &log, &err), BANYAN_CORRUPT);
    folder_file(path, folder, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(folder, false, &log, &err), BANYAN_CORRUPT);
    free(map);
    folder_remove(folder);
}

/* A segment that was made but never written to: the machine stopped between. */
static void test_empty_segment(void **state)
{
    static char zeros[SEGMENT_BYTES];
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct log *log;

    (void)state;
    folder_make_quick(folder);
    folder_file(path, folder, 1);
    file_save(path, zeros, sizeof(zeros));
    log = must_open(folder);
    check_content(log, 0);
    append_batch(log, 5, true);
    log_close(log);
    folder_file(path, folder, 6);
    file_save(path, zeros, sizeof(zeros));
    log = must_open(folder);
    check_content(log, 5);
    append_batch(log, 1, true);
    check_content(log, 6);
    log_close(log);
    folder_remove(folder);
}

/* Damage that comes while the log is open: the reader names it. */
static void test_reader_checks(void **state)
{
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct log_reader *reader;
    struct log_record record;
    struct log *log;

    (void)state;
    folder_make_quick(folder);
    log = must_open(folder);
    append_batch(log, 3, true);
    append_batch(log, 3, true);
    folder_file(path, folder, 1);
    damage_file(path, FLIP, sizeof(struct segment_header) + sizeof(struct frame_header) + 5);
    reader = log_reader_open(log);
    assert_int_equal(log_reader_next(reader, &record, &err), BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, path));
    log_reader_close(reader);
    log_close(log);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_everywhere), cmocka_unit_test(test_torn_group),
        cmocka_unit_test(test_damage_anywhere), cmocka_unit_test(test_damage_after_close),
        cmocka_unit_test(test_half_batch),      cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_empty_segment),   cmocka_unit_test(test_reader_checks),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
