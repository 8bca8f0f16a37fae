/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that are old and new code at once: see migrate_live.h.
 *
 * Each thread has a connection, as an application behind a driver: statements are prepared once and used for ever, over
 * all phases.  As drivers do, it prepares a statement again that the server refuses because its result has another type
 * than when it was prepared (0A000; only outside a transaction): that is counted, and no failure.
 *
 * Threads: mode and stage are atomic; figures of a thread are its own, and read while it is paused.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "migrate_live.h"
#include "os/clock.h"

enum {
    BUCKETS = 64 * 16,
    FAILURES_TOLD_MAX = 20,
    WATCH_US = 25000,
    WAITING_US = 500,
    LONG_US = 300000, /* a statement that took longer is told, with who was in its way */
};

enum verb {
    READ = 0,
    READ_PLAIN, /* its result has the column's own type */
    READ_VIEW,
    READ_RANGE,
    SET_PRICE,
    SET_TIME,
    SET_QUANTITY,
    SET_ACCOUNT,
    SET_EXECUTION,
    ADD_FILL,
    INSERT,
    DELETE,
    TOUCH_ACCOUNT,
    VERBS,
};
static const char *const verb_names[VERBS] = {"read",     "read-plain",   "read-view",    "read-range",    "set-price",
                                              "set-time", "set-quantity", "set-account",  "set-execution", "add-fill",
                                              "insert",   "delete",       "touch-account"};

struct histogram {
    uint32_t counts[BUCKETS];
    uint64_t count;
    int64_t max_us;
    enum verb slowest;
};

struct live_thread {
    struct live_load *load;
    struct os_thread thread;
    PGconn *conn;
    struct os_random random;
    unsigned number;
    atomic_int seen; /* the mode of its last look */
    bool prepared[LIVE_FACES][VERBS];
    int64_t born; /* rows that it has inserted */
    struct histogram histograms[LIVE_STAGES];
    uint64_t failed, wrong, prepared_again;
};

