/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild_kill [RUNS [VIEW]]   a process rebuilds its read models over and over while 1,000 events/s arrive and readers
 *                              read, and is killed: at the n-th call of the store of the read model, or at a random
 *                              time.  Its next life goes on.
 *
 * What a reader may see at any instant is what a plain fold up to the checkpoint that it was told gives, of all tables
 * together, with the same keys aside; the checkpoint never goes back; nothing fails, once something has served.  In the
 * end all events are in, one generation serves and none is half made.
 *
 * The last view is built with its newest keys first, over and over from nothing: while only they are ready, they are
 * what a plain fold gives of them, and what touches others is refused.
 *
 * The rows are in SQLite files; in PostgreSQL when run under tools/with-postgres.
 *
 * The seed of a run says where it dies.  BANYAN_TEST_SEED repeats them.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/thread.h"
#include "projection/engine.h"
#include "sink/sinks.h"
#include "support/tally.h"
#include "support/test_domain.h"

enum {
    FIRST_EVENTS = 60000, /* more than what is followed without a rebuild */
    KEYS = 3000,
    RUN_US_MAX = 20 * 1000 * 1000,
    TICK_US = 10 * 1000,
    TICK_EVENTS = 10,
    VIEW_RECENT = TALLY_VIEWS, /* orders, newest keys first */
    VIEWS,
};

/* What survives a life: in a file that both map. */
struct shared {
    int64_t seen;   /* atomic: newest checkpoint that a reader was told */
    int phase;      /* atomic: of the rebuild */
    uint64_t calls; /* atomic: of the store, in this life */
    uint64_t checks;
    int call;         /* in which it died; 0: by time */
    uint32_t serving; /* atomic: generation, as far as is known */
    uint64_t partial; /* atomic: looks at the newest keys only */
    bool whole;       /* atomic: all keys were seen to serve */
};

/* Calls at which it may die. */
enum call {
    CALL_NONE = 0,
    CALL_MAKE,
    CALL_CLAIM,
    CALL_LOAD_OPEN,
    CALL_LOAD_ROWS,
    CALL_LOAD_CLOSE,
    CALL_INDEX_STEP,
    CALL_SEAL,
    CALL_FINISH,
    CALL_COUNT,
    CALL_FLUSH,
    CALL_SERVE,
    CALL_DROP,
    CALLS,
};
static const char *const call_names[CALLS] = {"by time",    "make",  "claim", "load_open", "load_rows",
                                              "load_close", "index", "seal",  "finish",    "count",
                                              "flush",      "serve", "drop"};

static struct shared *shared;
static uint64_t die_at;
static bool die_after;
static const struct sink_ops *real_sink;
static const struct sink_home_ops *real_home;
static struct sink_ops counted_sink;
static struct sink_home_ops counted_home;

static void fail(const char *what, const char *more)
{
    (void)printf("# FAILED: %s %s\n", what, more);
    (void)fflush(stdout);
    _exit(3);
}

static void must(enum banyan_status st, const char *what, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        fail(what, err->message);
}

/* ---- the store of the read model, which dies with the process at a call ---- */

static bool counted_call(enum call call)
{
    bool dies = __atomic_add_fetch(&shared->calls, 1, __ATOMIC_RELAXED) == die_at;
    if (dies)
        shared->call = (int)call;
    if (dies && !die_after)
        (void)kill(getpid(), SIGKILL); /* does not return */
    return dies;
}

static enum banyan_status called(bool dies, enum banyan_status st)
{
    if (dies)                          /* after it was done */
        (void)kill(getpid(), SIGKILL); /* does not return */
    return st;
}

static enum banyan_status counted_claim(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err)
{
    return called(counted_call(CALL_CLAIM), real_sink->claim(sink, ret, err));
}

static enum banyan_status counted_flush(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    /* Those of the generation that serves are many, and another test's. */
    bool dies = sink->generation != __atomic_load_n(&shared->serving, __ATOMIC_RELAXED) && counted_call(CALL_FLUSH);
    return called(dies, real_sink->flush(sink, flush, err));
}

