/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rebuild's thread: its attempts, its phases, what it tells.  See rebuild.h for the drawing.
 *
 *   attempt ─▶ switched │ ended by request │ failed for good
 *      ▲  │
 *      └──┘ what may pass: a pause, then again; a generation that was sealed is gone on with, another is made anew
 *
 *   phase      is in               what holds in it                                      after a crash
 *   FOLD       fold_slices()       the generation has rows of slices that are done       it is dropped: begun anew
 *   LOAD       fold_slices()       each key is loaded once; tables that are whole are    the same
 *                                  indexed already
 *   INDEX      build(), then       ends with seal() and finish(): rows and asides are    once sealed, gone on with
 *              index_and_verify()  those of the checkpoint
 *   VERIFY     index_and_verify()  no flush since it was sealed                          gone on with
 *   CATCH_UP   rebuild_catch_up()  exactly the events up to its checkpoint               gone on with
 *   SWITCH     rebuild_catch_up()  the old generation stands still                       one of both serves
 *
 * Threads: `shared` is guarded by its lock.  All else belongs to the rebuild's thread, or is atomic.
 */
#include "projection/rebuild.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/file.h"
#include "projection/rebuild_int.h"

enum {
    LEARNED_BYTES_MAX = 4096,
    RETRY_FIRST_US = 100 * 1000,
    RETRY_US_MAX = 10 * 1000 * 1000,
    SLICES_MAX = 4096,
    CHUNK_BLOCK = 256, /* events: what a filtered reader can skip */
    LIMITED_CHUNKS_PER_SECOND = 20,
    LIMITED_BLOCKS_MAX = 16,
    APPEND_RATE_US = 500 * 1000, /* how long it is looked at */
};

static const size_t memory_bytes_default = (size_t)512 << 20;

int64_t rebuild_clock_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* ---- phases ---- */

/* Of the phase LOAD that runs: the time before its first row. */
static int64_t ordering_us(const struct rebuild *rebuild, int64_t now_us)
{
    int64_t first_us = __atomic_load_n(&rebuild->first_row_us, __ATOMIC_RELAXED);
    return (first_us == 0 ? now_us : first_us) - rebuild->shared.phase_started_us;
}

/* The lock is held. */
static void leave_phase(struct rebuild *rebuild, int64_t now_us)
{
    int64_t us = now_us - rebuild->shared.phase_started_us;
    if (rebuild->shared.phase == REBUILD_FOLD)
        rebuild->shared.fold_us += us;
    if (rebuild->shared.phase != REBUILD_LOAD)
        return;
    rebuild->shared.load_us += us;
    rebuild->shared.order_us += ordering_us(rebuild, now_us);
    __atomic_store_n(&rebuild->first_row_us, 0, __ATOMIC_RELAXED);
}

void rebuild_loaded(struct rebuild *rebuild, unsigned table, size_t rows)
{
    size_t fields = rebuild->options.projection->tables[table].row->field_count;
    int64_t none = 0;
    if (__atomic_load_n(&rebuild->first_row_us, __ATOMIC_RELAXED) == 0)
        (void)__atomic_compare_exchange_n(&rebuild->first_row_us, &none, rebuild_clock_us(), false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED); /* or another loader did */
    (void)__atomic_add_fetch(&rebuild->loaded, rows, __ATOMIC_RELAXED);
    (void)__atomic_add_fetch(&rebuild->load_work, rows * fields, __ATOMIC_RELAXED);
}

void rebuild_enter(struct rebuild *rebuild, enum rebuild_phase phase)
{
    int64_t now_us = rebuild_clock_us();
    pthread_mutex_lock(&rebuild->shared.lock);
    if (rebuild->shared.phase != phase) {
        leave_phase(rebuild, now_us);
        rebuild->shared.phase = phase;
        rebuild->shared.phase_started_us = now_us;
    }
    pthread_mutex_unlock(&rebuild->shared.lock);
}

void rebuild_leave_out(struct rebuild *rebuild, int64_t us)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.phase_started_us += us;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

bool rebuild_ends(struct rebuild *rebuild)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    bool ends = rebuild->shared.cancelled;
    pthread_mutex_unlock(&rebuild->shared.lock);
    return ends || os_stop_requested(rebuild->options.stop);
}

