/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See cutover_postgres.h: each function of cutover_world in terms of the rooms below.
 *
 * Time.  The pause has one end, set when the gateway begins to hold.  Every wait inside it, and the server's patience
 * with an idle session of ours, is what is left until then; so a controller that freezes anywhere holds nobody for
 * longer than the pause and the length of one statement.
 */
#include "rollout/cutover_postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "legacy/fence.h"
#include "legacy/legacy.h"
#include "legacy/mirror.h"
#include "os/clock.h"
#include "projection/engine.h"
#include "rollout/controller.h"
#include "rollout/cutover_verify.h"
#include "rollout/keys.h"

enum {
    ROUNDS_MAX = 20,
    SMALL_ROUND = 200, /* keys: the next one will not be much smaller */
    LOOKS_MAX = 5,     /* so often unequal, and not named by the log: a difference */
    BLOCKERS_BYTES_MAX = 16 * 1024,
};

static const int64_t pause_default_us = 1000000, lock_default_us = 100000, lag_default_us = 1000000,
                     older_default_us = 1000000;
static const uint64_t backlog_default = 1000;
static const int64_t statement_us_max = 30000000; /* outside the pause */
static const int64_t connect_us_max = 3000000, settle_us_max = 3000000;
static const int64_t meet_us_max = 5000000; /* for the side that follows, in a round before the pause */
static const int64_t backstop_us = 4000000;
static const int64_t left_us_min = 1000, look_again_us = 10000;

struct cutover_postgres {
    struct cutover_postgres_options options; /* defaults filled in */
    char *name;                              /* of our sessions at the server; owned */
    enum cutover_direction direction;
    struct pg_conn *locker; /* the transaction; NULL: not connected */
    struct pg_conn *reader; /* messages, and rows outside the transaction */
    bool locked;            /* a transaction is open */
    uint64_t fence_lsn;
    int64_t until_us; /* end of the pause; 0: none */
    struct cutover_verify *verify;
    struct cutover_postgres_verified verified;
};

static int64_t now_us(void *context)
{
    (void)context;
    return os_clock_monotonic_us(os_clock_real());
}

/* Of the pause; never nothing, so that who waits looks once. */
static int64_t left_us(const struct cutover_postgres *p)
{
    int64_t left = p->until_us == 0 ? p->options.pause_us_max : p->until_us - now_us(NULL);

    return left < left_us_min ? left_us_min : left;
}

/* ---- connections ---- */

static enum banyan_status connect_one(const struct cutover_postgres *p, bool stoppable, struct pg_conn **ret,
                                      struct banyan_error *err)
{
    struct pg_options options = {
        .conninfo = p->options.conninfo,
        .application_name = p->name,
        .connect_timeout_us = connect_us_max,
        .statement_us_max = statement_us_max,
        .silence_us_max = 2 * p->options.pause_us_max,
        .stop = stoppable ? p->options.stop : NULL,
    };

    if (*ret != NULL)
        return BANYAN_OK;
    return pg_connect(&options, ret, err);
}

/* The locker is the session that looked at the journal.  Where it was ended, another may have gone on from what it saw:
 * only another look helps. */
static enum banyan_status connect_both(struct cutover_postgres *p, struct banyan_error *err)
{
    bool fresh = p->reader == NULL;
    enum banyan_status st = BANYAN_OK;

    if (p->locker == NULL)
        st = banyan_error_set(err, BANYAN_UNAVAILABLE, "the session that looked at the journal was ended");
    if (st == BANYAN_OK)
        st = connect_one(p, true, &p->reader, err);
    /* A fence has to be flushed to be streamed, but need not wait for standbys. */
    if (st == BANYAN_OK && fresh)
        st = pg_run(p->reader, "SET synchronous_commit = local", err);
    return st;
}

static void disconnect(struct cutover_postgres *p)
{
    pg_close(p->locker);
    pg_close(p->reader);
    p->locker = p->reader = NULL;
    p->locked = false;
}

static struct fence_options fence_options(const struct cutover_postgres *p)
{
    return (struct fence_options){
        .domain = p->options.domain,
        .source = p->options.source,
        .lock_timeout_us = p->options.lock_timeout_us < left_us(p) ? p->options.lock_timeout_us : left_us(p),
        .session_limit_us = left_us(p),
    };
}

/* ---- pre-flight ---- */

