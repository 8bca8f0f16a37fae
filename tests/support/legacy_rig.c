/* SPDX-License-Identifier: Apache-2.0 */
/* See legacy_rig.h. */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "os/clock.h"
#include "os/retry.h"
#include "support/doc_domain.h"
#include "support/test_domain.h"

enum {
    WAIT_US = 30 * 1000 * 1000,
};

void rig_ok(struct rig *rig, enum banyan_status status, const char *what)
{
    if (status != BANYAN_OK)
        fail_msg("%s: %s: %s (%s) %s", what, banyan_status_name(status), rig->err.message, rig->err.detail,
                 rig->err.hint);
}

BANYAN_PRINTF_LIKE(1, 2)
static char *text_of(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    va_end(arguments);
    return text;
}

/* ---- SQL ---- */

static struct pg_conn *connect_to(const char *conninfo)
{
    struct pg_options options = {.conninfo = conninfo, .application_name = "application"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("cannot connect to %s: %s", conninfo, err.message);
    return conn;
}

struct pg_conn *rig_connect(struct rig *rig)
{
    return connect_to(rig->conninfo);
}

void rig_sql(struct pg_conn *conn, const char *format, ...)
{
    char *sql = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&sql, format, arguments) < 0)
        abort();
    va_end(arguments);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s %s", sql, err.message, err.detail);
    free(sql);
}

static const char *value_of(struct rig *rig, struct pg_conn *conn, const char *sql)
{
    struct pg_result *result = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    struct banyan_str text = pg_rows(result) == 0 ? BANYAN_STR("(none)") : pg_text(result, 0, 0);
    const char *kept = text.data == NULL ? "(null)" : banyan_arena_str(&rig->arena, text).data;
    pg_result_free(result);
    return kept;
}

const char *rig_value(struct rig *rig, struct pg_conn *conn, const char *format, ...)
{
    char *sql = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&sql, format, arguments) < 0)
        abort();
    va_end(arguments);
    const char *value = value_of(rig, conn, sql);
    free(sql);
    return value;
}

void rig_wait_value(struct rig *rig, const char *expected, const char *format, ...)
{
    char *sql = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&sql, format, arguments) < 0)
        abort();
    va_end(arguments);
    struct os_retry retry = {.first_us = 5000, .pause_us_max = 100000, .total_us_max = WAIT_US};
    const char *value;
    while (strcmp(value = value_of(rig, rig->server, sql), expected) != 0)
        if (!os_retry_pause(&retry, NULL))
            fail_msg("%s: is %s, waited for %s", sql, value, expected);
    free(sql);
}

/* ---- life ---- */

int rig_up(void **state)
{
    static int number;
    const char *conninfo = getenv("BANYAN_TEST_CONNINFO");
    if (conninfo == NULL)
        fail_msg("BANYAN_TEST_CONNINFO is not set: run this through tools/with-postgres");
    struct rig *rig = calloc(1, sizeof(*rig));
    snprintf(rig->database, sizeof(rig->database), "app_%d", ++number);
    snprintf(rig->slot, sizeof(rig->slot), "banyan_%d", number);
    rig->server = connect_to(conninfo);
    rig_sql(rig->server, "CREATE DATABASE %s", rig->database);
    rig->conninfo = text_of("%s dbname=%s", conninfo, rig->database);
    rig->db = connect_to(rig->conninfo);
    rig_sql(rig->db, "%s", doc_schema_sql);
    rig->folder = test_folder_new();
    rig->store_folder = text_of("%s/store", rig->folder);
    rig->spool_folder = text_of("%s/spool", rig->folder);
    RIG_OK(rig, os_stop_open(&rig->stop, &rig->err));
    rig->options = (struct legacy_options){
        .domain = &doc_domain,
        .name = "test",
        .conninfo = rig->conninfo,
        .slot = rig->slot,
        .publication = "banyan pub",
        .spool_folder = rig->spool_folder,
        .heartbeat_us = 60 * 1000 * 1000,
    };
    *state = rig;
    return 0;
}

void rig_open_store(struct rig *rig)
{
    if (rig->store != NULL)
        return;
    struct store_options options = {.folder = rig->store_folder, .files = rig->files};
    RIG_OK(rig, store_open(&options, &rig->store, &rig->err));
}

