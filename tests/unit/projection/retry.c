/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and streams that are put aside, and tried again. */
#include <string.h>

#include "world.h"

static void check_asides(struct fixture *f, size_t view, bool by_key, uint64_t held)
{
    struct sink_aside *asides;
    size_t count = asides_of(f, view, &asides);
    assert_int_equal(count, 5);
    assert_int_equal(status_of(f, view).aside, 5);
    for (size_t i = 0; i < count; i++) {
        bool odd = banyan_str_equal(asides[i].stream, BANYAN_STR("account-4x"));
        assert_true(asides[i].reason.size > 10 && asides[i].position.value == 7 + i && asides[i].at.us > 0);
        assert_int_equal(asides[i].by_stream, !by_key || odd);
        assert_int_equal(asides[i].held, odd ? 1 : held);
        if (by_key && !odd)
            assert_int_equal(asides[i].key, i + 1);
    }
    for (int64_t key = 1; key <= 6; key++)
        assert_owner(f, view, key, key == 4 || key == 6 ? "y" : "x");
}

/* Keys or streams of which an event cannot be applied stand still; all others go on; a restart remembers. */
static void what_cannot_be_applied_is_put_aside(void **state)
{
    struct fixture f;
    struct banyan_projection parts = partitioned();
    setup(&f);
    add_view(&f, &test_projections[0]);
    add_view(&f, &parts);
    append_opened(&f, 6);
    append_bad(&f);
    append_names(&f, "y", 6);
    start(&f, false);
    for (uint64_t round = 0; round < 3; round++) {
        wait_tail(&f);
        wait_state(&f, 0, PROJECTION_LIVE);
        wait_state(&f, 1, PROJECTION_LIVE);
        check_asides(&f, 0, false, 2 + round);
        check_asides(&f, 1, true, 2 + round);
        append_names(&f, "y", 6);
        if (round == 1) {
            wait_tail(&f);
            check_asides(&f, 0, false, 2 + round + 1);
        }
        stop(&f);
        start(&f, false);
    }
    stop(&f);
    teardown(&f);
}

static bool refuses; /* owners "bad" */
static struct banyan_str null_text = {NULL, 0};

static void apply_fussy(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct test_account *old = banyan_unit_get(unit, 0, event->key);
    struct test_account account = old == NULL ? test_account_fresh(event->key) : *old;
    (void)test_account_fold(&account, event->type, event->payload, event->at); /* none is purged here */
    account.moves++; /* counts all events: applied twice it would show */
    banyan_unit_put(unit, 0, event->key, &account);
    if (refuses && banyan_str_equal(account.owner, BANYAN_STR("bad"))) {
        account.owner = null_text; /* after the first put: that one must be taken back */
        banyan_unit_put(unit, 0, event->key, &account);
    }
}

static enum banyan_status note_moves(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    *(int64_t *)context = ((const struct test_account *)row)->moves;
    return BANYAN_OK;
}

static int64_t moves_of(struct fixture *f, size_t view, int64_t key)
{
    struct sink_home *home = f->homes[view].real;
    struct sink_view *asker = NULL;
    struct sink_checkpoint checkpoint;
    int64_t moves = -1;
    assert_int_equal(home->ops->view(home, &asker, NULL), BANYAN_OK);
    assert_int_equal(asker->ops->get(asker, 0, key, &checkpoint, note_moves, &moves, NULL), BANYAN_OK);
    sink_view_close(asker);
    return moves;
}

/* What was aside is applied in its order, once, or stays as it was with the new reason. */
static void a_key_is_tried_again(void **state)
{
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        struct fixture f;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct sink_aside *asides;
        struct banyan_projection spec = partitioned();
        struct banyan_str stream = by_stream ? BANYAN_STR("account-2") : BANYAN_STR("");
        int64_t key = by_stream ? 0 : 2;
        setup(&f);
        spec.spread = by_stream ? BANYAN_JOINED : BANYAN_PARTITIONED;
        spec.apply = apply_fussy;
        add_view(&f, &spec);
        start(&f, false);
        refuses = true;
        append_opened(&f, 3);
        append_names(&f, "one", 3);
        struct test_renamed renamed = {BANYAN_STR("bad")};
        struct store_event event =
            test_event_of(TEST_RENAMED, &renamed, 2, (struct banyan_time){2}, &f.random, &f.arena);
        append(&f, &event, 1);
        append_names(&f, "two", 3);
        append_names(&f, "three", 3);
        wait_tail(&f);
        assert_owner(&f, 0, 2, "one");
        assert_int_equal(moves_of(&f, 0, 2), 2);
        assert_owner(&f, 0, 1, "three");
        assert_int_equal(asides_of(&f, 0, &asides), 1);
        assert_int_equal(asides[0].held, 3);
        /* Not there; still bad; a flush that fails; at last. */
        assert_int_equal(projections_retry(f.engine, 0, 1, BANYAN_STR(""), &err), BANYAN_NOT_FOUND);
        banyan_error_clear(&err);
        assert_int_equal(projections_retry(f.engine, 0, key, stream, &err), BANYAN_INVALID);
        assert_non_null(strstr(err.message, "owner"));
        assert_int_equal(asides_of(&f, 0, &asides), 1);
        assert_int_equal(asides[0].held, 3);
        assert_owner(&f, 0, 2, "one");
        stop(&f);
        refuses = false;
        start(&f, false);
        wait_tail(&f);
        append_names(&f, "four", 3);
        wait_tail(&f);
        assert_int_equal(asides_of(&f, 0, &asides), 1);
        assert_int_equal(asides[0].held, 4);
        banyan_error_clear(&err);
        atomic_store(&f.homes[0].fail_before, 1);
        assert_int_equal(projections_retry(f.engine, 0, key, stream, &err), BANYAN_IO);
        banyan_error_clear(&err);
        must(projections_retry(f.engine, 0, key, stream, &err), &err, "retry");
        assert_int_equal(asides_of(&f, 0, &asides), 0);
        assert_owner(&f, 0, 2, "four");
        assert_int_equal(moves_of(&f, 0, 2), 6);
        assert_int_equal(moves_of(&f, 0, 1), 5);
        append_names(&f, "five", 3);
        wait_tail(&f);
        assert_owner(&f, 0, 2, "five");
        assert_int_equal(status_of(&f, 0).aside, 0);
        stop(&f);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_applied_is_put_aside),
        cmocka_unit_test(a_key_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