/* How long to wait for the limit; 0: go on, and it was counted.  The lock is held. */
static int64_t limit_wait_us(struct rebuild *rebuild, uint64_t events)
{
    uint64_t limit = rebuild->shared.events_per_second_max;
    int64_t now_us = rebuild_clock_us();
    if (limit == 0 || events == 0) {
        rebuild->shared.next_events_us = 0;
        return 0;
    }
    if (rebuild->shared.next_events_us > now_us)
        return rebuild->shared.next_events_us - now_us;
    rebuild->shared.next_events_us = now_us + (int64_t)((double)events * 1e6 / (double)limit);
    return 0;
}

bool rebuild_gate(void *context, uint64_t events)
{
    struct rebuild *rebuild = context;
    const struct rebuild_host *host = rebuild->options.host;
    for (;;) {
        if (rebuild_ends(rebuild))
            return false;
        bool yields = host->yields != NULL && host->yields(rebuild->options.context);
        pthread_mutex_lock(&rebuild->shared.lock);
        rebuild->shared.yielding = yields;
        int64_t wait_us = yields ? REBUILD_PAUSE_US : limit_wait_us(rebuild, events);
        if (wait_us > REBUILD_PAUSE_US)
            wait_us = REBUILD_PAUSE_US;
        if (wait_us > 0 && !rebuild->shared.cancelled)
            (void)os_cond_wait(&rebuild->shared.moved, &rebuild->shared.lock, wait_us);
        pthread_mutex_unlock(&rebuild->shared.lock);
        if (wait_us == 0)
            return true;
    }
}

/* ---- what was learned ---- */

static void read_learned(struct rebuild *rebuild)
{
    struct os_files *files = os_files_real();
    struct os_file *file = NULL;
    char text[LEARNED_BYTES_MAX];
    size_t size = 0;
    if (rebuild->options.learned_path == NULL || access(rebuild->options.learned_path, R_OK) != 0 ||
        files->open(files, rebuild->options.learned_path, false, &file, NULL) != BANYAN_OK)
        return;
    if (files->read(file, 0, text, sizeof(text), &size, NULL) == BANYAN_OK)
        eta_learned_read((struct banyan_str){text, size}, &rebuild->shared.learned);
    files->close(file);
}

/* Of no consequence when it fails: the next estimate is a little worse. */
static void write_learned(struct rebuild *rebuild)
{
    struct os_files *files = os_files_real();
    struct os_file *file = NULL;
    struct banyan_buf text = BANYAN_BUF_INIT(LEARNED_BYTES_MAX);
    pthread_mutex_lock(&rebuild->shared.lock);
    eta_learn(&rebuild->shared.learned, &rebuild->run);
    eta_learned_write(&rebuild->shared.learned, &text);
    pthread_mutex_unlock(&rebuild->shared.lock);
    if (rebuild->options.learned_path != NULL && !text.overflow &&
        files->open(files, rebuild->options.learned_path, true, &file, NULL) == BANYAN_OK) {
        if (files->truncate(file, 0, NULL) == BANYAN_OK)
            (void)files->write(file, 0, text.data, text.size, NULL); /* see above */
        files->close(file);
    }
    banyan_buf_release(&text);
}

/* Seconds that *phase* has taken for each of *count*. */
static double per(int64_t us, double count)
{
    return count > 0 && us > 0 ? (double)us / 1e6 / count : 0;
}

static int64_t phase_us(struct rebuild *rebuild)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    int64_t us = rebuild_clock_us() - rebuild->shared.phase_started_us;
    pthread_mutex_unlock(&rebuild->shared.lock);
    return us;
}

/* ---- fold and load ---- */

/* Keep what of *folded* is needed after its tables are gone. */
static void take_asides(struct rebuild *rebuild, const struct rebuild_folded *folded)
{
    for (size_t i = 0; i < folded->aside_count; i++) {
        struct sink_aside aside = folded->asides[i];
        size_t at = 0;
        while (at < rebuild->aside_count && !(aside.by_stream && rebuild->asides[at].by_stream &&
                                              banyan_str_equal(aside.stream, rebuild->asides[at].stream)))
            at = aside.by_stream ? at + 1 : rebuild->aside_count; /* a key is in one slice only */
        if (at < rebuild->aside_count) {
            rebuild->asides[at].held += aside.held;
            continue;
        }
        rebuild->asides = alloc_resized(rebuild->asides, rebuild->aside_count + 1, sizeof(*rebuild->asides));
        aside.stream = banyan_arena_str(&rebuild->arena, aside.stream);
        aside.reason = banyan_arena_str(&rebuild->arena, aside.reason);
        rebuild->asides[rebuild->aside_count++] = aside;
    }
}