static enum banyan_status check_source(const struct cutover_postgres *p, struct banyan_error *err)
{
    struct legacy_status *status;
    enum banyan_status st = BANYAN_OK;

    if (p->options.legacy == NULL)
        return banyan_error_set(err, BANYAN_NOT_MET, "source %s is not captured", p->options.source);
    status = alloc_zeroed(1, sizeof(*status));
    legacy_status(p->options.legacy, status);
    if (status->state != LEGACY_CAPTURING || !status->backfill_done)
        st = banyan_error_set(err, BANYAN_NOT_MET, "source %s is not captured up to now%s%s", p->options.source,
                              status->error.status == BANYAN_OK ? "" : ": ", status->error.message);
    else if (status->alarm)
        st = banyan_error_set(err, BANYAN_NOT_MET, "the slot of source %s is in danger: %s", p->options.source,
                              status->error.message);
    free(status);
    return st;
}

static enum banyan_status check_mirror(const struct cutover_postgres *p, struct banyan_error *err)
{
    struct legacy_mirror_status status;
    uint64_t backlog;

    if (p->options.mirror == NULL)
        return banyan_error_set(err, BANYAN_NOT_MET, "the mirror of source %s does not run", p->options.source);
    legacy_mirror_status(p->options.mirror, &status);
    backlog = status.tail.value > status.written.value ? status.tail.value - status.written.value : 0;
    if (!status.running || !status.proven || status.error.status != BANYAN_OK)
        return banyan_error_set(err, BANYAN_NOT_MET, "the mirror does not work%s%s",
                                status.error.status == BANYAN_OK ? "" : ": ", status.error.message);
    if (status.conflicts > 0)
        return banyan_error_set(err, BANYAN_NOT_MET,
                                "%llu aggregates are not written back, for somebody else wrote their rows",
                                (unsigned long long)status.conflicts);
    if (backlog > p->options.mirror_backlog_max)
        return banyan_error_set(err, BANYAN_NOT_MET, "the mirror is %llu events behind, the limit is %llu",
                                (unsigned long long)backlog, (unsigned long long)p->options.mirror_backlog_max);
    return BANYAN_OK;
}

static enum banyan_status check_blockers(const struct cutover_postgres *p, struct banyan_error *err)
{
    struct banyan_buf who = BANYAN_BUF_INIT(BLOCKERS_BYTES_MAX);
    struct fence_options options = fence_options(p);
    enum banyan_status st = fence_blockers(p->reader, &options, p->options.older_us, &who, err);

    if (st == BANYAN_OK && who.size > 0) {
        st = banyan_error_set(err, BANYAN_BUSY, "transactions on the mapped tables are open for long");
        banyan_error_detail(err, "%s", who.data);
        banyan_error_hint(err, "Wait for them, or end them: SELECT pg_terminate_backend(pid), ROLLBACK PREPARED …");
    }
    banyan_buf_release(&who);
    return st;
}

/* Everything that is committed by now is in the log, and in every read model, within *timeout_us*. */
static enum banyan_status catch_up(const struct cutover_postgres *p, uint64_t lsn, int64_t timeout_us, bool models,
                                   struct banyan_error *err)
{
    struct projections *projections = p->options.projections;
    int64_t until_us = now_us(NULL) + timeout_us;
    enum banyan_status st = legacy_wait(p->options.legacy, lsn, timeout_us, err);

    for (size_t i = 0; models && projections != NULL && st == BANYAN_OK && i < projections_count(projections); i++) {
        int64_t left = until_us - now_us(NULL);

        st = projections_wait_lsn(projections, i, lsn, left < left_us_min ? left_us_min : left, err);
        if (st != BANYAN_OK)
            banyan_error_context(err, "read model %s", projections_name(projections, i));
    }
    return st;
}

/* A real measurement: a message goes through all of it. */
static enum banyan_status check_lag(const struct cutover_postgres *p, struct banyan_error *err)
{
    uint64_t lsn = 0;
    enum banyan_status st = fence_message(p->reader, p->options.source, &lsn, err);

    if (st == BANYAN_OK)
        st = catch_up(p, lsn, p->options.lag_us_max, true, err);
    if (st == BANYAN_TIMEOUT)
        banyan_error_context(err, "the source, or a read model, is behind");
    return st;
}

/* ---- verification ---- */

/* Rounds on the way over: the tables lead, the log follows. */
static enum banyan_status meet_over(void *context, struct banyan_position seen, struct banyan_error *err)
{
    const struct cutover_postgres *p = context;
    uint64_t lsn = 0;
    enum banyan_status st = fence_message(p->reader, p->options.source, &lsn, err);

