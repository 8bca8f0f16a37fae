# SPDX-License-Identifier: Apache-2.0
# Histories: what a log holds, beside what should be in it.  Sourced after lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of lib.sh

example=$build/examples/legacy-oms
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# oms_start DATABASE FAULTS   a fresh database with the application on it; sets $oms_pid and $oms_url
oms_start() {
    sql -c "CREATE DATABASE $1" && sql -d "$1" -f "$root/examples/legacy-oms/schema.sql" || return 1
    rm -f "$work/$1.port"
    start_bg "oms-$1" "$example/legacy-oms" --conninfo "dbname=$1" --faults "$2" --port-file "$work/$1.port"
    oms_pid=$started
    wait_until 30 "legacy-oms to listen" test -s "$work/$1.port" || { cat "$work/oms-$1.log"; return 1; }
    oms_url=http://127.0.0.1:$(cat "$work/$1.port")
}

# source_config FOLDER DATABASE SLOT   a configuration on DATABASE with a slot and a publication of its own
source_config() {
    mkdir -p "$1"
    write_config "$1/banyan.yaml" "host=$PGHOST port=$PGPORT user=$PGUSER dbname=$2"
    sed -i "s/^  slot: .*/  slot: $3/; s/^  publication: .*/  publication: $3/" "$1/banyan.yaml"
}

# drained SECONDS DATABASE URL   waits until the read model of the serve at URL has everything that is committed now
drained() {
    local lsn
    lsn=$(sql -d "$2" -c "SELECT pg_logical_emit_message(true, 'banyan.fence', 'drained')") || return 1
    wait_until "$1" "the read model to pass $lsn" has_passed "$3" "$lsn"
}
lsn_number() { local high=${1%/*} low=${1#*/}; echo $((16#$high << 32 | 16#$low)); }
has_passed() {
    local at
    at=$(curl -s --max-time 10 "$1/status" | jq -r '.views[0].source_lsn') && [ -n "$at" ] &&
        [ "$(lsn_number "$at")" -ge "$(lsn_number "$2")" ]
}

# history FOLDER FILE   the events of a log as stream, version, type, at, provenance, payload, meta; by stream and version
history() {
    "$build/tests/dump_log" "$1" >"$2.unsorted" || return 1
    LC_ALL=C sort -t $'\t' -k1,1 -k2,2n "$2.unsorted" >"$2"
    rm -f "$2.unsorted"
}
# versions_dense FILE   counts the events whose version is not the next one of their stream
versions_dense() { awk -F'\t' '$1 != stream { stream = $1; next_one = 1 } $2 != next_one++ { n++ } END { print n + 0 }' "$1"; }
# business FILE   the history in the words of legacy-load --expected
business() { python3 "$root/tests/flow/business.py" "$1"; }
# facts FILE   the part of a history that does not depend on when and how it was learned
facts() { cut -f 1-4,6 "$1"; }
