# SPDX-License-Identifier: Apache-2.0
# What the flow tests of the commerce domain share.  Sourced after lib.sh and history.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables of lib.sh and history.sh

shop=$build/examples/legacy-shop
data=${BANYAN_DATA:-$root/../shared/data}

# views_of VIEW...   the lines of a configuration
views_of() { local view; for view in "$@"; do echo "  - projection: $view"; done; }
# shop_config FOLDER DOMAIN DATABASE VIEW...
shop_config() {
    local folder=$1 domain=$2 database=$3
    shift 3
    mkdir -p "$folder"
    write_config "$folder/banyan.yaml" "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$database"
    sed -i "s/^domain: .*/domain: $domain/; s/^  slot: .*/  slot: $database/; s/^  publication: .*/  publication: $database/
        /^  - projection: /d" "$folder/banyan.yaml"
    views_of "$@" >>"$folder/banyan.yaml"
}
# engine_has_all   are there projections with several tables and keys of their own?
engine_has_all() { "$banyan" projection --help >/dev/null 2>&1; }
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
