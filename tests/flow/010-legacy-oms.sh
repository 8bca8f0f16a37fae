#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The example application: its writes, its faults, its seeder and its load driver do what its README says.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

example=$build/examples/legacy-oms
root=$(cd "$(dirname "$0")/../.." && pwd)
data=${BANYAN_DATA:-$root/../shared/data}

# oms DATABASE FAULTS   starts the server on a fresh database, or on the one that is there; sets $url and $oms_pid
oms() {
    if [ -z "$(sql -c "SELECT 1 FROM pg_database WHERE datname = '$1'")" ]; then
        sql -c "CREATE DATABASE $1" && sql -d "$1" -f "$root/examples/legacy-oms/schema.sql"
    fi
    rm -f "$work/$1.port"
    start_bg "$1" "$example/legacy-oms" --conninfo "dbname=$1" --faults "$2" --port-file "$work/$1.port"
    oms_pid=$started
    wait_until 20 "legacy-oms to listen" test -s "$work/$1.port" || { cat "$work/$1.log"; exit 1; }
    url=http://127.0.0.1:$(cat "$work/$1.port")
}
get() { curl -s --max-time 20 "$url$1"; }
post() { curl -s --max-time 20 -d "$2" "$url$1"; }
code() { curl -s --max-time 20 -o /dev/null -w '%{http_code}' "${@:2}" "$url$1"; }
refused() { equal "$1: $2" "$(code "$3" -d "$4")" "$2"; }
order='{"trader_id":7,"symbol":"ALDR","side":"BUY","quantity":"10","price":"100.25"}'

# --- writes, without faults
oms plain none
id=$(post /orders "$order" | jq .order_id)
equal "place answers the id" "$id" 1
equal "place writes one row" "$(sql -d plain -c 'SELECT order_id, trader_id, symbol, side, quantity, price, status,
    filled_quantity, avg_fill_price IS NULL, created_at = updated_at FROM orders')" \
    '1|7|ALDR|BUY|10.00000000|100.25000000|NEW|0.00000000|t|t'
equal "modify is audited" "$(post /orders/1/modify '{"price":"101.5","quantity":"12"}' | jq -c '[.audited,.changed]')" \
    '[true,2]'
equal "modify writes an audit row a field" "$(sql -d plain -c 'SELECT entity_id, field_changed, old_value, new_value,
    "timestamp" = updated_at FROM audit_log JOIN orders ON order_id = entity_id ORDER BY id')" \
    $'1|price|100.25000000|101.50000000|t\n1|quantity|10.00000000|12.00000000|t'
equal "modify to the same writes nothing" "$(post /orders/1/modify '{"price":"101.50"}' | jq .changed)" 0
equal "fill" "$(post /orders/1/fill '{"quantity":"3.33333333","price":"101.4"}' | jq -r '[.status,.remaining]|@tsv')" \
    $'PARTIALLY_FILLED\t8.66666667'
post /orders '{"order_id":500,"trader_id":8,"symbol":"ALDR","side":"SELL","quantity":"2","price":"101"}' >"$work/place"
equal "place takes a given id" "$(jq .order_id "$work/place")" 500
equal "match" "$(post /fills '{"fills":[{"order_id":500,"quantity":"2","price":"101"},
    {"order_id":1,"quantity":"2","price":"101"}]}' | jq -rc '[.orders[].status]')" '["PARTIALLY_FILLED","FILLED"]'
equal "match is one transaction with one timestamp" "$(sql -d plain -c 'SELECT count(DISTINCT t.xmin::text),
    count(DISTINCT executed_at), bool_and(executed_at = updated_at) FROM trades t JOIN orders USING (order_id)
    WHERE t.id > 1')" '1|1|t'
equal "average price" "$(sql -d plain -c 'SELECT avg_fill_price = round((101.4 * 3.33333333 + 101 * 2.0) / 5.33333333, 8)
    FROM orders WHERE order_id = 1')" t
post /orders/1/cancel '' >/dev/null
equal "cancel writes status, time and audit row" "$(sql -d plain -c 'SELECT status, old_value, new_value,
    "timestamp" = updated_at FROM orders JOIN audit_log ON entity_id = order_id WHERE field_changed = $$status$$')" \
    'CANCELED|PARTIALLY_FILLED|CANCELED|t'
