/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation of a read model in SQLite: a file, one writing connection and any number of reading ones.
 *
 *   claim() of one that is not sealed: a new file ──LOADING── load_rows()… ──seal(), flush()──▶ FLUSHING
 *   claim() of one that is sealed ───────────────────────────────────────────────────────────▶ FLUSHING
 *
 * While LOADING there is one transaction without journal and without flushing to disk: a crash leaves a file that means
 * nothing, which the catalog knows.  FLUSHING is WAL mode.  To seal is: rows and checkpoint to disk, then the catalog.
 *
 * Invariants
 *   1. Rows, asides and checkpoint change in one transaction; with synchronous=NORMAL a power cut may take the newest
 *      transactions whole, never a part: the projection goes on from the checkpoint that is left.
 *   2. The file is made with mode 0600; SQLite gives its -wal and -shm the same.
 *   3. The writer's epoch is in the checkpoint row: who claims later takes it over, the earlier is BROKEN.
 *
 * Lists and search cost more than rows: they are made by finish(), and a row whose columns in them did not change goes
 * through a statement that leaves them alone (SQLite would rewrite their entries).
 *
 * Threads: one a handle, but for loads, which share the connection under its lock.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "os/file.h"
#include "sink/sink_sql.h"
#include "sink/sink_value.h"
#include "sink/sqlite_db.h"
#include "sink/sqlite_home.h"

#define WRITING                                                                                                        \
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; "                             \
    "PRAGMA wal_autocheckpoint = 8192"
#define LOADING "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -131072"

enum {
    ASIDE_SQL_MAX = 8192,
};

struct sink_sqlite {
    struct sink base;
    struct sqlite_place place;
    struct sqlite_db *db; /* NULL: not claimed */
    int64_t epoch;
    bool sealed;
    pthread_mutex_t loading; /* guards db while there are loads */
};

struct sink_load {
    struct sink_sqlite *sink;
    unsigned table;
};

static void sqlite_close(struct sink *base)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    sqlite_db_close(sink->db);
    sqlite_place_release(&sink->place);
    (void)pthread_mutex_destroy(&sink->loading); /* nobody holds it */
    free(sink);
}

static enum banyan_status claimed(const struct sink_sqlite *sink, struct banyan_error *err)
{
    return sink->db != NULL ? BANYAN_OK
                            : banyan_error_set(err, BANYAN_INVALID, "view %s, generation %u was not claimed",
                                               sink->base.projection->name, sink->base.generation);
}

/* ---- claim ---- */

static enum banyan_status make_tables(struct sink_sqlite *sink, struct banyan_error *err)
{
    char form[SINK_FORM_SIZE];
    struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    sink_form_marked(sink->base.projection, sink->base.ready, form);
    banyan_buf_printf(&sql,
                      "BEGIN IMMEDIATE; CREATE TABLE banyan_checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), "
                      "position INTEGER NOT NULL, at INTEGER NOT NULL, source_lsn INTEGER NOT NULL, "
                      "epoch INTEGER NOT NULL, form TEXT NOT NULL, version INTEGER NOT NULL); "
                      "INSERT INTO banyan_checkpoint VALUES (1, 0, 0, 0, %lld, '%s', %u); "
                      "CREATE TABLE banyan_aside (by_stream INTEGER NOT NULL, key INTEGER NOT NULL, stream TEXT NOT "
                      "NULL, position INTEGER NOT NULL, at INTEGER NOT NULL, held INTEGER NOT NULL, "
                      "reason TEXT NOT NULL, PRIMARY KEY (by_stream, key, stream)) WITHOUT ROWID;",
                      (long long)sink->epoch, form, sink->base.projection->version);
    for (unsigned i = 0; i < sink->base.projection->table_count; i++) {
        struct sink_sql table = sqlite_db_sql(sink->db, i);
        sink_sql_make_table(&table, &sql);
    }
    banyan_buf_add_text(&sql, "COMMIT");
    enum banyan_status st = sqlite_db_execute(sink->db, sql.data, "make the tables", err);
    banyan_buf_release(&sql);
    return st;
}

/* Whatever was in it was not worth keeping. */
static enum banyan_status begin_anew(struct sink_sqlite *sink, const char *path, struct banyan_error *err)
{
    struct os_file *file = NULL;
    sqlite_place_remove(&sink->place, sink->base.generation);
    enum banyan_status st = os_files_real()->open(os_files_real(), path, true, &file, err); /* mode 0600 */
    if (st != BANYAN_OK)
        return st;
    os_files_real()->close(file);
    st = sqlite_db_open(sink->base.projection, path, LOADING, &sink->db, err);
    return st == BANYAN_OK ? make_tables(sink, err) : st;
}

