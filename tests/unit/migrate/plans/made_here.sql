BEGIN;
SET lock_timeout = '1s';
CREATE TABLE fills (id int PRIMARY KEY, order_id int);
ALTER TABLE fills ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid();
CREATE INDEX CONCURRENTLY fills_order ON fills (order_id);
ALTER TABLE fills RENAME COLUMN order_id TO order_number;
COMMIT;
