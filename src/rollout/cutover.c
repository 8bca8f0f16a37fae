/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cutover.h for the order of the steps and why it is safe.
 *
 * Two rules keep this file simple.
 *   1. What a failed step may have done is never guessed: behind a commit that failed, in whatever way, the journal is
 *      read; behind a change of the owner that failed, the owner is asked.
 *   2. Two facts say everything about where an earlier try stopped: the owner with its epoch, and the last row of the
 *      server's journal.  locate() is the one place that reads the pair.
 */
#include "rollout/cutover.h"

#include <inttypes.h>
#include <string.h>

enum {
    TRIES_DEFAULT = 20,
    OWN_TRIES = 5, /* of a change of the owner that the log did not take */
    LOOK_TRIES = 3,
    RESOLVE_TRIES = 50, /* of reading the journal within the pause, besides its time */
};

static const int64_t pause_default_us = 1000000;
/* Between two tries to lock: at first as long as a try may keep writers waiting, so that at least half the time is
 * theirs. */
static const int64_t lock_pause_us = 100000, lock_pause_us_max = 1000000;
static const int64_t short_pause_us = 10000;

struct run {
    const struct cutover_world *world;
    struct cutover_options options; /* defaults filled in */
    struct cutover_report *report;
    enum owner_mode before; /* the owner when it began */
    uint64_t epoch;         /* its epoch now */
    bool held;
    int64_t held_at_us;
    int64_t locked_at_us;
    int64_t step_at_us; /* when report->last began */
};

const char *cutover_step_name(enum cutover_step step)
{
    static const char *const names[CUTOVER_STEPS] = {
        [CUTOVER_NOT_BEGUN] = "not-begun", [CUTOVER_PREFLIGHT] = "preflight", [CUTOVER_HOLD] = "hold",
        [CUTOVER_LOCK] = "lock",           [CUTOVER_FENCE] = "fence",         [CUTOVER_CAUGHT_UP] = "caught-up",
        [CUTOVER_VERIFY] = "verify",       [CUTOVER_COMMIT] = "commit",       [CUTOVER_CLOSING] = "closing",
        [CUTOVER_DRAINED] = "drained",     [CUTOVER_UNFENCE] = "unfence",     [CUTOVER_OWN] = "own",
        [CUTOVER_RELEASE] = "release",
    };
    return (unsigned)step < CUTOVER_STEPS ? names[step] : "unknown";
}

/* ---- small parts ---- */

static int64_t now_us(const struct run *run)
{
    return run->world->now_us(run->world->context);
}

static void end_step(struct run *run)
{
    if (run->report->last != CUTOVER_NOT_BEGUN)
        run->report->step_us[run->report->last] += now_us(run) - run->step_at_us;
}

static void begin_step(struct run *run, enum cutover_step step)
{
    end_step(run);
    run->report->last = step;
    run->step_at_us = now_us(run);
    if (run->world->at != NULL)
        run->world->at(run->world->context, step);
}

static void let_time_pass(const struct run *run, int64_t us)
{
    if (run->world->wait != NULL)
        run->world->wait(run->world->context, us);
}

/* Two controllers, or two tries, shall not keep in step: half to all of it. */
static int64_t jittered(const struct run *run, int64_t us)
{
    uint64_t mixed = ((uint64_t)now_us(run) + 1) * UINT64_C(0x9e3779b97f4a7c15);

    return us / 2 + (int64_t)((mixed >> 33) % (uint64_t)(us / 2 + 1));
}

static enum banyan_status hold(struct run *run, struct banyan_error *err)
{
    begin_step(run, CUTOVER_HOLD);
    run->held_at_us = now_us(run);
    run->held = true; /* also where it fails half-way */
    return run->world->hold(run->world->context, err);
}

