ALTER TABLE customers ADD CONSTRAINT customers_name UNIQUE (name);
ALTER TABLE customers DROP CONSTRAINT customers_email_key;
