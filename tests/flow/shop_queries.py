#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""shop_queries.py URL VIEWS VIEW...   asks the read models what SQL on the legacy tables (PG*) is asked, and compares.

VIEWS is the folder of the SQLite files.  Over HTTP as far as its requests are there; what is not yet is read from the
files.  Prints "asked N over_http N different N", and each difference on a line of its own before it.
"""
import datetime
import json
import random
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

url, folder, views = sys.argv[1], sys.argv[2], set(sys.argv[3:])
asked = over_http = different = 0
LIMIT = 100


def sql(text):
    """Rows of the legacy database, as JSON has them."""
    query = f"SET timezone = 'UTC'; SELECT coalesce(json_agg(r), '[]') FROM ({text}) AS r"
    return json.loads(subprocess.run(['psql', '-XqAt', '-c', query], check=True, capture_output=True, text=True).stdout)


def get(path, **parameters):
    """The answer to a GET, or None where there is no such request or row."""
    query = urllib.parse.urlencode({k: v for k, v in parameters.items() if v is not None})
    try:
        with urllib.request.urlopen(f'{url}{path}{"?" + query if query else ""}', timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        if error.code in (404, 405) or (error.code == 400 and 'unknown parameter' in text):
            return None
        raise SystemExit(f'{path}?{query}: {error.code} {text}') from error


def rows_of(answer):
    return answer if isinstance(answer, list) else answer.get('rows', answer.get('items'))


def file_rows(view, table, where='1', parameters=()):
    """Rows of a view's table: that of its newest generation which has them."""
    connection = sqlite3.connect(f'file:{folder}/{view}.sqlite?mode=ro', uri=True)
    connection.row_factory = sqlite3.Row
    names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
             if n == table or n.rsplit('_g', 1)[0] == table]
    if not names:
        raise SystemExit(f'{view}.sqlite has no table {table}')
    return [dict(row) for row in connection.execute(f'SELECT * FROM "{sorted(names)[-1]}" WHERE {where}', parameters)]


def same(what, got, wanted, http=True):
    global asked, over_http, different
    asked += 1
    over_http += http
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
    same(what, [r['order_id'] for r in rows_of(answer)], wanted)


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


def search_texts():
    """Full text: every word of the question is in the order's texts.  Nothing to compare with before it is there."""
    words = ['basket', 'blanket', 'vintage', 'golden lamp', 'ana', 'bruno souza', 'salvador', 'curitiba', 'unavailable',
             'canceled', 'speaker', 'quiet', 'sp', 'mirror', 'pereira']
    for question in words:
        answer = get('/views/order_search/search', q=question, limit=LIMIT)
        if answer is None:
            return
        conditions = ' AND '.join(f"t ~* '\\m{word}\\M'" for word in question.split())
        wanted = {r['order_id'] for r in sql(f"""SELECT order_id FROM (SELECT order_id, concat_ws(' ', order_id, external_id,
            customer, city, state, status, (SELECT string_agg(product || ' ' || category, ' ') FROM order_items i
            WHERE i.order_id = o.order_id)) AS t FROM orders o) AS x WHERE {conditions}""")}
        got = [r['order_id'] for r in rows_of(answer)]
        same(f'search {question}', (len(got), set(got) <= wanted), (min(LIMIT, len(wanted)), True))


REVENUE = """SELECT count(DISTINCT order_id) AS orders, coalesce(sum(quantity), 0) AS units,
    round(coalesce(sum(quantity * unit_price), 0) * 100)::bigint AS items FROM orders JOIN order_items USING (order_id)
    WHERE status NOT IN ('canceled', 'unavailable')"""


