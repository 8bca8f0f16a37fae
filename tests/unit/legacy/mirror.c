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

/* Case 33, and what the application's own tables may have: triggers do not fire, the fence lets the mirror pass. */
static void test_case_33_triggers_and_the_fence(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "CREATE FUNCTION doubled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                     " INSERT INTO lines VALUES (new.id, 99, 'by a trigger'); RETURN new; END $$;"
                     "CREATE TRIGGER doubled AFTER INSERT ON docs FOR EACH ROW EXECUTE FUNCTION doubled();"
                     "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                     " RAISE EXCEPTION 'fenced' USING ERRCODE = '25006'; END $$;"
                     "CREATE TRIGGER banyan_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON docs"
                     " FOR EACH STATEMENT EXECUTE FUNCTION refuse()");
    struct legacy_mirror *mirror = mirror_up(rig);
    put(rig, 1, "a");
    line(rig, 1, 1, DOC_LINE_PUT);
    put(rig, 1, "b");
    written(rig, mirror);
    legacy_mirror_stop(mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(title, ',') FROM docs"), "b");
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(id::text, ',') FROM lines"), "1");
    struct banyan_error err = BANYAN_ERROR_INIT;
    assert_int_not_equal(pg_run(rig->db, "UPDATE docs SET title = 'x'", &err), BANYAN_OK);
    assert_string_equal(err.sqlstate, "25006");
}

static void test_an_append_is_one_transaction(void **state)
{
    struct rig *rig = *state;
    struct appends appends = {.rig = rig};
    rig_open_store(rig);
    for (int64_t key = 1; key <= 20; key++) {
        struct doc_row row = doc(key, "a");
        add(&appends, key, DOC_PUT, &row);
    }
    append(&appends);
    struct legacy_mirror_options options = options_of(rig);
    struct legacy_mirror *mirror = NULL;
    options.batch_events_max = 3;
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    written(rig, mirror);
    legacy_mirror_stop(mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(DISTINCT xmin::text) || ' ' || count(*) FROM docs"),
                        "1 20");
}

/* ---- conflicts ---- */

static size_t open_conflicts(struct rig *rig, struct legacy_conflict **ret)
{
    size_t count = 0;
    RIG_OK(rig, legacy_mirror_conflicts(rig->store, "test", &rig->arena, ret, &count, &rig->err));
    return count;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("\"%s\" does not have \"%s\"", text, part);
}

static void test_a_conflict_concerns_its_aggregate_only(void **state)
{
    struct rig *rig = *state;
    struct legacy_conflict *open;
    struct legacy_mirror *mirror = mirror_up(rig);
    put(rig, 1, "ours");
    put(rig, 2, "ours");
    written(rig, mirror);
    rig_sql(rig->db, "UPDATE docs SET note = 'theirs' WHERE id = 1; INSERT INTO docs (id, title) VALUES (3, 'theirs')");
    put(rig, 1, "ours again");
    put(rig, 2, "ours again");
    put(rig, 3, "ours");
    line(rig, 1, 5, DOC_LINE_PUT);
    line(rig, 2, 5, DOC_LINE_PUT);
    put(rig, 1, "at last");
    assert_int_equal(wait_all(rig, mirror), BANYAN_CONFLICT);
    assert_has(rig->err.hint, "$conflict-test");
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(title, ',' ORDER BY id) FROM docs"),
                        "ours,ours again,theirs");
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(doc_id::text, ',') FROM lines"), "2");
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    assert_int_equal(status.conflicts, 2);
    assert_int_equal(open_conflicts(rig, &open), 2);
    assert_int_equal(open[0].key, 1);
    assert_true(open[0].mirrored);
    assert_has(open[0].details.data, "\"found\":{\"id\":1,\"title\":\"ours\"");
    assert_has(open[0].details.data, "\"note\":\"theirs\"");
    assert_has(open[0].details.data, "\"wanted\":{\"id\":1,\"title\":\"ours again\"");
    assert_has(open[1].details.data, "\"expected\":null");
    /* It is remembered, not found again. */
    legacy_mirror_stop(mirror);
    mirror = mirror_up(rig);
    put(rig, 1, "and more");
    assert_int_equal(wait_all(rig, mirror), BANYAN_CONFLICT);
    assert_int_equal(rig_count(rig, "MirrorConflict"), 2);
    legacy_mirror_stop(mirror);
}

