#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""shop_queries.py URL   asks the read models over HTTP what SQL on the legacy tables (PG*) is asked, and compares.

Prints each difference on a line of its own, then "asked N different N".
"""
import datetime
import json
import random
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

url = sys.argv[1]
asked = different = 0
LIMIT = 100


# One connection for all questions: a psql for each took longer than what is compared.
psql = subprocess.Popen(['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
END = '-- end of the answer --'


def sql(text):
    """Rows of the legacy database, as JSON has them."""
    psql.stdin.write(f"SET timezone = 'UTC'; SELECT coalesce(json_agg(r), '[]') FROM ({text}) AS r;\n\\echo {END}\n")
    psql.stdin.flush()
    lines = []
    while (line := psql.stdout.readline()) != END + '\n':
        if line == '':
            raise SystemExit(f'psql ended at: {text}')
        lines.append(line)
    return json.loads(''.join(lines))


def get(path, **parameters):
    """The answer to a GET, or None where there is no such row."""
    query = urllib.parse.urlencode({k: v for k, v in parameters.items() if v is not None})
    try:
        with urllib.request.urlopen(f'{url}{path}{"?" + query if query else ""}', timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        if error.code == 404 and not query:
            return None
        raise SystemExit(f'{path}?{query}: {error.code} {text}') from error


def ask(view, query, **parameters):
    return get(f'/views/{view}/queries/{query}', **parameters)['items']


def same(what, got, wanted):
    global asked, different
    asked += 1
    if got != wanted:
        different += 1
        print(f'{what}: got {str(got)[:300]} wanted {str(wanted)[:300]}')


def moment(text):
    return text and datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


def cents(text):
    return round(float(text) * 100)


def status_by_id():
    chosen = sql("""SELECT order_id, status, customer, city, state, items_total::text, freight_total::text, placed_at,
        approved_at, shipped_at, delivered_at, canceled_at,
        (SELECT count(*) FROM order_items i WHERE i.order_id = o.order_id) AS lines,
        (SELECT coalesce(sum(captured), 0)::text FROM payments p WHERE p.order_id = o.order_id) AS captured,
        (SELECT count(*) FROM shipments s WHERE s.order_id = o.order_id) AS shipments
        FROM orders o WHERE order_id % 97 = 5 OR status IN ('unavailable', 'invoiced') ORDER BY order_id LIMIT 150""")
    for order in chosen:
        row = get(f'/views/order_status/{order["order_id"]}') or {}
        for name in ('placed_at', 'approved_at', 'shipped_at', 'delivered_at', 'canceled_at'):
            order[name], row[name] = moment(order[name]), moment(row.get(name))
        order['captured'], row['captured'] = cents(order['captured']), cents(row.get('captured') or 0)
        same(f'order_status {order["order_id"]}', {name: row.get(name) for name in order}, order)


def search_list(what, column, value, where, since=None, until=None):
    wanted = [r['order_id'] for r in sql(f"""SELECT order_id FROM orders WHERE {where}
        {f"AND placed_at >= '{since}'" if since else ''} {f"AND placed_at < '{until}'" if until else ''}
        ORDER BY placed_at DESC, order_id DESC LIMIT {LIMIT}""")]
    answer = get('/views/order_search', **{column: value, 'limit': LIMIT, 'from': since, 'to': until})
    same(what, [r['order_id'] for r in answer['items']], wanted)


def search_lists():
    for (status,) in [(r['status'],) for r in sql('SELECT DISTINCT status FROM orders ORDER BY 1')]:
        search_list(f'status {status}', 'status', status, f"status = '{status}'")
    for row in sql('SELECT city FROM orders GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 60'):
        quoted = row['city'].replace("'", "''")
        search_list(f'city {row["city"]}', 'city', row['city'], f"city = '{quoted}'")
    for row in sql('SELECT customer_id FROM orders GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 40'):
        search_list(f'customer {row["customer_id"]}', 'customer_id', row['customer_id'],
                    f"customer_id = {row['customer_id']}")
    for month in range(1, 13):
        since, until = f'2017-{month:02}-01T00:00:00Z', f'2017-{month:02}-15T00:00:00Z'
        search_list(f'delivered in {since}', 'status', 'delivered', "status = 'delivered'", since, until)


def finds():
    """Two conditions at once, the second one without an index."""
    for row in sql("""SELECT city, status FROM orders WHERE status <> 'delivered' GROUP BY 1, 2
        ORDER BY count(*) DESC, 1, 2 LIMIT 20"""):
        city, status = row['city'].replace("'", "''"), row['status']
        wanted = [r['order_id'] for r in sql(f"""SELECT order_id FROM orders WHERE city = '{city}' AND
            status = '{status}' ORDER BY placed_at DESC, order_id DESC LIMIT {LIMIT}""")]
        answer = ask('order_search', 'find', city=row['city'], status=status, limit=LIMIT)
        same(f'find {row["city"]} {status}', [r['order_id'] for r in answer], wanted)


def search_texts():
    """Full text: every word of the question is in the order's texts, the last one may be a beginning."""
    words = ['basket', 'blanket', 'vintage', 'golden lamp', 'ana', 'bruno souza', 'salvador', 'curitiba', 'unavailable',
             'canceled', 'speaker', 'quiet', 'sp', 'mirror', 'pereira']
    texts = {r['order_id']: r['t'] for r in sql("""SELECT order_id, lower(concat_ws(' ', order_id, external_id, customer,
        city, state, status, (SELECT string_agg(product || ' ' || category, ' ') FROM order_items i
        WHERE i.order_id = o.order_id))) AS t FROM orders o""")}
    for question in words:
        *whole, last = question.split()
        pattern = re.compile(''.join(rf'(?=.*\b{word}\b)' for word in whole) + rf'.*\b{last}', re.DOTALL)
        wanted = sorted(order for order, text in texts.items() if pattern.match(text))
        got, skip = [], 0
        while skip is not None:
            answer = get('/views/order_search/search', q=question, limit=1000, skip=skip)
            got += [r['order_id'] for r in answer['items']]
            skip = answer.get('next_skip')
        same(f'search {question}', sorted(got), wanted)


