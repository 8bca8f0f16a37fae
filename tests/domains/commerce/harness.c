/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/buf.h"
#include "commerce/events.h"
#include "harness.h"
#include "store/emitter.h"

struct taker {
    struct banyan_emitter emitter;
    struct decided *decided;
};

static const struct banyan_aggregate *aggregate_of(const struct subject *subject)
{
    return &commerce_aggregates[subject->aggregate];
}

static struct banyan_str encode(const struct banyan_record *record, const void *value, struct banyan_arena *arena)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(1 << 20);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str text;

    if (banyan_record_encode(record, value, &buf, &err) != BANYAN_OK)
        fail_msg("%s cannot be stored: %s", record->name, err.message);
    text = banyan_arena_str(arena, banyan_buf_str(&buf));
    banyan_buf_release(&buf);
    return text;
}

/* As it comes back from the store. */
static void *stored(const struct banyan_record *record, const void *value, struct banyan_arena *arena)
{
    struct banyan_str data = encode(record, value, arena);
    struct banyan_error err = BANYAN_ERROR_INIT;
    void *copy = banyan_arena_zalloc(arena, record->size);

    if (banyan_record_decode_in(record, data, arena, copy, &err) != BANYAN_OK)
        fail_msg("%s cannot be read: %s", record->name, err.message);
    assert_true(banyan_record_diff(record, value, copy) == 0);
    return copy;
}

static void take(struct banyan_emitter *emitter, const struct banyan_emit *event)
{
    struct decided *decided = ((struct taker *)emitter)->decided;

    assert_true(decided->count < HARNESS_EVENTS_MAX);
    assert_int_equal(event->provenance, BANYAN_EXACT);
    assert_int_not_equal(event->at.us, BANYAN_TIME_NULL);
    decided->types[decided->count] = event->type;
    decided->payloads[decided->count++] = stored(commerce_events[event->type].record, event->payload, emitter->arena);
}

static struct decided decide(const struct subject *subject, unsigned command, const void *fields)
{
    char key[24];
    struct decided decided = {.code = NULL};
    struct taker taker = {{take, subject->arena}, &decided};
    struct banyan_command asked = {.type = command, .fields = fields, .now = subject->now};
    struct banyan_refusal refusal = {NULL, {NULL, 0}};

    asked.key = (struct banyan_str){key, (size_t)snprintf(key, sizeof(key), "%lld", (long long)subject->key)};
    if (aggregate_of(subject)->decide(subject->state, subject->version > 0, &asked, &taker.emitter, &refusal))
        return decided;
    assert_non_null(refusal.code);
    assert_true(refusal.text.size > 0);
    return (struct decided){.code = refusal.code, .text = refusal.text};
}

static void assert_same(const struct decided *a, const struct decided *b)
{
    if (a->code == NULL || b->code == NULL)
        assert_ptr_equal(a->code, b->code);
    else
        assert_string_equal(a->code, b->code);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->types[i], b->types[i]);
        assert_true(banyan_record_diff(commerce_events[a->types[i]].record, a->payloads[i], b->payloads[i]) == 0);
    }
}

void subject_init(struct subject *subject, enum commerce_aggregate aggregate, int64_t key, struct banyan_arena *arena)
{
    *subject = (struct subject){.aggregate = aggregate, .key = key, .arena = arena, .now = {1000000000000000}};
    subject->state = banyan_arena_zalloc(arena, commerce_aggregates[aggregate].state->size);
    banyan_record_init(commerce_aggregates[aggregate].state, subject->state);
}

void subject_fold(struct subject *subject, unsigned type, const void *payload)
{
    aggregate_of(subject)->evolve(subject->state, type, payload, subject->now);
    subject->version++;
}

void subject_check(struct subject *subject)
{
    subject->state = stored(aggregate_of(subject)->state, subject->state, subject->arena);
}