static void test_a_conflict_is_resolved(void **state)
{
    struct rig *rig = *state;
    struct legacy_conflict *open;
    struct banyan_position resolved;
    struct legacy_mirror *mirror = mirror_up(rig);
    put(rig, 1, "ours");
    written(rig, mirror);
    rig_sql(rig->db, "UPDATE docs SET note = 'theirs', title = 'theirs'");
    line(rig, 1, 4, DOC_LINE_PUT);
    put(rig, 1, "ours again");
    line(rig, 1, 5, DOC_LINE_PUT);
    line(rig, 1, 6, DOC_LINE_PUT);
    assert_int_equal(wait_all(rig, mirror), BANYAN_CONFLICT);
    banyan_error_clear(&rig->err);
    assert_int_equal(legacy_mirror_resolve(rig->store, "test", BANYAN_STR("doc"), 2, &resolved, &rig->err),
                     BANYAN_NOT_FOUND);
    banyan_error_clear(&rig->err);
    RIG_OK(rig, legacy_mirror_resolve(rig->store, "test", BANYAN_STR("doc"), 1, &resolved, &rig->err));
    put(rig, 1, "afterwards");
    line(rig, 1, 7, DOC_LINE_PUT);
    written(rig, mirror);
    assert_int_equal(open_conflicts(rig, &open), 0);
    assert_string_equal(rig_value(rig, rig->db, "SELECT title || coalesce(note, '-') FROM docs"), "afterwards-");
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(id::text, ',' ORDER BY id) FROM lines"), "4,5,6,7");
    legacy_mirror_stop(mirror);
    mirror = mirror_up(rig); /* the resolution is behind it */
    put(rig, 1, "after a start");
    written(rig, mirror);
    legacy_mirror_stop(mirror);
}

/* Once what is in the way of a child is still there, the conflict is back; gone, all of it is written. */
static void test_a_conflict_that_cannot_be_resolved_stays(void **state)
{
    struct rig *rig = *state;
    struct banyan_position resolved;
    struct legacy_mirror *mirror = mirror_up(rig);
    put(rig, 1, "ours");
    rig_sql(rig->db, "INSERT INTO lines VALUES (1, 5, 'theirs')");
    line(rig, 1, 5, DOC_LINE_PUT);
    line(rig, 1, 6, DOC_LINE_PUT);
    assert_int_equal(wait_all(rig, mirror), BANYAN_CONFLICT);
    banyan_error_clear(&rig->err);
    RIG_OK(rig, legacy_mirror_resolve(rig->store, "test", BANYAN_STR("doc"), 1, &resolved, &rig->err));
    assert_int_equal(wait_all(rig, mirror), BANYAN_CONFLICT);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) FROM lines"), "1");
    rig_sql(rig->db, "DELETE FROM lines");
    banyan_error_clear(&rig->err);
    RIG_OK(rig, legacy_mirror_resolve(rig->store, "test", BANYAN_STR("doc"), 1, &resolved, &rig->err));
    written(rig, mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(text, ',') FROM lines"), "text,text");
    legacy_mirror_stop(mirror);
}

/* ---- the source's own events, and the loop ---- */

static void test_case_30_a_thousand_writes_give_no_event(void **state)
{
    struct rig *rig = *state;
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'old' FROM generate_series(1, 20) i;"
                     "INSERT INTO lines SELECT i, 1, 'old' FROM generate_series(1, 20) i");
    rig_start(rig);
    rig_backfilled(rig);
    rig_sql(rig->db, "UPDATE docs SET title = 'captured' WHERE id <= 10");
    rig_fence(rig);
    struct legacy_mirror *mirror = mirror_up(rig); /* from the first event on: it has to know its own */
    written(rig, mirror);
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    assert_int_equal(status.events, 0);
    uint64_t before = rig_count(rig, "DocPut");
    for (int i = 0; i < 1000; i++)
        put(rig, i % 25 + 1, i % 2 == 0 ? "even" : "odd");
    written(rig, mirror);
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), before + 1000);
    legacy_mirror_status(mirror, &status);
    assert_int_equal(status.events, 1000);
    assert_int_equal(status.conflicts, 0);
    /* What the application writes is still captured. */
    rig_sql(rig->db, "INSERT INTO docs (id, title) VALUES (100, 'theirs')");
    rig_fence(rig);
    assert_int_equal(rig_count(rig, "DocPut"), before + 1001);
    rig_equal(rig);
    legacy_mirror_stop(mirror);
}

