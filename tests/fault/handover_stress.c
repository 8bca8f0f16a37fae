/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over under attack.
 *
 *   for each seed:  items and triggers that write the truth ─▶ writers (stress_load.c) ─▶ the real engine backfills and
 *   captures them into a real store, some seeds with restarts in the middle ─▶ writers end ─▶ every version of every
 *   row has to be in the log exactly once and in order (stress_check.c), every note once; and all that again for a
 *   second mapping, which has a table of its own and one of the first's, and comes later in some seeds
 *
 * Beside it, on the same load, the naive order is tried: note the WAL position, then read the rows in a snapshot, then
 * apply every transaction that commits after the position.  It has to lose or double rows, else the attack is weak.
 *
 * Run beside a server with synchronous_standby_names, max_prepared_transactions and a small
 * logical_decoding_work_mem; SEEDS (default 10) and SEED (first, default 1) choose the runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "banyan/buf.h"
#include "legacy/legacy.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/random.h"
#include "pg/conn.h"
#include "pg/pgoutput.h"
#include "pg/replication.h"
#include "store/store.h"
#include "stress.h"
#include "stress_domain.h"

enum {
    NAIVE_TRIES = 4,
    CAPTURES = 3,
    SECOND_US = 1000000,
    WAIT_US = 120 * SECOND_US,
};

struct naive_try {
    uint64_t lsn; /* noted before the snapshot */
    struct seen_list seen;
};

struct run {
    const char *conninfo;
    char folder[256];
    uint64_t seed;
    struct os_random random;
    struct store *store;
    struct legacy *legacy;
    struct os_stop stop;
    struct pg_conn *conn;     /* ordinary */
    struct pg_conn *naive;    /* walsender of the naive slot */
    struct pg_stream *stream; /* over it */
    uint64_t naive_start;
    struct naive_try tries[NAIVE_TRIES];
    unsigned restarts;
    bool late;                   /* the second mapping comes with the first restart */
    struct legacy_status status; /* at the end */
    uint64_t reconciled;
};

static void die(const char *what, const struct banyan_error *err)
{
    printf("not ok - %s: %s %s %s\n", what, err->message, err->detail, err->hint);
    exit(1);
}