    (void)seen;
    return st == BANYAN_OK ? catch_up(p, lsn, meet_us_max, false, err) : st;
}

/* On the way back the log leads, the mirror follows. */
static enum banyan_status meet_back(void *context, struct banyan_position seen, struct banyan_error *err)
{
    const struct cutover_postgres *p = context;

    return legacy_mirror_wait(p->options.mirror, seen, meet_us_max, err);
}

/* An aggregate that is Banyan's in SHARED goes on to be Banyan's: it may be written, and the mirror cannot follow while
 * the tables are locked. */
static bool exempt(void *context, struct banyan_str category, int64_t key)
{
    const struct cutover_postgres *p = context;
    struct banyan_arena arena = {0};
    struct legacy_mirror_status status;
    struct store_head head = {.position = {0}};
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    enum banyan_status st;

    if (p->direction != CUTOVER_OVER || owner_side(p->options.owner, category, key) != OWNER_SIDE_BANYAN)
        return false;
    legacy_mirror_status(p->options.mirror, &status);
    st = store_head(p->options.store,
                    banyan_arena_printf(&arena, "%.*s-%lld", (int)category.size, category.data, (long long)key), &head,
                    &ignored);
    banyan_arena_release(&arena);
    return st == BANYAN_OK && head.position.value > status.written.value;
}

static enum banyan_status verify_round(struct cutover_postgres *p, bool at_rest, struct banyan_error *err)
{
    struct cutover_verify_round round = {
        .conn = p->locked ? p->locker : p->reader,
        .at_rest = at_rest,
        .rows_first = p->direction == CUTOVER_OVER,
        .meet = p->direction == CUTOVER_OVER ? meet_over : meet_back,
        .context = p,
    };

    return cutover_verify_round(p->verify, &round, err);
}

/* Until what is left to compare is as little as changes during a round. */
static enum banyan_status verify_before(struct cutover_postgres *p, struct banyan_error *err)
{
    struct cutover_verify_options options = {
        .domain = p->options.domain,
        .store = p->options.store,
        .aggregates = p->options.aggregates,
        .from = p->options.verified,
        .stop = p->options.stop,
        .exempt = exempt,
        .exempt_context = p,
    };
    struct cutover_verify_figures figures;
    enum banyan_status st;

    cutover_verify_free(p->verify);
    p->verify = cutover_verify_new(&options);
    st = cutover_verify_resolve(p->verify, p->reader, err);
    for (unsigned round = 0; st == BANYAN_OK && round < ROUNDS_MAX; round++) {
        st = verify_round(p, false, err);
        cutover_verify_figures(p->verify, &figures);
        if (st != BANYAN_OK || (figures.keys_last <= SMALL_ROUND && figures.suspected == 0))
            break;
        if (figures.looks_most >= LOOKS_MAX)
            return cutover_verify_refuse(p->verify, err);
        if (figures.suspected > 0 && os_stop_wait(p->options.stop, look_again_us))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while comparing what changed");
    }
    return st;
}

/* ---- the world ---- */

static enum banyan_status world_preflight(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    struct fence_options options = fence_options(p);
    enum banyan_status st;

    p->direction = direction;
    st = check_mirror(p, err);
    if (st == BANYAN_OK && direction == CUTOVER_OVER)
        st = check_source(p, err);
    if (st == BANYAN_OK)
        st = connect_both(p, err);
    if (st == BANYAN_OK && direction != CUTOVER_BACK_SHARED)
        st = fence_prepare(p->locker, &options, err); /* that session has looked at all tables then, too */
    if (st == BANYAN_OK && direction != CUTOVER_BACK_SHARED)
        st = check_blockers(p, err);
    if (st == BANYAN_OK && direction == CUTOVER_OVER)
        st = check_lag(p, err);
    if (st == BANYAN_OK && direction != CUTOVER_BACK_SHARED)
        st = verify_before(p, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "before the pause");
    return st;
}

static enum banyan_status world_hold(void *context, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    const struct controller_gateway *gateway = p->options.gateway;
    enum banyan_status st;

    p->until_us = now_us(NULL) + p->options.pause_us_max;
    if (gateway == NULL)
        return BANYAN_OK;
    st = gateway->hold(gateway->context, p->until_us, err);
    /* The pause ends where it was told to, by us.  By itself the hold ends later: a process that was frozen shall find
     * its writes still waiting, and not at a side that is not open yet. */
    if (st == BANYAN_OK)
        st = gateway->hold(gateway->context, p->until_us + backstop_us, err);
    return st;
}

