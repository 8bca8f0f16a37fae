/* SPDX-License-Identifier: Apache-2.0 */
/* The PostgreSQL sink: the common body, and what is particular to a server. */
#include <dlfcn.h>
#include <libpq-fe.h>
#include <setjmp.h>
#include <signal.h>
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
static unsigned left; /* statements until the process dies; 0: never */

/* ---- libpq's senders, counted: this program's own symbols come before those of the library ---- */

static void count_statement(void)
{
    if (left > 0 && --left == 0)
        (void)raise(SIGKILL);
}

int PQsendQuery(PGconn *conn, const char *query)
{
    int (*real)(PGconn *, const char *) = (int (*)(PGconn *, const char *))dlsym(RTLD_NEXT, "PQsendQuery");
    count_statement();
    return real(conn, query);
}

int PQsendQueryParams(PGconn *conn, const char *command, int count, const Oid *types, const char *const *values,
                      const int *lengths, const int *formats, int result_format)
{
    int (*real)(PGconn *, const char *, int, const Oid *, const char *const *, const int *, const int *, int) =
        (int (*)(PGconn *, const char *, int, const Oid *, const char *const *, const int *, const int *, int))dlsym(
            RTLD_NEXT, "PQsendQueryParams");
    count_statement();
    return real(conn, command, count, types, values, lengths, formats, result_format);
}

int PQputCopyEnd(PGconn *conn, const char *error)
{
    int (*real)(PGconn *, const char *) = (int (*)(PGconn *, const char *))dlsym(RTLD_NEXT, "PQputCopyEnd");
    count_statement();
    return real(conn, error);
}

static void die_at(unsigned at)
{
    left = at;
}

static const char *conninfo(void)
{
    const char *text = getenv("BANYAN_TEST_CONNINFO");
    return text == NULL ? "" : text;
}

static void clear_place(void)
{
    snprintf(schema, sizeof(schema), "Views \"%d\"", ++schemas); /* must be quoted */
}

static enum banyan_status open_home(const struct banyan_projection *projection, struct sink_home **ret,
                                    struct banyan_error *err)
{
    return sink_postgres_home(projection, conninfo(), schema, "accounts", ret, err);
}

