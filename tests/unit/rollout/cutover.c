/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of a cutover against a small world of its own: the order of the steps, each step failing once, the
 * process ending before each call, and answers that are lost.
 *
 * The world keeps what is durable (the owner with its epoch, the journal, the fence) and what a session is about to do;
 * a letter a call tells the story:  p preflight  h hold  r release  l lock  f fence  c caught up  v verify  C commit
 * a abort  d drained  u unfence  j journal  O own  w wait
 */
#include "rollout/cutover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum {
    CALLS_MAX = 120,
};

struct lies {
    char at;                   /* the call that fails; 0: none */
    unsigned times;            /* that it fails */
    enum banyan_status status; /* with which it fails */
    bool done;                 /* … though it was done */
    unsigned crash;            /* the process ends before this call, from 1; 0: not */
    bool deaf;                 /* the journal cannot be read */
    int64_t slow_us;           /* each call takes so long */
};

static struct fake {
    enum owner_mode mode;
    uint64_t epoch;
    struct cutover_journal journal;
    bool fenced; /* durable */
    bool held;   /* the gateway */
    bool locked; /* a session is in its transaction */
    int64_t clock;
    struct lies lies;
    char story[CALLS_MAX + 1];
    unsigned calls;
    bool dead; /* the process has ended: whatever it calls does nothing */
} world;

static bool tables_open(void)
{
    return !world.fenced && !world.locked;
}

/* Never may both accept. */
static void check_safe(void)
{
    bool banyan = world.mode == OWNER_BANYAN;

    if (banyan && !world.fenced)
        fail_msg("%s: Banyan accepts, and the tables are open", world.story);
    if (world.mode == OWNER_CLOSING && world.fenced && tables_open())
        fail_msg("%s: closing, and the tables are open", world.story);
}

/* One more call; true: it has to fail.  *ret_do: its effect comes nevertheless. */
static bool called(char letter, bool *ret_do)
{
    bool lies = world.lies.at == letter && world.lies.times > 0;

    if (world.dead) {
        *ret_do = false;
        return true;
    }
    assert_true(world.calls < CALLS_MAX);
    world.story[world.calls++] = letter;
    world.story[world.calls] = '\0';
    world.clock += world.lies.slow_us + 10;
    check_safe();
    if (world.lies.crash == world.calls)
        world.dead = true;
    if (world.dead) {
        *ret_do = false;
        return true;
    }
    if (lies)
        world.lies.times--;
    *ret_do = !lies || world.lies.done;
    return lies;
}

static enum banyan_status answer(bool fails, struct banyan_error *err)
{
    if (world.dead)
        return banyan_error_set(err, BANYAN_STOPPED, "dead");
    return fails ? banyan_error_set(err, world.lies.status, "it failed") : BANYAN_OK;
}

static enum banyan_status plain(char letter, struct banyan_error *err)
{
    bool effect;

    return answer(called(letter, &effect), err);
}

static enum banyan_status preflight(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    (void)context, (void)direction;
    return plain('p', err);
}

static enum banyan_status hold(void *context, struct banyan_error *err)
{
    bool effect, fails = called('h', &effect);

    (void)context;
    world.held |= !world.dead;
    return answer(fails, err);
}

static void release(void *context)
{
    bool effect;

    (void)context;
    (void)called('r', &effect); /* cannot fail */
    world.held &= world.dead;
}

static enum banyan_status lock(void *context, struct banyan_error *err)
{
    bool effect, fails = called('l', &effect);

    (void)context;
    world.locked |= effect;
    return answer(fails, err);
}

static enum banyan_status fence(void *context, uint64_t *ret_lsn, struct banyan_error *err)
{
    (void)context;
    *ret_lsn = 77;
    return plain('f', err);
}

static enum banyan_status caught_up(void *context, uint64_t lsn, struct banyan_error *err)
{
    (void)context;
    assert_int_equal(lsn, 77);
    return plain('c', err);
}

static enum banyan_status verify(void *context, enum cutover_direction direction, struct banyan_error *err)
{
    (void)context;
    assert_true(direction == CUTOVER_OVER ? world.locked : world.mode == OWNER_CLOSING);
    return plain('v', err);
}