equal "read one" "$(get /orders/500 | jq -c '[.order_id,.status,.filled_quantity]')" '[500,"FILLED","2.00000000"]'
equal "read a trader's" "$(get '/orders?trader_id=7&from=2000-01-01&limit=5' | jq -c '[.orders[].order_id]')" '[1]'
equal "read a symbol's, newest first" "$(get '/orders?symbol=ALDR' | jq -c '[.orders[].order_id]')" '[500,1]'

refused "no JSON" 400 /orders 'x'
refused "an amount that may not be exact" 400 /orders '{"trader_id":7,"symbol":"A","side":"BUY","quantity":1.5,"price":"1"}'
refused "nine decimals" 400 /orders '{"trader_id":7,"symbol":"A","side":"BUY","quantity":"0.000000001","price":"1"}'
refused "an unknown side" 400 /orders '{"trader_id":7,"symbol":"A","side":"HOLD","quantity":"1","price":"1"}'
refused "an id that is taken" 409 /orders '{"order_id":1,"trader_id":7,"symbol":"A","side":"BUY","quantity":"1","price":"1"}'
refused "modify of a canceled order" 409 /orders/1/modify '{"price":"5"}'
refused "cancel of a filled order" 409 /orders/500/cancel ''
refused "fill of an unknown order" 404 /orders/999/fill '{"quantity":"1","price":"1"}'
post /orders "$order" >/dev/null
post /orders/2/fill '{"quantity":"4","price":"100"}' >/dev/null
refused "a fill above what is left" 409 /orders/2/fill '{"quantity":"6.00000001","price":"1"}'
refused "a quantity below what is filled" 409 /orders/2/modify '{"quantity":"4"}'
rows=$(sql -d plain -c 'SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM audit_log), sum(filled_quantity) FROM orders')
refused "a match of which one order is filled" 409 /fills \
    '{"fills":[{"order_id":2,"quantity":"1","price":"1"},{"order_id":500,"quantity":"1","price":"1"}]}'
equal "a refused request changes nothing" "$rows" "$(sql -d plain -c 'SELECT (SELECT count(*) FROM trades),
    (SELECT count(*) FROM audit_log), sum(filled_quantity) FROM orders')"

