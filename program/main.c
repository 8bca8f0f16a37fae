/* SPDX-License-Identifier: Apache-2.0 */
/* The program `banyan`: the command line over the domains that come with it. */
#include <stddef.h>

#include "banyan/main.h"
#include "commerce/commerce.h"
#include "trading/trading.h"

int main(int argc, char **argv)
{
    static const struct banyan_domain *const domains[] = {&banyan_domain_trading, &banyan_domain_commerce,
                                                          &banyan_domain_northwind};
    return banyan_main(argc, argv, domains, sizeof(domains) / sizeof(domains[0]));
}
