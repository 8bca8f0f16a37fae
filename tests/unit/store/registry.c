/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: versions, rules, frozen or not, over restarts, by many threads, and payloads as JSON. */
#include "store/registry.h"

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
#include "os/thread.h"
#include "support/head_version.h"

#define NAME BANYAN_STR("OrderFilled")
#define V1 "{\"type\":\"record\",\"name\":\"F\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}"
#define V2                                                                                                             \
    "{\"type\":\"record\",\"name\":\"F\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"                              \
    "{\"name\":\"b\",\"type\":\"string\",\"default\":\"?\"}]}"
#define V2_DOC                                                                                                         \
    "{\"type\":\"record\",\"name\":\"F\",\"doc\":\"words\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"            \
    "{\"name\":\"b\",\"type\":\"string\",\"default\":\"?\"}]}"
#define NO_DEFAULT                                                                                                     \
    "{\"type\":\"record\",\"name\":\"F\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},"                              \
    "{\"name\":\"c\",\"type\":\"int\"}]}"

struct rig {
    char folder[FOLDER_PATH_MAX];
    struct store *store;
    struct store_registry *registry;
};

static void open_rig(struct rig *rig, bool read_only)
{
    struct store_options options = {.folder = rig->folder, .read_only = read_only, .segment_bytes = 256 * 1024};
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (store_open(&options, &rig->store, &err) != BANYAN_OK ||
        store_registry_open(rig->store, &rig->registry, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
}

static void close_rig(struct rig *rig)
{
    store_registry_close(rig->registry);
    store_close(rig->store);
    rig->registry = NULL;
    rig->store = NULL;
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    folder_make(rig->folder);
    open_rig(rig, false);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    close_rig(rig);
    folder_remove(rig->folder);
    free(rig);
    return 0;
}

static uint16_t must_register(struct rig *rig, struct banyan_str subject, const char *text)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    uint16_t version = 0;
    if (store_registry_register(rig->registry, subject, banyan_str_of(text), &version, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return version;
}

static void refused(struct rig *rig, const char *text, enum banyan_status status, const char *says)
{
    struct banyan_error err = BANYAN_ERROR_INIT, again = BANYAN_ERROR_INIT;
    uint16_t version = 0;
    uint64_t before = head_version(rig->store, BANYAN_STR("$schemas"));
    assert_int_equal(store_registry_register(rig->registry, NAME, banyan_str_of(text), &version, &err), status);
    if (strstr(err.message, says) == NULL)
        fail_msg("%s\n  not: %s", err.message, says);
    assert_int_equal(store_registry_check(rig->registry, NAME, banyan_str_of(text), &again), status);
    assert_string_equal(again.message, err.message);
    assert_int_equal(head_version(rig->store, BANYAN_STR("$schemas")), before);
}

static void versions(void **state)
{
    struct rig *rig = *state;
    struct store_schema schema;
    assert_int_equal(store_registry_get(rig->registry, NAME, 0, &schema, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_int_equal(must_register(rig, NAME, V2), 2);
    assert_int_equal(must_register(rig, NAME, V2_DOC), 2); /* documentation alone is no new version */
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_int_equal(head_version(rig->store, BANYAN_STR("$schemas")), 2);
    refused(rig, NO_DEFAULT, BANYAN_CONFLICT,
            "OrderFilled: not BACKWARD compatible: the new schema cannot read version 2: "
            "c: the reader's field has no default");
    refused(rig, "{\"type\":\"record\",\"name\":\"F\",\"fields\":[{\"name\":\"a\"}]}", BANYAN_INVALID, "fields[0]");
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_registry_get(rig->registry, NAME, 0, &schema, NULL), BANYAN_OK);
        assert_int_equal(schema.version, 2);
        assert_true(banyan_str_equal(schema.text, BANYAN_STR(V2)));
        assert_true(schema.registered_at.us > 0);
        assert_int_equal(store_registry_get(rig->registry, NAME, 1, &schema, NULL), BANYAN_OK);
        assert_true(banyan_str_equal(schema.text, BANYAN_STR(V1)));
        assert_int_equal(store_registry_get(rig->registry, NAME, 3, &schema, NULL), BANYAN_NOT_FOUND);
        close_rig(rig);
        open_rig(rig, round == 0); /* the second time beside nobody, only reading */
    }
    uint16_t version;
    assert_int_not_equal(store_registry_register(rig->registry, NAME, BANYAN_STR("\"int\""), &version, NULL),
                         BANYAN_OK);
}

static void rules(void **state)
{
    struct rig *rig = *state;
    struct store_schema schema;
    assert_int_equal(store_registry_set_compatibility(rig->registry, NAME, AVRO_FULL, NULL), BANYAN_NOT_FOUND);
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_int_equal(store_registry_set_compatibility(rig->registry, NAME, AVRO_FORWARD, NULL), BANYAN_OK);
    assert_int_equal(store_registry_set_compatibility(rig->registry, NAME, AVRO_FORWARD, NULL), BANYAN_OK);
    assert_int_equal(head_version(rig->store, BANYAN_STR("$schemas")), 2);
    close_rig(rig);
    open_rig(rig, false);
    assert_int_equal(store_registry_get(rig->registry, NAME, 0, &schema, NULL), BANYAN_OK);
    assert_int_equal(schema.compatibility, AVRO_FORWARD);
    assert_int_equal(must_register(rig, NAME, NO_DEFAULT), 2); /* the old schema passes over the new field */
    refused(rig, "{\"type\":\"record\",\"name\":\"F\",\"fields\":[]}", BANYAN_CONFLICT,
            "version 2 cannot read the new");
    assert_int_equal(store_registry_set_compatibility(rig->registry, NAME, AVRO_COMPATIBILITY_NONE, NULL), BANYAN_OK);
    assert_int_equal(must_register(rig, NAME, "\"int\""), 3);
}

static void frozen(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_false(store_registry_frozen(rig->registry));
    assert_int_equal(store_registry_freeze(rig->registry, true, NULL), BANYAN_OK);
    assert_int_equal(store_registry_freeze(rig->registry, true, NULL), BANYAN_OK);
    refused(rig, V2, BANYAN_CONFLICT, "the registry is frozen: the new schema of OrderFilled is not registered");
    assert_int_equal(must_register(rig, NAME, V1), 1); /* what is there is there */
    close_rig(rig);
    open_rig(rig, false);
    assert_true(store_registry_frozen(rig->registry));
    refused(rig, V2, BANYAN_CONFLICT, "frozen");
    assert_int_equal(store_registry_freeze(rig->registry, false, NULL), BANYAN_OK);
    assert_int_equal(must_register(rig, NAME, V2), 2);
    assert_int_equal(head_version(rig->store, BANYAN_STR("$schemas")), 4);
}

static void exact_versions(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_schema *list;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t count;
    assert_int_equal(store_registry_register_as(rig->registry, NAME, 3, BANYAN_STR(V1), NULL), BANYAN_OK);
    assert_int_equal(store_registry_register_as(rig->registry, NAME, 3, BANYAN_STR(V1), NULL), BANYAN_OK);
    assert_int_equal(store_registry_register_as(rig->registry, NAME, 3, BANYAN_STR(V2), &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "OrderFilled version 3 is registered with another schema"));
    banyan_error_clear(&err);
    assert_int_equal(store_registry_register_as(rig->registry, NAME, 2, BANYAN_STR(V2), &err), BANYAN_CONFLICT);
    assert_non_null(strstr(err.message, "cannot get a version 2 any more"));
    assert_int_equal(store_registry_register_as(rig->registry, NAME, 0, BANYAN_STR(V2), NULL), BANYAN_INVALID);
    assert_int_equal(must_register(rig, NAME, V2), 4);
    assert_int_equal(must_register(rig, BANYAN_STR("Another"), V2), 1);
    close_rig(rig);
    open_rig(rig, false);
    store_registry_list(rig->registry, &arena, &list, &count);
    assert_int_equal(count, 3);
    assert_true(banyan_str_equal(list[0].subject, BANYAN_STR("Another")));
    assert_int_equal(list[1].version, 3);
    assert_int_equal(list[2].version, 4);
    banyan_arena_release(&arena);
}

static void bad_subjects(void **state)
{
    struct rig *rig = *state;
    char longer[STORE_TYPE_NAME_BYTES_MAX + 2];
    uint16_t version;
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(store_registry_register(rig->registry, BANYAN_STR(""), BANYAN_STR(V1), &version, NULL),
                     BANYAN_INVALID);
    assert_int_equal(store_registry_register(rig->registry, BANYAN_STR("a\nb"), BANYAN_STR(V1), &version, NULL),
                     BANYAN_INVALID);
    assert_int_equal(store_registry_register(rig->registry, banyan_str_of(longer), BANYAN_STR(V1), &version, NULL),
                     BANYAN_LIMIT);
}

/* ---- threads, each with a registry of its own, as processes would have ---- */

enum {
    RACERS = 4,
    SUBJECTS = 20,
};

struct racer {
    struct os_thread thread;
    struct store *store;
    unsigned number;
    uint16_t versions[SUBJECTS];
    char failed[BANYAN_ERROR_TEXT_MAX];
};

/* Every racer adds an optional field of its own to each subject. */
static void race(void *argument)
{
    struct racer *racer = argument;
    struct store_registry *registry = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = store_registry_open(racer->store, &registry, &err);
    for (unsigned i = 0; i < SUBJECTS && st == BANYAN_OK; i++) {
        char subject[16], text[256];
        (void)snprintf(subject, sizeof(subject), "S%u", i);
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f%u\",\"type\":\"int\","
                       "\"default\":0}]}",
                       racer->number);
        st = store_registry_register(registry, banyan_str_of(subject), banyan_str_of(text), &racer->versions[i], &err);
    }
    (void)snprintf(racer->failed, sizeof(racer->failed), "%s", st == BANYAN_OK ? "" : err.message);
    store_registry_close(registry);
}

static void racers(void **state)
{
    struct rig *rig = *state;
    struct racer all[RACERS];
    struct store_schema schema;
    memset(all, 0, sizeof(all));
    for (unsigned i = 0; i < RACERS; i++) {
        all[i].store = rig->store;
        all[i].number = i;
        os_thread_start(&all[i].thread, "racer", race, &all[i]);
    }
    for (unsigned i = 0; i < RACERS; i++)
        os_thread_join(&all[i].thread);
    for (unsigned s = 0; s < SUBJECTS; s++) {
        unsigned seen = 0;
        char subject[16];
        for (unsigned i = 0; i < RACERS; i++) {
            assert_string_equal(all[i].failed, "");
            assert_in_range(all[i].versions[s], 1, RACERS);
            seen |= 1u << all[i].versions[s];
        }
        assert_int_equal(seen, ((1u << RACERS) - 1) << 1); /* each version once */
        (void)snprintf(subject, sizeof(subject), "S%u", s);
        assert_int_equal(store_registry_get(rig->registry, banyan_str_of(subject), 0, &schema, NULL), BANYAN_OK);
        assert_int_equal(schema.version, RACERS);
    }
    assert_int_equal(head_version(rig->store, BANYAN_STR("$schemas")), RACERS * SUBJECTS);
}

/* ---- payloads ---- */

static void payloads(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf binary = BANYAN_BUF_INIT(1000), json = BANYAN_BUF_INIT(1000);
    uint16_t version = 0;
    assert_int_equal(must_register(rig, NAME, V1), 1);
    assert_int_equal(store_registry_from_json(rig->registry, NAME, 0, BANYAN_STR("{\"a\":5}"), &binary, &version, &err),
                     BANYAN_OK);
    assert_int_equal(version, 1);
    assert_int_equal(binary.size, 1);
    assert_int_equal(binary.data[0], 10);
    assert_int_equal(must_register(rig, NAME, V2), 2);
    struct store_event event = {.type = NAME, .schema = 1, .payload = banyan_buf_str(&binary)};
    assert_int_equal(store_registry_to_json(rig->registry, &event, &json, &err), BANYAN_OK);
    assert_string_equal(json.data, "{\"a\":5,\"b\":\"?\"}");
    banyan_buf_reset(&json);
    event = (struct store_event){.type = NAME, .payload = BANYAN_STR("{\"any\": 1}")};
    assert_int_equal(store_registry_to_json(rig->registry, &event, &json, &err), BANYAN_OK);
    assert_string_equal(json.data, "{\"any\": 1}");
    event = (struct store_event){.type = NAME, .schema = 9, .payload = BANYAN_STR("x")};
    assert_int_equal(store_registry_to_json(rig->registry, &event, &json, &err), BANYAN_NOT_FOUND);
    assert_non_null(strstr(err.message, "has no version 9"));
    banyan_error_clear(&err);
    assert_int_equal(
        store_registry_from_json(rig->registry, NAME, 2, BANYAN_STR("{\"a\":\"x\"}"), &binary, &version, &err),
        BANYAN_INVALID);
    banyan_buf_release(&binary);
    banyan_buf_release(&json);
}

/* Somebody else wrote to the stream: that is said, and nothing is guessed. */
static void foreign_events(void **state)
{
    struct rig *rig = *state;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_event event = {.id = os_uuid_new(),
                                .stream = BANYAN_STR("$schemas"),
                                .type = BANYAN_STR("SchemaRegistered"),
                                .provenance = BANYAN_EXACT,
                                .payload = BANYAN_STR("{\"subject\":\"A\",\"version\":1,\"schema\":\"nonsense\"}")};
    struct store_append append = {.events = &event, .event_count = 1};
    struct store_appended appended;
    struct store_registry *other = NULL;
    assert_int_equal(store_append(rig->store, &append, &appended, NULL), BANYAN_OK);
    assert_int_equal(store_registry_open(rig->store, &other, &err), BANYAN_CORRUPT);
    assert_non_null(strstr(err.message, "event 1 of stream $schemas"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(versions, setup, teardown),
        cmocka_unit_test_setup_teardown(rules, setup, teardown),
        cmocka_unit_test_setup_teardown(frozen, setup, teardown),
        cmocka_unit_test_setup_teardown(exact_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_subjects, setup, teardown),
        cmocka_unit_test_setup_teardown(racers, setup, teardown),
        cmocka_unit_test_setup_teardown(payloads, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_events, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
