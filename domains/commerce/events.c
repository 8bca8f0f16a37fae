/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload records of the events.  A field that business needs is required: an event without it cannot be stored.  The
 * ...Reconciled events take whatever a legacy row may hold.
 */
#include "events.h"

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

#define ROW_FIELD(kind, name, flags, scale)                                                                            \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct ROW, row.name), scale, NULL},

static const struct banyan_field order_line_fields[] = {
    BANYAN_FIELD_INT(struct order_line, line_id, 0),
    BANYAN_FIELD_INT(struct order_line, product_id, 0),
    BANYAN_FIELD_STRING(struct order_line, product, 0),
    BANYAN_FIELD_STRING(struct order_line, category, 0),
    BANYAN_FIELD_INT(struct order_line, seller_id, 0),
    BANYAN_FIELD_INT(struct order_line, stock_id, 0),
    BANYAN_FIELD_INT(struct order_line, quantity, 0),
    BANYAN_FIELD_DECIMAL(struct order_line, unit_price, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_line, freight, 0, COMMERCE_SCALE),
};
const struct banyan_record commerce_order_line = RECORD("OrderLine", struct order_line, order_line_fields);

static const struct banyan_field order_placed_fields[] = {
    BANYAN_FIELD_INT(struct order_placed, order_id, 0),
    BANYAN_FIELD_INT(struct order_placed, customer_id, 0),
    BANYAN_FIELD_STRING(struct order_placed, customer, 0),
    BANYAN_FIELD_STRING(struct order_placed, city, 0),
    BANYAN_FIELD_STRING(struct order_placed, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_placed, address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_placed, postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_placed, country, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_placed, external_id, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_placed, authorization, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct order_placed, placed_at, 0),
    BANYAN_FIELD_TIME(struct order_placed, promised_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_BOOL(struct order_placed, checkout, 0),
    BANYAN_FIELD_LIST_OF(struct order_placed, lines, &commerce_order_line),
    BANYAN_FIELD_DECIMAL(struct order_placed, items_total, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_placed, freight_total, 0, COMMERCE_SCALE),
};

static const struct banyan_field order_lines_changed_fields[] = {
    BANYAN_FIELD_INT(struct order_lines_changed, order_id, 0),
    BANYAN_FIELD_LIST_OF(struct order_lines_changed, lines, &commerce_order_line),
    BANYAN_FIELD_LIST_OF(struct order_lines_changed, removed, &commerce_order_line),
    BANYAN_FIELD_DECIMAL(struct order_lines_changed, items_total, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct order_lines_changed, freight_total, 0, COMMERCE_SCALE),
};

static const struct banyan_field order_address_changed_fields[] = {
    BANYAN_FIELD_INT(struct order_address_changed, order_id, 0),
    BANYAN_FIELD_STRING(struct order_address_changed, customer, 0),
    BANYAN_FIELD_STRING(struct order_address_changed, city, 0),
    BANYAN_FIELD_STRING(struct order_address_changed, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_address_changed, address, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_address_changed, postal_code, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_address_changed, country, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field order_confirmed_fields[] = {
    BANYAN_FIELD_INT(struct order_confirmed, order_id, 0),
    BANYAN_FIELD_DECIMAL(struct order_confirmed, paid, BANYAN_FIELD_OPTIONAL, COMMERCE_SCALE),
};

static const struct banyan_field order_shipped_fields[] = {
    BANYAN_FIELD_INT(struct order_shipped, order_id, 0),
};

static const struct banyan_field order_completed_fields[] = {
    BANYAN_FIELD_INT(struct order_completed, order_id, 0),
};

static const struct banyan_field order_canceled_fields[] = {
    BANYAN_FIELD_INT(struct order_canceled, order_id, 0),
    BANYAN_FIELD_STRING(struct order_canceled, reason, 0),
};

static const struct banyan_field order_rejected_fields[] = {
    BANYAN_FIELD_INT(struct order_rejected, order_id, 0),
    BANYAN_FIELD_STRING(struct order_rejected, reason, 0),
};

static const struct banyan_field order_status_noted_fields[] = {
    BANYAN_FIELD_INT(struct order_status_noted, order_id, 0),
    BANYAN_FIELD_STRING(struct order_status_noted, status, 0),
};

static const struct banyan_field order_anomaly_noted_fields[] = {
    BANYAN_FIELD_INT(struct order_anomaly_noted, order_id, 0),
    BANYAN_FIELD_STRING(struct order_anomaly_noted, kind, 0),
};

#define ROW order_reconciled
static const struct banyan_field order_reconciled_fields[] = {
    ORDER_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_LIST_OF(struct order_reconciled, lines, &commerce_order_line),
    BANYAN_FIELD_STRING(struct order_reconciled, fields, 0),
    BANYAN_FIELD_BOOL(struct order_reconciled, removed, 0),
};
#undef ROW

static const struct banyan_field payment_requested_fields[] = {
    BANYAN_FIELD_INT(struct payment_requested, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_requested, order_id, 0),
    BANYAN_FIELD_INT(struct payment_requested, sequence, 0),
    BANYAN_FIELD_STRING(struct payment_requested, method, 0),
    BANYAN_FIELD_INT(struct payment_requested, installments, 0),
    BANYAN_FIELD_DECIMAL(struct payment_requested, amount, 0, COMMERCE_SCALE),
};

static const struct banyan_field payment_authorized_fields[] = {
    BANYAN_FIELD_INT(struct payment_authorized, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_authorized, order_id, 0),
    BANYAN_FIELD_INT(struct payment_authorized, sequence, 0),
    BANYAN_FIELD_STRING(struct payment_authorized, method, 0),
    BANYAN_FIELD_INT(struct payment_authorized, installments, 0),
    BANYAN_FIELD_DECIMAL(struct payment_authorized, amount, 0, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct payment_authorized, reference, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field payment_declined_fields[] = {
    BANYAN_FIELD_INT(struct payment_declined, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_declined, order_id, 0),
    BANYAN_FIELD_STRING(struct payment_declined, reason, 0),
};

static const struct banyan_field payment_captured_fields[] = {
    BANYAN_FIELD_INT(struct payment_captured, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_captured, order_id, 0),
    BANYAN_FIELD_DECIMAL(struct payment_captured, amount, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct payment_captured, captured, 0, COMMERCE_SCALE),
};

static const struct banyan_field payment_refunded_fields[] = {
    BANYAN_FIELD_INT(struct payment_refunded, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_refunded, order_id, 0),
    BANYAN_FIELD_DECIMAL(struct payment_refunded, amount, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct payment_refunded, refunded, 0, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct payment_refunded, reason, 0),
};

static const struct banyan_field payment_voided_fields[] = {
    BANYAN_FIELD_INT(struct payment_voided, payment_id, 0),
    BANYAN_FIELD_INT(struct payment_voided, order_id, 0),
    BANYAN_FIELD_DECIMAL(struct payment_voided, amount, 0, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct payment_voided, reason, 0),
};

#define ROW payment_reconciled
static const struct banyan_field payment_reconciled_fields[] = {
    PAYMENT_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_STRING(struct payment_reconciled, fields, 0),
    BANYAN_FIELD_BOOL(struct payment_reconciled, removed, 0),
    BANYAN_FIELD_INT(struct payment_reconciled, count_change, 0),
    BANYAN_FIELD_DECIMAL(struct payment_reconciled, authorized_change, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct payment_reconciled, captured_change, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct payment_reconciled, refunded_change, 0, COMMERCE_SCALE),
};
#undef ROW

static const struct banyan_field fulfillment_line_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_line, line_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_line, product_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_line, stock_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_line, quantity, 0),
};
const struct banyan_record commerce_fulfillment_line =
    RECORD("FulfillmentLine", struct fulfillment_line, fulfillment_line_fields);

static const struct banyan_field fulfillment_created_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_created, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_created, order_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_created, seller_id, 0),
    BANYAN_FIELD_LIST_OF(struct fulfillment_created, lines, &commerce_fulfillment_line),
};

static const struct banyan_field fulfillment_assigned_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_assigned, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_assigned, order_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_assigned, warehouse_id, 0),
};