static enum banyan_status commit(void *context, uint64_t epoch, struct banyan_error *err)
{
    bool effect, fails = called('C', &effect);

    (void)context;
    if (world.dead)
        return answer(true, err);
    assert_true(world.locked && world.mode != OWNER_BANYAN);
    assert_int_equal(epoch, world.epoch + 1);
    world.locked = fails && !effect;
    if (effect) {
        world.journal = (struct cutover_journal){epoch, OWNER_BANYAN};
        world.fenced = true;
    }
    return answer(fails, err);
}

static void give_back(void *context)
{
    bool effect;

    (void)context;
    (void)called('a', &effect); /* cannot fail */
    world.locked &= world.dead;
}

static enum banyan_status drained(void *context, struct banyan_error *err)
{
    (void)context;
    assert_int_equal(world.mode, OWNER_CLOSING);
    return plain('d', err);
}

static enum banyan_status unfence(void *context, uint64_t epoch, struct banyan_error *err)
{
    bool effect, fails = called('u', &effect);

    (void)context;
    /* What an application writes at once is captured, and has to find its owner. */
    assert_int_equal(world.mode, OWNER_LEGACY);
    assert_int_equal(epoch, world.epoch);
    if (effect) {
        world.journal = (struct cutover_journal){epoch, OWNER_LEGACY};
        world.fenced = false;
    }
    return answer(fails, err);
}

static enum banyan_status claim(void *context, uint64_t epoch, struct banyan_error *err)
{
    bool effect, fails = called('k', &effect);

    (void)context;
    if (world.dead)
        return answer(true, err);
    assert_int_equal(world.mode, OWNER_LEGACY);
    assert_int_equal(epoch, world.epoch + 1);
    assert_true(world.fenced);
    if (effect)
        world.journal = (struct cutover_journal){epoch, OWNER_BANYAN};
    return answer(fails, err);
}

static enum banyan_status journal(void *context, struct cutover_journal *ret, struct banyan_error *err)
{
    bool effect, fails = called('j', &effect);

    (void)context;
    if (world.dead)
        return answer(true, err);
    world.locked = false; /* every earlier session has ended */
    if (world.lies.deaf)
        return banyan_error_set(err, BANYAN_UNAVAILABLE, "no server");
    *ret = world.journal;
    return answer(fails, err);
}

static enum owner_mode owner(void *context, uint64_t *ret_epoch)
{
    (void)context;
    if (ret_epoch != NULL)
        *ret_epoch = world.epoch;
    return world.mode;
}

static enum banyan_status own(void *context, uint64_t epoch, enum owner_mode mode, struct banyan_error *err)
{
    bool effect, fails = called('O', &effect);

    (void)context;
    assert_int_equal(epoch, world.epoch);
    if (effect) {
        world.mode = mode;
        world.epoch++;
    }
    check_safe();
    return answer(fails, err);
}

static void let_pass(void *context, int64_t us)
{
    bool effect;

    (void)context;
    assert_true(us > 0 && us <= 2000000);
    (void)called('w', &effect); /* cannot fail */
    world.clock += us;          /* also where it is dead */
}

static int64_t now_us(void *context)
{
    (void)context;
    return world.clock;
}

static const struct cutover_world calls = {
    .preflight = preflight,
    .hold = hold,
    .release = release,
    .lock = lock,
    .fence = fence,
    .caught_up = caught_up,
    .verify = verify,
    .commit = commit,
    .abort = give_back,
    .drained = drained,
    .unfence = unfence,
    .claim = claim,
    .journal = journal,
    .owner = owner,
    .own = own,
    .wait = let_pass,
    .now_us = now_us,
};

/* ---- running it ---- */

static struct cutover_report report;
static struct banyan_error err;

static void at_rest(enum owner_mode mode)
{
    world = (struct fake){.mode = mode, .epoch = 5};
    if (mode == OWNER_BANYAN) {
        world.journal = (struct cutover_journal){3, OWNER_BANYAN};
        world.fenced = true;
    }
}

static enum banyan_status run(enum cutover_direction direction)
{
    struct cutover_options options = {.direction = direction, .lock_tries = 3};

