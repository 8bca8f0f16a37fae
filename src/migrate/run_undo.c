/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way back: every step that was begun, last first, each by its own actions in their order.
 *
 *   | step in the books    | then                                                                          |
 *   | open, undone         | nothing                                                                       |
 *   | running, transaction | nothing was done: it is all in one transaction                                |
 *   | running, outside     | nothing where *done* says that it was not done; else as done                  |
 *   | running, others      | as done: their undo takes what is there                                       |
 *   | undoing              | on behind the actions that are undone                                         |
 *   | done                 | undone, unless it is final: that stays, and the books go on saying "done"     |
 *
 * What it does is as any step: marked, tried again, gone on with after a crash.
 */
#include <string.h>

#include "migrate/run_int.h"

static enum banyan_status mark_undone(struct run *run, size_t number, struct banyan_error *err)
{
    struct books_step step = run->books.steps[number];

    step.state = BOOKS_STEP_UNDONE;
    step.ended_us = 0;
    step.pass = 0, step.page = 0, step.pages = 0; /* where it is done once more it begins at its first page */
    step.message = BANYAN_STR("");
    return run_mark(run, number, &step, err);
}

/* Was anything done that stays? */
static enum banyan_status anything(struct run *run, size_t number, bool *ret, struct banyan_error *err)
{
    const struct plan_action *act = &run->plan.steps[number].act;
    const struct books_step *step = &run->books.steps[number];

    *ret = true;
    if (step->state != BOOKS_STEP_RUNNING)
        return BANYAN_OK;
    if (act->kind == PLAN_TRANSACTION) {
        *ret = false;
        return BANYAN_OK;
    }
    return act->kind == PLAN_OUTSIDE && act->done.size > 0 ? run_ask(run, act->done, ret, err) : BANYAN_OK;
}

/* Somebody took the table, column or index away by hand: there is nothing left to undo. */
static bool is_gone(const struct banyan_error *why)
{
    static const char *const states[] = {"42P01", "42703", "42704"};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(why->sqlstate, states[i]) == 0)
            return true;
    return false;
}

/* One action.  What is gone is passed over where that is allowed, or the migration would be in the way for ever. */
static enum banyan_status undo_one(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st = run_do(run, work, &why);
    struct books_step step;

    if (st == BANYAN_OK)
        return st;
    if (is_gone(&why) && run->options->allow) {
        step = run->books.steps[work->number];
        step.state = work->state;
        step.undone = work->undone;
        step.ended_us = 0;
        step.pass = 0, step.page = 0, step.pages = 0;
        step.message = banyan_str_of(why.message);
        return run_mark(run, work->number, &step, err);
    }
    if (is_gone(&why))
        banyan_error_hint(&why,
                          "Something that the migration needs was taken away or renamed by hand: bring it back, then: "
                          "banyan migrate resume %.*s.  Where it is gone for good: banyan migrate rollback --allow "
                          "%.*s passes over it.",
                          (int)run->version.size, run->version.data, (int)run->version.size, run->version.data);
    if (err != NULL)
        *err = why;
    return st;
}

static enum banyan_status undo(struct run *run, size_t number, struct banyan_error *err)
{
    const struct plan_step *step = &run->plan.steps[number];
    struct books_step begun = run->books.steps[number];
    enum banyan_status st = BANYAN_OK;
    bool any = true;

    if (begun.state == BOOKS_STEP_OPEN || begun.state == BOOKS_STEP_UNDONE)
        return BANYAN_OK;
    if (step->final && begun.state != BOOKS_STEP_UNDOING)
        return BANYAN_OK;
    st = anything(run, number, &any, err);
    if (st != BANYAN_OK)
        return st;
    if (!any || step->undo_count == 0)
        return mark_undone(run, number, err);
    if (begun.state != BOOKS_STEP_UNDOING) {
        begun.state = BOOKS_STEP_UNDOING;
        begun.undone = 0;
        begun.pass = 0, begun.page = 0, begun.pages = 0;
        begun.message = BANYAN_STR("");
        st = run_mark(run, number, &begun, err);
    }
    for (uint32_t k = begun.undone; k < step->undo_count && st == BANYAN_OK; k++) {
        struct run_work work = {
            .number = number,
            .action = &step->undo[k],
            .undoing = true,
            .state = k + 1 == step->undo_count ? BOOKS_STEP_UNDONE : BOOKS_STEP_UNDOING,
            .undone = k + 1,
        };

        if (k < run->books.steps[number].undone) /* by somebody else, while our connection was lost */
            continue;
        st = run_not_paused(run, err);
        if (st == BANYAN_OK)
            st = undo_one(run, &work, err);
    }
    return st;
}

enum banyan_status run_undo_from(struct run *run, enum plan_phase phase, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t i = run->plan.step_count; i-- > 0 && st == BANYAN_OK;)
        if (run->plan.steps[i].phase >= phase)
            st = undo(run, i, err);
    return st;
}