/* Rows, and their fields. */
struct amount {
    uint64_t rows, work;
};

static void add_rows(const struct rebuild *rebuild, const struct rebuild_folded *folded, struct amount *amount)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    for (size_t i = 0; i < folded->table_count; i++)
        for (unsigned j = 0; j < projection->table_count; j++) {
            uint64_t rows = rebuild_table_count(folded->tables[i], j);
            amount->rows += rows;
            amount->work += rows * projection->tables[j].row->field_count;
        }
}

/* *last*: F0; *amount* of the first *known* slices: those to come are alike.  None: it is not known yet. */
static void expect(struct rebuild *rebuild, struct banyan_position last, unsigned slices, unsigned known,
                   struct amount amount)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.last = last;
    rebuild->shared.events_expected = last.value * slices;
    rebuild->shared.rows_expected = known == 0 ? 0 : amount.rows * slices / known;
    rebuild->shared.work_expected = known == 0 ? 0 : amount.work * slices / known;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

/* *reached* of *last* fitted into memory: how many times as many slices it takes. */
static unsigned more_slices(uint64_t reached, uint64_t last)
{
    double times = 1.3 * (double)last / (double)(reached == 0 ? 1 : reached);
    return times < 2 ? 2 : times > 64 ? 64 : (unsigned)times + 1;
}

/* Events that a worker takes at once; 0: the fold's choice.  Under a limit small ones, so that it is kept evenly. */
static uint64_t chunk_events(struct rebuild *rebuild)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    uint64_t limit = rebuild->shared.events_per_second_max;
    pthread_mutex_unlock(&rebuild->shared.lock);
    uint64_t blocks = limit / LIMITED_CHUNKS_PER_SECOND / CHUNK_BLOCK;
    if (limit == 0 || blocks >= LIMITED_BLOCKS_MAX)
        return 0;
    return blocks == 0 ? CHUNK_BLOCK : blocks * CHUNK_BLOCK;
}

static struct rebuild_fold_options fold_options(struct rebuild *rebuild, const struct sink_checkpoint *known,
                                                struct banyan_position last)
{
    return (struct rebuild_fold_options){
        .projection = rebuild->options.projection,
        .rules = rebuild->rules,
        .store = rebuild->options.store,
        .last = last,
        .workers = rebuild->options.workers,
        .slices = 1,
        .bytes_max = rebuild->options.memory_bytes,
        .chunk_events = chunk_events(rebuild),
        .skip = &rebuild->skip,
        .cursor_lsn = rebuild->options.cursor_lsn,
        .lsn_from = known->position.value,
        .gate = rebuild_gate,
        .context = rebuild,
        .passed = &rebuild->passed,
        .rows = &rebuild->rows,
        .newest = &rebuild->newest,
    };
}

/* It did not fit: the same keys in more slices. */
static enum banyan_status slice_more(struct rebuild *rebuild, struct rebuild_fold_options *options, uint64_t reached,
                                     struct banyan_error *err)
{
    unsigned times = more_slices(reached, options->last.value);
    banyan_error_clear(err);
    options->slice *= times;
    options->slices *= times;
    __atomic_store_n(&rebuild->passed, options->last.value * options->slice, __ATOMIC_RELAXED);
    expect(rebuild, options->last, options->slices, 0, (struct amount){0, 0});
    return rebuild->recent ? rebuild_recent_slice(rebuild, options, err) : BANYAN_OK;
}

