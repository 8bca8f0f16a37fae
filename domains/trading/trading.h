/* SPDX-License-Identifier: Apache-2.0 */
/* The trading domain: orders with fills, and the legacy order system that they come from. */
#ifndef TRADING_TRADING_H
#define TRADING_TRADING_H

struct banyan_domain;

extern const struct banyan_domain banyan_domain_trading;

#endif