struct live_load {
    struct live_model *model;
    enum live_case_id id;
    unsigned thread_count, rate;
    char sql[LIVE_FACES][VERBS][512];
    struct live_thread threads[LIVE_THREADS_MAX];
    struct os_thread watcher;
    PGconn *watch;
    atomic_int mode, stage;
    atomic_bool stop, exact;
    atomic_int told;
    atomic_llong lock_wait_us_max;
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void pass(int64_t us)
{
    if (us > 0)
        os_clock_real()->sleep_us(os_clock_real(), us);
}

const char *live_stage_name(enum live_stage stage)
{
    static const char *const names[LIVE_STAGES] = {"alone",     "start",    "ready",  "complete",
                                                   "completed", "rollback", "cleanup"};
    return names[stage];
}

/* ---- the two codes ---- */

static void write_face(struct live_load *load, enum live_face face)
{
    const char *time = load->id == LIVE_RENAME && face == LIVE_NEW ? "execution_timestamp" : "execution_time";
    bool venue = load->id == LIVE_VENUE && face == LIVE_NEW;
    char(*sql)[512] = load->sql[face];

    (void)snprintf(
        sql[READ], 512,
        "SELECT account_id, quantity, fills, price::text, venue_code, "
        "extract(epoch FROM %s - timestamp '2024-01-01')::bigint, %s FROM orders WHERE order_id = $1::bigint",
        time, venue ? "execution_venue" : "''");
    (void)snprintf(sql[READ_PLAIN], 512, "SELECT price, %s FROM orders WHERE order_id = $1::bigint", time);
    (void)snprintf(sql[READ_VIEW], 512,
                   "SELECT price::text, extract(epoch FROM execution_time - timestamp '2024-01-01')::bigint "
                   "FROM dear_orders WHERE order_id = $1::bigint");
    (void)snprintf(sql[READ_RANGE], 512,
                   "SELECT order_id FROM orders WHERE %s >= timestamp '2024-01-01' + $1::int * interval '1 second' "
                   "ORDER BY %s LIMIT 10",
                   time, time);
    (void)snprintf(sql[SET_PRICE], 512,
                   "UPDATE orders SET price = $2::numeric WHERE order_id = $1::bigint RETURNING price::text");
    (void)snprintf(sql[SET_TIME], 512,
                   "UPDATE orders SET %s = timestamp '2024-01-01' + $2::int * interval '1 second' "
                   "WHERE order_id = $1::bigint",
                   time);
    (void)snprintf(sql[SET_QUANTITY], 512, "UPDATE orders SET quantity = $2::int WHERE order_id = $1::bigint");
    (void)snprintf(sql[SET_ACCOUNT], 512, "UPDATE orders SET account_id = $2::bigint WHERE order_id = $1::bigint");
    (void)snprintf(sql[SET_EXECUTION], 512, "UPDATE orders SET %s = $2::text WHERE order_id = $1::bigint",
                   venue ? "execution_venue" : "venue_code");
    (void)snprintf(sql[ADD_FILL], 512, "UPDATE orders SET fills = fills + 1 WHERE order_id = $1::bigint");
    (void)snprintf(sql[INSERT], 512,
                   "INSERT INTO orders (order_id, account_id, quantity, price, venue_code, %s%s) "
                   "VALUES ($1::bigint, $2::bigint, $3::int, $4::numeric, $5::text, "
                   "timestamp '2024-01-01' + $6::int * interval '1 second'%s) RETURNING price::text",
                   time, venue ? ", execution_venue" : "", venue ? ", $7::text" : "");
    (void)snprintf(sql[DELETE], 512, "DELETE FROM orders WHERE order_id = $1::bigint");
    (void)snprintf(sql[TOUCH_ACCOUNT], 512, "UPDATE accounts SET touched = touched + 1 WHERE account_id = $1::bigint");
}

/* ---- one statement ---- */

static unsigned bucket_of(int64_t us)
{
    unsigned exponent = us < 16 ? 0 : (unsigned)(63 - __builtin_clzll((unsigned long long)us)) - 3;
    unsigned bucket = exponent * 16 + (unsigned)((us >> exponent) & 15);

    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The upper end of a bucket. */
static int64_t bucket_us(unsigned bucket)
{
    unsigned exponent = bucket / 16;

    return ((int64_t)(bucket % 16) + 1) << exponent;
}

static void note_time(struct live_thread *thread, enum verb verb, int64_t us)
{
    struct histogram *histogram = &thread->histograms[atomic_load(&thread->load->stage)];

    histogram->counts[bucket_of(us)]++;
    histogram->count++;
    if (us > histogram->max_us) {
        histogram->max_us = us;
        histogram->slowest = verb;
    }
    if (us > LONG_US && atomic_fetch_add(&thread->load->told, 1) < FAILURES_TOLD_MAX)
        printf("# %s took %" PRId64 " ms while in %s\n", verb_names[verb], us / 1000,
               live_stage_name((enum live_stage)atomic_load(&thread->load->stage)));
}

static void complain(struct live_thread *thread, enum live_face face, enum verb verb, const char *what)
{
    if (atomic_fetch_add(&thread->load->told, 1) < FAILURES_TOLD_MAX)
        printf("# %s of %s code, mode %d, in %s: %s\n", verb_names[verb], face == LIVE_NEW ? "new" : "old",
               atomic_load(&thread->load->mode), live_stage_name((enum live_stage)atomic_load(&thread->load->stage)),
               what);
    (void)fflush(stdout);
}

static void prepare(struct live_thread *thread, enum live_face face, enum verb verb, const char *name)
{
    PGresult *result;
    char sql[64];

    if (thread->prepared[face][verb]) {
        (void)snprintf(sql, sizeof(sql), "DEALLOCATE \"%s\"", name);
        PQclear(PQexec(thread->conn, sql));
    }
    result = PQprepare(thread->conn, name, thread->load->sql[face][verb], 0, NULL);
    thread->prepared[face][verb] = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!thread->prepared[face][verb]) {
        thread->failed++;
        complain(thread, face, verb, PQerrorMessage(thread->conn));
    }
    PQclear(result);
}

/* The result, or NULL: it failed, which is counted and told. */
static PGresult *ask(struct live_thread *thread, enum live_face face, enum verb verb, const char *const *values,
                     int value_count)
{
    char name[64];
    PGresult *result = NULL;
    int64_t start = now_us();

    (void)snprintf(name, sizeof(name), "%c-%s", face == LIVE_NEW ? 'n' : 'o', verb_names[verb]);
    if (!thread->prepared[face][verb])
        prepare(thread, face, verb, name);
    for (int tries = 0; tries < 2 && thread->prepared[face][verb]; tries++) {
        const char *state;

        result = PQexecPrepared(thread->conn, name, value_count, values, NULL, NULL, 0);
        state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state == NULL || tries > 0 || strcmp(state, "0A000") != 0 ||
            PQtransactionStatus(thread->conn) != PQTRANS_IDLE)
            break;
        PQclear(result);
        result = NULL;
        thread->prepared_again++;
        prepare(thread, face, verb, name);
    }
    note_time(thread, verb, now_us() - start);
    if (result == NULL)
        return NULL;
    if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
        return result;
    thread->failed++;
    complain(thread, face, verb, PQresultErrorMessage(result));
    PQclear(result);
    return NULL;
}