/* *ret_indexing* may run, also after a failure: end it. */
static enum banyan_status fold_slices(struct rebuild *rebuild, const struct sink_checkpoint *known,
                                      struct banyan_position *last, struct rebuild_indexing **ret_indexing,
                                      struct banyan_error *err)
{
    struct rebuild_fold_options options = fold_options(rebuild, known, *last);
    struct amount amount = {0, 0};
    enum banyan_status st = BANYAN_OK;
    rebuild->checkpoint.source_lsn = known->source_lsn;
    while (options.slice < options.slices && st == BANYAN_OK) {
        struct rebuild_folded folded;
        struct banyan_position reached;
        rebuild_enter(rebuild, REBUILD_FOLD);
        st = rebuild_fold(&options, &folded, &reached, err);
        if (st == BANYAN_LIMIT && options.slices < SLICES_MAX) {
            st = slice_more(rebuild, &options, reached.value, err);
            continue;
        }
        if (st != BANYAN_OK)
            break;
        *last = folded.last; /* JOINED: as far as it fitted */
        take_asides(rebuild, &folded);
        if (folded.source_lsn > rebuild->checkpoint.source_lsn)
            rebuild->checkpoint.source_lsn = folded.source_lsn;
        add_rows(rebuild, &folded, &amount);
        options.slice++;
        expect(rebuild, *last, options.slices, options.slice, amount);
        if (rebuild->recent)
            st = rebuild_recent(rebuild, &folded, err);
        rebuild_enter(rebuild, REBUILD_LOAD);
        if (st == BANYAN_OK && options.slice == options.slices)
            *ret_indexing = rebuild_index_begin(rebuild);
        if (st == BANYAN_OK)
            st = rebuild_load(rebuild, &folded, *ret_indexing, err);
        rebuild_folded_release(&folded);
    }
    return st;
}

/* recorded_at of the event at the checkpoint. */
enum banyan_status rebuild_read_at(struct rebuild *rebuild, struct banyan_position position, struct banyan_time *ret,
                                   struct banyan_error *err)
{
    struct store_read_event event = {.recorded_at = {BANYAN_TIME_NULL}};
    struct store_reader *reader = store_reader_open(rebuild->options.store);
    enum banyan_status st = BANYAN_OK;
    if (position.value > 0)
        st = store_reader_seek(reader, position, err);
    if (position.value > 0 && st == BANYAN_OK)
        st = store_reader_next(reader, &event, err);
    if (st == BANYAN_OK)
        *ret = event.recorded_at;
    store_reader_close(reader);
    return st;
}

/* The checkpoint of what serves: cursors up to there need not be looked for. */
static struct sink_checkpoint serving_checkpoint(const struct sink_generation *generations, size_t count,
                                                 struct banyan_position last)
{
    for (size_t i = 0; i < count; i++)
        if (generations[i].state == SINK_SERVING && generations[i].checkpoint.position.value <= last.value)
            return generations[i].checkpoint;
    return (struct sink_checkpoint){.position = {0}};
}