static enum banyan_status counted_finish(struct sink *sink, struct banyan_error *err)
{
    bool dies = counted_call(CALL_FINISH);
    return called(dies, real_sink->finish(sink, err));
}

static enum banyan_status counted_load_open(struct sink *sink, unsigned table, struct sink_load **ret,
                                            struct banyan_error *err)
{
    bool dies = counted_call(CALL_LOAD_OPEN);
    return called(dies, real_sink->load_open(sink, table, ret, err));
}

static enum banyan_status counted_load_rows(struct sink_load *load, const struct sink_row *rows, size_t count,
                                            struct banyan_error *err)
{
    bool dies = counted_call(CALL_LOAD_ROWS);
    return called(dies, real_sink->load_rows(load, rows, count, err));
}

static enum banyan_status counted_load_close(struct sink_load *load, bool commit, struct banyan_error *err)
{
    bool dies = counted_call(CALL_LOAD_CLOSE);
    return called(dies, real_sink->load_close(load, commit, err));
}

static enum banyan_status counted_index_step(struct sink *sink, unsigned table, unsigned step, struct banyan_error *err)
{
    bool dies = counted_call(CALL_INDEX_STEP);
    return called(dies, real_sink->index_step(sink, table, step, err));
}

static enum banyan_status counted_seal(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err)
{
    bool dies = counted_call(CALL_SEAL);
    return called(dies, real_sink->seal(sink, flush, err));
}

static enum banyan_status counted_count(struct sink *sink, unsigned table, uint64_t *ret, struct banyan_error *err)
{
    bool dies = counted_call(CALL_COUNT);
    return called(dies, real_sink->count(sink, table, ret, err));
}

static enum banyan_status counted_make(struct sink_home *home, struct sink_mark ready, uint32_t *ret,
                                       struct banyan_error *err)
{
    bool dies = counted_call(CALL_MAKE);
    return called(dies, real_home->make(home, ready, ret, err));
}

static enum banyan_status counted_open(struct sink_home *home, uint32_t number, struct sink **ret,
                                       struct banyan_error *err)
{
    enum banyan_status st = real_home->open(home, number, ret, err);
    if (st == BANYAN_OK)
        (*ret)->ops = &counted_sink;
    return st;
}

static enum banyan_status counted_serve(struct sink_home *home, uint32_t expected, uint32_t number,
                                        struct banyan_error *err)
{
    bool dies = counted_call(CALL_SERVE);
    enum banyan_status st = called(dies, real_home->serve(home, expected, number, err));
    if (st == BANYAN_OK)
        __atomic_store_n(&shared->serving, number, __ATOMIC_RELAXED);
    return st;
}

static enum banyan_status counted_drop(struct sink_home *home, uint32_t number, struct banyan_error *err)
{
    bool dies = counted_call(CALL_DROP);
    return called(dies, real_home->drop(home, number, err));
}

/* Learn the real functions from a generation of a home in memory of the same kind: all have one table of them. */
static void count_calls(struct sink_home *home, const struct sink_ops *ops)
{
    real_home = home->ops;
    real_sink = ops;
    counted_home = *real_home;
    counted_home.make = counted_make;
    counted_home.open = counted_open;
    counted_home.serve = counted_serve;
    counted_home.drop = counted_drop;
    counted_sink = *real_sink;
    counted_sink.claim = counted_claim;
    counted_sink.flush = counted_flush;
    counted_sink.finish = counted_finish;
    counted_sink.load_open = counted_load_open;
    counted_sink.load_rows = counted_load_rows;
    counted_sink.load_close = counted_load_close;
    if (real_sink->index_step != NULL)
        counted_sink.index_step = counted_index_step;
    counted_sink.seal = counted_seal;
    counted_sink.count = counted_count;
    home->ops = &counted_home;
}

