UPDATE orders SET notional = price * quantity WHERE notional IS NULL;
