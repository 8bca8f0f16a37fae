ALTER TABLE orders ADD COLUMN execution_note text, ADD priority int NOT NULL DEFAULT 0;
