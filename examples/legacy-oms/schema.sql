-- SPDX-License-Identifier: Apache-2.0
-- The tables of the order management system.  Run once in an empty database: psql -f schema.sql

CREATE SEQUENCE orders_order_id_seq;

CREATE TABLE orders (
    order_id        bigint         NOT NULL DEFAULT nextval('orders_order_id_seq'),
    trader_id       bigint         NOT NULL,
    symbol          text           NOT NULL,
    side            text           NOT NULL,
    quantity        numeric(18, 8) NOT NULL,
    price           numeric(18, 8) NOT NULL,
    status          text           NOT NULL,
    filled_quantity numeric(18, 8) NOT NULL DEFAULT 0,
    avg_fill_price  numeric(18, 8),
    created_at      timestamptz    NOT NULL,
    updated_at      timestamptz    NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (order_id),
    CONSTRAINT orders_side_check CHECK (side IN ('BUY', 'SELL')),
    CONSTRAINT orders_status_check CHECK (status IN ('NEW', 'PARTIALLY_FILLED', 'FILLED', 'CANCELED')),
    CONSTRAINT orders_quantity_check CHECK (quantity > 0 AND filled_quantity BETWEEN 0 AND quantity),
    CONSTRAINT orders_price_check CHECK (price > 0)
);
ALTER SEQUENCE orders_order_id_seq OWNED BY orders.order_id;
CREATE INDEX orders_trader_created_idx ON orders (trader_id, created_at);
CREATE INDEX orders_symbol_created_idx ON orders (symbol, created_at);

CREATE TABLE audit_log (
    id            bigserial   NOT NULL,
    entity_id     bigint      NOT NULL,
    field_changed text        NOT NULL,
    old_value     text,
    new_value     text,
    "timestamp"   timestamptz NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_log_entity_timestamp_idx ON audit_log (entity_id, "timestamp");

CREATE TABLE trades (
    id          bigserial      NOT NULL,
    order_id    bigint         NOT NULL,
    quantity    numeric(18, 8) NOT NULL,
    price       numeric(18, 8) NOT NULL,
    executed_at timestamptz    NOT NULL,
    CONSTRAINT trades_pkey PRIMARY KEY (id),
    CONSTRAINT trades_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (order_id)
);
CREATE INDEX trades_order_id_idx ON trades (order_id);
