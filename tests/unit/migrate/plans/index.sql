CREATE INDEX CONCURRENTLY orders_venue ON orders (venue);
DROP INDEX orders_placed;
CREATE UNIQUE INDEX measurements_value ON measurements (at, id, value);
