/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk of a backfill.
 *
 *            ┌───────────────────────────── a pass ─────────────────────────────┐
 *   look ──▶ │ range by range: write ⇄ probe │ what was left over, until none is │ ──▶ anything found? ─no─▶ done
 *     ▲      └───────────────────────────────────────────────────────────────────┘          │yes
 *     └─────────────────────────────────────────────────────────────────────────────────────┘
 *
 * The first pass writes; the last one finds nothing, and only reads.  A pass that was broken off, or during which the
 * table got another file (VACUUM FULL, CLUSTER: rows have other pages), proves nothing: another one follows.
 *
 * Never in anybody's way:
 * 1. DIRECT waits at most a few milliseconds for a row, far less than deadlock_timeout, and no batch lives as long as
 *    that: nobody else's deadlock check can find us.  Where it met somebody the next batches SKIP, which waits for
 *    nobody.
 * 2. Rows that were skipped are remembered by their pages.  Behind the walk they are tried again, then waited for page
 *    by page; who holds one is told.
 * 3. The size of a batch follows what a row costs and how many are on a page, so that a batch takes batch_us.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "migrate/batches_int.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    BATCH_US = 50000,
    BATCH_COMPANY_US = 10000,    /* a client waits for one of its rows as long as a batch takes */
    DIRECT_LOCK_US = 10000,      /* wait for a row while others of the batch are held */
    DIRECT_DEADLOCK_US = 200000, /* below such a deadlock_timeout: never DIRECT */
    LEFT_LOCK_US = 200000,
    SKIP_FIRST = 8, /* batches, after a conflict; doubles */
    SKIP_MAX = 256,
    LEARN_ROWS = 32, /* fewer say nothing of what a row costs */
    STEP_US = 1000000,
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- steering ---- */

static int64_t batch_us(const struct batches *b)
{
    int64_t wanted_us = b->options->batch_us > 0 ? b->options->batch_us : BATCH_US;

    return b->company ? least(wanted_us, BATCH_COMPANY_US) : wanted_us;
}

/* No batch may live as long as a deadlock check of somebody who waits for it. */
static int64_t statement_us(const struct batches *b)
{
    return b->unlimited ? 0 : b->deadlock_us / 2;
}

/* What a batch of so many pages and rows took. */
static void learn(struct batches *b, int64_t pages, uint64_t rows, int64_t us)
{
    double density = (double)rows / (double)pages, wanted;

    if (rows < LEARN_ROWS)
        return;
    b->us_a_row = b->us_a_row <= 0 ? (double)us / (double)rows : 0.5 * b->us_a_row + 0.5 * (double)us / (double)rows;
    b->rows_a_page = density > 0.9 * b->rows_a_page ? density : 0.9 * b->rows_a_page;
    wanted = (double)batch_us(b) / (b->us_a_row * b->rows_a_page);
    if (wanted > 2.0 * b->pages_write) /* one lucky batch is no rule */
        wanted = 2.0 * b->pages_write;
    /* On a machine without a free core all takes long, however small it is. */
    b->pages_write = wanted < BATCHES_PAGES_LEAST ? BATCHES_PAGES_LEAST
                     : wanted > BATCHES_PAGES_MAX ? BATCHES_PAGES_MAX
                                                  : (uint32_t)wanted;
}

static void met_somebody(struct batches *b)
{
    b->skip_next = b->skip_next == 0 ? SKIP_FIRST : (unsigned)least(2 * b->skip_next, SKIP_MAX);
    b->skip_left = b->skip_next;
}

static enum batches_mode mode_of(const struct batches *b)
{
    return b->plan->keep.size > 0 || b->skip_left > 0 || b->deadlock_us < DIRECT_DEADLOCK_US ? BATCHES_SKIP
                                                                                             : BATCHES_DIRECT;
}

