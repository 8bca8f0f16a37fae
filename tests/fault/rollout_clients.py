# SPDX-License-Identifier: Apache-2.0
"""Clients of an order system as real ones should be, and the ledger of what they were told.

A client places, modifies, fills and cancels orders of its own over a connection that it keeps.  Without an answer, or with one of 5xx, it
sends the same request with the same Idempotency-Key until it is told something else.  Each write has a price that no other has, or cancels
an order, so what it did is found in log and tables again.

A try is *unclear* when it may have been done although its answer says nothing: the connection broke, 500, 502, 504.  503 says that nothing
was written."""
import http.client, json, random, threading, time

TRADER = 900000  # and above: orders of these clients
IMPATIENT = 0.06  # share of requests whose sender goes away before the answer
UNCLEAR = (500, 502, 504)


class Operation:
    def __init__(self, kind, number, order=None):
        self.kind, self.number, self.order = kind, number, order
        self.price = f"{number}.25000000"
        self.tries = []  # status of each, 0: none came
        self.sides = []
        self.began = self.took = 0
        self.answer = None

    @property
    def status(self):
        return self.tries[-1]

    @property
    def unclear(self):
        return sum(status == 0 or status in UNCLEAR for status in self.tries[:-1])

    def request(self, trader):
        if self.kind == "place":
            return "/orders", {"trader_id": trader, "symbol": "ALDR", "side": "BUY", "quantity": "10", "price": self.price}
        path = f"/orders/{self.order.id}/{self.kind}"
        if self.kind == "modify":
            return path, {"price": self.price}
        return path, {"quantity": str(self.order.next_fill), "price": self.price} if self.kind == "fill" else {}


class Order:
    def __init__(self, id, price):
        self.id, self.price, self.filled, self.next_fill = id, price, 0, 0
        self.open = True


class Client(threading.Thread):
    def __init__(self, clients, index):
        super().__init__(daemon=True)
        self.clients, self.index = clients, index
        self.random = random.Random(f"{clients.seed}-{index}")
        self.connection, self.orders = None, []
        self.parked = threading.Event()

    def ask(self, method, path, body=None, headers={}):
        """(status, body, side); status 0: no answer."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.clients.port, timeout=30)
            self.connection.request(method, path, body, headers)
            if body and self.random.random() < IMPATIENT:
                time.sleep(self.random.expovariate(1 / 0.004))
                raise TimeoutError
            answer = self.connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Banyan-Served-By", "")
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return 0, b"", ""

    def until_answered(self, operation):
        path, body = operation.request(TRADER + self.index)
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{self.clients.seed}-{operation.number}"}
        operation.began = time.monotonic()
        while True:
            status, text, side = self.ask("POST", path, json.dumps(body), headers)
            operation.tries.append(status)
            operation.sides.append(side)
            if status and status < 500:
                break
            time.sleep(0.03)
        operation.took = time.monotonic() - operation.began
        operation.answer = json.loads(text) if status < 300 else text.decode()

    def choose(self):
        if len(self.orders) < 3 or self.random.random() < 0.3:
            return Operation("place", self.clients.number())
        order = self.random.choice(self.orders)
        kind = self.random.choices(["modify", "fill", "cancel"], [4, 5, 1])[0]
        if kind == "fill":
            order.next_fill = min(self.random.randint(1, 5), 10 - order.filled)
        return Operation(kind, self.clients.number(), order)

    def learn(self, operation):
        order = operation.order
        if operation.status >= 300:
            if order in self.orders:
                self.orders.remove(order)
            if operation.unclear == 0:
                self.clients.wrong(f"refused without a reason: {operation.kind} of order {order and order.id}: "
                                   f"{operation.tries} {operation.answer}")
        elif operation.kind == "place":
            self.orders.append(Order(operation.answer["order_id"], operation.price))
        elif operation.kind == "modify":
            order.price = operation.price
        elif operation.kind == "fill":
            order.filled += order.next_fill
            order.open = order.filled < 10
        else:
            order.open = False
        # At the application an unclear try may have been done besides, or may be done yet: such an order is left alone, too.
        if order in self.orders and (not order.open or operation.unclear > 0):
            self.orders.remove(order)

    def read_back(self, order):
        status, text, side = self.ask("GET", f"/orders/{order.id}")
        self.clients.reads += status == 200
        if status == 200:
            row = json.loads(text)
            if row["price"] != order.price or float(row["filled_quantity"]) != order.filled:
                self.clients.stale(f"order {order.id} read from {side}: price {row['price']} filled {row['filled_quantity']}, "
                                   f"written {order.price} {order.filled}")
        elif status and status < 500:
            self.clients.stale(f"order {order.id} read from {side}: {status} {text[:200]}")

    def run(self):
        while not self.clients.over:
            if self.clients.resting:
                self.parked.set()
                time.sleep(0.01)
                continue
            self.parked.clear()
            operation = self.choose()
            self.clients.ledger.append(operation)
            self.until_answered(operation)
            self.learn(operation)
            if self.orders and self.random.random() < 0.4:
                self.read_back(self.random.choice(self.orders))
            time.sleep(self.random.expovariate(self.clients.rate / self.clients.count))


class Clients:
    def __init__(self, port, seed, count, rate):
        self.port, self.seed, self.count, self.rate = port, seed, count, rate
        self.ledger, self.wrongs, self.stales = [], [], []
        self.resting, self.over, self.reads, self.next = False, False, 0, 1000
        self.lock = threading.Lock()
        self.all = [Client(self, index) for index in range(count)]
        for client in self.all:
            client.start()

    def number(self):
        with self.lock:
            self.next += 1
            return self.next

    def wrong(self, text):
        self.wrongs.append(text)

    def stale(self, text):
        self.stales.append(text)

    def rest(self, seconds=90):
        """True when everything that was asked is answered."""
        self.resting = True
        until = time.monotonic() + seconds
        for client in self.all:
            client.parked.clear()
        return all(client.parked.wait(max(0, until - time.monotonic())) for client in self.all)

    def go_on(self):
        self.resting = False

    def figures(self):
        done = [operation for operation in self.ledger if operation.tries]
        acknowledged = sum(operation.status < 300 for operation in done)
        took = sorted(operation.took for operation in done)
        return {
            "writes_acknowledged": acknowledged,
            "failed_with_a_clear_answer": len(done) - acknowledged,
            "tries_again": sum(len(operation.tries) - 1 for operation in done),
            "tries_unclear": sum(operation.unclear for operation in done),
            "by_status": {status: sum(operation.tries.count(status) for operation in done)
                          for status in sorted({status for operation in done for status in operation.tries})},
            "by_banyan": sum(operation.sides[-1] == "banyan" for operation in done),
            "reads": self.reads,
            "write_ms_p50_p99_max": [round(took[int(at * (len(took) - 1))] * 1e3, 1) for at in (0.5, 0.99, 1)] if took else [],
        }
