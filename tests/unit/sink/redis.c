/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis sink: the common body, and what is particular to that server, a real one. */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "body.h"
#include "sink/sinks.h"
#include "support/redis_server.h"
#include "support/test_domain.h"

static struct redis_server server;
static char view[64];
static int views;
static unsigned left; /* commands until the process dies; 0: never */

/* hiredis's sender, counted: this program's own symbol comes before that of the library.  What was queued is sent at
 * once then, so that a death falls between any two commands at the server, too. */
int redisAppendCommandArgv(redisContext *context, int count, const char **arguments, const size_t *sizes)
{
    int (*real)(redisContext *, int, const char **, const size_t *) =
        (int (*)(redisContext *, int, const char **, const size_t *))dlsym(RTLD_NEXT, "redisAppendCommandArgv");
    int done = 0;
    if (left > 0 && --left == 0)
        (void)raise(SIGKILL);
    int result = real(context, count, arguments, sizes);
    while (left > 0 && result == REDIS_OK && !done)
        result = redisBufferWrite(context, &done);
    return result;
}

static void die_at(unsigned at)
{
    left = at;
}

static void clear_place(void)
{
    snprintf(view, sizeof(view), "view's %d", ++views);
}

static enum banyan_status open_home(const struct banyan_projection *projection, struct sink_home **ret,
                                    struct banyan_error *err)
{
    return sink_redis_home(projection, server.address, view, ret, err);
}

static redisReply *command(const char *format, ...)
{
    va_list arguments;
    redisContext *context = redisConnect("127.0.0.1", server.port);
    assert_non_null(context);
    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    assert_non_null(reply);
    redisFree(context);
    return reply;
}

static void rows_are_hashes_that_people_can_read(void **state)
{
    struct test_account row = {.id = -7,
                               .owner = BANYAN_STR("ann"),
                               .balance = {1250, 2},
                               .credit = banyan_decimal_null(),
                               .opened_at = {0},
                               .closed_at = {BANYAN_TIME_NULL}};
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, &(struct sink_row){0, -7, &row, UINT64_MAX}, 1, 1, NULL), BANYAN_OK);
    redisReply *reply = command("HMGET banyan:{%s}:1:accounts:-7 owner balance closed_at", view);
    assert_string_equal(reply->element[0]->str, "ann");
    assert_string_equal(reply->element[1]->str, "12.50");
    assert_int_equal(reply->element[2]->type, REDIS_REPLY_NIL);
    freeReplyObject(reply);
    sink_close(sink);
    sink_home_close(home);
}

static void dropped_generations_leave_nothing(void **state)
{
    struct test_account row = {.id = 1,
                               .owner = BANYAN_STR("ann"),
                               .balance = {0, 2},
                               .credit = banyan_decimal_null(),
                               .closed_at = {BANYAN_TIME_NULL}};
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, &(struct sink_row){0, 1, &row, UINT64_MAX}, 1, 1, NULL), BANYAN_OK);
    redisReply *reply = command("KEYS banyan:{%s}:1:*", view);
    assert_int_equal(reply->elements, 6); /* meta, epoch, a row, keys, two lists */
    freeReplyObject(reply);
    assert_int_equal(home->ops->drop(home, 1, NULL), BANYAN_OK);
    reply = command("KEYS banyan:{%s}:1:*", view);
    assert_int_equal(reply->elements, 0);
    freeReplyObject(reply);
    sink_close(sink);
    sink_home_close(home);
}

static void a_lost_connection_is_made_again(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    clear_place();
    struct sink_home *home = body_home();
    struct sink *sink = body_claim(home, 0, NULL);
    assert_int_equal(body_flush(sink, NULL, 0, 5, NULL), BANYAN_OK);
    freeReplyObject(command("CLIENT KILL TYPE normal SKIPME yes"));
    assert_int_equal(banyan_status_class(body_flush(sink, NULL, 0, 6, &err)), BANYAN_CLASS_RETRY);
    assert_int_equal(sink->ops->checkpoint(sink, &checkpoint, NULL), BANYAN_OK);
    assert_int_equal(checkpoint.position.value, 5);
    assert_int_equal(body_flush(sink, NULL, 0, 6, NULL), BANYAN_OK);
    sink_close(sink);
    sink_home_close(home);
}

static void a_search_is_refused_with_a_hint(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct sink_view *asked = NULL;
    clear_place();
    struct sink_home *home = body_home();
    assert_int_equal(home->ops->view(home, &asked, NULL), BANYAN_OK);
    assert_int_equal(asked->ops->search(asked, &(struct sink_search){.limit = 1}, &checkpoint, NULL, NULL, &err),
                     BANYAN_INVALID);
    assert_true(err.hint[0] != '\0');
    sink_view_close(asked);
    sink_home_close(home);
}

static void a_server_that_is_not_there_is_unavailable(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_home *home = NULL;
    assert_int_equal(sink_redis_home(body_projection(), "127.0.0.1:1", "v", &home, &err), BANYAN_UNAVAILABLE);
    assert_int_equal(sink_redis_home(body_projection(), "/nonexistent/redis.sock", "v", &home, NULL),
                     BANYAN_UNAVAILABLE);
    assert_int_equal(sink_redis_home(body_projection(), "rediss://h", "v", &home, NULL), BANYAN_INVALID);
    assert_null(home);
}

int main(void)
{
    static const struct body_place place = {
        .home = open_home, .clear = clear_place, .die_at = die_at, .no_snapshots = true};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_hashes_that_people_can_read),
        cmocka_unit_test(dropped_generations_leave_nothing),
        cmocka_unit_test(a_lost_connection_is_made_again),
        cmocka_unit_test(a_search_is_refused_with_a_hint),
        cmocka_unit_test(a_server_that_is_not_there_is_unavailable),
    };
    if (!redis_server_start(&server))
        return 1;
    int failed = body_run(&place, tests, sizeof(tests) / sizeof(tests[0]));
    redis_server_stop(&server);
    return failed;
}
