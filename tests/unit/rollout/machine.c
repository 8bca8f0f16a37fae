/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: every row of its table, what it refuses and why, and its events as JSON.  The guards are the real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rollout/machine.h"

#define MINUTE_US (INT64_C(60) * 1000000)

/* A machine with a world in which everything is well. */
struct rig {
    struct machine machine;
    struct machine_policy policy;
    struct traffic_window window, late;
    struct guards_facts facts;
    struct banyan_time now;
    struct machine_answer answer;
};

static void see_traffic(struct traffic_window *window, int64_t span_us)
{
    memset(window, 0, sizeof(*window));
    window->seconds_us = span_us;
    for (int side = 0; side < TRAFFIC_SIDES; side++) {
        for (int kind = 0; kind < TRAFFIC_KINDS; kind++) {
            struct traffic_figures *figures = &window->by[side][kind];

            figures->requests = 1000;
            figures->us_p50 = figures->us_p50_low = figures->us_p50_high = 1000;
            figures->us_p99 = figures->us_p99_low = figures->us_p99_high = 2000;
        }
    }
    window->answers.compared = window->noise.compared = 1000;
}

static void start(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    machine_policy_init(&rig->policy);
    see_traffic(&rig->window, rig->policy.limits.window_us);
    see_traffic(&rig->late, 1000000);
    rig->facts = (struct guards_facts){.source_captures = true,
                                       .backfilled = true,
                                       .views_live = true,
                                       .mirror_proven = true,
                                       .gateway_up = true,
                                       .upstream_up = true};
    rig->now.us = INT64_C(1767225600000000);
}

static bool ask_with(struct rig *rig, enum machine_verb verb, bool force)
{
    struct machine_request request = {.verb = verb, .actor = "ann", .reason = force ? "I know" : NULL, .force = force};

    rig->now.us += 6 * MINUTE_US; /* long enough for any step */
    machine_decide(&rig->machine, &rig->policy, &rig->window, &rig->late, &rig->facts, &request, rig->now,
                   &rig->answer);
    assert_false(rig->answer.moves && rig->answer.refused);
    if (rig->answer.moves)
        machine_evolve(&rig->machine, &rig->answer.event);
    return rig->answer.moves;
}

static bool ask(struct rig *rig, enum machine_verb verb)
{
    return ask_with(rig, verb, false);
}

/* It moves there, with that event. */
static void expect(struct rig *rig, enum machine_verb verb, const char *type, enum machine_state to)
{
    if (!ask(rig, verb))
        fail_msg("%s was expected: %s", type, rig->answer.refusal);
    assert_string_equal(rig->answer.event.type, type);
    assert_string_equal(machine_state_name(rig->machine.state), machine_state_name(to));
    assert_int_not_equal(rig->answer.event.reason[0], '\0');
    assert_int_not_equal(rig->answer.event.actor[0], '\0');
}

static void expect_refusal(struct rig *rig, enum machine_verb verb, const char *part)
{
    enum machine_state before = rig->machine.state;

    assert_false(ask(rig, verb));
    assert_true(rig->answer.refused);
    if (strstr(rig->answer.refusal, part) == NULL)
        fail_msg("\"%s\" is not in the refusal: %s", part, rig->answer.refusal);
    assert_int_equal(rig->machine.state, before);
}

static void go_to(struct rig *rig, enum machine_state state)
{
    static const enum machine_verb way[] = {MACHINE_TICK, MACHINE_START, MACHINE_TICK,
                                            MACHINE_NEXT, MACHINE_NEXT,  MACHINE_NEXT,
                                            MACHINE_NEXT, MACHINE_NEXT,  MACHINE_CUTOVER_DONE};

    start(rig);
    for (size_t i = 0; rig->machine.state != state && i < sizeof(way) / sizeof(way[0]); i++)
        assert_true(ask(rig, way[i]));
    if (state == MACHINE_ROLLING_BACK)
        assert_true(ask(rig, MACHINE_ROLLBACK));
    if (state == MACHINE_COMPLETED)
        assert_true(ask(rig, MACHINE_COMPLETE));
    assert_int_equal(rig->machine.state, state);
}