    banyan_error_clear(&err);
    return cutover_run(&calls, &options, &report, &err);
}

static enum banyan_status recover(enum cutover_direction direction)
{
    struct cutover_options options = {.direction = direction};

    world.lies = (struct lies){.at = 0};
    world.calls = 0;
    banyan_error_clear(&err);
    return cutover_recover(&calls, &options, &report, &err);
}

static void story_is(const char *expected)
{
    assert_string_equal(world.story, expected);
}

/* Nobody holds or locks anything, and one side accepts. */
static void settled(enum owner_mode mode)
{
    check_safe();
    assert_int_equal(world.mode, mode);
    assert_false(world.held);
    assert_false(world.locked);
    assert_int_equal(world.fenced, mode == OWNER_BANYAN);
}

/* ---- tests ---- */

static void the_steps_in_their_order(void **unused)
{
    (void)unused;
    at_rest(OWNER_SHARED);
    assert_int_equal(run(CUTOVER_OVER), BANYAN_OK);
    story_is("jphlfcvCOr");
    settled(OWNER_BANYAN);
    assert_true(report.done);
    assert_int_equal(report.epoch, 6);
    assert_int_equal(report.fence_lsn, 77);
    assert_true(report.locked_us > 0 && report.locked_us < report.pause_us);

    at_rest(OWNER_BANYAN);
    assert_int_equal(run(CUTOVER_BACK), BANYAN_OK);
    story_is("jphOdvOur");
    settled(OWNER_LEGACY);
    assert_int_equal(world.journal.epoch, 7);

    at_rest(OWNER_SHARED);
    assert_int_equal(run(CUTOVER_BACK_SHARED), BANYAN_OK);
    story_is("jphOdOr");
    settled(OWNER_LEGACY);
}

static void what_is_done_is_not_done_again(void **unused)
{
    (void)unused;
    at_rest(OWNER_BANYAN);
    assert_int_equal(run(CUTOVER_OVER), BANYAN_OK);
    assert_true(report.done);
    story_is("j");
    at_rest(OWNER_LEGACY);
    assert_int_equal(run(CUTOVER_BACK), BANYAN_OK);
    assert_true(report.done);
    at_rest(OWNER_SHARED);
    assert_int_equal(run(CUTOVER_BACK), BANYAN_CONFLICT);
}

static void a_step_that_fails_leaves_everything_as_it_was(void **unused)
{
    static const char over[] = "phlfcv", back[] = "phdvu";

    (void)unused;
    for (const char *at = over; *at != '\0'; at++) {
        at_rest(OWNER_SHARED);
        world.lies = (struct lies){.at = *at, .times = 1, .status = BANYAN_TIMEOUT};
        assert_int_equal(run(CUTOVER_OVER), BANYAN_TIMEOUT);
        settled(OWNER_SHARED);
        assert_false(report.done);
        assert_int_equal(world.epoch, 5);
    }
    for (const char *at = back; *at != '\0'; at++) {
        at_rest(OWNER_BANYAN);
        world.lies = (struct lies){.at = *at, .times = 1, .status = BANYAN_TIMEOUT};
        assert_int_equal(run(CUTOVER_BACK), BANYAN_TIMEOUT);
        settled(OWNER_BANYAN);
    }
    at_rest(OWNER_SHARED);
    world.lies = (struct lies){.at = 'd', .times = 1, .status = BANYAN_CONFLICT};
    assert_int_equal(run(CUTOVER_BACK_SHARED), BANYAN_CONFLICT);
    settled(OWNER_SHARED);
    assert_int_equal(report.last, CUTOVER_OWN); /* it gave up */
}

static void locks_that_are_busy_are_tried_again_while_writes_go_on(void **unused)
{
    (void)unused;
    at_rest(OWNER_SHARED);
    world.lies = (struct lies){.at = 'l', .times = 2, .status = BANYAN_BUSY};
    assert_int_equal(run(CUTOVER_OVER), BANYAN_OK);
    story_is("jphlarwhlarwhlfcvCOr");
    assert_int_equal(report.lock_tries, 3);
    at_rest(OWNER_SHARED);
    world.lies = (struct lies){.at = 'l', .times = 3, .status = BANYAN_BUSY};
    assert_int_equal(run(CUTOVER_OVER), BANYAN_BUSY);
    story_is("jphlarwhlarwhlar");
    settled(OWNER_SHARED);
    /* On the way back nobody could go on anyway. */
    at_rest(OWNER_BANYAN);
    world.lies = (struct lies){.at = 'u', .times = 2, .status = BANYAN_BUSY};
    assert_int_equal(run(CUTOVER_BACK), BANYAN_OK);
    story_is("jphOdvOuawuawur");
}

