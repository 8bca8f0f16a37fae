/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: what can go wrong on the way in, and the fixed form of values. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/thread.h"
#include "pg_test.h"

static void expect(const char *conninfo, bool replication, enum banyan_status status, const char *sqlstate,
                   const char *in_message)
{
    struct pg_options options = {.conninfo = conninfo, .replication = replication};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    enum banyan_status got = pg_connect(&options, &conn, &err);

    if (got != status || strcmp(err.sqlstate, sqlstate) != 0 || strstr(err.message, in_message) == NULL ||
        err.hint[0] == '\0')
        fail_msg("%s: got %s %s \"%s\" hint \"%s\"", conninfo, banyan_status_name(got), err.sqlstate, err.message,
                 err.hint);
    if (strstr(err.message, "sesame") != NULL || strstr(err.detail, "sesame") != NULL ||
        strstr(err.hint, "sesame") != NULL)
        fail_msg("the password is in the error: %s", err.message);
    assert_null(conn);
}

/* A loopback port; with *listening* a socket that takes connections and never answers (give it to close()). */
static int loopback(bool listening, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    if (listening)
        assert_int_equal(listen(fd, 5), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void nothing_listens(void **state)
{
    char conninfo[200], place[40];
    int port, fd = loopback(false, &port);

    (void)state;
    (void)snprintf(conninfo, sizeof(conninfo), "host=127.0.0.1 port=%d user=u dbname=d password=sesame", port);
    (void)snprintf(place, sizeof(place), "127.0.0.1:%d/d as u", port);
    expect(conninfo, false, BANYAN_UNAVAILABLE, "", place);
    expect(conninfo, false, BANYAN_UNAVAILABLE, "", "refused");
    expect("host=/nonexistent user=u", false, BANYAN_UNAVAILABLE, "", "/nonexistent");
    expect("host=no-such-host.invalid user=u", false, BANYAN_UNAVAILABLE, "", "no-such-host.invalid");
    (void)close(fd);
}

static void silent_server_runs_into_the_limit(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.connect_timeout_us = 200000};
    int64_t started_us = os_clock_monotonic_us(os_clock_real()), took_us;
    struct pg_conn *conn = NULL;
    char conninfo[200];
    int port, fd = loopback(true, &port);

    (void)state;
    (void)snprintf(conninfo, sizeof(conninfo), "host=127.0.0.1 port=%d user=u dbname=d", port);
    options.conninfo = conninfo;
    FAILS(UNAVAILABLE, pg_connect(&options, &conn, &err));
    took_us = os_clock_monotonic_us(os_clock_real()) - started_us;
    assert_true(took_us >= 200000 && took_us < 10000000);
    (void)close(fd);
}

static void request_stop(void *argument)
{
    struct os_stop never;
    struct banyan_error err = BANYAN_ERROR_INIT;

    OK(os_stop_open(&never, &err));
    (void)os_stop_wait(&never, 100000);
    os_stop_request(argument);
    os_stop_close(&never);
}

static void stop_ends_a_connect(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_thread thread = {0};
    struct pg_conn *conn = NULL;
    struct os_stop stop;
    char conninfo[200];
    int port, fd = loopback(true, &port);
    struct pg_options options = {.conninfo = conninfo, .stop = &stop};

    (void)state;
    OK(os_stop_open(&stop, &err));
    (void)snprintf(conninfo, sizeof(conninfo), "host=127.0.0.1 port=%d user=u dbname=d", port);
    os_thread_start(&thread, "stopper", request_stop, &stop);
    FAILS(STOPPED, pg_connect(&options, &conn, &err));
    os_thread_join(&thread);
    os_stop_close(&stop);
    (void)close(fd);
}

/* Also the wrong ones must not put a password into a message. */
static void malformed_strings(void **state)
{
    (void)state;
    expect("host=x password=open sesame", false, BANYAN_CONFIG, "", "connection string");
    expect("postgresql://u:sesame@h:port/d?nonsense", false, BANYAN_CONFIG, "", "connection string");
    expect("nonsense=sesame", false, BANYAN_CONFIG, "", "connection string");
    expect("host=127.0.0.1 port=many password=sesame", false, BANYAN_CONFIG, "", "many");
}

static void set_hba(struct pg_conn *conn, const char *line)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(4000);
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *file = test_value(conn, "SELECT current_setting('hba_file')");

    banyan_buf_printf(&sql, "COPY (SELECT unnest(ARRAY['local all all trust', '%s'])) TO ", line);
    pg_add_literal(&sql, banyan_str_of(file));
    OK(pg_run(conn, sql.data, &err));
    test_run(conn, "SELECT pg_reload_conf()");
    banyan_buf_release(&sql);
    free(file);
}

/* The server takes its new rules a moment later: try until it refuses. */
static void wait_refused(const char *conninfo)
{
    int64_t limit_us = os_clock_monotonic_us(os_clock_real()) + 20000000;

    for (;;) {
        struct pg_options options = {.conninfo = conninfo};
        struct pg_conn *conn = NULL;
        bool refused = pg_connect(&options, &conn, NULL) != BANYAN_OK;

        pg_close(conn);
        if (refused)
            return;
        if (os_clock_monotonic_us(os_clock_real()) > limit_us)
            fail_msg("the server did not take its new rules");
    }
}

