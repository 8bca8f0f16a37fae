/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading banyan.yaml through libcyaml, which reports unknown keys, wrong types and missing keys with line and column.
 *
 * libcyaml logs a failure as several lines, the innermost first; they are collected and become the error's message
 * (first line) and detail (place).  Values that the schema cannot judge are checked here, by name.
 */
#include "cli/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "banyan/buf.h"
#include "base/alloc.h"
#include "cli/config_int.h"

enum {
    CONFIG_VIEWS_MAX = 64,
    CONFIG_BYTES_MAX = 1 << 20,
    CONFIG_LOG_BYTES_MAX = 64 * 1024,
};

static const cyaml_schema_field_t source_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_source, name, 1, 63),
    CYAML_FIELD_STRING_PTR("conninfo", CYAML_FLAG_POINTER, struct config_source, conninfo, 0, 4096),
    CYAML_FIELD_STRING_PTR("slot", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_source, slot, 1, 63),
    CYAML_FIELD_STRING_PTR("publication", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_source, publication,
                           1, 63),
    CYAML_FIELD_UINT("backfill_chunk_rows", CYAML_FLAG_OPTIONAL, struct config_source, backfill_chunk_rows),
    CYAML_FIELD_UINT("backfill_workers", CYAML_FLAG_OPTIONAL, struct config_source, backfill_workers),
    CYAML_FIELD_UINT("heartbeat_seconds", CYAML_FLAG_OPTIONAL, struct config_source, heartbeat_seconds),
    CYAML_FIELD_UINT("lock_timeout_seconds", CYAML_FLAG_OPTIONAL, struct config_source, lock_timeout_seconds),
    CYAML_FIELD_UINT("spool_memory_mib", CYAML_FLAG_OPTIONAL, struct config_source, spool_memory_mib),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t view_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_view, name, 1, 63),
    CYAML_FIELD_STRING_PTR("projection", CYAML_FLAG_POINTER, struct config_view, projection, 1, 63),
    CYAML_FIELD_STRING_PTR("store", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_view, store, 1, 31),
    CYAML_FIELD_STRING_PTR("conninfo", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_view, conninfo, 0, 4096),
    CYAML_FIELD_STRING_PTR("schema", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_view, schema, 1, 63),
    CYAML_FIELD_STRING_PTR("address", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_view, address, 1, 255),
    CYAML_FIELD_UINT("keep_generations", CYAML_FLAG_OPTIONAL, struct config_view, keep_generations),
    CYAML_FIELD_UINT("rebuild_events_per_second", CYAML_FLAG_OPTIONAL, struct config_view, rebuild_events_per_second),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t view_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_view, view_fields),
};

static const cyaml_schema_field_t http_fields[] = {
    CYAML_FIELD_STRING_PTR("tokens_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_http, tokens_file, 1,
                           4096),
    CYAML_FIELD_STRING_PTR("certificate_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_http,
                           certificate_file, 1, 4096),
    CYAML_FIELD_STRING_PTR("key_file", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_http, key_file, 1, 4096),
    CYAML_FIELD_BOOL("insecure", CYAML_FLAG_OPTIONAL, struct config_http, insecure),
    CYAML_FIELD_UINT("connections_max", CYAML_FLAG_OPTIONAL, struct config_http, connections_max),
    CYAML_FIELD_UINT("subscribers_max", CYAML_FLAG_OPTIONAL, struct config_http, subscribers_max),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_STRING_PTR("domain", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, domain, 1, 63),
    CYAML_FIELD_STRING_PTR("data", CYAML_FLAG_POINTER, struct config, data, 1, 4096),
    CYAML_FIELD_STRING_PTR("listen", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, listen, 1, 255),
    CYAML_FIELD_MAPPING_PTR("http", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, http, http_fields),
    CYAML_FIELD_MAPPING_PTR("source", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, source, source_fields),
    CYAML_FIELD_MAPPING_PTR("gateway", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, gateway,
                            config_gateway_fields),
    CYAML_FIELD_MAPPING_PTR("rollout", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, rollout,
                            config_rollout_fields),
    CYAML_FIELD_SEQUENCE("views", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config, views, &view_schema, 0,
                         CONFIG_VIEWS_MAX),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, config_fields),
};

BANYAN_PRINTF_LIKE(3, 0)
static void log_collect(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct banyan_buf *log = context;
    char line[1024];
    if (level < CYAML_LOG_ERROR)
        return;
    (void)vsnprintf(line, sizeof(line), format, arguments); /* a cut line still tells */
    banyan_buf_add_text(log, line);
}

