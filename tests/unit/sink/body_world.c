/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common body, second part: others read meanwhile, and writers are killed.
 *
 * What is written here is a chain: in each state all rows of both tables hold the position of the checkpoint, so that
 * any mixture of two states, or of two generations, shows.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "body_int.h"
#include "os/clock.h"
#include "os/thread.h"

enum {
    ROWS = 40, /* of each table */
    READERS = 3,
    SWITCHES = 25,
    ROUNDS_MAX = 100000,
    STATEMENTS_MAX = 4000,
    KILLS = 30,
};

/* The rows of the state at *position*; *accounts* and *branches* are their memory. */
static size_t state_rows(uint64_t position, struct test_account *accounts, struct test_branch *branches,
                         struct sink_row *ret)
{
    for (int64_t i = 0; i < ROWS; i++) {
        accounts[i] = body_account(i);
        accounts[i].moves = (int64_t)position;
        accounts[i].opened_at.us = (int64_t)position;
        branches[i] = (struct test_branch){i, (int64_t)position, banyan_decimal_of(0, 2)};
        ret[i] = (struct sink_row){0, i, &accounts[i], UINT64_MAX};
        ret[ROWS + i] = (struct sink_row){1, i, &branches[i], UINT64_MAX};
    }
    return 2 * ROWS;
}

/* A key is aside at even positions only. */
static enum banyan_status flush_state(struct sink *sink, uint64_t position, struct banyan_error *err)
{
    struct test_account accounts[ROWS];
    struct test_branch branches[ROWS];
    struct sink_row rows[2 * ROWS];
    struct sink_aside aside = {.key = 5,
                               .stream = BANYAN_STR("account-5"),
                               .position = {position},
                               .held = position,
                               .reason = BANYAN_STR("why")};
    bool even = position % 2 == 0;
    struct sink_flush flush = {.rows = rows,
                               .row_count = state_rows(position, accounts, branches, rows),
                               .asides = &aside,
                               .aside_count = even,
                               .released = &aside,
                               .released_count = !even,
                               .checkpoint = {.position = {position}}};
    return sink->ops->flush(sink, &flush, err);
}

static enum banyan_status load_state(struct sink *sink, uint64_t position, struct banyan_error *err)
{
    struct test_account accounts[ROWS];
    struct test_branch branches[ROWS];
    struct sink_row rows[2 * ROWS];
    enum banyan_status st = BANYAN_OK;
    (void)state_rows(position, accounts, branches, rows);
    for (unsigned table = 0; table < 2 && st == BANYAN_OK; table++) {
        struct sink_load *load = NULL;
        st = sink->ops->load_open(sink, table, &load, err);
        if (st != BANYAN_OK)
            return st;
        st = sink->ops->load_rows(load, rows + table * ROWS, ROWS, err);
        enum banyan_status closed = sink->ops->load_close(load, st == BANYAN_OK, err);
        st = st == BANYAN_OK ? closed : st;
    }
    for (unsigned table = 0; table < 2 && sink->ops->index_steps != NULL; table++)
        for (unsigned step = 0; step < sink->ops->index_steps(sink, table) && st == BANYAN_OK; step++)
            st = sink->ops->index_step(sink, table, step, err);
    struct sink_flush flush = {.checkpoint = {.position = {position}}};
    if (st == BANYAN_OK)
        st = sink->ops->seal(sink, &flush, err);
    return st == BANYAN_OK ? sink->ops->finish(sink, err) : st;
}

