/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshot.h.  One connection, one lock: a load or a save takes some 10 µs, and few commands need one. */
#include "store/snapshot.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/buf.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "os/file.h"

enum {
    SCHEMA_BYTES_MAX = 1024 * 1024,
};

struct snapshots {
    pthread_mutex_t lock; /* guards all below */
    char *path;           /* owned */
    sqlite3 *db;          /* NULL: given up */
    sqlite3_stmt *save, *load;
};

static const char set_up[] = "pragma journal_mode = wal; pragma synchronous = off; pragma cache_size = -4096;" /* KiB */
                             "create table if not exists snapshots (stream blob primary key, kind integer not null,"
                             " version integer not null, position integer not null, event blob not null,"
                             " checksum integer not null, state blob not null) without rowid";
static const char save_sql[] = "insert or replace into snapshots values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
static const char load_sql[] =
    "select kind, version, position, event, checksum, state from snapshots where stream = ?1";

static void close_file(struct snapshots *snapshots)
{
    (void)sqlite3_finalize(snapshots->save); /* repeats the statement's last error */
    (void)sqlite3_finalize(snapshots->load);
    (void)sqlite3_close(snapshots->db); /* nothing is open in it any more */
    snapshots->save = snapshots->load = NULL;
    snapshots->db = NULL;
}

static bool open_file(struct snapshots *snapshots)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    bool ok = sqlite3_open_v2(snapshots->path, &snapshots->db, flags, NULL) == SQLITE_OK &&
              sqlite3_exec(snapshots->db, set_up, NULL, NULL, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(snapshots->db, save_sql, -1, &snapshots->save, NULL) == SQLITE_OK &&
              sqlite3_prepare_v2(snapshots->db, load_sql, -1, &snapshots->load, NULL) == SQLITE_OK;

    if (!ok)
        close_file(snapshots);
    return ok;
}

/* The file and what SQLite keeps beside it. */
static void remove_file(const char *path)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    struct os_files *files = os_files_real();
    struct banyan_buf name = BANYAN_BUF_INIT(65536);

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        banyan_buf_reset(&name);
        banyan_buf_printf(&name, "%s%s", path, endings[i]);
        (void)files->remove(files, name.data,
                            NULL); /* where it stays, the next open fails, and there are no snapshots */
    }
    banyan_buf_release(&name);
}

/* With the lock: the file cannot be read; begin anew. */
static void start_over(struct snapshots *snapshots)
{
    close_file(snapshots);
    remove_file(snapshots->path);
    (void)open_file(snapshots); /* false: there are no snapshots from now on */
}

struct snapshots *snapshots_open(const char *path)
{
    struct snapshots *snapshots = alloc_zeroed(1, sizeof(*snapshots));

    snapshots->path = alloc_text(path);
    (void)pthread_mutex_init(&snapshots->lock, NULL);
    if (!open_file(snapshots))
        start_over(snapshots);
    if (snapshots->db == NULL) {
        snapshots_close(snapshots);
        return NULL;
    }
    return snapshots;
}

void snapshots_close(struct snapshots *snapshots)
{
    if (snapshots == NULL)
        return;
    close_file(snapshots);
    (void)pthread_mutex_destroy(&snapshots->lock);
    free(snapshots->path);
    free(snapshots);
}

uint64_t snapshot_kind(const struct banyan_aggregate *aggregate)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SCHEMA_BYTES_MAX);
    uint64_t kind;

    banyan_buf_printf(&text, "%s %u ", aggregate->category, aggregate->version);
    banyan_record_schema(aggregate->state, &text);
    kind = XXH3_64bits(text.data, text.size);
    banyan_buf_release(&text);
    return kind;
}