static void nothing_goes_on_behind_the_pause(void **unused)
{
    (void)unused;
    for (int64_t slow = 50000; slow < 1200000; slow += 10000) {
        at_rest(OWNER_SHARED);
        world.lies = (struct lies){.slow_us = slow};
        if (run(CUTOVER_OVER) == BANYAN_OK) {
            settled(OWNER_BANYAN);
            assert_true(5 * slow <= 1000000); /* what comes before the commit */
            continue;
        }
        assert_int_equal(err.status, BANYAN_TIMEOUT);
        assert_null(strchr(world.story, 'C'));
        settled(OWNER_SHARED);
    }
}

static void an_answer_that_is_lost_is_looked_up(void **unused)
{
    static const enum banyan_status answers[] = {BANYAN_UNCERTAIN, BANYAN_UNAVAILABLE, BANYAN_QUERY};

    (void)unused;
    for (unsigned i = 0; i < 3; i++)
        for (int done = 0; done < 2; done++) {
            at_rest(OWNER_SHARED);
            world.lies = (struct lies){.at = 'C', .times = 1, .status = answers[i], .done = done == 1};
            assert_int_equal(run(CUTOVER_OVER) == BANYAN_OK, done == 1);
            story_is(done == 1 ? "jphlfcvCajOr" : "jphlfcvCajr");
            settled(done == 1 ? OWNER_BANYAN : OWNER_SHARED);
            at_rest(OWNER_BANYAN);
            world.lies = (struct lies){.at = 'u', .times = 1, .status = answers[i], .done = done == 1};
            assert_int_equal(run(CUTOVER_BACK) == BANYAN_OK, done == 1);
            settled(done == 1 ? OWNER_LEGACY : OWNER_BANYAN);
            at_rest(OWNER_SHARED);
            world.lies = (struct lies){.at = 'O', .times = 1, .status = BANYAN_IO, .done = done == 1};
            assert_int_equal(run(CUTOVER_OVER), done == 1 ? BANYAN_OK : BANYAN_UNCERTAIN);
        }
}

/* The journal says nothing until later: writes stay held, and only recovery decides. */
static enum banyan_status commit_and_go_deaf(void *context, uint64_t epoch, struct banyan_error *error)
{
    enum banyan_status st = commit(context, epoch, error);

    world.lies.deaf = true;
    return st;
}

static void what_cannot_be_known_is_uncertain(void **unused)
{
    (void)unused;
    for (int done = 0; done < 2; done++) {
        struct cutover_world other = calls;

        other.commit = commit_and_go_deaf;
        at_rest(OWNER_SHARED);
        world.lies = (struct lies){.at = 'C', .times = 1, .status = BANYAN_UNCERTAIN, .done = done == 1};
        banyan_error_clear(&err);
        assert_int_equal(cutover_run(&other, &(struct cutover_options){.direction = CUTOVER_OVER}, &report, &err),
                         BANYAN_UNCERTAIN);
        assert_int_equal(err.status, BANYAN_UNCERTAIN);
        assert_true(world.held);
        assert_false(report.done);
        assert_int_equal(recover(CUTOVER_OVER), BANYAN_OK);
        assert_int_equal(report.done, done == 1);
        settled(done == 1 ? OWNER_BANYAN : OWNER_SHARED);
    }
}

/* A new process: the server has ended the session, and the hold was the old one's. */
static void start_again(unsigned crash)
{
    world.dead = world.held = world.locked = false;
    world.lies = (struct lies){.crash = crash};
    world.calls = 0;
    check_safe();
}

