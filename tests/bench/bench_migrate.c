/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backfill of a new column, from numeric(10,2) to numeric(18,8), under its sync trigger.
 *
 *   alone           against the same UPDATE in plain batches of 10,000 keys, one statement a transaction
 *   in company      p99 of clients that read and write single rows at a steady rate, with and without the backfill;
 *                   counted from the moment at which a request was due, so that waiting is not hidden
 *
 * BENCH_ROWS (default 5,000,000), BENCH_SECONDS (default 10) of clients without a backfill, and at most ten times that
 * with it; BENCH_PLAIN=1 leaves the trigger out.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../unit/pg/pg_test.h"
#include "migrate/batches.h"
#include "os/random.h"

enum {
    KEYS = 10000,
    CLIENTS = 4,
    CLIENT_RATE = 100, /* requests a second, each */
    SAMPLES_MAX = 1 << 18,
};

static struct banyan_error err;
static int64_t rows = 5000000;

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void make_table(struct pg_conn *conn)
{
    char sql[1024];

    test_run(conn, "DROP TABLE IF EXISTS orders");
    (void)snprintf(sql, sizeof(sql),
                   "CREATE TABLE orders (id bigint PRIMARY KEY, account int NOT NULL, symbol text NOT NULL,"
                   " price numeric(10,2) NOT NULL, quantity int NOT NULL, note text, created timestamptz NOT NULL"
                   " DEFAULT now(), price_new numeric(18,8));"
                   "INSERT INTO orders SELECT i, i %% 5000, 'SYM' || i %% 100, (i %% 100000) / 100.0, i %% 1000,"
                   " repeat('x', 20) FROM generate_series(1, %" PRId64 ") i; CREATE INDEX ON orders (account)",
                   rows);
    test_run(conn, sql);
    if (getenv("BENCH_PLAIN") == NULL)
        test_run(conn,
                 "CREATE OR REPLACE FUNCTION sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                 " IF TG_OP = 'INSERT' OR NEW.price IS DISTINCT FROM OLD.price OR NEW.price_new IS NULL THEN"
                 " NEW.price_new := NEW.price::numeric(18,8); END IF; RETURN NEW; END $$;"
                 "CREATE TRIGGER \"~sync\" BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION sync();"
                 "ALTER TABLE orders ENABLE ALWAYS TRIGGER \"~sync\"");
    test_run(conn, "VACUUM ANALYZE orders");
    test_run(conn, "CHECKPOINT");
}

static double wal_mb(struct pg_conn *conn)
{
    char *text = test_value(conn, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')");
    double ret = strtod(text, NULL) / 1e6;

    free(text);
    return ret;
}

/* Processor time of the session at the server so far; it does not depend on who else is on the machine. */
static double cpu_seconds(struct pg_conn *conn)
{
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pg_backend_pid(conn));
    file = fopen(path, "r");
    if (file != NULL && fgets(line, sizeof(line), file) != NULL && strrchr(line, ')') != NULL)
        (void)sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (file != NULL)
        (void)fclose(file);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double plain_batches(struct pg_conn *conn)
{
    int64_t start_us = now_us();
    char sql[256];

    for (int64_t i = 0; i < rows; i += KEYS) {
        (void)snprintf(sql, sizeof(sql),
                       "UPDATE orders t SET price_new = t.price::numeric(18,8) WHERE id > %" PRId64
                       " AND id <= %" PRId64 " AND price_new IS NULL",
                       i, i + KEYS);
        test_run(conn, sql);
    }
    return (double)rows / ((double)(now_us() - start_us) / 1e6);
}

struct told {
    unsigned held;
    uint32_t last_pass;
    int64_t pass_us;
};

static void on_progress(void *context, const struct batches_progress *progress)
{
    struct told *told = context;

    told->held += progress->reason != NULL;
    if (progress->step->pass != told->last_pass) {
        told->last_pass = progress->step->pass;
        told->pass_us = now_us();
    }
}

static double backfill(struct pg_conn *conn, struct pg_conn *watch, const struct throttle_options *throttle)
{
    const struct plan_batches plan = {.table = BANYAN_STR("public.orders"),
                                      .set = BANYAN_STR("price_new = t.price::numeric(18,8)"),
                                      .needs = BANYAN_STR("t.price_new IS NULL")};
    struct told told = {0};
    struct batches_options options = {
        .version = BANYAN_STR("v1"), .throttle = throttle, .progress = on_progress, .context = &told};
    struct books_step step = {0};
    int64_t start_us = now_us();
    double seconds;

    OK(batches_run(conn, watch, &plan, &options, &step, &err));
    seconds = (double)(now_us() - start_us) / 1e6;
    fprintf(stderr, "# %" PRId64 " rows in %.1f s, the last pass %.2f s of it; held %u times\n", step.rows, seconds,
            (double)(now_us() - told.pass_us) / 1e6, told.held);
    test_value_is(conn, "SELECT count(*) FROM orders WHERE price_new IS DISTINCT FROM price", "0");
    return (double)step.rows / seconds;
}

/* ---- clients ---- */

struct clients {
    pthread_t threads[CLIENTS];
    int stop; /* atomic */
    struct {
        pthread_mutex_t lock;
        uint32_t *us;
        size_t count;
        int64_t longest_us;
    } shared;
    int number; /* atomic */
};

static void *client(void *context)
{
    struct clients *clients = context;
    struct pg_conn *mine = test_connect(false);
    struct os_random random;
    int64_t due_us = now_us();
    char sql[256];

    os_random_seed(&random, (uint64_t)__atomic_add_fetch(&clients->number, 1, __ATOMIC_RELAXED));
    while (__atomic_load_n(&clients->stop, __ATOMIC_RELAXED) == 0) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        int64_t id = (int64_t)os_random_below(&random, (uint64_t)rows) + 1, took_us;

        due_us += 1000000 / CLIENT_RATE;
        if (due_us > now_us())
            os_clock_real()->sleep_us(os_clock_real(), due_us - now_us());
        (void)snprintf(sql, sizeof(sql),
                       os_random_below(&random, 2) == 0 ? "SELECT * FROM orders WHERE id = %" PRId64
                                                        : "UPDATE orders SET price = price + 1 WHERE id = %" PRId64,
                       id);
        if (pg_run(mine, sql, &why) != BANYAN_OK) {
            fprintf(stderr, "a client's statement failed: %s\n", why.message);
            exit(1);
        }
        took_us = now_us() - due_us;
        (void)pthread_mutex_lock(&clients->shared.lock);
        if (clients->shared.count < SAMPLES_MAX)
            clients->shared.us[clients->shared.count++] = took_us < 0 ? 0 : (uint32_t)took_us;
        if (took_us > clients->shared.longest_us)
            clients->shared.longest_us = took_us;
        (void)pthread_mutex_unlock(&clients->shared.lock);
    }
    pg_close(mine);
    return NULL;
}