enum banyan_status rig_try_start(struct rig *rig)
{
    rig_open_store(rig);
    rig->options.store = rig->store;
    rig->options.stop = &rig->stop;
    banyan_error_clear(&rig->err);
    return legacy_start(&rig->options, &rig->legacy, &rig->err);
}

void rig_start(struct rig *rig)
{
    rig_ok(rig, rig_try_start(rig), "legacy_start");
}

void rig_stop(struct rig *rig)
{
    os_stop_request(&rig->stop);
    legacy_stop(rig->legacy);
    rig->legacy = NULL;
    store_close(rig->store);
    rig->store = NULL;
    os_stop_close(&rig->stop);
    RIG_OK(rig, os_stop_open(&rig->stop, &rig->err));
}

pid_t rig_fork(struct rig *rig)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (rig_try_start(rig) != BANYAN_OK)
        fprintf(stderr, "# child: %s\n", rig->err.message);
    for (;;)
        pause();
}

void rig_kill(pid_t pid)
{
    int ignored;
    kill(pid, SIGKILL);
    waitpid(pid, &ignored, 0);
}

int rig_down(void **state)
{
    struct rig *rig = *state;
    rig_stop(rig);
    pg_close(rig->db);
    rig_sql(rig->server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s';"
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = '%s'",
            rig->database, rig->database);
    rig_wait_value(rig, "0", "SELECT count(*) FROM pg_replication_slots WHERE active AND database = '%s'",
                   rig->database);
    rig_sql(rig->server, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '%s'",
            rig->database);
    rig_sql(rig->server, "DROP DATABASE %s WITH (FORCE)", rig->database);
    pg_close(rig->server);
    os_stop_close(&rig->stop);
    test_folder_remove(rig->folder);
    free(rig->store_folder);
    free(rig->spool_folder);
    free(rig->conninfo);
    banyan_arena_release(&rig->arena);
    free(rig);
    return 0;
}

/* ---- waiting ---- */

void rig_fence(struct rig *rig)
{
    uint64_t lsn = 0;
    const char *text = rig_value(rig, rig->db, "SELECT pg_logical_emit_message(true, 'banyan.fence', 'test')");
    assert_true(pg_lsn_parse(banyan_str_of(text), &lsn));
    banyan_error_clear(&rig->err);
    rig_ok(rig, legacy_wait(rig->legacy, lsn, WAIT_US, &rig->err), "waiting for a fence");
}

static void wait_status(struct rig *rig, bool (*is)(const struct legacy_status *), const char *what)
{
    struct os_retry retry = {.first_us = 5000, .pause_us_max = 50000, .total_us_max = WAIT_US};
    struct legacy_status status;
    do {
        legacy_status(rig->legacy, &status);
        if (is(&status)) {
            rig->err = status.error;
            return;
        }
    } while (status.state != LEGACY_FAILED && os_retry_pause(&retry, NULL));
    fail_msg("waited for %s: state %d, %s", what, (int)status.state, status.error.message);
}

static bool is_backfilled(const struct legacy_status *status)
{
    return status->backfill_done;
}

static bool has_failed(const struct legacy_status *status)
{
    return status->state == LEGACY_FAILED;
}

void rig_backfilled(struct rig *rig)
{
    wait_status(rig, is_backfilled, "the end of the backfill");
}

void rig_failed(struct rig *rig)
{
    wait_status(rig, has_failed, "a failure");
}

/* ---- the log ---- */

static bool is_type(const struct store_event *event, unsigned type)
{
    return banyan_str_equal(event->type, banyan_str_of(doc_domain.events[type].name));
}

