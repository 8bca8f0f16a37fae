ALTER TABLE customers ADD COLUMN number bigserial;
