/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c and config_rollout.c share. */
#ifndef CLI_CONFIG_INT_H
#define CLI_CONFIG_INT_H

#include <cyaml/cyaml.h>

#include "cli/config.h"

extern const cyaml_schema_field_t config_gateway_fields[], config_rollout_fields[];

/* Defaults and ranges of both sections, and that what they need is there; CONFIG with the key's name. */
BANYAN_MUST_CHECK enum banyan_status config_rollout_check(struct config *config, const char *path,
                                                          struct banyan_error *err);

#endif