/* From nothing to a sealed generation. */
static enum banyan_status build(struct rebuild *rebuild, const struct sink_generation *generations, size_t count,
                                struct banyan_error *err)
{
    struct banyan_position last = store_durable(rebuild->options.store);
    struct sink_checkpoint known = serving_checkpoint(generations, count, last);
    rebuild_enter(rebuild, REBUILD_FOLD);
    expect(rebuild, last, 1, 0, (struct amount){0, 0});
    enum banyan_status st = rebuild_archived(rebuild, &last, err);
    if (st != BANYAN_OK)
        return st;
    if (known.position.value > last.value)
        known = (struct sink_checkpoint){.position = {0}};
    expect(rebuild, last, 1, 0, (struct amount){0, 0});
    rebuild->recent = rebuild_recent_wanted(rebuild, generations, count);
    struct rebuild_indexing *indexing = NULL;
    st = fold_slices(rebuild, &known, &last, &indexing, err);
    if (st == BANYAN_OK)
        rebuild_enter(rebuild, REBUILD_INDEX); /* also where keys are made when it is sealed */
    st = rebuild_index_end(indexing, st, err);
    if (st != BANYAN_OK)
        return st;
    rebuild->checkpoint.position = last;
    rebuild->checkpoint.generation = rebuild->generation;
    st = rebuild_read_at(rebuild, last, &rebuild->checkpoint.at, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_flush seal = {
        .asides = rebuild->asides, .aside_count = rebuild->aside_count, .checkpoint = rebuild->checkpoint};
    st = rebuild->sink->ops->seal(rebuild->sink, &seal, err);
    if (st == BANYAN_OK)
        rebuild->sealed = true;
    return st;
}

static void expect_rows(struct rebuild *rebuild, uint64_t rows)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.rows_expected = rows;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

/* What the phases up to here teach. */
static void learn_build(struct rebuild *rebuild, uint64_t rows)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    uint64_t passed = __atomic_load_n(&rebuild->passed, __ATOMIC_RELAXED);
    rebuild->run.fold_event_s = per(rebuild->shared.fold_us, (double)passed);
    rebuild->run.order_row_s = per(rebuild->shared.order_us, (double)rows);
    rebuild->run.load_row_s = per(rebuild->shared.load_us - rebuild->shared.order_us, (double)rows);
    if (rebuild->checkpoint.position.value > 0)
        rebuild->run.rows_per_event = (double)rows / (double)rebuild->checkpoint.position.value;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

static enum banyan_status index_and_verify(struct rebuild *rebuild, bool made, struct banyan_error *err)
{
    uint64_t rows = 0;
    for (unsigned i = 0; i < rebuild->options.projection->table_count; i++)
        rows += rebuild->row_counts[i];
    if (made)
        expect_rows(rebuild, rows);
    rebuild_enter(rebuild, REBUILD_INDEX);
    if (made)
        learn_build(rebuild, rows);
    enum banyan_status st = rebuild->sink->ops->finish(rebuild->sink, err);
    if (st != BANYAN_OK || !made)
        return st;
    rebuild->run.index_row_s = per(phase_us(rebuild), (double)rows * log2((double)rows + 2));
    rebuild_enter(rebuild, REBUILD_VERIFY);
    st = rebuild_verify(rebuild, err);
    rebuild->run.verify_row_s = per(phase_us(rebuild), (double)rows);
    return st;
}

/* ---- an attempt ---- */

static void forget_attempt(struct rebuild *rebuild)
{
    sink_close(rebuild->sink);
    rebuild->sink = NULL;
    free(rebuild->asides);
    rebuild->asides = NULL;
    rebuild->aside_count = 0;
    rebuild->samples = NULL;
    memset(rebuild->row_counts, 0, sizeof(rebuild->row_counts));
    rebuild->checkpoint = (struct sink_checkpoint){.position = {0}};
    banyan_arena_release(&rebuild->arena);
    hash_reset(&rebuild->skip.keys);
    hash_reset(&rebuild->skip.streams);
    __atomic_store_n(&rebuild->passed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&rebuild->loaded, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&rebuild->rows, 0, __ATOMIC_RELAXED);
    pthread_mutex_lock(&rebuild->shared.lock);
    __atomic_store_n(&rebuild->load_work, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&rebuild->first_row_us, 0, __ATOMIC_RELAXED);
    rebuild->shared.fold_us = rebuild->shared.load_us = rebuild->shared.order_us = 0;
    rebuild->shared.phase = REBUILD_WAITING;
    rebuild->shared.phase_started_us = rebuild_clock_us();
    rebuild->shared.rounds = 0;
    rebuild->shared.apply_rate = 0;
    /* Until more is known: all that there is is to be read, or, where a generation is gone on with, hardly anything. */
    rebuild->shared.last = store_durable(rebuild->options.store);
    rebuild->shared.events_expected = rebuild->generation == 0 ? rebuild->shared.last.value : 0;
    rebuild->shared.rows_expected = rebuild->shared.work_expected = 0;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

/* The status tells it. */
static void set_generation(struct rebuild *rebuild, uint32_t number)
{
    __atomic_store_n(&rebuild->generation, number, __ATOMIC_RELAXED);
}

/* Drop a generation that nobody will want; another try, or the next start, does it where this one fails. */
static void drop_made(struct rebuild *rebuild)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (rebuild->generation != 0 &&
        rebuild->options.home->ops->drop(rebuild->options.home, rebuild->generation, &err) == BANYAN_OK)
        set_generation(rebuild, 0);
}

/* What it is to catch up with comes after this. */
static void found_checkpoint(struct rebuild *rebuild, const struct sink_checkpoint *checkpoint)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.last = checkpoint->position;
    rebuild->shared.events_expected = 0;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

static enum banyan_status look_around(struct rebuild *rebuild, struct sink_generation *generations, size_t *ret_count,
                                      struct banyan_error *err)
{
    struct sink_home *home = rebuild->options.home;
    enum banyan_status st = home->ops->generations(home, generations, ret_count, err);
    if (st != BANYAN_OK)
        return st;
    bool found = false;
    rebuild->serving = 0;
    for (size_t i = 0; i < *ret_count; i++) {
        if (generations[i].state == SINK_SERVING)
            rebuild->serving = generations[i].number;
        if (generations[i].number != rebuild->generation)
            continue;
        found = true;
        rebuild->sealed = generations[i].sealed;
        if (rebuild->sealed)
            found_checkpoint(rebuild, &generations[i].checkpoint);
        rebuild->droppable = generations[i].state == SINK_BUILDING;
    }
    if (rebuild->generation == 0 || (found && rebuild->sealed))
        return BANYAN_OK;
    if (rebuild->options.generation != 0)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "generation %" PRIu32 " cannot be gone on with: it is %s",
                                rebuild->generation, found ? "not whole" : "not there");
    if (found)
        drop_made(rebuild);
    set_generation(rebuild, 0);
    return BANYAN_OK;
}

