#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The gateway in front of the real application: nothing fails, answers are the same; shadows, a real HAProxy, restarts.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"

# gateway_config FOLDER DATABASE SLOT   source_config with a gateway in front of $oms_url
gateway_config() {
    source_config "$1" "$2" "$3"
    cat >>"$1/banyan.yaml" <<YAML
gateway:
  listen: 127.0.0.1:0
  upstream: $oms_url
  tell_side: true
  drain_seconds: 5
rollout:
  steps_percent: [5, 50, 100]
  samples_min: 10
  window_seconds: 5
  step_seconds_min: 0
  latency_floor_ms: 2000
YAML
}
# serve_gateway FOLDER NAME   as serve; sets $gateway_url
serve_gateway() {
    rm -f "$1/port" "$1/gateway_port"
    start_bg "$2" "$banyan" serve --config "$1/banyan.yaml" --port-file "$1/port" --gateway-port-file "$1/gateway_port"
    serve_pid=$started
    wait_until 30 "serve to listen" test -s "$1/port" -a -s "$1/gateway_port" || { cat "$work/$2.log"; return 1; }
    url=http://127.0.0.1:$(cat "$1/port")
    gateway_url=http://127.0.0.1:$(cat "$1/gateway_port")
    sed -i "0,/^listen: .*/s||listen: 127.0.0.1:$(cat "$1/port")|
        s|^  listen: .*|  listen: 127.0.0.1:$(cat "$1/gateway_port")|" "$1/banyan.yaml"
}
health() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$1/.well-known/banyan-gateway")" = 200 ]; }
figure() { curl -s --max-time 10 "$url/metrics" | awk -v name="banyan_gateway_$1" '$1 == name { print $2 }'; }
tell() { curl -s --max-time 20 -D - "$@" | tr -d '\r' | grep -viE '^(banyan-served-by|date|connection|via):'; }

oms_start app none || exit 1
check "seeded" "$example/legacy-seed" --conninfo "dbname=app" --orders 20000 --faults none
gateway_config "$work/one" app one
serve_gateway "$work/one" serve || exit 1
wait_until 60 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
wait_until 10 "the gateway to be healthy" health "$gateway_url"

# --- the same answers
for path in /orders/17 /orders/99999999 '/orders?trader_id=7&limit=5' '/orders?symbol=ALDR&limit=100' /orders/x /health \
    /nothing '/orders?limit=-1'; do
    equal "GET $path: the same answer" "$(tell "$gateway_url$path")" "$(tell "$oms_url$path")"
done
equal "a malformed write: the same answer" "$(tell -d '{"x' "$gateway_url/orders")" "$(tell -d '{"x' "$oms_url/orders")"
equal "a write that is refused: the same answer" "$(tell -d '{"quantity":"1","price":"1"}' "$gateway_url/orders/99999999/fill")" \
    "$(tell -d '{"quantity":"1","price":"1"}' "$oms_url/orders/99999999/fill")"
matches "the side is told" "$(curl -s -i --max-time 20 "$gateway_url/orders/17" | tr -d '\r')" '^Banyan-Served-By: legacy$'

# --- load: nothing fails, and its truth is that of the tables
# load NAME URL RATE SECONDS   runs it; total in $work/NAME.total
load() { "$example/legacy-load" --url "$2" --rate "$3" --seconds "$4" --seed 5 >"$work/$1.total"; }
placed() { sql -d app -c 'SELECT count(*) FROM orders'; }
before=$(placed)
load through "$gateway_url" 300 4
equal "load through the gateway has no errors" "$(jq -c 'select(.type=="total")|[.errors,.truth.unknown,.truth.conflicts]' "$work/through.total")" '[0,0,0]'
equal "what it placed is in the tables" "$(jq -r 'select(.type=="total").truth.placed' "$work/through.total")" $(($(placed) - before))
check "writes were counted" test "$(figure writes_legacy_total)" -gt 500

# --- an application that goes and comes back
kill -TERM "$oms_pid" && wait "$oms_pid" 2>/dev/null
equal "the application is gone: 503" "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 "$gateway_url/orders/17")" 503
sick() { ! health "$gateway_url"; }
wait_until 10 "the gateway to say so" sick
start_bg oms-again "$example/legacy-oms" --conninfo "dbname=app" --faults none --port "${oms_url##*:}"
oms_pid=$started
wait_until 20 "the gateway to see it again" health "$gateway_url"
equal "it is back" "$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 "$gateway_url/orders/17")" 200

# --- shadow: every read is compared, none differs
in_state() { [ "$("$banyan" rollout status --config "$work/one/banyan.yaml" --json 2>/dev/null | jq -r .state)" = "$1" ]; }
check "the rollout starts" "$banyan" rollout start --config "$work/one/banyan.yaml" --reason test
wait_until 120 "the shadow" in_state shadow || "$banyan" rollout status --config "$work/one/banyan.yaml"
"$example/legacy-load" --url "$gateway_url" --rate 200 --seconds 5 --seed 6 --mix place=10,fill=15,modify=15,cancel=5,get=45,list=10 \
    >"$work/shadow.total"
equal "load in the shadow has no errors" "$(jq -c 'select(.type=="total")|[.errors,.truth.unknown]' "$work/shadow.total")" '[0,0]'
check "reads were shadowed" test "$(figure shadows_total)" -gt 200
equal "no shadow differs" "$(figure mismatches_total)" 0

# --- canary: a share of what is new is Banyan's, by the same requests, and nobody can tell
tried() {
    "$banyan" rollout next --config "$work/one/banyan.yaml" --reason test --force >"$work/next.log" 2>&1 || { cat "$work/next.log"; return 1; }
}
wait_until 60 "a step to canary" tried || cat "$work/next.log"
wait_until 30 "canary" in_state canary || "$banyan" rollout status --config "$work/one/banyan.yaml"
"$example/legacy-load" --url "$gateway_url" --rate 200 --seconds 5 --seed 8 --mix place=50,fill=20,modify=10,cancel=5,get=10,list=5 \
    >"$work/canary.total"
equal "load in the canary has no errors" "$(jq -c 'select(.type=="total")|[.errors,.truth.unknown]' "$work/canary.total")" '[0,0]'
check "Banyan got some writes" test "$(figure writes_banyan_total)" -gt 5
equal "still no shadow differs" "$(figure mismatches_total)" 0

# --- a real HAProxy: two gateways in front of one application, each restarted under load
stop_bg "$serve_pid"
gateway_config "$work/a" app slot_a
gateway_config "$work/b" app slot_b
serve_gateway "$work/a" serve-a || exit 1
pid_a=$serve_pid url_a=$gateway_url
serve_gateway "$work/b" serve-b || exit 1
pid_b=$serve_pid url_b=$gateway_url
wait_until 10 "gateway a" health "$url_a"
wait_until 10 "gateway b" health "$url_b"
if command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ]; then
    free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
    front=$(free_port) stats=$(free_port)
    cat >"$work/haproxy.cfg" <<CFG
