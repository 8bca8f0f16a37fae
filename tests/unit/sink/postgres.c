/* SPDX-License-Identifier: Apache-2.0 */
/* The PostgreSQL sink: the common body, and what is particular to a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body.h"
#include "pg/conn.h"
#include "sink/sinks.h"
#include "support/test_domain.h"

static char schema[64];
static int schemas;

static const char *conninfo(void)
{
    const char *text = getenv("BANYAN_TEST_CONNINFO");
    return text == NULL ? "" : text;
}

static void clear_place(void)
{
    snprintf(schema, sizeof(schema), "Views \"%d\"", ++schemas); /* must be quoted */
}

static enum banyan_status open_place(const struct banyan_projection *projection, struct sink **ret,
                                     struct banyan_error *err)
{
    return sink_postgres_open(projection, conninfo(), schema, ret, err);
}

static const struct body_place place = {open_place, clear_place};

static struct pg_conn *admin(void)
{
    struct pg_conn *conn = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (pg_connect(&(struct pg_options){.conninfo = conninfo(), .application_name = "test"}, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

static void a_lost_connection_is_made_again(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct pg_result *result = NULL;
    clear_place();
    struct sink *sink = body_open(&test_projections[0], NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 5, NULL), BANYAN_OK);
    struct pg_conn *conn = admin();
    assert_int_equal(pg_exec(conn,
                             "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = "
                             "'banyan view accounts'",
                             NULL, 0, &result, NULL),
                     BANYAN_OK);
    assert_true(pg_rows(result) > 0 && pg_bool(result, 0, 0));
    enum banyan_status st = body_flush(sink, NULL, 0, 6, &err);
    assert_int_equal(banyan_status_class(st), BANYAN_CLASS_RETRY);
    assert_int_equal(sink->ops->checkpoint(sink, &checkpoint, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, 5);
    assert_int_equal(body_flush(sink, NULL, 0, 6, NULL), BANYAN_OK);
    pg_result_free(result);
    pg_close(conn);
    sink_close(sink);
}

static void a_refused_row_leaves_nothing_of_its_flush(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf sql = BANYAN_BUF_INIT(4096);
    struct sink_checkpoint checkpoint;
    struct test_account rows[2] = {{.id = 1, .owner = BANYAN_STR("a")}, {.id = 2, .owner = BANYAN_STR("b")}};
    clear_place();
    struct sink *sink = body_open(&test_projections[0], NULL);
    struct pg_conn *conn = admin();
    banyan_buf_add_text(&sql, "ALTER TABLE ");
    pg_add_identifier(&sql, banyan_str_of(schema));
    banyan_buf_add_text(&sql, ".accounts ADD CHECK (owner <> 'b')");
    assert_int_equal(pg_run(conn, sql.data, NULL), BANYAN_OK);
    struct sink_row changes[2] = {{1, &rows[0], UINT64_MAX}, {2, &rows[1], UINT64_MAX}};
    assert_int_equal(body_flush(sink, changes, 2, 1, &err), BANYAN_QUERY);
    assert_string_equal(err.sqlstate, "23514");
    assert_int_equal(sink->ops->checkpoint(sink, &checkpoint, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, 0);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    assert_int_equal(sink->ops->get(sink, 1, &arena, &rows[0], NULL), BANYAN_NOT_FOUND);
    banyan_arena_release(&arena);
    banyan_buf_release(&sql);
    pg_close(conn);
    sink_close(sink);
}

static void lists_use_the_index(void **state)
{
    struct pg_result *result = NULL;
    struct pg_param param = {{schema, 0}};
    clear_place();
    param.text.size = strlen(schema);
    struct sink *sink = body_open(&test_projections[0], NULL);
    assert_int_equal(sink->ops->finish(sink, NULL), BANYAN_OK);
    assert_int_equal(sink->ops->finish(sink, NULL), BANYAN_OK); /* again is no harm */
    struct pg_conn *conn = admin();
    assert_int_equal(pg_exec(conn, "SELECT count(*) FROM pg_indexes WHERE schemaname = $1 AND tablename = 'accounts'",
                             &param, 1, &result, NULL),
                     BANYAN_OK);
    assert_int_equal(pg_int(result, 0, 0), 3);
    pg_result_free(result);
    pg_close(conn);
    sink_close(sink);
}

static void a_server_that_is_not_there_is_unavailable(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink *sink = NULL;
    assert_int_equal(sink_postgres_open(&test_projections[0], "host=127.0.0.1 port=1", "views", &sink, &err),
                     BANYAN_UNAVAILABLE);
    assert_null(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(a_refused_row_leaves_nothing_of_its_flush),
        cmocka_unit_test(lists_use_the_index),
        cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
    };
    return body_run(&place, tests, sizeof(tests) / sizeof(tests[0]));
}
