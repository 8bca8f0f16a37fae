/* SPDX-License-Identifier: Apache-2.0 */
/* A SQLite file of one generation: see sqlite_db.h. */
#include "sink/sqlite_db.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/decimal.h"
#include "banyan/record.h"
#include "base/alloc.h"

enum {
    BUSY_TIMEOUT_MS = 5000,
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

enum banyan_status sqlite_db_fail(sqlite3 *db, const char *path, int rc, const char *what, struct banyan_error *err)
{
    enum banyan_status st = status_of(db, rc);
    st = banyan_error_set(err, st, "%s: %s: %s", path, what, db == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db));
    if (st == BANYAN_CORRUPT)
        banyan_error_hint(err, "the file is only a view of the log: remove it, and it is built anew");
    if (st == BANYAN_NO_SPACE)
        banyan_error_hint(err, "make room on the disk: the view goes on by itself");
    return st;
}

static enum banyan_status fail(struct sqlite_db *db, int rc, const char *what, struct banyan_error *err)
{
    return sqlite_db_fail(db->db, db->path, rc, what, err);
}

/* ---- statements ---- */

struct sink_sql sqlite_db_sql(const struct sqlite_db *db, unsigned table)
{
    const struct banyan_table *about = &db->projection->tables[table];
    return (struct sink_sql){.dialect = SINK_SQL_SQLITE, .name = about->name, .table = about};
}

static void write_table_sql(const struct sqlite_db *db, unsigned table, size_t which, struct banyan_buf *ret)
{
    struct sink_sql sql = sqlite_db_sql(db, table);
    switch (which) {
    case DB_UPSERT:
        sink_sql_upsert(&sql, UINT64_MAX, ret);
        break;
    case DB_UPSERT_PLAIN:
        sink_sql_upsert(&sql, ~db->indexed[table], ret);
        break;
    case DB_DELETE:
        sink_sql_delete(&sql, ret);
        break;
    case DB_GET:
        sink_sql_get(&sql, ret);
        break;
    case DB_RANGE:
        sink_sql_range(&sql, ret);
        break;
    case DB_COUNT:
        banyan_buf_add_text(ret, "SELECT count(*) FROM ");
        sink_sql_add_table(&sql, ret);
        break;
    default:
        which -= DB_LISTS;
        sink_sql_list(&sql, &sql.table->indexes[which / SINK_SQL_LIST_FORMS], (unsigned)which % SINK_SQL_LIST_FORMS,
                      ret);
    }
}

static void write_sql(const struct sqlite_db *db, size_t which, struct banyan_buf *ret)
{
    static const char *const fixed[DB_TABLES] = {
        [DB_BEGIN_WRITE] = "BEGIN IMMEDIATE",
        [DB_BEGIN_READ] = "BEGIN",
        [DB_COMMIT] = "COMMIT",
        [DB_CHECKPOINT] = "SELECT position, at, source_lsn, epoch FROM banyan_checkpoint",
        [DB_MOVE] = "UPDATE banyan_checkpoint SET position = ?2, at = ?3, source_lsn = ?4 WHERE epoch = ?1",
        [DB_ASIDES] = "SELECT by_stream, key, stream, position, at, held, reason FROM banyan_aside "
                      "ORDER BY position",
        [DB_PUT_ASIDE] = "INSERT OR REPLACE INTO banyan_aside (by_stream, key, stream, position, at, held, reason) "
                         "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        [DB_RELEASE] = "DELETE FROM banyan_aside WHERE by_stream = ?1 AND key = ?2 AND stream = ?3",
    };
    unsigned table = 0;
    if (which < DB_TABLES) {
        banyan_buf_add_text(ret, fixed[which]);
        return;
    }
    while (which >= db->table_at[table + 1])
        table++;
    write_table_sql(db, table, which - db->table_at[table], ret);
}