/* Of a try that did not get there, report->last stays the step that failed. */
static void release(struct run *run)
{
    enum cutover_step last = run->report->last;
    int64_t pause_us;

    if (!run->held)
        return;
    begin_step(run, CUTOVER_RELEASE);
    run->world->release(run->world->context);
    run->held = false;
    end_step(run);
    run->step_at_us = now_us(run);
    if (!run->report->done)
        run->report->last = last;
    pause_us = now_us(run) - run->held_at_us;
    if (pause_us > run->report->pause_us)
        run->report->pause_us = pause_us;
}

static void roll_back(struct run *run)
{
    run->world->abort(run->world->context);
    if (run->locked_at_us != 0)
        run->report->locked_us = now_us(run) - run->locked_at_us;
    run->locked_at_us = 0;
}

/* Nobody goes on behind the limit: the gateway's hold has ended by itself then. */
static enum banyan_status in_time(const struct run *run, struct banyan_error *err)
{
    int64_t waited_us = now_us(run) - run->held_at_us;
    enum banyan_status st;

    if (waited_us < run->options.pause_us_max)
        return BANYAN_OK;
    st = banyan_error_set(err, BANYAN_TIMEOUT, "the pause is over: %" PRId64 " ms of %" PRId64 " ms, in step %s",
                          waited_us / 1000, run->options.pause_us_max / 1000, cutover_step_name(run->report->last));
    banyan_error_hint(err, "Nothing was changed.  Try again when the server is less busy, or allow a longer pause "
                           "(--max-pause).");
    return st;
}

/* Make *mode* the owner.  A change that was made though the call failed counts. */
static enum banyan_status own(struct run *run, enum cutover_step step, enum owner_mode mode, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st = BANYAN_OK;

    begin_step(run, step);
    for (unsigned try = 0; try < OWN_TRIES; try++) {
        uint64_t epoch = 0;

        if (try > 0)
            let_time_pass(run, short_pause_us);
        banyan_error_clear(&why);
        st = world->own(world->context, run->epoch, mode, &why);
        if (st == BANYAN_OK) {
            run->epoch++;
            return BANYAN_OK;
        }
        if (world->owner(world->context, &epoch) == mode && epoch == run->epoch + 1) {
            run->epoch = epoch;
            return BANYAN_OK;
        }
        if (banyan_status_class(st) != BANYAN_CLASS_RETRY)
            break;
    }
    if (err != NULL && err->status == BANYAN_OK)
        *err = why;
    return st;
}

/* What was done and cannot be taken back is known; the rest has to wait for cutover_recover(). */
static enum banyan_status unfinished(struct run *run, struct banyan_error *err, const char *known)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st;

    if (err != NULL)
        why = *err;
    banyan_error_clear(err);
    st = banyan_error_set(err, BANYAN_UNCERTAIN, "%s, in step %s: %s", known, cutover_step_name(run->report->last),
                          why.message);
    if (why.detail[0] != '\0')
        banyan_error_detail(err, "%s", why.detail);
    banyan_error_hint(err, "It is looked at again until it is known; nobody can write the tables on both sides "
                           "meanwhile.");
    return st;
}

/* ---- where things stand ---- */

enum place {
    PLACE_LEGACY = 1, /* at rest */
    PLACE_SHARED,     /* at rest */
    PLACE_BANYAN,     /* at rest */
    PLACE_COMMITTED,  /* over: the journal says Banyan, the owner does not know yet */
    PLACE_CLOSING,    /* back: given up when nobody goes on */
    PLACE_CLOSING_SHARED,
    PLACE_CLOSED,   /* back: the owner is the legacy application, its tables are still fenced */
    PLACE_UNFENCED, /* the journal says so, the owner is still closing: not of our making, but clear */
    PLACE_CONTRADICTION,
};

static enum place locate_fenced(enum owner_mode mode, uint64_t epoch, uint64_t journal_epoch)
{
    bool earlier = journal_epoch <= epoch, next = journal_epoch == epoch + 1;

