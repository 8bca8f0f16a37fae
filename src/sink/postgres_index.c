/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, indexes and statistics of a generation in PostgreSQL, made while it is not sealed yet.
 *
 *   step   a list index each ─▶ search ─▶ the key's index ─▶ statistics
 *          └────── at once, on connections of their own ──┘
 *
 * CREATE INDEX lets others make indexes of the same table, ADD PRIMARY KEY and ANALYZE do not: so the key begins as a
 * unique index that the seal takes for the key, and the statistics come last.  The longest comes first: sorting texts.
 *
 * Nothing of this is to survive a crash before the seal: then the tables are dropped.  A server that is still sorting
 * for a process that is gone sees so within a second, and lets the tables go.
 *
 * Tried: texts of collation "C", which sort two to three times faster where most of them differ (not where many are
 * equal).  But then the index serves only questions that name that collation, and people who ask the VIEW would have
 * either no index or another order of texts.
 *
 * Threads: any; each step has its connection.
 */
#include <assert.h>

#include "sink/postgres_place.h"
#include "sink/sink_value.h"

/* Sorting in memory pays up to what is near the processor, and each helper of the server needs 32 MB of it.  A server
 * that gives more is left alone. */
static const char sort_memory[] =
    "SELECT set_config('maintenance_work_mem', greatest(pg_size_bytes(current_setting('maintenance_work_mem')), "
    "134217728) / 1024 || 'kB', true);";

/* A server that is too old to know the setting is not asked, nor one whose system cannot do it, which would refuse. */
static const char notice_the_end[] =
    "SELECT set_config(name, '1s', true) FROM pg_settings WHERE name = 'client_connection_check_interval' AND "
    "version() LIKE '%linux%';";

void postgres_add_sort_memory(struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, sort_memory);
}

static bool has_key_step(const struct postgres_place *place, unsigned table, uint32_t generation)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    struct sink_sql sql = postgres_sql(place, table, generation, &name);
    bool has = sink_sql_has_key_index(&sql);
    banyan_buf_release(&name);
    return has;
}

unsigned postgres_index_steps(const struct postgres_place *place, unsigned table)
{
    const struct banyan_table *about = &place->projection->tables[table];
    /* Of the longest name that a generation can have. */
    return (unsigned)about->index_count + (about->search != NULL) + has_key_step(place, table, UINT32_MAX) + 1;
}

enum banyan_status postgres_index_step(const struct postgres_place *place, uint32_t generation, unsigned table,
                                       unsigned step, bool *ret_key, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    struct sink_sql about = postgres_sql(place, table, generation, &name);
    struct pg_conn *conn = NULL;
    size_t lists = about.table->index_count;
    unsigned steps = postgres_index_steps(place, table);
    bool key = false;
    assert(step < steps);
    banyan_buf_add_text(&sql, "SET LOCAL synchronous_commit = off;");
    banyan_buf_add_text(&sql, notice_the_end);
    banyan_buf_add_text(&sql, sort_memory);
    if (step < lists) {
        sink_sql_make_index(&about, step, &sql);
    } else if (step == lists && about.table->search != NULL) {
        sink_sql_make_search(&about, &sql);
    } else if (step + 1 < steps) {
        sink_sql_make_key_index(&about, &sql);
        key = true;
    } else {
        banyan_buf_add_text(&sql, "ANALYZE ");
        sink_sql_add_table(&about, &sql);
    }
    enum banyan_status st = postgres_connect(place, false, &conn, err);
    if (st == BANYAN_OK)
        st = pg_run(conn, sql.data, err);
    if (st == BANYAN_OK)
        *ret_key = key;
    pg_close(conn);
    banyan_buf_release(&name);
    banyan_buf_release(&sql);
    return st;
}