/* Make, load, seal, switch, drop: a whole rebuild. */
static enum banyan_status rebuild(struct sink_home *home, uint32_t *serving, uint64_t position,
                                  struct banyan_error *err)
{
    struct sink_checkpoint checkpoint;
    struct sink *sink = NULL;
    uint32_t number = 0, former = *serving;
    enum banyan_status st = home->ops->make(home, (struct sink_mark){.partial = false}, &number, err);
    if (st == BANYAN_OK)
        st = home->ops->open(home, number, &sink, err);
    if (st == BANYAN_OK)
        st = sink->ops->claim(sink, &checkpoint, err);
    if (st == BANYAN_OK)
        st = load_state(sink, position, err);
    sink_close(sink);
    if (st == BANYAN_OK)
        st = home->ops->serve(home, former, number, err);
    if (st == BANYAN_OK) {
        *serving = number;
        if (former != 0)
            st = home->ops->drop(home, former, err);
    }
    return st;
}

/* ---- readers ---- */

struct state_seen {
    uint64_t sum;
    size_t rows;
    bool mixed;
    uint64_t position; /* of the first */
};

static enum banyan_status see_account(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct state_seen *seen = context;
    uint64_t position = (uint64_t)((const struct test_account *)row)->moves;
    if (seen->rows++ == 0)
        seen->position = position;
    seen->mixed |= position != seen->position;
    return BANYAN_OK;
}

static enum banyan_status see_branch(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct test_account account = {.moves = ((const struct test_branch *)row)->moves};
    return see_account(context, key, &account, err);
}

struct reader {
    struct sink_home *home;
    atomic_bool *stop;
    uint64_t questions;
    _Atomic uint64_t generations; /* seen */
    int64_t wait_us_max;
    char problem[1024]; /* empty: none */
};

static void note(struct reader *reader, const char *what, enum banyan_status st, const struct banyan_error *err)
{
    if (reader->problem[0] == '\0')
        snprintf(reader->problem, sizeof(reader->problem), "%s: %s %.500s", what, banyan_status_name(st), err->message);
}

/* One look at everything, in one or in several questions. */
static enum banyan_status look(struct sink_view *view, unsigned way, struct sink_checkpoint *checkpoint,
                               struct state_seen *seen, struct banyan_error *err)
{
    struct sink_list list = {.index = &body_projection()->tables[0].indexes[TEST_BY_OWNER],
                             .equal = BANYAN_STR("o"),
                             .from = {BANYAN_TIME_NULL},
                             .to = {BANYAN_TIME_NULL},
                             .limit = 100};
    if (way == 0)
        return view->ops->range(view, 0, INT64_MIN, INT64_MAX, checkpoint, see_account, seen, err);
    if (way == 1)
        return view->ops->list(view, &list, checkpoint, see_account, seen, err);
    enum banyan_status st = view->ops->begin(view, checkpoint, err);
    if (st != BANYAN_OK)
        return st;
    struct sink_checkpoint other;
    st = view->ops->range(view, 0, 0, ROWS / 2, &other, see_account, seen, err);
    if (st == BANYAN_OK)
        st = view->ops->range(view, 1, ROWS / 2, ROWS, &other, see_branch, seen, err);
    seen->rows = st == BANYAN_OK && seen->rows == ROWS / 2 + ROWS - ROWS / 2 ? ROWS : 0;
    seen->mixed |= other.generation != checkpoint->generation;
    view->ops->end(view);
    return st;
}

static void read_all_the_time(void *argument)
{
    struct reader *reader = argument;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_view *view = NULL;
    uint32_t last = 0;
    enum banyan_status st = reader->home->ops->view(reader->home, &view, &err);
    if (st != BANYAN_OK)
        note(reader, "view", st, &err);
    while (st == BANYAN_OK && !atomic_load(reader->stop)) {
        struct state_seen seen = {0};
        struct sink_checkpoint checkpoint = {.generation = 0};
        int64_t began = os_clock_monotonic_us(os_clock_real());
        st = look(view, (unsigned)(reader->questions++ % 3), &checkpoint, &seen, &err);
        int64_t took = os_clock_monotonic_us(os_clock_real()) - began;
        reader->wait_us_max = took > reader->wait_us_max ? took : reader->wait_us_max;
        if (st == BANYAN_BUSY && body_place->no_snapshots) {
            banyan_error_clear(&err);
            st = BANYAN_OK;
        } else if (st != BANYAN_OK)
            note(reader, "question", st, &err);
        else if (seen.mixed || seen.rows != ROWS || seen.position != checkpoint.position.value)
            note(reader, "a mixture", st, &err);
        else if (checkpoint.generation < last)
            note(reader, "an older generation", st, &err);
        reader->generations += checkpoint.generation != last;
        last = checkpoint.generation;
    }
    sink_view_close(view);
}

