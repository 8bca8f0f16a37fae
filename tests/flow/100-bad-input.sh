#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad input: one clear message that says what to do, a stable exit code, and nothing is lost.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

schema="$(dirname "$0")/../../examples/legacy-oms/schema.sql"
sql -c 'CREATE DATABASE oms' && sql -d oms -f "$schema" >/dev/null
sql -d oms -c "INSERT INTO orders (order_id, trader_id, symbol, side, quantity, price, status, filled_quantity, created_at,
 updated_at) SELECT i, i % 7, 'ABC', 'BUY', 10, 5, 'NEW', 0, now(), now() FROM generate_series(1, 500) i"
tcp="host=127.0.0.1 port=$PGPORT user=postgres password=secret dbname=oms"

# fails NAME EXIT_CODE REGEX COMMAND...   exit code, message on standard error, a hint, no password
fails() {
    local name=$1 code=$2 regex=$3 got output
    shift 3
    output=$(timeout 60 "$@" 2>&1 >/dev/null)
    got=$?
    if [ "$got" != "$code" ]; then not_ok "$name: exit code $code" "got $got" "$output"; return; fi
    if ! grep -qE -- "$regex" <<<"$output"; then not_ok "$name: message" "wanted $regex" "$output"; return; fi
    if ! grep -q 'hint: ' <<<"$output"; then not_ok "$name: a hint" "$output"; return; fi
    if grep -q 'secret' <<<"$output"; then not_ok "$name: no password in the message" "$output"; return; fi
    ok "$name"
}
# fresh NAME CONNINFO   a new folder with a configuration: $folder
fresh() { folder=$work/$1; mkdir "$folder"; write_config "$folder/banyan.yaml" "$2"; }

fresh down "host=127.0.0.1 port=1 user=postgres password=secret dbname=oms"
fails "database down" 10 'refused|cannot' "$banyan" serve --config "$folder/banyan.yaml"
fails "database down, check" 10 'refused|cannot' "$banyan" legacy check --config "$folder/banyan.yaml"

fresh password "host=127.0.0.1 port=$PGPORT user=postgres password=wrong dbname=oms"
fails "wrong password" 11 'password authentication failed' "$banyan" serve --config "$folder/banyan.yaml"

fresh nodb "host=127.0.0.1 port=$PGPORT user=postgres password=secret dbname=nowhere"
fails "no such database" 3 'nowhere' "$banyan" legacy check --config "$folder/banyan.yaml"

sql -c "CREATE ROLE plain LOGIN PASSWORD 'secret'" -c 'GRANT ALL ON DATABASE oms TO plain'
sql -d oms -c 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain'
fresh noright "host=127.0.0.1 port=$PGPORT user=plain password=secret dbname=oms"
fails "no replication right" 12 'REPLICATION|replication' "$banyan" serve --config "$folder/banyan.yaml"
sql -d oms -c 'REVOKE SELECT ON trades FROM plain'
sql -c 'ALTER ROLE plain REPLICATION'
fails "no right to read a table" 12 'trades' "$banyan" serve --config "$folder/banyan.yaml"
sql -d oms -c 'GRANT SELECT ON trades TO plain'
fails "no right to make the publication" 12 'publication banyan is missing' "$banyan" serve --config "$folder/banyan.yaml"

sql -d oms -c "SELECT pg_create_logical_replication_slot('banyan', 'pgoutput')" >/dev/null
fresh taken "$tcp"
fails "slot taken by another" 14 'slot.*banyan|banyan.*slot' "$banyan" serve --config "$folder/banyan.yaml"
sql -d oms -c "SELECT pg_drop_replication_slot('banyan')" >/dev/null

sql -c 'CREATE DATABASE nokey TEMPLATE oms'
sql -d nokey -c 'ALTER TABLE trades DROP CONSTRAINT IF EXISTS trades_order_id_fkey' -c 'ALTER TABLE orders DROP CONSTRAINT orders_pkey'
fresh nokey "${tcp/dbname=oms/dbname=nokey}"
fails "table without key" 15 'orders' "$banyan" serve --config "$folder/banyan.yaml"
equal "table without key: nothing was made at the server" \
    "$(sql -d nokey -c 'SELECT count(*) FROM pg_publication')$(sql -c 'SELECT count(*) FROM pg_replication_slots')" 00
equal "slot taken by another: nothing was made at the server" "$(sql -d oms -c 'SELECT count(*) FROM pg_publication')" 0

sql -c 'CREATE DATABASE nocolumn TEMPLATE oms' && sql -d nocolumn -c 'ALTER TABLE orders DROP COLUMN symbol'
fresh nocolumn "${tcp/dbname=oms/dbname=nocolumn}"
fails "missing column" 15 'symbol' "$banyan" serve --config "$folder/banyan.yaml"
sql -c 'CREATE DATABASE badtype TEMPLATE oms' && sql -d badtype -c 'ALTER TABLE orders ALTER COLUMN price TYPE numeric(30, 12)'
fresh badtype "${tcp/dbname=oms/dbname=badtype}"
fails "column of a type that loses digits" 15 'price' "$banyan" serve --config "$folder/banyan.yaml"
sql -c 'CREATE DATABASE notable TEMPLATE oms' && sql -d notable -c 'DROP TABLE audit_log'
fresh notable "${tcp/dbname=oms/dbname=notable}"
fails "missing table" 15 'audit_log' "$banyan" legacy check --config "$folder/banyan.yaml"