# --- load: no errors, and its truth is the tables' truth
start_bg load "$example/legacy-load" --url "$url" --rate 300 --seconds 3 --seed 5
load_pid=$started
listed() { sql -d plain -c 'SELECT 1 FROM orders OFFSET 100 LIMIT 1' | grep -q 1; }
wait_until 20 "some load" listed
kill -USR1 "$load_pid"
wait "$load_pid"
equal "load exits with 0" "$?" 0
equal "SIGUSR1 asks for an interval" "$(jq -r .type "$work/load.log" | sort -u | tr '\n' ' ')" 'interval total '
tail -1 "$work/load.log" >"$work/total"
equal "load has no errors" "$(jq -c '[.errors,.truth.unknown,.truth.conflicts]' "$work/total")" '[0,0,0]'
equal "load's truth is that of the tables" "$(jq -r '.truth|[.placed,.fills,.canceled,.modified_audited]|@tsv' "$work/total" |
    tr '\t' '|')" "$(sql -d plain -c 'SELECT (SELECT count(*) - 3 FROM orders), (SELECT count(*) - 4 FROM trades),
    (SELECT count(*) - 1 FROM audit_log WHERE field_changed = $$status$$), (SELECT count(DISTINCT (entity_id, "timestamp")) - 1
    FROM audit_log WHERE field_changed <> $$status$$)')"

# consistent DATABASE   counts the orders whose row does not follow from their trades
consistent() {
    sql -d "$1" -c "WITH RECURSIVE t AS (SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY id) AS n FROM trades),
        folded AS (SELECT order_id, n, quantity AS filled, price AS average FROM t WHERE n = 1
            UNION ALL SELECT order_id, t.n, (filled + quantity)::numeric(18, 8),
                round((average * filled + price * quantity) / (filled + quantity), 8)::numeric(18, 8)
            FROM folded JOIN t USING (order_id) WHERE t.n = folded.n + 1),
        last AS (SELECT DISTINCT ON (order_id) * FROM folded ORDER BY order_id, n DESC)
        SELECT count(*) FROM orders LEFT JOIN last USING (order_id)
        WHERE filled_quantity <> coalesce(filled, 0) OR avg_fill_price IS DISTINCT FROM average
           OR CASE WHEN filled_quantity = quantity THEN status <> 'FILLED'
                   WHEN filled_quantity > 0 THEN status NOT IN ('PARTIALLY_FILLED', 'CANCELED')
                   ELSE status NOT IN ('NEW', 'CANCELED') END"
}
# not_increasing DATABASE   counts timestamps of an order that are not above the one before, in the order of writing
not_increasing() {
    sql -d "$1" -c "SELECT count(*) FROM (SELECT at, lag(at) OVER (PARTITION BY order_id ORDER BY at) AS before FROM (
        SELECT order_id, created_at AS at FROM orders UNION ALL SELECT order_id, executed_at FROM trades
        UNION ALL (SELECT DISTINCT entity_id, \"timestamp\" FROM audit_log)) AS a) AS b WHERE at <= before"
}
equal "each order follows from its trades after load" "$(consistent plain)" 0
equal "timestamps of an order increase without faults" "$(not_increasing plain)" 0
stop_bg "$oms_pid"

# --- faults, one by one
oms audit audit
post /orders "$order" >/dev/null
told=$(for i in $(seq 90); do post /orders/1/modify "{\"price\":\"$i.5\"}"; done | jq -s '[.[]|select(.audited)]|length')
equal "audit: the server tells which modifications it recorded" "$(sql -d audit -c 'SELECT count(*) FROM audit_log')" "$told"
check "audit: about a third is missing ($((90 - told)) of 90)" test "$told" -ge 45 -a "$told" -le 75
equal "audit: the time moves all the same" "$(sql -d audit -c 'SELECT price, updated_at > created_at FROM orders')" '90.50000000|t'
stop_bg "$oms_pid"

oms cancel cancel-time
post /orders "$order" >/dev/null
equal "cancel-time: told" "$(post /orders/1/cancel '' | jq .audited)" false
equal "cancel-time: no audit row and no time" "$(sql -d cancel -c 'SELECT status, updated_at = created_at,
    (SELECT count(*) FROM audit_log) FROM orders')" 'CANCELED|t|0'
stop_bg "$oms_pid"

oms ties ties
"$example/legacy-load" --url "$url" --rate 0 --seconds 1 >"$work/ties.load"
equal "ties: whole milliseconds only" "$(sql -d ties -c "SELECT count(*) FROM (SELECT updated_at AS at FROM orders UNION ALL
    SELECT executed_at FROM trades UNION ALL SELECT \"timestamp\" FROM audit_log) AS a
    WHERE at <> date_trunc('milliseconds', at)")" 0
stop_bg "$oms_pid"

# Its server keeps the times of commits (track_commit_timestamp).
oms late order
"$example/legacy-load" --url "$url" --rate 0 --seconds 1 --mix place=1 >"$work/late.load"
check "order: some rows are committed after rows of a later timestamp" test "$(sql -d late -c 'SELECT count(*) FROM (
    SELECT created_at < lag(created_at) OVER (ORDER BY pg_xact_commit_timestamp(xmin)) AS back FROM orders) AS a
    WHERE back')" -gt 0
stop_bg "$oms_pid"

# --- the seeder
for faults in none all; do
    sql -c "CREATE DATABASE past_$faults"
    sql -d "past_$faults" -f "$root/examples/legacy-oms/schema.sql"
    "$example/legacy-seed" --conninfo "dbname=past_$faults" --orders 5000 --seed 3 --end 1780000000 --faults $faults \
        >"$work/past_$faults"
    equal "seed $faults: the truth is that of the tables" \
        "$(jq -r '[.orders,.fills,.audit_rows,.filled,.canceled]|@tsv' "$work/past_$faults" | tr '\t' '|')" \
        "$(sql -d past_$faults -c "SELECT count(*), (SELECT count(*) FROM trades), (SELECT count(*) FROM audit_log),
        count(*) FILTER (WHERE status = 'FILLED'), count(*) FILTER (WHERE status = 'CANCELED') FROM orders")"
    equal "seed $faults: each order follows from its trades" "$(consistent past_$faults)" 0
done
equal "seed none: timestamps of an order increase" "$(not_increasing past_none)" 0
equal "seed none: all is recorded" "$(jq .audit_completeness_percent "$work/past_none")" 100
check "seed all: about 65 % is recorded ($(jq .audit_completeness_percent "$work/past_all"))" \
    jq -e '.audit_completeness_percent > 63 and .audit_completeness_percent < 67' "$work/past_all"
equal "seed all: cancellations leave no trace of their time" "$(sql -d past_all -c "SELECT count(*) FROM audit_log
    WHERE field_changed = 'status'")" 0
check "seed: tables that hold rows are left alone" sh -c "! '$example/legacy-seed' --conninfo dbname=past_all --orders 5"
equal "seed: indexes and the foreign key are back" "$(sql -d past_all -c "SELECT (SELECT count(*) FROM pg_index
    WHERE indrelid::regclass::text IN ('orders', 'trades', 'audit_log')), (SELECT count(*) FROM pg_constraint WHERE contype = 'f')")" '7|1'
dump() { sql -d "$1" -c 'TABLE orders' -c 'TABLE trades' -c 'TABLE audit_log' | md5sum; }
before=$(dump past_all)
sql -d past_all -c 'TRUNCATE orders, trades, audit_log RESTART IDENTITY'
"$example/legacy-seed" --conninfo dbname=past_all --orders 5000 --seed 3 --end 1780000000 >/dev/null
equal "seed: the same seed gives the same past" "$(dump past_all)" "$before"
oms past_all all
equal "seed: new orders come after the past" "$(post /orders "$order" | jq .order_id)" 5001
equal "seed: the past can be changed" "$("$example/legacy-load" --url "$url" --rate 200 --seconds 2 --mix list=1,modify=1 |
    jq -c '[.errors,.truth.unknown,.truth.adopted > 0,.truth.modified > 0]')" '[0,0,true,true]'
stop_bg "$oms_pid"

# --- the replay of a real recording
recording=$data/bitstamp-l3-2015-05-01.csv.xz
if [ -r "$recording" ]; then
    oms recorded none
    "$example/legacy-load" --url "$url" --replay "$recording" --expected "$work/expected" >"$work/replay" 2>"$work/replay.log"
    equal "replay exits with 0" "$?" 0
    equal "replay: messages" "$(jq -c '[.messages,.messages_created,.messages_changed,.messages_deleted]' "$work/replay")" \
        '[50414,24894,602,24918]'
    equal "replay: orders, imported, late created, duplicate" "$(jq -c '[.created + .imported,.imported,
        .ignored_created_after_end,.ignored_duplicate]' "$work/replay")" '[25076,187,5,1]'
    equal "replay: filled and canceled of those whose placing was recorded" \
        "$(jq -c '[.created_filled,.created_canceled]' "$work/replay")" '[557,24153]'
    equal "replay: the tables hold it" "$(sql -d recorded -c "SELECT count(*), count(*) FILTER (WHERE status = 'FILLED'),
        count(*) FILTER (WHERE status = 'CANCELED'), (SELECT count(*) FROM trades),
        (SELECT count(*) FROM audit_log WHERE field_changed = 'price') FROM orders")" \
        "$(jq -r '[.created + .imported,.filled,.canceled,.filled + .partially_filled,.modified]|@tsv' "$work/replay" | tr '\t' '|')"
    equal "replay: each order follows from its trades" "$(consistent recorded)" 0
    sql -d recorded -c "SELECT order_id || E'\t' || status || E'\t' || price || E'\t' || filled_quantity FROM orders
        ORDER BY order_id" >"$work/have"
    awk -F'\t' -v OFS='\t' 'function value(i) { return substr($i, index($i, "=") + 1) }
        function flush() { if (id != "") print id, status, price, filled }
        $1 != id { flush(); id = $1 }
        $2 == "OrderCreated" { status = "NEW"; price = value(7); filled = "0.00000000" }
        $2 == "OrderModified" && value(3) == "price" { price = value(5) }
        $2 == "OrderPartiallyFilled" { status = "PARTIALLY_FILLED"; filled = value(5) }
        $2 == "OrderFilled" { status = "FILLED"; filled = value(5) }
        $2 == "OrderCanceled" { status = "CANCELED" }
        END { flush() }' "$work/expected" >"$work/wanted"
    check "replay: the expected histories end where the orders are" cmp "$work/have" "$work/wanted"
    stop_bg "$oms_pid"
else
    skip "replay of a real recording" "there is no $recording; BANYAN_DATA names its folder"
fi
plan_done