static bool all_saw_two(const struct reader *readers)
{
    for (size_t i = 0; i < READERS; i++)
        if (atomic_load(&readers[i].generations) < 2 && readers[i].problem[0] == '\0')
            return false;
    return true;
}

void switches_under_readers(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = body_home();
    struct reader readers[READERS];
    struct os_thread threads[READERS];
    atomic_bool stop = false;
    uint32_t serving = 0;
    uint64_t position = 1;
    body_must(rebuild(home, &serving, position++, &err), &err);
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.home = home, .stop = &stop};
        threads[i] = (struct os_thread){.started = false};
        os_thread_start(&threads[i], "reader", read_all_the_time, &readers[i]);
    }
    for (int round = 0; round < SWITCHES || !all_saw_two(readers); round++) {
        assert_true(round < ROUNDS_MAX);
        struct sink *sink = body_claim(home, serving, NULL);
        for (int i = 0; i < 5; i++)
            body_must(flush_state(sink, position++, &err), &err);
        sink_close(sink);
        body_must(rebuild(home, &serving, position++, &err), &err);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++)
        os_thread_join(&threads[i]);
    for (size_t i = 0; i < READERS; i++) {
        printf("# reader %zu: %" PRIu64 " questions, %" PRIu64 " generations seen, longest wait %" PRId64 " us\n", i,
               readers[i].questions, readers[i].generations, readers[i].wait_us_max);
        if (readers[i].problem[0] != '\0')
            fail_msg("reader %zu: %s", i, readers[i].problem);
    }
    sink_home_close(home);
}

void questions_of_one_instant(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = body_home();
    struct sink_checkpoint checkpoint;
    uint32_t serving = 0;
    body_must(rebuild(home, &serving, 1, &err), &err);
    struct sink_view *view = body_view(home), *now = body_view(home);
    struct sink *sink = body_claim(home, serving, NULL);
    body_must(view->ops->begin(view, &checkpoint, &err), &err);
    assert_int_equal(checkpoint.position.value, 1);
    for (int part = 0; part < 2; part++) { /* a flush, then a switch */
        struct state_seen seen = {0};
        if (part == 0) {
            body_must(flush_state(sink, 2, &err), &err);
        } else {
            struct sink *next = body_claim(home, 0, NULL);
            body_must(load_state(next, 3, &err), &err);
            body_serve(home, serving, next->generation);
            sink_close(next);
        }
        enum banyan_status st = view->ops->range(view, 0, INT64_MIN, INT64_MAX, &checkpoint, see_account, &seen, &err);
        if (body_place->no_snapshots) {
            assert_int_equal(st, BANYAN_BUSY);
            banyan_error_clear(&err);
        } else {
            body_must(st, &err);
            assert_int_equal(checkpoint.position.value, 1);
            assert_int_equal(seen.position, 1);
            assert_false(seen.mixed);
        }
        body_must(now->ops->checkpoint(now, &checkpoint, &err), &err);
        assert_int_equal(checkpoint.position.value, 2 + part);
    }
    view->ops->end(view);
    body_must(view->ops->checkpoint(view, &checkpoint, &err), &err);
    assert_int_equal(checkpoint.position.value, 3);
    sink_close(sink);
    sink_view_close(now);
    sink_view_close(view);
    sink_home_close(home);
}

/* ---- crashes ---- */

