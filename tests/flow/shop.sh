# SPDX-License-Identifier: Apache-2.0
# What the flow tests of the commerce domain share.  Sourced after lib.sh and history.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of lib.sh and history.sh

shop=$build/examples/legacy-shop
data=${BANYAN_DATA:-$root/../shared/data}

# shop_config FOLDER DOMAIN DATABASE [VIEW...]   a configuration with these lines as its views, or with all read models
shop_config() {
    local folder=$1 domain=$2 database=$3
    shift 3
    mkdir -p "$folder"
    write_config "$folder/banyan.yaml" "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$database"
    sed -i "s/^domain: .*/domain: $domain/; s/^  slot: .*/  slot: $database/; s/^  publication: .*/  publication: $database/
        /^views:/d; /^  - projection: /d" "$folder/banyan.yaml"
    if [ $# != 0 ]; then printf 'views:\n' && printf '  - %s\n' "$@"; fi >>"$folder/banyan.yaml"
}
# shop_start DATABASE   the shop's program on it; sets $shop_port
shop_start() {
    rm -f "$work/shop.port"
    start_bg shop "$shop/legacy-shop" --conninfo "dbname=$1" --port-file "$work/shop.port"
    wait_until 30 "the shop to listen" test -s "$work/shop.port" || { cat "$work/shop.log"; return 1; }
    shop_port=$(cat "$work/shop.port")
}
# no_differences NAME FOLDER MIRRORS   every mirror equals its table
no_differences() {
    "$banyan" verify --config "$2/banyan.yaml" --json >"$work/verify.json" 2>"$work/verify.err"
    equal "$1: verify exits with 0" "$?$(cat "$work/verify.err")" 0
    equal "$1: mirrors, their differences" "$(jq -s -c '[.[] | (.views? // [.])[] | select(.view)] |
        [length, ([.[] | [.differences, .unsettled]] | unique)]' "$work/verify.json")" "[$3,[[0,0]]]"
}
# answer_as_sql NAME DATABASE URL LEAST   the read models answer what SQL answers
answer_as_sql() {
    local asked different
    PGDATABASE=$2 python3 "$root/tests/flow/shop_queries.py" "$3" >"$work/queries" 2>&1
    equal "$1: the queries can be asked" "$?" 0
    read -r _ asked _ different < <(tail -1 "$work/queries")
    check "$1: at least $4 queries ($(tail -1 "$work/queries"))" test "${asked:-0}" -ge "$4"
    equal "$1: all of them answer what SQL answers" "${different:-none}$(grep -v '^asked' "$work/queries" | head -5)" 0
}
# rebuild_each FOLDER LIMIT   each read model of the serve at $url is rebuilt once while the shop writes
rebuild_each() {
    local view load before after number began config=(--config "$1/banyan.yaml")
    start_bg rebuild-load "$shop/legacy-shop-load" --port "$shop_port" --rate 15 --threads 3 --seed 5
    load=$started
    while read -r view; do
        number=$(curl -s "$url/projections/$view" | jq .generation)
        "$banyan" projection limit "$view" "$2" "${config[@]}" >/dev/null
        before=$(curl -s "$url/status" | jq .log.durable)
        began=${EPOCHREALTIME/./}
        "$banyan" projection rebuild "$view" --wait "${config[@]}" >"$work/rebuild" 2>"$work/rebuild.err"
        equal "$view is rebuilt" "$?$(grep '^banyan:' "$work/rebuild.err")" 0
        after=$(curl -s "$url/status" | jq .log.durable)
        echo "# $view: $(((${EPOCHREALTIME/./} - began) / 1000)) ms, $((after - before)) of $after events came meanwhile"
        check "$view: the shop wrote meanwhile" test "$after" -gt "$before"
        equal "$view: what serves, what is aside" "$(curl -s "$url/projections/$view" | jq -c '[.generation, .aside]')" "[$((number + 1)),0]"
    done < <(curl -s "$url/projections" | jq -r '.projections[].name')
    stop_bg "$load"
    equal "the shop's traffic had no errors meanwhile" "$(jq .errors "$work/rebuild-load.log")" 0
}
# all_drained SECONDS DATABASE URL   waits until every read model has everything that is committed now
all_drained() {
    local lsn
    lsn=$(sql -d "$2" -c "SELECT pg_logical_emit_message(true, 'banyan.fence', 'drained')") || return 1
    wait_until "$1" "the read models to pass $lsn" all_passed "$3" "$lsn"
}
all_passed() {
    local at count=0
    while read -r at; do
        [ "$at" != null ] && [ "$(lsn_number "$at")" -ge "$(lsn_number "$2")" ] || return 1
        count=$((count + 1))
    done < <(curl -s --max-time 10 "$1/status" | jq -r '.views[].source_lsn')
    [ "$count" -gt 0 ]
}
# commerce_history FOLDER FILE   see history; of a log of the commerce events
commerce_history() {
    "$build/tests/dump_log" "$1" commerce >"$2.unsorted" || return 1
    LC_ALL=C sort -t $'\t' -k1,1 -k2,2n "$2.unsorted" >"$2"
    rm -f "$2.unsorted"
}
# anomalies FILE   how many orders have each anomaly, as "kind=n" one a line
anomalies() { awk -F'\t' '$3 == "OrderAnomalyNoted" { print $6 }' "$1" | jq -r .kind | LC_ALL=C sort | uniq -c | awk '{ print $2 "=" $1 }'; }