/* In SQLite files, or in PostgreSQL where there is one: in a schema of its own. */
static enum banyan_status home_of(const struct banyan_projection *projection, const char *folder, const char *view,
                                  struct sink_home **ret, struct banyan_error *err)
{
    const char *conninfo = getenv("BANYAN_TEST_CONNINFO");
    char schema[64];
    (void)snprintf(schema, sizeof(schema), "%s_%s", view, projection->name);
    return conninfo == NULL ? sink_sqlite_home(projection, folder, view, ret, err)
                            : sink_postgres_home(projection, conninfo, schema, view, ret, err);
}

/* The table of functions of a store's generations: of one that is made and dropped again in another place. */
static const struct sink_ops *ops_of(const struct banyan_projection *projection, const char *folder)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    struct sink *sink = NULL;
    uint32_t number = 0;
    char name[32];
    (void)snprintf(name, sizeof(name), "probe%d", (int)getpid());
    must(home_of(projection, folder, name, &home, &err), "probe", &err);
    must(home->ops->make(home, (struct sink_mark){.partial = false}, &number, &err), "probe", &err);
    must(home->ops->open(home, number, &sink, &err), "probe", &err);
    const struct sink_ops *ops = sink->ops;
    sink_close(sink);
    must(home->ops->drop(home, number, &err), "probe", &err);
    sink_home_close(home);
    return ops;
}

/* ---- a life ---- */

struct life {
    const struct banyan_projection *projection;
    struct store *store;
    struct projections *projections;
    struct os_stop stop;
    const char *folder;
    unsigned number; /* tells its rows from those of other folders in one server */
    uint64_t seed;
};

static void append(void *argument)
{
    struct life *life = argument;
    struct os_random random;
    os_random_seed(&random, life->seed + 1);
    while (!os_stop_wait(&life->stop, TICK_US))
        tally_append(life->store, &random,
                     &(struct tally_append){.count = TICK_EVENTS, .keys = KEYS, .poison = 5, .batch = 5});
}

struct comparing {
    const struct tally_plain *plain;
    const struct banyan_record *record;
    unsigned table;
    size_t count;
};

struct copied {
    struct banyan_arena arena;
    struct sink_row *rows;
    size_t count, capacity;
    const struct banyan_record *record;
};

static enum banyan_status copy_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct copied *copied = context;
    (void)err; /* nothing fails */
    if (copied->count == copied->capacity) {
        copied->capacity = copied->capacity == 0 ? 4096 : copied->capacity * 2;
        copied->rows = realloc(copied->rows, copied->capacity * sizeof(*copied->rows));
    }
    void *copy = banyan_arena_alloc(&copied->arena, copied->record->size);
    banyan_record_copy(copied->record, copy, row, &copied->arena);
    copied->rows[copied->count++] = (struct sink_row){.key = key, .row = copy};
    return BANYAN_OK;
}

/* Rows that there should be, and keys aside. */
static size_t wanted_rows(const struct tally_plain *plain, unsigned table, struct sink_mark ready)
{
    size_t count = 0;
    for (int64_t key = ready.from; ready.partial && key <= KEYS; key++)
        count += tally_plain_row(plain, table, key) != NULL;
    return ready.partial ? count : tally_plain_count(plain, table);
}

static size_t wanted_asides(const struct tally_plain *plain, struct sink_mark ready)
{
    size_t all, count = 0;
    const struct sink_aside *asides = tally_plain_asides(plain, &all);
    for (size_t i = 0; i < all; i++)
        count += !ready.partial || asides[i].by_stream || asides[i].key >= ready.from;
    return count;
}

