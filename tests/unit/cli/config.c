/* SPDX-License-Identifier: Apache-2.0 */
/* banyan.yaml: defaults, what is refused, and the place that an error names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/config.h"

static char path[] = "/tmp/banyan-config-XXXXXX";

static enum banyan_status load(const char *text, struct config **ret, struct banyan_error *err)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    *err = (struct banyan_error)BANYAN_ERROR_INIT;
    return config_load(path, ret, err);
}

/* *text* is refused with CONFIG, a message that contains *part*, and the line *where* (0: none). */
static void refused(const char *text, const char *part, unsigned where)
{
    struct banyan_error err;
    struct config *config = NULL;
    char place[200];
    assert_int_equal(load(text, &config, &err), BANYAN_CONFIG);
    assert_null(config);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" does not contain \"%s\"", err.message, part);
    (void)snprintf(place, sizeof(place), "%s:%u:", path, where); /* fits */
    if (where > 0 && strncmp(err.message, place, strlen(place)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", err.message, place);
}

static void test_defaults(void **state)
{
    struct banyan_error err;
    struct config *config = NULL;
    struct legacy_options options;
    (void)state;
    assert_int_equal(load("domain: d\ndata: folder\nsource:\n  conninfo: 'host=x'\n", &config, &err), BANYAN_OK);
    assert_string_equal(config->listen, "127.0.0.1:7070");
    assert_string_equal(config->data, "/tmp/folder"); /* relative to the file */
    assert_int_equal(config->views_count, 0);
    config_legacy_options(config, NULL, &options);
    assert_string_equal(options.name, "legacy");
    assert_string_equal(options.slot, "banyan");
    assert_int_equal(options.chunk_rows, 10000);
    assert_int_equal(options.heartbeat_us, 10000000);
    config_free(config);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("domain: d\ndata: f\ncolour: red\n", "colour", 3);
    refused("domain: d\ndata: f\nsource:\n  conninfo: x\n  name: s\n  colour: red\nlisten: 'a:1'\n", "colour", 6);
    refused("domain: d\ndata: f\nviews:\n  - projection: p\nname: top\n", "name", 5);
    refused("domain: d\n", "data", 0);
    refused("domain: d\ndata: f\nsource:\n  conninfo: x\n  backfill_workers: many\n", "many", 5);
    refused("domain: d\ndata: f\nsource:\n  conninfo: x\n  backfill_workers: 17\n", "backfill_workers", 0);
    refused("domain: d\ndata: f\nsource:\n  conninfo: x\n  slot: \"x'; DROP TABLE y\"\n", "slot", 0);
    refused("domain: d\ndata: f\nsource:\n  conninfo: x\n  name: 'A b'\n", "name", 0);
    refused("domain: d\ndata: f\nviews:\n  - projection: p\n    store: tape\n", "tape", 0);
    refused("domain: d\ndata: f\nviews:\n  - projection: p\n    store: postgres\n", "conninfo", 0);
    refused("domain: d\ndata: f\nviews:\n  - projection: p\n  - projection: p\n", "two views", 0);
    refused("domain: d\ndata: f\nviews:\n  - projection: p\n    name: ../../etc\n", "name", 0);
    refused("domain: [\n", "", 0);
}

static void test_no_file(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct config *config = NULL;
    (void)state;
    assert_int_equal(config_load("/nowhere/banyan.yaml", &config, &err), BANYAN_NOT_FOUND);
    assert_true(strlen(err.hint) > 0);
}

static void test_listen(void **state)
{
    static const struct {
        const char *text, *address;
        int port;
    } cases[] = {{"127.0.0.1:0", "127.0.0.1", 0}, {"[::1]:7070", "::1", 7070}, {"host:65535", "host", 65535}};
    static const char *const wrong[] = {"7070", ":7070", "host:", "host:x", "host:65536", "host:-1"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *address = NULL;
    int port = -1;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config = {.listen = (char *)cases[i].text};
        assert_int_equal(config_listen(&config, &address, &port, &err), BANYAN_OK);
        assert_string_equal(address, cases[i].address);
        assert_int_equal(port, cases[i].port);
        free(address);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct config config = {.listen = (char *)wrong[i]};
        assert_int_equal(config_listen(&config, &address, &port, &err), BANYAN_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_listen),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    (void)close(fd); /* only the name matters */
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path); /* in /tmp: a leftover does no harm */
    return failed;
}