/* ---- the table, row by row ---- */

static void test_all_the_way(void **state)
{
    struct rig rig;

    (void)state;
    start(&rig);
    expect(&rig, MACHINE_TICK, "RolloutPrepared", MACHINE_PREPARED);
    expect(&rig, MACHINE_START, "BackfillStarted", MACHINE_BACKFILLING);
    assert_int_equal(rig.machine.attempt, 1);
    assert_int_equal(rig.machine.started_at.us, rig.now.us);
    expect(&rig, MACHINE_TICK, "ShadowStarted", MACHINE_SHADOW);
    expect(&rig, MACHINE_NEXT, "CanaryStarted", MACHINE_CANARY);
    assert_int_equal(rig.machine.share, 500);
    assert_true(rig.answer.event.checks.check_count > 10);
    for (size_t step = 1; step < 4; step++) {
        static const uint32_t shares[] = {500, 2500, 5000, 10000};

        expect(&rig, MACHINE_NEXT, "RampStepped", MACHINE_RAMP);
        assert_int_equal(rig.machine.step, step);
        assert_int_equal(rig.machine.share, shares[step]);
        assert_int_equal(rig.machine.since.us, rig.now.us);
    }
    expect(&rig, MACHINE_NEXT, "CutoverStarted", MACHINE_CUTTING_OVER);
    expect(&rig, MACHINE_CUTOVER_DONE, "EventFirstStarted", MACHINE_EVENT_FIRST);
    expect(&rig, MACHINE_COMPLETE, "RolloutCompleted", MACHINE_COMPLETED);
    assert_int_equal(rig.machine.version, 10);
    assert_string_equal(rig.answer.event.actor, "ann");
}

static void test_start_prepares(void **state)
{
    struct rig rig;

    (void)state;
    start(&rig);
    expect(&rig, MACHINE_START, "BackfillStarted", MACHINE_BACKFILLING);
}

static void test_a_policy_that_changed(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_CANARY);
    rig.policy.step_count = 1;
    assert_int_equal(rig.machine.share, 500);
    expect(&rig, MACHINE_NEXT, "CutoverStarted", MACHINE_CUTTING_OVER);
    expect(&rig, MACHINE_CUTOVER_FAILED, "CutoverFailed", MACHINE_CANARY);
    go_to(&rig, MACHINE_SHADOW);
    rig.policy.step_count = 0;
    expect_refusal(&rig, MACHINE_NEXT, "no steps");
}

static void test_cutover_failed(void **state)
{
    struct rig rig;
    size_t step;

    (void)state;
    go_to(&rig, MACHINE_CUTTING_OVER);
    step = rig.machine.step;
    expect(&rig, MACHINE_CUTOVER_FAILED, "CutoverFailed", MACHINE_RAMP);
    assert_int_equal(rig.machine.step, step);
    assert_int_equal(rig.machine.share, ROUTING_SHARE_ALL);
    expect(&rig, MACHINE_NEXT, "CutoverStarted", MACHINE_CUTTING_OVER);
}

