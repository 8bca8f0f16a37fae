/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain whose event type moves on still reads its old log.
 *
 *     version 1  {cents, place}                 the first
 *     version 2  {cents, place?, note?}         by the rules of Avro: what is new is optional, what was there may be
 *     version 3  {amount (decimal), city}       by upcasters: another unit, another name, no longer optional
 */
#include "store/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "store/registry.h"
#include "store/state.h"

struct paid1 {
    int64_t cents;
    struct banyan_str place;
};

struct paid2 {
    int64_t cents;
    struct banyan_str place;
    struct banyan_str note;
};

struct paid3 {
    struct banyan_decimal amount;
    struct banyan_str city;
};

static const struct banyan_field fields1[] = {
    BANYAN_FIELD_INT(struct paid1, cents, 0),
    BANYAN_FIELD_STRING(struct paid1, place, 0),
};
static const struct banyan_field fields2[] = {
    BANYAN_FIELD_INT(struct paid2, cents, 0),
    BANYAN_FIELD_STRING(struct paid2, place, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct paid2, note, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_field fields3[] = {
    BANYAN_FIELD_DECIMAL(struct paid3, amount, 0, 2),
    BANYAN_FIELD_STRING(struct paid3, city, 0),
};
static const struct banyan_record record1 = {"Paid", sizeof(struct paid1), fields1, 2};
static const struct banyan_record record2 = {"Paid", sizeof(struct paid2), fields2, 3};
static const struct banyan_record record3 = {"Paid", sizeof(struct paid3), fields3, 2};

static const struct banyan_event_type types1[] = {{"Paid", 1, &record1}};
static const struct banyan_event_type types2[] = {{"Paid", 2, &record2}};
static const struct banyan_event_type types3[] = {{"Paid", 3, &record3}};

static bool from1(const void *old, void *ret, struct banyan_arena *arena)
{
    const struct paid1 *was = old;
    struct paid3 *is = ret;
    is->amount = banyan_decimal_of(was->cents, 2);
    is->city = banyan_arena_printf(arena, "city of %.*s", (int)was->place.size, was->place.data);
    return was->cents >= 0;
}

static bool from2(const void *old, void *ret, struct banyan_arena *arena)
{
    const struct paid2 *was = old;
    struct paid3 *is = ret;
    (void)arena;
    is->amount = banyan_decimal_of(was->cents, 2);
    is->city = was->place.data == NULL ? BANYAN_STR("") : was->place;
    return true;
}

static const struct banyan_upcaster upcasters[] = {{0, 1, &record1, from1}, {0, 2, &record2, from2}};

static const struct banyan_domain domain1 = {
    .abi = BANYAN_DOMAIN_ABI, .name = "till", .events = types1, .event_count = 1};
static const struct banyan_domain domain2 = {
    .abi = BANYAN_DOMAIN_ABI, .name = "till", .events = types2, .event_count = 1};
static const struct banyan_domain domain3 = {.abi = BANYAN_DOMAIN_ABI,
                                             .name = "till",
                                             .events = types3,
                                             .event_count = 1,
                                             .upcasters = upcasters,
                                             .upcaster_count = 2};
static const struct banyan_domain domain3_alone = {
    .abi = BANYAN_DOMAIN_ABI, .name = "till", .events = types3, .event_count = 1};

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct store *store;
    struct store_registry *registry;
    struct banyan_arena arena;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    folder_make(rig->folder);
    assert_int_equal(store_open(&(struct store_options){.folder = rig->folder}, &rig->store, NULL), BANYAN_OK);
    assert_int_equal(store_registry_open(rig->store, &rig->registry, NULL), BANYAN_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    store_registry_close(rig->registry);
    store_close(rig->store);
    banyan_arena_release(&rig->arena);
    folder_remove(rig->folder);
    free(rig);
    return 0;
}

static void use(struct rig *rig, const struct banyan_domain *domain)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (store_registry_use_domain(rig->registry, domain, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void append(struct rig *rig, const struct banyan_domain *domain, const void *value)
{
    struct banyan_buf payload = BANYAN_BUF_INIT(1000);
    assert_int_equal(banyan_record_encode(domain->events[0].record, value, &payload, NULL), BANYAN_OK);
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("till-1"),
                                .type = BANYAN_STR("Paid"),
                                .schema = domain->events[0].version,
                                .provenance = BANYAN_EXACT,
                                .at = {1},
                                .payload = banyan_buf_str(&payload)};
    struct store_append one = {.events = &event, .event_count = 1};
    struct store_appended appended;
    assert_int_equal(store_append(rig->store, &one, &appended, NULL), BANYAN_OK);
    banyan_buf_release(&payload);
}

/* Event *version* of the stream as *domain* reads it. */
static enum banyan_status decode(struct rig *rig, const struct banyan_domain *domain, uint64_t version, void *ret,
                                 struct banyan_error *err)
{
    struct store_decoder *decoder = store_decoder_new(rig->store, domain);
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    assert_int_equal(store_reader_stream(reader, BANYAN_STR("till-1"), (struct banyan_version){version}, NULL),
                     BANYAN_OK);
    assert_int_equal(store_reader_next(reader, &read, NULL), BANYAN_OK);
    struct store_event event = read.event;
    event.payload = banyan_arena_str(&rig->arena, event.payload);
    enum banyan_status st = store_decode(decoder, 0, event.schema, event.payload, &rig->arena, ret, err);
    store_reader_close(reader);
    store_decoder_free(decoder);
    return st;
}

static void json_of(struct rig *rig, uint64_t version, const char *expected)
{
    struct banyan_buf json = BANYAN_BUF_INIT(1000);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_reader *reader = store_reader_open(rig->store);
    struct store_read_event read;
    assert_int_equal(store_reader_stream(reader, BANYAN_STR("till-1"), (struct banyan_version){version}, NULL),
                     BANYAN_OK);
    assert_int_equal(store_reader_next(reader, &read, NULL), BANYAN_OK);
    if (store_registry_to_json(rig->registry, &read.event, &json, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    assert_string_equal(json.data, expected);
    store_reader_close(reader);
    banyan_buf_release(&json);
}

static void by_the_rules(void **state)
{
    struct rig *rig = *state;
    struct paid1 old = {250, BANYAN_STR("Pisa")};
    struct paid2 got;
    struct banyan_error err = BANYAN_ERROR_INIT;
    use(rig, &domain1);
    use(rig, &domain1); /* a second start changes nothing */
    append(rig, &domain1, &old);
    json_of(rig, 1, "{\"cents\":250,\"place\":\"Pisa\"}");
    use(rig, &domain2);
    assert_int_equal(decode(rig, &domain2, 1, &got, &err), BANYAN_OK);
    assert_int_equal(got.cents, 250);
    assert_true(banyan_str_equal(got.place, BANYAN_STR("Pisa")));
    assert_null(got.note.data);
    json_of(rig, 1, "{\"cents\":250,\"place\":\"Pisa\",\"note\":null}");
    /* The program of yesterday does not guess what today's means. */
    append(rig, &domain2, &(struct paid2){1, {NULL, 0}, {NULL, 0}});
    assert_int_equal(decode(rig, &domain1, 2, &old, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "event type Paid is stored in version 2, domain till has version 1"));
}

static void by_upcasters(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct paid3 got;
    use(rig, &domain1);
    append(rig, &domain1, &(struct paid1){250, BANYAN_STR("Pisa")});
    use(rig, &domain2);
    append(rig, &domain2, &(struct paid2){99, BANYAN_STR("Rome"), BANYAN_STR("tip")});
    append(rig, &domain1, &(struct paid1){-1, BANYAN_STR("Pisa")});
    /* Without its upcasters the third version does not go on from the second. */
    assert_int_equal(store_registry_use_domain(rig->registry, &domain3_alone, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "amount: the reader's field has no default"));
    banyan_error_clear(&err);
    use(rig, &domain3);
    append(rig, &domain3, &(struct paid3){banyan_decimal_of(5, 2), BANYAN_STR("Bari")});
    assert_int_equal(decode(rig, &domain3, 1, &got, &err), BANYAN_OK);
    assert_true(banyan_decimal_compare(got.amount, banyan_decimal_of(250, 2)) == 0);
    assert_true(banyan_str_equal(got.city, BANYAN_STR("city of Pisa")));
    assert_int_equal(decode(rig, &domain3, 2, &got, &err), BANYAN_OK);
    assert_true(banyan_str_equal(got.city, BANYAN_STR("Rome")));
    assert_int_equal(decode(rig, &domain3, 4, &got, &err), BANYAN_OK);
    assert_true(banyan_str_equal(got.city, BANYAN_STR("Bari")));
    json_of(rig, 1, "{\"amount\":\"2.50\",\"city\":\"city of Pisa\"}");
    json_of(rig, 2, "{\"amount\":\"0.99\",\"city\":\"Rome\"}");
    json_of(rig, 4, "{\"amount\":\"0.05\",\"city\":\"Bari\"}");
    /* An upcaster may refuse. */
    assert_int_equal(decode(rig, &domain3, 3, &got, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "stored in version 1: the upcaster of version 1 refuses"));
}

static void without_a_schema(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct paid2 got;
    append(rig, &domain1, &(struct paid1){250, BANYAN_STR("Pisa")}); /* before there was a registry */
    use(rig, &domain2);
    assert_int_equal(decode(rig, &domain2, 1, &got, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "cannot be read as version 2: Paid has no version 1"));
    assert_non_null(strstr(err.hint, "banyan schema register"));
}

static void changed_without_a_version(void **state)
{
    static const struct banyan_event_type changed[] = {{"Paid", 1, &record2}};
    static const struct banyan_domain domain = {
        .abi = BANYAN_DOMAIN_ABI, .name = "till", .events = changed, .event_count = 1};
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    use(rig, &domain1);
    assert_int_equal(store_registry_use_domain(rig->registry, &domain, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "event type Paid of domain till: Paid version 1 is registered with another"));
    banyan_error_clear(&err);
    assert_int_equal(store_registry_freeze(rig->registry, true, NULL), BANYAN_OK);
    use(rig, &domain1);
    assert_int_equal(store_registry_use_domain(rig->registry, &domain2, &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "the registry is frozen"));
}

static void bad_upcasters(void **state)
{
    static const struct banyan_upcaster bad[][2] = {
        {{1, 1, &record1, from1}, {0, 2, &record2, from2}}, /* no such type */
        {{0, 3, &record1, from1}, {0, 2, &record2, from2}}, /* not an older version */
        {{0, 0, &record1, from1}, {0, 2, &record2, from2}}, /* JSON has no version */
        {{0, 1, NULL, from1}, {0, 2, &record2, from2}},     /* no record */
        {{0, 1, &record1, NULL}, {0, 2, &record2, from2}},  /* no function */
        {{0, 2, &record1, from1}, {0, 2, &record2, from2}}, /* twice */
    };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct banyan_domain domain = domain3;
        domain.upcasters = bad[i];
        assert_int_equal(store_registry_use_domain(rig->registry, &domain, NULL), BANYAN_INVALID);
    }
}

/* ---- states: old and new events of one stream, folded ---- */

struct till {
    struct banyan_decimal sum;
    struct banyan_str last;
};

static const struct banyan_field till_fields[] = {
    BANYAN_FIELD_DECIMAL(struct till, sum, 0, 2),
    BANYAN_FIELD_STRING(struct till, last, 0),
};
static const struct banyan_record till_record = {"Till", sizeof(struct till), till_fields, 2};

static void evolve(void *state, unsigned type, const void *payload, struct banyan_time at)
{
    struct till *till = state;
    const struct paid3 *paid = payload;
    (void)type;
    (void)at;
    till->sum.units += paid->amount.units;
    till->last = paid->city;
}

static const struct banyan_aggregate aggregate = {.category = "till", .state = &till_record, .evolve = evolve};

static void states_of_old_events(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct states states;
    struct till till;
    char scratch[sizeof(struct paid3)] __attribute__((aligned(16)));
    use(rig, &domain1);
    append(rig, &domain1, &(struct paid1){250, BANYAN_STR("Pisa")});
    use(rig, &domain3);
    append(rig, &domain3, &(struct paid3){banyan_decimal_of(5, 2), BANYAN_STR("Bari")});
    append(rig, &domain1, &(struct paid1){100, BANYAN_STR("Lucca")});
    states_init(&states, rig->store, &domain3, &aggregate, &rig->arena);
    struct store_reader *reader = store_reader_open(rig->store);
    banyan_record_init(&till_record, &till);
    enum banyan_status st =
        states_fold_stream(&states, &till, scratch, reader, BANYAN_STR("till-1"), (struct banyan_version){0},
                           (struct banyan_version){3}, &rig->arena, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(st, BANYAN_OK);
    assert_true(banyan_decimal_compare(till.sum, banyan_decimal_of(355, 2)) == 0);
    assert_true(banyan_str_equal(till.last, BANYAN_STR("city of Lucca")));
    store_reader_close(reader);
    states_release(&states);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_the_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(by_upcasters, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_without_a_version, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_upcasters, setup, teardown),
        cmocka_unit_test_setup_teardown(states_of_old_events, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