static void compare(const struct life *life, const struct copied *copied, const struct sink_checkpoint *at,
                    size_t aside_count)
{
    struct tally_plain *plain = tally_plain_new(life->store, life->projection, at->position);
    char text[160];
    size_t asides = wanted_asides(plain, at->ready);
    for (unsigned i = 0; i < life->projection->table_count; i++) {
        (void)snprintf(text, sizeof(text), "table %u at %" PRIu64 ", generation %u: %zu rows, %zu expected", i,
                       at->position.value, (unsigned)at->generation, copied[i].count, wanted_rows(plain, i, at->ready));
        if (copied[i].count != wanted_rows(plain, i, at->ready))
            fail("a mixture", text);
        for (size_t j = 0; j < copied[i].count; j++) {
            const void *want = tally_plain_row(plain, i, copied[i].rows[j].key);
            if (want == NULL || banyan_record_diff(life->projection->tables[i].row, want, copied[i].rows[j].row) != 0) {
                (void)snprintf(text, sizeof(text), "table %u row %" PRId64 " at %" PRIu64 ", generation %u", i,
                               copied[i].rows[j].key, at->position.value, (unsigned)at->generation);
                fail("a wrong row", text);
            }
        }
    }
    if (aside_count != asides)
        fail("keys aside", "");
    tally_plain_free(plain);
}

/* Ask for everything at one instant and hold it against the plain fold.  False: nothing serves yet. */
static bool look(const struct life *life, struct sink_view *view)
{
    struct copied copied[BANYAN_PROJECTION_TABLES_MAX] = {{.count = 0}};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_checkpoint checkpoint, at;
    struct sink_aside *asides = NULL;
    size_t aside_count = 0;
    int64_t before = __atomic_load_n(&shared->seen, __ATOMIC_SEQ_CST);
    enum banyan_status st = view->ops->begin(view, &checkpoint, &err);
    if (st == BANYAN_NOT_FOUND && before == 0)
        return false;
    must(st, "a question", &err);
    if ((int64_t)checkpoint.position.value < before)
        fail("the checkpoint went back", "");
    int64_t low = checkpoint.ready.partial ? checkpoint.ready.from : INT64_MIN;
    for (unsigned i = 0; i < life->projection->table_count; i++) {
        copied[i].record = life->projection->tables[i].row;
        must(view->ops->range(view, i, low, INT64_MAX, &at, copy_row, &copied[i], &err), "range", &err);
        if (at.position.value != checkpoint.position.value || at.generation != checkpoint.generation)
            fail("two instants in one question", "");
    }
    must(view->ops->asides(view, &arena, &asides, &aside_count, &err), "asides", &err);
    view->ops->end(view);
    int64_t now = (int64_t)checkpoint.position.value;
    for (int64_t seen = before; seen < now;)
        if (__atomic_compare_exchange_n(&shared->seen, &seen, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            break;
    compare(life, copied, &checkpoint, aside_count);
    for (unsigned i = 0; i < life->projection->table_count; i++) {
        free(copied[i].rows);
        banyan_arena_release(&copied[i].arena);
    }
    banyan_arena_release(&arena);
    (void)__atomic_add_fetch(&shared->checks, 1, __ATOMIC_RELAXED);
    if (checkpoint.ready.partial)
        (void)__atomic_add_fetch(&shared->partial, 1, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&shared->whole, true, __ATOMIC_RELAXED);
    return true;
}

static void read_views(void *argument)
{
    struct life *life = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_view *view = NULL;
    must(projections_view(life->projections, 0, &view, &err), "view", &err);
    do
        (void)look(life, view); /* nothing may serve yet */
    while (!os_stop_wait(&life->stop, 1000));
    sink_view_close(view);
}

/* One row after the other, as fast as it goes: no error, and no checkpoint that goes back. */
static enum banyan_status any_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    return BANYAN_OK;
}

static void read_rows(void *argument)
{
    struct life *life = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_view *view = NULL;
    struct sink_checkpoint at;
    uint64_t last = 0;
    int64_t key = 1;
    must(projections_view(life->projections, 0, &view, &err), "view", &err);
    while (!os_stop_wait(&life->stop, 500)) {
        int64_t before = __atomic_load_n(&shared->seen, __ATOMIC_SEQ_CST);
        enum banyan_status st = view->ops->get(view, 0, key, &at, any_row, NULL, &err);
        bool refused = st == BANYAN_BUSY && at.ready.partial && key < at.ready.from;
        key = key % KEYS + 1;
        if (refused || (st == BANYAN_NOT_FOUND && before == 0)) {
            banyan_error_clear(&err);
            continue;
        }
        must(st, "get", &err);
        if (at.position.value < last)
            fail("the checkpoint went back", "between two reads");
        last = at.position.value;
    }
    sink_view_close(view);
}

static struct sink_home *open_home(struct life *life, bool counted)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    const struct sink_ops *ops = counted ? ops_of(life->projection, life->folder) : NULL;
    char name[32];
    (void)snprintf(name, sizeof(name), "killed%u", life->number);
    must(home_of(life->projection, life->folder, name, &home, &err), "home", &err);
    if (counted)
        count_calls(home, ops);
    return home;
}

