/* SPDX-License-Identifier: Apache-2.0 */
/* The program as a function, so that anybody can link it with domains of their own. */
#ifndef BANYAN_MAIN_H
#define BANYAN_MAIN_H

#include <stddef.h>

#include "banyan/attributes.h"

struct banyan_domain;

/* Run the `banyan` command line over the given domains; returns the exit code. */
BANYAN_API int banyan_main(int argc, char **argv, const struct banyan_domain *const *domains, size_t domain_count);

#endif