static void test_rollback_from_each(void **state)
{
    static const enum machine_state handed[] = {MACHINE_CANARY, MACHINE_RAMP, MACHINE_CUTTING_OVER,
                                                MACHINE_EVENT_FIRST};
    static const enum machine_state withdrawn[] = {MACHINE_BACKFILLING, MACHINE_SHADOW};
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        go_to(&rig, handed[i]);
        expect(&rig, MACHINE_ROLLBACK, "RollbackStarted", MACHINE_ROLLING_BACK);
        assert_int_equal(rig.machine.came_from, handed[i]);
        expect(&rig, MACHINE_ROLLBACK_DONE, "RolledBack", MACHINE_SHADOW);
        assert_int_equal(rig.machine.attempt, 2);
        assert_int_equal(rig.machine.share, 0);
        assert_false(rig.machine.paused);
        expect(&rig, MACHINE_NEXT, "CanaryStarted", MACHINE_CANARY);
    }
    for (size_t i = 0; i < 2; i++) {
        go_to(&rig, withdrawn[i]);
        expect(&rig, MACHINE_ROLLBACK, "RolloutWithdrawn", MACHINE_PREPARED);
        expect(&rig, MACHINE_START, "BackfillStarted", MACHINE_BACKFILLING);
        assert_int_equal(rig.machine.attempt, 2);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        enum machine_state in;
        enum machine_verb verb;
        const char *part;
    } cases[] = {
        {MACHINE_PREPARED, MACHINE_NEXT, "start it first"},
        {MACHINE_PREPARED, MACHINE_ROLLBACK, "nothing to roll back"},
        {MACHINE_PREPARED, MACHINE_COMPLETE, "only event-first"},
        {MACHINE_PREPARED, MACHINE_RESUME, "not paused"},
        {MACHINE_PREPARED, MACHINE_CUTOVER_DONE, "no cutover"},
        {MACHINE_BACKFILLING, MACHINE_NEXT, "by itself"},
        {MACHINE_BACKFILLING, MACHINE_START, "started already"},
        {MACHINE_SHADOW, MACHINE_START, "started already"},
        {MACHINE_SHADOW, MACHINE_COMPLETE, "only event-first"},
        {MACHINE_RAMP, MACHINE_CUTOVER_FAILED, "no cutover"},
        {MACHINE_RAMP, MACHINE_ROLLBACK_DONE, "no rollback"},
        {MACHINE_CUTTING_OVER, MACHINE_NEXT, "a cutover is under way"},
        {MACHINE_EVENT_FIRST, MACHINE_NEXT, "complete it"},
        {MACHINE_ROLLING_BACK, MACHINE_NEXT, "a rollback is under way"},
        {MACHINE_ROLLING_BACK, MACHINE_ROLLBACK, "a rollback is under way"},
        {MACHINE_ROLLING_BACK, MACHINE_CUTOVER_DONE, "no cutover"},
        {MACHINE_COMPLETED, MACHINE_NEXT, "completed"},
        {MACHINE_COMPLETED, MACHINE_ROLLBACK, "no way back"},
        {MACHINE_COMPLETED, MACHINE_PAUSE, "nothing to pause"},
    };
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        go_to(&rig, cases[i].in);
        expect_refusal(&rig, cases[i].verb, cases[i].part);
    }
    start(&rig);
    expect_refusal(&rig, MACHINE_NEXT, "start it first");
    expect_refusal(&rig, MACHINE_PAUSE, "nothing to pause");
}

/* ---- checks ---- */

static void test_backfill_waits(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_BACKFILLING);
    rig.facts.views_live = false;
    assert_false(ask(&rig, MACHINE_TICK));
    rig.facts.views_live = true;
    rig.facts.backfilled = false;
    assert_false(ask(&rig, MACHINE_TICK));
    rig.facts.backfilled = true;
    rig.facts.source_captures = false;
    assert_false(ask(&rig, MACHINE_TICK));
    assert_false(rig.answer.refused); /* nobody asked */
    rig.facts.source_captures = true;
    assert_true(ask(&rig, MACHINE_TICK));
}

static void test_no_data_holds(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_CANARY);
    memset(&rig.window, 0, sizeof(rig.window));
    memset(&rig.late, 0, sizeof(rig.late));
    rig.policy.automatic = true;
    for (int i = 0; i < 100; i++)
        assert_false(ask(&rig, MACHINE_TICK));
    assert_int_equal(rig.machine.state, MACHINE_CANARY);
    assert_int_equal(rig.answer.checks.verdict, GUARDS_HOLD);
    expect_refusal(&rig, MACHINE_NEXT, "read-samples");
    assert_true(ask_with(&rig, MACHINE_NEXT, true));
    assert_string_equal(rig.answer.event.reason, "forced: I know");
    assert_int_equal(rig.answer.event.checks.verdict, GUARDS_HOLD);
}

