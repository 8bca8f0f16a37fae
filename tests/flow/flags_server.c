/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flags_server FOLDER   the flags of the trading domain over a store in FOLDER, for a client in another language.
 *
 * Prints its URL; then does what each line of the standard input says, and prints "done":
 *   share NEW READ   set the shares (hundredths of a percent)
 *   own MODE         change the ownership: legacy, shared, closing, banyan
 *   create KEY       an order becomes Banyan's
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/server.h"
#include "rollout/owner.h"
#include "rollout/routing.h"
#include "trading/trading.h"

static void must(enum banyan_status st, const struct banyan_error *err)
{
    if (st == BANYAN_OK)
        return;
    (void)fprintf(stderr, "flags_server: %s\n", err->message);
    exit(1);
}

static void own(struct owner *owner, const char *name)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum owner_mode mode = OWNER_LEGACY;
    uint64_t epoch;
    while (mode < OWNER_BANYAN && strcmp(owner_mode_name(mode), name) != 0)
        mode++;
    (void)owner_mode(owner, &epoch);
    must(owner_change(owner, epoch, mode, "asked for", &epoch, &err), &err);
}

static void create(struct owner *owner, const char *key)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_condition condition;
    must(owner_permit(owner, BANYAN_STR("order"), banyan_str_of(key), true, &arena, &condition, &err), &err);
    banyan_arena_release(&arena);
}

int main(int argc, char **argv)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store *store;
    struct owner *owner;
    struct http_server *server;
    struct routing_decisions decisions = {0};
    char line[128], word[32];
    if (argc != 2)
        return 2;
    must(store_open(&(struct store_options){.folder = argv[1]}, &store, &err), &err);
    must(owner_open(&(struct owner_options){.domain = &banyan_domain_trading, .source = "oms", .store = store}, &owner,
                    &err),
         &err);
    struct routing *routing = routing_new(1);
    must(http_start(&(struct http_options){.address = "127.0.0.1",
                                           .version = "1",
                                           .domain = &banyan_domain_trading,
                                           .store = store,
                                           .routing = routing,
                                           .owner = owner},
                    &server, &err),
         &err);
    (void)printf("http://127.0.0.1:%d\n", http_port(server));
    (void)fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "share %" SCNu32 " %" SCNu32, &decisions.new_share, &decisions.read_share) == 2)
            routing_set(routing, &decisions);
        else if (sscanf(line, "own %31s", word) == 1)
            own(owner, word);
        else if (sscanf(line, "create %31s", word) == 1)
            create(owner, word);
        (void)printf("done\n");
        (void)fflush(stdout);
    }
    http_stop(server);
    routing_free(routing);
    owner_close(owner);
    store_close(store);
    return 0;
}
