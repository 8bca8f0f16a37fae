#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A start whose sessions the server ends while it is at work: all of them, at once (a restart as after a crash), or those
# that idle for long.  It goes on, and its last word is what became of the migration.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

migrate() { local verb=$1; shift; timeout 240 "$banyan" migrate "$verb" "$@"; }
state() { sql -c "SELECT state FROM banyan.schema_migrations"; }
throttled() { grep -q . <(sql -c "SELECT 1 FROM banyan.schema_migration_steps WHERE message LIKE '%hold%'"); }
# held NAME   a start that waits in its backfill; its pid in $held
held() {
    touch "$work/hold"
    start_bg "$1" "$banyan" migrate start "$work/2024_11_01_001_b.sql" --throttle-file "$work/hold"
    held=$started
    wait_until 60 "a backfill that waits" throttled
}
# let_go   its exit code
let_go() { rm "$work/hold"; wait "$held"; echo $?; }

sql -c "CREATE TABLE item (id int PRIMARY KEY, a text); INSERT INTO item SELECT i, 'x' FROM generate_series(1, 3000) i"
printf '%s\n' "-- banyan: backfill item.b = a || id" "ALTER TABLE item ADD COLUMN b text;" >"$work/2024_11_01_001_b.sql"

held restart
check "the server is stopped at once, and starts" "$BANYAN_TEST_PG/ctl" restart
wait_until 60 "the backfill again" throttled
let_go >"$work/code"
equal "start goes on behind it" "$(cat "$work/code")" 0
matches "… and says what comes next" "$(cat "$work/restart.log")" "is ready .*banyan migrate complete"
equal "every row is filled" "$(sql -c "SELECT count(*) FROM item WHERE b = a || id")" 3000
check "rollback" migrate rollback 2024_11_01_001

sql -c "ALTER SYSTEM SET idle_session_timeout = '300ms'" -c "SELECT pg_reload_conf()" >/dev/null
held idle
runner() { sql -c "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'banyan migrate run'"; }
before=$(runner)
gone() { [ "$(sql -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'banyan migrate books'")" = 0 ]; }
wait_until 60 "the session that reads the books to be ended" gone
equal "the sessions that work are as they were" "$(runner)" "$before"
let_go >"$work/code"
equal "start, under an idle_session_timeout" "$(cat "$work/code")" 0
matches "… says what comes next" "$(cat "$work/idle.log")" "is ready .*banyan migrate complete"
check "complete" migrate complete
equal "… is completed" "$(state)" completed
plan_done
