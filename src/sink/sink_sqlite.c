/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read model in SQLite: one file a projection, WAL mode, one writing connection and any number of reading ones.
 *
 * Invariants
 *   1. Rows and checkpoint change in one transaction; with synchronous=NORMAL a power cut may take the newest
 *      transactions whole, never a part: the projection goes on from the checkpoint that is left.
 *   2. A list or range reads rows and checkpoint in one snapshot.
 *   3. The file is made with mode 0600; SQLite gives its -wal and -shm the same.
 *   4. The writer's epoch is in the checkpoint row: who opens the file later takes it over, the earlier is BROKEN.
 *
 * Indexes cost more than rows: they are made when the view has caught up, and from then on a row whose indexed columns
 * did not change goes through a statement that leaves them alone (SQLite would rewrite their entries).
 *
 * Threads: one a handle; sink_ops.reader may be called by any.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/decimal.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "os/file.h"
#include "sink/sink_sql.h"
#include "sink/sinks.h"

enum {
    BUSY_TIMEOUT_MS = 5000,
    INDEXES_MAX = 8,
};

enum statement {
    BEGIN_WRITE,
    BEGIN_READ,
    COMMIT,
    UPSERT,
    UPSERT_PLAIN, /* leaves indexed columns alone */
    DELETE,
    GET,
    RANGE,
    CHECKPOINT,
    CLAIM,
    MOVE,
    ASIDES,
    PUT_ASIDE,
    LISTS,
    STATEMENTS = LISTS + INDEXES_MAX * SINK_SQL_LIST_FORMS,
};

struct sink_sqlite {
    struct sink base;
    struct sink_sql sql;
    char *path;
    sqlite3 *db;
    bool reading; /* a reader: no flush */
    int64_t epoch;
    uint64_t indexed; /* fields that indexes need */
    sqlite3_stmt *statements[STATEMENTS];
};

/* ---- errors ---- */

static enum banyan_status status_of(sqlite3 *db, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return BANYAN_BUSY;
    case SQLITE_FULL:
        return BANYAN_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return BANYAN_CORRUPT;
    case SQLITE_TOOBIG:
        return BANYAN_LIMIT;
    default:
        return banyan_error_errno(NULL, db == NULL ? 0 : sqlite3_system_errno(db), "SQLite") == BANYAN_NO_SPACE
                   ? BANYAN_NO_SPACE
                   : BANYAN_IO;
    }
}

static enum banyan_status fail(struct sink_sqlite *sink, int rc, const char *what, struct banyan_error *err)
{
    enum banyan_status st = status_of(sink->db, rc);
    st = banyan_error_set(err, st, "%s: %s: %s", sink->path, what,
                          sink->db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(sink->db));
    if (st == BANYAN_CORRUPT)
        banyan_error_hint(err, "the file is only a view of the log: remove it, and it is built anew");
    if (st == BANYAN_NO_SPACE)
        banyan_error_hint(err, "make room on the disk: the view goes on by itself");
    return st;
}

/* ---- statements ---- */

static void write_sql(struct sink_sqlite *sink, unsigned which, struct banyan_buf *ret)
{
    const struct sink_sql *sql = &sink->sql;
    switch (which) {
    case BEGIN_WRITE:
        banyan_buf_add_text(ret, "BEGIN IMMEDIATE");
        break;
    case BEGIN_READ:
        banyan_buf_add_text(ret, "BEGIN");
        break;
    case COMMIT:
        banyan_buf_add_text(ret, "COMMIT");
        break;
    case UPSERT:
        sink_sql_upsert(sql, UINT64_MAX, ret);
        break;
    case UPSERT_PLAIN:
        sink_sql_upsert(sql, ~sink->indexed, ret);
        break;
    case DELETE:
        sink_sql_delete(sql, ret);
        break;
    case GET:
        sink_sql_get(sql, ret);
        break;
    case RANGE:
        sink_sql_range(sql, ret);
        break;
    case CHECKPOINT:
        sink_sql_checkpoint(sql, ret);
        break;
    case CLAIM:
        sink_sql_claim(sql, ret);
        break;
    case MOVE:
        sink_sql_move(sql, ret);
        break;
    case ASIDES:
        sink_sql_asides(sql, ret);
        break;
    case PUT_ASIDE:
        sink_sql_put_aside(sql, ret);
        break;
    default:
        sink_sql_list(sql, &sink->base.projection->tables[0].indexes[(which - LISTS) / SINK_SQL_LIST_FORMS],
                      (which - LISTS) % SINK_SQL_LIST_FORMS, ret);
    }
}