static void leave(struct batches *b, int64_t first, int64_t last)
{
    struct batches_range range = {.first = (uint32_t)first, .last = (uint32_t)last};

    if (b->left_count == BATCHES_LEFT_MAX)
        b->left_lost = true;
    else
        b->left[b->left_count++] = range;
}

/* ---- failures that are none ---- */

/* Values that do not fit, rules of the table that they break: somebody has to see which row it is. */
static bool is_of_data(const struct banyan_error *err)
{
    return strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0;
}

/* A batch of *pages* pages failed.  True: it was dealt with, try again (with what was changed here). */
static bool again(struct batches *b, const struct batch *batch, int64_t pages, struct os_retry *retry,
                  const struct banyan_error *err)
{
    if (strcmp(err->sqlstate, "55P03") == 0) {
        if (batch->mode == BATCHES_DIRECT) {
            met_somebody(b);
            return true;
        }
        batches_tell_table(b);                         /* rows are skipped: it is the table */
        (void)os_retry_pause(retry, b->options->stop); /* whether it was stopped is asked before the next batch */
        return true;
    }
    if (strcmp(err->sqlstate, "57014") == 0 && err->status == BANYAN_TIMEOUT) {
        if (pages == 1 && b->unlimited)
            return false; /* somebody else cancelled it */
        b->unlimited = pages == 1;
        b->pages_write = (uint32_t)(pages / 4 > 0 ? pages / 4 : 1);
        return true;
    }
    if (is_of_data(err) && pages > 1) {
        b->pages_careful = (uint32_t)(pages / 2);
        return true;
    }
    if (strncmp(err->sqlstate, "40", 2) == 0) {
        (void)os_retry_pause(retry, b->options->stop); /* as above */
        return true;
    }
    return false;
}

static enum banyan_status with_place(const struct batches *b, enum banyan_status st, int64_t first, int64_t last,
                                     struct banyan_error *err)
{
    banyan_error_context(err, "backfill of %.*s, pages %" PRId64 " to %" PRId64, (int)b->plan->table.size,
                         b->plan->table.data, first, last - 1);
    return st;
}

/* ---- the walk ---- */

/* Write rows from *b->step->page on; behind it the page is the next one. */
static enum banyan_status write_range(struct batches *b, struct os_retry *retry, struct banyan_error *err)
{
    int64_t pages = least(b->pages_write, b->step->pages - b->step->page), start_us = now_us(), worked_us;
    struct batch batch = {.mode = mode_of(b), .first = b->step->page, .statement_us = statement_us(b)};
    enum banyan_status st;

    if (b->pages_careful > 0)
        pages = least(pages, b->pages_careful);
    batch.last = batch.first + pages;
    batch.lock_us = batch.mode == BATCHES_DIRECT ? DIRECT_LOCK_US : least(LEFT_LOCK_US, b->deadlock_us / 4);
    st = batches_write(b, &batch, err);
    if (st != BANYAN_OK) {
        if (!again(b, &batch, pages, retry, err))
            return with_place(b, st, batch.first, batch.last, err);
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    os_retry_reset(retry);
    worked_us = now_us() - start_us;
    learn(b, pages, batch.written, worked_us);
    batches_rest(b, worked_us);
    b->step->page = batch.last;
    b->skip_left -= b->skip_left > 0;
    if (b->skip_left == 0 && batch.mode == BATCHES_SKIP && batch.left == 0)
        b->skip_next /= 2;
    if (batch.left > 0)
        leave(b, batch.first, batch.last);
    b->dirty = b->dirty || batch.written > 0 || batch.left > 0;
    b->probing = batch.written == 0;
    return BANYAN_OK;
}

/* Go to the next row that needs work. */
static enum banyan_status probe_range(struct batches *b, struct os_retry *retry, struct banyan_error *err)
{
    int64_t first = b->step->page, last = least(first + b->pages_probe, b->step->pages), found = -1;
    struct batch batch = {.mode = BATCHES_SKIP};
    enum banyan_status st;
    char at[32];