static void world_release(void *context)
{
    struct cutover_postgres *p = context;
    const struct controller_gateway *gateway = p->options.gateway;

    if (gateway != NULL)
        gateway->release(gateway->context);
    p->until_us = 0;
}

static void world_abort(void *context)
{
    struct cutover_postgres *p = context;

    if (!p->locked)
        return;
    p->locked = false;
    if (pg_run(p->locker, "ROLLBACK", NULL) == BANYAN_OK)
        return;
    pg_close(p->locker);
    p->locker = NULL;
}

static enum banyan_status world_lock(void *context, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    struct fence_options options = fence_options(p);
    enum banyan_status st = connect_both(p, err);

    if (st == BANYAN_OK) {
        p->locked = true; /* whatever fails: abort() looks after it */
        st = fence_lock(p->locker, &options, err);
    }
    return st;
}

static enum banyan_status world_fence(void *context, uint64_t *ret_lsn, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    enum banyan_status st = fence_message(p->reader, p->options.source, ret_lsn, err);

    if (st == BANYAN_OK)
        p->fence_lsn = *ret_lsn;
    return st;
}

static enum banyan_status world_caught_up(void *context, uint64_t lsn, struct banyan_error *err)
{
    struct cutover_postgres *p = context;

    return catch_up(p, lsn, left_us(p), true, err);
}

/* Each statement lets the server's patience with us begin anew: it gets no more than what is left of the pause. */
static enum banyan_status shorten_patience(struct cutover_postgres *p, struct banyan_error *err)
{
    char sql[96];

    if (!p->locked)
        return BANYAN_OK;
    (void)snprintf(sql, sizeof(sql), "SET LOCAL idle_in_transaction_session_timeout = %lld",
                   (long long)(left_us(p) / 1000)); /* fits */
    return pg_run(p->locker, sql, err);
}

static enum banyan_status world_verify(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    struct cutover_verify_figures before, after;
    enum banyan_status st;

    (void)direction; /* it is that of the preflight */
    cutover_verify_figures(p->verify, &before);
    st = shorten_patience(p, err);
    if (st == BANYAN_OK)
        st = verify_round(p, true, err);
    cutover_verify_figures(p->verify, &after);
    p->verified = (struct cutover_postgres_verified){
        .keys_before = before.keys, .keys_inside = after.keys_last, .rounds = (unsigned)before.rounds};
    return st;
}

static enum banyan_status world_commit(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    struct fence_options options = fence_options(p);
    enum banyan_status st = fence_commit(p->locker, &options, epoch, p->fence_lsn, err);

    if (st == BANYAN_OK)
        p->locked = false;
    return st;
}

static enum banyan_status world_drained(void *context, struct banyan_error *err)
{
    struct cutover_postgres *p = context;

    /* Banyan accepts nothing behind CLOSING, so the tail is behind all that it accepted. */
    return legacy_mirror_wait(p->options.mirror, store_tail(p->options.store), left_us(p), err);
}

static enum banyan_status find_highest(const struct cutover_postgres *p, int64_t *ret, struct banyan_error *err)
{
    const struct banyan_domain *domain = p->options.domain;
    enum banyan_status st = BANYAN_OK;

    for (size_t m = 0; p->options.keys != NULL && st == BANYAN_OK && m < domain->mapping_count; m++)
        if (domain->mappings[m].key_sequence != NULL)
            st = keys_highest(p->options.keys, banyan_str_of(domain->mappings[m].aggregate->category), &ret[m], err);
    return st;
}

static enum banyan_status world_unfence(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    int64_t *keys = alloc_zeroed(p->options.domain->mapping_count + 1, sizeof(*keys));
    enum banyan_status st = find_highest(p, keys, err);
    struct fence_options options;

    if (st == BANYAN_OK)
        st = connect_both(p, err);
    if (st == BANYAN_OK) {
        options = fence_options(p);
        p->locked = true;
        st = fence_remove(p->locker, &options, epoch, keys, err);
        if (st == BANYAN_OK)
            p->locked = false;
    }
    free(keys);
    return st;
}