/* The prepared statement, reset; NULL after a failure. */
static sqlite3_stmt *statement(struct sink_sqlite *sink, unsigned which, struct banyan_error *err,
                               enum banyan_status *ret_status)
{
    if (sink->statements[which] == NULL) {
        struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
        write_sql(sink, which, &sql);
        int rc = sqlite3_prepare_v3(sink->db, sql.data, (int)sql.size, SQLITE_PREPARE_PERSISTENT,
                                    &sink->statements[which], NULL);
        banyan_buf_release(&sql);
        if (rc != SQLITE_OK) {
            *ret_status = fail(sink, rc, "prepare", err);
            return NULL;
        }
    }
    *ret_status = BANYAN_OK;
    return sink->statements[which];
}

/* Step a statement that gives no rows, and reset it. */
static enum banyan_status run(struct sink_sqlite *sink, sqlite3_stmt *stmt, const char *what, struct banyan_error *err)
{
    int rc = sqlite3_step(stmt);
    enum banyan_status st = rc == SQLITE_DONE ? BANYAN_OK : fail(sink, rc, what, err);
    sqlite3_reset(stmt);
    return st;
}

static enum banyan_status run_plain(struct sink_sqlite *sink, unsigned which, const char *what,
                                    struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = statement(sink, which, err, &st);
    return stmt == NULL ? st : run(sink, stmt, what, err);
}