REVENUE = """SELECT count(DISTINCT order_id) AS orders, coalesce(sum(quantity), 0) AS units,
    round(coalesce(sum(quantity * unit_price), 0) * 100)::bigint AS items FROM orders JOIN order_items USING (order_id)
    WHERE status NOT IN ('canceled', 'unavailable')"""


def revenue(since=None, until=None, state=None, category=None):
    """Orders are counted by category, so their sum is that of SQL only where the category is given."""
    where = ''.join([f" AND placed_at >= '{since}'" if since else '', f" AND placed_at < '{until}'" if until else '',
                     f" AND state = '{state}'" if state else '', f" AND category = '{category}'" if category else ''])
    wanted = sql(REVENUE + where)[0]
    found = ask('analytics', 'revenue', **{'from': since, 'to': until, 'state': state, 'category': category})
    got = {'units': sum(r['units'] for r in found), 'items': sum(cents(r['items']) for r in found)}
    if category:
        got['orders'] = sum(r['orders'] for r in found)
    same(f'revenue {since} {until} {state} {category}', got, {name: wanted[name] for name in got})


def analytics():
    states = [r['state'] for r in sql('SELECT state FROM orders GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 20')]
    revenue()
    for state in states:
        revenue(state=state)
    for row in sql('SELECT name FROM categories ORDER BY 1'):
        revenue(category=row['name'])
    for day in range(1, 29):
        revenue(f'2018-02-{day:02}T00:00:00Z', f'2018-02-{day + 1:02}T00:00:00Z' if day < 28 else '2018-03-01T00:00:00Z')
    for month in range(1, 13):
        since = f'2017-{month:02}-01T00:00:00Z'
        until = f'2017-{month + 1:02}-01T00:00:00Z' if month < 12 else '2018-01-01T00:00:00Z'
        funnel(since, until)
    for state in [None] + states[:10]:
        delivery(state)


def funnel(since, until):
    wanted = {r['status']: r['n'] for r in sql(f"""SELECT status, count(*) AS n FROM orders WHERE placed_at >= '{since}'
        AND placed_at < '{until}' GROUP BY 1""")}
    got = {r['status']: r['orders'] for r in ask('analytics', 'funnel', **{'from': since, 'to': until})}
    same(f'funnel {since}', got, wanted)


def delivery(state):
    where = f"AND state = '{state}'" if state else ''
    wanted = sql(f"""SELECT count(*) AS orders, coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY d), 0) AS p50,
        coalesce(percentile_disc(0.9) WITHIN GROUP (ORDER BY d), 0) AS p90, coalesce(percentile_disc(0.99) WITHIN GROUP (ORDER BY d), 0) AS p99
        FROM (SELECT floor(extract(epoch FROM delivered_at - placed_at) / 86400)::int AS d FROM orders
        WHERE delivered_at IS NOT NULL {where}) AS x""")[0]
    got = ask('analytics', 'delivery-times', state=state)[0]
    same(f'delivery {state}', {name: got[name] for name in wanted}, wanted)


def queues():
    for warehouse in range(1, 9):
        wanted = sorted(r['shipment_id'] for r in sql(
            f"SELECT shipment_id FROM shipments WHERE warehouse_id = {warehouse} AND status = 'assigned'"))
        answer = get('/views/fulfillment_queue', queue=warehouse, limit=1000)
        same(f'queue of warehouse {warehouse}', sorted(r['shipment_id'] for r in answer['items']), wanted)
        jobs = ask('fulfillment_queue', 'next', warehouse_id=warehouse, now='2100-01-01T00:00:00Z', limit=1000)
        times = [moment(r['ready_at']) for r in jobs]
        same(f'next of warehouse {warehouse}', (sorted(r['shipment_id'] for r in jobs), times), (wanted, sorted(times)))


def levels():
    names = ('stock_id', 'product_id', 'seller_id', 'available', 'reserved', 'allocated', 'shipped', 'received')
    for row in sql('SELECT product_id FROM stock GROUP BY 1 ORDER BY sum(shipped) DESC, 1 LIMIT 80'):
        wanted = sql(f"SELECT {', '.join(names)} FROM stock WHERE product_id = {row['product_id']} ORDER BY stock_id")
        answer = get('/views/inventory', product_id=row['product_id'], limit=LIMIT)['items']
        got = sorted(({name: r[name] for name in names} for r in answer), key=lambda r: r['stock_id'])
        same(f'stock of product {row["product_id"]}', got, wanted)
    for stock_id in random.Random(4).sample(range(1, sql('SELECT max(stock_id) AS n FROM stock')[0]['n']), 20):
        wanted = sql(f'SELECT {", ".join(names)} FROM stock WHERE stock_id = {stock_id}')[0]
        got = get(f'/views/inventory/{stock_id}') or {}
        same(f'stock {stock_id}', {name: got.get(name) for name in names}, wanted)


for questions in (status_by_id, search_lists, finds, search_texts, analytics, queues, levels):
    questions()
print(f'asked {asked} different {different}')
