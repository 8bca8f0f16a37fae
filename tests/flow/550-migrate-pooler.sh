#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `banyan migrate` beside an application whose sessions are PgBouncer's (pool_mode transaction): old and new code share
# them, statement by statement, and neither loses a value.  Banyan itself needs a session of its own: given the pooler by
# mistake it says so and makes nothing.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

cases=$(cd "$(dirname "$0")" && pwd)/migrate
rename=$cases/2024_11_01_002_rename_execution_time.sql
widen=$cases/2024_11_01_003_widen_price.sql
migrate() { local verb=$1; shift; timeout 240 "$banyan" migrate "$verb" "$@"; }
code() { "$@" >"$work/out" 2>"$work/err"; echo $?; }
port=$((33000 + RANDOM % 20000))
through=("host=$work" "port=$port" user=postgres dbname=postgres)

# bouncer MODE IGNORED   a new one; sessions that are left have a form of old or new code
bouncer() {
    [ -z "${pooler:-}" ] || stop_bg "$pooler"
    cat >"$work/bouncer.ini" <<INI
[databases]
* = host=$PGHOST port=$PGPORT user=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $work
auth_type = any
pool_mode = $1
default_pool_size = 3
ignore_startup_parameters = $2
INI
    chmod 644 "$work/bouncer.ini"
    local as=()
    [ "$(id -u)" != 0 ] || as=(setpriv "--reuid=postgres" "--regid=$(id -g postgres)" --clear-groups --)
    start_bg bouncer ${as[@]+"${as[@]}"} pgbouncer -q "$work/bouncer.ini"
    pooler=$started
    wait_until 20 "PgBouncer" psql -XqAtc "SELECT 1" "${through[*]}"
}
[ "$(id -u)" != 0 ] || chown postgres "$work"
sql -f "$cases/schema.sql"
sql -c "CREATE TABLE wrote (id int PRIMARY KEY, seconds int, cents int); INSERT INTO wrote SELECT i FROM generate_series(1, 200) i"

# ---- by mistake ----

bouncer transaction ""
equal "a pooler that lets no settings through" "$(code migrate start --conninfo "${through[*]}" "$rename")" 10
matches "… is named" "$(cat "$work/err")" "pooler may be in between: connect to the server itself"
for mode in transaction session; do
    bouncer "$mode" options,extra_float_digits
    equal "start through a pooler, pool_mode $mode" "$(code migrate start --conninfo "${through[*]}" "$rename")" 13
    matches "… is refused, with a way out" "$(tr '\n' ' ' <"$work/err")" "goes through a pooler.*connect to the server itself"
done
equal "nothing was made" "$(sql -c "SELECT to_regnamespace('banyan') IS NULL")" t

# ---- the application behind it ----

# script FILE TIME PRICE   both columns of a row, by the names of old or new code; what was written stands in wrote
script() {
    cat >"$work/$1" <<SQL
\\set id random(1, 200)
\\set seconds random(1, 1000000)
\\set cents random(1, 10000000)
BEGIN;
UPDATE orders SET $2 = timestamp '2024-01-01' + :seconds * interval '1 second', $3 = :cents / 100.0 WHERE id = :id;
UPDATE wrote SET seconds = :seconds, cents = :cents WHERE id = :id;
COMMIT;
SQL
}
script old.sql execution_time price
script new.sql execution_timestamp price
load() { start_bg "$1" pgbench -n -M extended -c 8 -T 600 -f "$work/$1.sql" "${through[*]}"; }
# unharmed NAME PID   it still runs: pgbench gives up a client whose statement failed
unharmed() {
    equal "$1: no statement failed" "$(grep -c 'aborted\|ERROR' "$work/$1.log")" 0
    check "$1: it still runs" kill -0 "$2"
    stop_bg "$2"
}
# wrong TIME   rows that are not as they were written last
wrong() {
    sql -c "SELECT count(*) FROM orders JOIN wrote USING (id) WHERE seconds IS NOT NULL AND
        ($1 IS DISTINCT FROM timestamp '2024-01-01' + seconds * interval '1 second' OR price <> cents / 100.0)"
}
written() { sql -c "SELECT count(*) FROM wrote WHERE seconds IS NOT NULL"; }
all_written() { [ "$(written)" = 200 ]; }

bouncer transaction extra_float_digits
load old
old=$started
equal "rename: start" "$(code migrate start "$rename")" 0
load new
new=$started
sql -c "UPDATE wrote SET seconds = NULL"
wait_until 60 "writes of both" all_written
sleep 2
unharmed old "$old"
equal "values, by the new name" "$(wrong execution_timestamp)" 0
equal "rename: complete" "$(code migrate complete)" 0
sleep 1
unharmed new "$new"
equal "values, completed" "$(wrong execution_timestamp)" 0
equal "rename: rollback" "$(code migrate rollback 2024_11_01_002)" 0
equal "values, rolled back" "$(wrong execution_time)" 0

load old
old=$started
equal "type: start" "$(code migrate start "$widen")" 0
equal "type: complete" "$(code migrate complete)" 0
equal "type: rollback" "$(code migrate rollback 2024_11_01_003)" 0
unharmed old "$old"
equal "values of a type that changed there and back" "$(wrong execution_time)" 0
plan_done
