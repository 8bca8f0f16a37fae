#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The event store over HTTP as programs of other languages use it: the OpenAPI document is true, the page of curl examples
# runs as it is written, tokens, TLS, restarts.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"

# plain NAME [LINES]   a store without a domain in $work/NAME, served; $url, $serve_pid
plain() {
    mkdir -p "$work/$1"
    printf 'data: data\nlisten: 127.0.0.1:0\n%s\n' "${2:-}" >"$work/$1/banyan.yaml"
    serve "$work/$1" "$1"
}

# ---- the document is true ----
plain store || exit 1
store_url=$url store_pid=$serve_pid
check "a store alone is ready" ready
mkdir "$work/views"
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\nviews:\n  - projection: current_orders\n' >"$work/views/banyan.yaml"
serve "$work/views" views || exit 1
views_url=$url
wait_until 30 "the view to be live" ready
# An event of the domain, sent as JSON and kept under its schema.
json=(-H 'Content-Type: application/json')
matches "the schemas of the domain are registered" "$(curl -s "$views_url/schemas/OrderCreated")" '"subject":"OrderCreated","version":1'
matches "an event is checked against its schema" "$(curl -s "${json[@]}" "$views_url/streams/order-1" -d '{"type":"OrderCreated","payload":{"order_id":1}}')" \
    '"code":"INVALID"'
matches "an event of the domain is appended as JSON" "$(curl -s "${json[@]}" "$views_url/streams/order-1" \
    -d '{"type":"OrderCreated","payload":{"order_id":1,"trader_id":2,"symbol":"BTC","side":"buy","quantity":"1.50000000","price":"100.00000000","updated_at":null}}')" '"version":1'
position=$(curl -s "$views_url/status" | jq .log.durable)
matches "the view shows it, read after the write" "$(curl -s -H "Banyan-Min-Position: $position" -H 'Prefer: wait=10000' "$views_url/views/current_orders/1")" \
    '"symbol":"BTC"'
matches "the stream shows it as JSON" "$(curl -s "$views_url/streams/order-1")" '"quantity":"1.50000000"'
# Commands: decided, durable, answered; a view after the write; a refusal with its code.
place='{"trader_id":2,"symbol":"ETH","side":"BUY","quantity":"1.50000000","price":"10.00000000"}'
position=$(curl -s "${json[@]}" "$views_url/commands/order/50/PlaceOrder" -d "$place" | jq .position)
matches "a command is in the view, read after it" "$(curl -s -H "Banyan-Min-Position: $position" -H 'Prefer: wait=10000' \
    "$views_url/views/current_orders/50")" '"symbol":"ETH"'
matches "and in the state" "$(curl -s "$views_url/aggregates/order/50")" '"key":"50","version":1,"state":\{.*"symbol":"ETH"'
matches "a refusal has a code" "$(curl -s "${json[@]}" "$views_url/commands/order/51/CancelOrder" -d '{}')" '"status":422,"code":"REFUSED".*"refusal":"'
# A database that takes connections and says nothing: the server waits for it and is not ready.
start_bg silence python3 -c 'import socket, sys, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], file=open(sys.argv[1], "w"), flush=True)
time.sleep(600)' "$work/silence.port"
wait_until 10 "the silent database" test -s "$work/silence.port"
mkdir "$work/starting"
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\nhttp:\n  subscribers_max: 1\nsource:\n  conninfo: "host=127.0.0.1 port=%s dbname=none"\nrollout: {}\n' \
    "$(cat "$work/silence.port")" >"$work/starting/banyan.yaml"
serve "$work/starting" starting || exit 1
starting_url=$url
mkdir "$work/tokens"
reader=$("$banyan" token create --file "$work/tokens/banyan.tokens" --role read reader)
writer=$("$banyan" token create --file "$work/tokens/banyan.tokens" --role append writer)
plain tokens 'http: {tokens_file: banyan.tokens}' || exit 1
tokens_url=$url
mkdir "$work/processes"
printf 'domain: commerce\ndata: data\nlisten: 127.0.0.1:0\n' >"$work/processes/banyan.yaml"
serve "$work/processes" processes || exit 1
processes_url=$url
wait_until 30 "its views to be live" ready
python=python3
"$python" -c 'import jsonschema' 2>/dev/null || python=/usr/bin/python3 # Debian's has the package
"$python" "$here/openapi_truth.py" "$store_url" "$views_url" "$starting_url" "$tokens_url,$reader" \
    "$processes_url" >"$work/truth.tap" 2>"$work/truth.err"
truth=$?
grep -E '^(not ok|#)' "$work/truth.tap"
[ $truth = 0 ] || cat "$work/truth.err"
check "the OpenAPI document is valid and true ($(grep -c '^ok' "$work/truth.tap") cases)" [ $truth = 0 ]