static void be_wrong(struct live_thread *thread, enum live_face face, enum verb verb, int64_t id, const char *what,
                     const char *seen, const char *expected)
{
    char text[256];

    thread->wrong++;
    (void)snprintf(text, sizeof(text), "order %" PRId64 ": %s is %s, %s expected", id, what, seen, expected);
    complain(thread, face, verb, text);
}

/* ---- what a thread does to a row of its own ---- */

static int64_t choose_row(struct live_thread *thread)
{
    const struct live_model *model = thread->load->model;
    int64_t step = thread->load->thread_count;

    for (int tries = 0; tries < 100; tries++) {
        int64_t id;

        if (thread->born > 0 && os_random_below(&thread->random, 4) == 0) {
            int64_t recent = thread->born < 1000 ? thread->born : 1000;
            id = (model->loaded / step + 1 + thread->born - 1 -
                  (int64_t)os_random_below(&thread->random, (uint64_t)recent)) *
                     step +
                 thread->number;
        } else {
            id = (int64_t)os_random_below(&thread->random, (uint64_t)(model->loaded / step)) * step + thread->number;
        }
        if (id > LIVE_HOT && id <= model->room && model->rows[id].exists)
            return id;
    }
    return 0;
}

/* Whoever reads behind the way back to the old type, but before he is told of it, sees what was rounded. */
static bool is_price(const struct live_thread *thread, const struct live_row *row, const char *text)
{
    int64_t price = live_price(text);

    return price == row->price_e8 || (!atomic_load(&thread->load->exact) && price == live_round(row->price_e8));
}

static void read_row(struct live_thread *thread, enum live_face face, int64_t id)
{
    const struct live_row *row = &thread->load->model->rows[id];
    char key[32], text[32];
    const char *values[] = {key};
    PGresult *result;

    (void)snprintf(key, sizeof(key), "%" PRId64, id);
    result = ask(thread, face, READ, values, 1);
    if (result == NULL)
        return;
    live_price_text(row->price_e8, text);
    if (PQntuples(result) != 1)
        be_wrong(thread, face, READ, id, "the row", "not there", "one");
    else if (!is_price(thread, row, PQgetvalue(result, 0, 3)))
        be_wrong(thread, face, READ, id, "price", PQgetvalue(result, 0, 3), text);
    else if (strtoll(PQgetvalue(result, 0, 0), NULL, 10) != row->account)
        be_wrong(thread, face, READ, id, "account_id", PQgetvalue(result, 0, 0), "another");
    else if (strtoll(PQgetvalue(result, 0, 1), NULL, 10) % LIVE_ADDED != row->quantity)
        be_wrong(thread, face, READ, id, "quantity", PQgetvalue(result, 0, 1), "another");
    else if (strtoll(PQgetvalue(result, 0, 5), NULL, 10) != row->seconds)
        be_wrong(thread, face, READ, id, "time", PQgetvalue(result, 0, 5), "another");
    else if (thread->load->id == LIVE_VENUE && face == LIVE_NEW &&
             strcmp(PQgetvalue(result, 0, 6), live_execution(row)) != 0)
        be_wrong(thread, face, READ, id, "execution_venue", PQgetvalue(result, 0, 6), live_execution(row));
    PQclear(result);
}