sqlite3_stmt *sqlite_db_statement(struct sqlite_db *db, size_t which, struct banyan_error *err,
                                  enum banyan_status *ret_status)
{
    if (db->statements[which] == NULL) {
        struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
        write_sql(db, which, &sql);
        int rc = sqlite3_prepare_v3(db->db, sql.data, (int)sql.size, SQLITE_PREPARE_PERSISTENT, &db->statements[which],
                                    NULL);
        banyan_buf_release(&sql);
        if (rc != SQLITE_OK) {
            *ret_status = fail(db, rc, "prepare", err);
            return NULL;
        }
    }
    *ret_status = BANYAN_OK;
    return db->statements[which];
}

enum banyan_status sqlite_db_step(struct sqlite_db *db, sqlite3_stmt *stmt, const char *what, struct banyan_error *err)
{
    int rc = sqlite3_step(stmt);
    enum banyan_status st = rc == SQLITE_DONE || rc == SQLITE_ROW ? BANYAN_OK : fail(db, rc, what, err);
    sqlite3_reset(stmt);
    return st;
}

enum banyan_status sqlite_db_run(struct sqlite_db *db, size_t which, const char *what, struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(db, which, err, &st);
    return stmt == NULL ? st : sqlite_db_step(db, stmt, what, err);
}

void sqlite_db_roll_back(struct sqlite_db *db)
{
    if (sqlite3_get_autocommit(db->db) == 0)
        (void)sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one that is told */
}

enum banyan_status sqlite_db_execute(struct sqlite_db *db, const char *sql, const char *what, struct banyan_error *err)
{
    int rc = sqlite3_exec(db->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? BANYAN_OK : fail(db, rc, what, err);
}

void sqlite_bind_text(sqlite3_stmt *stmt, int at, struct banyan_str text)
{
    if (text.data == NULL)
        (void)sqlite3_bind_null(stmt, at); /* a bad index is a bug of write_sql() and shows as a constraint error */
    else
        (void)sqlite3_bind_text64(stmt, at, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8); /* as above */
}

void sqlite_bind_int(sqlite3_stmt *stmt, int at, int64_t value)
{
    (void)sqlite3_bind_int64(stmt, at, value); /* as above */
}

/* ---- rows ---- */

void sqlite_bind_field(sqlite3_stmt *stmt, int at, const struct banyan_field *field, const void *row)
{
    const void *value = (const char *)row + field->offset;
    char text[BANYAN_DECIMAL_TEXT_MAX];

    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        sqlite_bind_text(stmt, at, *(const struct banyan_str *)value);
        return;
    case BANYAN_FIELD_INT:
        sqlite_bind_int(stmt, at, *(const int64_t *)value);
        return;
    case BANYAN_FIELD_BOOL:
        sqlite_bind_int(stmt, at, *(const bool *)value);
        return;
    case BANYAN_FIELD_TIME:
        if (((const struct banyan_time *)value)->us == BANYAN_TIME_NULL)
            sqlite_bind_text(stmt, at, (struct banyan_str){NULL, 0});
        else
            sqlite_bind_int(stmt, at, ((const struct banyan_time *)value)->us);
        return;
    case BANYAN_FIELD_DECIMAL:
        if (banyan_decimal_is_null(*(const struct banyan_decimal *)value)) {
            sqlite_bind_text(stmt, at, (struct banyan_str){NULL, 0});
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

enum banyan_status sqlite_db_row(struct sqlite_db *db, sqlite3_stmt *stmt, unsigned table, struct banyan_arena *arena,
                                 void *row, struct banyan_error *err)
{
    const struct banyan_record *record = db->projection->tables[table].row;
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
                return banyan_error_set(err, BANYAN_CORRUPT, "%s: column %s holds no decimal of scale %d", db->path,
                                        field->name, field->scale);
            break;
        case BANYAN_FIELD_LIST:
        case BANYAN_FIELD_NONE:
            break;
        }
    }
    return BANYAN_OK;
}

/* ---- the engine's tables ---- */

enum banyan_status sqlite_db_checkpoint(struct sqlite_db *db, uint32_t generation, struct sink_checkpoint *ret,
                                        int64_t *ret_epoch, struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(db, DB_CHECKPOINT, err, &st);
    if (stmt == NULL)
        return st;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *ret = (struct sink_checkpoint){.position = {(uint64_t)sqlite3_column_int64(stmt, 0)},
                                        .at = {sqlite3_column_int64(stmt, 1)},
                                        .source_lsn = (uint64_t)sqlite3_column_int64(stmt, 2),
                                        .generation = generation};
        if (ret_epoch != NULL)
            *ret_epoch = sqlite3_column_int64(stmt, 3);
    } else {
        st = rc != SQLITE_DONE ? fail(db, rc, "read the checkpoint", err)
                               : banyan_error_set(err, BANYAN_CORRUPT, "%s has no checkpoint", db->path);
    }
    sqlite3_reset(stmt);
    return st;
}