static enum banyan_status attempt(struct rebuild *rebuild, struct banyan_error *err)
{
    struct sink_home *home = rebuild->options.home;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = look_around(rebuild, generations, &count, err);
    bool made = rebuild->generation == 0;
    if (st == BANYAN_OK && made) {
        rebuild->sealed = false;
        rebuild->droppable = true;
        uint32_t number = 0;
        st = home->ops->make(home, (struct sink_mark){.partial = false}, &number, err);
        set_generation(rebuild, number);
    }
    if (st == BANYAN_OK)
        st = home->ops->open(home, rebuild->generation, &rebuild->sink, err);
    if (st == BANYAN_OK)
        st = rebuild->sink->ops->claim(rebuild->sink, &rebuild->checkpoint, err);
    if (st == BANYAN_OK && made)
        st = build(rebuild, generations, count, err);
    if (st == BANYAN_OK)
        st = index_and_verify(rebuild, made, err);
    if (st == BANYAN_OK)
        st = rebuild_catch_up(rebuild, err);
    return st;
}

/* ---- the thread ---- */

/* Old generations beyond those that are kept.  One that cannot go now goes next time. */
static void prune(struct rebuild *rebuild)
{
    struct sink_home *home = rebuild->options.home;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct rebuild_plan plan;
    char form[SINK_FORM_SIZE];
    size_t count = 0;
    if (home->ops->generations(home, generations, &count, &err) != BANYAN_OK)
        return;
    sink_form(rebuild->options.projection, form);
    rebuild_plan(generations, count, form, rebuild->options.keep, &plan);
    for (size_t i = 0; i < plan.drop_count; i++)
        if (home->ops->drop(home, plan.drop[i], &err) != BANYAN_OK)
            banyan_error_clear(&err);
}

static bool may_pass(enum banyan_status st)
{
    switch (st) {
    case BANYAN_UNAVAILABLE:
    case BANYAN_BUSY:
    case BANYAN_TIMEOUT:
    case BANYAN_NO_SPACE:
    case BANYAN_IO:
    case BANYAN_QUERY:
    case BANYAN_PROTOCOL:
        return true;
    default:
        return false;
    }
}

static void finish(struct rebuild *rebuild, enum rebuild_outcome outcome)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.outcome = outcome;
    if (outcome == REBUILD_SWITCHED) {
        rebuild->shared.done = 1;
        banyan_error_clear(&rebuild->shared.err);
    }
    rebuild->shared.phase = REBUILD_NONE;
    pthread_cond_broadcast(&rebuild->shared.moved);
    pthread_mutex_unlock(&rebuild->shared.lock);
}

static void run(void *argument)
{
    struct rebuild *rebuild = argument;
    read_learned(rebuild);
    for (;;) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        bool carried_before = rebuild->carry_failed;
        forget_attempt(rebuild);
        enum banyan_status st = attempt(rebuild, &err);
        if (st == BANYAN_OK) {
            write_learned(rebuild);
            prune(rebuild);
            finish(rebuild, REBUILD_SWITCHED);
            break;
        }
        bool carry_failed = rebuild->carry_failed && !carried_before; /* the next attempt does without */
        forget_attempt(rebuild);
        bool ended = rebuild_ends(rebuild), pass = carry_failed || may_pass(st);
        err.status = st;
        pthread_mutex_lock(&rebuild->shared.lock);
        bool cancelled = rebuild->shared.cancelled;
        if (st != BANYAN_STOPPED)
            rebuild->shared.err = err;
        pthread_mutex_unlock(&rebuild->shared.lock);
        /* A stop leaves what is sealed for the next start; a cancel wants nothing of it; and what was found to be wrong
         * must not be gone on with. */
        if (rebuild->droppable && st != BANYAN_BROKEN && (!rebuild->sealed || cancelled || st == BANYAN_MISMATCH))
            drop_made(rebuild);
        if (ended || st == BANYAN_STOPPED || !pass) {
            finish(rebuild, ended || st == BANYAN_STOPPED ? REBUILD_CANCELLED : REBUILD_FAILED);
            break;
        }
        if (!carry_failed)
            (void)os_retry_pause(&rebuild->retry, rebuild->options.stop); /* a stop is seen by the next attempt */
    }
}

