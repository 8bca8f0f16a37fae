/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See oracle.h.  Looked at are the relations that were there before the statement, under the names that they had then;
 * what the statement makes is nobody's yet.
 */
#include "migrate/oracle.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"

enum {
    WORK_MAX = 256,
};

/* A relation before the statement. */
struct before {
    int64_t oid;
    struct banyan_str name;
    int64_t file;
    int64_t scans;
};

struct measure {
    struct pg_conn *conn;
    struct banyan_arena *arena;
    struct oracle_result *ret;
    struct before *before; /* by oid, ascending */
    size_t before_count;
    struct banyan_str work[WORK_MAX];
};

/* ---- what the server tells while it works ---- */

/* "rewriting table \"t\"" is "rewrite t"; NULL data: of no interest. */
static struct banyan_str work_of(struct banyan_str text, struct banyan_arena *arena)
{
    static const struct {
        const char *front, *name;
    } kinds[] = {
        {"rewriting table \"", "rewrite"},
        {"verifying table \"", "verify"},
        {"building index \"", "build"},
        {"validating foreign key constraint \"", "check fk"},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t size = strlen(kinds[i].front);
        const char *end;

        if (text.size <= size || memcmp(text.data, kinds[i].front, size) != 0)
            continue;
        end = memchr(text.data + size, '"', text.size - size);
        if (end != NULL)
            return banyan_arena_printf(arena, "%s %.*s", kinds[i].name, (int)(end - text.data - (ptrdiff_t)size),
                                       text.data + size);
    }
    return (struct banyan_str){NULL, 0};
}

static void take_notice(void *context, struct banyan_str text)
{
    struct measure *measure = context;
    struct banyan_str work = work_of(text, measure->arena);

    if (work.data == NULL || measure->ret->work_count == WORK_MAX)
        return;
    /* An index of a toast table is the table's own business. */
    if (memmem(work.data, work.size, "pg_toast", 8) == NULL)
        measure->work[measure->ret->work_count++] = work;
}

/* ---- before and after ---- */

static const char relations_sql[] =
    "SELECT c.oid, CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END, "
    "coalesce(pg_relation_filenode(c.oid), 0), pg_stat_get_xact_numscans(c.oid) "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'i', 'I', 'v', 'm', 'S', 'f') "
    "AND n.nspname NOT LIKE 'pg\\_%' ORDER BY c.oid";

