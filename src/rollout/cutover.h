/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving the ownership of all aggregates, in either direction, so that at no instant two sides accept writes of one
 * aggregate, and after a crash at any instruction one of them can be told to be the owner.
 *
 *   over:  preflight ▶ hold ▶ lock ▶ fence ▶ caught up ▶ verify ▶ commit ▶ own BANYAN ▶ release
 *                                   └── one PostgreSQL transaction ───┘ ◀ point of no return: the journal row
 *   back:  preflight ▶ hold ▶ own CLOSING ▶ drained ▶ verify ▶ own LEGACY ▶ unfence ▶ release
 *                                                                           └ one transaction: point of no return
 *   back from SHARED (nothing is fenced): preflight ▶ hold ▶ own CLOSING ▶ drained ▶ own LEGACY, which decides ▶
 * release
 *
 *   | crash behind     | owner   | the server's journal says | then                                              |
 *   | hold … verify    | before  | as before                 | its transaction is gone with its session: abort   |
 *   | commit           | before  | BANYAN, the next epoch    | forward: own BANYAN, release                      |
 *   | own CLOSING      | CLOSING | BANYAN                    | give it up: own BANYAN                            |
 *   | own CLOSING      | CLOSING | LEGACY, or nothing        | it was SHARED; give it up: own SHARED             |
 *   | own LEGACY       | LEGACY  | BANYAN, an earlier epoch  | forward: unfence (refused: claim, own BANYAN)     |
 *   | claim            | LEGACY  | BANYAN, the next epoch    | as behind commit: own BANYAN                      |
 *   | unfence          | LEGACY  | LEGACY, the same epoch    | it is done: release                               |
 *   Any other pair is no crash: log or server were restored from an old copy.  MISMATCH, and nothing is touched.
 *
 * Why it is safe.  Over: while the transaction is open nobody writes the tables, since it waited for all earlier
 * writers; whoever queued behind it meets the fence trigger or, if it was rolled back, an owner who is still the legacy
 * application.  Banyan accepts nothing before own BANYAN, which comes behind the commit.  Back: Banyan accepts nothing
 * behind own CLOSING, for every append carries its epoch as a condition; the tables accept nothing before unfence,
 * which comes behind drained.  Own LEGACY comes before it, because what an application writes the moment after unfence
 * is captured at once, and has to find the legacy application as the owner: else it would be a conflict.
 *
 * A controller that is frozen is a crash that comes back: the server ends its session by itself
 * (idle_in_transaction_session_timeout, transaction limits), the gateway's hold ends by its own clock, and what it does
 * afterwards meets a dead session or another epoch.  A commit whose answer was lost is UNCERTAIN: only a look at the
 * journal over a new connection decides, never a second try.
 *
 * Two controllers at a time, or one that was thought dead: who looks at the journal ends the sessions of all others at
 * the server, and acts there over that very session, never over a new one; what it does at the log carries the epoch.
 * So the first look of one is the end of the other.
 *
 * The same code runs against PostgreSQL (cutover_postgres.c) and against the simulated world of the tests: everything
 * that it touches is behind cutover_world.
 *
 * Threads: one runs it.
 */
#ifndef ROLLOUT_CUTOVER_H
#define ROLLOUT_CUTOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "rollout/owner.h"

enum cutover_direction {
    CUTOVER_OVER = 1,    /* to Banyan */
    CUTOVER_BACK,        /* to the legacy application, from event first */
    CUTOVER_BACK_SHARED, /* from canary and ramp */
};

enum cutover_step {
    CUTOVER_NOT_BEGUN = 0,
    CUTOVER_PREFLIGHT,
    CUTOVER_HOLD,
    CUTOVER_LOCK,
    CUTOVER_FENCE,
    CUTOVER_CAUGHT_UP,
    CUTOVER_VERIFY,
    CUTOVER_COMMIT,
    CUTOVER_CLOSING,
    CUTOVER_DRAINED,
    CUTOVER_UNFENCE,
    CUTOVER_OWN,
    CUTOVER_RELEASE,
    CUTOVER_STEPS,
};
const char *cutover_step_name(enum cutover_step step); /* "caught-up" */

/* What the server's journal says; the last committed row of this source. */
struct cutover_journal {
    uint64_t epoch;        /* that the ownership was to get; 0: no row */
    enum owner_mode owner; /* LEGACY or BANYAN */
};

