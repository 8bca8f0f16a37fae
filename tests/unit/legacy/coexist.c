/* SPDX-License-Identifier: Apache-2.0 */
/* Capture beside other writers of its streams: whose aggregate it is, and states that others have moved. */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "legacy/mirror.h"
#include "os/random.h"
#include "support/doc_domain.h"

/* An event of somebody else's, as a command would append it. */
static void put(struct rig *rig, int64_t key, const char *title, const char *body)
{
    struct banyan_buf bytes = BANYAN_BUF_INIT(1 << 20);
    struct doc_row row = {.id = key,
                          .title = banyan_str_of(title),
                          .body = banyan_str_of(body),
                          .amount = banyan_decimal_of(0, 4),
                          .changed_at = {1700000000000000}};
    char stream[32];
    struct store_appended appended;
    struct banyan_error err = BANYAN_ERROR_INIT;
    snprintf(stream, sizeof(stream), "doc-%" PRId64, key);
    if (banyan_record_encode(doc_domain.events[DOC_PUT].record, &row, &bytes, &err) != BANYAN_OK)
        abort();
    struct store_event event = {.id = os_uuid_new(),
                                .stream = banyan_str_of(stream),
                                .type = BANYAN_STR("DocPut"),
                                .schema = 1,
                                .provenance = BANYAN_EXACT,
                                .at = row.changed_at,
                                .payload = banyan_buf_str(&bytes)};
    struct store_append append = {.events = &event, .event_count = 1};
    if (store_append(rig->store, &append, &appended, &err) != BANYAN_OK)
        abort();
    banyan_buf_release(&bytes);
}

/* ---- ownership ---- */

static int64_t ours_from = INT64_MAX; /* atomic; keys from here on are Banyan's */

static bool owned(void *context, struct banyan_str category, int64_t key)
{
    (void)context;
    return banyan_str_equal(category, BANYAN_STR("doc")) && key >= __atomic_load_n(&ours_from, __ATOMIC_ACQUIRE);
}

static void own_from(int64_t key)
{
    __atomic_store_n(&ours_from, key, __ATOMIC_RELEASE);
}

static void test_a_change_of_what_is_ours_is_a_conflict(void **state)
{
    struct rig *rig = *state;
    struct legacy_conflict *open = NULL;
    size_t count = 0;
    rig->options.capture_only = true;
    rig->options.owned = owned;
    own_from(INT64_MAX);
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a'), (2, 'a')");
    rig_fence(rig);
    own_from(2);
    rig_sql(rig->db, "UPDATE docs SET title = 'b'; INSERT INTO lines VALUES (2, 1, 'x')");
    rig_sql(rig->db, "UPDATE docs SET title = 'c' WHERE id = 2");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-) put(b,0,0.0000,-)");
    assert_string_equal(rig_story(rig, 2), "put(a,0,0.0000,-)");
    assert_int_equal(rig_count(rig, "LegacyWrote"), 2);
    assert_int_equal(rig_count_saying(rig, "LegacyWrote", "\"category\":\"doc\",\"key\":2,\"lsn\":\""), 2);
    assert_int_equal(rig_count_saying(rig, "LegacyWrote", "\"title\":\"b\""), 1);
    assert_int_equal(rig_count_saying(rig, "LegacyWrote", "{\"table\":\"lines\",\"kind\":\"insert\",\"old\":null,"), 1);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.conflicts, 3);
    RIG_OK(rig, legacy_mirror_conflicts(rig->store, "test", &rig->arena, &open, &count, &rig->err));
    assert_int_equal(count, 1);
    assert_int_equal(open[0].key, 2);
    assert_false(open[0].mirrored);
    /* The cursor has passed them: they are not told again. */
    rig_stop(rig);
    rig_start(rig);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "LegacyWrote"), 2);
    /* Handed back: changes count again, and make up for what was not taken over. */
    own_from(INT64_MAX);
    rig_sql(rig->db, "UPDATE docs SET note = 'd' WHERE id = 2");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 2), "put(a,0,0.0000,-) put(c,0,0.0000,d)");
    rig_equal(rig);
}

static void test_a_large_transaction_is_split_by_owner(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig->options.owned = owned;
    rig->options.spool_memory_bytes = 64 * 1024;
    own_from(2001);
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, repeat('x', 100) FROM generate_series(1, 3000) i");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), 2000);
    assert_int_equal(rig_count(rig, "LegacyWrote"), 1000);
    own_from(INT64_MAX);
}

