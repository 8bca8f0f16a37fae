/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of run.h share: a migration at work.
 *
 *   run.c        start, complete, rollback, cleanup, resume: which steps, which states
 *   run_step.c   one action until it is done: marks, tries, the lost answer of a COMMIT
 *   run_undo.c   the same backwards
 *   run_index.c  indexes CONCURRENTLY: a state machine
 *   run_conn.c   the two connections, and a statement that is watched while it waits
 *
 * Two connections: *conn* holds the migrator's lock and does the work; *watch* looks.  What watch cannot see is not
 * known; that never fails the work.
 */
#ifndef MIGRATE_RUN_INT_H
#define MIGRATE_RUN_INT_H

#include "migrate/run.h"
#include "os/retry.h"

enum {
    RUN_LOCK_US = 200 * 1000,            /* of strong locks */
    RUN_LONG_LOCK_US = 10 * 1000 * 1000, /* of weak ones: nobody queues behind those */
    RUN_TRY_US_MAX = 600 * 1000 * 1000,
    RUN_VACUUM_LOCK_US = 5 * 1000 * 1000, /* longer than deadlock_timeout, behind which the server ends an autovacuum */
    RUN_LOST_MAX = 20,                    /* connections, of one action that gets nowhere */
    RUN_PAUSE_US_FIRST = 100 * 1000,
    RUN_PAUSE_US_MAX = 5 * 1000 * 1000,
    RUN_LOOK_US = 1000 * 1000,       /* between two looks at what a long statement waits for */
    RUN_TAKEN_US = 3000 * 1000,      /* for the lock of a session that is ending */
    RUN_OWN_TAKEN_US = 60 * 1000000, /* where it is our own, which was told to end */
    RUN_WATCH_US = 10 * 1000000,     /* what a look may take */
    RUN_NOTE_US = 2000 * 1000,       /* between two notes in the books of what a statement waits for */
};

struct run {
    const struct run_options *options;
    struct banyan_str version;
    struct pg_conn *conn, *watch;
    bool connected_once;         /* from now on a server that is away is waited for */
    struct banyan_arena arena;   /* as long as the run */
    struct banyan_arena scratch; /* as long as a look */
    struct books_migration books;
    enum books_state setting; /* the state that was written last; the answer of that may be lost */
    struct plan plan;
    /* at work, for the report */
    size_t number;
    bool undoing;
    uint32_t tries;             /* of the action */
    struct banyan_buf vacuumed; /* tables that an autovacuum works on that the last try met; see run_step.c */
    struct banyan_buf waiting;  /* what the last look saw; empty: nothing */
    struct banyan_buf seen;     /* the last of it in this step that was not empty: a look may fall between two tries */
    double fraction;
    int64_t try_since_us;    /* monotone */
    int64_t noted_us;        /* of the last note in the books */
    int pid;                 /* of the session that works; 0: none yet */
    struct banyan_buf since; /* when that session began: a pid may come again */
};

/* One action and what the books say behind it. */
struct run_work {
    size_t number;
    const struct plan_action *action;
    bool undoing;
    enum books_step_state state;
    uint32_t undone;
};

/* ---- run_conn.c ---- */

void run_init(struct run *run, const struct run_options *options, struct banyan_str version);
void run_release(struct run *run);
/* Both connections, settings, the migrator's lock.  Where there was one before: a server that is away, or a session of
 * ours that is still ending, is waited for. */
BANYAN_MUST_CHECK enum banyan_status run_connect(struct run *run, struct banyan_error *err);
/* Books and plan anew. */
BANYAN_MUST_CHECK enum banyan_status run_read(struct run *run, struct banyan_error *err);
/* The books were read again behind a new connection: CONFLICT where they are no more as we left them.  Somebody ended
 * our session to go on with the migration, so we do not. */
BANYAN_MUST_CHECK enum banyan_status run_still_ours(const struct run *run, const struct books_migration *before,
                                                    struct banyan_error *err);
/* A statement on *conn*; while it runs, first after *look_us* and then each second at the latest, who is in its way is
 * looked at and told.  *index*: the progress of an index build as well. */
BANYAN_MUST_CHECK enum banyan_status run_watched(struct run *run, const char *sql, int64_t look_us, bool index,
                                                 struct banyan_error *err);
void run_tell(struct run *run, const struct batches_progress *batches);
/* The one that can be gone on with behind a new connection. */
bool run_is_lost(enum banyan_status st);
int64_t run_lock_us(const struct run *run);

/* ---- run_step.c ---- */

/* Until it is done, or failed for good. */
BANYAN_MUST_CHECK enum banyan_status run_do(struct run *run, const struct run_work *work, struct banyan_error *err);
/* A mark on *conn*; *run* has it, too. */
BANYAN_MUST_CHECK enum banyan_status run_mark(struct run *run, size_t number, const struct books_step *step,
                                              struct banyan_error *err);
/* The state beside a note.  A transaction is running as soon as it was tried; what runs outside of one only behind its
 * own mark, which says that what is found is ours. */
enum books_step_state run_noted_state(const struct run *run, size_t number, bool undoing);
/* BUSY where somebody paused it. */
BANYAN_MUST_CHECK enum banyan_status run_not_paused(struct run *run, struct banyan_error *err);
/* A place where tests stop the world. */
void run_at(struct run *run, const char *place);
/* One row, one boolean. */
BANYAN_MUST_CHECK enum banyan_status run_ask(struct run *run, struct banyan_str sql, bool *ret,
                                             struct banyan_error *err);

/* ---- run_undo.c ---- */

BANYAN_MUST_CHECK enum banyan_status run_undo_from(struct run *run, enum plan_phase phase, struct banyan_error *err);

/* ---- run_index.c ---- */

BANYAN_MUST_CHECK enum banyan_status run_index(struct run *run, const struct run_work *work, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status run_index_drop(struct run *run, struct banyan_str index, struct banyan_error *err);
/* What a REINDEX CONCURRENTLY of it left behind when it was ended. */
BANYAN_MUST_CHECK enum banyan_status run_index_leftovers(struct run *run, struct banyan_str index,
                                                         struct banyan_error *err);

#endif