static void logins(void **state)
{
    struct pg_conn *conn = test_connect(false), *second = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {0};
    const char *port = getenv("PGPORT");
    char text[300];

    (void)state;
    test_run(conn, "CREATE ROLE walker LOGIN PASSWORD 'sesame'");
    set_hba(conn, "host all all 127.0.0.1/32 scram-sha-256");
    (void)snprintf(text, sizeof(text), "host=127.0.0.1 port=%s user=walker dbname=postgres", port);
    wait_refused(text);
    expect(text, false, BANYAN_AUTH, "", "wants a password");
    (void)snprintf(text, sizeof(text), "host=127.0.0.1 port=%s user=walker dbname=postgres password=sesameX", port);
    expect(text, false, BANYAN_AUTH, "28P01", "walker");
    (void)snprintf(text, sizeof(text), "host=127.0.0.1 port=%s user=nobody_here dbname=postgres password=sesame", port);
    expect(text, false, BANYAN_AUTH, "28P01", "nobody_here");
    (void)snprintf(text, sizeof(text), "postgresql://walker:sesame@127.0.0.1:%s/postgres", port);
    expect(text, true, BANYAN_PRIVILEGE, "42501", "for replication");
    options.conninfo = text;
    OK(pg_connect(&options, &second, &err));
    assert_null(strstr(pg_describe(second), "sesame"));
    assert_non_null(strstr(pg_describe(second), "/postgres as walker"));
    FAILS(PRIVILEGE, pg_run(second, "SELECT * FROM pg_authid", &err));
    assert_string_equal(err.sqlstate, "42501");
    (void)snprintf(text, sizeof(text), "host=127.0.0.1 port=%s user=walker dbname=no_such_db password=sesame", port);
    expect(text, false, BANYAN_CONFIG, "3D000", "no_such_db");
    set_hba(conn, "host all other 127.0.0.1/32 scram-sha-256");
    (void)snprintf(text, sizeof(text), "host=127.0.0.1 port=%s user=walker dbname=postgres password=sesame", port);
    wait_refused(text);
    expect(text, false, BANYAN_AUTH, "28000", "pg_hba.conf");
    set_hba(conn, "host all all 127.0.0.1/32 trust");
    test_run(conn, "DROP ROLE walker");
    pg_close(second);
    pg_close(conn);
}

static void too_many_connections(void **state)
{
    struct pg_conn *conn = test_connect(false), *second = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char text[300];
    struct pg_options options = {.conninfo = text};

    (void)state;
    test_run(conn, "CREATE ROLE lonely LOGIN CONNECTION LIMIT 1");
    (void)snprintf(text, sizeof(text), "%s user=lonely", test_conninfo());
    OK(pg_connect(&options, &second, &err));
    expect(text, false, BANYAN_UNAVAILABLE, "53300", "lonely");
    pg_close(second);
    test_wait_value(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'lonely'", "0");
    test_run(conn, "DROP ROLE lonely");
    pg_close(conn);
}

/* Odd defaults of the database, and options of the user's: ours win, the others stay.  Also for a walsender. */
static void values_have_a_fixed_form(void **state)
{
    struct pg_conn *admin = test_connect(false);
    struct banyan_error err = BANYAN_ERROR_INIT;
    char text[400];

    (void)state;
    test_run(admin, "ALTER DATABASE postgres SET TimeZone = 'Asia/Kolkata'");
    test_run(admin, "ALTER DATABASE postgres SET DateStyle = 'SQL, DMY'");
    test_run(admin, "ALTER DATABASE postgres SET extra_float_digits = 0");
    test_run(admin, "ALTER DATABASE postgres SET bytea_output = 'escape'");
    test_run(admin, "ALTER DATABASE postgres SET IntervalStyle = 'sql_standard'");
    (void)snprintf(text, sizeof(text), "%s options='-c work_mem=5MB -c TimeZone=Japan'", test_conninfo());
    for (int replication = 0; replication < 2; replication++) {
        struct pg_options options = {.conninfo = text, .application_name = "fixed-form", .replication = replication};
        struct pg_conn *conn = NULL;

        OK(pg_connect(&options, &conn, &err));
        test_value_is(conn, "SELECT '2024-01-02 03:04:05.6+00'::timestamptz", "2024-01-02 03:04:05.6+00");
        test_value_is(conn, "SELECT 0.1::float8 + 0.2::float8", "0.30000000000000004");
        test_value_is(conn, "SELECT '\\x00ff'::bytea", "\\x00ff");
        test_value_is(conn, "SELECT interval '1 day 2 hours'", "P1DT2H");
        test_value_is(conn, "SHOW client_encoding", "UTF8");
        test_value_is(conn, "SHOW work_mem", "5MB");
        test_value_is(conn, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()", "fixed-form");
        assert_true(pg_server_version(conn) >= 140000);
        assert_true(pg_backend_pid(conn) > 0);
        assert_true(pg_socket(conn) >= 0);
        pg_close(conn);
    }
    test_run(admin, "ALTER DATABASE postgres RESET ALL");
    pg_close(admin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_listens),
        cmocka_unit_test(silent_server_runs_into_the_limit),
        cmocka_unit_test(stop_ends_a_connect),
        cmocka_unit_test(malformed_strings),
        cmocka_unit_test(logins),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(values_have_a_fixed_form),
    };

    return cmocka_run_group_tests_name("pg/conn", tests, NULL, NULL);
}
