/* SPDX-License-Identifier: Apache-2.0 */
/* The shop's own API (examples/legacy-shop); see banyan_facade. */
#ifndef COMMERCE_FACADE_SHOP_H
#define COMMERCE_FACADE_SHOP_H

#include "banyan/domain.h"

extern const struct banyan_facade shop_facade;

#endif
