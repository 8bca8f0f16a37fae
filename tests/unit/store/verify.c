/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: a clean store has no findings, each kind of damage has its own, and reading goes on behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "log/frame.h"
#include "log/varint.h"
#include "store/envelope.h"
#include "store/verify.h"
#include "support/store_content.h"

struct seen {
    struct store_verify_report report;
    char kinds[1024]; /* of the findings, one behind the other */
    struct log_finding first;
    char path[FOLDER_PATH_MAX + 64]; /* of the first one */
};

static void on_finding(void *context, const struct log_finding *finding)
{
    struct seen *seen = context;
    size_t used = strlen(seen->kinds);

    if (used == 0) {
        seen->first = *finding;
        (void)snprintf(seen->path, sizeof(seen->path), "%s", finding->path);
    }
    (void)snprintf(seen->kinds + used, sizeof(seen->kinds) - used, "%s%s", used > 0 ? " " : "", finding->kind);
}

static void verify_with(const char *folder, const struct store_verify_options *more, struct seen *seen)
{
    struct store_verify_options options = *more;
    struct banyan_error err = BANYAN_ERROR_INIT;

    memset(seen, 0, sizeof(*seen));
    options.folder = folder;
    options.context = seen;
    options.finding = on_finding;
    if (store_verify(&options, &seen->report, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void verify(const char *folder, struct seen *seen)
{
    verify_with(folder, &(struct store_verify_options){.memory_bytes = 0}, seen);
}

static void make_store(char folder[FOLDER_PATH_MAX], char log[FOLDER_PATH_MAX + 8])
{
    const struct store_content content = STORE_CONTENT_SMALL;

    folder_make_quick(folder);
    store_content_build(folder, &content, 7);
    (void)snprintf(log, FOLDER_PATH_MAX + 8, "%s/log", folder);
}

static void test_clean(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 8], work[FOLDER_PATH_MAX + 8];
    struct seen seen, small;

    (void)state;
    make_store(folder, log);
    verify(folder, &seen);
    assert_string_equal(seen.kinds, "");
    assert_int_equal(seen.report.damages + seen.report.derived + seen.report.notes, 0);
    assert_int_equal(seen.report.events, seen.report.log.whole_position);
    assert_true(seen.report.events > 500);
    assert_true(seen.report.streams > 5);
    assert_true(seen.report.cursors > 10);
    assert_true(seen.report.log.segments >= 4);
    assert_true(seen.report.log.closed);

    /* Without memory all goes through files, and says the same. */
    (void)snprintf(work, sizeof(work), "%s.work", folder);
    verify_with(folder, &(struct store_verify_options){.memory_bytes = 1, .work_folder = work}, &small);
    assert_string_equal(small.kinds, "");
    assert_int_equal(small.report.streams, seen.report.streams);
    folder_remove(work);
    folder_remove(folder);
}

static void test_nothing_there(void **state)
{
    char folder[FOLDER_PATH_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_verify_report report;

    (void)state;
    folder_make_quick(folder);
    assert_int_equal(store_verify(&(struct store_verify_options){.folder = folder}, &report, &err), BANYAN_NOT_FOUND);
    folder_remove(folder);
}

/* ---- bytes that are not what they were ---- */

static void expect_flip(const char *folder, const char *path, uint64_t byte, const char *kinds)
{
    struct seen seen;

    file_flip(path, byte);
    verify(folder, &seen);
    assert_string_equal(seen.kinds, kinds);
    assert_string_equal(seen.path, path);
    file_flip(path, byte);
}

static void test_flips(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 8], path[FOLDER_PATH_MAX + 64];
    struct seen seen;
    struct frame_header frame;
    size_t size;
    char *data;

    (void)state;
    make_store(folder, log);
    folder_file(path, log, 1);
    data = file_load(path, &size);
    memcpy(&frame, data + sizeof(struct segment_header), sizeof(frame));
    expect_flip(folder, path, 0, "segment_header");                          /* mark */
    expect_flip(folder, path, 100, "segment_header");                        /* reserved */
    expect_flip(folder, path, sizeof(struct segment_header), "frame");       /* mark */
    expect_flip(folder, path, sizeof(struct segment_header) + 5, "frame");   /* checksum */
    expect_flip(folder, path, sizeof(struct segment_header) + 40, "frame");  /* time */
    expect_flip(folder, path, sizeof(struct segment_header) + 60, "frame");  /* chain */
    expect_flip(folder, path, sizeof(struct segment_header) + 100, "frame"); /* a record */
    expect_flip(folder, path, size - 1, "not_zero");                         /* behind the end */
    /* Byte and position are those of the frame, and its events are the only ones that are not seen. */
    file_flip(path, sizeof(struct segment_header) + 100);
    verify(folder, &seen);
    assert_int_equal(seen.first.byte, sizeof(struct segment_header));
    assert_int_equal(seen.first.position, 1);
    assert_int_equal(seen.report.events, seen.report.log.whole_position - frame.record_count);
    free(data);
    folder_remove(folder);
}

static void test_missing_segment(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 8], path[FOLDER_PATH_MAX + 64];
    struct segment_header header;
    struct seen seen;
    char **names = NULL;
    size_t size;
    char *data;

    (void)state;
    make_store(folder, log);
    assert_int_equal(os_files_real()->list(os_files_real(), log, &names, NULL), BANYAN_OK);
    for (size_t i = 0, found = 0; names[i] != NULL; i++) {
        if (strstr(names[i], ".seg") != NULL && ++found == 2) {
            (void)snprintf(path, sizeof(path), "%s/%s", log, names[i]);
            data = file_load(path, &size);
            memcpy(&header, data, sizeof(header));
            free(data);
            assert_int_equal(remove(path), 0);
        }
        free(names[i]);
    }
    free(names);
    verify(folder, &seen);
    assert_memory_equal(seen.kinds, "position", 8);
    assert_int_equal(seen.first.position, header.first_position);
    assert_true(seen.report.damages >= 1);
    assert_true(seen.report.unchecked > 0);
    folder_remove(folder);
}

/* ---- content that is wrong under right checksums ---- */

struct change {
    uint64_t position;
    void (*change)(char *record, size_t size, struct frame_header *frame);
};

static void change_record(void *context, char *segment, uint64_t size, uint64_t number)
{
    const struct change *change = context;

    (void)number;
    for (uint64_t at = sizeof(struct segment_header); at + sizeof(struct frame_header) <= size;) {
        struct frame_header *frame = (struct frame_header *)(void *)(segment + at);
        char *record = (char *)(frame + 1), *end = record + frame->size;

        if (frame->magic != FRAME_MAGIC)
            return;
        for (uint64_t i = 0; i < frame->record_count; i++) {
            uint64_t length = 0;
            size_t used = varint_get(record, end, &length);

            if (frame->first_position + i == change->position)
                change->change(record + used, (size_t)(length >> 1), frame);
            record += used + (length >> 1);
        }
        at += sizeof(*frame) + frame->size;
    }
}

static void change_payload(char *record, size_t size, struct frame_header *frame)
{
    (void)frame;
    record[size - 1] ^= 1;
}

static void change_version(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)frame;
    record[25] ^= 2;
}

