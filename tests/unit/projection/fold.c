/* SPDX-License-Identifier: Apache-2.0 */
/* Folds of a domain that moved on: old versions are decoded by the registry's schemas, others put their stream aside.
 */
#include "projection/fold.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../log/folder.h"
#include "os/random.h"
#include "store/registry.h"

struct paid1 {
    int64_t cents;
};

struct paid2 {
    struct banyan_str note;
    int64_t cents;
};

static const struct banyan_field fields1[] = {BANYAN_FIELD_INT(struct paid1, cents, 0)};
static const struct banyan_field fields2[] = {
    BANYAN_FIELD_STRING(struct paid2, note, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct paid2, cents, 0),
};
static const struct banyan_record record1 = {"Paid", sizeof(struct paid1), fields1, 1};
static const struct banyan_record record2 = {"Paid", sizeof(struct paid2), fields2, 2};
static const struct banyan_event_type types2[] = {{"Paid", 2, &record2}};
static const struct banyan_domain domain2 = {
    .abi = BANYAN_DOMAIN_ABI, .name = "till", .events = types2, .event_count = 1};
static void apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    (void)event;
    (void)unit;
}
static const struct banyan_projection projection = {
    .name = "tills", .categories = (const char *const[]){"till", NULL}, .apply = apply};

#define SCHEMA1 "{\"type\":\"record\",\"name\":\"Paid\",\"fields\":[{\"name\":\"cents\",\"type\":\"long\"}]}"

static void an_old_event(void **state)
{
    struct banyan_buf payload = BANYAN_BUF_INIT(100);
    struct store *store = NULL;
    struct store_registry *registry = NULL;
    char folder[FOLDER_PATH_MAX];
    struct banyan_unit *unit = unit_new(&projection, NULL, true, 0);
    size_t asides, applied;
    (void)state;
    folder_make(folder);
    assert_int_equal(store_open(&(struct store_options){.folder = folder}, &store, NULL), BANYAN_OK);
    assert_int_equal(store_registry_open(store, &registry, NULL), BANYAN_OK);
    assert_int_equal(banyan_record_encode(&record1, &(struct paid1){250}, &payload, NULL), BANYAN_OK);
    struct store_read_event event = {.event = {.stream = BANYAN_STR("till-7"),
                                               .type = BANYAN_STR("Paid"),
                                               .schema = 1,
                                               .payload = banyan_buf_str(&payload)},
                                     .position = {1},
                                     .version = {1}};
    /* Nobody knows what version 1 was. */
    struct fold *fold = fold_new(store, &domain2, &projection);
    assert_true(fold_add(fold, &event));
    assert_int_equal(fold_apply(fold, unit, &applied, NULL), BANYAN_OK);
    assert_int_equal(applied, 0);
    const struct sink_aside *aside = fold_asides(fold, &asides);
    assert_int_equal(asides, 1);
    assert_non_null(memmem(aside->reason.data, aside->reason.size, "no schema of Paid", 17));
    assert_true(aside->by_stream && aside->held == 1 && aside->position.value == 1);
    fold_free(fold);
    /* Now it is known. */
    uint16_t version;
    assert_int_equal(store_registry_register(registry, BANYAN_STR("Paid"), BANYAN_STR(SCHEMA1), &version, NULL),
                     BANYAN_OK);
    fold = fold_new(store, &domain2, &projection);
    assert_true(fold_add(fold, &event));
    assert_int_equal(fold_apply(fold, unit, &applied, NULL), BANYAN_OK);
    assert_int_equal(applied, 1);
    (void)fold_asides(fold, &asides);
    assert_int_equal(asides, 0);
    fold_free(fold);
    unit_free(unit);
    store_registry_close(registry);
    store_close(store);
    banyan_buf_release(&payload);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_old_event)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