/* The world.  Every function may fail, be late, or be the last one that this process calls.  On a failure of any step
 * before the point of no return the run calls abort() and release(). */
struct cutover_world {
    void *context;
    /* Open and prepared transactions, lag, slot, mirror, last verification; a reason for people when not good. */
    enum banyan_status (*preflight)(void *context, enum cutover_direction direction, struct banyan_error *err);
    /* The gateway keeps writes from now on; OK when none is under way any more.  Ends by itself after the pause's
     * limit. */
    enum banyan_status (*hold)(void *context, struct banyan_error *err);
    void (*release)(void *context);
    /* BEGIN, limits of the session, LOCK TABLE with a short lock_timeout, the fence trigger.  BUSY: try again.  As
     * commit(), unfence() and claim(): over the session of the last journal(); UNAVAILABLE when that was ended. */
    enum banyan_status (*lock)(void *context, struct banyan_error *err);
    /* A message in the WAL over another connection; its position. */
    enum banyan_status (*fence)(void *context, uint64_t *ret_lsn, struct banyan_error *err);
    /* Everything up to it is in the log and in the read models. */
    enum banyan_status (*caught_up)(void *context, uint64_t lsn, struct banyan_error *err);
    /* What changed since the last full verification is equal on both sides; MISMATCH. */
    enum banyan_status (*verify)(void *context, enum cutover_direction direction, struct banyan_error *err);
    /* The journal row, COMMIT.  UNCERTAIN: the answer was lost. */
    enum banyan_status (*commit)(void *context, uint64_t epoch, struct banyan_error *err);
    /* Roll the transaction back; the session's death does the same. */
    void (*abort)(void *context);
    /* The mirror has written everything that Banyan accepted. */
    enum banyan_status (*drained)(void *context, struct banyan_error *err);
    /* One transaction: sequences, fence away, the journal row.  BUSY: try again. */
    enum banyan_status (*unfence)(void *context, uint64_t epoch, struct banyan_error *err);
    /* A journal row without anything else: Banyan keeps what it was about to hand back. */
    enum banyan_status (*claim)(void *context, uint64_t epoch, struct banyan_error *err);
    /* Over a new connection, and not before every session of another try has ended: what it says is final until this
     * session is ended in the same way. */
    enum banyan_status (*journal)(void *context, struct cutover_journal *ret, struct banyan_error *err);
    /* owner_mode(), owner_change(): *epoch* is the present one, the change makes it one more. */
    enum owner_mode (*owner)(void *context, uint64_t *ret_epoch);
    enum banyan_status (*own)(void *context, uint64_t epoch, enum owner_mode mode, struct banyan_error *err);
    /* Let time pass between two tries; NULL: try at once. */
    void (*wait)(void *context, int64_t us);
    /* Told before each step: for the history, and for tests that end the process there. */
    void (*at)(void *context, enum cutover_step step);
    int64_t (*now_us)(void *context); /* monotone */
};

struct cutover_options {
    enum cutover_direction direction;
    enum owner_mode from; /* over: only where this is the owner; NONE: whoever is */
    int64_t pause_us_max; /* of the hold; default 1 s */
    unsigned lock_tries;  /* default 20, with pauses in which writes go on (from event first: they stay held) */
};

struct cutover_report {
    bool done;              /* the ownership moved */
    enum cutover_step last; /* that was begun */
    unsigned lock_tries;
    uint64_t epoch, fence_lsn;
    int64_t pause_us;  /* hold to release, the longest of its tries: how long writes waited at most */
    int64_t locked_us; /* lock to commit: how long others could not write */
    int64_t step_us[CUTOVER_STEPS];
};

/* OK when it is done; else why not, and everything is as it was.  UNCERTAIN: neither could be found out, or the rest of
 * it could not be done (the server cannot be reached, the log cannot be written): writes stay held until their limit,
 * and cutover_recover() has to be called until it says.  Begins as that does: what an earlier try left is settled. */
BANYAN_MUST_CHECK enum banyan_status cutover_run(const struct cutover_world *world,
                                                 const struct cutover_options *options, struct cutover_report *ret,
                                                 struct banyan_error *err);
/* After a start, or UNCERTAIN: look where it stopped and go forward or back.  *ret->done* says which. */
BANYAN_MUST_CHECK enum banyan_status cutover_recover(const struct cutover_world *world,
                                                     const struct cutover_options *options, struct cutover_report *ret,
                                                     struct banyan_error *err);

#endif
