ALTER TABLE orders ALTER COLUMN venue TYPE varchar;
