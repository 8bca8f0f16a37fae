#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rollout_kill.py FOLDER BUILD MOVES SEED   see rollout_kill.sh, which makes FOLDER.

A cycle goes forward from the shadow one to three steps and back; most moves meet a fault, which strikes a seeded while after it was asked
for, or after it was seen to be under way.  Behind each move that is chosen for it, and each cycle, the clients rest and all is compared."""
import collections, json, os, random, signal, subprocess, sys, threading, time, urllib.request

from rollout_clients import TRADER, Clients

folder, build, moves_wanted, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rate = float(os.environ.get("RATE", "200"))
config = f"{folder}/banyan.yaml"
chance = random.Random(seed)
STABLE = ("prepared", "shadow", "canary", "ramp", "event-first", "completed")
FAULTS = {"none": 1, "kill": 4, "kill-twice": 1, "freeze": 2, "server": 2, "legacy": 2, "kill-and-server": 1}
counts = collections.Counter()
faults = []


def say(text):
    print(f"# {time.strftime('%H:%M:%S')} {text}", flush=True)


class Process:
    """A program that a supervisor starts again at once, whatever it ended of."""

    def __init__(self, name, command):
        self.name, self.command, self.starts, self.over, self.gave_up = name, command, 0, False, []
        self.lock = threading.Lock()
        self.start()
        threading.Thread(target=self.watch, daemon=True).start()

    def start(self):
        self.starts += 1
        self.log = f"{folder}/{self.name}-{self.starts}.log"
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(self.command, stdout=log, stderr=log)

    def watch(self):
        while not self.over:
            with self.lock:
                if not self.over and self.child.poll() is not None:
                    lines = open(self.log).read().strip().splitlines()
                    self.gave_up.append(f"{self.name} ended with {self.child.returncode}: {lines[-1] if lines else ''}")
                    time.sleep(0.1)
                    self.start()
            time.sleep(0.05)

    def kill(self):
        with self.lock:
            self.child.kill()
            self.child.wait()
            self.start()

    def end(self):
        with self.lock:
            self.over = True
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


def port_of(path):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if os.path.exists(path) and os.path.getsize(path):
            return int(open(path).read())
        time.sleep(0.02)
    raise SystemExit(f"not ok - nothing in {path}")


def fetch(path, timeout=2):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def state_now():
    status = fetch("/rollout")
    return status["state"] if status else None


def banyan(*words, timeout=120):
    return subprocess.run([f"{build}/banyan", *words, "--config", config], capture_output=True, text=True, timeout=timeout)


def server(verb):
    subprocess.run([f"{os.environ['BANYAN_TEST_PG']}/ctl", verb], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sql(text):
    return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", text], capture_output=True, text=True, check=True).stdout


# ---- faults ----


def strike(kind):
    if kind in ("kill", "kill-twice"):
        serve.kill()
    if kind == "kill-twice":
        time.sleep(chance.uniform(0.05, 0.6))
        serve.kill()
    if kind == "freeze":
        child = serve.child
        child.send_signal(signal.SIGSTOP)
        time.sleep(chance.choice([0.3, 1.5, 4.5, 8]))
        child.send_signal(signal.SIGCONT)
    if kind == "kill-and-server":
        serve.kill()
    if kind in ("server", "kill-and-server"):
        server("immediate")
        time.sleep(chance.uniform(0, 1))
        server("start")
    if kind == "legacy":
        oms.kill()


def strike_in(kind, moment):
    """Waits for the moment, strikes, and notes in which state."""
    until = time.monotonic() + 5
    last = None
    while time.monotonic() < until:
        last = state_now() or last
        if not moment["moving"] or (last and last not in STABLE):
            break
        time.sleep(0.003)
    if moment["after"] > 0:
        time.sleep(moment["after"])
        last = state_now() or last
    strike(kind)
    faults.append((kind, last))


# ---- moves ----


def is_back(status, began):
    return status["state"] == "shadow" and began != "shadow"


def move(verb, goal, kind):
    """Asks for it until it is there; False when the guards went back meanwhile."""
    began = state_now()
    instant = goal in ("canary", "ramp")  # is never seen under way
    moment = {"moving": chance.random() < 0.9 and not instant,
              "after": chance.choice([0, chance.expovariate(1 / 0.01), chance.expovariate(1 / 0.1)])}
    striker = None
    asked, until = 0, time.monotonic() + 180
    while True:
        if time.monotonic() > until:
            raise SystemExit(f"not ok - {verb} from {began} to {goal} is not done: {json.dumps(fetch('/rollout'))} {last}")
        status = fetch("/rollout")
        if status is None or status["state"] not in STABLE or (striker and striker.is_alive()):
            time.sleep(0.05)
            continue
        if status["state"] == goal and (striker or kind == "none" or asked > 0 and goal == status["state"]):
            if striker is None and kind != "none":
                strike_in(kind, {"moving": False, "after": 0})
                striker = threading.Thread()
                continue
            return True
        if verb == "next" and asked and is_back(status, began):
            return False
        if status["paused"]:
            banyan("rollout", "resume")
        words = ["rollout", verb, "--reason", f"seed {seed}"]
        if verb == "next" and asked > 3:
            words.append("--force")
        if striker is None and kind != "none" and (verb == "rollback" or dry(verb)):
            striker = threading.Thread(target=strike_in, args=(kind, moment))
            striker.start()
        asked += 1
        last = banyan(*words)
        counts["refused"] += last.returncode == 27
        time.sleep(0.25 if last.returncode else 0.02)


def dry(verb):
    """Would it go?  A fault is for the move, not for the wait before it."""
    return banyan("rollout", verb, "--dry-run").returncode == 0


# ---- checks ----


def log_effects():
    """What each write did by the log: {mark: [(when, by whom), ...]}; keys by price; and what changed behind its end.

    What the application did comes into the log when it is captured, which may be behind what Banyan did later."""
    effects, orders, ended, after = collections.defaultdict(list), collections.defaultdict(list), set(), []
    dump = subprocess.run([f"{build}/tests/dump_log", f"{folder}/data"], capture_output=True, text=True)
    if dump.returncode != 0:
        raise SystemExit(f"not ok - dump_log: {dump.stderr}")
    for line in dump.stdout.splitlines():
        stream, version, kind, at, _, payload, meta, _ = line.split("\t")
        order, payload = int(stream.split("-")[1]), json.loads(payload)
        by = (int(at), "banyan" if "command" in meta else "legacy")
        if order in ended:
            after.append(f"{stream} version {version} {kind} by {by[1]}")
        if kind in ("OrderFilled", "OrderCanceled"):
            ended.add(order)
        if kind == "OrderCreated":
            effects["place", payload["price"]].append(by)
            orders[payload["price"]].append(order)
        elif kind == "OrderModified":
            effects["modify", order, payload["new_value"]].append(by)
        elif kind in ("OrderFilled", "OrderPartiallyFilled"):
            effects["fill", order, payload["price"]].append(by)
        elif kind == "OrderCanceled":
            effects["cancel", order].append(by)
        elif kind == "OrderReconciled":
            after.append(f"{stream} version {version} is reconciled: {payload}")
    return effects, orders, after


def table_effects():
    rows = collections.Counter()
    for line in sql("SELECT 'modify', entity_id, new_value FROM audit_log WHERE field_changed = 'price' UNION ALL "
                    "SELECT 'fill', order_id, price::text FROM trades UNION ALL "
                    "SELECT 'cancel', entity_id, NULL FROM audit_log WHERE field_changed = 'status' AND new_value = 'CANCELED'").splitlines():
        kind, order, price = line.split("|")
        rows[(kind, int(order)) if kind == "cancel" else (kind, int(order), price)] += 1
    return rows


def mark_of(operation):
    if operation.kind == "place":
        return ("place", operation.price)
    return (operation.kind, operation.order.id) if operation.kind == "cancel" else (operation.kind, operation.order.id, operation.price)


def check_ledger(problems):
    effects, orders, after = log_effects()
    rows = table_effects()
    existing = {int(line) for line in sql(f"SELECT order_id FROM orders WHERE trader_id >= {TRADER}").split()}
    problems += [f"after its end: {text}" for text in after]
    doubled = 0
    for operation in clients.ledger:
        mark = mark_of(operation)
        by = [who for _, who in sorted(effects.get(mark, []))]
        what = f"{operation.kind} {mark} answered {operation.tries} {operation.sides} {operation.answer}: in the log by {by}"
        if operation.status < 300 and not by:
            problems.append(f"lost: {what}")
        if operation.status >= 300 and operation.unclear == 0 and by:
            problems.append(f"refused, and yet done: {what}")
        # The application knows no keys: each try of which nobody knows may be one more.  What Banyan did is never done again.
        if len(by) > 1:
            doubled += 1
            if len(by) > 1 + operation.unclear or "banyan" in by[:-1]:
                problems.append(f"doubled: {what}")
        if operation.kind == "place":
            missing = [order for order in orders[operation.price] if order not in existing]
            if missing:
                problems.append(f"no row of orders {missing}: {what}")
            if operation.status < 300 and operation.answer["order_id"] not in orders[operation.price]:
                problems.append(f"another key: {what} {orders[operation.price]}")
        elif rows[mark] != len(by):
            problems.append(f"{rows[mark]} rows: {what}")
    counts["doubled_by_the_application"] = doubled


def settled():
    status = fetch("/rollout")
    if status is None or status["state"] not in STABLE:
        return False
    mirror = status["mirror"]
    behind = mirror["tail"] != mirror["written"] if mirror["running"] else status["wants"]["mirror"]
    return not behind and fetch("/readyz") is not None


def quiet(where):
    """Everybody rests; everything is compared.  Ends the run where something is not right."""
    problems = []
    if not clients.rest():
        problems.append("clients without an answer: " + str([o.tries[-20:] for o in clients.ledger if not o.answer][:5]))
    until = time.monotonic() + 90
    verify = None
    while time.monotonic() < until:
        if settled():
            verify = banyan("verify", "--json")
            if verify.returncode in (0, 8):
                break
        time.sleep(0.1)
    if verify is None or verify.returncode != 0:
        problems.append(f"verify: {verify and (verify.stdout + verify.stderr)} {json.dumps(fetch('/rollout'))}")
    for _ in range(20):  # what capture has read may not be durable for a moment
        rows = subprocess.run([f"{build}/tests/compare_rows", f"{folder}/data", conninfo], capture_output=True, text=True)
        if rows.returncode == 0:
            break
        time.sleep(0.2)
    else:
        problems.append(f"compare_rows: {rows.stdout[-3000:]}{rows.stderr}")
    conflicts = banyan("stream", "read", "$conflict-legacy", "--limit", "20", "--json")
    if '"type"' in conflicts.stdout:
        problems.append(f"conflicts: {conflicts.stdout[:3000]}")
    if not problems:
        check_ledger(problems)
    problems += clients.wrongs + clients.stales
    counts["checks"] += 1
    if problems:
        say(f"wrong {where}; the last faults: {faults[-4:]}")
        for problem in problems[:30]:
            say(problem)
        report()
        raise SystemExit(f"not ok 1 - {where}: {len(problems)} problems")
    clients.go_on()


def report():
    by_kind = collections.Counter(kind for kind, _ in faults)
    by_state = collections.Counter(state for _, state in faults)
    pauses = sorted(pauses_ms)
    say(json.dumps({"cycles": counts["cycles"], "moves": counts["moves"], "back_by_guards": counts["guards"], "checks": counts["checks"],
                    "faults": by_kind, "faults_in_state": by_state, "starts_of_serve": serve.starts,
                    "ended_by_itself": collections.Counter(serve.gave_up + oms.gave_up), **clients.figures(),
                    "doubled_by_the_application": counts["doubled_by_the_application"],
                    "pause_ms_p50_max": [pauses[len(pauses) // 2], pauses[-1]] if pauses else [], "steps_refused": counts["refused"]}))


def note_pause():
    status = fetch("/rollout")
    cutover = status and status["cutover"]
    if cutover and cutover["done"]:
        pauses_ms.append(round(cutover["pause_ms"], 1))


def cycle(number):
    steps = chance.choices([1, 2, 3], [1, 2, 6])[0]
    path = [("next", goal) for goal in ("canary", "ramp", "event-first")[:steps]] + [("rollback", "shadow")]
    for verb, goal in path:
        kind = chance.choices(list(FAULTS), FAULTS.values())[0]
        began = state_now()
        if verb == "rollback" and began == "shadow":
            break
        there = move(verb, goal, kind)
        counts["moves"] += 1
        note_pause()
        say(f"cycle {number}: {began} -> {goal} with {kind}: {'done' if there else 'back by the guards'}; "
            f"struck in {faults[-1][1] if kind != 'none' and faults else '-'}")
        if not there:
            counts["guards"] += 1
            break
        if goal != "shadow" and chance.random() < 0.3:
            quiet(f"in {goal}, cycle {number}")
    quiet(f"behind cycle {number}")
    counts["cycles"] += 1


def to_the_end():
    """The last cutover stays: what the tables are left with is what the log says, also behind a kill."""
    for goal in ("canary", "ramp", "event-first"):
        if not move("next", goal, "none"):
            raise SystemExit(f"not ok 1 - it went back on the way to {goal}: {json.dumps(fetch('/rollout'))}")
    if not clients.rest():
        raise SystemExit("not ok 1 - clients without an answer before the end")
    until = time.monotonic() + 60
    while (ended := banyan("rollout", "complete", "--force")).returncode != 0 and time.monotonic() < until:
        time.sleep(0.2)
    serve.kill()
    until_ready()
    if state_now() != "completed":
        raise SystemExit(f"not ok 1 - it is not completed: {ended.stdout}{ended.stderr}")
    quiet("when it is completed")


def until_ready():
    until = time.monotonic() + 60
    while fetch("/readyz") is None and time.monotonic() < until:
        time.sleep(0.1)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
conninfo = f"host={os.environ['PGHOST']} port={os.environ['PGPORT']} user={os.environ['PGUSER']} dbname={os.environ['PGDATABASE']}"
pauses_ms = []
oms = serve = clients = None
try:
    oms = Process("oms", [f"{build}/examples/legacy-oms/legacy-oms", "--faults", "none", "--port", os.environ["OMS_PORT"]])
    serve = Process("serve", [f"{build}/banyan", "serve", "--config", config])
    port, gateway = int(os.environ["BANYAN_PORT"]), int(os.environ["GATEWAY_PORT"])
    until_ready()
    clients = Clients(gateway, seed, 12, rate)
    started = banyan("rollout", "start", "--wait")
    if state_now() != "shadow":
        raise SystemExit(f"not ok 1 - it does not start: {started.stdout}{started.stderr}")
    while counts["moves"] < moves_wanted:
        cycle(counts["cycles"] + 1)
    to_the_end()
    clients.over = True
    report()
    print("ok 1 - every write that was acknowledged is in log and tables, once\n1..1", flush=True)
finally:
    for process in (serve, oms):
        if process is not None:
            process.end()
