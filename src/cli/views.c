/* SPDX-License-Identifier: Apache-2.0 */
/* From configuration to read models: see views.h. */
#include "cli/views.h"

#include <limits.h>
#include <string.h>

#include "banyan/buf.h"
#include "os/file.h"
#include "sink/sinks.h"

enum banyan_status views_list(const struct config *config, const struct banyan_domain *domain,
                              struct banyan_arena *arena, struct view **ret, size_t *ret_count,
                              struct banyan_error *err)
{
    size_t count = config->views_count > 0 ? config->views_count : domain->projection_count;
    struct view *views = banyan_arena_zalloc(arena, (count + 1) * sizeof(*views));
    for (size_t i = 0; i < count; i++) {
        if (config->views_count == 0) {
            views[i].projection = &domain->projections[i];
            views[i].name = views[i].projection->name;
            continue;
        }
        views[i].config = &config->views[i];
        views[i].name = config->views[i].name;
        enum banyan_status st = config_projection(&config->views[i], domain, &views[i].projection, err);
        if (st != BANYAN_OK)
            return st;
    }
    *ret = views;
    *ret_count = count;
    return BANYAN_OK;
}

enum banyan_status views_home(const struct config *config, const struct view *view, struct sink_home **ret,
                              struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    const char *store = view->config != NULL ? view->config->store : view->projection->in_memory ? "memory" : "sqlite";
    struct banyan_buf folder = BANYAN_BUF_INIT(PATH_MAX);
    if (strcmp(store, "memory") == 0)
        return sink_memory_home(view->projection, ret, err);
    if (strcmp(store, "postgres") == 0)
        return sink_postgres_home(view->projection, view->config->conninfo, view->config->schema, view->name, ret, err);
    if (strcmp(store, "redis") == 0)
        return sink_redis_home(view->projection, view->config->address, view->name, ret, err);
    banyan_buf_printf(&folder, "%s/views", config->data);
    enum banyan_status st = folder.overflow ? banyan_error_set(err, BANYAN_CONFIG, "data: the path is too long")
                                            : files->make_folder(files, folder.data, err);
    if (st == BANYAN_OK)
        st = sink_sqlite_home(view->projection, folder.data, view->name, ret, err);
    banyan_buf_release(&folder);
    return st;
}
