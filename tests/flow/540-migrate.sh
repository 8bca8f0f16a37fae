#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `banyan migrate` from the outside: the six cases of docs/MIGRATE.md by hand, as a DBA would do them.  Files and folders,
# drift, pause and ^C and resume, two migrators, blockers, rehearsal, history, JSON; and the plans that docs/MIGRATE-PLANS.md
# shows are those that are printed (BANYAN_WRITE_DOCS=1 writes them there, and does no more).
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

cases=$(cd "$(dirname "$0")" && pwd)/migrate
docs=$(cd "$(dirname "$0")/../.." && pwd)/docs/MIGRATE.md
plans=${docs%.md}-PLANS.md
migrate() { local verb=$1; shift; timeout 120 "$banyan" migrate "$verb" "$@"; }
# code COMMAND...   its exit code
code() { "$@" >"$work/out" 2>"$work/err"; echo $?; }
state() { migrate history --json | jq -r --arg v "$1" '.migrations[] | select(.version == $v) | .state'; }
in_state() { [ "$(state "$1")" = "$2" ]; }
column() { sql -c "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = '$1'"; }
new_database() {
    sql -d postgres -c "CREATE DATABASE $1" && export PGDATABASE=$1 && sql -f "$cases/schema.sql"
}
# A migration that takes a while: batches of a millisecond, one page after the other, and a throttle that can be held.
slowly() { "$banyan" migrate start "$cases/2024_11_01_003_widen_price.sql" --throttle-file "$work/hold" "$@"; }

# ---- plans, and the documentation ----