static void read_other(struct live_thread *thread, enum live_face face, enum verb verb, int64_t id)
{
    const struct live_row *row = &thread->load->model->rows[id];
    char key[32], text[32];
    const char *values[] = {key};
    PGresult *result;

    (void)snprintf(key, sizeof(key), "%" PRId64,
                   verb == READ_RANGE ? (int64_t)os_random_below(&thread->random, 31000000) : id);
    result = ask(thread, face, verb, values, 1);
    if (result == NULL)
        return;
    live_price_text(row->price_e8, text);
    if (verb != READ_RANGE && (verb == READ_PLAIN || row->price_e8 > 10LL * LIVE_UNIT_E8)) {
        if (PQntuples(result) != 1)
            be_wrong(thread, face, verb, id, "the row", "not there", "one");
        else if (!is_price(thread, row, PQgetvalue(result, 0, 0)))
            be_wrong(thread, face, verb, id, "price", PQgetvalue(result, 0, 0), text);
    }
    PQclear(result);
}

/* What the server says it has stored has to be what was written, or its rounding as long as the old type may be it. */
static void note_price(struct live_thread *thread, enum live_face face, enum verb verb, int64_t id, int64_t written,
                       PGresult *result)
{
    int64_t stored = PQntuples(result) == 1 ? live_price(PQgetvalue(result, 0, 0)) : -1;
    char text[32];

    if (stored != written && (atomic_load(&thread->load->exact) || stored != live_round(written))) {
        live_price_text(written, text);
        be_wrong(thread, face, verb, id, "price", PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "not there",
                 text);
    }
    if (stored >= 0)
        thread->load->model->rows[id].price_e8 = stored;
}

/* New code knows of eight decimals. */
static int64_t choose_price(struct live_thread *thread, enum live_face face)
{
    int64_t price = (int64_t)os_random_below(&thread->random, 9900000) + 1;

    price *= LIVE_UNIT_E8 / 100;
    if (thread->load->id == LIVE_TYPE && face == LIVE_NEW)
        price += (int64_t)os_random_below(&thread->random, LIVE_UNIT_E8 / 100);
    return price;
}

static void set_price(struct live_thread *thread, enum live_face face, int64_t id)
{
    int64_t price = choose_price(thread, face);
    char key[32], text[32];
    const char *values[] = {key, text};
    PGresult *result;

    (void)snprintf(key, sizeof(key), "%" PRId64, id);
    live_price_text(price, text);
    result = ask(thread, face, SET_PRICE, values, 2);
    if (result == NULL)
        return;
    note_price(thread, face, SET_PRICE, id, price, result);
    thread->load->model->rows[id].touched = true;
    PQclear(result);
}

/* One row has to be written. */
static bool set_number(struct live_thread *thread, enum live_face face, enum verb verb, int64_t id, const char *value)
{
    char key[32];
    const char *values[] = {key, value};
    PGresult *result;
    bool good;

    (void)snprintf(key, sizeof(key), "%" PRId64, id);
    result = ask(thread, face, verb, values, value == NULL ? 1 : 2);
    if (result == NULL)
        return false;
    good = strcmp(PQcmdTuples(result), "1") == 0;
    if (!good)
        be_wrong(thread, face, verb, id, "rows written", PQcmdTuples(result), "1");
    PQclear(result);
    return good;
}