/* What a child does: flushes, and a rebuild beside them.  Exits with 0 when it could do everything. */
static void child(unsigned die_at, uint64_t position, unsigned rounds)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct sink_home *home = NULL;
    uint32_t serving = 0;
    size_t count = 0;
    if (die_at > 0)
        body_place->die_at(die_at);
    enum banyan_status st = body_place->home(body_projection(), &home, &err);
    for (unsigned round = 0; round < rounds && st == BANYAN_OK; round++) {
        struct sink *sink = NULL;
        st = home->ops->generations(home, all, &count, &err);
        for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
            if (all[i].state == SINK_SERVING)
                serving = all[i].number;
            else
                st = home->ops->drop(home, all[i].number, &err);
        }
        if (st == BANYAN_OK)
            st = home->ops->open(home, serving, &sink, &err);
        if (st == BANYAN_OK)
            st = sink->ops->claim(sink, &checkpoint, &err);
        for (int i = 0; i < 2 && st == BANYAN_OK; i++)
            st = flush_state(sink, ++position, &err);
        sink_close(sink);
        if (st == BANYAN_OK)
            st = rebuild(home, &serving, ++position, &err);
    }
    if (st != BANYAN_OK)
        fprintf(stderr, "# child: %s %s\n", banyan_status_name(st), err.message);
    _exit(st == BANYAN_OK ? 0 : 1);
}

/* Old or new, never between; and it can be gone on from there.  Returns the position. */
static uint64_t check_after_crash(uint64_t former, unsigned at)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = body_home();
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct sink_view *view = body_view(home);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_aside *asides = NULL;
    size_t count = 0, aside_count = 99, serving = 0;
    body_must(home->ops->generations(home, all, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        serving += all[i].state == SINK_SERVING;
    assert_int_equal(serving, 1);
    struct state_seen seen = {0};
    struct sink_checkpoint checkpoint;
    for (unsigned way = 0; way < 3; way++) {
        seen = (struct state_seen){0};
        body_must(look(view, way, &checkpoint, &seen, &err), &err);
        if (seen.mixed || seen.rows != ROWS || seen.position != checkpoint.position.value)
            fail_msg("statement %u: a mixture: %zu rows, position %" PRIu64 " at checkpoint %" PRIu64, at, seen.rows,
                     seen.position, checkpoint.position.value);
    }
    assert_true(checkpoint.position.value >= former);
    body_must(view->ops->asides(view, &arena, &asides, &aside_count, &err), &err);
    if (aside_count > 0)
        assert_int_equal(asides[0].held, checkpoint.position.value);
    banyan_arena_release(&arena);
    sink_view_close(view);
    sink_home_close(home);
    return checkpoint.position.value;
}

static void first_state(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = body_home();
    uint32_t serving = 0;
    body_must(rebuild(home, &serving, 1, &err), &err);
    sink_home_close(home);
}

void a_crash_between_two_statements(void **state)
{
    if (body_place->die_at == NULL)
        skip();
    uint64_t position = 1;
    first_state();
    for (unsigned at = 1;; at++) {
        assert_true(at < STATEMENTS_MAX);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            child(at, position, 1);
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        position = check_after_crash(position, at);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            printf("# killed in front of each of %u statements\n", at - 1);
            break;
        }
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
}

void a_crash_at_any_moment(void **state)
{
    struct os_random random;
    if (body_place->die_at == NULL)
        skip();
    os_random_seed(&random, test_seed());
    uint64_t position = 1;
    first_state();
    for (unsigned kill_number = 0; kill_number < KILLS; kill_number++) {
        int status = 0;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            child(0, position, 1000000);
        os_clock_real()->sleep_us(os_clock_real(), 2000 + (int64_t)os_random_below(&random, 100000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        position = check_after_crash(position, kill_number);
    }
    printf("# position %" PRIu64 " after %d kills\n", position, KILLS);
}