/* End a transaction that failed or was only for reading. */
static void roll_back(struct sink_sqlite *sink)
{
    if (sink->db != NULL && sqlite3_get_autocommit(sink->db) == 0)
        (void)sqlite3_exec(sink->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one that is told */
}

static enum banyan_status execute(struct sink_sqlite *sink, const char *sql, const char *what, struct banyan_error *err)
{
    int rc = sqlite3_exec(sink->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? BANYAN_OK : fail(sink, rc, what, err);
}

static void bind_text(sqlite3_stmt *stmt, int at, struct banyan_str text)
{
    if (text.data == NULL)
        (void)sqlite3_bind_null(stmt, at); /* a bad index is a bug of write_sql() and shows as a constraint error */
    else
        (void)sqlite3_bind_text64(stmt, at, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8); /* as above */
}

static void bind_int(sqlite3_stmt *stmt, int at, int64_t value)
{
    (void)sqlite3_bind_int64(stmt, at, value); /* as above */
}

/* ---- rows ---- */

static void bind_field(sqlite3_stmt *stmt, int at, const struct banyan_field *field, const void *row)
{
    const void *value = (const char *)row + field->offset;
    char text[BANYAN_DECIMAL_TEXT_MAX];

    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        bind_text(stmt, at, *(const struct banyan_str *)value);
        return;
    case BANYAN_FIELD_INT:
        bind_int(stmt, at, *(const int64_t *)value);
        return;
    case BANYAN_FIELD_BOOL:
        bind_int(stmt, at, *(const bool *)value);
        return;
    case BANYAN_FIELD_TIME:
        if (((const struct banyan_time *)value)->us == BANYAN_TIME_NULL)
            bind_text(stmt, at, (struct banyan_str){NULL, 0});
        else
            bind_int(stmt, at, ((const struct banyan_time *)value)->us);
        return;
    case BANYAN_FIELD_DECIMAL:
        if (banyan_decimal_is_null(*(const struct banyan_decimal *)value)) {
            bind_text(stmt, at, (struct banyan_str){NULL, 0});
        } else {
            size_t size = banyan_decimal_format(*(const struct banyan_decimal *)value, text);
            (void)sqlite3_bind_text(stmt, at, text, (int)size, SQLITE_TRANSIENT); /* as bind_text() */
        }
        return;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        return;
    }
}

static bool read_decimal(sqlite3_stmt *stmt, int at, const struct banyan_field *field, struct banyan_decimal *ret)
{
    if (sqlite3_column_type(stmt, at) == SQLITE_NULL) {
        *ret = banyan_decimal_null();
        return true;
    }
    struct banyan_str text = {(const char *)sqlite3_column_text(stmt, at), (size_t)sqlite3_column_bytes(stmt, at)};
    return banyan_decimal_parse(text, ret) && (ret->scale == field->scale || ret->scale == BANYAN_DECIMAL_NAN);
}

/* The current row; strings are copied to *arena*, or borrow until the next step where it is NULL. */
static enum banyan_status read_row(struct sink_sqlite *sink, sqlite3_stmt *stmt, struct banyan_arena *arena, void *row,
                                   struct banyan_error *err)
{
    const struct banyan_record *record = sink->base.projection->tables[0].row;
    for (int i = 0; i < (int)record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        void *value = (char *)row + field->offset;
        bool null = sqlite3_column_type(stmt, i) == SQLITE_NULL;
        switch (field->kind) {
        case BANYAN_FIELD_STRING: {
            struct banyan_str text = {NULL, 0};
            if (!null) {
                text.data = (const char *)sqlite3_column_text(stmt, i);
                text.size = (size_t)sqlite3_column_bytes(stmt, i);
            }
            *(struct banyan_str *)value = arena == NULL ? text : banyan_arena_str(arena, text);
            break;
        }
        case BANYAN_FIELD_INT:
            *(int64_t *)value = sqlite3_column_int64(stmt, i);
            break;
        case BANYAN_FIELD_BOOL:
            *(bool *)value = sqlite3_column_int64(stmt, i) != 0;
            break;
        case BANYAN_FIELD_TIME:
            ((struct banyan_time *)value)->us = null ? BANYAN_TIME_NULL : sqlite3_column_int64(stmt, i);
            break;
        case BANYAN_FIELD_DECIMAL:
            if (!read_decimal(stmt, i, field, value))
                return banyan_error_set(err, BANYAN_CORRUPT, "%s: column %s holds no decimal of scale %d", sink->path,
                                        field->name, field->scale);
            break;
        case BANYAN_FIELD_LIST:
        case BANYAN_FIELD_NONE:
            break;
        }
    }
    return BANYAN_OK;
}

/* ---- open ---- */

static void sqlite_close(struct sink *base)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    for (size_t i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(sink->statements[i]); /* repeats the error of the last step, which was told */
    (void)sqlite3_close(sink->db);                   /* cannot fail: no statement is left */
    free(sink->path);
    free(sink);
}

static const struct sink_ops sqlite_ops;

static enum banyan_status open_handle(const struct banyan_projection *projection, const char *path, bool reading,
                                      struct sink **ret, struct banyan_error *err)
{
    struct sink_sqlite *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base.ops = &sqlite_ops;
    sink->base.projection = projection;
    sink->sql = (struct sink_sql){.dialect = SINK_SQL_SQLITE, .projection = projection};
    sink->path = alloc_text(path);
    sink->reading = reading;
    sink->indexed = sink_sql_indexed_fields(projection);

    enum banyan_status st = BANYAN_OK;
    int rc = sqlite3_open_v2(path, &sink->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        st = fail(sink, rc, "open", err);
    if (st == BANYAN_OK) {
        (void)sqlite3_busy_timeout(sink->db, BUSY_TIMEOUT_MS); /* cannot fail */
        st = execute(sink,
                     reading ? "PRAGMA query_only = 1; PRAGMA cache_size = -16384; PRAGMA mmap_size = 1073741824"
                             : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; "
                               "PRAGMA wal_autocheckpoint = 8192",
                     "settings", err);
    }
    if (st != BANYAN_OK) {
        sqlite_close(&sink->base);
        return st;
    }
    *ret = &sink->base;
    return BANYAN_OK;
}

enum banyan_status sink_sqlite_open(const struct banyan_projection *projection, const char *path, struct sink **ret,
                                    struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    struct os_file *file = NULL;
    enum banyan_status st = sink_sql_check(projection, err);
    if (st == BANYAN_OK && projection->tables[0].index_count > INDEXES_MAX)
        st = banyan_error_set(err, BANYAN_LIMIT, "view %s: %zu indexes are more than %d", projection->name,
                              projection->tables[0].index_count, INDEXES_MAX);
    if (st == BANYAN_OK)
        st = files->open(files, path, true, &file, err); /* made with our mode, not SQLite's */
    if (st != BANYAN_OK)
        return st;
    files->close(file);
    return open_handle(projection, path, false, ret, err);
}

static enum banyan_status sqlite_reader(struct sink *base, struct sink **ret, struct banyan_error *err)
{
    return open_handle(base->projection, ((struct sink_sqlite *)base)->path, true, ret, err);
}

/* ---- checkpoint ---- */

struct stored {
    struct sink_checkpoint checkpoint;
    int64_t epoch;
    bool same_form; /* made for this projection as it is */
};

static enum banyan_status read_stored(struct sink_sqlite *sink, struct stored *ret, struct banyan_error *err)
{
    enum banyan_status st;
    struct stored stored = {.epoch = 0};
    sqlite3_stmt *stmt = statement(sink, CHECKPOINT, err, &st);
    if (stmt == NULL)
        return st;
    bind_text(stmt, 1, banyan_str_of(sink->base.projection->name));
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        struct banyan_buf form = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
        sink_sql_form(sink->base.projection, &form);
        stored.checkpoint.position.value = (uint64_t)sqlite3_column_int64(stmt, 0);
        stored.checkpoint.at.us = sqlite3_column_int64(stmt, 1);
        stored.checkpoint.source_lsn = (uint64_t)sqlite3_column_int64(stmt, 2);
        stored.epoch = sqlite3_column_int64(stmt, 3);
        struct banyan_str text = {(const char *)sqlite3_column_text(stmt, 4), (size_t)sqlite3_column_bytes(stmt, 4)};
        stored.same_form = banyan_str_equal(text, banyan_buf_str(&form));
        banyan_buf_release(&form);
    } else if (rc != SQLITE_DONE) {
        st = fail(sink, rc, "read the checkpoint", err);
    }
    sqlite3_reset(stmt);
    if (st == BANYAN_OK)
        *ret = stored;
    return st;
}

static enum banyan_status sqlite_checkpoint(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct stored stored;
    enum banyan_status st = read_stored((struct sink_sqlite *)base, &stored, err);
    if (st == BANYAN_OK)
        *ret = stored.checkpoint;
    return st;
}

/* Within the transaction of start: empty the view where it is another's, and claim it. */
static enum banyan_status claim(struct sink_sqlite *sink, struct stored *stored, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    enum banyan_status st = BANYAN_OK;
    if (!stored->same_form) {
        sink_sql_make_view(&sink->sql, &text);
        st = execute(sink, text.data, "make the view", err);
        stored->checkpoint = (struct sink_checkpoint){.source_lsn = 0};
    }
    banyan_buf_reset(&text);
    sink_sql_form(sink->base.projection, &text);
    sink->epoch = stored->epoch + 1;
    sqlite3_stmt *stmt = st == BANYAN_OK ? statement(sink, CLAIM, err, &st) : NULL;
    if (stmt != NULL) {
        bind_text(stmt, 1, banyan_str_of(sink->base.projection->name));
        bind_int(stmt, 2, sink->epoch);
        bind_text(stmt, 3, banyan_buf_str(&text));
        bind_int(stmt, 4, (int64_t)stored->checkpoint.position.value);
        bind_int(stmt, 5, stored->checkpoint.at.us);
        bind_int(stmt, 6, (int64_t)stored->checkpoint.source_lsn);
        st = run(sink, stmt, "claim the view", err);
    }
    banyan_buf_release(&text);
    return st;
}

static enum banyan_status sqlite_start(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    struct stored stored = {.epoch = 0};

    sink_sql_make_engine_tables(&sink->sql, &sql);
    enum banyan_status st = run_plain(sink, BEGIN_WRITE, "begin", err);
    if (st != BANYAN_OK)
        goto out;
    st = execute(sink, sql.data, "make the tables", err);
    if (st != BANYAN_OK)
        goto out;
    st = read_stored(sink, &stored, err);
    if (st != BANYAN_OK)
        goto out;
    st = claim(sink, &stored, err);
    if (st != BANYAN_OK)
        goto out;
    st = run_plain(sink, COMMIT, "commit", err);
    if (st == BANYAN_OK)
        *ret = stored.checkpoint;
out:
    roll_back(sink);
    banyan_buf_release(&sql);
    return st;
}

/* ---- flush ---- */

static enum banyan_status write_rows(struct sink_sqlite *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    const struct banyan_record *record = sink->base.projection->tables[0].row;
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < flush->row_count && st == BANYAN_OK; i++) {
        const struct sink_row *row = &flush->rows[i];
        unsigned which = row->row == NULL ? DELETE : (row->changed & sink->indexed) != 0 ? UPSERT : UPSERT_PLAIN;
        sqlite3_stmt *stmt = statement(sink, which, err, &st);
        if (stmt == NULL)
            break;
        if (row->row == NULL)
            bind_int(stmt, 1, row->key);
        else
            for (size_t f = 0; f < record->field_count; f++)
                bind_field(stmt, (int)f + 1, &record->fields[f], row->row);
        st = run(sink, stmt, "write a row", err);
    }
    return st;
}