/* ---- states ---- */

/* What capture has in its cache is not what the stream says any more. */
static void test_a_state_that_others_moved(void **state)
{
    struct rig *rig = *state;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a'), (2, 'a'), (3, 'a')");
    rig_fence(rig);
    for (int64_t key = 1; key <= 3; key++)
        put(rig, key, "ours", NULL);
    /* Against the state in the cache the first is a change, and the second none: the row was 'a' there, too. */
    rig_sql(rig->db, "UPDATE docs SET title = 'theirs' WHERE id = 1");
    rig_fence(rig);
    rig_sql(rig->db, "UPDATE docs SET title = 'a' WHERE id = 2");
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,0,0.0000,-) put(ours,0,0.0000,-) put(theirs,0,0.0000,-)");
    assert_string_equal(rig_story(rig, 2), "put(a,0,0.0000,-) put(ours,0,0.0000,-) put(a,0,0.0000,-)");
    /* In one transaction with others, large or not. */
    rig_stop(rig);
    rig->options.spool_memory_bytes = 64 * 1024;
    rig_start(rig);
    rig_sql(rig->db, "UPDATE docs SET title = 'b'");
    rig_fence(rig);
    put(rig, 3, "ours", NULL);
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, repeat('x', 100) FROM generate_series(10, 3000) i;"
                     "UPDATE docs SET title = 'c' WHERE id <= 3");
    rig_fence(rig);
    rig_equal(rig);
    struct legacy_status status;
    legacy_status(rig->legacy, &status);
    assert_int_equal(status.state, LEGACY_CAPTURING);
}

/* A large value that the server does not send is taken from the newest state, also where it came from somebody else. */
static void test_an_unchanged_large_value_of_others(void **state)
{
    struct rig *rig = *state;
    char body[9001];
    memset(body, 'o', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    rig->options.capture_only = true;
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title, body) VALUES (1, 'a', repeat('t', 9000))");
    rig_fence(rig);
    put(rig, 1, "a", body);
    struct legacy_mirror_options options = {
        .domain = &doc_domain, .source = "test", .conninfo = rig->conninfo, .store = rig->store, .stop = &rig->stop};
    struct legacy_mirror *mirror = NULL;
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    RIG_OK(rig, legacy_mirror_wait(mirror, store_durable(rig->store), 20000000, &rig->err));
    legacy_mirror_stop(mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT left(body, 1) || length(body) FROM docs"), "o9000");
    rig_sql(rig->db, "UPDATE docs SET title = 'b'");
    rig_fence(rig);
    assert_int_equal(rig_count_saying(rig, "DocPut", "oooo"), 2);
    rig_equal(rig);
}

/* Two writers of the same streams at once: nothing of either is lost, and in the end the row is right. */
struct writer {
    struct rig *rig;
    int stop; /* atomic */
    uint64_t appended;
};

static void *write_on(void *argument)
{
    struct writer *writer = argument;
    while (!__atomic_load_n(&writer->stop, __ATOMIC_ACQUIRE)) {
        put(writer->rig, (int64_t)(writer->appended % 3) + 1, "ours", NULL);
        writer->appended++;
    }
    return NULL;
}

static void test_two_writers_at_once(void **state)
{
    struct rig *rig = *state;
    struct writer writer = {.rig = rig};
    pthread_t thread;
    rig->options.capture_only = true;
    rig_start(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (1, 'a'), (2, 'a'), (3, 'a')");
    assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
    for (int i = 0; i < 300; i++)
        rig_sql(rig->db, "UPDATE docs SET title = 'theirs %d' WHERE id = %d", i, i % 3 + 1);
    __atomic_store_n(&writer.stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    rig_sql(rig->db, "UPDATE docs SET title = 'end'");
    rig_fence(rig);
    printf("# %" PRIu64 " events of the other writer\n", writer.appended);
    assert_int_equal(rig_count_saying(rig, "DocPut", "ours"), writer.appended);
    assert_int_equal(rig_count_saying(rig, "DocPut", "theirs"), 300);
    rig_equal(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_change_of_what_is_ours_is_a_conflict, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_a_large_transaction_is_split_by_owner, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_others_moved, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_an_unchanged_large_value_of_others, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_two_writers_at_once, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