static struct pg_conn *admin(void)
{
    struct pg_conn *conn = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (pg_connect(&(struct pg_options){.conninfo = conninfo(), .application_name = "test"}, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

/* Run a statement where each "~" is the schema. */
static enum banyan_status in_schema(struct pg_conn *conn, const char *sql, struct pg_result **ret,
                                    struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(4096);
    for (; *sql != '\0'; sql++)
        if (*sql == '~')
            pg_add_identifier(&text, banyan_str_of(schema));
        else
            banyan_buf_add_char(&text, *sql);
    enum banyan_status st = pg_exec(conn, text.data, NULL, 0, ret, err);
    banyan_buf_release(&text);
    return st;
}

static int64_t number_of(struct pg_conn *conn, const char *sql)
{
    struct pg_result *result = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (in_schema(conn, sql, &result, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    int64_t number = pg_int(result, 0, 0);
    pg_result_free(result);
    return number;
}

static void a_lost_connection_is_made_again(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 5, NULL), BANYAN_OK);
    struct pg_conn *conn = admin();
    assert_true(number_of(conn, "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
                                "WHERE application_name = 'banyan view accounts'") > 0);
    enum banyan_status st = body_flush(sink, NULL, 0, 6, &err);
    assert_int_equal(banyan_status_class(st), BANYAN_CLASS_RETRY);
    assert_int_equal(sink->ops->checkpoint(sink, &checkpoint, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, 5);
    assert_int_equal(body_flush(sink, NULL, 0, 6, NULL), BANYAN_OK);
    pg_close(conn);
    sink_close(sink);
    sink_home_close(home);
}

static void a_refused_row_leaves_nothing_of_its_flush(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct test_account rows[2] = {{.id = 1, .owner = BANYAN_STR("a")}, {.id = 2, .owner = BANYAN_STR("b")}};
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    struct pg_conn *conn = admin();
    assert_int_equal(in_schema(conn, "ALTER TABLE ~.accounts_g1 ADD CHECK (owner <> 'b')", NULL, NULL), BANYAN_OK);
    struct sink_row changes[2] = {{0, 1, &rows[0], UINT64_MAX}, {0, 2, &rows[1], UINT64_MAX}};
    assert_int_equal(body_flush(sink, changes, 2, 2, &err), BANYAN_QUERY);
    assert_string_equal(err.sqlstate, "23514");
    assert_int_equal(sink->ops->checkpoint(sink, &checkpoint, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, 1);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM ~.accounts_g1"), 0);
    pg_close(conn);
    sink_close(sink);
    sink_home_close(home);
}

static void lists_and_search_have_indexes(void **state)
{
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    assert_int_equal(sink->ops->finish(sink, NULL), BANYAN_OK);
    assert_int_equal(sink->ops->finish(sink, NULL), BANYAN_OK); /* again is no harm */
    struct pg_conn *conn = admin();
    assert_int_equal(number_of(conn, "SELECT count(*) FROM pg_index WHERE indrelid = '~.accounts_g1'::regclass"), 4);
    pg_close(conn);
    sink_close(sink);
    sink_home_close(home);
}

/* What was indexed before the seal is taken over by it, is not made twice, and goes when the generation is begun anew.
 */
static void indexes_may_be_made_before_the_seal(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    static const char of_accounts[] = "SELECT count(*) FROM pg_index WHERE indrelid = '~.accounts_g1'::regclass";
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    struct pg_conn *conn = admin();
    for (int round = 0; round < 2; round++) {
        assert_int_equal(number_of(conn, of_accounts), 0);
        for (unsigned table = 0; table < 2; table++)
            for (unsigned step = 0; step < sink->ops->index_steps(sink, table); step++)
                assert_int_equal(sink->ops->index_step(sink, table, step, &err), BANYAN_OK);
        assert_int_equal(number_of(conn, of_accounts), 4);
        if (round == 0)
            assert_int_equal(sink->ops->claim(sink, &checkpoint, &err), BANYAN_OK);
    }
    assert_int_equal(sink->ops->seal(sink, &(struct sink_flush){.checkpoint = {.position = {1}}}, &err), BANYAN_OK);
    assert_int_equal(sink->ops->finish(sink, &err), BANYAN_OK);
    assert_int_equal(number_of(conn, of_accounts), 4);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND conname LIKE '%_pkey' "
                                     "AND connamespace = '~'::regnamespace AND conname LIKE '%_g1%'"),
                     2);
    pg_close(conn);
    sink_close(sink);
    sink_home_close(home);
}

/* People's queries go through a VIEW that follows the switch, keeps its rights, and whose long readers stop nobody. */
static void people_have_a_view_of_the_tables_name(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct test_account row = {.id = 1, .owner = BANYAN_STR("a"), .opened_at = {1}, .closed_at = {BANYAN_TIME_NULL}};
    clear_place();
    struct sink_home *home = body_home();
    struct sink *first = body_claim(home, 0, NULL), *second = body_claim(home, 0, NULL);
    struct pg_conn *conn = admin(), *reader = admin();
    assert_int_equal(body_flush(first, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 1, NULL), BANYAN_OK);
    assert_int_equal(body_flush(second, NULL, 0, 1, NULL), BANYAN_OK);
    body_serve(home, 0, 1);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM ~.accounts WHERE owner = 'a'"), 1);
    assert_int_equal(in_schema(conn, "CREATE VIEW ~.mine AS SELECT id FROM ~.accounts", NULL, NULL), BANYAN_OK);
    body_serve(home, 1, 2);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM ~.mine"), 0);
    body_serve(home, 2, 1);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM ~.mine"), 1);

    struct sink_view *view = NULL;
    assert_int_equal(home->ops->view(home, &view, NULL), BANYAN_OK);
    assert_int_equal(view->ops->begin(view, &checkpoint, &err), BANYAN_OK); /* a long question of ours */
    body_serve(home, 1, 2);                                                 /* does not stop the switch */
    view->ops->end(view);
    assert_int_equal(pg_run(reader, "BEGIN", NULL), BANYAN_OK);
    assert_int_equal(number_of(reader, "SELECT count(*) FROM ~.accounts_g1"), 1);
    assert_int_equal(pg_run(reader, "SET idle_in_transaction_session_timeout = '700ms'", NULL), BANYAN_OK);
    assert_int_equal(home->ops->drop(home, 1, &err), BANYAN_OK); /* after it gave up */
    sink_view_close(view);
    pg_close(reader);
    pg_close(conn);
    sink_close(first);
    sink_close(second);
    sink_home_close(home);
}

static void the_layout_of_before_gives_way(void **state)
{
    clear_place();
    struct pg_conn *conn = admin();
    static const char *const before[] = {"CREATE SCHEMA ~", "CREATE TABLE ~.accounts (id bigint)",
                                         "CREATE TABLE ~.banyan_aside (view text, stream text)",
                                         "CREATE TABLE ~.banyan_checkpoint (view text)",
                                         "INSERT INTO ~.banyan_checkpoint VALUES ('accounts')"};
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
        assert_int_equal(in_schema(conn, before[i], NULL, NULL), BANYAN_OK);
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 1, NULL), BANYAN_OK);
    body_serve(home, 0, 1);
    assert_int_equal(number_of(conn, "SELECT count(*) FROM ~.accounts"), 0);
    sink_close(sink);
    sink_home_close(home);
    pg_close(conn);
}

static void another_views_tables_are_not_touched(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *other = NULL;
    uint32_t number = 0;
    clear_place();
    struct sink_home *home = body_home();
    sink_close(body_claim(home, 0, NULL));
    assert_int_equal(sink_postgres_home(body_projection(), conninfo(), schema, "other", &other, &err), BANYAN_OK);
    assert_int_equal(other->ops->make(other, (struct sink_mark){.partial = false}, &number, &err), BANYAN_INVALID);
    assert_true(err.hint[0] != '\0');
    sink_home_close(other);
    sink_home_close(home);
}

static void a_server_that_is_not_there_is_unavailable(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    assert_int_equal(sink_postgres_home(body_projection(), "host=127.0.0.1 port=1", "views", "v", &home, &err),
                     BANYAN_UNAVAILABLE);
    assert_null(home);
}

int main(void)
{
    static const struct body_place place = {.home = open_home, .clear = clear_place, .die_at = die_at, .search = true};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(a_refused_row_leaves_nothing_of_its_flush),
        cmocka_unit_test(lists_and_search_have_indexes),
        cmocka_unit_test(indexes_may_be_made_before_the_seal),
        cmocka_unit_test(people_have_a_view_of_the_tables_name),
        cmocka_unit_test(the_layout_of_before_gives_way),
        cmocka_unit_test(another_views_tables_are_not_touched),
        cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
    };
    return body_run(&place, tests, sizeof(tests) / sizeof(tests[0]));
}