static enum banyan_status write_asides(struct sink_sqlite *sink, const struct sink_flush *flush,
                                       struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < flush->aside_count && st == BANYAN_OK; i++) {
        sqlite3_stmt *stmt = statement(sink, PUT_ASIDE, err, &st);
        if (stmt == NULL)
            break;
        bind_text(stmt, 1, banyan_str_of(sink->base.projection->name));
        bind_text(stmt, 2, flush->asides[i].stream);
        bind_int(stmt, 3, (int64_t)flush->asides[i].position.value);
        bind_text(stmt, 4, flush->asides[i].reason);
        st = run(sink, stmt, "put a stream aside", err);
    }
    return st;
}

/* Also the fence: the row must still carry our epoch. */
static enum banyan_status move_checkpoint(struct sink_sqlite *sink, const struct sink_checkpoint *checkpoint,
                                          struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = statement(sink, MOVE, err, &st);
    if (stmt == NULL)
        return st;
    bind_text(stmt, 1, banyan_str_of(sink->base.projection->name));
    bind_int(stmt, 2, sink->epoch);
    bind_int(stmt, 3, (int64_t)checkpoint->position.value);
    bind_int(stmt, 4, checkpoint->at.us);
    bind_int(stmt, 5, (int64_t)checkpoint->source_lsn);
    st = run(sink, stmt, "move the checkpoint", err);
    if (st == BANYAN_OK && sqlite3_changes(sink->db) != 1)
        st = banyan_error_set(err, BANYAN_BROKEN, "%s: another process has taken the view over", sink->path);
    return st;
}