/* At 100 % every read is Banyan's: nothing is compared, and that must not hold the cutover for ever. */
static void test_no_read_left_to_compare(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_CANARY);
    rig.window.answers = rig.late.answers = (struct traffic_comparison){0, 0};
    expect_refusal(&rig, MACHINE_NEXT, "answers");
    rig.machine.state = MACHINE_RAMP;
    rig.machine.step = rig.policy.step_count - 1;
    rig.machine.share = ROUTING_SHARE_ALL;
    expect(&rig, MACHINE_NEXT, "CutoverStarted", MACHINE_CUTTING_OVER);
}

static void test_shadow_only(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_SHADOW);
    rig.policy.shadow_only = true;
    expect_refusal(&rig, MACHINE_NEXT, "ends with the shadow");
    assert_false(ask_with(&rig, MACHINE_NEXT, true));
    rig.policy.automatic = true;
    assert_false(ask(&rig, MACHINE_TICK));
    rig.policy.shadow_only = false;
    expect(&rig, MACHINE_NEXT, "CanaryStarted", MACHINE_CANARY);
}

static void test_time_in_a_step(void **state)
{
    struct machine_request request = {.verb = MACHINE_NEXT};
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_CANARY);
    machine_decide(&rig.machine, &rig.policy, &rig.window, &rig.late, &rig.facts, &request,
                   (struct banyan_time){rig.now.us + MINUTE_US}, &rig.answer);
    assert_true(rig.answer.refused);
    assert_non_null(strstr(rig.answer.refusal, "step-time"));
    /* A wall clock that goes back does not make it pass. */
    machine_decide(&rig.machine, &rig.policy, &rig.window, &rig.late, &rig.facts, &request,
                   (struct banyan_time){rig.now.us - 100 * MINUTE_US}, &rig.answer);
    assert_true(rig.answer.refused);
}

static void break_late(struct rig *rig)
{
    rig->late.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].failures = 300;
}

static void test_breach_goes_back(void **state)
{
    static const enum machine_state from[] = {MACHINE_CANARY, MACHINE_RAMP, MACHINE_EVENT_FIRST};
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        go_to(&rig, from[i]);
        break_late(&rig);
        expect_refusal(&rig, i == 2 ? MACHINE_COMPLETE : MACHINE_NEXT, "write-failures");
        assert_false(ask_with(&rig, i == 2 ? MACHINE_COMPLETE : MACHINE_NEXT, true)); /* no force helps */
        expect(&rig, MACHINE_TICK, "RollbackStarted", MACHINE_ROLLING_BACK);
        assert_string_equal(rig.answer.event.actor, "guard");
        assert_non_null(strstr(rig.answer.event.reason, "write-failures"));
        assert_int_equal(rig.answer.event.checks.verdict, GUARDS_BREACH);
        assert_false(ask(&rig, MACHINE_TICK)); /* once */
    }
    go_to(&rig, MACHINE_SHADOW);
    rig.facts.mirror_conflicts = 1;
    assert_false(ask(&rig, MACHINE_TICK)); /* there is nothing to go back from */
    assert_false(ask_with(&rig, MACHINE_NEXT, true));
}

static void test_paused(void **state)
{
    static const enum machine_state in[] = {MACHINE_SHADOW, MACHINE_CANARY, MACHINE_RAMP, MACHINE_EVENT_FIRST};
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct banyan_time since;

        go_to(&rig, in[i]);
        rig.policy.automatic = true;
        since = rig.machine.since;
        expect(&rig, MACHINE_PAUSE, "RolloutPaused", in[i]);
        assert_int_equal(rig.machine.since.us, since.us);
        assert_false(ask(&rig, MACHINE_TICK));
        expect_refusal(&rig, MACHINE_PAUSE, "paused already");
        expect_refusal(&rig, i == 3 ? MACHINE_COMPLETE : MACHINE_NEXT, "resume");
        expect(&rig, MACHINE_RESUME, "RolloutResumed", in[i]);
        expect(&rig, MACHINE_PAUSE, "RolloutPaused", in[i]);
        if (in[i] == MACHINE_SHADOW)
            continue;
        break_late(&rig);
        expect(&rig, MACHINE_TICK, "RollbackStarted", MACHINE_ROLLING_BACK);
        expect(&rig, MACHINE_ROLLBACK_DONE, "RolledBack", MACHINE_SHADOW);
        assert_true(rig.machine.paused);
    }
    go_to(&rig, MACHINE_BACKFILLING);
    expect(&rig, MACHINE_PAUSE, "RolloutPaused", MACHINE_BACKFILLING);
    assert_false(ask(&rig, MACHINE_TICK));
}