static cyaml_config_t cyaml_options(struct banyan_buf *log)
{
    return (cyaml_config_t){
        .log_fn = log_collect,
        .log_ctx = log,
        .mem_fn = cyaml_mem,
        .log_level = CYAML_LOG_ERROR,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

/* libcyaml says where the mapping's last good entry began; the key itself is the first of its name from there on. */
static void find_key(const struct banyan_buf *file, const char *key, size_t key_size, unsigned *line, unsigned *column)
{
    yaml_parser_t parser;
    yaml_token_t token;
    bool is_key = false, ended = false, found = false;
    if (yaml_parser_initialize(&parser) == 0)
        return;
    yaml_parser_set_input_string(&parser, (const unsigned char *)file->data, file->size);
    while (!ended && !found && yaml_parser_scan(&parser, &token) != 0) {
        ended = token.type == YAML_STREAM_END_TOKEN;
        found = is_key && token.type == YAML_SCALAR_TOKEN && token.start_mark.line + 1 >= *line &&
                token.data.scalar.length == key_size && memcmp(token.data.scalar.value, key, key_size) == 0;
        if (found) {
            *line = (unsigned)token.start_mark.line + 1;
            *column = (unsigned)token.start_mark.column + 1;
        }
        is_key = token.type == YAML_KEY_TOKEN;
        yaml_token_delete(&token);
    }
    yaml_parser_delete(&parser);
}

/* libcyaml's lines: "Load: Unexpected key: colour", then a backtrace "  in mapping field 'x' (line: 2, column: 3)". */
static enum banyan_status syntax_error(struct banyan_error *err, const char *path, cyaml_err_t code,
                                       const struct banyan_buf *file, const struct banyan_buf *log)
{
    static const char unexpected[] = "Unexpected key: ";
    const char *text = log->data == NULL ? "" : log->data;
    const char *what = strstr(text, "Load: ");
    const char *place = strstr(text, "(line:");
    unsigned line = 0, column = 0;
    what = what == NULL ? text : what + strlen("Load: ");
    size_t what_size = strcspn(what, "\n");
    if (place != NULL)
        (void)sscanf(place, "(line: %u, column: %u)", &line, &column); /* stays 0 where it is not there */
    else if ((place = strstr(text, "line ")) != NULL)
        (void)sscanf(place, "line %u column %u", &line, &column);
    if (what_size > strlen(unexpected) && strncmp(what, unexpected, strlen(unexpected)) == 0)
        find_key(file, what + strlen(unexpected), what_size - strlen(unexpected), &line, &column);
    if (what_size == 0) {
        what = cyaml_strerror(code);
        what_size = strlen(what);
    }
    if (line > 0)
        banyan_error_set(err, BANYAN_CONFIG, "%s:%u:%u: %.*s", path, line, column, (int)what_size, what);
    else
        banyan_error_set(err, BANYAN_CONFIG, "%s: %.*s", path, (int)what_size, what);
    banyan_error_hint(err, "docs/CONFIGURATION.md lists every key; `banyan init --dry-run` prints a valid file");
    return BANYAN_CONFIG;
}

static void default_text(char **value, const char *text)
{
    if (*value == NULL)
        *value = alloc_text(text);
}

static void default_number(uint32_t *value, uint32_t number)
{
    if (*value == 0)
        *value = number;
}

static enum banyan_status check_range(struct banyan_error *err, const char *path, const char *key, uint32_t value,
                                      uint32_t max)
{
    if (value <= max)
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_CONFIG, "%s: source.%s: %u is more than %u", path, key, value, max);
}

/* Slot names are restricted by the server: lower case letters, digits and underscore. */
static enum banyan_status check_slot_name(struct banyan_error *err, const char *path, const char *slot)
{
    if (slot[strspn(slot, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0')
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_CONFIG, "%s: source.slot: \"%s\" is not a slot name", path, slot);
    banyan_error_hint(err, "use lower case letters, digits and underscore");
    return BANYAN_CONFIG;
}

static enum banyan_status check_source(struct config_source *source, const char *path, struct banyan_error *err)
{
    default_text(&source->name, "legacy");
    default_text(&source->slot, "banyan");
    default_text(&source->publication, "banyan");
    default_number(&source->backfill_chunk_rows, 10000);
    default_number(&source->backfill_workers, 2);
    default_number(&source->heartbeat_seconds, 10);
    default_number(&source->lock_timeout_seconds, 10);
    default_number(&source->spool_memory_mib, 8);
    enum banyan_status st = check_slot_name(err, path, source->slot);
    if (st == BANYAN_OK && source->name[strspn(source->name, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
        st = banyan_error_set(err, BANYAN_CONFIG,
                              "%s: source.name: \"%s\": use lower case letters, digits and underscore", path,
                              source->name);
    if (st == BANYAN_OK)
        st = check_range(err, path, "backfill_chunk_rows", source->backfill_chunk_rows, 1000000);
    if (st == BANYAN_OK)
        st = check_range(err, path, "backfill_workers", source->backfill_workers, 16);
    if (st == BANYAN_OK)
        st = check_range(err, path, "heartbeat_seconds", source->heartbeat_seconds, 3600);
    if (st == BANYAN_OK)
        st = check_range(err, path, "lock_timeout_seconds", source->lock_timeout_seconds, 3600);
    if (st == BANYAN_OK)
        st = check_range(err, path, "spool_memory_mib", source->spool_memory_mib, 4096);
    return st;
}

static enum banyan_status check_views(struct config *config, const char *path, struct banyan_error *err)
{
    for (unsigned i = 0; i < config->views_count; i++) {
        struct config_view *view = &config->views[i];
        default_text(&view->name, view->projection);
        default_text(&view->store, "sqlite");
        default_text(&view->schema, "banyan");
        if (strcmp(view->store, "sqlite") != 0 && strcmp(view->store, "postgres") != 0 &&
            strcmp(view->store, "redis") != 0 && strcmp(view->store, "memory") != 0)
            return banyan_error_set(err, BANYAN_CONFIG,
                                    "%s: views: %s: store \"%s\" is none of sqlite, postgres, redis, memory", path,
                                    view->name, view->store);
        if (view->keep_generations > 8)
            return banyan_error_set(err, BANYAN_CONFIG, "%s: views: %s: keep_generations is at most 8", path,
                                    view->name);
        if (strcmp(view->store, "redis") == 0 && view->address == NULL)
            return banyan_error_set(err, BANYAN_CONFIG, "%s: views: %s: store redis needs address", path, view->name);
        if (strcmp(view->store, "postgres") == 0 && view->conninfo == NULL)
            return banyan_error_set(err, BANYAN_CONFIG, "%s: views: %s: store postgres needs conninfo", path,
                                    view->name);
        if (view->name[strspn(view->name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] != '\0')
            return banyan_error_set(err, BANYAN_CONFIG,
                                    "%s: views: name \"%s\": use lower case letters, digits, underscore and dash", path,
                                    view->name);
        for (unsigned j = 0; j < i; j++)
            if (strcmp(view->name, config->views[j].name) == 0)
                return banyan_error_set(err, BANYAN_CONFIG, "%s: views: two views are named \"%s\"", path, view->name);
    }
    return BANYAN_OK;
}

/* A relative path belongs beside the configuration, wherever the command is started. */
static void resolve(char **name, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (*name == NULL || (*name)[0] == '/' || slash == NULL)
        return;
    struct banyan_buf full = BANYAN_BUF_INIT(PATH_MAX * 2);
    banyan_buf_add(&full, path, (size_t)(slash - path) + 1);
    banyan_buf_add_text(&full, *name);
    free(*name);
    *name = alloc_text(full.data);
    banyan_buf_release(&full);
}

static enum banyan_status check_http(struct config *config, const char *path, struct banyan_error *err)
{
    if (config->http == NULL)
        config->http = alloc_zeroed(1, sizeof(*config->http));
    resolve(&config->http->tokens_file, path);
    resolve(&config->http->certificate_file, path);
    resolve(&config->http->key_file, path);
    if ((config->http->certificate_file == NULL) != (config->http->key_file == NULL))
        return banyan_error_set(err, BANYAN_CONFIG, "%s: http: certificate_file and key_file belong together", path);
    if (config->http->connections_max > 1000000 || config->http->subscribers_max > 1000000)
        return banyan_error_set(err, BANYAN_CONFIG, "%s: http: a maximum is larger than 1000000", path);
    return BANYAN_OK;
}

/* Only a legacy database and read models need one. */
static enum banyan_status check_domain(const struct config *config, const char *path, struct banyan_error *err)
{
    if (config->domain != NULL || (config->source == NULL && config->views_count == 0))
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_CONFIG, "%s: domain is missing, but there is %s", path,
                     config->source != NULL ? "a source" : "a view");
    banyan_error_hint(err, "a domain maps legacy tables and has the read models; a store alone needs none");
    return BANYAN_CONFIG;
}

static enum banyan_status read_file(const char *path, struct banyan_buf *ret, struct banyan_error *err)
{
    char block[8192];
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        banyan_error_set(err, BANYAN_NOT_FOUND, "there is no %s", path);
        banyan_error_hint(err, "`banyan init` writes one; --config FILE names another");
        return BANYAN_NOT_FOUND;
    }
    if (fd < 0)
        return banyan_error_errno(err, errno, "cannot open %s", path);
    while ((got = read(fd, block, sizeof(block))) > 0)
        banyan_buf_add(ret, block, (size_t)got);
    int code = errno;
    (void)close(fd); /* nothing was written */
    if (got < 0)
        return banyan_error_errno(err, code, "cannot read %s", path);
    if (ret->overflow)
        return banyan_error_set(err, BANYAN_CONFIG, "%s is larger than %d bytes", path, CONFIG_BYTES_MAX);
    return BANYAN_OK;
}

enum banyan_status config_load(const char *path, struct config **ret, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(CONFIG_BYTES_MAX);
    struct banyan_buf log = BANYAN_BUF_INIT(CONFIG_LOG_BYTES_MAX);
    cyaml_config_t options = cyaml_options(&log);
    struct config *config = NULL;
    enum banyan_status st = read_file(path, &text, err);
    if (st != BANYAN_OK)
        goto out;
    cyaml_err_t code = cyaml_load_data((const uint8_t *)(text.data == NULL ? "" : text.data), text.size, &options,
                                       &config_schema, (cyaml_data_t **)&config, NULL);
    if (code != CYAML_OK) {
        config = NULL;
        st = syntax_error(err, path, code, &text, &log);
        goto out;
    }
    default_text(&config->listen, "127.0.0.1:7070");
    resolve(&config->data, path);
    st = check_http(config, path, err);
    if (st == BANYAN_OK)
        st = check_domain(config, path, err);
    if (st == BANYAN_OK && config->source != NULL)
        st = check_source(config->source, path, err);
    if (st == BANYAN_OK)
        st = check_views(config, path, err);
    if (st == BANYAN_OK)
        st = config_rollout_check(config, path, err);
    if (st != BANYAN_OK)
        goto out;
    *ret = config;
    config = NULL;
out:
    config_free(config);
    banyan_buf_release(&log);
    banyan_buf_release(&text);
    return st;
}

void config_free(struct config *config)
{
    cyaml_config_t options = cyaml_options(NULL);
    options.log_fn = NULL;
    if (config != NULL)
        (void)cyaml_free(&options, &config_schema, config, 0); /* cannot fail for what it loaded */
}

void config_legacy_options(const struct config *config, const struct banyan_domain *domain, struct legacy_options *ret)
{
    const struct config_source *source = config->source;
    *ret = (struct legacy_options){
        .domain = domain,
        .name = source->name,
        .conninfo = source->conninfo,
        .slot = source->slot,
        .publication = source->publication,
        .chunk_rows = source->backfill_chunk_rows,
        .workers = source->backfill_workers,
        .heartbeat_us = (int64_t)source->heartbeat_seconds * 1000000,
        .lock_timeout_us = (int64_t)source->lock_timeout_seconds * 1000000,
        .spool_memory_bytes = (uint64_t)source->spool_memory_mib << 20,
    };
}

enum banyan_status config_address(const char *key, const char *listen, char **ret_address, int *ret_port,
                                  struct banyan_error *err)
{
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    long port = colon == NULL ? -1 : strtol(colon + 1, &end, 10);
    if (colon == NULL || colon == listen || end == colon + 1 || *end != '\0' || port < 0 || port > 65535) {
        banyan_error_set(err, BANYAN_CONFIG, "%s: \"%s\" is not address:port", key, listen);
        banyan_error_hint(err, "for example 127.0.0.1:7070");
        return BANYAN_CONFIG;
    }
    size_t size = (size_t)(colon - listen);
    bool bracketed = size > 2 && listen[0] == '[' && listen[size - 1] == ']';
    char *address = alloc_zeroed(size + 1, 1);
    memcpy(address, bracketed ? listen + 1 : listen, bracketed ? size - 2 : size);
    *ret_address = address;
    *ret_port = (int)port;
    return BANYAN_OK;
}

enum banyan_status config_listen(const struct config *config, char **ret_address, int *ret_port,
                                 struct banyan_error *err)
{
    return config_address("listen", config->listen, ret_address, ret_port, err);
}

enum banyan_status config_projection(const struct config_view *view, const struct banyan_domain *domain,
                                     const struct banyan_projection **ret, struct banyan_error *err)
{
    for (size_t i = 0; i < domain->projection_count; i++) {
        if (strcmp(domain->projections[i].name, view->projection) == 0) {
            *ret = &domain->projections[i];
            return BANYAN_OK;
        }
    }
    banyan_error_set(err, BANYAN_CONFIG, "views: domain %s has no projection \"%s\"", domain->name, view->projection);
    banyan_error_hint(err, "it has: %s", domain->projection_count > 0 ? domain->projections[0].name : "none");
    return BANYAN_CONFIG;
}