static void set_other(struct live_thread *thread, enum live_face face, enum verb verb, int64_t id)
{
    struct live_row *row = &thread->load->model->rows[id];
    struct live_row next = *row;
    char text[64];

    switch (verb) {
    case SET_TIME:
        next.seconds = (int32_t)os_random_below(&thread->random, 31536000);
        (void)snprintf(text, sizeof(text), "%d", next.seconds);
        break;
    case SET_QUANTITY:
        next.quantity = (int32_t)os_random_below(&thread->random, LIVE_ADDED - 1) + 1;
        (void)snprintf(text, sizeof(text), "%d", next.quantity);
        break;
    case SET_ACCOUNT:
        next.account = (uint16_t)(os_random_below(&thread->random, LIVE_ACCOUNTS) + 1);
        (void)snprintf(text, sizeof(text), "%u", next.account);
        break;
    default:
        if (thread->load->id == LIVE_VENUE && face == LIVE_NEW) {
            next.execution = (uint8_t)(os_random_below(&thread->random, 3) + 1);
            (void)snprintf(text, sizeof(text), "%s", live_execution(&next));
        } else {
            /* What the directive computes from it may be there already: the same value. */
            (void)snprintf(text, sizeof(text), "%s", live_venue(next.venue));
        }
        break;
    }
    if (set_number(thread, face, verb, id, text)) {
        next.touched = true;
        next.since |= verb == SET_QUANTITY;
        *row = next;
    }
}

static void insert_row(struct live_thread *thread, enum live_face face)
{
    struct live_model *model = thread->load->model;
    int64_t step = thread->load->thread_count;
    int64_t id = (model->loaded / step + 1 + thread->born) * step + thread->number;
    struct live_row row = {.exists = true, .touched = true, .since = true};
    bool venue = thread->load->id == LIVE_VENUE && face == LIVE_NEW;
    char key[32], account[32], quantity[32], price[32], seconds[32];
    const char *values[] = {key, account, quantity, price, NULL, seconds, NULL};
    PGresult *result;

    if (id > model->room)
        return;
    row.account = (uint16_t)(os_random_below(&thread->random, LIVE_ACCOUNTS) + 1);
    row.quantity = (int32_t)os_random_below(&thread->random, LIVE_ADDED - 1) + 1;
    row.venue = (uint8_t)os_random_below(&thread->random, 4);
    row.seconds = (int32_t)os_random_below(&thread->random, 31536000);
    row.execution = venue ? (uint8_t)(os_random_below(&thread->random, 3) + 1) : 0;
    row.price_e8 = choose_price(thread, face);
    (void)snprintf(key, sizeof(key), "%" PRId64, id);
    (void)snprintf(account, sizeof(account), "%u", row.account);
    (void)snprintf(quantity, sizeof(quantity), "%d", row.quantity);
    (void)snprintf(seconds, sizeof(seconds), "%d", row.seconds);
    live_price_text(row.price_e8, price);
    values[4] = live_venue(row.venue);
    values[6] = live_execution(&row);
    result = ask(thread, face, INSERT, values, venue ? 7 : 6);
    if (result == NULL)
        return;
    thread->born++;
    model->rows[id] = row;
    note_price(thread, face, INSERT, id, row.price_e8, result);
    PQclear(result);
}

static void delete_row(struct live_thread *thread, enum live_face face, int64_t id)
{
    if (set_number(thread, face, DELETE, id, NULL))
        thread->load->model->rows[id] = (struct live_row){0};
}