    switch (mode) {
    case OWNER_BANYAN:
        return earlier ? PLACE_BANYAN : PLACE_CONTRADICTION;
    case OWNER_CLOSING:
        return earlier ? PLACE_CLOSING : PLACE_CONTRADICTION;
    case OWNER_LEGACY:
        return next ? PLACE_COMMITTED : earlier ? PLACE_CLOSED : PLACE_CONTRADICTION;
    case OWNER_NONE:
    case OWNER_SHARED:
        return next ? PLACE_COMMITTED : PLACE_CONTRADICTION;
    }
    return PLACE_CONTRADICTION;
}

static enum place locate(enum owner_mode mode, uint64_t epoch, const struct cutover_journal *journal)
{
    if (journal->epoch != 0 && journal->owner == OWNER_BANYAN)
        return locate_fenced(mode, epoch, journal->epoch);
    if (journal->epoch > epoch)
        return mode == OWNER_CLOSING && journal->epoch == epoch + 1 ? PLACE_UNFENCED : PLACE_CONTRADICTION;
    switch (mode) {
    case OWNER_NONE:
    case OWNER_LEGACY:
        return PLACE_LEGACY;
    case OWNER_SHARED:
        return PLACE_SHARED;
    case OWNER_CLOSING:
        return PLACE_CLOSING_SHARED;
    case OWNER_BANYAN:
        break;
    }
    return PLACE_CONTRADICTION; /* Banyan owns tables that are not fenced */
}

static enum banyan_status contradiction(const struct run *run, enum owner_mode mode,
                                        const struct cutover_journal *journal, struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(
        err, BANYAN_MISMATCH, "the log says that the owner is %s (epoch %" PRIu64 "), the journal at the server %s",
        owner_mode_name(mode), run->epoch, journal->epoch == 0 ? "has no row" : "contradicts");

    if (journal->epoch != 0)
        banyan_error_detail(err, "Last row of banyan.journal: %s, epoch %" PRIu64 ".", owner_mode_name(journal->owner),
                            journal->epoch);
    banyan_error_hint(err, "One of them was restored from an old copy, or the rows were changed by hand.  Stop writers "
                           "of both sides, find out which one is newer, and see docs/ROLLOUT.md.");
    return st;
}

/* The two facts have to be of one time: who was frozen between them compares one with the past of the other. */
static enum banyan_status look(struct run *run, enum place *ret, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    struct cutover_journal journal = {.epoch = 0};
    uint64_t before = 0;
    enum owner_mode mode;

    for (unsigned try = 0; try < LOOK_TRIES; try++) {
        enum banyan_status st;

        (void)world->owner(world->context, &before);
        st = world->journal(world->context, &journal, err);
        if (st != BANYAN_OK)
            return st;
        mode = world->owner(world->context, &run->epoch);
        if (run->epoch != before)
            continue;
        *ret = locate(mode, run->epoch, &journal);
        return *ret == PLACE_CONTRADICTION ? contradiction(run, mode, &journal, err) : BANYAN_OK;
    }
    return banyan_error_set(err, BANYAN_BUSY, "the owner is being changed by somebody else");
}

/* As look(), again and again within the pause: its answer decides whether writes can go on. */
static enum banyan_status look_until(struct run *run, enum place *ret, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st;

    for (unsigned try = 1;; try++) {
        banyan_error_clear(&why);
        st = look(run, ret, &why);
        if (st == BANYAN_OK || st == BANYAN_MISMATCH || st == BANYAN_STOPPED || try == RESOLVE_TRIES ||
            in_time(run, NULL) != BANYAN_OK)
            break;
        let_time_pass(run, jittered(run, 2 * short_pause_us));
    }
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = why;
    return st;
}

/* ---- to Banyan ---- */

