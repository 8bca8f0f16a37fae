/* SPDX-License-Identifier: Apache-2.0 */
/* The way back, against a real server: rows, exactness under kills, conflicts, rights.  Documents of doc_domain.h. */
#include "support/legacy_rig.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "legacy/conflict.h"
#include "legacy/mirror.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/retry.h"
#include "support/doc_domain.h"
#include "support/test_domain.h"

enum {
    WAIT_US = 20 * 1000 * 1000,
};

static struct legacy_mirror_options options_of(struct rig *rig)
{
    return (struct legacy_mirror_options){
        .domain = &doc_domain, .source = "test", .conninfo = rig->conninfo, .store = rig->store, .stop = &rig->stop};
}

static struct legacy_mirror *mirror_up(struct rig *rig)
{
    struct legacy_mirror *mirror = NULL;
    rig_open_store(rig);
    struct legacy_mirror_options options = options_of(rig);
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    return mirror;
}

static enum banyan_status wait_all(struct rig *rig, struct legacy_mirror *mirror)
{
    banyan_error_clear(&rig->err);
    return legacy_mirror_wait(mirror, store_durable(rig->store), WAIT_US, &rig->err);
}

static void written(struct rig *rig, struct legacy_mirror *mirror)
{
    rig_ok(rig, wait_all(rig, mirror), "waiting for the mirror");
}

/* ---- events, as somebody else than the source appends them ---- */

struct appends {
    struct rig *rig;
    struct banyan_arena arena;
    struct store_event events[64];
    size_t count;
};

static void add(struct appends *appends, int64_t key, unsigned type, const void *payload)
{
    struct banyan_buf bytes = BANYAN_BUF_INIT(1 << 20);
    assert_int_equal(banyan_record_encode(doc_domain.events[type].record, payload, &bytes, &appends->rig->err),
                     BANYAN_OK);
    appends->events[appends->count++] = (struct store_event){
        .id = os_uuid_new(),
        .stream = banyan_arena_printf(&appends->arena, "doc-%" PRId64, key),
        .type = banyan_str_of(doc_domain.events[type].name),
        .schema = 1,
        .provenance = BANYAN_EXACT,
        .at = {1700000000000000},
        .payload = banyan_arena_str(&appends->arena, banyan_buf_str(&bytes)),
    };
    banyan_buf_release(&bytes);
}

static void append(struct appends *appends)
{
    struct store_append all = {.events = appends->events, .event_count = appends->count};
    struct store_appended appended;
    rig_ok(appends->rig, store_append(appends->rig->store, &all, &appended, &appends->rig->err), "store_append");
    appends->count = 0;
    banyan_arena_release(&appends->arena);
}

static struct doc_row doc(int64_t key, const char *title)
{
    return (struct doc_row){
        .id = key,
        .title = banyan_str_of(title),
        .amount = banyan_decimal_of(key * 10000 + 5, 4),
        .changed_at = {1700000000123456},
    };
}

static void put(struct rig *rig, int64_t key, const char *title)
{
    struct appends appends = {.rig = rig};
    struct doc_row row = doc(key, title);
    add(&appends, key, DOC_PUT, &row);
    append(&appends);
}

static void line(struct rig *rig, int64_t key, int64_t id, unsigned type)
{
    struct appends appends = {.rig = rig};
    struct doc_line row = {.doc_id = key, .id = id, .text = BANYAN_STR("text")};
    add(&appends, key, type, &row);
    append(&appends);
}

static void removed(struct rig *rig, int64_t key)
{
    struct appends appends = {.rig = rig};
    add(&appends, key, DOC_DELETED, &(struct doc_deleted){.whole = true});
    append(&appends);
}

/* ---- rows ---- */

static void test_a_row_from_its_birth_to_its_end(void **state)
{
    struct rig *rig = *state;
    struct legacy_mirror *mirror = mirror_up(rig);
    put(rig, 1, "a'\"\\ü");
    written(rig, mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT (docs.*)::text FROM docs"),
                        "(1,\"a'\"\"\\\\ü\",,1.0005,,\"2023-11-14 22:13:20.123456+00\")");
    put(rig, 1, "b");
    line(rig, 1, 7, DOC_LINE_PUT);
    line(rig, 1, 8, DOC_LINE_PUT);
    line(rig, 1, 7, DOC_LINE_REMOVED);
    written(rig, mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT title FROM docs"), "b");
    assert_string_equal(rig_value(rig, rig->db, "SELECT (lines.*)::text FROM lines"), "(1,8,text)");
    removed(rig, 1);
    written(rig, mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) FROM docs"), "0");
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    assert_true(status.proven && status.running);
    assert_int_equal(status.events, 6);
    assert_int_equal(status.rows, 6);
    assert_int_equal(status.conflicts, 0);
    assert_true(status.lag_us_p99 > 0);
    legacy_mirror_stop(mirror);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_row_from_its_birth_to_its_end, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