static enum banyan_status sqlite_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    if (sink->reading)
        return banyan_error_set(err, BANYAN_INVALID, "%s: this handle is for reading", sink->path);
    enum banyan_status st = run_plain(sink, BEGIN_WRITE, "begin", err);
    if (st != BANYAN_OK)
        goto out;
    st = move_checkpoint(sink, &flush->checkpoint, err);
    if (st != BANYAN_OK)
        goto out;
    st = write_rows(sink, flush, err);
    if (st != BANYAN_OK)
        goto out;
    st = write_asides(sink, flush, err);
    if (st != BANYAN_OK)
        goto out;
    st = run_plain(sink, COMMIT, "commit", err);
out:
    roll_back(sink);
    return st;
}

static enum banyan_status sqlite_finish(struct sink *base, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    sink_sql_make_indexes(&sink->sql, &sql);
    enum banyan_status st = run_plain(sink, BEGIN_WRITE, "begin", err);
    if (st == BANYAN_OK && sql.size > 0)
        st = execute(sink, sql.data, "make the indexes", err);
    if (st == BANYAN_OK)
        st = run_plain(sink, COMMIT, "commit", err);
    roll_back(sink);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status sqlite_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                        size_t *ret_count, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    struct sink_aside *asides = NULL;
    size_t count = 0, capacity = 0;
    enum banyan_status st;
    sqlite3_stmt *stmt = statement(sink, ASIDES, err, &st);
    if (stmt == NULL)
        return st;
    bind_text(stmt, 1, banyan_str_of(base->projection->name));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            struct sink_aside *larger = banyan_arena_alloc(arena, capacity * sizeof(*larger));
            if (count > 0)
                memcpy(larger, asides, count * sizeof(*larger));
            asides = larger;
        }
        struct banyan_str stream = {(const char *)sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0)};
        struct banyan_str reason = {(const char *)sqlite3_column_text(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2)};
        asides[count++] = (struct sink_aside){banyan_arena_str(arena, stream),
                                              {(uint64_t)sqlite3_column_int64(stmt, 1)},
                                              banyan_arena_str(arena, reason)};
    }
    if (rc != SQLITE_DONE)
        st = fail(sink, rc, "read the streams put aside", err);
    sqlite3_reset(stmt);
    if (st == BANYAN_OK) {
        *ret = asides;
        *ret_count = count;
    }
    return st;
}