static enum banyan_status read_relations(struct measure *measure, struct before **ret, size_t *ret_count,
                                         struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(measure->conn, relations_sql, NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    *ret_count = pg_rows(result);
    *ret = banyan_arena_zalloc(measure->arena, (*ret_count + 1) * sizeof(**ret));
    for (size_t i = 0; i < *ret_count; i++)
        (*ret)[i] = (struct before){
            .oid = pg_int(result, i, 0),
            .name = banyan_arena_str(measure->arena, pg_text(result, i, 1)),
            .file = pg_int(result, i, 2),
            .scans = pg_int(result, i, 3),
        };
    pg_result_free(result);
    return BANYAN_OK;
}

static size_t index_of(const struct measure *measure, int64_t oid)
{
    size_t low = 0, high = measure->before_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (measure->before[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < measure->before_count && measure->before[low].oid == oid ? low : measure->before_count;
}

static enum effect_lock lock_of(struct banyan_str mode)
{
    static const char *const names[] = {
        [EFFECT_ACCESS_SHARE] = "AccessShareLock",
        [EFFECT_ROW_SHARE] = "RowShareLock",
        [EFFECT_ROW_EXCLUSIVE] = "RowExclusiveLock",
        [EFFECT_SHARE_UPDATE_EXCLUSIVE] = "ShareUpdateExclusiveLock",
        [EFFECT_SHARE] = "ShareLock",
        [EFFECT_SHARE_ROW_EXCLUSIVE] = "ShareRowExclusiveLock",
        [EFFECT_EXCLUSIVE] = "ExclusiveLock",
        [EFFECT_ACCESS_EXCLUSIVE] = "AccessExclusiveLock",
    };

    for (size_t lock = EFFECT_ACCESS_SHARE; lock <= EFFECT_ACCESS_EXCLUSIVE; lock++)
        if (banyan_str_equal(mode, banyan_str_of(names[lock])))
            return (enum effect_lock)lock;
    return EFFECT_LOCK_NONE;
}

static enum banyan_status read_locks(struct measure *measure, struct oracle_relation *found, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(measure->conn,
                                    "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND granted "
                                    "AND locktype = 'relation' AND relation >= 16384",
                                    NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < pg_rows(result); i++) {
        size_t at = index_of(measure, pg_int(result, i, 0));
        enum effect_lock lock = lock_of(pg_text(result, i, 1));

        if (at < measure->before_count && lock > found[at].lock)
            found[at].lock = lock;
    }
    pg_result_free(result);
    return BANYAN_OK;
}

/* What is there now, against what was there. */
static enum banyan_status compare(struct measure *measure, struct banyan_error *err)
{
    struct oracle_relation *found = banyan_arena_zalloc(measure->arena, (measure->before_count + 1) * sizeof(*found));
    struct before *after = NULL;
    size_t after_count = 0;
    enum banyan_status st = read_locks(measure, found, err);

    if (st == BANYAN_OK)
        st = read_relations(measure, &after, &after_count, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < after_count; i++) {
        size_t at = index_of(measure, after[i].oid);

        if (at == measure->before_count)
            continue;
        found[at].rewritten = after[i].file != measure->before[at].file;
        found[at].scans = after[i].scans - measure->before[at].scans;
    }
    measure->ret->relations = found;
    for (size_t i = 0; i < measure->before_count; i++) {
        if (found[i].lock == EFFECT_LOCK_NONE && !found[i].rewritten && found[i].scans == 0)
            continue;
        found[i].name = measure->before[i].name;
        found[measure->ret->relation_count++] = found[i];
    }
    return BANYAN_OK;
}

/* ---- measuring ---- */

static enum banyan_status run_statement(struct measure *measure, struct banyan_str statement, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct banyan_str text = banyan_arena_str(measure->arena, statement);
    int64_t begin_us = os_clock_monotonic_us(os_clock_real());
    enum banyan_status st = pg_run(measure->conn, "SET LOCAL client_min_messages = debug1", err);

    if (st != BANYAN_OK)
        return st;
    pg_on_notice(measure->conn, take_notice, measure);
    st = pg_run(measure->conn, text.data, &why);
    pg_on_notice(measure->conn, NULL, NULL);
    measure->ret->elapsed_us = os_clock_monotonic_us(os_clock_real()) - begin_us;
    if (st == BANYAN_OK)
        return pg_run(measure->conn, "SET LOCAL client_min_messages = warning", err);
    if (why.sqlstate[0] == '\0') {
        if (err != NULL)
            *err = why;
        return st;
    }
    measure->ret->failed = true;
    measure->ret->failure = banyan_arena_str(measure->arena, banyan_str_of(why.message));
    return BANYAN_OK;
}

enum banyan_status oracle_measure(struct pg_conn *conn, struct banyan_str given, struct banyan_str statement,
                                  struct banyan_arena *arena, struct oracle_result *ret, struct banyan_error *err)
{
    struct measure *measure = alloc_zeroed(1, sizeof(*measure));
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status st = BANYAN_OK;

    *ret = (struct oracle_result){.failed = false};
    measure->conn = conn;
    measure->arena = arena;
    measure->ret = ret;
    if (given.size > 0)
        st = pg_run(conn, banyan_arena_str(arena, given).data, err);
    if (st == BANYAN_OK)
        st = pg_run(conn, "BEGIN", err);
    if (st == BANYAN_OK) {
        st = read_relations(measure, &measure->before, &measure->before_count, err);
        if (st == BANYAN_OK)
            st = run_statement(measure, statement, err);
        if (st == BANYAN_OK && !ret->failed)
            st = compare(measure, err);
        if (pg_run(conn, "ROLLBACK", &ignored) != BANYAN_OK && st == BANYAN_OK) {
            st = ignored.status;
            if (err != NULL)
                *err = ignored;
        }
    }
    ret->work = banyan_arena_zalloc(arena, (ret->work_count + 1) * sizeof(*ret->work));
    memcpy(ret->work, measure->work, ret->work_count * sizeof(*ret->work));
    free(measure);
    return st;
}