static void clients_start(struct clients *clients)
{
    *clients = (struct clients){.shared.lock = PTHREAD_MUTEX_INITIALIZER};
    clients->shared.us = calloc(SAMPLES_MAX, sizeof(uint32_t));
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients->threads[i], NULL, client, clients), 0);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* p99 in ms. */
static double clients_end(struct clients *clients, const char *what)
{
    double p50, p99;

    __atomic_store_n(&clients->stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(clients->threads[i], NULL), 0);
    assert_true(clients->shared.count > 100);
    qsort(clients->shared.us, clients->shared.count, sizeof(uint32_t), by_size);
    p50 = clients->shared.us[clients->shared.count / 2] / 1e3;
    p99 = clients->shared.us[clients->shared.count * 99 / 100] / 1e3;
    fprintf(stderr, "# clients %s: %zu requests, p50 %.2f ms, p99 %.2f ms, longest %.1f ms\n", what,
            clients->shared.count, p50, p99, (double)clients->shared.longest_us / 1e3);
    free(clients->shared.us);
    return p99;
}

static void bench_alone(struct pg_conn *conn, struct pg_conn *watch)
{
    struct throttle_options throttle = {.flag_file = NULL};
    double reference, value, wal, cpu;

    make_table(conn);
    wal = wal_mb(conn);
    cpu = cpu_seconds(conn);
    reference = plain_batches(conn);
    fprintf(stderr, "# plain batches: %.0f rows/s, %.0f MB of WAL, %.2f s of processor time\n", reference,
            wal_mb(conn) - wal, cpu_seconds(conn) - cpu);
    make_table(conn);
    wal = wal_mb(conn);
    cpu = cpu_seconds(conn);
    value = backfill(conn, watch, &throttle);
    fprintf(stderr, "# backfill: %.0f rows/s, %.0f MB of WAL, %.2f s of processor time\n", value, wal_mb(conn) - wal,
            cpu_seconds(conn) - cpu);
    printf("{\"name\":\"schema backfill\",\"value\":%.0f,\"unit\":\"rows/s\",\"reference\":%.0f,\"ratio\":%.2f,"
           "\"bar\":0.80,\"ok\":%s}\n",
           value, reference, value / reference, value / reference >= 0.8 ? "true" : "false");
}

static void bench_in_company(struct pg_conn *conn, struct pg_conn *watch)
{
    const char *seconds = getenv("BENCH_SECONDS");
    struct throttle_options throttle = {.flag_file = NULL};
    struct clients clients;
    double before, with, speed;

    make_table(conn);
    clients_start(&clients);
    os_clock_real()->sleep_us(os_clock_real(), (seconds != NULL ? atoll(seconds) : 10) * 1000000);
    before = clients_end(&clients, "without a backfill");
    clients_start(&clients);
    speed = backfill(conn, watch, &throttle);
    with = clients_end(&clients, "with it");
    fprintf(stderr, "# backfill in company: %.0f rows/s\n", speed);
    printf("{\"name\":\"p99 of clients beside a schema backfill\",\"value\":%.2f,\"unit\":\"ms\",\"reference\":%.2f,"
           "\"ratio\":%.2f,\"bar\":1.50,\"ok\":%s}\n",
           with, before, with / before, with / before <= 1.5 ? "true" : "false");
}

int main(void)
{
    struct pg_conn *conn = test_connect(false), *watch = test_connect(false);

    if (getenv("BENCH_ROWS") != NULL)
        rows = atoll(getenv("BENCH_ROWS"));
    OK(books_prepare(conn, &err));
    test_run(conn, "INSERT INTO banyan.schema_migrations (version, description, state, rollback_script, tables, source,"
                   " plan) VALUES ('v1', '', 'backfilling', '', '[]', '', '');"
                   "INSERT INTO banyan.schema_migration_steps (version, number, phase, name, title)"
                   " VALUES ('v1', 0, 'backfill', 'fill', '')");
    bench_alone(conn, watch);
    bench_in_company(conn, watch);
    pg_close(conn);
    pg_close(watch);
    return 0;
}