static void test_automatic(void **state)
{
    struct rig rig;
    unsigned steps = 0;

    (void)state;
    go_to(&rig, MACHINE_SHADOW);
    rig.policy.automatic = true;
    while (ask(&rig, MACHINE_TICK))
        steps++;
    assert_int_equal(rig.machine.state, MACHINE_CUTTING_OVER);
    assert_int_equal(steps, 5);
    expect(&rig, MACHINE_CUTOVER_FAILED, "CutoverFailed", MACHINE_RAMP);
    expect(&rig, MACHINE_TICK, "CutoverStarted", MACHINE_CUTTING_OVER);
    assert_string_equal(rig.answer.event.actor, "banyan");
    expect(&rig, MACHINE_CUTOVER_DONE, "EventFirstStarted", MACHINE_EVENT_FIRST);
    assert_false(ask(&rig, MACHINE_TICK)); /* it never completes by itself */
    break_late(&rig);
    expect(&rig, MACHINE_TICK, "RollbackStarted", MACHINE_ROLLING_BACK);
    expect(&rig, MACHINE_ROLLBACK_DONE, "RolledBack", MACHINE_SHADOW);
    assert_true(rig.machine.paused); /* else it would go into the same wall again */
    assert_false(ask(&rig, MACHINE_TICK));
}

static void test_complete(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_EVENT_FIRST);
    rig.facts.mirror_backlog = 1;
    expect_refusal(&rig, MACHINE_COMPLETE, "mirror-drained");
    rig.facts.mirror_backlog = GUARDS_UNKNOWN;
    expect_refusal(&rig, MACHINE_COMPLETE, "mirror-drained");
    rig.facts.mirror_backlog = 0;
    rig.facts.verify_differences = 1;
    expect_refusal(&rig, MACHINE_COMPLETE, "verify");
    rig.facts.verify_differences = 0;
    rig.facts.upstream_up = false; /* it may be off for good */
    expect(&rig, MACHINE_COMPLETE, "RolloutCompleted", MACHINE_COMPLETED);
}

/* ---- what it wants ---- */

static void test_wants(void **state)
{
    static const struct {
        enum machine_state in;
        struct machine_wants wants;
    } cases[] = {
        {MACHINE_PREPARED, {.owner = OWNER_LEGACY}},
        {MACHINE_BACKFILLING, {.owner = OWNER_LEGACY}},
        {MACHINE_SHADOW, {.owner = OWNER_LEGACY, .shadow_reads = true, .mirror = true}},
        {MACHINE_CANARY, {OWNER_SHARED, 500, 500, true, true, false, false}},
        {MACHINE_RAMP, {OWNER_SHARED, 2500, 2500, true, true, false, false}},
        {MACHINE_CUTTING_OVER, {OWNER_NONE, 10000, 10000, true, true, true, false}},
        {MACHINE_EVENT_FIRST, {OWNER_BANYAN, 10000, 10000, false, true, false, false}},
        {MACHINE_ROLLING_BACK, {.owner = OWNER_NONE, .mirror = true, .hand_back = true}},
        {MACHINE_COMPLETED, {OWNER_BANYAN, 10000, 10000, false, false, false, false}},
    };
    struct machine_wants wants;
    struct rig rig;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct machine_wants *expected = &cases[i].wants;

        go_to(&rig, cases[i].in);
        machine_wants(&rig.machine, &wants);
        assert_int_equal(wants.owner, expected->owner);
        assert_int_equal(wants.new_share, expected->new_share);
        assert_int_equal(wants.read_share, expected->read_share);
        assert_int_equal(wants.shadow_reads, expected->shadow_reads);
        assert_int_equal(wants.mirror, expected->mirror);
        assert_int_equal(wants.cut_over, expected->cut_over);
        assert_int_equal(wants.hand_back, expected->hand_back);
    }
}