static enum banyan_status go_on(struct sink_sqlite *sink, const char *path, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(ASIDE_SQL_MAX);
    enum banyan_status st = sqlite_db_open(sink->base.projection, path, WRITING, &sink->db, err);
    /* Of two who claim at once the later has the larger epoch, whoever comes here last. */
    banyan_buf_printf(&sql, "UPDATE banyan_checkpoint SET epoch = max(epoch, %lld)", (long long)sink->epoch);
    if (st == BANYAN_OK)
        st = sqlite_db_execute(sink->db, sql.data, "claim the view", err);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status sqlite_claim(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    char *path = sqlite_place_file(&sink->place, base->generation);
    sqlite_db_close(sink->db);
    sink->db = NULL;
    enum banyan_status st =
        sqlite_place_claim(&sink->place, base->generation, &sink->epoch, &sink->sealed, &base->ready, err);
    if (st == BANYAN_OK)
        st = sink->sealed ? go_on(sink, path, err) : begin_anew(sink, path, err);
    if (st == BANYAN_OK)
        st = sqlite_db_checkpoint(sink->db, base->generation, ret, NULL, err);
    if (st != BANYAN_OK) {
        sqlite_db_close(sink->db);
        sink->db = NULL;
    }
    free(path);
    return st;
}

static enum banyan_status sqlite_checkpoint(struct sink *base, struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    return st == BANYAN_OK ? sqlite_db_checkpoint(sink->db, base->generation, ret, NULL, err) : st;
}

/* ---- flush ---- */

static enum banyan_status write_row(struct sink_sqlite *sink, const struct sink_row *row, struct banyan_error *err)
{
    const struct banyan_record *record = sink->base.projection->tables[row->table].row;
    size_t which = row->row == NULL                                      ? DB_DELETE
                   : (row->changed & sink->db->indexed[row->table]) != 0 ? DB_UPSERT
                                                                         : DB_UPSERT_PLAIN;
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(sink->db, sqlite_db_of_table(sink->db, row->table, which), err, &st);
    if (stmt == NULL)
        return st;
    if (row->row == NULL)
        sqlite_bind_int(stmt, 1, row->key);
    else
        for (size_t f = 0; f < record->field_count; f++)
            sqlite_bind_field(stmt, (int)f + 1, &record->fields[f], row->row);
    return sqlite_db_step(sink->db, stmt, "write a row", err);
}

static enum banyan_status write_aside(struct sink_sqlite *sink, const struct sink_aside *aside, bool put,
                                      struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(sink->db, put ? DB_PUT_ASIDE : DB_RELEASE, err, &st);
    if (stmt == NULL)
        return st;
    sqlite_bind_int(stmt, 1, aside->by_stream);
    sqlite_bind_int(stmt, 2, aside->key);
    sqlite_bind_text(stmt, 3, aside->stream);
    if (put) {
        sqlite_bind_int(stmt, 4, (int64_t)aside->position.value);
        sqlite_bind_int(stmt, 5, aside->at.us);
        sqlite_bind_int(stmt, 6, (int64_t)aside->held);
        sqlite_bind_text(stmt, 7, aside->reason);
    }
    return sqlite_db_step(sink->db, stmt, put ? "put a key aside" : "release a key", err);
}

/* Also the fence: the row must still carry our epoch. */
static enum banyan_status move_checkpoint(struct sink_sqlite *sink, const struct sink_checkpoint *checkpoint,
                                          struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(sink->db, DB_MOVE, err, &st);
    if (stmt == NULL)
        return st;
    sqlite_bind_int(stmt, 1, sink->epoch);
    sqlite_bind_int(stmt, 2, (int64_t)checkpoint->position.value);
    sqlite_bind_int(stmt, 3, checkpoint->at.us);
    sqlite_bind_int(stmt, 4, (int64_t)checkpoint->source_lsn);
    st = sqlite_db_step(sink->db, stmt, "move the checkpoint", err);
    if (st == BANYAN_OK && sqlite3_changes(sink->db->db) != 1)
        st = sink_taken_over(sink->base.projection, sink->base.generation, err);
    return st;
}

static enum banyan_status write_flush(struct sink_sqlite *sink, const struct sink_flush *flush,
                                      struct banyan_error *err)
{
    enum banyan_status st = sqlite_db_run(sink->db, DB_BEGIN_WRITE, "begin", err);
    if (st == BANYAN_OK)
        st = move_checkpoint(sink, &flush->checkpoint, err);
    for (size_t i = 0; i < flush->row_count && st == BANYAN_OK; i++)
        st = write_row(sink, &flush->rows[i], err);
    for (size_t i = 0; i < flush->released_count && st == BANYAN_OK; i++)
        st = write_aside(sink, &flush->released[i], false, err);
    for (size_t i = 0; i < flush->aside_count && st == BANYAN_OK; i++)
        st = write_aside(sink, &flush->asides[i], true, err);
    if (st == BANYAN_OK)
        st = sqlite_db_run(sink->db, DB_COMMIT, "commit", err);
    sqlite_db_roll_back(sink->db);
    return st;
}

/* From LOADING to FLUSHING: the first checkpoint. */
static enum banyan_status seal(struct sink_sqlite *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (sqlite3_get_autocommit(sink->db->db) == 0)
        st = sqlite_db_run(sink->db, DB_COMMIT, "commit what was loaded", err);
    if (st == BANYAN_OK)
        st = sqlite_db_execute(sink->db, WRITING "; PRAGMA synchronous = FULL", "settings", err);
    if (st == BANYAN_OK)
        st = write_flush(sink, flush, err);
    if (st == BANYAN_OK)
        st = sqlite_db_execute(sink->db, "PRAGMA wal_checkpoint(TRUNCATE)", "write to disk", err);
    if (st == BANYAN_OK)
        st = sqlite_place_seal(&sink->place, sink->base.generation, sink->epoch, err);
    if (st != BANYAN_OK)
        return st;
    sink->sealed = true;
    return sqlite_db_execute(sink->db, "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384", "settings", err);
}

static enum banyan_status sqlite_flush(struct sink *base, const struct sink_flush *flush, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    if (st != BANYAN_OK)
        return st;
    return sink->sealed ? write_flush(sink, flush, err) : seal(sink, flush, err);
}

/* ---- finish ---- */

static bool has_search(struct sqlite_db *db, unsigned table)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    sqlite3_stmt *stmt = NULL;
    banyan_buf_printf(&sql, "SELECT 1 FROM sqlite_master WHERE name = 'banyan_search_' || ?1");
    bool found = false;
    if (sqlite3_prepare_v2(db->db, sql.data, -1, &stmt, NULL) == SQLITE_OK) {
        sqlite_bind_text(stmt, 1, banyan_str_of(db->projection->tables[table].name));
        found = sqlite3_step(stmt) == SQLITE_ROW; /* after a failure making it tells what is wrong */
    }
    (void)sqlite3_finalize(stmt); /* as above */
    banyan_buf_release(&sql);
    return found;
}