/* ---- read ---- */

static enum banyan_status sqlite_get(struct sink *base, int64_t key, struct banyan_arena *arena, void *ret_row,
                                     struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st;
    sqlite3_stmt *stmt = statement(sink, GET, err, &st);
    if (stmt == NULL)
        return st;
    bind_int(stmt, 1, key);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        st = read_row(sink, stmt, arena, ret_row, err);
    else
        st = rc == SQLITE_DONE ? BANYAN_NOT_FOUND : fail(sink, rc, "read a row", err);
    sqlite3_reset(stmt);
    return st;
}

static enum banyan_status sqlite_get_many(struct sink *base, const int64_t *keys, size_t count,
                                          struct banyan_arena *arena, void **rows, bool *found,
                                          struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = run_plain(sink, BEGIN_READ, "begin", err);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        st = sqlite_get(base, keys[i], arena, rows[i], err);
        found[i] = st == BANYAN_OK;
        if (st == BANYAN_NOT_FOUND)
            st = BANYAN_OK;
    }
    roll_back(sink);
    return st;
}

/* Step through a SELECT of rows. */
static enum banyan_status each_row(struct sink_sqlite *sink, sqlite3_stmt *stmt, sink_row_fn fn, void *context,
                                   struct banyan_error *err)
{
    const struct banyan_projection *projection = sink->base.projection;
    const struct banyan_field *key =
        banyan_record_field(projection->tables[0].row, banyan_str_of(projection->tables[0].key_column));
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *row = banyan_arena_zalloc(&arena, projection->tables[0].row->size);
    enum banyan_status st = BANYAN_OK;
    int rc;