/* Two rows in a transaction: locks are held over a round trip.  All or nothing. */
static void transaction(struct live_thread *thread, enum live_face face)
{
    int64_t first = choose_row(thread), second = choose_row(thread);
    PGresult *result;

    if (first == 0 || second == 0)
        return;
    PQclear(PQexec(thread->conn, "BEGIN"));
    set_price(thread, face, first);
    set_other(thread, face, SET_TIME, second);
    result = PQexec(thread->conn, "COMMIT");
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0) {
        thread->failed++;
        complain(thread, face, SET_PRICE, "COMMIT of two writes");
    }
    PQclear(result);
}

static void count_up(struct live_thread *thread, enum live_face face)
{
    int64_t id = (int64_t)os_random_below(&thread->random, LIVE_HOT) + 1;
    struct live_row *row = &thread->load->model->rows[id];

    if (!set_number(thread, face, ADD_FILL, id, NULL))
        return;
    __atomic_fetch_add(&row->fills, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&row->touched, true, __ATOMIC_RELAXED);
}

static void one_turn(struct live_thread *thread, enum live_face face)
{
    unsigned dice = (unsigned)os_random_below(&thread->random, 100);
    int64_t id = choose_row(thread);

    if (id == 0)
        return;
    if (dice < 40)
        read_row(thread, face, id);
    else if (dice < 52)
        read_other(thread, face, dice < 46 ? READ_PLAIN : dice < 50 ? READ_VIEW : READ_RANGE, id);
    else if (dice < 62)
        set_price(thread, face, id);
    else if (dice < 70)
        set_other(thread, face, SET_TIME, id);
    else if (dice < 74)
        set_other(thread, face, SET_QUANTITY, id);
    else if (dice < 77)
        set_other(thread, face, SET_ACCOUNT, id);
    else if (dice < 81)
        set_other(thread, face, SET_EXECUTION, id);
    else if (dice < 88)
        insert_row(thread, face);
    else if (dice < 92)
        delete_row(thread, face, id);
    else if (dice < 95)
        transaction(thread, face);
    else if (dice < 98)
        count_up(thread, face);
    else
        (void)set_number(thread, face, TOUCH_ACCOUNT, (int64_t)os_random_below(&thread->random, LIVE_ACCOUNTS) + 1,
                         NULL);
}

static void thread_main(void *argument)
{
    struct live_thread *thread = argument;
    struct live_load *load = thread->load;
    int64_t period_us = 1000000LL * load->thread_count / load->rate, next_us = now_us();

    while (!atomic_load(&load->stop)) {
        enum live_mode mode = (enum live_mode)atomic_load(&load->mode);
        int64_t late;

        atomic_store(&thread->seen, (int)mode);
        if (mode == LIVE_PAUSED) {
            pass(WAITING_US);
            next_us = now_us();
            continue;
        }
        one_turn(thread, mode == LIVE_ONLY_OLD   ? LIVE_OLD
                         : mode == LIVE_ONLY_NEW ? LIVE_NEW
                                                 : (enum live_face)os_random_below(&thread->random, LIVE_FACES));
        next_us += period_us;
        late = now_us() - next_us;
        if (late > 20 * period_us)
            next_us += late; /* what was not asked for in a long wait is not asked for later, in a burst */
        pass(-late);
    }
}

/* ---- watching ---- */

static void watcher_main(void *argument)
{
    struct live_load *load = argument;
    long long told_us = 0;

    while (!atomic_load(&load->stop)) {
        PGresult *result =
            PQexec(load->watch,
                   "SELECT (extract(epoch FROM clock_timestamp() - l.waitstart) * 1e6)::bigint, left(a.query, 80), "
                   "  (SELECT string_agg(b.application_name || ': ' || left(b.query, 160), ' | ') "
                   "   FROM pg_stat_activity b WHERE b.pid = ANY (pg_blocking_pids(a.pid))) "
                   "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                   "WHERE NOT l.granted AND a.application_name = 'live' AND l.waitstart IS NOT NULL "
                   "ORDER BY 1 DESC LIMIT 1");
        if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
            long long us = strtoll(PQgetvalue(result, 0, 0), NULL, 10);

            if (us > atomic_load(&load->lock_wait_us_max)) {
                atomic_store(&load->lock_wait_us_max, us);
                if (us > LONG_US && us > told_us + told_us / 2) {
                    told_us = us;
                    printf("# waits for a lock for %lld ms: %s, behind %s\n", us / 1000, PQgetvalue(result, 0, 1),
                           PQgetvalue(result, 0, 2));
                }
            }
        }
        PQclear(result);
        pass(WATCH_US);
    }
}

