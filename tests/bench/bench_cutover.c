/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write pause of a cutover and of a rollback under 1,000 writes/s, against "lock, fence, seen, commit" with nothing
 * behind it: the tables locked, a message in the WAL seen by a bare decoder, commit; no log, no read model, no
 * comparison, no fence, no journal, no change of the owner.  Same server, same writers, taken in turn with the
 * cutovers.
 *
 * Writers go through a door that does what the gateway does; the pause is from the moment it begins to hold until it
 * lets go.  What writers saw is told on stderr.
 *
 *   BENCH_ROUNDS (default 60)  cutovers, rollbacks and references, each
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/thread.h"
#include "pg/conn.h"
#include "pg/pgoutput.h"
#include "pg/replication.h"
#include "support/cutover_rig.h"
#include "support/test_domain.h"

enum {
    WRITERS = 10,
    ORDERS = 500,
    RATE = 1000,
    ROUNDS_DEFAULT = 60,
    ROUNDS_MAX = 1000,
    BETWEEN_US = 200000,
};

static void must(bool ok, const char *what, const struct banyan_error *err)
{
    if (!ok) {
        (void)fprintf(stderr, "%s: %s (%s) %s\n", what, err->message, err->detail, err->hint);
        abort();
    }
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static void sleep_until(int64_t us)
{
    int64_t left = us - now_us();

    if (left > 0)
        os_clock_real()->sleep_us(os_clock_real(), left);
}

static struct pg_conn *connect_to(const char *conninfo)
{
    struct pg_options options = {.conninfo = conninfo, .application_name = "oms"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    must(pg_connect(&options, &conn, &err) == BANYAN_OK, "connect", &err);
    return conn;
}

/* ---- writers ---- */

struct load {
    struct cutover_rig *rig;
    struct os_thread threads[WRITERS];
    int stop; /* atomic */
    uint64_t written, failed;
    int64_t took_us_max; /* atomic: longest write since it was last read */
};

struct writer {
    struct load *load;
    unsigned number;
};

static void write_main(void *argument)
{
    struct writer *writer = argument;
    struct load *load = writer->load;
    struct pg_conn *conn = connect_to(load->rig->conninfo);
    int64_t due_us = now_us(), numbers[ORDERS] = {0}, waited_us;
    unsigned at = writer->number;

    while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        int64_t began_us, took_us;
        enum rig_wrote wrote;

        sleep_until(due_us);
        began_us = now_us();
        wrote = rig_door_write(load->rig, conn, at + 1, numbers[at] + 2, &waited_us, &err);
        took_us = now_us() - began_us;
        __atomic_add_fetch(wrote == RIG_WROTE ? &load->written : &load->failed, 1, __ATOMIC_RELAXED);
        if (wrote != RIG_WROTE)
            (void)fprintf(stderr, "a write failed: %s\n", err.message);
        else
            numbers[at]++;
        if (took_us > __atomic_load_n(&load->took_us_max, __ATOMIC_RELAXED))
            __atomic_store_n(&load->took_us_max, took_us, __ATOMIC_RELAXED);
        at = (at + WRITERS) % ORDERS;
        due_us += INT64_C(1000000) * WRITERS / RATE;
        if (due_us < now_us() - 100000)
            due_us = now_us(); /* it does not make good what a pause took from it */
    }
    pg_close(conn);
    free(writer);
}

static void load_start(struct load *load, struct cutover_rig *rig)
{
    *load = (struct load){.rig = rig};
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = malloc(sizeof(*writer));

        must(writer != NULL, "memory", &(struct banyan_error)BANYAN_ERROR_INIT);
        *writer = (struct writer){load, i};
        os_thread_start(&load->threads[i], "writer", write_main, writer);
    }
}

static void load_stop(struct load *load)
{
    __atomic_store_n(&load->stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WRITERS; i++)
        os_thread_join(&load->threads[i]);
}

/* ---- reference ---- */

/* A decoder that only looks for messages. */
struct decoder {
    const char *conninfo;
    struct os_thread thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t seen; /* position of the last message */
    int stop;      /* atomic */
};

