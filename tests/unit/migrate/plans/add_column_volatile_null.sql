ALTER TABLE orders ADD COLUMN lot text DEFAULT CASE WHEN random() < 0.5 THEN 'x' END;