static void must(enum banyan_status st, const char *what, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        die(what, err);
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* ---- the engine ---- */

static void engine_start(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(os_stop_open(&run->stop, &err), "stop token", &err);
    must(store_open(&(struct store_options){.folder = run->folder}, &run->store, &err), "store", &err);
    struct legacy_options options = {
        .domain = run->late && run->restarts == 0 ? &stress_early_domain : &stress_domain,
        .name = "stress",
        .conninfo = run->conninfo,
        .slot = "stress",
        .publication = "stress",
        .spool_folder = run->folder,
        .chunk_rows = 15 + run->seed % 5 * 15,
        .workers = 1 + (unsigned)(run->seed % 2),
        .heartbeat_us = SECOND_US / 2,
        .lock_timeout_us = 20 * (int64_t)SECOND_US,
        .spool_memory_bytes = 32 * 1024,
        .store = run->store,
        .stop = &run->stop,
    };
    must(legacy_start(&options, &run->legacy, &err), "engine start", &err);
}

static void engine_stop(struct run *run)
{
    os_stop_request(&run->stop);
    legacy_stop(run->legacy);
    store_close(run->store);
    os_stop_close(&run->stop);
    run->legacy = NULL;
    run->store = NULL;
}

static void engine_wait_backfilled(struct run *run)
{
    int64_t until = now_us() + WAIT_US;
    struct legacy_status status;
    unsigned restarts = run->seed % 3 == 0 ? 1 + (unsigned)(run->seed % 2) : 0;
    if (run->late && restarts == 0)
        restarts = 1;
    for (;;) {
        legacy_status(run->legacy, &status);
        if (status.state == LEGACY_FAILED)
            die("engine", &status.error);
        bool again = run->late && run->restarts == 0 && status.backfill_done;
        if (status.backfill_done && !again)
            return;
        if (again || (restarts > 0 && status.chunks_done > 2 + run->seed % 5)) {
            restarts--;
            run->restarts++;
            engine_stop(run);
            engine_start(run);
        }
        if (now_us() > until)
            die("backfill did not end", &status.error);
        (void)os_stop_wait(&run->stop, 5000); /* nobody stops it here */
    }
}

/* All that was committed is in the log. */
static void engine_drain(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    uint64_t lsn = 0;
    must(
        pg_exec(run->conn, "SELECT pg_logical_emit_message(true, 'banyan.fence', 'end')::text", NULL, 0, &result, &err),
        "fence", &err);
    if (!pg_lsn_parse(pg_text(result, 0, 0), &lsn))
        die("fence position", &err);
    pg_result_free(result);
    must(legacy_wait(run->legacy, lsn, WAIT_US, &err), "drain", &err);
    legacy_status(run->legacy, &run->status);
}

/* What each capture of the items says: that of the first mapping, of the second, and of the second's child. */
static void read_log(struct run *run, struct seen_list lists[CAPTURES])
{
    static const struct {
        const char *type;
        enum seen_kind kind;
        unsigned list;
        int sign; /* of the key */
    } kinds[] = {
        {"ItemBase", SEEN_BASE, 0, 1},   {"ItemSet", SEEN_SET, 0, 1},   {"ItemGone", SEEN_GONE, 0, 1},
        {"OtherBase", SEEN_BASE, 1, -1}, {"OtherSet", SEEN_SET, 1, -1}, {"OtherGone", SEEN_GONE, 1, -1},
        {"CopyBase", SEEN_BASE, 2, 1},   {"CopySet", SEEN_SET, 2, 1},   {"CopyGone", SEEN_GONE, 2, 1},
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_reader *reader = store_reader_open(run->store);
    struct store_read_event event;
    must(store_wait(run->store, store_tail(run->store), WAIT_US, &err), "flush", &err);
    must(store_reader_seek(reader, (struct banyan_position){1}, &err), "seek", &err);
    enum banyan_status st;
    while ((st = store_reader_next(reader, &event, &err)) == BANYAN_OK) {
        struct stress_payload payload;
        if (event.event.stream.size > 0 && event.event.stream.data[0] == '$')
            continue;
        if (banyan_str_equal(event.event.type, BANYAN_STR("Reconciled")))
            run->reconciled++;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
            if (!banyan_str_equal(event.event.type, banyan_str_of(kinds[i].type)))
                continue;
            must(banyan_record_decode(stress_domain.events[0].record, event.event.payload, &payload, &err), "payload",
                 &err);
            const char *key = memchr(event.event.stream.data, '-', event.event.stream.size);
            seen_add(&lists[kinds[i].list], (struct seen){kinds[i].sign * strtoll(key + 1, NULL, 10),
                                                          event.position.value, kinds[i].kind, payload.v});
        }
    }
    if (st != BANYAN_NOT_FOUND)
        die("reading the log", &err);
    store_reader_close(reader);
}

/* Notes: base + added - gone is 1 for those that exist, 0 for the others. */
static uint64_t check_notes(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf sql = BANYAN_BUF_INIT((size_t)1 << 30);
    struct store_reader *reader = store_reader_open(run->store);
    struct store_read_event event;
    struct pg_result *result = NULL;
    must(pg_run(run->conn, "CREATE TEMP TABLE seen_notes (id bigint, n int)", &err), "temp table", &err);
    banyan_buf_add_text(&sql, "INSERT INTO seen_notes VALUES (0, 0)");
    must(store_reader_seek(reader, (struct banyan_position){1}, &err), "seek", &err);
    while (store_reader_next(reader, &event, &err) == BANYAN_OK) {
        struct stress_payload payload;
        if (event.event.type.size < 4 || memcmp(event.event.type.data, "Note", 4) != 0)
            continue;
        must(banyan_record_decode(stress_domain.events[0].record, event.event.payload, &payload, &err), "payload",
             &err);
        bool gone = banyan_str_equal(event.event.type, BANYAN_STR("NoteGone"));
        banyan_buf_printf(&sql, ",(%" PRId64 ",%d)", payload.v, gone ? -1 : 1);
    }
    store_reader_close(reader);
    must(pg_run(run->conn, sql.data, &err), "seen notes", &err);
    must(pg_exec(run->conn,
                 "SELECT count(*) FROM (SELECT id, sum(n) AS n FROM seen_notes WHERE id > 0 GROUP BY id) s FULL JOIN "
                 "notes USING (id) WHERE coalesce(s.n, 0) <> (notes.id IS NOT NULL)::int",
                 NULL, 0, &result, &err),
         "compare notes", &err);
    uint64_t wrong = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    must(pg_run(run->conn, "DROP TABLE seen_notes", &err), "drop", &err);
    banyan_buf_release(&sql);
    return wrong;
}

/* ---- the naive order ---- */

static void naive_start(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_slot_created created;
    must(pg_connect(&(struct pg_options){.conninfo = run->conninfo, .application_name = "naive", .replication = true},
                    &run->naive, &err),
         "naive connection", &err);
    must(pg_slot_create(run->naive, BANYAN_STR("naive"), 20 * (int64_t)SECOND_US, &arena, &created, &err), "naive slot",
         &err);
    run->naive_start = created.consistent_lsn;
    banyan_arena_release(&arena);
}

/* Position first, snapshot second. */
static void naive_read(struct run *run, struct naive_try *try)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    must(pg_exec(run->conn, "SELECT pg_current_wal_lsn()::text", NULL, 0, &result, &err), "naive position", &err);
    if (!pg_lsn_parse(pg_text(result, 0, 0), &try->lsn))
        die("naive position", &err);
    pg_result_free(result);
    result = NULL;
    must(pg_run(run->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &err), "naive snapshot", &err);
    must(pg_exec(run->conn, "SELECT id, v FROM items", NULL, 0, &result, &err), "naive rows", &err);
    for (size_t i = 0; i < pg_rows(result); i++)
        seen_add(&try->seen, (struct seen){pg_int(result, i, 0), 0, SEEN_BASE, pg_int(result, i, 1)});
    pg_result_free(result);
    must(pg_run(run->conn, "COMMIT", &err), "naive commit", &err);
}

