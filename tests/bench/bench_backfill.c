/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast is the backfill?  Against two references on the same server and rows, in alternating runs:
 *
 *   copies    three ordered binary COPYs of the same columns over three connections, merged by key and thrown away:
 *             what the server can give at most
 *   lateral   one statement a batch of 10,000 orders that builds the history of each with LATERAL json_agg: how it is
 *             usually done
 *
 * bench_backfill BUILD    beside a server with fsync on (tools/bench does that); the log is a real store on disk.
 * ORDERS (default 200000) and RUNS (default 5) choose the size; medians are told.  SEEDED=1: the orders are there.  A
 * run is measured from the start of the workers until the last chunk and the completion are durable.
 */
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "banyan/buf.h"
#include "legacy/legacy.h"
#include "legacy/tables.h"
#include "os/clock.h"
#include "pg/conn.h"
#include "pg/replication.h"
#include "store/store.h"
#include "trading/trading.h"

enum {
    RUNS_MAX = 100,
    TABLES = 3,
    BATCH = 10000,
    WAIT_US = 600 * 1000 * 1000,
};

/* Seconds of processor time: on a busy machine they say more than the clock. */
struct cpu {
    double client, server;
};

struct bench {
    const char *build, *conninfo;
    char folder[512]; /* of the stores */
    unsigned runs;
    uint64_t orders, rows, events;
    struct pg_conn *conn;
    struct legacy_tables tables;
    double copies[RUNS_MAX], lateral[RUNS_MAX], backfill[RUNS_MAX]; /* orders a second */
    struct cpu cpu_copies, cpu_lateral, cpu_backfill;               /* least of the runs */
    pid_t server;
};

static void must(enum banyan_status st, const char *what, const struct banyan_error *err)
{
    if (st == BANYAN_OK)
        return;
    fprintf(stderr, "%s: %s %s %s\n", what, err->message, err->detail, err->hint);
    exit(1);
}

/* Run a program to its end, its output thrown away. */
static void must_run(const char *const *arguments)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int state = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, arguments[0], &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == 0 && waitpid(pid, &state, 0) == pid && state == 0)
        return;
    fprintf(stderr, "%s failed\n", arguments[0]);
    exit(1);
}

static double seconds_since(int64_t start_us)
{
    return (double)(os_clock_monotonic_us(os_clock_real()) - start_us) / 1e6;
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- processor time ---- */

/* Ticks of a process and of its children that have ended; 0 where it is gone. */
static uint64_t ticks_of(const char *pid, pid_t *ret_parent)
{
    char path[300], text[1024] = "";
    uint64_t user = 0, system = 0, user_ended = 0, system_ended = 0;
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    const char *at = size > 0 ? strrchr(text, ')') : NULL;
    if (at == NULL ||
        sscanf(at, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &parent,
               &user, &system, &user_ended, &system_ended) != 5)
        return 0;
    *ret_parent = parent;
    return user + system + user_ended + system_ended;
}

/* What this process and the server have used until now. */
static struct cpu cpu_now(const struct bench *bench)
{
    struct rusage usage;
    uint64_t ticks = 0;
    DIR *folder = opendir("/proc");
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        pid_t parent = 0;
        uint64_t used = ticks_of(entry->d_name, &parent);
        if (used > 0 && (parent == bench->server || atoi(entry->d_name) == bench->server))
            ticks += used;
    }
    if (folder != NULL)
        closedir(folder);
    getrusage(RUSAGE_SELF, &usage);
    return (struct cpu){
        .client = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
        .server = (double)ticks / (double)sysconf(_SC_CLK_TCK),
    };
}

/* The least of the runs: what others do on the machine makes a run dearer, never cheaper. */
static void cpu_least(const struct bench *bench, struct cpu *least, struct cpu before)
{
    struct cpu now = cpu_now(bench);
    double client = now.client - before.client, server = now.server - before.server;
    if (least->client == 0 || client < least->client)
        least->client = client;
    if (least->server == 0 || server < least->server)
        least->server = server;
}

static void cpu_tell(const struct bench *bench, const char *name, struct cpu least)
{
    double orders = (double)bench->orders;
    fprintf(stderr, "%s: processor time an order, least of the runs: %.2f us here, %.2f us in the server\n", name,
            least.client * 1e6 / orders, least.server * 1e6 / orders);
}

/* ---- references: plain libpq, so that nothing of ours is in them ---- */

/* The settings that our own workers use. */
static PGconn *plain_connect(const struct bench *bench)
{
    PGconn *conn = PQconnectdb(bench->conninfo);
    PQclear(PQexec(conn, "SET jit = off"));
    PQclear(PQexec(conn, "SET work_mem = '64MB'"));
    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "%s\n", PQerrorMessage(conn));
        exit(1);
    }
    return conn;
}

struct copy {
    PGconn *conn;
    size_t key_field;
    int64_t key; /* of the row at hand */
    bool done;
    uint64_t rows;
};

