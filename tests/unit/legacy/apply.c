/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions about transactions and chunks on a real server: changes that arrive before they are visible (pitfall 3).
 *
 * A commit that waits for a standby that does not exist has its record in the WAL, and so in the stream, but is visible
 * to nobody until its wait is cancelled.  Chunks are kept unread by a lock on the child table. */
#include "support/legacy_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hung.h"
#include "support/test_domain.h"

/* Changes that the chunk's snapshot does not see are held, survive a restart, and apply behind the chunk's rows. */
static void held_changes_apply(struct rig *rig, bool restart)
{
    struct hung hung = {.conn = NULL};
    struct pg_conn *locker = rig_connect(rig);
    rig_sql(rig->db,
            "INSERT INTO docs (id, title, body) SELECT i, 'a', repeat('x', 3000) FROM generate_series(1, 2000) i");
    rig->options.chunk_rows = 10;
    rig_start(rig);
    rig_sql(locker, "BEGIN; LOCK TABLE lines IN ACCESS EXCLUSIVE MODE");
    hung_start(rig, &hung,
               "UPDATE docs SET title = 'b' WHERE id = 1; DELETE FROM docs WHERE id = 2;"
               "UPDATE docs SET note = note WHERE id = 3;"
               "UPDATE docs SET note = 'm' WHERE id = 1");
    wait_held(rig, 4);
    if (restart) {
        os_stop_request(&rig->stop);
        rig_sql(locker, "COMMIT; SELECT pg_sleep(0)");
        rig_stop(rig);
        rig_start(rig);
    } else
        rig_sql(locker, "COMMIT");
    rig_backfilled(rig);
    hung_end(rig, &hung);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(a,3000,0.0000,-) put(b,3000,0.0000,-) put(b,3000,0.0000,m)");
    assert_string_equal(rig_story(rig, 2), "put(a,3000,0.0000,-) del");
    assert_string_equal(rig_story(rig, 3), "put(a,3000,0.0000,-)");
    assert_int_equal(rig_count(rig, "ChangeHeld"), 4);
    rig_equal(rig);
    pg_close(locker);
}

static void test_pitfall_3_held_changes_apply(void **state)
{
    held_changes_apply(*state, false);
}

static void test_pitfall_3_held_changes_survive_a_restart(void **state)
{
    held_changes_apply(*state, true);
}

/* Held, then visible before the chunk is read: the rows have them, they are not told twice. */
static void test_pitfall_3_held_changes_are_dropped(void **state)
{
    struct rig *rig = *state;
    struct hung hung = {.conn = NULL};
    struct pg_conn *locker = rig_connect(rig);
    rig_sql(rig->db, "INSERT INTO docs (id, title) SELECT i, 'a' FROM generate_series(1, 2000) i");
    rig->options.chunk_rows = 10;
    rig_start(rig);
    rig_sql(locker, "BEGIN; LOCK TABLE lines IN ACCESS EXCLUSIVE MODE");
    hung_start(rig, &hung, "UPDATE docs SET title = 'b' WHERE id = 1; DELETE FROM docs WHERE id = 2");
    wait_held(rig, 2);
    hung_end(rig, &hung);
    rig_sql(locker, "COMMIT");
    rig_backfilled(rig);
    rig_fence(rig);
    assert_string_equal(rig_story(rig, 1), "put(b,0,0.0000,-)");
    assert_string_equal(rig_story(rig, 2), "");
    rig_equal(rig);
    pg_close(locker);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, ghost_up, ghost_down)
    const struct CMUnitTest tests[] = {
        TEST(test_pitfall_3_held_changes_apply),
        TEST(test_pitfall_3_held_changes_survive_a_restart),
        TEST(test_pitfall_3_held_changes_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
