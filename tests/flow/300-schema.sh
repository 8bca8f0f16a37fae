#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Schemas: what serve registers, what the command does in the folder and through a running serve, and what is refused.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

cd "$work" || exit 1
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\n' >banyan.yaml
record() { printf '{"type":"record","name":"Noted","fields":[{"name":"id","type":"long"}%s]}' "$1"; }
record '' >v1.avsc
record ',{"name":"text","type":"string","default":""}' >v2.avsc
record ',{"name":"text","type":"string"}' >no_default.avsc
schema() { "$banyan" schema "$@" 2>&1; }
# refused NAME EXIT_CODE REGEX ARGUMENTS...
refused() {
    local name=$1 code=$2 regex=$3 output got
    shift 3
    output=$(schema "$@")
    got=$?
    if [ "$got" = "$code" ]; then matches "$name" "$output" "$regex"; else not_ok "$name" "exit code $got, wanted $code" "$output"; fi
}

refused "no store" 5 'there is no store' list --data nowhere

# round HOW   the same through a serve and in the folder
round() {
    local how=$1 subject="Noted-$1"
    equal "$how: first version" "$(schema register "$subject" v1.avsc)" "$subject version 1"
    equal "$how: the same again" "$(schema register "$subject" v1.avsc --json)" "{\"subject\":\"$subject\",\"version\":1}"
    equal "$how: check" "$(schema check "$subject" - <v2.avsc)" "it would be accepted"
    refused "$how: check refuses" 6 'not BACKWARD compatible: the new schema cannot read version 1: text: the reader.s field has no default' \
        check "$subject" no_default.avsc
    refused "$how: register refuses" 6 'text: the reader.s field has no default' register "$subject" no_default.avsc
    refused "$how: no schema" 4 'fields\[0\].type: type "lon" is not defined' register "$subject" - \
        <<<'{"type":"record","name":"R","fields":[{"name":"a","type":"lon"}]}'
    equal "$how: set a rule" "$(schema compatibility "$subject" full)" FULL
    equal "$how: ask the rule" "$(schema compatibility "$subject" --json)" '{"compatibility":"FULL"}'
    refused "$how: no such rule" 2 'there is no rule "SOME"' compatibility "$subject" SOME
    refused "$how: rule of nothing" 5 'no schema of Nothing is registered' compatibility Nothing FULL
    equal "$how: freeze" "$(schema freeze)" "frozen: nothing can be registered"
    refused "$how: frozen" 6 'the registry is frozen' register "$subject" v2.avsc
    equal "$how: what is there is there" "$(schema register "$subject" v1.avsc)" "$subject version 1"
    equal "$how: thaw" "$(schema thaw --json)" '{"frozen":false}'
    equal "$how: second version" "$(schema register "$subject" v2.avsc)" "$subject version 2"
    equal "$how: show" "$(schema show "$subject")" "$(cat v2.avsc)"
    equal "$how: show the first" "$(schema show "$subject" --version 1)" "$(cat v1.avsc)"
    refused "$how: show none" 5 "has no version 7; the newest is 2" show "$subject" --version 7
}

serve . serve
matches "serve registers the types of its domain" "$(schema list)" '^OrderFilled +1 +BACKWARD '
refused "the folder is held" 16 'is held by process' register Noted v1.avsc --data data
round served
stop_bg "$serve_pid"
matches "after serve: the same" "$(schema list --json)" '"subject":"Noted-served","version":2,"compatibility":"FULL"'
round folder
equal "an exact version" "$(schema register Noted-exact v1.avsc --version 3)" "Noted-exact version 3"
refused "a version never changes" 6 'Noted-exact version 3 is registered with another schema' register Noted-exact v2.avsc --version 3

# Frozen, serve starts: its types are as they were.  One that is another: it says so and does not start.
check "freeze" schema freeze
serve . again
matches "a frozen registry does not keep serve from starting" "$(curl -s -o /dev/null -w '%{http_code}' "$url/livez")" 200
stop_bg "$serve_pid"
mkdir other && cd other || exit 1
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\n' >banyan.yaml
check "an empty store" "$banyan" store create --data data
check "another schema of a type of the domain" schema register OrderFilled ../v1.avsc --data data
output=$(timeout 20 "$banyan" serve --config banyan.yaml 2>&1)
equal "serve does not start" $? 6
matches "and says why" "$output" 'event type OrderFilled of domain trading: OrderFilled version 1 is registered with another schema'
plan_done