# shown MARK FILE   the block of text that stands behind <!-- MARK --> there
shown() { awk -v mark="<!-- $1 -->" '$0 == mark { found = 1 } found && /^```$/ && inside { exit }
    inside { print } found && /^```text$/ { inside = 1 }' "$2"; }
# write_block MARK FILE TEXT   puts it there
write_block() {
    awk -v mark="<!-- $1 -->" -v file="$3" '{ if (!inside) print }
        $0 == mark { found = 1 }
        found && !inside && /^```text$/ { inside = 1; while ((getline line < file) > 0) print line }
        inside && /^```$/ { print; inside = 0; found = 0 }' "$2" >"$work/page" && cat "$work/page" >"$2"
}
new_database plans || exit 1
major=$(($(sql -c 'SHOW server_version_num') / 10000))
before=$(pg_dump --schema-only --restrict-key=x 2>/dev/null || pg_dump --schema-only)
for file in "$cases"/2024*.sql; do
    name=$(basename "$file" .sql)
    equal "plan $name" "$(code migrate plan "$file")" 0
    cp "$work/out" "$work/plan"
    migrate plan --json "$file" | jq -r '.plans[0].plan.steps | to_entries[] | "\(.key + 1)  \(.value.phase)  \(.value.name): \(.value.title)"' >"$work/steps"
    [ -z "${BANYAN_WRITE_DOCS:-}" ] || { write_block "plan $name" "$plans" "$work/plan" && write_block "steps $name" "$docs" "$work/steps"; }
    if [ "$major" = 15 ]; then
        equal "plan $name is the one that docs/MIGRATE-PLANS.md shows" "$(cat "$work/plan")" "$(shown "plan $name" "$plans")"
    else # NOT NULL has a name from 18 on, estimates and texts of views differ
        skip "plan $name is the one that docs/MIGRATE-PLANS.md shows" "they are those of 15"
    fi
    equal "plan $name: its steps are those of docs/MIGRATE.md" "$(cat "$work/steps")" "$(shown "steps $name" "$docs")"
    equal "plan $name: the docs show its SQL" "$(grep -cxF -- "$(tail -1 "$file")" "$docs")" 1
    check "plan $name as JSON" sh -c "\"$banyan\" migrate plan --json '$file' | jq -e '.plans[0].plan.steps | length > 0'"
done
[ -z "${BANYAN_WRITE_DOCS:-}" ] || plan_done
equal "plan of the folder" "$(code migrate plan "$cases/2024_11_01_001_add_execution_venue.sql" "$cases/2024_11_01_004_index_symbol.sql")" 0
equal "a plan changes nothing" "$(pg_dump --schema-only --restrict-key=x 2>/dev/null || pg_dump --schema-only)" "$before"
equal "what is not there" "$(code migrate plan "$work/none.sql")" 5
echo 'ALTER TABLE nothing ADD COLUMN a int;' >"$work/2024_12_no_table.sql"
[ "$(code migrate plan "$work/2024_12_no_table.sql")" != 0 ] && ok "a table that is not there" || not_ok "a table that is not there" "$(cat "$work/out")"
echo 'ALTER TABLE orders ADD COLUMN venue text NOT NULL;' >"$work/2024_12_no_fill.sql"
equal "NOT NULL without a value is refused" "$(code migrate start "$work/2024_12_no_fill.sql")" 27
matches "… with the way out" "$(cat "$work/out" "$work/err")" "banyan: backfill orders.venue"
equal "wrong use" "$(code migrate start)" 2
equal "status where nothing was ever migrated" "$(code migrate status)" 0
equal "history where nothing was ever migrated" "$(migrate history --json | jq -c .)" '{"migrations":[]}'

# ---- each case: start, complete, rollback, and again to the end ----

new_database cases || exit 1
values() { sql -c "SELECT count(*), sum(hashtext(o::text)::bigint) FROM (SELECT id, account_id, symbol, order_type, price, quantity, notional, execution_time, created_at FROM orders) o"; }
first=$(values)
for file in "$cases"/2024*.sql; do
    name=$(basename "$file" .sql)
    version=$(grep -oE '^[0-9_]*[0-9]' <<<"$name")
    equal "$name: dry run" "$(code migrate start --dry-run "$file")" 0
    equal "$name: start" "$(code migrate start "$file")" 0
    matches "$name: says what comes next" "$(cat "$work/out")" "$version is ready .*banyan migrate complete"
    equal "$name: is ready" "$(state "$version")" ready
    equal "$name: complete, dry run" "$(code migrate complete --dry-run)" 0
    equal "$name: complete, without a name" "$(code migrate complete)" 0
    equal "$name: is completed" "$(state "$version")" completed
    equal "$name: rollback, dry run" "$(code migrate rollback --dry-run "$version")" 0
    equal "$name: rollback" "$(code migrate rollback "$version")" 0
    equal "$name: is rolled back" "$(state "$version")" rolled_back
    equal "$name: the values are as before" "$(values)" "$first"
done
equal "the schema is as before" "$(pg_dump --schema-only -t 'public.*' | grep -vE '^(--|SET|SELECT|\\)|^$' | md5sum)" \
    "$(PGDATABASE=plans pg_dump --schema-only -t 'public.*' | grep -vE '^(--|SET|SELECT|\\)|^$' | md5sum)"

# ---- a folder, to the end; drift ----

mkdir "$work/folder"
cp "$cases"/2024*.sql "$work/folder"
equal "one table, one migration that can go back" "$(code migrate start --complete "$work/folder")" 6
equal "… the first is completed" "$(state 2024_11_01_001)" completed
equal "a folder, to the end" "$(code migrate start --cleanup --json "$work/folder")" 0
equal "… all are done" "$(jq -r '[.migrations[].state] | unique | join(" ")' "$work/out")" done
equal "… six of them" "$(jq -r '.migrations | length' "$work/out")" 6
equal "execution_venue is there" "$(column execution_venue)" 1
equal "execution_timestamp is there" "$(column execution_timestamp)" 1
equal "price is numeric(18,8)" "$(sql -c "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'price'")" "numeric(18,8)"
equal "the key is valid" "$(sql -c "SELECT convalidated FROM pg_constraint WHERE conname = 'orders_account_fk'")" t
equal "no value is missing" "$(sql -c "SELECT count(*) FROM orders WHERE execution_venue IS NULL OR notional <> round(price * quantity, 2)")" 0
equal "the folder again: nothing to do" "$(code migrate start "$work/folder")" 0
matches "… is said" "$(cat "$work/out")" "2024_11_01_003 is done: left out"
echo '-- an afterthought' >>"$work/folder/2024_11_01_003_widen_price.sql"
equal "an edited file is refused" "$(code migrate start "$work/folder")" 8
matches "… with a diff" "$(cat "$work/err")" "an afterthought"
equal "nothing of ours is left on the table" "$(sql -c "SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname LIKE '\\_banyan%'")" 0
equal "no trigger is left" "$(sql -c "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal")" 0
[ "$(code migrate rollback 2024_11_01_003)" != 0 ] && ok "no way back behind cleanup" || not_ok "no way back behind cleanup" "$(cat "$work/out")"
matches "history for people" "$(migrate history)" "2024_11_01_006 +done"
check "history of one, as JSON" sh -c "\"$banyan\" migrate history --json 2024_11_01_003 | jq -e '.steps | length > 3'"

# ---- what a rollback cannot undo is named ----

sql -c "CREATE TYPE side AS ENUM ('buy')"
echo "ALTER TYPE side ADD VALUE 'sell';" >"$work/2024_12_enum.sql"
equal "a value of an enum" "$(code migrate start "$work/2024_12_enum.sql")" 0
equal "… goes back" "$(code migrate rollback "$work/2024_12_enum.sql")" 0
matches "… and what stays is told" "$(cat "$work/out")" "but for what nothing undoes"
matches "… by its statement" "$(cat "$work/out")" "ADD VALUE.*'sell'"

# ---- pause, ^C, resume, two migrators, status ----

new_database stops || exit 1
touch "$work/hold"
start_bg first slowly
wait_until 30 "the throttle to be seen" sh -c "\"$banyan\" migrate status --json | jq -e '.migrations[0].step.waits | test(\"hold\")'"
equal "a second migrator" "$(code migrate start "$cases/2024_11_01_004_index_symbol.sql")" 16
status=$(migrate status --json)
equal "status is JSON" "$(jq -r '.migrations[0].version' <<<"$status")" 2024_11_01_003
equal "status: at work" "$(jq -r '.migrations[0].at_work' <<<"$status")" true
equal "status: phase" "$(jq -r '.migrations[0].step.phase' <<<"$status")" backfill
matches "status for people" "$(migrate status)" "backfill [0-9]+/[0-9]+ .*"
check "watch is stopped by ^C" sh -c "timeout -s INT 3 \"$banyan\" migrate status --watch; [ \$? = 124 ]"
check "pause" migrate pause
wait "$started"
equal "the one that worked ends: busy" "$?" 16
equal "it is paused" "$(migrate status --json | jq -r '.migrations[0].paused')" true
start_bg second "$banyan" migrate resume --throttle-file "$work/hold"
wait_until 30 "the resumed one to wait" sh -c "\"$banyan\" migrate status --json | jq -e '.migrations[0].at_work and .migrations[0].paused == false'"
kill -INT "$started"
wait "$started"
equal "^C is no success" "$?" 27
rm "$work/hold"
equal "resume goes on to the end" "$(code migrate resume)" 0
equal "… is ready" "$(state 2024_11_01_003)" ready
check "the time of a step is that of all its batches" sh -c "\"$banyan\" migrate history --json 2024_11_01_003 | jq -e '.steps[] | select(.name == \"fill\") | .ended_us - .started_us > 300000'"
equal "nothing to resume" "$(code migrate resume)" 5
equal "rollback from ready" "$(code migrate rollback 2024_11_01_003)" 0

# ---- who is in the way ----

start_bg holder psql -XqAt -c "BEGIN; SELECT 1 FROM orders LIMIT 1; SELECT pg_sleep(30)"
holder=$started
wait_until 10 "the holder" sh -c "[ \"\$(psql -XqAtc \"SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass\")\" -gt 0 ]"
start_bg blocked "$banyan" migrate start "$cases/2024_11_01_001_add_execution_venue.sql"
wait_until 30 "the blocker to be named" sh -c "\"$banyan\" migrate status --json | jq -e '.migrations[0] | (.blockers[0].query // .step.waits) | test(\"pg_sleep\")'"
wait_until 10 "the one that works to say it, too" grep -q pg_sleep "$work/blocked.log"
kill "$holder"
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND pid <> pg_backend_pid()" >/dev/null
wait "$started"
equal "it goes on as soon as the way is free" "$?" 0
equal "rollback" "$(code migrate rollback 2024_11_01_001)" 0
start_bg holder psql -XqAt -c "BEGIN; SELECT 1 FROM orders LIMIT 1; SELECT pg_sleep(30)"
equal "give up" "$(code migrate start --give-up 2 "$cases/2024_11_01_001_add_execution_venue.sql")" 17
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND pid <> pg_backend_pid()" >/dev/null

# ---- a role that may not read the books ----

sql -c "CREATE ROLE stranger LOGIN"
equal "a role without a right on the books" "$(code env PGUSER=stranger "$banyan" migrate status)" 12
matches "… is told which GRANT" "$(cat "$work/err")" "GRANT USAGE, CREATE ON SCHEMA banyan TO stranger"

# ---- two migrations and one foreign key ----

sql -c "CREATE TABLE boxes (id int PRIMARY KEY); CREATE TABLE things (id int PRIMARY KEY, box int CONSTRAINT in_box REFERENCES boxes)"
echo 'ALTER TABLE boxes ALTER COLUMN id TYPE bigint;' >"$work/2025_01_key.sql"
echo 'ALTER TABLE things ALTER COLUMN box TYPE bigint;' >"$work/2025_02_reference.sql"
equal "the type of a key" "$(code migrate start "$work/2025_01_key.sql")" 0
equal "the type of what refers to it, meanwhile" "$(code migrate start "$work/2025_02_reference.sql")" 6
matches "… says what both would make anew" "$(cat "$work/err")" "foreign key in_box of things: migration 2025_01 is not finished"
equal "the key is completed" "$(code migrate complete 2025_01)" 0
equal "… and rolled back" "$(code migrate rollback 2025_01)" 0
equal "then the other" "$(code migrate start "$work/2025_02_reference.sql")" 0
equal "… goes through" "$(code migrate complete 2025_02)" 0

# ---- rehearsal ----

new_database rehearsed || exit 1
cat >"$work/old.sql" <<'SQL'
SELECT id, price FROM orders WHERE execution_time > '2024-01-02' ORDER BY id LIMIT 10;
INSERT INTO orders (account_id, symbol, order_type, price, quantity, execution_time) VALUES (1, 'A', 'LIMIT', 1.25, 2, now());
UPDATE orders SET execution_time = now() WHERE id = 7;
SQL
cat >"$work/new.sql" <<'SQL'
SELECT id, price FROM orders WHERE execution_timestamp > '2024-01-02' ORDER BY id LIMIT 10;
INSERT INTO orders (account_id, symbol, order_type, price, quantity, execution_timestamp) VALUES (1, 'A', 'LIMIT', 1.25, 2, now());
SQL
rename=$cases/2024_11_01_002_rename_execution_time.sql
equal "rehearse" "$(code migrate rehearse "$rename" --rows 500 --old "$work/old.sql" --new "$work/new.sql" --json)" 0
equal "… copied some rows" "$(jq -r '.rows' "$work/out")" 1000
equal "… and went back" "$(jq -r '.rolled_back, .differs' "$work/out" | paste -sd' ')" "true "
equal "… by way of ready, where both work" "$(jq -r '[.code[] | select(.at == "reopened") | .failed] | length, any' "$work/out" | paste -sd' ')" "5 false"
equal "… old code works until complete" "$(jq -r '[.code[] | select(.code == "old" and .at != "completed") | .failed] | any' "$work/out")" false
equal "… and fails behind it" "$(jq -r '[.code[] | select(.code == "old" and .at == "completed") | .failed] | all' "$work/out")" true
equal "… new code works from ready on" "$(jq -r '[.code[] | select(.code == "new" and (.at == "ready" or .at == "completed")) | .failed] | any' "$work/out")" false
check "… locks were measured" jq -e '[.steps[].locks[] | select(.relation == "orders" and .lock == "ACCESS EXCLUSIVE")] | length > 0' "$work/out"
equal "rehearse, for people" "$(code migrate rehearse "$rename" --rows 500 --old "$work/old.sql" --new "$work/new.sql")" 0
matches "… says that it went back" "$(cat "$work/out")" "every value is as it was before"
echo 'SELECT none FROM orders;' >>"$work/new.sql"
equal "new code that fails" "$(code migrate rehearse "$rename" --rows 500 --new "$work/new.sql")" 27
matches "… is named" "$(cat "$work/out")" 'new code, line 3, ready \(it must not\): .*none'
equal "no throwaway database is left" "$(sql -c "SELECT count(*) FROM pg_database WHERE datname LIKE 'banyan%'")" 0
equal "the real one has no books" "$(sql -c "SELECT to_regclass('banyan.schema_migrations') IS NULL")" t
pg_dump -Fc --no-owner -f "$work/dump" && pg_dump --no-owner -f "$work/dump.sql" && chmod 644 "$work/dump" "$work/dump.sql"
for dump in dump dump.sql; do
    as=()
    [ "$(id -u)" != 0 ] || as=(setpriv "--reuid=postgres" "--regid=$(id -g postgres)" --clear-groups --)
    equal "rehearse on a cluster made of $dump" "$(code env -u PGHOST -u PGPORT ${as[@]+"${as[@]}"} "$banyan" migrate rehearse "$rename" --dump "$work/$dump" --old "$work/old.sql" --json)" 0
    equal "… to the end" "$(jq -r '.failed, .rolled_back' "$work/out" | paste -sd' ')" "false true"
done
plan_done
