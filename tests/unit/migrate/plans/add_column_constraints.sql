ALTER TABLE orders ADD COLUMN ticket text CONSTRAINT ticket_short CHECK (length(ticket) < 20) UNIQUE,
    ADD COLUMN agent int REFERENCES customers (id);
