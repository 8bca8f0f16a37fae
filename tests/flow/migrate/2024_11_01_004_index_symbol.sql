CREATE INDEX orders_symbol_created_idx ON orders (symbol, created_at);