static uint64_t checksum(struct banyan_str stream, uint64_t kind, const struct snapshot *snapshot)
{
    uint64_t numbers[] = {kind, snapshot->version, snapshot->position, stream.size, snapshot->state.size};
    XXH3_state_t *hash = XXH3_createState();
    uint64_t sum;

    (void)XXH3_64bits_reset(hash);
    (void)XXH3_64bits_update(hash, numbers, sizeof(numbers));
    (void)XXH3_64bits_update(hash, snapshot->event.bytes, sizeof(snapshot->event.bytes));
    (void)XXH3_64bits_update(hash, stream.data, stream.size);
    (void)XXH3_64bits_update(hash, snapshot->state.data, snapshot->state.size);
    sum = XXH3_64bits_digest(hash);
    (void)XXH3_freeState(hash);
    return sum;
}

/* With the lock: did the file turn out to be damaged? */
static void check_result(struct snapshots *snapshots, int result)
{
    if (result == SQLITE_CORRUPT || result == SQLITE_NOTADB)
        start_over(snapshots);
}

void snapshots_save(struct snapshots *snapshots, struct banyan_str stream, uint64_t kind,
                    const struct snapshot *snapshot)
{
    sqlite3_stmt *save;
    int result;

    (void)pthread_mutex_lock(&snapshots->lock);
    save = snapshots->save;
    if (save != NULL) {
        (void)sqlite3_bind_blob(save, 1, stream.data, (int)stream.size, SQLITE_STATIC);
        (void)sqlite3_bind_int64(save, 2, (int64_t)kind);
        (void)sqlite3_bind_int64(save, 3, (int64_t)snapshot->version);
        (void)sqlite3_bind_int64(save, 4, (int64_t)snapshot->position);
        (void)sqlite3_bind_blob(save, 5, snapshot->event.bytes, sizeof(snapshot->event.bytes), SQLITE_STATIC);
        (void)sqlite3_bind_int64(save, 6, (int64_t)checksum(stream, kind, snapshot));
        (void)sqlite3_bind_blob(save, 7, snapshot->state.data, (int)snapshot->state.size, SQLITE_STATIC);
        result = sqlite3_step(save);
        (void)sqlite3_reset(save); /* the same result once more */
        check_result(snapshots, result);
    }
    (void)pthread_mutex_unlock(&snapshots->lock);
}

static bool take_row(sqlite3_stmt *load, struct banyan_str stream, uint64_t kind, struct banyan_arena *arena,
                     struct snapshot *ret)
{
    struct snapshot found = {.version = (uint64_t)sqlite3_column_int64(load, 1),
                             .position = (uint64_t)sqlite3_column_int64(load, 2)};
    const void *event = sqlite3_column_blob(load, 3), *state = sqlite3_column_blob(load, 5);

    if ((uint64_t)sqlite3_column_int64(load, 0) != kind || event == NULL ||
        sqlite3_column_bytes(load, 3) != sizeof(found.event.bytes) || found.version == 0)
        return false;
    memcpy(found.event.bytes, event, sizeof(found.event.bytes));
    found.state = (struct banyan_str){state == NULL ? "" : state, (size_t)sqlite3_column_bytes(load, 5)};
    if ((uint64_t)sqlite3_column_int64(load, 4) != checksum(stream, kind, &found))
        return false;
    found.state = banyan_arena_str(arena, found.state);
    *ret = found;
    return true;
}

bool snapshots_load(struct snapshots *snapshots, struct banyan_str stream, uint64_t kind, struct banyan_arena *arena,
                    struct snapshot *ret)
{
    bool found = false;
    int result;

    (void)pthread_mutex_lock(&snapshots->lock);
    if (snapshots->load != NULL) {
        (void)sqlite3_bind_blob(snapshots->load, 1, stream.data, (int)stream.size, SQLITE_STATIC);
        result = sqlite3_step(snapshots->load);
        if (result == SQLITE_ROW)
            found = take_row(snapshots->load, stream, kind, arena, ret);
        (void)sqlite3_reset(snapshots->load);
        check_result(snapshots, result);
    }
    (void)pthread_mutex_unlock(&snapshots->lock);
    return found;
}