/* ---- for others ---- */

struct rebuild *rebuild_new(const struct rebuild_options *options)
{
    struct rebuild *rebuild = alloc_zeroed(1, sizeof(*rebuild));
    assert(options->host != NULL && options->host->hold != NULL && options->host->release != NULL);
    rebuild->options = *options;
    if (options->learned_path != NULL)
        rebuild->options.learned_path = alloc_text(options->learned_path);
    if (rebuild->options.workers == 0) {
        long processors = sysconf(_SC_NPROCESSORS_ONLN);
        rebuild->options.workers = processors < 1 ? 1 : processors > 64 ? 64 : (unsigned)processors;
    }
    if (rebuild->options.memory_bytes == 0)
        rebuild->options.memory_bytes = memory_bytes_default;
    if (rebuild->options.keep == 0)
        rebuild->options.keep = 1;
    if (rebuild->options.reason == NULL)
        rebuild->options.reason = "asked for";
    rebuild->generation = options->generation;
    rebuild->retry = (struct os_retry){.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_US_MAX};
    rebuild->rules = seen_rules_new(options->store, options->domain, options->projection);
    pthread_mutex_init(&rebuild->shared.lock, NULL);
    os_cond_init(&rebuild->shared.moved);
    rebuild->shared.events_per_second_max = options->events_per_second_max;
    rebuild->shared.phase = REBUILD_WAITING;
    rebuild->shared.started_us = rebuild->shared.phase_started_us = rebuild_clock_us();
    forget_attempt(rebuild);
    return rebuild;
}

void rebuild_start(struct rebuild *rebuild)
{
    os_thread_start(&rebuild->thread, "rebuild", run, rebuild);
}

void rebuild_free(struct rebuild *rebuild)
{
    if (rebuild == NULL)
        return;
    os_thread_join(&rebuild->thread);
    forget_attempt(rebuild);
    hash_release(&rebuild->skip.keys);
    hash_release(&rebuild->skip.streams);
    seen_rules_free(rebuild->rules);
    free((char *)(uintptr_t)rebuild->options.learned_path);
    pthread_mutex_destroy(&rebuild->shared.lock);
    pthread_cond_destroy(&rebuild->shared.moved);
    free(rebuild);
}

/* The rate of appends, over half a second or more.  The lock is held. */
static void look_at_tail(struct rebuild *rebuild, uint64_t tail, int64_t now_us)
{
    int64_t us = now_us - rebuild->shared.tail_seen_us;
    if (rebuild->shared.tail_seen_us != 0 && us < APPEND_RATE_US)
        return;
    if (rebuild->shared.tail_seen_us != 0)
        rebuild->shared.append_rate = (double)(tail - rebuild->shared.tail_seen) * 1e6 / (double)us;
    rebuild->shared.tail_seen = tail;
    rebuild->shared.tail_seen_us = now_us;
}

/* The rows that are loaded, where those of many fields count for more.  The lock is held. */
static uint64_t rows_by_work(struct rebuild *rebuild, const struct rebuild_status *status)
{
    uint64_t work = __atomic_load_n(&rebuild->load_work, __ATOMIC_RELAXED);
    if (rebuild->shared.work_expected == 0 || status->rows_expected == 0)
        return status->rows_done;
    return (uint64_t)((double)status->rows_expected * (double)work / (double)rebuild->shared.work_expected);
}

/* The lock is held. */
static void estimate(struct rebuild *rebuild, int64_t now_us, uint64_t backlog, struct rebuild_status *ret)
{
    int64_t in_phase_us = now_us - rebuild->shared.phase_started_us;
    struct eta_now now = {
        .phase = rebuild->shared.phase,
        .elapsed_us = now_us - rebuild->shared.started_us,
        .phase_us = in_phase_us,
        .fold_us = rebuild->shared.fold_us + (rebuild->shared.phase == REBUILD_FOLD ? in_phase_us : 0),
        .load_us = rebuild->shared.load_us + (rebuild->shared.phase == REBUILD_LOAD ? in_phase_us : 0),
        .order_us =
            rebuild->shared.order_us + (rebuild->shared.phase == REBUILD_LOAD ? ordering_us(rebuild, now_us) : 0),
        .events_done = ret->events_done,
        .events_expected = ret->events_expected,
        .rows_done = rows_by_work(rebuild, ret),
        .rows_expected = ret->rows_expected,
        .rows_seen = __atomic_load_n(&rebuild->rows, __ATOMIC_RELAXED),
        .backlog = backlog,
        .append_rate = rebuild->shared.append_rate,
        .apply_rate = rebuild->shared.apply_rate,
        .events_per_second_max = rebuild->shared.events_per_second_max,
    };
    struct eta eta;
    eta_estimate(&rebuild->shared.learned, &now, &eta);
    if (eta.done > rebuild->shared.done)
        rebuild->shared.done = eta.done;
    ret->eta_us = eta.us;
    ret->eta_us_low = eta.us_low;
    ret->eta_us_high = eta.us_high;
    ret->done = rebuild->shared.done;
    ret->elapsed_us = now.elapsed_us;
}

