DROP TABLE order_items;
DROP TABLE IF EXISTS never_was;