static int64_t cell_int(const struct pgoutput_tuple *tuple, size_t column)
{
    char text[32] = {0};
    struct banyan_str data = tuple->cells[column].data;
    memcpy(text, data.data, data.size < sizeof(text) ? data.size : sizeof(text) - 1);
    return strtoll(text, NULL, 10);
}

static void naive_change(struct run *run, const struct pgoutput_message *message, uint64_t commit_lsn, uint64_t order)
{
    if (message->relation == NULL || !banyan_str_equal(message->relation->name, BANYAN_STR("items")))
        return;
    for (size_t i = 0; i < NAIVE_TRIES; i++) {
        struct seen_list *seen = &run->tries[i].seen;
        if (commit_lsn < run->tries[i].lsn)
            continue;
        if (message->old.cell_count > 0)
            seen_add(seen, (struct seen){cell_int(&message->old, 0), order, SEEN_GONE, 0});
        if (message->new.cell_count > 0)
            seen_add(seen, (struct seen){cell_int(&message->new, 0), order + 1, SEEN_SET, cell_int(&message->new, 1)});
    }
}

/* Read the whole stream of the naive slot, up to the fence. */
static void naive_stream(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pgoutput *decoder = pgoutput_new(1);
    struct pg_stream_options options = {.slot = BANYAN_STR("naive"),
                                        .publication = BANYAN_STR("stress"),
                                        .start_lsn = run->naive_start,
                                        .protocol = 1,
                                        .messages = true};
    uint64_t commit_lsn = 0, order = 1;
    bool ended = false;
    must(pg_stream_open(run->naive, &options, &run->stream, &err), "naive stream", &err);
    for (int64_t until = now_us() + WAIT_US; !ended && now_us() < until;) {
        struct pg_stream_message data;
        struct pgoutput_message message;
        must(pg_stream_next(run->stream, SECOND_US, &data, &err), "naive stream", &err);
        if (data.kind != PG_STREAM_DATA)
            continue;
        must(pgoutput_decode(decoder, data.data, &message, &err), "naive message", &err);
        if (message.kind == PGOUTPUT_BEGIN)
            commit_lsn = message.lsn;
        else if (message.kind == PGOUTPUT_MESSAGE)
            ended = banyan_str_equal(message.content, BANYAN_STR("end"));
        else if (message.kind == PGOUTPUT_INSERT || message.kind == PGOUTPUT_UPDATE || message.kind == PGOUTPUT_DELETE)
            naive_change(run, &message, commit_lsn, order += 2);
    }
    if (!ended)
        die("the naive stream did not end", &err);
    pg_stream_close(run->stream);
    pg_close(run->naive);
    pgoutput_free(decoder);
    run->naive = NULL;
}