struct decided subject_send(struct subject *subject, unsigned command, const void *fields)
{
    const struct banyan_record *record = aggregate_of(subject)->state;
    struct banyan_str before = encode(record, subject->state, subject->arena);
    struct decided first = decide(subject, command, fields), second = decide(subject, command, fields);
    struct banyan_str after = encode(record, subject->state, subject->arena);

    assert_same(&first, &second);
    assert_true(banyan_str_equal(before, after));
    for (size_t i = 0; i < first.count; i++)
        subject_fold(subject, first.types[i], first.payloads[i]);
    subject_check(subject);
    return first;
}

void subject_expect(struct subject *subject, unsigned command, const void *fields, size_t count)
{
    struct decided decided = subject_send(subject, command, fields);

    if (decided.code != NULL)
        fail_msg("refused: %s", decided.code);
    assert_int_equal(decided.count, count);
}

void subject_refused(struct subject *subject, unsigned command, const void *fields, const char *code)
{
    struct decided decided = subject_send(subject, command, fields);

    if (decided.code == NULL)
        fail_msg("accepted, and not refused with %s", code);
    assert_string_equal(decided.code, code);
}

/* ---- random values ---- */

static int64_t random_int(struct os_random *random)
{
    switch (os_random_below(random, 8)) {
    case 0:
        return INT64_MAX;
    case 1:
        return INT64_MIN;
    case 2:
        return 0;
    case 3:
        return -(int64_t)os_random_below(random, 100);
    default:
        return (int64_t)os_random_below(random, 100);
    }
}

static struct banyan_decimal random_decimal(struct os_random *random, int32_t scale)
{
    __int128 units = random_int(random);

    switch (os_random_below(random, 10)) {
    case 0:
        return (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
    case 1:
        return (struct banyan_decimal){units * INT64_C(1000000000000000000), scale};
    default:
        return (struct banyan_decimal){units, scale};
    }
}

static struct banyan_str random_text(struct os_random *random)
{
    static const char *const texts[] = {"",         "created",     "approved", "shipped", "delivered",
                                        "canceled", "rejected",    "ready",    "leased",  "authorized",
                                        "captured", "A. Customer", "toys\n",   "nobody"};

    return banyan_str_of(texts[os_random_below(random, sizeof(texts) / sizeof(texts[0]))]);
}

static void random_field(const struct banyan_field *field, void *value, struct os_random *random,
                         struct banyan_arena *arena)
{
    bool nothing = (field->flags & BANYAN_FIELD_OPTIONAL) != 0 && os_random_below(random, 4) == 0;
    void *at = (char *)value + field->offset;
    struct banyan_list *list = at;

    if (nothing)
        return;
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        *(struct banyan_str *)at = random_text(random);
        return;
    case BANYAN_FIELD_INT:
        *(int64_t *)at = random_int(random);
        return;
    case BANYAN_FIELD_BOOL:
        *(bool *)at = os_random_below(random, 2) == 0;
        return;
    case BANYAN_FIELD_TIME:
        ((struct banyan_time *)at)->us = 1 + (int64_t)os_random_below(random, INT64_C(2000000000000000));
        return;
    case BANYAN_FIELD_DECIMAL:
        *(struct banyan_decimal *)at = random_decimal(random, field->scale);
        return;
    case BANYAN_FIELD_LIST:
        list->count = os_random_below(random, 4);
        list->items = list->count == 0 ? NULL : banyan_arena_zalloc(arena, list->count * field->item->size);
        for (size_t i = 0; i < list->count; i++)
            random_value(field->item, (char *)list->items + i * field->item->size, random, arena);
        return;
    case BANYAN_FIELD_NONE:
        break;
    }
    fail_msg("a field of no kind");
}

void random_value(const struct banyan_record *record, void *ret, struct os_random *random, struct banyan_arena *arena)
{
    banyan_record_init(record, ret);
    for (size_t i = 0; i < record->field_count; i++)
        random_field(&record->fields[i], ret, random, arena);
}