static struct banyan_str column_text(sqlite3_stmt *stmt, int at)
{
    return (struct banyan_str){(const char *)sqlite3_column_text(stmt, at), (size_t)sqlite3_column_bytes(stmt, at)};
}

enum banyan_status sqlite_db_asides(struct sqlite_db *db, struct banyan_arena *arena, struct sink_aside **ret,
                                    size_t *ret_count, struct banyan_error *err)
{
    struct sink_aside *asides = NULL;
    size_t count = 0, capacity = 0;
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(db, DB_ASIDES, err, &st);
    if (stmt == NULL)
        return st;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            struct sink_aside *larger = banyan_arena_alloc(arena, capacity * sizeof(*larger));
            if (count > 0)
                memcpy(larger, asides, count * sizeof(*larger));
            asides = larger;
        }
        asides[count++] = (struct sink_aside){.by_stream = sqlite3_column_int64(stmt, 0) != 0,
                                              .key = sqlite3_column_int64(stmt, 1),
                                              .stream = banyan_arena_str(arena, column_text(stmt, 2)),
                                              .position = {(uint64_t)sqlite3_column_int64(stmt, 3)},
                                              .at = {sqlite3_column_int64(stmt, 4)},
                                              .held = (uint64_t)sqlite3_column_int64(stmt, 5),
                                              .reason = banyan_arena_str(arena, column_text(stmt, 6))};
    }
    if (rc != SQLITE_DONE)
        st = fail(db, rc, "read what is aside", err);
    sqlite3_reset(stmt);
    if (st == BANYAN_OK) {
        *ret = asides;
        *ret_count = count;
    }
    return st;
}

/* ---- open ---- */

void sqlite_db_close(struct sqlite_db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < db->statement_count; i++)
        (void)sqlite3_finalize(db->statements[i]); /* repeats the error of the last step, which was told */
    (void)sqlite3_close(db->db);                   /* cannot fail: no statement is left */
    free(db->statements);
    free(db->path);
    free(db);
}

enum banyan_status sqlite_db_open(const struct banyan_projection *projection, const char *path, const char *pragmas,
                                  struct sqlite_db **ret, struct banyan_error *err)
{
    struct sqlite_db *db = alloc_zeroed(1, sizeof(*db));
    size_t at = DB_TABLES;
    db->projection = projection;
    db->path = alloc_text(path);
    for (size_t i = 0; i < projection->table_count; i++) {
        db->table_at[i] = at;
        db->indexed[i] = sink_sql_indexed_fields(&projection->tables[i]);
        at += DB_LISTS + projection->tables[i].index_count * SINK_SQL_LIST_FORMS;
    }
    db->table_at[projection->table_count] = db->statement_count = at;
    db->statements = alloc_zeroed(at, sizeof(sqlite3_stmt *));

    enum banyan_status st = BANYAN_OK;
    int rc = sqlite3_open_v2(path, &db->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        st = fail(db, rc, "open", err);
    if (st == BANYAN_OK) {
        (void)sqlite3_busy_timeout(db->db, BUSY_TIMEOUT_MS); /* cannot fail */
        st = sqlite_db_execute(db, pragmas, "settings", err);
    }
    if (st != BANYAN_OK) {
        sqlite_db_close(db);
        return st;
    }
    *ret = db;
    return BANYAN_OK;
}