    st = batches_find(b, first, last, &found, at, err);
    if (st != BANYAN_OK) {
        if (strcmp(err->sqlstate, "55P03") != 0 || !again(b, &batch, last - first, retry, err))
            return with_place(b, st, first, last, err);
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    os_retry_reset(retry);
    if (found < 0) {
        b->step->page = last;
        b->pages_probe = (uint32_t)least(2 * (int64_t)b->pages_probe, BATCHES_PAGES_MAX);
        return BANYAN_OK;
    }
    b->step->page = found;
    b->pages_probe = (uint32_t)least(2 * (found - first + 1), BATCHES_PAGES_MAX);
    b->probing = false;
    b->dirty = true;
    return BANYAN_OK;
}

static enum banyan_status walk(struct batches *b, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 100000, .pause_us_max = 5000000};
    int64_t placed_us = now_us();
    enum banyan_status st = BANYAN_OK;

    while (st == BANYAN_OK && b->step->page < b->step->pages) {
        st = batches_may_go_on(b, err);
        if (st == BANYAN_OK)
            st = b->probing ? probe_range(b, &retry, err) : write_range(b, &retry, err);
        if (st == BANYAN_OK && b->probing && now_us() - placed_us >= STEP_US) { /* nothing else tells how far it is */
            placed_us = now_us();
            st = batches_place(b, err);
        }
        if (st == BANYAN_OK)
            batches_progress(b);
    }
    return st;
}

/* ---- what was left over ---- */

/* Try the rows that were held.  *ret_rest: rows of the range are still held, the first of them at *at*. */
static enum banyan_status try_left(struct batches *b, struct batches_range *range, bool wait, bool *ret_rest,
                                   char at[32], struct banyan_error *err)
{
    struct batch batch = {.mode = BATCHES_SKIP, .lock_us = least(LEFT_LOCK_US, b->deadlock_us / 4), .leftover = true};
    int64_t page = 0;
    enum banyan_status st;

    *ret_rest = false;
    batch.first = range->first;
    batch.last = range->last;
    st = batches_write(b, &batch, err);
    if (st == BANYAN_OK && batch.left == 0)
        return BANYAN_OK;
    if (st == BANYAN_OK)
        st = batches_find(b, range->first, range->last, &page, at, err);
    if (st != BANYAN_OK || page < 0)
        return st;
    range->first = (uint32_t)page;
    *ret_rest = true;
    if (!wait)
        return BANYAN_OK;
    batch = (struct batch){
        .mode = BATCHES_DIRECT, .lock_us = batch.lock_us, .leftover = true, .first = page, .last = page + 1};
    st = batches_write(b, &batch, err);
    if (st != BANYAN_OK && strcmp(err->sqlstate, "55P03") == 0) {
        banyan_error_clear(err);
        batches_tell_holder(b, at);
        return BANYAN_OK;
    }
    return st;
}

/* One round over all ranges; *ret_progress: some are done. */
static enum banyan_status round_of_left(struct batches *b, bool *ret_progress, struct banyan_error *err)
{
    size_t kept = 0, count = b->left_count;
    enum banyan_status st = BANYAN_OK;
    bool rest, waited = false;
    char at[32];

    for (size_t i = 0; i < count; i++) {
        if (st == BANYAN_OK && b->options->stop != NULL && os_stop_requested(b->options->stop))
            st = banyan_error_set(err, BANYAN_STOPPED, "stopped in the backfill of %.*s", (int)b->plan->table.size,
                                  b->plan->table.data);
        rest = true;
        if (st == BANYAN_OK) {
            st = try_left(b, &b->left[i], !waited, &rest, at, err); /* one wait a round */
            waited = waited || rest;
        }
        if (rest || st != BANYAN_OK)
            b->left[kept++] = b->left[i];
    }
    *ret_progress = kept < count;
    b->left_count = kept;
    return st;
}

static enum banyan_status finish_left(struct batches *b, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 100000, .pause_us_max = 2000000};
    enum banyan_status st = BANYAN_OK;
    bool progress;