fresh unknown "$tcp"
printf 'colour: red\n' >>"$folder/banyan.yaml"
line=$(wc -l <"$folder/banyan.yaml")
fails "unknown configuration key" 3 "banyan.yaml:$line:[0-9]+: .*colour" "$banyan" serve --config "$folder/banyan.yaml"
fresh badnumber "$tcp"
sed -i 's/heartbeat_seconds: 1/heartbeat_seconds: soon/' "$folder/banyan.yaml"
fails "a word for a number" 3 'banyan.yaml:9:' "$banyan" serve --config "$folder/banyan.yaml"
fails "no configuration" 5 'there is no' "$banyan" serve --config "$work/none.yaml"
fails "unknown domain" 3 'weather' bash -c "sed 's/trading/weather/' '$folder/banyan.yaml' | sed 's/soon/1/' >'$folder/w.yaml'; exec '$banyan' serve --config '$folder/w.yaml'"

output=$("$banyan" serv 2>&1); equal "unknown command: exit code" $? 2
matches "unknown command: hint" "$output" 'hint: '
"$banyan" serve --colour >/dev/null 2>&1; equal "unknown option: exit code" $? 2

# From here on with a store that has something to lose.
fresh good "$tcp"
serve "$folder" good || exit 1
wait_until 60 "ready" ready || { cat "$work/good.log"; exit 1; }
fails "second serve on the same folder" 16 "held by process [0-9]+" "$banyan" serve --config "$folder/banyan.yaml"
check "the first one is not disturbed" ready
events=$(curl -s "$url/status" | jq .log.events)
stop_bg "$serve_pid"

segment=$(ls "$folder"/data/log/*.seg | head -1)
cp "$segment" "$work/segment.copy"
printf '\377\377\377\377' | dd of="$segment" bs=1 seek=20000 conv=notrunc status=none
sum=$(md5sum <"$segment")
fails "corrupt segment" 22 "$(basename "$segment").*(offset|position)" "$banyan" serve --config "$folder/banyan.yaml"
equal "corrupt segment: nothing is changed" "$(md5sum <"$segment")" "$sum"
cp "$work/segment.copy" "$segment"
serve "$folder" again && wait_until 60 "ready again" ready
equal "corrupt segment: repaired from a copy, nothing is lost" "$(curl -s "$url/status" | jq ".log.events >= $events")" true
check "verify agrees" "$banyan" verify --config "$folder/banyan.yaml"
stop_bg "$serve_pid"

sql -d oms -c "SELECT pg_replication_slot_advance('banyan', pg_current_wal_lsn())" >/dev/null
sql -d oms -c "SELECT pg_logical_emit_message(true, 'x', 'y')" -c "UPDATE orders SET price = price + 1 WHERE order_id = 1" >/dev/null
sql -d oms -c "SELECT pg_replication_slot_advance('banyan', pg_current_wal_lsn())" >/dev/null
fails "slot is ahead of us (case 10)" 14 '[0-9A-F]+/[0-9A-F]+.*[0-9A-F]+/[0-9A-F]+' "$banyan" serve --config "$folder/banyan.yaml"
sql -d oms -c "SELECT pg_drop_replication_slot('banyan')" >/dev/null
fails "slot is gone (case 13)" 14 'slot' "$banyan" serve --config "$folder/banyan.yaml"

# A full disk: a small file system of our own, where the kernel lets us have one.
fresh full "$tcp"
cat >"$work/full.sh" <<SH
mount -t tmpfs -o size=3m tmpfs "$folder/data" || exit 77
timeout 60 "$banyan" serve --config "$folder/banyan.yaml"
SH
mkdir -p "$folder/data"
if unshare -m true 2>/dev/null && unshare -m mount -t tmpfs -o size=1m tmpfs "$folder/data" 2>/dev/null; then
    fails "full disk" 20 'full|space' unshare -m bash "$work/full.sh"
elif unshare -rm mount -t tmpfs -o size=1m tmpfs "$folder/data" 2>/dev/null; then
    fails "full disk" 20 'full|space' unshare -rm bash "$work/full.sh"
else
    skip "full disk" "no right to mount a small file system here"
fi
sql -d oms -c "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" >/dev/null

sql -c "ALTER SYSTEM SET wal_level = replica" && "$BANYAN_TEST_PG/ctl" restart
fresh replica "$tcp"
fails "wal_level=replica" 13 'wal_level' "$banyan" serve --config "$folder/banyan.yaml"
plan_done