/* ---- rights ---- */

static enum banyan_status prove_as(struct rig *rig, const char *role)
{
    char conninfo[1024];
    snprintf(conninfo, sizeof(conninfo), "%s user=%s", rig->conninfo, role);
    struct legacy_mirror_options options = options_of(rig);
    options.conninfo = conninfo;
    banyan_error_clear(&rig->err);
    return legacy_mirror_prove(&options, &rig->err);
}

static void refused(struct rig *rig, const char *hint)
{
    assert_int_equal(prove_as(rig, "plain"), BANYAN_PRIVILEGE);
    assert_has(rig->err.hint, hint);
    assert_has(rig->err.hint, "TO plain");
}

static void test_case_32_rights_that_are_missing_are_named(void **state)
{
    struct rig *rig = *state;
    rig_open_store(rig);
    rig_sql(rig->db,
            "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN; INSERT INTO docs (id, title) VALUES (1, 'x')");
    refused(rig, "GRANT CREATE ON DATABASE");
    rig_sql(rig->db, "CREATE SCHEMA banyan");
    refused(rig, "ON SCHEMA banyan");
    rig_sql(rig->db, "GRANT CREATE, USAGE ON SCHEMA banyan TO plain");
    refused(rig, "pg_replication_origin_create");
    rig_sql(rig->db, "GRANT EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_oid(text),"
                     " pg_replication_origin_session_setup(text) TO plain");
    if (pg_server_version(rig->db) < 150000)
        goto out; /* only a superuser may set the role there */
    refused(rig, "GRANT SET ON PARAMETER session_replication_role");
    rig_sql(rig->db, "GRANT SET ON PARAMETER session_replication_role TO plain");
    refused(rig, "GRANT SELECT, INSERT, UPDATE, DELETE ON docs");
    rig_sql(rig->db, "GRANT SELECT, INSERT, UPDATE ON docs TO plain");
    refused(rig, "GRANT SELECT, INSERT, UPDATE, DELETE ON docs");
    rig_sql(rig->db, "GRANT DELETE ON docs TO plain");
    refused(rig, "GRANT SELECT, INSERT, UPDATE, DELETE ON lines");
    rig_sql(rig->db, "GRANT ALL ON lines TO plain");
    rig_ok(rig, prove_as(rig, "plain"), "a role with all rights");
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) || title FROM docs GROUP BY title"), "1x");
    /* Taken away later: it is told, and goes on when they are back. */
    char conninfo[1024];
    snprintf(conninfo, sizeof(conninfo), "%s user=plain", rig->conninfo);
    struct legacy_mirror_options options = options_of(rig);
    struct legacy_mirror *mirror = NULL;
    options.conninfo = conninfo;
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    rig_sql(rig->db, "REVOKE INSERT ON docs FROM plain");
    put(rig, 2, "a");
    assert_int_equal(legacy_mirror_wait(mirror, store_durable(rig->store), 700000, &rig->err), BANYAN_TIMEOUT);
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    assert_false(status.proven);
    assert_int_equal(status.error.status, BANYAN_PRIVILEGE);
    rig_sql(rig->db, "GRANT INSERT ON docs TO plain");
    written(rig, mirror);
    legacy_mirror_stop(mirror);
    rig_sql(rig->db, "REVOKE SET ON PARAMETER session_replication_role FROM plain");
out:
    rig_sql(rig->db, "REVOKE EXECUTE ON FUNCTION pg_replication_origin_create(text), pg_replication_origin_oid(text),"
                     " pg_replication_origin_session_setup(text) FROM plain; DROP OWNED BY plain CASCADE");
}

/* ---- exactness ---- */

static void test_connections_that_break(void **state)
{
    struct rig *rig = *state;
    struct legacy_mirror *mirror = mirror_up(rig);
    for (int i = 0; i < 300; i++) {
        put(rig, i % 40 + 1, i % 2 == 0 ? "even" : "odd");
        line(rig, i % 40 + 1, i, DOC_LINE_PUT);
        if (i % 50 == 25)
            rig_sql(rig->server,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s' AND "
                    "application_name = 'banyan/test'",
                    rig->database);
    }
    written(rig, mirror);
    rig_equal(rig);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) FROM lines"), "300");
    legacy_mirror_stop(mirror);
}

