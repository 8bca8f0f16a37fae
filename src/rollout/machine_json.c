/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of the rollout as JSON.
 *
 *     {"to":"canary","paused":false,"step":0,"share":500,"attempt":1,"at_us":1767225600000000,
 *      "actor":"token ops","reason":"…","checks":[{"name":"verify","verdict":"pass","text":"…"}, …]}
 *
 * Members that are not known are skipped, so that an older program reads what a newer one wrote.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jtext.h"
#include "rollout/machine.h"

static const char *const types[] = {
    "RolloutPrepared", "BackfillStarted", "ShadowStarted",     "CanaryStarted",    "RampStepped",
    "CutoverStarted",  "CutoverFailed",   "EventFirstStarted", "RollbackStarted",  "RolledBack",
    "RolloutPaused",   "RolloutResumed",  "RolloutWithdrawn",  "RolloutCompleted",
};
/* Of guards.c and machine.c: a check's name is static. */
static const char *const checks[] = {
    "source",
    "backfill",
    "views",
    "capture-lag",
    "view-lag",
    "mirror",
    "mirror-backlog",
    "mirror-conflicts",
    "mirror-drained",
    "verify",
    "verify-age",
    "gateway",
    "upstream",
    "step-time",
    "read-samples",
    "read-failures",
    "read-latency-p50",
    "read-latency-p99",
    "write-samples",
    "write-failures",
    "write-latency-p50",
    "write-latency-p99",
    "answers",
};
static const char *const verdicts[] = {"none", "pass", "hold", "wait", "breach"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

void machine_event_json(const struct machine_event *event, struct banyan_buf *ret)
{
    banyan_buf_printf(ret,
                      "{\"to\":\"%s\",\"paused\":%s,\"step\":%zu,\"share\":%" PRIu32 ",\"attempt\":%" PRIu64
                      ",\"at_us\":%" PRId64 ",\"actor\":",
                      machine_state_name(event->to), event->paused ? "true" : "false", event->step, event->share,
                      event->attempt, event->at.us);
    banyan_buf_add_json(ret, banyan_str_of(event->actor));
    banyan_buf_add_text(ret, ",\"reason\":");
    banyan_buf_add_json(ret, banyan_str_of(event->reason));
    banyan_buf_add_text(ret, ",\"checks\":[");
    for (size_t i = 0; i < event->checks.check_count; i++) {
        const struct guards_check *check = &event->checks.checks[i];

        banyan_buf_printf(ret, "%s{\"name\":\"%s\",\"verdict\":\"%s\",\"text\":", i > 0 ? "," : "", check->name,
                          verdicts[check->verdict]);
        banyan_buf_add_json(ret, banyan_str_of(check->text));
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_text(ret, "]}");
}

/* ---- reading ---- */

/* Which of *names* is it; *count* when none. */
static size_t find(const char *const *names, size_t count, struct banyan_str name)
{
    size_t i = 0;

    while (i < count && !banyan_str_equal(banyan_str_of(names[i]), name))
        i++;
    return i;
}

static bool read_number(struct jtext_input *in, int64_t *ret)
{
    struct banyan_str text;
    char digits[32], *end = NULL;

    if (!jtext_number(in, &text))
        return false;
    if (text.size >= sizeof(digits))
        return jtext_fault(in, "a number is too long");
    memcpy(digits, text.data, text.size);
    digits[text.size] = '\0';
    *ret = strtoll(digits, &end, 10);
    return *end == '\0' ? true : jtext_fault(in, "a whole number is expected");
}

static bool read_count(struct jtext_input *in, uint64_t *ret)
{
    int64_t number = 0;

    if (!read_number(in, &number))
        return false;
    if (number < 0)
        return jtext_fault(in, "a count is negative");
    *ret = (uint64_t)number;
    return true;
}

/* Cut where it is longer than the field. */
static bool read_text(struct jtext_input *in, char *ret, size_t size)
{
    struct banyan_buf text = BANYAN_BUF_INIT(64 * 1024);
    struct banyan_str raw;
    bool ok = jtext_string(in, &raw);

    if (ok) {
        (void)jtext_unescape(raw, &text); /* half a surrogate is no reason to refuse a text for people */
        (void)snprintf(ret, size, "%s", text.data == NULL ? "" : text.data);
    }
    banyan_buf_release(&text);
    return ok;
}

static bool read_state(struct jtext_input *in, enum machine_state *ret)
{
    struct banyan_str raw;

    if (!jtext_string(in, &raw))
        return false;
    for (int state = MACHINE_PREPARED; state < MACHINE_STATES; state++) {
        if (jtext_is(raw, machine_state_name((enum machine_state)state))) {
            *ret = (enum machine_state)state;
            return true;
        }
    }
    return jtext_fault(in, "there is no such state");
}

static bool read_check(struct jtext_input *in, struct guards_check *ret)
{
    struct banyan_str name, raw;
    size_t index;

    *ret = (struct guards_check){.name = "other"};
    if (!jtext_object(in))
        return false;
    while (jtext_member(in, &name)) {
        if (jtext_is(name, "name") && jtext_string(in, &raw)) {
            index = find(checks, COUNT(checks), raw);
            ret->name = index < COUNT(checks) ? checks[index] : "other";
        } else if (jtext_is(name, "verdict") && jtext_string(in, &raw)) {
            index = find(verdicts, COUNT(verdicts), raw);
            ret->verdict = index < COUNT(verdicts) ? (enum guards_verdict)index : GUARDS_NONE;
        } else if (jtext_is(name, "text")) {
            (void)read_text(in, ret->text, sizeof(ret->text));
        } else {
            (void)jtext_skip(in, &raw);
        }
    }
    return in->fault == NULL;
}

static bool read_checks(struct jtext_input *in, struct guards_result *ret)
{
    struct guards_check check;

    if (!jtext_array(in))
        return false;
    while (jtext_element(in)) {
        if (!read_check(in, &check))
            return false;
        if (ret->check_count < GUARDS_CHECKS_MAX)
            ret->checks[ret->check_count++] = check;
    }
    return in->fault == NULL;
}

/* The verdict of all is that of the worst: BREACH, WAIT, HOLD, as guards.h has it. */
static void sum_up(struct guards_result *ret)
{
    for (size_t i = 0; i < ret->check_count; i++) {
        if (ret->checks[i].verdict > ret->verdict)
            ret->verdict = ret->checks[i].verdict;
    }
}

static void read_member(struct jtext_input *in, struct banyan_str name, struct machine_event *event)
{
    struct banyan_str raw;
    uint64_t count = 0;

    if (jtext_is(name, "to")) {
        (void)read_state(in, &event->to);
    } else if (jtext_is(name, "paused")) {
        (void)jtext_boolean(in, &event->paused);
    } else if (jtext_is(name, "step")) {
        (void)read_count(in, &count);
        event->step = (size_t)count;
    } else if (jtext_is(name, "share")) {
        if (read_count(in, &count) && count > ROUTING_SHARE_ALL)
            (void)jtext_fault(in, "a share is above everything");
        event->share = (uint32_t)count;
    } else if (jtext_is(name, "attempt")) {
        (void)read_count(in, &event->attempt);
    } else if (jtext_is(name, "at_us")) {
        (void)read_number(in, &event->at.us);
    } else if (jtext_is(name, "actor")) {
        (void)read_text(in, event->actor, sizeof(event->actor));
    } else if (jtext_is(name, "reason")) {
        (void)read_text(in, event->reason, sizeof(event->reason));
    } else if (jtext_is(name, "checks")) {
        (void)read_checks(in, &event->checks);
    } else {
        (void)jtext_skip(in, &raw);
    }
}

enum banyan_status machine_event_parse(struct banyan_str type, struct banyan_str json, struct machine_event *ret,
                                       struct banyan_error *err)
{
    struct jtext_input in = jtext_input(json);
    size_t index = find(types, COUNT(types), type);
    struct machine_event event;
    struct banyan_str name;

    memset(&event, 0, sizeof(event));
    if (index == COUNT(types))
        return banyan_error_set(err, BANYAN_CORRUPT, "the rollout has no event of the type %.*s", (int)type.size,
                                type.data);
    event.type = types[index];
    if (jtext_object(&in)) {
        while (jtext_member(&in, &name))
            read_member(&in, name, &event);
    }
    if (jtext_end(&in) && event.to == MACHINE_NONE)
        (void)jtext_fault(&in, "the state is missing");
    if (in.fault != NULL)
        return banyan_error_set(err, BANYAN_CORRUPT, "event %s of the rollout: %s", event.type, in.fault);
    sum_up(&event.checks);
    *ret = event;
    return BANYAN_OK;
}
