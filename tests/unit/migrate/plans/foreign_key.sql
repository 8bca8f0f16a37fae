ALTER TABLE journal ADD COLUMN customer_id int;
ALTER TABLE journal ADD CONSTRAINT journal_customer FOREIGN KEY (customer_id) REFERENCES customers (id);
ALTER TABLE orders ADD CONSTRAINT orders_amount CHECK (amount > 0), DROP CONSTRAINT side_known;