def revenue(since=None, until=None, state=None, category=None):
    """Orders are counted by category, so their sum is that of SQL only where the category is given."""
    where = ''.join([f" AND placed_at >= '{since}'" if since else '', f" AND placed_at < '{until}'" if until else '',
                     f" AND state = '{state}'" if state else '', f" AND category = '{category}'" if category else ''])
    wanted = sql(REVENUE + where)[0]
    answer = get('/views/analytics/queries/revenue', **{'from': since, 'to': until, 'state': state, 'category': category})
    if answer is not None:
        found = rows_of(answer)
    else:
        found = [r for r in file_rows('analytics', 'revenue')
                 if (state is None or r['state'] == state) and (category is None or r['category'] == category) and
                 (since is None or r['day'] >= moment(since) * 1e6) and (until is None or r['day'] < moment(until) * 1e6)]
    got = {'units': sum(r['units'] for r in found), 'items': sum(cents(r['items']) for r in found)}
    if category:
        got['orders'] = sum(r['orders'] for r in found)
    same(f'revenue {since} {until} {state} {category}', got, {name: wanted[name] for name in got}, answer is not None)


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
    answer = get('/views/analytics/queries/funnel', **{'from': since, 'to': until})
    got = {}
    for row in (rows_of(answer) if answer is not None else file_rows(
            'analytics', 'funnel', 'day >= ? AND day < ?', (moment(since) * 1e6, moment(until) * 1e6))):
        got[row['status']] = got.get(row['status'], 0) + row['orders']
    same(f'funnel {since}', got, wanted, answer is not None)


def delivery(state):
    where = f"AND state = '{state}'" if state else ''
    wanted = sql(f"""SELECT count(*) AS orders, percentile_disc(0.5) WITHIN GROUP (ORDER BY d) AS p50,
        percentile_disc(0.9) WITHIN GROUP (ORDER BY d) AS p90, percentile_disc(0.99) WITHIN GROUP (ORDER BY d) AS p99
        FROM (SELECT floor(extract(epoch FROM delivered_at - placed_at) / 86400)::int AS d FROM orders
        WHERE delivered_at IS NOT NULL {where}) AS x""")[0]
    answer = get('/views/analytics/queries/delivery-times', state=state)
    if answer is not None:
        got = rows_of(answer)[0]
    else:
        days = sorted(d for r in file_rows('analytics', 'delivery') if state is None or r['state'] == state
                      for d in [r['days']] * r['orders'])
        rank = {p: days[-(-len(days) * p // 100) - 1] for p in (50, 90, 99)}
        got = {'orders': len(days), 'p50': rank[50], 'p90': rank[90], 'p99': rank[99]}
    same(f'delivery {state}', {name: got[name] for name in wanted}, wanted, answer is not None)


def queues():
    for warehouse in range(1, 9):
        wanted = sorted(r['shipment_id'] for r in sql(
            f"SELECT shipment_id FROM shipments WHERE warehouse_id = {warehouse} AND status = 'assigned'"))
        answer = get('/views/fulfillment_queue', queue=warehouse, limit=1000)
        same(f'queue of warehouse {warehouse}', sorted(r['shipment_id'] for r in rows_of(answer)), wanted)


def levels():
    names = ('stock_id', 'product_id', 'seller_id', 'available', 'reserved', 'allocated', 'shipped', 'received')
    for row in sql('SELECT product_id FROM stock GROUP BY 1 ORDER BY sum(shipped) DESC, 1 LIMIT 80'):
        wanted = sql(f"SELECT {', '.join(names)} FROM stock WHERE product_id = {row['product_id']} ORDER BY stock_id")
        answer = rows_of(get('/views/inventory', product_id=row['product_id'], limit=LIMIT))
        got = sorted(({name: r[name] for name in names} for r in answer), key=lambda r: r['stock_id'])
        same(f'stock of product {row["product_id"]}', got, wanted)
    for stock_id in random.Random(4).sample(range(1, sql('SELECT max(stock_id) AS n FROM stock')[0]['n']), 20):
        wanted = sql(f'SELECT {", ".join(names)} FROM stock WHERE stock_id = {stock_id}')[0]
        got = get(f'/views/inventory/{stock_id}') or {}
        same(f'stock {stock_id}', {name: got.get(name) for name in names}, wanted)


for view, questions in (('order_status', [status_by_id]), ('order_search', [search_lists, search_texts]),
                        ('analytics', [analytics]), ('fulfillment_queue', [queues]), ('inventory', [levels])):
    if view in views:
        for ask in questions:
            ask()
print(f'asked {asked} over_http {over_http} different {different}')