# ---- tokens ----
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
event='{"type":"A","payload":{}}'
equal "probes need no token" "$(code "$tokens_url/livez")" 200
equal "nothing else is told without one" "$(code "$tokens_url/status")" 401
equal "an unknown token is refused" "$(code -H 'Authorization: Bearer bny_0123456789' "$tokens_url/status")" 401
equal "read may read" "$(code -H "Authorization: Bearer $reader" "$tokens_url/status")" 200
equal "read may not append" "$(code -H "Authorization: Bearer $reader" "${json[@]}" -d "$event" "$tokens_url/streams/a-1")" 403
equal "append may" "$(code -H "Authorization: Bearer $writer" "${json[@]}" -d "$event" "$tokens_url/streams/a-1")" 201
equal "but not change schemas" "$(code -H "Authorization: Bearer $writer" -X POST "$tokens_url/schemas/freeze")" 403
equal "the file holds no secret" "$(grep -cE "${reader#bny_}|${writer#bny_}" "$work/tokens/banyan.tokens" "$work/tokens.log" | cut -d: -f2 | sort -u)" 0
equal "and nobody else may read it" "$(stat -c %a "$work/tokens/banyan.tokens")" 600
equal "tokens are listed" "$("$banyan" token list --file "$work/tokens/banyan.tokens" | awk '{print $1, $2}' | tr '\n' ' ')" "reader read writer append "
check "a token is revoked" "$banyan" token revoke --file "$work/tokens/banyan.tokens" writer
gone() { [ "$(code -H "Authorization: Bearer $writer" "$tokens_url/status")" = 401 ]; }
wait_until 10 "the server to notice" gone && ok "the server notices"

# ---- exposure and TLS ----
mkdir "$work/open"
printf 'data: data\nlisten: 0.0.0.0:0\n' >"$work/open/banyan.yaml"
"$banyan" serve --config "$work/open/banyan.yaml" >"$work/open.log" 2>&1
equal "without tokens and TLS only loopback is listened on" $? 3
matches "and the way out is named" "$(cat "$work/open.log")" 'http.tokens_file'
mkdir "$work/tls"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem" 2>/dev/null
plain tls 'http: {certificate_file: cert.pem, key_file: key.pem}' || exit 1
tls_url=${url/http:/https:} ca=(--cacert "$work/tls/cert.pem")
equal "TLS with the certificate" "$(code "${ca[@]}" "${json[@]}" -d "$event" "$tls_url/streams/a-1")" 201
equal "TLS 1.1 is refused" "$(code "${ca[@]}" --tls-max 1.1 "$tls_url/livez")" 000
equal "plain HTTP is not answered there" "$(code "$url/livez")" 000
matches "a subscription over TLS" "$(curl -sN --max-time 3 "${ca[@]}" "$tls_url/events/subscribe")" 'caught-up'
old=$(openssl s_client -connect "${tls_url#https://}" </dev/null 2>/dev/null | openssl x509 -noout -serial)
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$work/tls/key.pem" -out "$work/tls/cert.pem" 2>/dev/null
kill -HUP "$serve_pid"
renewed() { [ "$(openssl s_client -connect "${tls_url#https://}" </dev/null 2>/dev/null | openssl x509 -noout -serial)" != "$old" ]; }
wait_until 10 "the new certificate" renewed && ok "SIGHUP takes the new certificate"
stop_bg "$serve_pid"

# ---- the page of examples ----
plain curl || exit 1
check "docs/CURL.md runs as it is written" python3 "$here/curl_page.py" "$here/../../docs/CURL.md" "$url" "$work" "$views_url"

# ---- kill -9 while somebody appends and somebody listens: nothing acknowledged is lost, nothing comes twice ----
plain kill || exit 1
python3 "$here/http_kill.py" "$url" "$work/kill.state" 0 >"$work/writer.log" 2>&1 &
client=$!
started_pids+=("$client")
for round in 1 2 3; do
    seen() { [ "$(wc -l <"$work/kill.state" 2>/dev/null || echo 0)" -gt $((round * 100)) ]; }
    wait_until 60 "appends of round $round" seen
    kill -KILL "$serve_pid"
    wait "$serve_pid" 2>/dev/null
    serve "$work/kill" "kill$round"
done
last() { [ "$(wc -l <"$work/kill.state")" -gt 450 ]; }
wait_until 60 "appends after the kills" last
touch "$work/kill.state.stop"
wait "$client"
equal "every acknowledged event was heard once, in order, over kill -9" $? 0
cat "$work/writer.log"
plan_done