static enum banyan_status world_claim(void *context, uint64_t epoch, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    /* Not bounded by the pause, which may be over: nobody can write before it is done. */
    struct fence_options options = {.domain = p->options.domain,
                                    .source = p->options.source,
                                    .lock_timeout_us = settle_us_max,
                                    .session_limit_us = settle_us_max};
    enum banyan_status st = connect_both(p, err);

    return st == BANYAN_OK ? fence_claim(p->locker, &options, epoch, err) : st;
}

static enum banyan_status world_journal(void *context, struct cutover_journal *ret, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    struct fence_journal journal = {.epoch = 0};
    enum banyan_status st;

    pg_close(p->locker);
    p->locker = NULL;
    p->locked = false;
    st = connect_one(p, false, &p->locker, err);
    if (st == BANYAN_OK)
        st = fence_take(p->locker, p->options.source, settle_us_max, err);
    if (st == BANYAN_OK)
        st = fence_journal_read(p->locker, p->options.source, &journal, err);
    if (st == BANYAN_OK) {
        *ret = (struct cutover_journal){journal.epoch, journal.banyan ? OWNER_BANYAN : OWNER_LEGACY};
        return BANYAN_OK;
    }
    pg_close(p->locker);
    p->locker = NULL;
    return st;
}

static enum owner_mode world_owner(void *context, uint64_t *ret_epoch)
{
    struct cutover_postgres *p = context;

    return owner_mode(p->options.owner, ret_epoch);
}

static enum banyan_status world_own(void *context, uint64_t epoch, enum owner_mode mode, struct banyan_error *err)
{
    struct cutover_postgres *p = context;
    uint64_t now;

    return owner_change(p->options.owner, epoch, mode, mode == OWNER_BANYAN ? "cutover" : "rollback", &now, err);
}

/* What changes meanwhile is compared here, where nobody waits for it. */
static void world_wait(void *context, int64_t us)
{
    struct cutover_postgres *p = context;
    struct banyan_error ignored = BANYAN_ERROR_INIT;

    if (os_stop_wait(p->options.stop, us) || p->until_us != 0 || p->verify == NULL || p->reader == NULL)
        return;
    if (verify_round(p, false, &ignored) != BANYAN_OK)
        return; /* the one inside the pause will say what is wrong */
}

static void world_at(void *context, enum cutover_step step)
{
    struct cutover_postgres *p = context;

    if (p->options.at != NULL)
        p->options.at(p->options.at_context, step);
}

/* ---- life ---- */

struct cutover_postgres *cutover_postgres_new(const struct cutover_postgres_options *options)
{
    struct cutover_postgres *p = alloc_zeroed(1, sizeof(*p));
    struct banyan_buf name = BANYAN_BUF_INIT(1024);

    p->options = *options;
    if (p->options.pause_us_max <= 0)
        p->options.pause_us_max = pause_default_us;
    if (p->options.lock_timeout_us <= 0)
        p->options.lock_timeout_us = lock_default_us;
    if (p->options.lag_us_max <= 0)
        p->options.lag_us_max = lag_default_us;
    if (p->options.older_us <= 0)
        p->options.older_us = older_default_us;
    if (p->options.mirror_backlog_max == 0)
        p->options.mirror_backlog_max = backlog_default;
    banyan_buf_printf(&name, "banyan/%s cutover", options->source);
    p->name = alloc_text(name.overflow ? "banyan cutover" : name.data);
    banyan_buf_release(&name);
    return p;
}

void cutover_postgres_free(struct cutover_postgres *postgres)
{
    if (postgres == NULL)
        return;
    disconnect(postgres);
    cutover_verify_free(postgres->verify);
    free(postgres->name);
    free(postgres);
}

void cutover_postgres_world(struct cutover_postgres *postgres, struct cutover_world *ret)
{
    *ret = (struct cutover_world){
        .context = postgres,
        .preflight = world_preflight,
        .hold = world_hold,
        .release = world_release,
        .lock = world_lock,
        .fence = world_fence,
        .caught_up = world_caught_up,
        .verify = world_verify,
        .commit = world_commit,
        .abort = world_abort,
        .drained = world_drained,
        .unfence = world_unfence,
        .claim = world_claim,
        .journal = world_journal,
        .owner = world_owner,
        .own = world_own,
        .wait = world_wait,
        .at = world_at,
        .now_us = now_us,
    };
}

void cutover_postgres_verified(const struct cutover_postgres *postgres, struct cutover_postgres_verified *ret)
{
    *ret = postgres->verified;
}