static void change_reserved(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)record;
    frame->reserved = 1;
}

static void change_flags(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)record;
    frame->flags ^= FRAME_CONTINUES;
}

static void change_flushed(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)record;
    frame->flushed = frame->offset + 1;
}

static void change_envelope(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)frame;
    record[0] |= 0x40;
}

static char first_id[16];

static void take_id(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)frame;
    memcpy(first_id, record + 1, sizeof(first_id));
}

static void put_id(char *record, size_t size, struct frame_header *frame)
{
    (void)size;
    (void)frame;
    memcpy(record + 1, first_id, sizeof(first_id));
}

static void expect_change(const char *folder, const char *log, struct change change, const char *kind)
{
    char saved[FOLDER_PATH_MAX + 16];
    struct seen seen;

    (void)snprintf(saved, sizeof(saved), "%s.saved", folder);
    folder_copy(folder, saved);
    store_content_rewrite(log, change_record, &change);
    verify(folder, &seen);
    if (strncmp(seen.kinds, kind, strlen(kind)) != 0)
        fail_msg("%s expected, %s found", kind, seen.kinds);
    if (kind[0] != '\0')
        assert_int_equal(seen.first.position <= change.position, true);
    folder_remove(folder);
    assert_int_equal(rename(saved, folder), 0);
}

static void test_wrong_content(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 8];

    (void)state;
    make_store(folder, log);
    expect_change(folder, log, (struct change){300, change_version}, "version");
    expect_change(folder, log, (struct change){300, change_reserved}, "frame_fields");
    expect_change(folder, log, (struct change){300, change_flags}, "batch");
    expect_change(folder, log, (struct change){300, change_flushed}, "flushed");
    expect_change(folder, log, (struct change){300, change_envelope}, "envelope");
    store_content_rewrite(log, change_record, &(struct change){5, take_id});
    expect_change(folder, log, (struct change){300, put_id}, "id_twice");
    /* What nothing can find without a signature: content that is changed with all checksums. */
    expect_change(folder, log, (struct change){300, change_payload}, "");
    folder_remove(folder);
}

/* ---- going on after an interruption ---- */

struct stopper {
    struct os_stop stop;
    struct seen seen;
};

static void test_resume(void **state)
{
    char folder[FOLDER_PATH_MAX], log[FOLDER_PATH_MAX + 8], work[FOLDER_PATH_MAX + 8], path[FOLDER_PATH_MAX + 64];
    struct store_verify_options options = {.resume = true};
    struct stopper stopper = {.stop = {.requested = 1}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_verify_report report;
    struct seen whole, seen;
    uint64_t stops = 0;

    (void)state;
    make_store(folder, log);
    verify(folder, &whole);
    (void)snprintf(work, sizeof(work), "%s.work", folder);
    options.work_folder = work;
    options.folder = folder;
    options.stop = &stopper.stop;
    /* Stopped behind each segment but the last. */
    while (store_verify(&options, &report, &err) == BANYAN_STOPPED && stops < 100) {
        banyan_error_clear(&err);
        stops++;
    }
    assert_int_equal(stops, whole.report.log.segments - 1);
    assert_int_equal(report.events, whole.report.events);
    assert_int_equal(report.streams, whole.report.streams);
    assert_int_equal(report.damages, 0);
    assert_true(report.resumed_position > 1);
    (void)snprintf(path, sizeof(path), "%s/progress", work);
    assert_int_not_equal(access(path, F_OK), 0);

    /* What is wrong across the interruption is found, too. */
    store_content_rewrite(log, change_record, &(struct change){5, take_id});
    store_content_rewrite(log, change_record, &(struct change){whole.report.events - 1, put_id});
    options.context = &seen;
    options.finding = on_finding;
    memset(&seen, 0, sizeof(seen));
    while (store_verify(&options, &report, &err) == BANYAN_STOPPED)
        banyan_error_clear(&err);
    assert_string_equal(seen.kinds, "id_twice");
    assert_int_equal(seen.first.position, whole.report.events - 1);
    folder_remove(work);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),           cmocka_unit_test(test_nothing_there), cmocka_unit_test(test_flips),
        cmocka_unit_test(test_missing_segment), cmocka_unit_test(test_wrong_content), cmocka_unit_test(test_resume),
    };

    return cmocka_run_group_tests_name("store verify", tests, NULL, NULL);
}
