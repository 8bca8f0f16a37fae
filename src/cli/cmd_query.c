/* SPDX-License-Identifier: Apache-2.0 */
/* banyan query VIEW …: a row, a list, a search or a named question of a read model, asked of a running `banyan serve`.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/table.h"

enum {
    OPTION_TABLE = 0x900,
    OPTION_SEARCH,
    OPTION_QUERY,
    OPTION_LIMIT,
    PATH_MAX_BYTES = 16 * 1024,
    PARAMETERS_MAX = 32,
    COLUMNS_MAX = 64,
    CELL_TEXT_MAX = 60, /* longer ones are cut in the table; --json has them whole */
};

struct query_command {
    struct options_common common;
    const char *view, *key, *table, *search, *query;
    uint64_t limit;
    const char *parameters[PARAMETERS_MAX]; /* "column=value" */
    size_t parameter_count;
};

static const struct argp_option query_option_list[] = {
    {"table", OPTION_TABLE, "NAME", 0, "Another table of the view than its first", 0},
    {"search", OPTION_SEARCH, "WORDS", 0, "Rows that have all the words, best first", 0},
    {"query", OPTION_QUERY, "NAME", 0, "A question that the domain has named; its arguments as NAME=VALUE", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N rows (default: 100)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child query_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_query(int key, char *argument, struct argp_state *state)
{
    struct query_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_TABLE:
        command->table = argument;
        return 0;
    case OPTION_SEARCH:
        command->search = argument;
        return 0;
    case OPTION_QUERY:
        command->query = argument;
        return 0;
    case OPTION_LIMIT:
        command->limit = options_number(state, "--limit", argument, 1, 1000);
        return 0;
    case ARGP_KEY_ARG:
        if (command->view == NULL)
            command->view = argument;
        else if (strchr(argument, '=') != NULL && command->parameter_count < PARAMETERS_MAX)
            command->parameters[command->parameter_count++] = argument;
        else if (command->key == NULL && strchr(argument, '=') == NULL)
            command->key = argument;
        else
            argp_error(state, "too many arguments");
        return 0;
    case ARGP_KEY_END:
        if (command->view == NULL)
            argp_error(state, "which view? `banyan projection list` shows them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- asking ---- */

static void add_parameter(struct banyan_buf *path, bool *first, const char *name, size_t name_size, const char *value)
{
    char copy[256];
    (void)snprintf(copy, sizeof(copy), "%.*s", (int)name_size, name); /* a longer one is no column */
    banyan_buf_add_char(path, *first ? '?' : '&');
    client_add_escaped(path, copy);
    banyan_buf_add_char(path, '=');
    client_add_escaped(path, value);
    *first = false;
}

static void add_path(const struct query_command *command, struct banyan_buf *path)
{
    char limit[32];
    bool first = true;
    banyan_buf_add_text(path, "/views/");
    client_add_escaped(path, command->view);
    if (command->table != NULL) {
        banyan_buf_add_text(path, "/tables/");
        client_add_escaped(path, command->table);
    }
    if (command->query != NULL) {
        banyan_buf_add_text(path, "/queries/");
        client_add_escaped(path, command->query);
    } else if (command->search != NULL) {
        banyan_buf_add_text(path, "/search");
        add_parameter(path, &first, "q", 1, command->search);
    } else if (command->key != NULL) {
        banyan_buf_add_char(path, '/');
        client_add_escaped(path, command->key);
    }
    for (size_t i = 0; i < command->parameter_count; i++) {
        const char *equal = strchr(command->parameters[i], '=');
        add_parameter(path, &first, command->parameters[i], (size_t)(equal - command->parameters[i]), equal + 1);
    }
    (void)snprintf(limit, sizeof(limit), "%" PRIu64, command->limit);
    if (command->limit != 0)
        add_parameter(path, &first, "limit", 5, limit);
}

/* ---- printing ---- */

/* A value as people read it; cut where it is long. */
static void cell(const json_t *value, char ret[CELL_TEXT_MAX + 4])
{
    char *text = NULL;
    if (json_is_null(value)) {
        ret[0] = '\0';
        return;
    }
    if (!json_is_string(value))
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const char *source = json_is_string(value) ? json_string_value(value) : text == NULL ? "" : text;
    size_t size = strlen(source), cut = size > CELL_TEXT_MAX ? CELL_TEXT_MAX : size;
    while (cut < size && cut > 0 && ((unsigned char)source[cut] & 0xc0) == 0x80)
        cut--; /* not within a character */
    (void)snprintf(ret, CELL_TEXT_MAX + 4, "%.*s%s", (int)cut, source, cut < size ? "…" : "");
    free(text);
}

static void print_rows(const json_t *items)
{
    const char *columns[COLUMNS_MAX];
    char(*cells)[CELL_TEXT_MAX + 4] = NULL;
    size_t count = 0, i;
    const char *name;
    json_t *value, *row;
    json_object_foreach (json_array_get(items, 0), name, value)
        if (count < COLUMNS_MAX)
            columns[count++] = name;
    if (count == 0) {
        puts("no rows");
        return;
    }
    struct table *table = table_new("rows", columns, count);
    cells = calloc(count, sizeof(*cells));
    const char **texts = calloc(count, sizeof(*texts));
    json_array_foreach (items, i, row) {
        for (size_t c = 0; c < count && cells != NULL && texts != NULL; c++) {
            cell(json_object_get(row, columns[c]), cells[c]);
            texts[c] = cells[c];
        }
        if (cells != NULL && texts != NULL)
            table_add(table, texts);
    }
    table_print(table, stdout, false);
    table_free(table);
    free(cells);
    free(texts);
}

static void print_row(const json_t *row)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%-20s %s\n", name, json_is_string(value) ? json_string_value(value) : text == NULL ? "" : text);
        free(text);
    }
}

static void print_answer(const struct query_command *command, const json_t *answer)
{
    const json_t *items = json_object_get(answer, "items");
    if (command->common.json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT); /* to standard output: nobody else to tell */
        putchar('\n');
    } else if (items == NULL) {
        print_row(answer);
    } else {
        print_rows(items);
        if (json_object_get(answer, "next") != NULL || json_object_get(answer, "next_skip") != NULL)
            puts("there are more: after=… or skip=… of --json goes on");
    }
}

enum banyan_status cmd_query(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct query_command command = {.common = OPTIONS_COMMON_INIT};
    const struct argp argp = {query_option_list,
                              parse_query,
                              "VIEW [KEY] [COLUMN=VALUE...]",
                              "Ask a read model of a running `banyan serve`: a row by its key, a list by a column, a "
                              "search, or a question that the domain has named.",
                              query_children,
                              NULL,
                              NULL};
    struct banyan_buf path = BANYAN_BUF_INIT(PATH_MAX_BYTES);
    struct config *config = NULL;
    json_t *answer = NULL;

    (void)cli;
    options_parse(&argp, "banyan query", argc, argv, &command);
    add_path(&command, &path);
    enum banyan_status st = config_load(command.common.config, &config, err);
    if (st == BANYAN_OK && path.overflow)
        st = banyan_error_set(err, BANYAN_USAGE, "the arguments are too long");
    if (st == BANYAN_OK)
        st = client_get(config, path.data, &answer, err);
    if (st == BANYAN_OK)
        print_answer(&command, answer);
    json_decref(answer);
    config_free(config);
    banyan_buf_release(&path);
    return st;
}
