#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Legacy transactions of a million rows: captured as one atomic batch each, by a serve that stays small.
#
# ROWS (1000000) is their size, MEMORY_MB (200) the limit of the process in resident memory, everything included.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/../flow/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/../flow/history.sh"

rows=${ROWS:-1000000}
limit=$((${MEMORY_MB:-200} * 1000000 / 1048576)) # MiB
folder=$work/serve

mib() { awk -v name="$1:" '$1 == name { printf "%d", $2 / 1024 }' "/proc/$serve_pid/status"; }
status() { curl -s --max-time 30 "$url/status" | jq -r "$1"; }
captured() { [ "$(lsn_number "$(status .legacy.capture.confirmed_lsn)")" -ge "$(lsn_number "$1")" ]; }
# large NAME SQL   one transaction, and what it takes until the read model has it
large() {
    local begun=$SECONDS committed captured peak index
    echo 5 >"/proc/$serve_pid/clear_refs" # the peak begins anew
    sql -d oms -c "$2" || exit 1
    committed=$SECONDS
    wait_until 1800 "capture" captured "$(sql -d oms -c "SELECT pg_logical_emit_message(true, 'banyan.fence', 'large')")" ||
        exit 1
    captured=$SECONDS
    drained 1800 oms "$url" || { cat "$work/serve.log"; exit 1; }
    peak=$(mib VmHWM)
    index=$(status '.log.index_bytes / 1048576 | floor')
    echo "# $1: peak $peak MiB; afterwards $(mib VmRSS) MiB, of which $(mib RssAnon) anonymous, the index $index;" \
        "the application took $((committed - begun)) s, capture $((captured - committed)) s more, the view" \
        "$((SECONDS - captured)) s more"
    check "$1: peak memory, $peak MiB, is below $limit MiB" test "$peak" -lt "$limit"
}
change="UPDATE orders SET price = price + 1, updated_at = now()"

sql -c "CREATE DATABASE oms" && sql -d oms -f "$root/examples/legacy-oms/schema.sql" || exit 1
source_config "$folder" oms large
serve "$folder" serve || exit 1
wait_until 60 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
echo "# before: $(mib VmRSS) MiB, of which $(mib RssAnon) anonymous"
large "INSERT" "INSERT INTO orders (trader_id, symbol, side, quantity, price, status, created_at, updated_at)
    SELECT 1 + n % 2000, 'SYM' || n % 40, CASE n % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END, 1 + n % 1000, 100 + n % 97, 'NEW',
        now(), now() FROM generate_series(1, $rows) AS n"
large "UPDATE" "$change"
large "UPDATE with a rolled-back savepoint" "BEGIN; $change; SAVEPOINT a; $change WHERE order_id % 10 < 3; ROLLBACK TO a; COMMIT"
"$banyan" verify --config "$folder/banyan.yaml" --json >"$work/verify.json" 2>"$work/verify.err"
equal "verify" "$? $(jq -c '[.rows,.differences]' "$work/verify.json")$(cat "$work/verify.err")" "0 [$rows,0]"
kill -TERM "$serve_pid"
wait "$serve_pid"
equal "serve ends well" $? 0
equal "each transaction is an event a row, in one atomic batch" "$("$build/tests/dump_log" "$folder/data" |
    awk -F'\t' '{ n[$2 " " $3]++; if (!(($2, $8) in seen)) batches[$2 " " $3]++; seen[$2, $8] = 1 }
        END { for (what in n) print what, n[what], batches[what] }' | LC_ALL=C sort)" \
    "1 OrderCreated $rows 1
2 OrderModified $rows 1
3 OrderModified $rows 1"
plan_done