/* ---- one run ---- */

static void drop_slots(struct run *run)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(pg_run(run->conn,
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL;"
                "DO $$ BEGIN WHILE EXISTS (SELECT 1 FROM pg_replication_slots WHERE active) LOOP"
                "  PERFORM pg_sleep(0.01); END LOOP; END $$;"
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots",
                &err),
         "drop slots", &err);
}

static void remove_folder(const char *folder)
{
    char command[400];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder); /* fits: the folder has at most 256 bytes */
    FILE *pipe = popen(command, "r");
    if (pipe != NULL)
        (void)pclose(pipe); /* a folder that stays is no failure of the test */
}

static struct verdict check_log(struct run *run, struct seen_list lists[CAPTURES])
{
    struct verdict all = {.keys = 0};
    read_log(run, lists);
    for (size_t i = 0; i < CAPTURES; i++) {
        struct verdict one = check_items(run->conninfo, &lists[i], true);
        all.versions += one.versions;
        all.lost += one.lost;
        all.doubled += one.doubled;
        all.disordered += one.disordered;
    }
    all.lost += check_notes(run);
    return all;
}

static struct verdict run_seed(const char *conninfo, uint64_t seed, struct verdict *ret_naive)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct run run = {.conninfo = conninfo, .seed = seed, .late = seed % 2 == 0};
    struct seen_list lists[CAPTURES] = {{NULL, 0, 0}};
    int64_t count = 15000 + (int64_t)(seed % 4) * 5000;
    (void)snprintf(run.folder, sizeof(run.folder), "/tmp/banyan-stress-%d-%" PRIu64, (int)getpid(), seed); /* fits */
    os_random_seed(&run.random, seed);
    must(pg_connect(&(struct pg_options){.conninfo = conninfo, .application_name = "stress"}, &run.conn, &err),
         "connect", &err);
    must(pg_run(run.conn, "SET synchronous_commit = local", &err), "set", &err);
    load_prepare(conninfo, count);
    naive_start(&run);
    struct load *load = load_start(&(struct load_options){.conninfo = conninfo,
                                                          .writers = 8 + (unsigned)(seed % 3) * 4,
                                                          .seed = seed,
                                                          .items = count,
                                                          .hung_every = 4 + (unsigned)(seed % 4) * 4,
                                                          .pause_us = seed % 4 == 0 ? 0 : 30000,
                                                          .hung_ms_max = seed % 3 == 0 ? 600 : 150});
    (void)os_stop_wait(&(struct os_stop){.event_fd = -1}, 200000); /* let the load get going */
    engine_start(&run);
    for (size_t i = 0; i < NAIVE_TRIES; i++)
        naive_read(&run, &run.tries[i]);
    engine_wait_backfilled(&run);
    (void)os_stop_wait(&run.stop, 300000); /* and some time of capture alone */
    struct load_counts counts = load_stop(load);
    engine_drain(&run);
    struct verdict verdict = check_log(&run, lists);
    naive_stream(&run);
    for (size_t i = 0; i < NAIVE_TRIES; i++) {
        struct verdict naive = check_items(conninfo, &run.tries[i].seen, false);
        ret_naive->lost += naive.lost;
        ret_naive->doubled += naive.doubled;
        seen_release(&run.tries[i].seen);
    }
    bool good = verdict.lost + verdict.doubled + verdict.disordered + run.reconciled == 0;
    printf(
        "%s seed %" PRIu64 ": %" PRIu64 " tx (%" PRIu64 " hung, %" PRIu64 " two-phase, %" PRIu64 " savepoints, %" PRIu64
        " COPY, %" PRIu64 " moves, %" PRIu64 " failed), %" PRIu64 " versions, %" PRIu64 " chunks, %u restarts, "
        "held %" PRIu64 ", streamed %" PRIu64 ": lost %" PRIu64 ", doubled %" PRIu64 ", disordered %" PRIu64
        ", reconciled %" PRIu64 "\n",
        good ? "#" : "# BAD", seed, counts.transactions, counts.hung, counts.prepared, counts.savepoints, counts.copies,
        counts.moves, counts.failed, verdict.versions, run.status.chunks_done, run.restarts, run.status.changes_held,
        run.status.transactions_streamed, verdict.lost, verdict.doubled, verdict.disordered, run.reconciled);
    fflush(stdout);
    verdict.disordered += run.reconciled;
    engine_stop(&run);
    drop_slots(&run);
    pg_close(run.conn);
    for (size_t i = 0; i < CAPTURES; i++)
        seen_release(&lists[i]);
    remove_folder(run.folder);
    return verdict;
}