/* The process ends before each call in turn; a new one recovers, and ends before each call of that in turn, too. */
static void crash_everywhere(enum cutover_direction direction, enum owner_mode from, enum owner_mode to)
{
    struct cutover_options options = {.direction = direction};
    bool ended = false;

    for (unsigned first = 1; !ended; first++) {
        bool recovered = false;

        for (unsigned second = 1; !recovered; second++) {
            at_rest(from);
            world.lies.crash = first;
            (void)run(direction); /* what it says dies with it */
            ended = !world.dead;
            if (ended)
                break;
            start_again(second);
            banyan_error_clear(&err);
            recovered = cutover_recover(&calls, &options, &report, &err) == BANYAN_OK && !world.dead;
            start_again(0);
            assert_int_equal(recover(direction), BANYAN_OK);
            settled(report.done ? to : from);
        }
    }
}

static void a_crash_anywhere_is_recovered(void **unused)
{
    (void)unused;
    crash_everywhere(CUTOVER_OVER, OWNER_SHARED, OWNER_BANYAN);
    crash_everywhere(CUTOVER_OVER, OWNER_LEGACY, OWNER_BANYAN);
    crash_everywhere(CUTOVER_BACK, OWNER_BANYAN, OWNER_LEGACY);
    crash_everywhere(CUTOVER_BACK_SHARED, OWNER_SHARED, OWNER_LEGACY);
}

static void tables_that_cannot_be_opened_stay_banyans(void **unused)
{
    (void)unused;
    at_rest(OWNER_BANYAN);
    world.mode = OWNER_LEGACY; /* it died between own and unfence */
    world.epoch = 7;
    assert_int_equal(recover(CUTOVER_BACK), BANYAN_OK);
    settled(OWNER_LEGACY);
    assert_true(report.done);

    at_rest(OWNER_BANYAN);
    world.mode = OWNER_LEGACY;
    world.lies = (struct lies){.at = 'u', .times = 100, .status = BANYAN_PRIVILEGE};
    banyan_error_clear(&err);
    assert_int_equal(cutover_recover(&calls, &(struct cutover_options){.direction = CUTOVER_BACK}, &report, &err),
                     BANYAN_PRIVILEGE);
    assert_int_equal(world.mode, OWNER_BANYAN);
    assert_true(world.fenced);
}

static void what_no_crash_leaves_is_refused(void **unused)
{
    static const struct {
        enum owner_mode mode;
        uint64_t epoch;
        struct cutover_journal journal;
    } pairs[] = {
        {OWNER_BANYAN, 5, {0, OWNER_NONE}},   /* the server was restored: no fence */
        {OWNER_BANYAN, 5, {4, OWNER_LEGACY}}, /* the same */
        {OWNER_SHARED, 5, {9, OWNER_BANYAN}}, /* the log was restored */
        {OWNER_LEGACY, 5, {8, OWNER_LEGACY}}, /* the log was restored */
        {OWNER_SHARED, 5, {4, OWNER_BANYAN}}, /* the tables are fenced for nobody */
        {OWNER_CLOSING, 5, {6, OWNER_BANYAN}},
    };

    (void)unused;
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        at_rest(OWNER_LEGACY);
        world.mode = pairs[i].mode;
        world.epoch = pairs[i].epoch;
        world.journal = pairs[i].journal;
        world.fenced = true; /* for check_safe() */
        assert_int_equal(run(CUTOVER_OVER), BANYAN_MISMATCH);
        assert_int_equal(world.epoch, pairs[i].epoch);
        assert_true(strlen(err.hint) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_steps_in_their_order),
        cmocka_unit_test(what_is_done_is_not_done_again),
        cmocka_unit_test(a_step_that_fails_leaves_everything_as_it_was),
        cmocka_unit_test(locks_that_are_busy_are_tried_again_while_writes_go_on),
        cmocka_unit_test(nothing_goes_on_behind_the_pause),
        cmocka_unit_test(an_answer_that_is_lost_is_looked_up),
        cmocka_unit_test(what_cannot_be_known_is_uncertain),
        cmocka_unit_test(a_crash_anywhere_is_recovered),
        cmocka_unit_test(tables_that_cannot_be_opened_stay_banyans),
        cmocka_unit_test(what_no_crash_leaves_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