static void begin_life(struct life *life, bool counted)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    must(os_stop_open(&life->stop, &err), "stop", &err);
    must(store_open(&(struct store_options){.folder = life->folder}, &life->store, &err), "store", &err);
    if (store_durable(life->store).value < FIRST_EVENTS) {
        struct os_random random;
        os_random_seed(&random, life->seed);
        tally_append(life->store, &random,
                     &(struct tally_append){.count = FIRST_EVENTS, .keys = KEYS, .poison = 5, .elsewhere = 10});
    }
    life->projections = projections_new(&(struct projections_options){
        .domain = &tally_domain, .store = life->store, .stop = &life->stop, .workers = 2});
    must(projections_add(life->projections,
                         &(struct projection_options){
                             .name = "killed", .projection = life->projection, .home = open_home(life, counted)},
                         &err),
         "add", &err);
}

/* Rebuild until killed. */
static void live(struct life *life)
{
    struct os_thread threads[3] = {{.started = false}};
    begin_life(life, true);
    os_thread_start(&threads[0], "append", append, life);
    os_thread_start(&threads[1], "read-views", read_views, life);
    os_thread_start(&threads[2], "read-rows", read_rows, life);
    (void)printf("ready\n");
    (void)fflush(stdout);
    int64_t until_us = os_clock_monotonic_us(os_clock_real()) + RUN_US_MAX;
    while (os_clock_monotonic_us(os_clock_real()) < until_us) {
        struct projection_status status;
        struct banyan_error err = BANYAN_ERROR_INIT;
        projections_status(life->projections, 0, &status);
        __atomic_store_n(&shared->phase, (int)status.rebuild.phase, __ATOMIC_RELAXED);
        if (life->projection->recent_first && __atomic_load_n(&shared->whole, __ATOMIC_RELAXED))
            (void)kill(getpid(), SIGKILL); /* the next one begins from nothing */
        if (status.rebuild.phase == REBUILD_NONE && status.serves && !life->projection->recent_first &&
            projections_rebuild(life->projections, 0, &err) != BANYAN_OK)
            banyan_error_clear(&err); /* one is running by now */
        os_clock_real()->sleep_us(os_clock_real(), 2000);
    }
    (void)kill(getpid(), SIGKILL); /* fewer calls than that: dies here */
}

/* The last life is not killed: everything comes to rest, and is right. */
static void rest(struct life *life)
{
    struct projection_status status;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    struct sink_view *view = NULL;
    size_t count = 0;
    begin_life(life, false);
    uint64_t durable = store_durable(life->store).value;
    int64_t until_us = os_clock_monotonic_us(os_clock_real()) + 2 * (int64_t)RUN_US_MAX;
    do {
        os_clock_real()->sleep_us(os_clock_real(), 5000);
        projections_status(life->projections, 0, &status);
        if (os_clock_monotonic_us(os_clock_real()) > until_us)
            fail("it does not come to rest", status.error.message);
    } while (status.state != PROJECTION_LIVE || status.rebuild.phase != REBUILD_NONE ||
             status.checkpoint.position.value < durable);
    must(projections_view(life->projections, 0, &view, &err), "view", &err);
    if (!look(life, view))
        fail("nothing serves", "");
    sink_view_close(view);
    must(projections_generations(life->projections, 0, generations, &count, &err), "generations", &err);
    for (size_t i = 0; i < count; i++)
        if (generations[i].state == SINK_BUILDING)
            fail("a generation is left half made", "");
    if (count > 2)
        fail("too many generations are left", "");
    os_stop_request(&life->stop);
    projections_free(life->projections);
    store_close(life->store);
    os_stop_close(&life->stop);
}