defaults
    mode http
    timeout connect 200ms
    timeout client 30s
    timeout server 30s
    timeout queue 5s
    timeout check 5s
    retries 3
    option redispatch 1
    option http-keep-alive
listen stats
    bind 127.0.0.1:$stats
    stats enable
    stats uri /stats
frontend front
    bind 127.0.0.1:$front
    default_backend gateways
backend gateways
    option httpchk GET /.well-known/banyan-gateway
    default-server check inter 100ms fall 1 rise 1 observe layer4 on-error mark-down error-limit 1
    server a ${url_a#http://}
    server b ${url_b#http://}
CFG
    start_bg haproxy "$(command -v haproxy || echo /usr/sbin/haproxy)" -db -f "$work/haproxy.cfg"
    through_proxy() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "http://127.0.0.1:$front/orders/17")" = 200 ]; }
    wait_until 20 "haproxy" through_proxy || cat "$work/haproxy.log"
    both_up() {
        [ "$(curl -s --max-time 5 "http://127.0.0.1:$stats/stats;csv" |
            awk -F, '$1 == "gateways" && $2 != "BACKEND" && $18 == "UP"' | wc -l)" = 2 ]
    }
    wait_until 20 "haproxy to see both gateways" both_up
    start_bg blue "$example/legacy-load" --url "http://127.0.0.1:$front" --rate 200 --stop-file "$work/stop" --seed 7
    load_pid=$started
    # The application itself is asked at the same time: what it does not answer is no downtime of the gateways.
    start_bg probe python3 "$(dirname "$0")/probe.py" "$work/stop" "gateways=http://127.0.0.1:$front/orders/17" \
        "application=$oms_url/orders/17"
    probe_pid=$started
    listed() { [ "$(sql -d app -c 'SELECT count(*) FROM orders')" -gt "$1" ]; }
    for round in 1 2; do
        wait_until 20 "some load" listed $(($(placed) + 100))
        stop_bg "$pid_a"
        wait_until 20 "some load on one gateway" listed $(($(placed) + 100))
        serve_gateway "$work/a" "serve-a-$round" || exit 1
        pid_a=$serve_pid
        wait_until 30 "haproxy to see gateway a again" both_up
        wait_until 20 "some load" listed $(($(placed) + 100))
        stop_bg "$pid_b"
        serve_gateway "$work/b" "serve-b-$round" || exit 1
        pid_b=$serve_pid
        wait_until 30 "haproxy to see gateway b again" both_up
    done
    touch "$work/stop"
    wait "$load_pid"
    wait "$probe_pid"
    equal "a client that connects anew saw no failure" "$(jq .gateways.failed "$work/probe.log")" 0
    echo "# seen from outside, four restarts: $(cat "$work/probe.log")"
    grep '"total"' "$work/blue.log" | tail -1 >"$work/blue.total"
    equal "four restarts behind HAProxy: no request failed" "$(jq -c '[.errors,.truth.unknown]' "$work/blue.total")" '[0,0]'
    echo "# while gateways were restarted: $(jq -c '{writes, reads}' "$work/blue.total")"
else
    skip "a real HAProxy" "haproxy is not installed"
fi
plan_done
