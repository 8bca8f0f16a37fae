/* SPDX-License-Identifier: Apache-2.0 */
/* The read models that a configuration asks for: the same answer for every command. */
#ifndef CLI_VIEWS_H
#define CLI_VIEWS_H

#include <stddef.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "cli/config.h"
#include "projection/sink.h"

struct view {
    const char *name;
    const struct banyan_projection *projection;
    const struct config_view *config; /* NULL: SQLite by default */
};

/* The configured views, or every projection of the domain in SQLite where none is.  In *arena*. */
BANYAN_MUST_CHECK enum banyan_status views_list(const struct config *config, const struct banyan_domain *domain,
                                                struct banyan_arena *arena, struct view **ret, size_t *ret_count,
                                                struct banyan_error *err);
/* Where its rows are kept, made when missing.  One that is in memory is not seen by other processes. */
BANYAN_MUST_CHECK enum banyan_status views_home(const struct config *config, const struct view *view,
                                                struct sink_home **ret, struct banyan_error *err);

#endif
