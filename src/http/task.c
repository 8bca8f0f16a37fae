/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: what is rare and may wait for a disk or a server (schemas, projections) is done by a thread of its own, one
 * after the other, so that the loop never waits.  A client that goes away does not stop its task.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "http/http_int.h"

struct http_tasks {
    struct http_server *server;
    struct event *wake;
    struct os_thread thread;
    struct {
        pthread_mutex_t lock; /* guards the rest */
        pthread_cond_t more;
        struct http_task *queue, **queue_end, *finished;
        bool stop;
    } shared;
};

static void task_free(struct http_task *task)
{
    if (task->release != NULL)
        task->release(task);
    banyan_buf_release(&task->body);
    free(task);
}

static void tasks_main(void *argument)
{
    struct http_tasks *tasks = argument;
    (void)pthread_mutex_lock(&tasks->shared.lock);
    while (!tasks->shared.stop) {
        struct http_task *task = tasks->shared.queue;
        if (task == NULL) {
            (void)os_cond_wait(&tasks->shared.more, &tasks->shared.lock, 1000 * 1000);
            continue;
        }
        tasks->shared.queue = task->next;
        if (tasks->shared.queue == NULL)
            tasks->shared.queue_end = &tasks->shared.queue;
        (void)pthread_mutex_unlock(&tasks->shared.lock);
        task->status = task->run(tasks->server, task, &task->err);
        (void)pthread_mutex_lock(&tasks->shared.lock);
        task->next = tasks->shared.finished;
        tasks->shared.finished = task;
        event_active(tasks->wake, EV_TIMEOUT, 0);
    }
    (void)pthread_mutex_unlock(&tasks->shared.lock);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct http_tasks *tasks = context;
    (void)fd, (void)what;
    (void)pthread_mutex_lock(&tasks->shared.lock);
    struct http_task *task = tasks->shared.finished, *next;
    tasks->shared.finished = NULL;
    (void)pthread_mutex_unlock(&tasks->shared.lock);
    for (; task != NULL; task = next) {
        next = task->next;
        if (task->call != NULL) {
            task->call->gone = NULL;
            if (task->status == BANYAN_OK)
                task->answer(task->call, task);
            else
                http_failure(task->call, &task->err);
        }
        task_free(task);
    }
}

static void on_gone(struct http_call *call)
{
    ((struct http_task *)call->context)->call = NULL;
}

void http_task_submit(struct http_call *call, struct http_task *task)
{
    struct http_tasks *tasks = call->server->tasks;
    task->call = call;
    task->body = call->body;
    call->server->body_bytes -= call->body.capacity;
    call->body = (struct banyan_buf)BANYAN_BUF_INIT(0);
    call->context = task;
    call->gone = on_gone;
    (void)pthread_mutex_lock(&tasks->shared.lock);
    *tasks->shared.queue_end = task;
    tasks->shared.queue_end = &task->next;
    (void)pthread_cond_signal(&tasks->shared.more);
    (void)pthread_mutex_unlock(&tasks->shared.lock);
}

enum banyan_status http_tasks_open(struct http_server *server, struct banyan_error *err)
{
    struct http_tasks *tasks = alloc_zeroed(1, sizeof(*tasks));
    server->tasks = tasks;
    tasks->server = server;
    tasks->shared.queue_end = &tasks->shared.queue;
    (void)pthread_mutex_init(&tasks->shared.lock, NULL);
    os_cond_init(&tasks->shared.more);
    tasks->wake = event_new(server->base, -1, 0, on_wake, tasks);
    if (tasks->wake == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event");
    os_thread_start(&tasks->thread, "http-tasks", tasks_main, tasks);
    return BANYAN_OK;
}

void http_tasks_close(struct http_server *server)
{
    struct http_tasks *tasks = server->tasks;
    if (tasks == NULL)
        return;
    (void)pthread_mutex_lock(&tasks->shared.lock);
    tasks->shared.stop = true;
    (void)pthread_cond_broadcast(&tasks->shared.more);
    (void)pthread_mutex_unlock(&tasks->shared.lock);
    os_thread_join(&tasks->thread);
    struct http_task *const lists[] = {tasks->shared.queue, tasks->shared.finished};
    for (size_t i = 0; i < 2; i++) {
        for (struct http_task *task = lists[i], *next; task != NULL; task = next) {
            next = task->next;
            if (task->call != NULL)
                task->call->gone = NULL; /* its connection ends next */
            task_free(task);
        }
    }
    if (tasks->wake != NULL)
        event_free(tasks->wake);
    (void)pthread_cond_destroy(&tasks->shared.more);
    (void)pthread_mutex_destroy(&tasks->shared.lock);
    free(tasks);
    server->tasks = NULL;
}