/* The next row: look at its key, throw it away. */
static void copy_next(struct copy *copy)
{
    for (;;) {
        char *message;
        int size = PQgetCopyData(copy->conn, &message, 0);
        if (size < 0) {
            copy->done = true;
            if (size < -1)
                fprintf(stderr, "%s\n", PQerrorMessage(copy->conn));
            return;
        }
        const char *at = message;
        uint16_t columns;
        if (size >= 19 && memcmp(message, "PGCOPY", 6) == 0)
            at += 19;
        memcpy(&columns, at, sizeof(columns));
        at += sizeof(columns);
        for (size_t i = 0; columns != UINT16_MAX && i < copy->key_field; i++) {
            uint32_t cell;
            memcpy(&cell, at, sizeof(cell));
            at += sizeof(cell) + (be32toh(cell) == UINT32_MAX ? 0 : be32toh(cell));
        }
        if (columns != UINT16_MAX) {
            uint64_t key;
            memcpy(&key, at + 4, sizeof(key));
            copy->key = (int64_t)be64toh(key);
            copy->rows++;
        }
        PQfreemem(message);
        if (columns != UINT16_MAX)
            return;
    }
}

static void copy_begin(const struct bench *bench, struct copy *copy, size_t table)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(64 * 1024);
    *copy = (struct copy){.conn = plain_connect(bench), .key_field = bench->tables.tables[table].key_field};
    banyan_buf_add_text(&sql, "COPY (");
    legacy_tables_select(&bench->tables.tables[table], INT64_MIN, INT64_MAX, &sql);
    banyan_buf_add_text(&sql, ") TO STDOUT (FORMAT binary)");
    PGresult *result = PQexec(copy->conn, sql.data);
    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        fprintf(stderr, "%s\n", PQerrorMessage(copy->conn));
        exit(1);
    }
    PQclear(result);
    banyan_buf_release(&sql);
}

static double run_copies(struct bench *bench)
{
    struct copy copies[TABLES];
    uint64_t keys = 0;
    int64_t start = os_clock_monotonic_us(os_clock_real());
    for (size_t i = 0; i < TABLES; i++)
        copy_begin(bench, &copies[i], i);
    for (size_t i = 0; i < TABLES; i++)
        copy_next(&copies[i]);
    for (;;) {
        int64_t key = INT64_MAX;
        for (size_t i = 0; i < TABLES; i++)
            if (!copies[i].done && copies[i].key < key)
                key = copies[i].key;
        if (key == INT64_MAX)
            break;
        keys++;
        for (size_t i = 0; i < TABLES; i++)
            while (!copies[i].done && copies[i].key == key)
                copy_next(&copies[i]);
    }
    double seconds = seconds_since(start);
    bench->rows = copies[0].rows + copies[1].rows + copies[2].rows;
    for (size_t i = 0; i < TABLES; i++)
        PQfinish(copies[i].conn);
    return (double)keys / seconds;
}

static double run_lateral(const struct bench *bench)
{
    static const char sql[] =
        "SELECT o.*, a.rows, t.rows FROM orders o"
        " LEFT JOIN LATERAL (SELECT json_agg(x ORDER BY x.\"timestamp\", x.id) AS rows FROM audit_log x"
        "  WHERE x.entity_id = o.order_id) a ON true"
        " LEFT JOIN LATERAL (SELECT json_agg(x ORDER BY x.executed_at, x.id) AS rows FROM trades x"
        "  WHERE x.order_id = o.order_id) t ON true"
        " WHERE o.order_id > %lld ORDER BY o.order_id LIMIT %d";
    PGconn *conn = plain_connect(bench);
    char text[1024];
    long long last = -1;
    uint64_t orders = 0;
    int64_t start = os_clock_monotonic_us(os_clock_real());
    for (;;) {
        snprintf(text, sizeof(text), sql, last, BATCH);
        PGresult *result = PQexec(conn, text);
        int count = PQntuples(result);
        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            fprintf(stderr, "%s\n", PQerrorMessage(conn));
            exit(1);
        }
        orders += (uint64_t)count;
        if (count > 0)
            last = strtoll(PQgetvalue(result, count - 1, 0), NULL, 10);
        PQclear(result);
        if (count < BATCH)
            break;
    }
    double seconds = seconds_since(start);
    PQfinish(conn);
    return (double)orders / seconds;
}

/* ---- ours ---- */