/* ---- the parent ---- */

static bool one_life(struct life *life, struct os_random *random)
{
    int ends[2], status = 0;
    char word[8] = "";
    bool by_time = os_random_below(random, 4) == 0;
    die_at = by_time ? 0 : 1 + os_random_below(random, 45);
    die_after = os_random_below(random, 2) == 0;
    int64_t after_us = by_time ? (int64_t)os_random_below(random, 600 * 1000) : RUN_US_MAX;
    life->seed = os_random_next(random);
    __atomic_store_n(&shared->calls, 0, __ATOMIC_RELAXED);
    shared->phase = shared->call = 0;
    if (pipe(ends) != 0)
        fail("pipe", "");
    (void)fflush(stdout);
    pid_t child = fork(); /* the parent has no threads */
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        live(life);
        _exit(0);
    }
    (void)close(ends[1]);
    ssize_t got = read(ends[0], word, sizeof(word) - 1);
    if (by_time && got > 0)
        os_clock_real()->sleep_us(os_clock_real(), after_us);
    if (by_time)
        (void)kill(child, SIGKILL); /* it may be gone */
    (void)waitpid(child, &status, 0);
    char rest_of[512];
    ssize_t more;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    while (!killed && (more = read(ends[0], rest_of, sizeof(rest_of))) > 0)
        (void)fwrite(rest_of, 1, (size_t)more, stdout);
    (void)close(ends[0]);
    return killed;
}

int main(int argc, char **argv)
{
    unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100;
    unsigned phases[REBUILD_PHASES] = {0}, calls[CALLS] = {0}, bad = 0;
    struct os_random random;
    uint64_t seed = test_seed();
    char *folder = test_folder_new();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        fail("mmap", "");
    os_random_seed(&random, seed);
    unsigned first = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    unsigned views = argc > 2 ? first + 1 : VIEWS;
    (void)printf("1..%u\n", views - first);
    for (unsigned view = first; view < views; view++) {
        struct banyan_projection projection = tally_projections[view == VIEW_RECENT ? TALLY_VIEW_ORDERS : view];
        uint64_t checks = 0, partial = 0;
        unsigned before = bad, i = 0;
        projection.recent_first = view == VIEW_RECENT;
        do {
            char path[256];
            (void)snprintf(path, sizeof(path), "%s/%u.%u", folder, view, i);
            (void)mkdir(path, 0700); /* looked at when it is used */
            struct life life = {.projection = &projection, .folder = path, .number = view * 10000 + i};
            memset(shared, 0, sizeof(*shared));
            for (; i < runs / (views - first) + 1 && bad == before && !(projection.recent_first && shared->whole);
                 i++) {
                bad += !one_life(&life, &random);
                calls[shared->call]++;
                phases[shared->phase]++;
            }
            if (bad == before)
                rest(&life);
            checks += shared->checks;
            partial += shared->partial;
        } while (i < runs / (views - first) + 1 && bad == before);
        (void)printf("%s %u - view %s%s: %" PRIu64 " whole reads, %" PRIu64 " of them of the newest keys\n",
                     bad == before ? "ok" : "not ok", view - first + 1, projection.name,
                     projection.recent_first ? ", newest first" : "", checks, partial);
    }
    (void)printf("# died at:");
    for (unsigned i = 0; i < CALLS; i++)
        (void)printf(" %s %u", call_names[i], calls[i]);
    (void)printf("\n# last seen in:");
    for (unsigned i = 0; i < REBUILD_PHASES; i++)
        (void)printf(" %s %u", rebuild_phase_name((enum rebuild_phase)i), phases[i]);
    (void)printf("\n");
    test_folder_remove(folder);
    return bad == 0 ? 0 : 1;
}
