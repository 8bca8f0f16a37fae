#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""business.py FILE   a history (history.sh) in the words of legacy-load --expected, by order."""
import json
import sys


def word(value):
    """As it stands in a text: what is no text as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(',', ':'), ensure_ascii=False)


def said(event, payload, quantity):
    """What the event says; *quantity* is the order's by now."""
    if event == 'OrderCreated':
        return [f'{name}={word(payload[name])}' for name in ('trader_id', 'symbol', 'side', 'quantity', 'price')]
    if event == 'OrderModified':
        return [f'field={payload["field"]}', f'old={word(payload["old_value"])}', f'new={word(payload["new_value"])}']
    if event in ('OrderPartiallyFilled', 'OrderFilled'):
        remaining = payload.get('remaining') or '0.00000000'
        return [f'{name}={word(payload[name])}' for name in ('quantity', 'price', 'filled')] + [f'remaining={remaining}']
    if event == 'OrderCanceled':
        return [f'status={"NEW" if payload["remaining"] == quantity else "PARTIALLY_FILLED"}']
    return [word(payload)]


lines, quantity = [], None
with open(sys.argv[1], encoding='utf-8', newline='\n') as history:
    for line in history:
        columns = line.rstrip('\n').split('\t')
        order, event, payload = columns[0].removeprefix('order-'), columns[2], json.loads(columns[5])
        if event == 'OrderCreated':
            quantity = payload['quantity']
        elif event == 'OrderModified' and payload['field'] == 'quantity':
            quantity = payload['new_value']
        lines.append((int(order), '\t'.join([order, event] + said(event, payload, quantity))))
lines.sort(key=lambda entry: entry[0])  # stable: the order of the versions stays
print('\n'.join(text for _, text in lines))
