/* SPDX-License-Identifier: Apache-2.0 */
/* /processes: what the process managers of the domain do, what they put aside, and trying it again. */
#include <inttypes.h>
#include <string.h>

#include "http/http_int.h"
#include "process/process.h"

enum {
    ASIDE_LISTED_MAX = 100, /* instances of one process in an answer */
};

static void add_aside(struct banyan_buf *ret, struct http_call *call, struct process *process)
{
    struct process_aside *aside;
    size_t count;
    process_list_aside(process, ASIDE_LISTED_MAX, &call->arena, &aside, &count);
    banyan_buf_add_text(ret, ",\"aside\":[");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(ret, i > 0 ? ",{\"key\":" : "{\"key\":");
        banyan_buf_add_json(ret, aside[i].key);
        banyan_buf_printf(ret, ",\"position\":%" PRIu64 ",\"events\":%" PRIu64 ",\"error\":", aside[i].position.value,
                          aside[i].events);
        banyan_buf_add_json(ret, aside[i].error);
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_char(ret, ']');
}

static void add_process(struct banyan_buf *ret, struct http_call *call, struct process *process)
{
    struct process_status status;
    process_status(process, &status);
    banyan_buf_add_text(ret, "{\"name\":");
    banyan_buf_add_json(ret, banyan_str_of(process_name(process)));
    banyan_buf_printf(ret, ",\"state\":\"%s\"",
                      status.state == PROCESS_CATCHING_UP ? "catching_up" : process_state_name(status.state));
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"position", status.position.value}, {"tail", status.tail.value},       {"seen", status.seen},
        {"reactions", status.reactions},     {"events", status.events},         {"commands", status.commands},
        {"refused", status.refused},         {"conflicts", status.conflicts},   {"wakes", status.wakes},
        {"timers", status.timers},           {"instances_aside", status.aside}, {"events_aside", status.held},
    };
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
        banyan_buf_printf(ret, ",\"%s\":%" PRIu64, figures[i].name, figures[i].value);
    banyan_buf_add_text(ret, ",\"next_wake\":");
    http_add_time(ret, status.next_wake);
    add_aside(ret, call, process);
    banyan_buf_add_text(ret, ",\"error\":");
    if (status.error.status == BANYAN_OK)
        banyan_buf_add_text(ret, "null");
    else
        banyan_buf_add_json(ret, banyan_str_of(status.error.message));
    banyan_buf_add_char(ret, '}');
}

void http_process_list(struct http_call *call)
{
    static const char *const none[] = {NULL};
    const struct http_options *options = &call->server->options;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    if (!http_only(call, none))
        return;
    banyan_buf_add_text(&body, "{\"processes\":[");
    for (size_t i = 0; i < options->process_count; i++) {
        banyan_buf_add_text(&body, i > 0 ? "," : "");
        add_process(&body, call, options->processes[i]);
    }
    banyan_buf_add_text(&body, "]}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

void http_process_retry(struct http_call *call)
{
    static const char *const none[] = {NULL};
    const struct http_options *options = &call->server->options;
    struct banyan_buf body = BANYAN_BUF_INIT(4096);
    size_t at = 0;
    if (!http_only(call, none))
        return;
    while (at < options->process_count &&
           !banyan_str_equal(banyan_str_of(process_name(options->processes[at])), call->segments[1]))
        at++;
    if (at == options->process_count) {
        http_problem(call, 404, NULL, "there is no process %.*s", (int)call->segments[1].size, call->segments[1].data);
        return;
    }
    banyan_buf_add_text(&body, "{\"process\":");
    banyan_buf_add_json(&body, call->segments[1]);
    banyan_buf_printf(&body, ",\"instances_aside\":%" PRIu64 "}\n", process_retry(options->processes[at]));
    http_reply(call, 202, "application/json", &body);
    banyan_buf_release(&body);
}