static enum banyan_status sqlite_finish(struct sink *base, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    struct banyan_buf sql = BANYAN_BUF_INIT(SINK_SQL_BYTES_MAX);
    enum banyan_status st = claimed(sink, err);
    for (unsigned i = 0; i < base->projection->table_count && st == BANYAN_OK; i++) {
        struct sink_sql table = sqlite_db_sql(sink->db, i);
        sink_sql_make_indexes(&table, &sql);
        if (!has_search(sink->db, i))
            sink_sql_make_search(&table, &sql);
    }
    /* While LOADING there is no way back, and perhaps a transaction already. */
    if (st == BANYAN_OK && sink->sealed)
        st = sqlite_db_run(sink->db, DB_BEGIN_WRITE, "begin", err);
    if (st == BANYAN_OK && sql.size > 0)
        st = sqlite_db_execute(sink->db, sql.data, "make lists and search", err);
    if (st == BANYAN_OK && sink->sealed)
        st = sqlite_db_run(sink->db, DB_COMMIT, "commit", err);
    if (sink->db != NULL && sink->sealed)
        sqlite_db_roll_back(sink->db);
    banyan_buf_release(&sql);
    return st;
}

/* ---- read ---- */

static enum banyan_status sqlite_asides(struct sink *base, struct banyan_arena *arena, struct sink_aside **ret,
                                        size_t *ret_count, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    return st == BANYAN_OK ? sqlite_db_asides(sink->db, arena, ret, ret_count, err) : st;
}

