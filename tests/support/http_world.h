/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server over an empty store, without any domain; it can go away and come back.  For one test executable: setup and
 * teardown of cmocka are http_world_open() and http_world_close().
 */
#ifndef SUPPORT_HTTP_WORLD_H
#define SUPPORT_HTTP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/server.h"
#include "support/test_domain.h"

static struct {
    char *folder;
    char path[256], url[64];
    struct store *store;
    struct http_server *server;
    int port; /* 0: any; the same again after the first start */
    unsigned subscribers_max;
} world;

static void must_at(int line, enum banyan_status st, const struct banyan_error *err)
{
    if (st != BANYAN_OK)
        fail_msg("line %d: %s: %s", line, banyan_status_name(st), err->message);
}

#define must(st, err) must_at(__LINE__, st, err)

static void http_world_start(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct http_options options = {.address = "127.0.0.1", .version = "1", .port = world.port};
    must(store_open(&(struct store_options){.folder = world.path}, &world.store, &err), &err);
    options.store = world.store;
    options.subscribers_max = world.subscribers_max;
    must(http_start(&options, &world.server, &err), &err);
    world.port = http_port(world.server);
    snprintf(world.url, sizeof(world.url), "http://127.0.0.1:%d", world.port);
}

static void http_world_stop(void)
{
    http_stop(world.server);
    store_close(world.store);
}

static int http_world_open(void **state)
{
    (void)state;
    world.folder = test_folder_new();
    world.port = 0;
    snprintf(world.path, sizeof(world.path), "%s/store", world.folder);
    http_world_start();
    return 0;
}

static int http_world_close(void **state)
{
    (void)state;
    http_world_stop();
    test_folder_remove(world.folder);
    return 0;
}

#endif