/* A process that appends and mirrors until it is killed; what it appends follows from the seed. */
static void appending_child(struct rig *rig, uint64_t seed, int told)
{
    struct os_random random;
    os_random_seed(&random, seed);
    struct legacy_mirror *mirror = NULL;
    rig_open_store(rig);
    struct legacy_mirror_options options = options_of(rig);
    options.batch_events_max = (uint32_t)os_random_below(&random, 40) + 1;
    if (legacy_mirror_start(&options, &mirror, &rig->err) != BANYAN_OK)
        fprintf(stderr, "# child: %s\n", rig->err.message);
    if (write(told, "x", 1) != 1)
        _exit(1);
    for (int64_t id = (int64_t)store_durable(rig->store).value * 100;; id++) {
        struct appends appends = {.rig = rig};
        int64_t key = (int64_t)os_random_below(&random, 30) + 1;
        struct doc_row row = doc(key, "");
        char title[32];
        snprintf(title, sizeof(title), "title %" PRId64, id);
        row.title = banyan_str_of(title);
        add(&appends, key, DOC_PUT, &row);
        struct doc_line added = {.doc_id = key, .id = id, .text = row.title};
        add(&appends, key, DOC_LINE_PUT, &added);
        if (os_random_below(&random, 10) == 0)
            add(&appends, key, DOC_DELETED, &(struct doc_deleted){.whole = true});
        append(&appends);
    }
}

/* Every line once, whatever was killed when: a doubled one would be refused and put aside. */
static void test_kill_at_any_instant(void **state)
{
    struct rig *rig = *state;
    struct os_random random;
    os_random_seed(&random, test_seed());
    for (int round = 0; round < 30; round++) {
        uint64_t seed = os_random_next(&random);
        int told[2];
        char byte;
        assert_int_equal(pipe(told), 0);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            appending_child(rig, seed, told[1]);
        close(told[1]);
        if (round % 5 != 0) /* else while it starts, too */
            assert_int_equal(read(told[0], &byte, 1), 1);
        close(told[0]);
        usleep((useconds_t)os_random_below(&random, 120000));
        rig_kill(child);
    }
    struct legacy_mirror *mirror = mirror_up(rig);
    written(rig, mirror);
    struct legacy_mirror_status status;
    legacy_mirror_status(mirror, &status);
    assert_int_equal(status.conflicts, 0);
    char lines[32];
    snprintf(lines, sizeof(lines), "%" PRIu64, rig_count(rig, "LinePut"));
    printf("# %s events in 30 rounds\n", lines);
    assert_true(rig_count(rig, "LinePut") > 30);
    assert_string_equal(rig_value(rig, rig->db, "SELECT count(*) FROM lines"), lines);
    rig_equal(rig);
    legacy_mirror_stop(mirror);
}

static void test_case_31_only_what_is_behind_the_given_position(void **state)
{
    struct rig *rig = *state;
    rig_open_store(rig);
    put(rig, 1, "of another attempt");
    struct legacy_mirror_options options = options_of(rig);
    struct legacy_mirror *mirror = NULL;
    options.from = store_durable(rig->store);
    put(rig, 2, "of this one"); /* before it starts, behind the position */
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    put(rig, 3, "of this one");
    written(rig, mirror);
    assert_string_equal(rig_value(rig, rig->db, "SELECT string_agg(id::text, ',') FROM docs"), "2,3");
    legacy_mirror_stop(mirror);
    /* A checkpoint that is further wins. */
    RIG_OK(rig, legacy_mirror_start(&options, &mirror, &rig->err));
    written(rig, mirror);
    legacy_mirror_stop(mirror);
    /* A log that is shorter than what was written from it is another one. */
    rig_sql(rig->db, "UPDATE banyan.mirror SET position = 1000");
    banyan_error_clear(&rig->err);
    assert_int_equal(legacy_mirror_start(&options, &mirror, &rig->err), BANYAN_INVALID);
    assert_has(rig->err.message, "position 1000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_row_from_its_birth_to_its_end, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_33_triggers_and_the_fence, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_an_append_is_one_transaction, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_a_conflict_concerns_its_aggregate_only, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_a_conflict_is_resolved, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_a_conflict_that_cannot_be_resolved_stays, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_30_a_thousand_writes_give_no_event, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_32_rights_that_are_missing_are_named, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_connections_that_break, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_kill_at_any_instant, rig_up, rig_down),
        cmocka_unit_test_setup_teardown(test_case_31_only_what_is_behind_the_given_position, rig_up, rig_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