int main(void)
{
    const char *conninfo = getenv("BANYAN_TEST_CONNINFO");
    const char *seeds_text = getenv("SEEDS"), *first_text = getenv("SEED");
    uint64_t seeds = seeds_text == NULL ? 10 : strtoull(seeds_text, NULL, 10);
    uint64_t first = first_text == NULL ? 1 : strtoull(first_text, NULL, 10);
    struct verdict all = {.keys = 0}, naive = {.keys = 0};
    if (conninfo == NULL) {
        printf("1..0 # SKIP run it below tools/with-postgres\n");
        return 0;
    }
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct verdict one = run_seed(conninfo, seed, &naive);
        all.versions += one.versions;
        all.lost += one.lost;
        all.doubled += one.doubled;
        all.disordered += one.disordered;
    }
    printf("# %" PRIu64 " runs, %" PRIu64 " versions; the naive order: lost %" PRIu64 ", doubled %" PRIu64 "\n", seeds,
           all.versions, naive.lost, naive.doubled);
    printf("%s 1 - hand-over: nothing is lost (%" PRIu64 ")\n", all.lost == 0 ? "ok" : "not ok", all.lost);
    printf("%s 2 - hand-over: nothing is doubled (%" PRIu64 ")\n", all.doubled == 0 ? "ok" : "not ok", all.doubled);
    printf("%s 3 - hand-over: nothing out of order (%" PRIu64 ")\n", all.disordered == 0 ? "ok" : "not ok",
           all.disordered);
    printf("%s 4 - the naive order loses rows under the same load (%" PRIu64 ")\n", naive.lost > 0 ? "ok" : "not ok",
           naive.lost);
    printf("1..4\n");
    return all.lost + all.doubled + all.disordered == 0 && naive.lost > 0 ? 0 : 1;
}