/* Hold and lock; between two tries everybody writes. */
static enum banyan_status lock_all(struct run *run, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    int64_t pause_us = lock_pause_us;
    enum banyan_status st;

    for (;;) {
        banyan_error_clear(&why);
        st = hold(run, &why);
        if (st == BANYAN_OK)
            st = in_time(run, &why);
        if (st == BANYAN_OK) {
            begin_step(run, CUTOVER_LOCK);
            run->report->lock_tries++;
            run->locked_at_us = now_us(run);
            st = run->world->lock(run->world->context, &why);
        }
        if (st != BANYAN_BUSY || run->report->lock_tries >= run->options.lock_tries)
            break;
        roll_back(run);
        release(run);
        let_time_pass(run, jittered(run, 2 * pause_us));
        pause_us = 2 * pause_us < lock_pause_us_max ? 2 * pause_us : lock_pause_us_max;
    }
    if (st == BANYAN_BUSY)
        banyan_error_context(&why, "after %u tries", run->report->lock_tries);
    if (st != BANYAN_OK && err != NULL)
        *err = why;
    return st;
}

/* Everything between the locks and the point of no return. */
static enum banyan_status prove(struct run *run, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    enum banyan_status st = in_time(run, err);

    if (st == BANYAN_OK) {
        begin_step(run, CUTOVER_FENCE);
        st = world->fence(world->context, &run->report->fence_lsn, err);
    }
    if (st == BANYAN_OK)
        st = in_time(run, err);
    if (st == BANYAN_OK) {
        begin_step(run, CUTOVER_CAUGHT_UP);
        st = world->caught_up(world->context, run->report->fence_lsn, err);
    }
    if (st == BANYAN_OK)
        st = in_time(run, err);
    if (st == BANYAN_OK) {
        begin_step(run, CUTOVER_VERIFY);
        st = world->verify(world->context, CUTOVER_OVER, err);
    }
    return st == BANYAN_OK ? in_time(run, err) : st;
}

/* The journal was read, and knows nothing of it. */
static enum banyan_status surely_not_done(enum banyan_status failure, struct banyan_error *err)
{
    if (failure != BANYAN_UNCERTAIN)
        return failure;
    if (err != NULL)
        err->status = BANYAN_UNAVAILABLE;
    banyan_error_context(err, "not done, says the journal");
    return BANYAN_UNAVAILABLE;
}