/* ---- JSON ---- */

static void round_trip(const struct machine_event *event)
{
    struct banyan_buf first = BANYAN_BUF_INIT(64 * 1024), second = BANYAN_BUF_INIT(64 * 1024);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct machine_event back;

    machine_event_json(event, &first);
    if (machine_event_parse(banyan_str_of(event->type), banyan_buf_str(&first), &back, &err) != BANYAN_OK)
        fail_msg("%s: %s", err.message, first.data);
    machine_event_json(&back, &second);
    assert_string_equal(first.data, second.data); /* with the names of all checks */
    assert_string_equal(back.type, event->type);
    assert_int_equal(back.checks.verdict, event->checks.verdict);
    banyan_buf_release(&first);
    banyan_buf_release(&second);
}

static void test_json(void **state)
{
    struct rig rig;

    (void)state;
    go_to(&rig, MACHINE_RAMP);
    round_trip(&rig.answer.event);
    (void)memcpy(rig.answer.event.reason, "\"\\\n\x01 \xc3\xa9", 8);
    round_trip(&rig.answer.event);
    break_late(&rig);
    assert_true(ask(&rig, MACHINE_TICK));
    round_trip(&rig.answer.event);
    go_to(&rig, MACHINE_COMPLETED); /* "mirror-drained" is among its checks */
    round_trip(&rig.answer.event);
    go_to(&rig, MACHINE_SHADOW);
    expect(&rig, MACHINE_ROLLBACK, "RolloutWithdrawn", MACHINE_PREPARED);
    round_trip(&rig.answer.event);
    expect(&rig, MACHINE_PAUSE, "RolloutPaused", MACHINE_PREPARED);
    round_trip(&rig.answer.event);
}

static void test_damaged_json(void **state)
{
    static const struct {
        const char *type, *json;
    } cases[] = {
        {"NotAnEvent", "{\"to\":\"shadow\"}"},
        {"CanaryStarted", ""},
        {"CanaryStarted", "{}"},
        {"CanaryStarted", "{\"to\":\"nowhere\"}"},
        {"CanaryStarted", "{\"to\":\"none\"}"},
        {"CanaryStarted", "{\"to\":\"canary\",\"share\":10001}"},
        {"CanaryStarted", "{\"to\":\"canary\",\"share\":-1}"},
        {"CanaryStarted", "{\"to\":\"canary\",\"step\":1.5}"},
        {"CanaryStarted", "{\"to\":\"canary\",\"at_us\":123456789012345678901234567890123}"},
        {"CanaryStarted", "{\"to\":\"canary\",\"checks\":{}}"},
        {"CanaryStarted", "{\"to\":\"canary\"} x"},
    };
    struct machine_event event;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;

        assert_int_equal(machine_event_parse(banyan_str_of(cases[i].type), banyan_str_of(cases[i].json), &event, &err),
                         BANYAN_CORRUPT);
        assert_int_not_equal(err.message[0], '\0');
    }
    /* What a newer program wrote is read. */
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_equal(machine_event_parse(BANYAN_STR("CanaryStarted"),
                                         BANYAN_STR("{\"to\":\"canary\",\"mood\":{\"a\":[1]},\"checks\":[{\"name\":"
                                                    "\"moon\",\"verdict\":\"full\",\"text\":\"\",\"x\":1}]}"),
                                         &event, &err),
                     BANYAN_OK);
    assert_int_equal(event.checks.check_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_the_way),
        cmocka_unit_test(test_start_prepares),
        cmocka_unit_test(test_a_policy_that_changed),
        cmocka_unit_test(test_cutover_failed),
        cmocka_unit_test(test_rollback_from_each),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_backfill_waits),
        cmocka_unit_test(test_no_data_holds),
        cmocka_unit_test(test_no_read_left_to_compare),
        cmocka_unit_test(test_shadow_only),
        cmocka_unit_test(test_time_in_a_step),
        cmocka_unit_test(test_breach_goes_back),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_automatic),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_wants),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_damaged_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