static void decode_main(void *argument)
{
    struct decoder *decoder = argument;
    struct pg_options options = {.conninfo = decoder->conninfo, .application_name = "reference", .replication = true};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    struct pg_stream *stream = NULL;
    struct pgoutput *output = pgoutput_new(1);

    must(pg_connect(&options, &conn, &err) == BANYAN_OK, "connect", &err);
    must(pg_stream_open(conn,
                        &(struct pg_stream_options){.slot = BANYAN_STR("reference"),
                                                    .publication = BANYAN_STR("banyan oms"),
                                                    .protocol = 1,
                                                    .messages = true},
                        &stream, &err) == BANYAN_OK,
         "stream", &err);
    while (!__atomic_load_n(&decoder->stop, __ATOMIC_RELAXED)) {
        struct pg_stream_message message;
        struct pgoutput_message change;

        must(pg_stream_next(stream, 100000, &message, &err) == BANYAN_OK, "next", &err);
        if (message.kind != PG_STREAM_DATA)
            continue;
        must(pgoutput_decode(output, message.data, &change, &err) == BANYAN_OK, "decode", &err);
        pg_stream_confirm(stream, message.start_lsn);
        if (change.kind != PGOUTPUT_MESSAGE)
            continue;
        pthread_mutex_lock(&decoder->lock);
        decoder->seen = change.lsn;
        pthread_cond_broadcast(&decoder->changed);
        pthread_mutex_unlock(&decoder->lock);
    }
    pgoutput_free(output);
    pg_stream_close(stream);
    pg_close(conn);
}

static int64_t reference(struct decoder *decoder, struct pg_conn *locker, struct pg_conn *fences)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    int64_t began_us = now_us();
    uint64_t lsn = 0;

    must(pg_run(locker, "BEGIN; LOCK TABLE orders, audit_log, trades IN SHARE ROW EXCLUSIVE MODE", &err) == BANYAN_OK,
         "lock", &err);
    must(pg_exec(fences, "SELECT pg_catalog.pg_logical_emit_message(true, 'reference', '')", NULL, 0, &result, &err) ==
             BANYAN_OK,
         "fence", &err);
    must(pg_lsn_parse(pg_text(result, 0, 0), &lsn), "position", &err);
    pg_result_free(result);
    pthread_mutex_lock(&decoder->lock);
    while (decoder->seen < lsn)
        (void)os_cond_wait(&decoder->changed, &decoder->lock, 100000); /* looked at again */
    pthread_mutex_unlock(&decoder->lock);
    must(pg_run(locker, "COMMIT", &err) == BANYAN_OK, "commit", &err);
    return now_us() - began_us;
}

/* ---- figures ---- */

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double ms(const int64_t *times, unsigned count, unsigned percent)
{
    unsigned at = count * percent / 100;

    return (double)times[at < count ? at : count - 1] / 1000;
}

static void line(const char *name, double value, double base, double bar)
{
    printf("{\"name\":\"%s\",\"value\":%.1f,\"unit\":\"ms\",\"reference\":%.1f,\"ratio\":%.2f,\"bar\":%.0f,"
           "\"ok\":%s}\n",
           name, value, base, value / base, bar, value <= bar ? "true" : "false");
}

struct figures {
    int64_t over[ROUNDS_MAX], back[ROUNDS_MAX], base[ROUNDS_MAX], locked[ROUNDS_MAX], seen[ROUNDS_MAX];
    int64_t step_us[2][CUTOVER_STEPS];
    unsigned tries;
    uint64_t keys_inside;
};

static void move(struct cutover_rig *rig, struct load *load, enum cutover_direction direction, unsigned round,
                 struct figures *figures)
{
    struct cutover_options options = {.direction = direction, .pause_us_max = 1000000};
    struct cutover_report report;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st;

    do {
        banyan_error_clear(&err);
        st = cutover_rig_move(rig, &options, false, &report, &err);
        if (st != BANYAN_OK)
            (void)fprintf(stderr, "# %s: %s (%s)\n", banyan_status_name(st), err.message, err.detail);
    } while (st == BANYAN_BUSY || st == BANYAN_TIMEOUT);
    must(st == BANYAN_OK, "move", &err);
    for (unsigned i = 0; i < CUTOVER_STEPS; i++)
        figures->step_us[direction == CUTOVER_BACK][i] += report.step_us[i];
    figures->tries += report.lock_tries - 1;
    if (direction == CUTOVER_BACK) {
        figures->back[round] = report.pause_us;
        return;
    }
    figures->over[round] = report.pause_us;
    figures->locked[round] = report.locked_us;
    figures->keys_inside += rig->verified.keys_inside;
    os_clock_real()->sleep_us(os_clock_real(), 20000); /* held writes are through */
    figures->seen[round] = __atomic_exchange_n(&load->took_us_max, 0, __ATOMIC_RELAXED);
}

