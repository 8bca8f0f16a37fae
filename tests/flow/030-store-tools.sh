#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# banyan store create, append, export, import, bench: events go out and come back without loss, with faults told.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

store() { "$banyan" store "$@"; }
# What an event is, without when it was recorded.
plain() { jq -c 'del(.recorded_at)' "$1"; }

equal "create" "$(store create --data "$work/a" --json)" '{"created":true}'
store create --data "$work/a" >/dev/null 2>"$work/err"
equal "a store is not made twice" "$?" 6
matches "and it says so" "$(cat "$work/err")" "there is a store in .* already"

id=0190c9a8-5c1e-7000-8000-000000000001
equal "append" "$(store append --data "$work/a" order-1 OrderNoted '{"price": 1.10}' --id "$id" --expect absent --json)" \
    "{\"position\":1,\"id\":\"$id\",\"repeated\":false}"
equal "the same id again answers the position" \
    "$(store append --data "$work/a" order-1 OrderNoted '{"price": 1.10}' --id "$id" --json)" \
    "{\"position\":1,\"id\":\"$id\",\"repeated\":true}"
store append --data "$work/a" order-1 OrderNoted '{"price": 1.1}' --id "$id" >/dev/null 2>&1
equal "the same id with another content is refused" "$?" 7
store append --data "$work/a" order-1 OrderNoted '{}' --expect 7 >/dev/null 2>"$work/err"
matches "a condition that does not hold names both versions" "$(cat "$work/err")" "order-1 is at version 1, expected 7"
store append --data "$work/a" order-1 OrderNoted '{"a":' >/dev/null 2>"$work/err"
matches "a payload that is no JSON is refused with its place" "$(cat "$work/err")" "line 1, column 6"
printf '\001\002\377' | store append --data "$work/a" blob-1 Bytes --bytes >/dev/null
printf ' {"a":\n [1, 2]} \n' | store append --data "$work/a" order-2 OrderNoted --meta '{"by":"me"}' >/dev/null

# Many events, in atomic batches, one of them large.
{
    for i in $(seq 3000); do
        printf '{"stream":"s-%d","type":"T","id":"0190c9a8-0000-7000-8000-%012d","payload":{"n":%d},"ends_batch":%s}\n' \
            $((i % 50)) "$i" "$i" "$([ $((i % 7)) = 0 ] && echo true || echo false)"
    done
    for i in $(seq 3001 6000); do
        printf '{"stream":"s-%d","type":"T","id":"0190c9a8-0000-7000-8000-%012d","payload":{"n":%d},"ends_batch":%s}\n' \
            $((i % 50)) "$i" "$i" "$([ "$i" = 6000 ] && echo true || echo false)"
    done
} >"$work/in.ndjson"
equal "import" "$(store import --data "$work/a" "$work/in.ndjson" --json 2>/dev/null)" \
    '{"read":6000,"appended":6000,"repeated":0}'
equal "the same import again appends nothing" "$(store import --data "$work/a" - --json <"$work/in.ndjson" 2>/dev/null)" \
    '{"read":6000,"appended":0,"repeated":6000}'
equal "a dry run appends nothing" "$(store import --data "$work/none" --dry-run --json "$work/in.ndjson" 2>/dev/null)$(ls "$work/none" 2>&1 | grep -c 'No such')" \
    '{"read":6000,"appended":0,"repeated":0}1'

for format in ndjson avro; do
    check "export as $format" store export --data "$work/a" --out "$work/out.$format"
    check "import it" store import --data "$work/$format" "$work/out.$format"
    store export --data "$work/$format" 2>/dev/null >"$work/back.ndjson"
    check "it comes back without loss" diff <(plain "$work/out.ndjson") <(plain "$work/back.ndjson")
done
for codec in null deflate; do
    store export --data "$work/a" --out "$work/out.$codec.avro" --codec $codec >/dev/null 2>&1
    store import --data "$work/$codec" "$work/out.$codec.avro" >/dev/null 2>&1
    check "the codec $codec, too" diff <(plain "$work/out.ndjson") <(store export --data "$work/$codec" 2>/dev/null | jq -c 'del(.recorded_at)')
done
equal "the file is private" "$(stat -c %a "$work/out.avro")" 600
store export --data "$work/a" --out "$work/out.avro" >/dev/null 2>&1
check "a file that is there is not overwritten" test $? != 0