void rebuild_status(struct rebuild *rebuild, struct rebuild_status *ret)
{
    uint64_t tail = store_durable(rebuild->options.store).value;
    int64_t now_us = rebuild_clock_us();
    *ret = (struct rebuild_status){.reason = rebuild->options.reason, .last_event_at = {BANYAN_TIME_NULL}};
    pthread_mutex_lock(&rebuild->shared.lock);
    look_at_tail(rebuild, tail, now_us);
    ret->phase =
        rebuild->shared.yielding && rebuild->shared.phase != REBUILD_NONE ? REBUILD_WAITING : rebuild->shared.phase;
    ret->generation = __atomic_load_n(&rebuild->generation, __ATOMIC_RELAXED);
    ret->events_done = __atomic_load_n(&rebuild->passed, __ATOMIC_RELAXED);
    ret->events_expected = rebuild->shared.events_expected;
    ret->rows_done = __atomic_load_n(&rebuild->loaded, __ATOMIC_RELAXED);
    ret->rows_expected = rebuild->shared.rows_expected;
    ret->rounds = rebuild->shared.rounds;
    int64_t newest = __atomic_load_n(&rebuild->newest, __ATOMIC_RELAXED);
    if (newest != 0)
        ret->last_event_at.us = newest;
    bool following = rebuild->shared.phase >= REBUILD_CATCH_UP;
    /* After the fold, what is left to catch up with is what came after F0. */
    uint64_t at = following ? rebuild->shared.checkpoint.position.value : rebuild->shared.last.value;
    uint64_t folded = ret->events_done < at ? ret->events_done : at, backlog = tail > at ? tail - at : 0;
    ret->backlog = following ? backlog : tail > folded ? tail - folded : 0;
    if (rebuild->shared.outcome == REBUILD_RUNNING)
        estimate(rebuild, now_us, backlog, ret);
    else
        ret->done = rebuild->shared.outcome == REBUILD_SWITCHED ? 1 : rebuild->shared.done;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

enum rebuild_outcome rebuild_outcome(struct rebuild *rebuild, struct banyan_error *err)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    enum rebuild_outcome outcome = rebuild->shared.outcome;
    if (err != NULL)
        *err = rebuild->shared.err;
    pthread_mutex_unlock(&rebuild->shared.lock);
    return outcome;
}

bool rebuild_wait(struct rebuild *rebuild, int64_t timeout_us)
{
    int64_t until_us = timeout_us == INT64_MAX ? INT64_MAX : rebuild_clock_us() + timeout_us;
    pthread_mutex_lock(&rebuild->shared.lock);
    while (rebuild->shared.outcome == REBUILD_RUNNING) {
        int64_t left_us = until_us == INT64_MAX ? 1000000 : until_us - rebuild_clock_us();
        if (left_us <= 0)
            break;
        (void)os_cond_wait(&rebuild->shared.moved, &rebuild->shared.lock, left_us); /* looked at above */
    }
    bool ended = rebuild->shared.outcome != REBUILD_RUNNING;
    pthread_mutex_unlock(&rebuild->shared.lock);
    return ended;
}

void rebuild_cancel(struct rebuild *rebuild)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.cancelled = true;
    pthread_cond_broadcast(&rebuild->shared.moved);
    pthread_mutex_unlock(&rebuild->shared.lock);
}

void rebuild_limit(struct rebuild *rebuild, uint64_t events_per_second_max)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.events_per_second_max = events_per_second_max;
    rebuild->shared.next_events_us = 0;
    pthread_cond_broadcast(&rebuild->shared.moved);
    pthread_mutex_unlock(&rebuild->shared.lock);
}