    while (st == BANYAN_OK && (rc = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            st = fail(sink, rc, "read rows", err);
        if (st == BANYAN_OK)
            st = read_row(sink, stmt, NULL, row, err);
        if (st == BANYAN_OK)
            st = fn(context, *(const int64_t *)((const char *)row + key->offset), row, err);
    }
    sqlite3_reset(stmt);
    banyan_arena_release(&arena);
    return st;
}

static enum banyan_status sqlite_range(struct sink *base, int64_t lo, int64_t hi,
                                       struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                       struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    struct stored stored;
    enum banyan_status st = run_plain(sink, BEGIN_READ, "begin", err);
    if (st != BANYAN_OK)
        return st;
    st = read_stored(sink, &stored, err);
    if (st == BANYAN_OK && hi > lo) {
        sqlite3_stmt *stmt = statement(sink, RANGE, err, &st);
        if (stmt != NULL) {
            bind_int(stmt, 1, lo);
            bind_int(stmt, 2, hi == INT64_MAX ? hi : hi - 1);
            st = each_row(sink, stmt, fn, context, err);
        }
    }
    roll_back(sink);
    if (st == BANYAN_OK)
        *ret_checkpoint = stored.checkpoint;
    return st;
}

static void bind_list(struct sink_sqlite *sink, sqlite3_stmt *stmt, const struct sink_list *query,
                      const struct banyan_field *equal, const void *value)
{
    unsigned form = sink_sql_list_form(query);
    int at = 1;
    bind_field(stmt, at++, equal, value);
    if ((form & SINK_SQL_FROM) != 0)
        bind_int(stmt, at++, query->from.us);
    if ((form & SINK_SQL_TO) != 0)
        bind_int(stmt, at++, query->to.us);
    if ((form & SINK_SQL_AFTER) != 0)
        bind_int(stmt, at++, query->after_range.us);
    if (query->after)
        bind_int(stmt, at++, query->after_key);
    bind_int(stmt, at, query->limit > INT64_MAX ? INT64_MAX : (int64_t)query->limit);
}

static enum banyan_status sqlite_list(struct sink *base, const struct sink_list *query,
                                      struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                      struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    const struct banyan_projection *projection = base->projection;
    const struct banyan_field *equal =
        banyan_record_field(projection->tables[0].row, banyan_str_of(query->index->equal));
    unsigned which = LISTS + (unsigned)(query->index - projection->tables[0].indexes) * SINK_SQL_LIST_FORMS +
                     sink_sql_list_form(query);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *value = banyan_arena_zalloc(&arena, projection->tables[0].row->size);
    struct stored stored;

    enum banyan_status st = sink_sql_parse(equal, query->equal, value, err);
    if (st != BANYAN_OK)
        goto out;
    st = run_plain(sink, BEGIN_READ, "begin", err);
    if (st != BANYAN_OK)
        goto out;
    st = read_stored(sink, &stored, err);
    if (st != BANYAN_OK)
        goto out;
    sqlite3_stmt *stmt = statement(sink, which, err, &st);
    if (stmt == NULL)
        goto out;
    bind_list(sink, stmt, query, equal, value);
    st = each_row(sink, stmt, fn, context, err);
    if (st == BANYAN_OK)
        *ret_checkpoint = stored.checkpoint;
out:
    roll_back(sink);
    banyan_arena_release(&arena);
    return st;
}

static const struct sink_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .start = sqlite_start,
    .flush = sqlite_flush,
    .finish = sqlite_finish,
    .asides = sqlite_asides,
    .get = sqlite_get,
    .get_many = sqlite_get_many,
    .reader = sqlite_reader,
    .list = sqlite_list,
    .range = sqlite_range,
    .checkpoint = sqlite_checkpoint,
};