head -c 20000 "$work/out.null.avro" >"$work/cut.avro"
store import --data "$work/cut" "$work/cut.avro" >/dev/null 2>"$work/err"
check "a file that was cut is refused" test $? != 0
matches "and named with the byte" "$(cat "$work/err")" "cut.avro: the Avro file is damaged before byte"
printf '{"stream":"a","type":"b","payload":1}\n' | store import --data "$work/a" >/dev/null 2>"$work/err"
matches "a line without an id is refused with its number" "$(cat "$work/err")" "standard input, line 1: id is missing"
printf '{"stream":"a","type":"b","id":"%s","payload":1,"ends_batch":false}\n' "$id" | store import --data "$work/a" >/dev/null 2>"$work/err"
matches "a file that ends inside a batch is refused" "$(cat "$work/err")" "ends inside a batch"

# Reading: in order, filtered, the last ones; numbers as they were written.
equal "read with a filter" "$(store read --data "$work/a" --category order --json | jq -c '[.position, .stream]' | tr -d '\n')" \
    '[1,"order-1"][3,"order-2"]'
equal "a type, a limit and a place" "$(store read --data "$work/a" --type T --from 100 --limit 2 --json | jq .position | tr '\n' ' ')" \
    "100 101 "
matches "people see the fields, numbers as they were written" "$(store read --data "$work/a" --limit 1)" \
    "1  order-1 +1  .*Z  OrderNoted +price=1.10$"
equal "a payload of several lines is one line" "$(store read --data "$work/a" --from 3 --limit 1 --json | wc -l)" 1
equal "tail" "$(store tail --data "$work/a" --limit 2 --json | jq .position | tr '\n' ' ')" "6002 6003 "
matches "nothing since tomorrow" "[$(store read --data "$work/a" --since 2999-01-01T00:00:00Z)]" '^\[\]$'

# A stream that is done with, and old segments.
store mark --data "$work/a" order-1 --from 2026-01-01T00:00:00Z >/dev/null
equal "a mark" "$(store mark --data "$work/a" order-1 --json)" \
    '{"archivable":true,"from":"2026-01-01T00:00:00.000000Z","version":1}'
store mark --data "$work/a" order-1 --clear >/dev/null
equal "taken away" "$(store mark --data "$work/a" order-1 --json | jq .archivable)" false
store mark --data "$work/a" order-77 --from 2026-01-01T00:00:00Z >/dev/null 2>"$work/err"
matches "of a stream that is not there" "$(cat "$work/err")" "there is no stream order-77"
equal "no segment is full yet" "$(store archive --data "$work/a" --json | jq .segments)" 0

# Backup, on top of an older one, and restores.
first=$(store backup --data "$work/a" "$work/backup" --json | jq .position)
store append --data "$work/a" order-3 OrderNoted '{}' >/dev/null
equal "a backup goes on where the older one ended" \
    "$(store backup --data "$work/a" "$work/backup" --json | jq .position)" $((first + 1))
check "a backup is a store, and sound" store verify --data "$work/backup"
equal "restore up to a position" \
    "$(store restore "$work/backup" --data "$work/restored" --position "$first" --json | jq .position)" "$first"
check "it holds what was there then" diff <(store export --data "$work/restored" 2>/dev/null) \
    <(store export --data "$work/a" 2>/dev/null | head -n "$first")
check "and is sound" store verify --data "$work/restored"
when=$(store export --data "$work/a" 2>/dev/null | sed -n "$((first + 1))p" | jq -r .recorded_at)
equal "restore up to a time" \
    "$(store restore "$work/backup" --data "$work/then" --time "$when" --json | jq .position)" "$first"
store restore "$work/backup" --data "$work/a" >/dev/null 2>"$work/err"
check "a restore does not overwrite a store" test $? = 6
store backup --data "$work/none" "$work/b2" >/dev/null 2>"$work/err"
matches "nothing to back up" "$(cat "$work/err")" "there is no store in"

result=$(store bench --data "$work/bench" --writers 4 --batch 10 --seconds 1 --json)
check "bench measures appends" jq -e '.events_per_second > 0 and .p50_us <= .p99_us and .disk_flushes_per_second > 0' <<<"$result"
equal "and leaves nothing behind" "$(ls "$work/bench")" ""
plan_done