    while (st == BANYAN_OK && b->left_count > 0) {
        st = batches_may_go_on(b, err);
        if (st != BANYAN_OK)
            break;
        st = round_of_left(b, &progress, err);
        if (st != BANYAN_OK && (strncmp(err->sqlstate, "40", 2) == 0 || strcmp(err->sqlstate, "55P03") == 0)) {
            if (err->sqlstate[0] == '5')
                batches_tell_table(b);
            banyan_error_clear(err);
            st = BANYAN_OK;
            progress = false;
        }
        if (progress)
            os_retry_reset(&retry);
        else if (st == BANYAN_OK)
            (void)os_retry_pause(&retry, b->options->stop); /* whether it was stopped is asked above */
    }
    return st;
}

/* ---- passes ---- */

static enum banyan_status begin_pass(struct batches *b, int64_t pages, struct banyan_error *err)
{
    bool goes_on = b->step->pass > 0 && b->step->page > 0;

    b->dirty = goes_on; /* of what came before nothing is known */
    b->left_count = 0;
    b->left_lost = false;
    b->probing = b->step->pass > 1 || (b->step->pass == 1 && !goes_on && b->step->rows > 0);
    if (goes_on)
        return BANYAN_OK;
    b->step->pass += b->step->pass == 0;
    b->step->page = 0;
    b->step->pages = pages;
    return batches_place(b, err);
}

static enum banyan_status passes(struct batches *b, bool *ret_gone, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    int64_t pages = 0, filenode;

    for (;;) {
        st = batches_look(b, &pages, ret_gone, err);
        if (st != BANYAN_OK || *ret_gone)
            return st;
        filenode = b->filenode;
        st = begin_pass(b, pages, err);
        if (st == BANYAN_OK)
            st = walk(b, err);
        if (st == BANYAN_OK)
            st = finish_left(b, err);
        if (st == BANYAN_OK)
            st = batches_look(b, &pages, ret_gone, err);
        if (st != BANYAN_OK || *ret_gone || (!b->dirty && !b->left_lost && b->filenode == filenode))
            return st;
        b->step->pass++;
        b->step->page = 0;
    }
}

/* Where the table was dropped under the walk, whatever failed for it is no failure. */
static enum banyan_status unless_gone(struct batches *b, enum banyan_status st, struct banyan_error *err)
{
    struct banyan_error second = BANYAN_ERROR_INIT;
    int64_t pages;
    bool gone = false;

    if (st == BANYAN_TABLE && b->oid != 0 && batches_look(b, &pages, &gone, &second) == BANYAN_OK && gone) {
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    return st;
}

enum banyan_status batches_run(struct pg_conn *conn, struct pg_conn *watch, const struct plan_batches *batches,
                               const struct batches_options *options, struct books_step *step, struct banyan_error *err)
{
    struct batches b = {.conn = conn,
                        .watch = watch,
                        .plan = batches,
                        .options = options,
                        .step = step,
                        .pages_write = BATCHES_PAGES_FIRST,
                        .pages_probe = BATCHES_PAGES_FIRST,
                        .reason = BANYAN_BUF_INIT(BATCHES_REASON_MAX)};
    int64_t pages;
    bool gone = false;
    enum banyan_status st;

    b.left = alloc_zeroed(BATCHES_LEFT_MAX, sizeof(b.left[0]));
    st = batches_look(&b, &pages, &gone, err);
    if (st == BANYAN_OK)
        st = batches_prepare(&b, err);
    if (st == BANYAN_OK)
        st = passes(&b, &gone, err);
    st = unless_gone(&b, st, err);
    step->message = (struct banyan_str){"", 0}; /* the buffer ends here */
    free(b.left);
    throttle_state_release(&b.throttle);
    banyan_buf_release(&b.reason);
    banyan_arena_release(&b.arena);
    return st;
}