/* The commit failed in some way.  OK: it was made nevertheless. */
static enum banyan_status was_committed(struct run *run, enum banyan_status failure, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum place place = PLACE_CONTRADICTION;

    roll_back(run);
    if (look_until(run, &place, &why) != BANYAN_OK) {
        banyan_error_clear(err);
        if (err != NULL)
            *err = why;
        return unfinished(run, err, "the answer to the commit was lost, and the journal cannot be read");
    }
    if (place == PLACE_COMMITTED) {
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    return surely_not_done(failure, err);
}

static enum banyan_status run_over(struct run *run, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    enum banyan_status st = lock_all(run, err);

    if (st == BANYAN_OK)
        st = prove(run, err);
    if (st != BANYAN_OK) {
        roll_back(run);
        return st;
    }
    begin_step(run, CUTOVER_COMMIT);
    st = world->commit(world->context, run->epoch + 1, err);
    run->report->locked_us = now_us(run) - run->locked_at_us;
    if (st != BANYAN_OK)
        st = was_committed(run, st, err);
    if (st != BANYAN_OK)
        return st;
    if (own(run, CUTOVER_OWN, OWNER_BANYAN, err) != BANYAN_OK)
        return unfinished(run, err, "the journal at the server says Banyan, but the owner could not be changed");
    return BANYAN_OK;
}

/* ---- back ---- */

/* Own CLOSING, and everything written that was accepted. */
static enum banyan_status close_down(struct run *run, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    enum banyan_status st = in_time(run, err);

    if (st == BANYAN_OK)
        st = own(run, CUTOVER_CLOSING, OWNER_CLOSING, err);
    if (st == BANYAN_OK)
        st = in_time(run, err);
    if (st == BANYAN_OK) {
        begin_step(run, CUTOVER_DRAINED);
        st = world->drained(world->context, err);
    }
    if (st == BANYAN_OK)
        st = in_time(run, err);
    if (st == BANYAN_OK && run->options.direction == CUTOVER_BACK) {
        begin_step(run, CUTOVER_VERIFY);
        st = world->verify(world->context, CUTOVER_BACK, err);
        if (st == BANYAN_OK)
            st = in_time(run, err);
    }
    return st;
}

/* The tables are the legacy application's again.  *ret_fenced: where it failed, are they surely still fenced? */
static enum banyan_status open_tables(struct run *run, bool *ret_fenced, struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum place place = PLACE_CONTRADICTION;
    enum banyan_status st;

    *ret_fenced = false;
    for (unsigned try = 1;; try++) {
        begin_step(run, CUTOVER_UNFENCE);
        run->report->lock_tries = try;
        banyan_error_clear(&why);
        st = world->unfence(world->context, run->epoch, &why);
        if (st == BANYAN_OK)
            return BANYAN_OK;
        world->abort(world->context);
        if (st != BANYAN_BUSY || try >= run->options.lock_tries || in_time(run, NULL) != BANYAN_OK)
            break;
        let_time_pass(run, jittered(run, 2 * short_pause_us));
    }
    if (err != NULL)
        *err = why;
    banyan_error_clear(&why);
    if (look_until(run, &place, &why) != BANYAN_OK) {
        if (err != NULL)
            *err = why;
        return st;
    }
    if (place == PLACE_LEGACY) {
        banyan_error_clear(err);
        return BANYAN_OK;
    }
    *ret_fenced = place == PLACE_CLOSED;
    return surely_not_done(st, err);
}

/* Nothing was handed over: the owner is again who it was.  Behind own LEGACY only the journal can say so: somebody else
 * may be about to unfence, on the grounds of what the log says. */
static enum banyan_status give_up(struct run *run, enum banyan_status failure, enum owner_mode before,
                                  struct banyan_error *err)
{
    const struct cutover_world *world = run->world;
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st = BANYAN_OK;
    uint64_t epoch = 0;
    enum owner_mode mode = world->owner(world->context, &epoch);

    if (mode == before)
        return failure;
    if (epoch != run->epoch)
        st = banyan_error_set(&why, BANYAN_CONFLICT, "the owner was changed by somebody else");
    if (st == BANYAN_OK && mode == OWNER_LEGACY)
        st = world->claim(world->context, epoch + 1, &why);
    if (st == BANYAN_OK)
        st = own(run, CUTOVER_OWN, before, &why);
    if (st == BANYAN_OK)
        return failure;
    if (err != NULL)
        *err = why;
    return unfinished(run, err, "nothing was handed back, but the owner could not be changed");
}

static enum banyan_status run_back(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = hold(run, err);
    bool fenced = true;

    if (st == BANYAN_OK)
        st = close_down(run, err);
    if (st == BANYAN_OK)
        st = own(run, CUTOVER_OWN, OWNER_LEGACY, err);
    if (st == BANYAN_OK && run->before == OWNER_BANYAN)
        st = open_tables(run, &fenced, err);
    if (st == BANYAN_OK)
        return BANYAN_OK;
    if (!fenced)
        return unfinished(run, err, "whether the tables are the legacy application's again is not known");
    return give_up(run, st, run->before, err);
}

/* ---- settle what an earlier try left ---- */

static enum banyan_status settle_closed(struct run *run, struct banyan_error *err)
{
    bool fenced = false;
    enum banyan_status st = open_tables(run, &fenced, err);

    /* Refused for good (a right is missing, the server is out of order): better Banyan goes on than nobody. */
    if (st == BANYAN_OK || !fenced || banyan_status_class(st) == BANYAN_CLASS_RETRY || st == BANYAN_STOPPED)
        return st;
    return give_up(run, st, OWNER_BANYAN, err);
}

static enum banyan_status settle_owner(struct run *run, enum owner_mode mode, struct banyan_error *err)
{
    if (own(run, CUTOVER_OWN, mode, err) == BANYAN_OK)
        return BANYAN_OK;
    return unfinished(run, err, "an earlier try was found half-way, but the owner could not be changed");
}

static enum banyan_status settle(struct run *run, struct banyan_error *err)
{
    enum place place = PLACE_CONTRADICTION;
    enum banyan_status st = look(run, &place, err);

    if (st != BANYAN_OK)
        return st;
    switch (place) {
    case PLACE_COMMITTED:
    case PLACE_CLOSING:
        return settle_owner(run, OWNER_BANYAN, err);
    case PLACE_CLOSING_SHARED:
        return settle_owner(run, OWNER_SHARED, err);
    case PLACE_UNFENCED:
        return settle_owner(run, OWNER_LEGACY, err);
    case PLACE_CLOSED:
        return settle_closed(run, err);
    case PLACE_LEGACY:
    case PLACE_SHARED:
    case PLACE_BANYAN:
    case PLACE_CONTRADICTION:
        break;
    }
    return BANYAN_OK;
}

/* ---- the two entries ---- */

static void run_init(struct run *run, const struct cutover_world *world, const struct cutover_options *options,
                     struct cutover_report *report)
{
    *report = (struct cutover_report){.done = false};
    *run = (struct run){.world = world, .options = *options, .report = report};
    if (run->options.pause_us_max <= 0)
        run->options.pause_us_max = pause_default_us;
    if (run->options.lock_tries == 0)
        run->options.lock_tries = TRIES_DEFAULT;
    run->held_at_us = now_us(run);
}

/* Is the ownership where the direction leads? */
static bool arrived(struct run *run)
{
    run->before = run->world->owner(run->world->context, &run->epoch);
    run->report->epoch = run->epoch;
    if (run->options.direction == CUTOVER_OVER)
        return run->before == OWNER_BANYAN;
    return run->before == OWNER_LEGACY || run->before == OWNER_NONE;
}

static enum banyan_status run_direction(struct run *run, struct banyan_error *err)
{
    bool over = run->options.direction == CUTOVER_OVER;
    enum owner_mode wanted = over                                     ? run->options.from
                             : run->options.direction == CUTOVER_BACK ? OWNER_BANYAN
                                                                      : OWNER_SHARED;

    if (run->before != wanted && wanted != OWNER_NONE)
        return banyan_error_set(err, BANYAN_CONFLICT, "the owner is %s, where %s was to be handed %s",
                                owner_mode_name(run->before), owner_mode_name(wanted), over ? "over" : "back");
    return over ? run_over(run, err) : run_back(run, err);
}

enum banyan_status cutover_run(const struct cutover_world *world, const struct cutover_options *options,
                               struct cutover_report *ret, struct banyan_error *err)
{
    struct run run;
    enum banyan_status st;

    run_init(&run, world, options, ret);
    begin_step(&run, CUTOVER_PREFLIGHT);
    st = settle(&run, err);
    if (st != BANYAN_OK)
        goto out;
    ret->done = arrived(&run);
    if (ret->done)
        goto out;
    st = world->preflight(world->context, options->direction, err);
    if (st == BANYAN_OK)
        st = run_direction(&run, err);
    if (st == BANYAN_OK)
        ret->done = true;
    ret->epoch = run.epoch;
    if (st != BANYAN_UNCERTAIN)
        release(&run);
out:
    end_step(&run);
    return st;
}

enum banyan_status cutover_recover(const struct cutover_world *world, const struct cutover_options *options,
                                   struct cutover_report *ret, struct banyan_error *err)
{
    struct run run;
    enum banyan_status st;

    run_init(&run, world, options, ret);
    world->abort(world->context); /* of a run that ended UNCERTAIN */
    st = settle(&run, err);
    if (st == BANYAN_OK) {
        ret->done = arrived(&run);
        run.held = true; /* by that run, maybe */
        release(&run);
        ret->pause_us = 0;
    }
    end_step(&run);
    return st;
}