static void tell_steps(const char *name, const int64_t *step_us, unsigned rounds)
{
    (void)fprintf(stderr, "# %s, mean of each step, ms:", name);
    for (unsigned i = CUTOVER_HOLD; i < CUTOVER_STEPS; i++)
        if (step_us[i] > 0)
            (void)fprintf(stderr, " %s %.2f", cutover_step_name(i), (double)step_us[i] / rounds / 1000);
    (void)fputc('\n', stderr);
}

static void tell(struct figures *figures, const struct load *load, unsigned rounds, int64_t took_us)
{
    int64_t *all[] = {figures->over, figures->back, figures->base, figures->locked, figures->seen};

    for (unsigned i = 0; i < 5; i++)
        qsort(all[i], rounds, sizeof(*all[i]), compare_times);
    (void)fprintf(stderr,
                  "# %" PRIu64 " writes (%.0f/s), %" PRIu64
                  " failed; locked p50 %.1f p99 %.1f ms; longest write around a "
                  "cutover p50 %.1f p99 %.1f ms; %u tries more than one each; %.1f keys compared inside\n",
                  load->written, (double)load->written * 1e6 / (double)took_us, load->failed,
                  ms(figures->locked, rounds, 50), ms(figures->locked, rounds, 99), ms(figures->seen, rounds, 50),
                  ms(figures->seen, rounds, 99), figures->tries, (double)figures->keys_inside / rounds);
    tell_steps("over", figures->step_us[0], rounds);
    tell_steps("back", figures->step_us[1], rounds);
    line("cutover write pause, p50", ms(figures->over, rounds, 50), ms(figures->base, rounds, 50), 20);
    line("cutover write pause, p99", ms(figures->over, rounds, 99), ms(figures->base, rounds, 99), 150);
    line("rollback write pause, p50", ms(figures->back, rounds, 50), ms(figures->base, rounds, 50), 20);
    line("rollback write pause, p99", ms(figures->back, rounds, 99), ms(figures->base, rounds, 99), 150);
}

int main(void)
{
    const char *conninfo = getenv("BANYAN_TEST_CONNINFO"), *wanted = getenv("BENCH_ROUNDS");
    unsigned rounds = wanted == NULL ? ROUNDS_DEFAULT : (unsigned)atoi(wanted);
    char *folder = test_folder_new();
    struct decoder decoder = {.conninfo = conninfo};
    struct figures *figures = calloc(1, sizeof(*figures));
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *locker, *fences;
    struct cutover_rig rig;
    struct load load;
    int64_t began_us;

    must(conninfo != NULL && figures != NULL && rounds > 0 && rounds <= ROUNDS_MAX, "run this by tools/bench", &err);
    locker = connect_to(conninfo);
    fences = connect_to(conninfo);
    cutover_rig_tables(locker, ORDERS);
    must(cutover_rig_open(&rig, conninfo, folder, &err) == BANYAN_OK, "open", &err);
    must(cutover_rig_start(&rig, &err) == BANYAN_OK, "start", &err);
    must(pg_run(locker, "SELECT pg_create_logical_replication_slot('reference', 'pgoutput')", &err) == BANYAN_OK,
         "slot", &err);
    pthread_mutex_init(&decoder.lock, NULL);
    os_cond_init(&decoder.changed);
    os_thread_start(&decoder.thread, "decoder", decode_main, &decoder);
    load_start(&load, &rig);
    began_us = now_us();
    os_clock_real()->sleep_us(os_clock_real(), 1000000);
    for (unsigned i = 0; i < rounds; i++) {
        figures->base[i] = reference(&decoder, locker, fences);
        os_clock_real()->sleep_us(os_clock_real(), BETWEEN_US);
        (void)__atomic_exchange_n(&load.took_us_max, 0, __ATOMIC_RELAXED);
        move(&rig, &load, CUTOVER_OVER, i, figures);
        os_clock_real()->sleep_us(os_clock_real(), BETWEEN_US);
        move(&rig, &load, CUTOVER_BACK, i, figures);
        os_clock_real()->sleep_us(os_clock_real(), BETWEEN_US);
    }
    load_stop(&load);
    tell(figures, &load, rounds, now_us() - began_us);
    must(cutover_rig_equal(&rig, &err) == BANYAN_OK, "both sides are the same", &err);
    __atomic_store_n(&decoder.stop, 1, __ATOMIC_RELAXED);
    os_thread_join(&decoder.thread);
    cutover_rig_close(&rig);
    pg_close(locker);
    pg_close(fences);
    test_folder_remove(folder);
    free(figures);
    return load.failed == 0 ? 0 : 1;
}