static void *payload_of(const struct store_event *event, unsigned type, void *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (banyan_record_decode(doc_domain.events[type].record, event->payload, ret, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return ret;
}

static void tell(const struct store_event *event, struct banyan_buf *story)
{
    if (story->size > 0)
        banyan_buf_add_char(story, ' ');
    if (is_type(event, DOC_PUT)) {
        struct doc_row row;
        payload_of(event, DOC_PUT, &row);
        banyan_buf_add_text(story, "put(");
        banyan_buf_add_str(story, row.title);
        banyan_buf_printf(story, ",%zu,", row.body.size);
        banyan_buf_add_decimal(story, row.amount);
        banyan_buf_add_char(story, ',');
        banyan_buf_add_str(story, row.note.data == NULL ? BANYAN_STR("-") : row.note);
        banyan_buf_add_char(story, ')');
    } else if (is_type(event, DOC_LINE_PUT) || is_type(event, DOC_LINE_REMOVED)) {
        struct doc_line line;
        bool put = is_type(event, DOC_LINE_PUT);
        payload_of(event, DOC_LINE_PUT, &line);
        banyan_buf_printf(story, put ? "line(%" PRId64 "," : "gone(%" PRId64, line.id);
        if (put)
            banyan_buf_add_str(story, line.text.data == NULL ? BANYAN_STR("-") : line.text);
        banyan_buf_add_char(story, ')');
    } else
        banyan_buf_add_text(story, is_type(event, DOC_DELETED) ? "del" : "?");
}

const char *rig_story(struct rig *rig, int64_t key)
{
    struct banyan_buf story = BANYAN_BUF_INIT(16 << 20);
    char stream[64];
    snprintf(stream, sizeof(stream), "doc-%" PRId64, key);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    enum banyan_status status =
        store_reader_stream(reader, banyan_str_of(stream), (struct banyan_version){1}, &rig->err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, &rig->err)) == BANYAN_OK)
        tell(&read.event, &story);
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        rig_ok(rig, status, "reading a stream");
    const char *kept = banyan_arena_str(&rig->arena, banyan_buf_str(&story)).data;
    banyan_buf_release(&story);
    return kept;
}

uint64_t rig_count(struct rig *rig, const char *type)
{
    return rig_count_saying(rig, type, "");
}

uint64_t rig_count_saying(struct rig *rig, const char *type, const char *text)
{
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    uint64_t count = 0;
    enum banyan_status status = store_reader_seek(reader, (struct banyan_position){1}, &rig->err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, &rig->err)) == BANYAN_OK)
        count += banyan_str_equal(read.event.type, banyan_str_of(type)) &&
                 memmem(read.event.payload.data, read.event.payload.size, text, strlen(text)) != NULL;
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        rig_ok(rig, status, "reading the log");
    return count;
}

/* ---- the comparison ---- */

/* The last state of each document as text, by key. */
static void fold_all(struct rig *rig, struct hash *docs)
{
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    enum banyan_status status = store_reader_seek(reader, (struct banyan_position){1}, &rig->err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, &rig->err)) == BANYAN_OK) {
        if (is_type(&read.event, DOC_PUT)) {
            struct doc_row row;
            struct banyan_buf text = BANYAN_BUF_INIT(1 << 20);
            payload_of(&read.event, DOC_PUT, &row);
            banyan_buf_add_str(&text, row.title);
            banyan_buf_printf(&text, "|%s%zu|", row.body.data == NULL ? "-" : "", row.body.size);
            banyan_buf_add_decimal(&text, row.amount);
            banyan_buf_add_char(&text, '|');
            banyan_buf_add_str(&text, row.note.data == NULL ? BANYAN_STR("-") : row.note);
            banyan_buf_printf(&text, "|%" PRId64, row.changed_at.us);
            (void)hash_put(docs, row.id, (void *)banyan_arena_str(&rig->arena, banyan_buf_str(&text)).data);
            banyan_buf_release(&text);
        } else if (is_type(&read.event, DOC_DELETED)) {
            char key[24];

            (void)snprintf(key, sizeof(key), "%.*s", (int)(read.event.stream.size - strlen("doc-")),
                           read.event.stream.data + strlen("doc-")); /* no NUL ends a stream's name */
            (void)hash_remove(docs, strtoll(key, NULL, 10));
        }
    }
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        rig_ok(rig, status, "reading the log");
}

void rig_equal(struct rig *rig)
{
    struct hash docs = HASH_INIT;
    struct pg_result *result = NULL;
    fold_all(rig, &docs);
    RIG_OK(rig, pg_exec(rig->db,
                        "SELECT id, title || '|' || coalesce(length(body)::text, '-0') || '|' || amount || '|' ||"
                        " coalesce(note, '-') || '|' || (extract(epoch FROM changed_at) * 1000000)::bigint FROM docs",
                        NULL, 0, &result, &rig->err));
    assert_int_equal(docs.count, pg_rows(result));
    for (size_t i = 0; i < pg_rows(result); i++) {
        const char *found = hash_get(&docs, pg_int(result, i, 0));
        if (found == NULL)
            fail_msg("document %" PRId64 " is not in the log", pg_int(result, i, 0));
        assert_string_equal(found, banyan_arena_str(&rig->arena, pg_text(result, i, 1)).data);
    }
    pg_result_free(result);
    hash_release(&docs);
}