/* ---- life ---- */

struct live_load *live_load_start(struct live_model *model, enum live_case_id id, unsigned threads, unsigned rate,
                                  uint64_t seed)
{
    struct live_load *load = calloc(1, sizeof(*load));

    assert(load != NULL && threads > 0 && threads <= LIVE_THREADS_MAX && rate > 0);
    load->model = model;
    load->id = id;
    load->thread_count = threads;
    load->rate = rate;
    atomic_store(&load->mode, LIVE_PAUSED);
    write_face(load, LIVE_OLD);
    write_face(load, LIVE_NEW);
    for (unsigned i = 0; i < threads; i++) {
        struct live_thread *thread = &load->threads[i];

        thread->load = load;
        thread->number = i;
        os_random_seed(&thread->random, seed + i);
        thread->conn = live_connect(NULL, "live");
        os_thread_start(&thread->thread, "live", thread_main, thread);
    }
    load->watch = live_connect(NULL, "live-watch");
    os_thread_start(&load->watcher, "live-watch", watcher_main, load);
    return load;
}

void live_load_mode(struct live_load *load, enum live_mode mode)
{
    atomic_store(&load->mode, (int)mode);
    for (unsigned i = 0; i < load->thread_count; i++)
        while (atomic_load(&load->threads[i].seen) != (int)mode)
            pass(WAITING_US);
}

void live_load_stage(struct live_load *load, enum live_stage stage)
{
    atomic_store(&load->stage, (int)stage);
}

void live_load_exact(struct live_load *load, bool exact)
{
    atomic_store(&load->exact, exact);
}

static int64_t quantile_us(const struct live_load *load, enum live_stage stage, uint64_t count, unsigned of_1000)
{
    uint64_t wanted = (count * of_1000 + 999) / 1000, so_far = 0;

    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        for (unsigned i = 0; i < load->thread_count; i++)
            so_far += load->threads[i].histograms[stage].counts[bucket];
        if (so_far >= wanted)
            return bucket_us(bucket);
    }
    return 0;
}

void live_load_figures(const struct live_load *load, struct live_figures *ret)
{
    *ret = (struct live_figures){.lock_wait_us_max = atomic_load(&load->lock_wait_us_max)};
    for (unsigned i = 0; i < load->thread_count; i++) {
        const struct live_thread *thread = &load->threads[i];

        ret->failed += thread->failed;
        ret->wrong += thread->wrong;
        ret->prepared_again += thread->prepared_again;
        for (int stage = 0; stage < LIVE_STAGES; stage++) {
            ret->statements += thread->histograms[stage].count;
            ret->count[stage] += thread->histograms[stage].count;
            if (thread->histograms[stage].max_us > ret->max_us[stage])
                ret->max_us[stage] = thread->histograms[stage].max_us;
        }
    }
    for (int stage = 0; stage < LIVE_STAGES; stage++) {
        ret->p50_us[stage] = quantile_us(load, (enum live_stage)stage, ret->count[stage], 500);
        ret->p99_us[stage] = quantile_us(load, (enum live_stage)stage, ret->count[stage], 990);
    }
}

void live_load_stop(struct live_load *load)
{
    atomic_store(&load->stop, true);
    for (unsigned i = 0; i < load->thread_count; i++) {
        os_thread_join(&load->threads[i].thread);
        PQfinish(load->threads[i].conn);
    }
    os_thread_join(&load->watcher);
    PQfinish(load->watch);
    free(load);
}