static enum banyan_status get_row(struct sink_sqlite *sink, unsigned table, int64_t key, struct banyan_arena *arena,
                                  void *ret_row, bool *ret_found, struct banyan_error *err)
{
    enum banyan_status st;
    sqlite3_stmt *stmt = sqlite_db_statement(sink->db, sqlite_db_of_table(sink->db, table, DB_GET), err, &st);
    if (stmt == NULL)
        return st;
    sqlite_bind_int(stmt, 1, key);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        st = sqlite_db_row(sink->db, stmt, table, arena, ret_row, err);
    else if (rc != SQLITE_DONE)
        st = sqlite_db_fail(sink->db->db, sink->db->path, rc, "read a row", err);
    *ret_found = rc == SQLITE_ROW;
    sqlite3_reset(stmt);
    return st;
}

static enum banyan_status sqlite_get_many(struct sink *base, unsigned table, const int64_t *keys, size_t count,
                                          struct banyan_arena *arena, void **rows, bool *found,
                                          struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    if (st == BANYAN_OK)
        st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    (void)pthread_mutex_lock(&sink->loading); /* fails only for a lock that is none */
    bool begun = sqlite3_get_autocommit(sink->db->db) != 0;
    if (begun)
        st = sqlite_db_run(sink->db, DB_BEGIN_READ, "begin", err);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        st = get_row(sink, table, keys[i], arena, rows[i], &found[i], err);
    if (begun)
        sqlite_db_roll_back(sink->db);
    (void)pthread_mutex_unlock(&sink->loading); /* as above */
    return st;
}

static enum banyan_status sqlite_count(struct sink *base, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    if (st == BANYAN_OK)
        st = sink_table_check(base->projection, table, err);
    if (st != BANYAN_OK)
        return st;
    (void)pthread_mutex_lock(&sink->loading); /* fails only for a lock that is none */
    sqlite3_stmt *stmt = sqlite_db_statement(sink->db, sqlite_db_of_table(sink->db, table, DB_COUNT), err, &st);
    if (stmt != NULL) {
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            *ret = (uint64_t)sqlite3_column_int64(stmt, 0);
        else
            st = sqlite_db_fail(sink->db->db, sink->db->path, rc, "count rows", err);
        sqlite3_reset(stmt);
    }
    (void)pthread_mutex_unlock(&sink->loading); /* as above */
    return st;
}

/* ---- load ---- */

static enum banyan_status sqlite_load_open(struct sink *base, unsigned table, struct sink_load **ret,
                                           struct banyan_error *err)
{
    struct sink_sqlite *sink = (struct sink_sqlite *)base;
    enum banyan_status st = claimed(sink, err);
    if (st == BANYAN_OK)
        st = sink_load_check(base, table, sink->sealed, err);
    if (st != BANYAN_OK)
        return st;
    *ret = alloc_zeroed(1, sizeof(**ret));
    (*ret)->sink = sink;
    (*ret)->table = table;
    return BANYAN_OK;
}

static enum banyan_status sqlite_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                           struct banyan_error *err)
{
    struct sink_sqlite *sink = load->sink;
    enum banyan_status st = BANYAN_OK;
    (void)pthread_mutex_lock(&sink->loading); /* fails only for a lock that is none */
    if (sqlite3_get_autocommit(sink->db->db) != 0)
        st = sqlite_db_run(sink->db, DB_BEGIN_WRITE, "begin", err);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        struct sink_row row = rows[i];
        row.table = load->table;
        row.changed = UINT64_MAX;
        if (row.row != NULL)
            st = write_row(sink, &row, err);
    }
    (void)pthread_mutex_unlock(&sink->loading); /* as above */
    return st;
}

static enum banyan_status sqlite_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    free(load); /* all loads are one transaction, which seal() ends */
    return BANYAN_OK;
}

static const struct sink_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close,
    .claim = sqlite_claim,
    .checkpoint = sqlite_checkpoint,
    .flush = sqlite_flush,
    .finish = sqlite_finish,
    .asides = sqlite_asides,
    .get_many = sqlite_get_many,
    .load_open = sqlite_load_open,
    .load_rows = sqlite_load_rows,
    .load_close = sqlite_load_close,
    .seal = sqlite_flush,
    .count = sqlite_count,
};

enum banyan_status sqlite_sink_open(const struct sqlite_place *place, uint32_t generation, struct sink **ret)
{
    struct sink_sqlite *sink = alloc_zeroed(1, sizeof(*sink));
    sink->base = (struct sink){&sqlite_ops, place->projection, generation};
    sink->place = sqlite_place_copy(place);
    (void)pthread_mutex_init(&sink->loading, NULL); /* cannot fail with default attributes */
    *ret = &sink->base;
    return BANYAN_OK;
}