static double run_backfill(struct bench *bench)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct legacy_status status;
    struct legacy *legacy;
    struct os_stop stop;
    struct store_options store_options = {.folder = bench->folder};
    struct legacy_options options = {
        .domain = &banyan_domain_trading,
        .name = "bench",
        .conninfo = bench->conninfo,
        .slot = "bench",
        .publication = "bench",
        .spool_folder = bench->folder,
        .chunk_rows = number_of("CHUNK_ROWS", 0),
        .workers = (unsigned)number_of("WORKERS", 0),
        .backfill_only = true,
        .stop = &stop,
    };
    must(os_stop_open(&stop, &err), "stop token", &err);
    must(store_open(&store_options, &options.store, &err), "store", &err);
    must(legacy_start(&options, &legacy, &err), "start", &err);
    int64_t start = os_clock_monotonic_us(os_clock_real());
    do {
        (void)os_stop_wait(&stop, 2000); /* nobody stops it here */
        legacy_status(legacy, &status);
        if (status.state == LEGACY_FAILED)
            must(status.error.status, "backfill", &status.error);
    } while (!status.backfill_done && seconds_since(start) < WAIT_US / 1e6);
    os_stop_request(&stop);
    legacy_stop(legacy);
    store_close(options.store);
    os_stop_close(&stop);
    must(pg_slot_drop(bench->conn, BANYAN_STR("bench"), &err), "drop slot", &err);
    must_run((const char *const[]){"rm", "-rf", bench->folder, NULL});
    if (!status.backfill_done || status.roots_read != bench->orders) {
        fprintf(stderr, "the backfill read %" PRIu64 " of %" PRIu64 " orders\n", status.roots_read, bench->orders);
        exit(1);
    }
    bench->events = status.events_exact + status.events_inferred + status.events_reconciled;
    return (double)status.roots_read * 1e6 / (double)status.backfill_us;
}

/* ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

static void tell(const char *name, double value, double reference, double bar)
{
    printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"orders/s\",\"reference\":%.0f,\"ratio\":%.3f,\"bar\":%.1f,"
           "\"ok\":%s}\n",
           name, value, reference, value / reference, bar, value / reference >= bar ? "true" : "false");
}

static void prepare(struct bench *bench)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_options options = {.conninfo = bench->conninfo, .application_name = "bench"};
    char seed[1024], orders[32];
    snprintf(seed, sizeof(seed), "%s/examples/legacy-oms/legacy-seed", bench->build);
    snprintf(orders, sizeof(orders), "%" PRIu64, bench->orders);
    if (number_of("SEEDED", 0) == 0) {
        must_run((const char *const[]){"psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", "examples/legacy-oms/schema.sql",
                                       NULL});
        must_run((const char *const[]){seed, "--orders", orders, NULL});
        must_run((const char *const[]){"psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", "VACUUM ANALYZE", NULL});
    }
    must(pg_connect(&options, &bench->conn, &err), "connect", &err);
    struct pg_result *result = NULL;
    char pid[32];
    must(pg_exec(bench->conn, "SELECT pg_catalog.pg_backend_pid()", NULL, 0, &result, &err), "server", &err);
    snprintf(pid, sizeof(pid), "%" PRId64, pg_int(result, 0, 0));
    (void)ticks_of(pid, &bench->server); /* stays 0 where the server is elsewhere: it then counts as nothing */
    pg_result_free(result);
    must(legacy_tables_resolve(bench->conn, banyan_domain_trading.mappings, &bench->tables, &err), "tables", &err);
    snprintf(bench->folder, sizeof(bench->folder), "%s/bench/backfill-store", bench->build);
    must_run((const char *const[]){"rm", "-rf", bench->folder, NULL});
    must_run((const char *const[]){"mkdir", "-p", bench->folder, NULL});
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .build = argc > 1 ? argv[1] : "build",
        .conninfo = getenv("BANYAN_TEST_CONNINFO"),
        .runs = (unsigned)number_of("RUNS", 5),
        .orders = number_of("ORDERS", 200000),
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (bench.conninfo == NULL || bench.runs == 0 || bench.runs > RUNS_MAX) {
        fprintf(stderr, "run it through tools/with-postgres; RUNS is 1 to %d\n", RUNS_MAX);
        return 2;
    }
    prepare(&bench);
    for (unsigned i = 0; i < bench.runs; i++) {
        must(pg_run(bench.conn, "CHECKPOINT", &err), "checkpoint", &err);
        struct cpu before = cpu_now(&bench);
        bench.copies[i] = run_copies(&bench);
        cpu_least(&bench, &bench.cpu_copies, before);
        before = cpu_now(&bench);
        bench.backfill[i] = run_backfill(&bench);
        cpu_least(&bench, &bench.cpu_backfill, before);
        before = cpu_now(&bench);
        bench.lateral[i] = run_lateral(&bench);
        cpu_least(&bench, &bench.cpu_lateral, before);
        fprintf(stderr, "run %u: copies %.0f, backfill %.0f, lateral %.0f orders/s\n", i + 1, bench.copies[i],
                bench.backfill[i], bench.lateral[i]);
    }
    fprintf(stderr, "%" PRIu64 " orders, %" PRIu64 " rows, %" PRIu64 " events\n", bench.orders, bench.rows,
            bench.events);
    cpu_tell(&bench, "copies", bench.cpu_copies);
    cpu_tell(&bench, "backfill", bench.cpu_backfill);
    cpu_tell(&bench, "lateral", bench.cpu_lateral);
    double ours = median(bench.backfill, bench.runs);
    tell("backfill against ordered COPYs thrown away", ours, median(bench.copies, bench.runs), 0.7);
    tell("backfill against LATERAL json_agg", ours, median(bench.lateral, bench.runs), 4.0);
    pg_close(bench.conn);
    return 0;
}