static const struct banyan_field fulfillment_packed_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_packed, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_packed, order_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_packed, packages, 0),
};

static const struct banyan_field fulfillment_shipped_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_shipped, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_shipped, order_id, 0),
    BANYAN_FIELD_STRING(struct fulfillment_shipped, carrier, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct fulfillment_shipped, tracking, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field fulfillment_delivered_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_delivered, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_delivered, order_id, 0),
};

static const struct banyan_field fulfillment_canceled_fields[] = {
    BANYAN_FIELD_INT(struct fulfillment_canceled, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct fulfillment_canceled, order_id, 0),
    BANYAN_FIELD_STRING(struct fulfillment_canceled, reason, 0),
};

#define ROW fulfillment_reconciled
static const struct banyan_field fulfillment_reconciled_fields[] = {
    SHIPMENT_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_STRING(struct fulfillment_reconciled, fields, 0),
    BANYAN_FIELD_BOOL(struct fulfillment_reconciled, removed, 0),
    BANYAN_FIELD_STRING(struct fulfillment_reconciled, status_before, 0),
};
#undef ROW

static const struct banyan_field job_leased_fields[] = {
    BANYAN_FIELD_INT(struct job_leased, fulfillment_id, 0), BANYAN_FIELD_INT(struct job_leased, order_id, 0),
    BANYAN_FIELD_STRING(struct job_leased, worker, 0),      BANYAN_FIELD_TIME(struct job_leased, until, 0),
    BANYAN_FIELD_INT(struct job_leased, attempt, 0),
};

