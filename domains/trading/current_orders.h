/* SPDX-License-Identifier: Apache-2.0 */
/* The read model of all orders as they are now. */
#ifndef TRADING_CURRENT_ORDERS_H
#define TRADING_CURRENT_ORDERS_H

#include "banyan/domain.h"

extern const struct banyan_projection current_orders;

#endif
