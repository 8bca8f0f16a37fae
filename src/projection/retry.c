/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key or stream that is aside, tried again: what was held is read from the log once more, from the event that failed
 * up to the checkpoint, applied in order, and written in one flush that also says that it is no longer aside.
 *
 *   nothing pending ─▶ lift ─▶ apply all that was held ─▶ flush: rows, and what was lifted
 *                               │ one fails
 *                               └▶ all is forgotten, the session resumes with the new reason written down
 *
 * All or nothing: a key is never half applied, and a crash at any point leaves it aside as it was.
 */
#include "banyan/arena.h"
#include "projection/runner_int.h"

static enum banyan_status apply_held(struct runner *runner, const struct sink_aside *aside, struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(runner->engine->options.store);
    struct store_read_event event;
    uint64_t last = runner->written.position.value;
    enum banyan_status st;
    if (aside->by_stream) {
        st = store_reader_stream(reader, aside->stream, (struct banyan_version){0}, err);
    } else {
        st = store_reader_seek(reader, aside->position, err);
        store_reader_filter(reader, fold_filter(runner->fold));
    }
    while (st == BANYAN_OK) {
        bool applied = false;
        st = store_reader_next(reader, &event, err);
        if (st != BANYAN_OK || event.position.value > last)
            break;
        if (event.position.value < aside->position.value)
            continue;
        st = fold_again(runner->fold, runner->unit, aside, &event, &applied, err);
        runner->applied_pending += applied;
        if (st == BANYAN_INVALID && event.position.value != aside->position.value)
            banyan_error_context(err, "position %llu", (unsigned long long)event.position.value);
    }
    store_reader_close(reader);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

/* It failed again: nothing but the reason changes. */
static enum banyan_status write_reason(struct runner *runner, const struct sink_aside *aside,
                                       const struct banyan_error *why, bool *ret_session_over, struct banyan_error *err)
{
    bool live = runner->live;
    *ret_session_over = true;
    enum banyan_status st = runner_resume(runner, err); /* forgets what was folded */
    if (st != BANYAN_OK)
        return st;
    fold_explain(runner->fold, aside, banyan_str_of(why->message));
    st = runner_flush(runner, err);
    if (st != BANYAN_OK)
        return st;
    *ret_session_over = false;
    runner->live = live; /* as before: it lost nothing but time */
    pthread_mutex_lock(&runner->shared.lock);
    runner->shared.live = live;
    pthread_mutex_unlock(&runner->shared.lock);
    if (err != NULL) {
        *err = *why;
        err->status = BANYAN_INVALID; /* whatever the event made of it: it stays aside, and nothing is broken */
        if (err->hint[0] == '\0')
            banyan_error_hint(err, "it stays aside; run a program that can apply it, then try again");
    }
    return BANYAN_INVALID;
}

enum banyan_status runner_try_again(struct runner *runner, int64_t key, struct banyan_str stream,
                                    bool *ret_session_over, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct sink_aside aside;
    enum banyan_status st;
    *ret_session_over = false;
    if (!fold_aside_find(runner->fold, key, stream, &arena, &aside)) {
        st = stream.size > 0 ? banyan_error_set(err, BANYAN_NOT_FOUND, "view %s: stream %.*s is not aside",
                                                runner->options.name, (int)stream.size, stream.data)
                             : banyan_error_set(err, BANYAN_NOT_FOUND, "view %s: key %lld is not aside",
                                                runner->options.name, (long long)key);
        goto out;
    }
    fold_lift(runner->fold, &aside);
    st = apply_held(runner, &aside, &why);
    if (st == BANYAN_OK) {
        st = runner_flush(runner, err);
        *ret_session_over = st != BANYAN_OK;
    } else if (st == BANYAN_INVALID) {
        st = write_reason(runner, &aside, &why, ret_session_over, err);
    } else {
        *ret_session_over = true; /* a read failed: the memory cannot be trusted */
        if (err != NULL)
            *err = why;
    }
out:
    banyan_arena_release(&arena);
    return st;
}