static const struct banyan_field job_acknowledged_fields[] = {
    BANYAN_FIELD_INT(struct job_acknowledged, fulfillment_id, 0),
    BANYAN_FIELD_INT(struct job_acknowledged, order_id, 0),
    BANYAN_FIELD_STRING(struct job_acknowledged, worker, 0),
};

static const struct banyan_field job_released_fields[] = {
    BANYAN_FIELD_INT(struct job_released, fulfillment_id, 0), BANYAN_FIELD_INT(struct job_released, order_id, 0),
    BANYAN_FIELD_STRING(struct job_released, worker, 0),      BANYAN_FIELD_STRING(struct job_released, reason, 0),
    BANYAN_FIELD_TIME(struct job_released, retry_at, 0),
};

static const struct banyan_field stock_received_fields[] = {
    BANYAN_FIELD_INT(struct stock_received, stock_id, 0),
    BANYAN_FIELD_INT(struct stock_received, product_id, 0),
    BANYAN_FIELD_INT(struct stock_received, seller_id, 0),
    BANYAN_FIELD_INT(struct stock_received, warehouse_id, 0),
    BANYAN_FIELD_INT(struct stock_received, quantity, 0),
    BANYAN_FIELD_STRING(struct stock_received, reference, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field stock_reserved_fields[] = {
    BANYAN_FIELD_INT(struct stock_reserved, stock_id, 0),
    BANYAN_FIELD_INT(struct stock_reserved, order_id, 0),
    BANYAN_FIELD_INT(struct stock_reserved, line_id, 0),
    BANYAN_FIELD_INT(struct stock_reserved, quantity, 0),
};

static const struct banyan_field stock_allocated_fields[] = {
    BANYAN_FIELD_INT(struct stock_allocated, stock_id, 0),
    BANYAN_FIELD_INT(struct stock_allocated, order_id, 0),
    BANYAN_FIELD_INT(struct stock_allocated, line_id, 0),
    BANYAN_FIELD_INT(struct stock_allocated, quantity, 0),
};

static const struct banyan_field stock_released_fields[] = {
    BANYAN_FIELD_INT(struct stock_released, stock_id, 0),   BANYAN_FIELD_INT(struct stock_released, order_id, 0),
    BANYAN_FIELD_INT(struct stock_released, line_id, 0),    BANYAN_FIELD_INT(struct stock_released, quantity, 0),
    BANYAN_FIELD_BOOL(struct stock_released, allocated, 0),
};

static const struct banyan_field stock_shipped_fields[] = {
    BANYAN_FIELD_INT(struct stock_shipped, stock_id, 0),
    BANYAN_FIELD_INT(struct stock_shipped, order_id, 0),
    BANYAN_FIELD_INT(struct stock_shipped, line_id, 0),
    BANYAN_FIELD_INT(struct stock_shipped, quantity, 0),
};

#define ROW stock_reconciled
static const struct banyan_field stock_reconciled_fields[] = {
    STOCK_ROW_COLUMNS(ROW_FIELD) BANYAN_FIELD_STRING(struct stock_reconciled, fields, 0),
    BANYAN_FIELD_BOOL(struct stock_reconciled, removed, 0),
};
#undef ROW

static const struct banyan_field checkout_line_fields[] = {
    BANYAN_FIELD_INT(struct checkout_line, line_id, 0),
    BANYAN_FIELD_INT(struct checkout_line, product_id, 0),
    BANYAN_FIELD_INT(struct checkout_line, seller_id, 0),
    BANYAN_FIELD_INT(struct checkout_line, stock_id, 0),
    BANYAN_FIELD_INT(struct checkout_line, quantity, 0),
    BANYAN_FIELD_DECIMAL(struct checkout_line, price, 0, COMMERCE_SCALE),
    BANYAN_FIELD_STRING(struct checkout_line, held, 0),
    BANYAN_FIELD_INT(struct checkout_line, fulfillment_id, 0),
};
static const struct banyan_record checkout_line_record =
    RECORD("CheckoutLine", struct checkout_line, checkout_line_fields);

static const struct banyan_field checkout_payment_fields[] = {
    BANYAN_FIELD_INT(struct checkout_payment, payment_id, 0),
    BANYAN_FIELD_DECIMAL(struct checkout_payment, authorized, 0, COMMERCE_SCALE),
};
static const struct banyan_record checkout_payment_record =
    RECORD("CheckoutPayment", struct checkout_payment, checkout_payment_fields);

static const struct banyan_field checkout_fulfillment_fields[] = {
    BANYAN_FIELD_INT(struct checkout_fulfillment, fulfillment_id, 0),
    BANYAN_FIELD_STRING(struct checkout_fulfillment, status, 0),
};
static const struct banyan_record checkout_fulfillment_record =
    RECORD("CheckoutFulfillment", struct checkout_fulfillment, checkout_fulfillment_fields);

static const struct banyan_field checkout_fields[] = {
    BANYAN_FIELD_INT(struct checkout, order_id, 0),
    BANYAN_FIELD_STRING(struct checkout, step, 0),
    BANYAN_FIELD_STRING(struct checkout, reason, 0),
    BANYAN_FIELD_DECIMAL(struct checkout, total, 0, COMMERCE_SCALE),
    BANYAN_FIELD_INT(struct checkout, payment_id, 0),
    BANYAN_FIELD_TIME(struct checkout, deadline, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_LIST_OF(struct checkout, lines, &checkout_line_record),
    BANYAN_FIELD_LIST_OF(struct checkout, payments, &checkout_payment_record),
    BANYAN_FIELD_LIST_OF(struct checkout, fulfillments, &checkout_fulfillment_record),
};
const struct banyan_record commerce_checkout = RECORD("Checkout", struct checkout, checkout_fields);

static const struct banyan_record records[COMMERCE_EVENT_COUNT] = {
    [ORDER_PLACED] = RECORD("OrderPlaced", struct order_placed, order_placed_fields),
    [ORDER_LINES_CHANGED] = RECORD("OrderLinesChanged", struct order_lines_changed, order_lines_changed_fields),
    [ORDER_ADDRESS_CHANGED] = RECORD("OrderAddressChanged", struct order_address_changed, order_address_changed_fields),
    [ORDER_CONFIRMED] = RECORD("OrderConfirmed", struct order_confirmed, order_confirmed_fields),
    [ORDER_SHIPPED] = RECORD("OrderShipped", struct order_shipped, order_shipped_fields),
    [ORDER_COMPLETED] = RECORD("OrderCompleted", struct order_completed, order_completed_fields),
    [ORDER_CANCELED] = RECORD("OrderCanceled", struct order_canceled, order_canceled_fields),
    [ORDER_REJECTED] = RECORD("OrderRejected", struct order_rejected, order_rejected_fields),
    [ORDER_STATUS_NOTED] = RECORD("OrderStatusNoted", struct order_status_noted, order_status_noted_fields),
    [ORDER_ANOMALY_NOTED] = RECORD("OrderAnomalyNoted", struct order_anomaly_noted, order_anomaly_noted_fields),
    [ORDER_RECONCILED] = RECORD("OrderReconciled", struct order_reconciled, order_reconciled_fields),
    [PAYMENT_REQUESTED] = RECORD("PaymentRequested", struct payment_requested, payment_requested_fields),
    [PAYMENT_AUTHORIZED] = RECORD("PaymentAuthorized", struct payment_authorized, payment_authorized_fields),
    [PAYMENT_DECLINED] = RECORD("PaymentDeclined", struct payment_declined, payment_declined_fields),
    [PAYMENT_CAPTURED] = RECORD("PaymentCaptured", struct payment_captured, payment_captured_fields),
    [PAYMENT_REFUNDED] = RECORD("PaymentRefunded", struct payment_refunded, payment_refunded_fields),
    [PAYMENT_VOIDED] = RECORD("PaymentVoided", struct payment_voided, payment_voided_fields),
    [PAYMENT_RECONCILED] = RECORD("PaymentReconciled", struct payment_reconciled, payment_reconciled_fields),
    [FULFILLMENT_CREATED] = RECORD("FulfillmentCreated", struct fulfillment_created, fulfillment_created_fields),
    [FULFILLMENT_ASSIGNED] = RECORD("FulfillmentAssigned", struct fulfillment_assigned, fulfillment_assigned_fields),
    [FULFILLMENT_PACKED] = RECORD("FulfillmentPacked", struct fulfillment_packed, fulfillment_packed_fields),
    [FULFILLMENT_SHIPPED] = RECORD("FulfillmentShipped", struct fulfillment_shipped, fulfillment_shipped_fields),
    [FULFILLMENT_DELIVERED] =
        RECORD("FulfillmentDelivered", struct fulfillment_delivered, fulfillment_delivered_fields),
    [FULFILLMENT_CANCELED] = RECORD("FulfillmentCanceled", struct fulfillment_canceled, fulfillment_canceled_fields),
    [FULFILLMENT_RECONCILED] =
        RECORD("FulfillmentReconciled", struct fulfillment_reconciled, fulfillment_reconciled_fields),
    [JOB_LEASED] = RECORD("JobLeased", struct job_leased, job_leased_fields),
    [JOB_ACKNOWLEDGED] = RECORD("JobAcknowledged", struct job_acknowledged, job_acknowledged_fields),
    [JOB_RELEASED] = RECORD("JobReleased", struct job_released, job_released_fields),
    [STOCK_RECEIVED] = RECORD("StockReceived", struct stock_received, stock_received_fields),
    [STOCK_RESERVED] = RECORD("StockReserved", struct stock_reserved, stock_reserved_fields),
    [STOCK_ALLOCATED] = RECORD("StockAllocated", struct stock_allocated, stock_allocated_fields),
    [STOCK_RELEASED] = RECORD("StockReleased", struct stock_released, stock_released_fields),
    [STOCK_SHIPPED] = RECORD("StockShipped", struct stock_shipped, stock_shipped_fields),
    [STOCK_RECONCILED] = RECORD("StockReconciled", struct stock_reconciled, stock_reconciled_fields),
};

const struct banyan_event_type commerce_events[COMMERCE_EVENT_COUNT] = {
    [ORDER_PLACED] = {"OrderPlaced", 1, &records[ORDER_PLACED]},
    [ORDER_LINES_CHANGED] = {"OrderLinesChanged", 1, &records[ORDER_LINES_CHANGED]},
    [ORDER_ADDRESS_CHANGED] = {"OrderAddressChanged", 1, &records[ORDER_ADDRESS_CHANGED]},
    [ORDER_CONFIRMED] = {"OrderConfirmed", 1, &records[ORDER_CONFIRMED]},
    [ORDER_SHIPPED] = {"OrderShipped", 1, &records[ORDER_SHIPPED]},
    [ORDER_COMPLETED] = {"OrderCompleted", 1, &records[ORDER_COMPLETED]},
    [ORDER_CANCELED] = {"OrderCanceled", 1, &records[ORDER_CANCELED]},
    [ORDER_REJECTED] = {"OrderRejected", 1, &records[ORDER_REJECTED]},
    [ORDER_STATUS_NOTED] = {"OrderStatusNoted", 1, &records[ORDER_STATUS_NOTED]},
    [ORDER_ANOMALY_NOTED] = {"OrderAnomalyNoted", 1, &records[ORDER_ANOMALY_NOTED]},
    [ORDER_RECONCILED] = {"OrderReconciled", 1, &records[ORDER_RECONCILED]},
    [PAYMENT_REQUESTED] = {"PaymentRequested", 1, &records[PAYMENT_REQUESTED]},
    [PAYMENT_AUTHORIZED] = {"PaymentAuthorized", 1, &records[PAYMENT_AUTHORIZED]},
    [PAYMENT_DECLINED] = {"PaymentDeclined", 1, &records[PAYMENT_DECLINED]},
    [PAYMENT_CAPTURED] = {"PaymentCaptured", 1, &records[PAYMENT_CAPTURED]},
    [PAYMENT_REFUNDED] = {"PaymentRefunded", 1, &records[PAYMENT_REFUNDED]},
    [PAYMENT_VOIDED] = {"PaymentVoided", 1, &records[PAYMENT_VOIDED]},
    [PAYMENT_RECONCILED] = {"PaymentReconciled", 1, &records[PAYMENT_RECONCILED]},
    [FULFILLMENT_CREATED] = {"FulfillmentCreated", 1, &records[FULFILLMENT_CREATED]},
    [FULFILLMENT_ASSIGNED] = {"FulfillmentAssigned", 1, &records[FULFILLMENT_ASSIGNED]},
    [FULFILLMENT_PACKED] = {"FulfillmentPacked", 1, &records[FULFILLMENT_PACKED]},
    [FULFILLMENT_SHIPPED] = {"FulfillmentShipped", 1, &records[FULFILLMENT_SHIPPED]},
    [FULFILLMENT_DELIVERED] = {"FulfillmentDelivered", 1, &records[FULFILLMENT_DELIVERED]},
    [FULFILLMENT_CANCELED] = {"FulfillmentCanceled", 1, &records[FULFILLMENT_CANCELED]},
    [FULFILLMENT_RECONCILED] = {"FulfillmentReconciled", 1, &records[FULFILLMENT_RECONCILED]},
    [JOB_LEASED] = {"JobLeased", 1, &records[JOB_LEASED]},
    [JOB_ACKNOWLEDGED] = {"JobAcknowledged", 1, &records[JOB_ACKNOWLEDGED]},
    [JOB_RELEASED] = {"JobReleased", 1, &records[JOB_RELEASED]},
    [STOCK_RECEIVED] = {"StockReceived", 1, &records[STOCK_RECEIVED]},
    [STOCK_RESERVED] = {"StockReserved", 1, &records[STOCK_RESERVED]},
    [STOCK_ALLOCATED] = {"StockAllocated", 1, &records[STOCK_ALLOCATED]},
    [STOCK_RELEASED] = {"StockReleased", 1, &records[STOCK_RELEASED]},
    [STOCK_SHIPPED] = {"StockShipped", 1, &records[STOCK_SHIPPED]},
    [STOCK_RECONCILED] = {"StockReconciled", 1, &records[STOCK_RECONCILED]},
    [CHECKOUT_RESERVED] = {"CheckoutReserved", 1, &commerce_checkout},
    [CHECKOUT_CHANGED] = {"CheckoutChanged", 1, &commerce_checkout},
    [CHECKOUT_CONFIRMED] = {"CheckoutConfirmed", 1, &commerce_checkout},
    [CHECKOUT_COMPLETED] = {"CheckoutCompleted", 1, &commerce_checkout},
    [CHECKOUT_COMPENSATED] = {"CheckoutCompensated", 1, &commerce_checkout},
};

/* Where the payloads of payments and fulfillments have their order; 0: nowhere (no record begins with it). */
static const size_t order_offsets[COMMERCE_EVENT_COUNT] = {
    [PAYMENT_REQUESTED] = offsetof(struct payment_requested, order_id),
    [PAYMENT_AUTHORIZED] = offsetof(struct payment_authorized, order_id),
    [PAYMENT_DECLINED] = offsetof(struct payment_declined, order_id),
    [PAYMENT_CAPTURED] = offsetof(struct payment_captured, order_id),
    [PAYMENT_REFUNDED] = offsetof(struct payment_refunded, order_id),
    [PAYMENT_VOIDED] = offsetof(struct payment_voided, order_id),
    [FULFILLMENT_CREATED] = offsetof(struct fulfillment_created, order_id),
    [FULFILLMENT_ASSIGNED] = offsetof(struct fulfillment_assigned, order_id),
    [FULFILLMENT_PACKED] = offsetof(struct fulfillment_packed, order_id),
    [FULFILLMENT_SHIPPED] = offsetof(struct fulfillment_shipped, order_id),
    [FULFILLMENT_DELIVERED] = offsetof(struct fulfillment_delivered, order_id),
    [FULFILLMENT_CANCELED] = offsetof(struct fulfillment_canceled, order_id),
    [JOB_LEASED] = offsetof(struct job_leased, order_id),
    [JOB_ACKNOWLEDGED] = offsetof(struct job_acknowledged, order_id),
    [JOB_RELEASED] = offsetof(struct job_released, order_id),
    [PAYMENT_RECONCILED] = offsetof(struct payment_reconciled, row.order_id),
    [FULFILLMENT_RECONCILED] = offsetof(struct fulfillment_reconciled, row.order_id),
};

bool commerce_order_of(const struct banyan_seen *event, int64_t *ret_order_id)
{
    size_t offset = event->type < COMMERCE_EVENT_COUNT ? order_offsets[event->type] : 0;

    if (event->type <= ORDER_RECONCILED)
        *ret_order_id = event->key;
    else if (event->type >= CHECKOUT_RESERVED && event->type < COMMERCE_EVENT_COUNT)
        *ret_order_id = ((const struct checkout *)event->payload)->order_id;
    else if (offset != 0)
        *ret_order_id = *(const int64_t *)((const char *)event->payload + offset);
    else
        return false;
    return true;
}
