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

#define SOURCE "domain: d\ndata: f\nsource:\n  conninfo: x\n"

static void test_rollout_defaults(void **state)
{
    struct banyan_error err;
    struct config *config = NULL;
    struct machine_policy policy, wanted;
    struct cutover_options cutover;
    (void)state;
    assert_int_equal(load(SOURCE "gateway:\n  upstream: http://a:1\n", &config, &err), BANYAN_OK);
    assert_string_equal(config->gateway->listen, "127.0.0.1:7080");
    assert_int_equal(config->gateway->hold_ms_max, 5000);
    assert_false(config->gateway->split);
    machine_policy_init(&wanted);
    config_rollout_policy(config, &policy);
    assert_memory_equal(&policy, &wanted, sizeof(policy));
    config_cutover_options(config, &cutover);
    assert_int_equal(cutover.pause_us_max, 1000000);
    assert_int_equal(cutover.lock_tries, 20);
    config_free(config);
}

/* Also a 0 that is written is a value, where it is one. */
static void test_rollout_values(void **state)
{
    struct banyan_error err;
    struct config *config = NULL;
    struct machine_policy policy;
    struct cutover_options cutover;
    (void)state;
    assert_int_equal(load(SOURCE "rollout:\n  steps_percent: [0.5, 10, 100]\n  automatic: true\n  samples_min: 7\n"
                                 "  step_seconds_min: 0\n  failures_percent_max: 0.05\n  mismatch_percent_max: 0\n"
                                 "  latency_floor_ms: 0\n  lag_ms_max: 20\n  conflicts_max: 3\n"
                                 "  verify_age_minutes_max: 2\n  pause_ms_max: 250\n  lock_tries: 4\n",
                          &config, &err),
                     BANYAN_OK);
    config_rollout_policy(config, &policy);
    assert_int_equal(policy.step_count, 3);
    assert_int_equal(policy.steps[0], 50);
    assert_int_equal(policy.steps[1], 1000);
    assert_int_equal(policy.steps[2], ROUTING_SHARE_ALL);
    assert_true(policy.automatic);
    assert_int_equal(policy.limits.samples_min, 7);
    assert_int_equal(policy.limits.step_us_min, 0);
    assert_int_equal(policy.limits.failures_ppm_max, 500);
    assert_int_equal(policy.limits.mismatch_ppm_max, 0);
    assert_int_equal(policy.limits.latency_us_floor, 0);
    assert_int_equal(policy.limits.lag_us_max, 20000);
    assert_int_equal(policy.limits.conflicts_max, 3);
    assert_int_equal(policy.limits.verify_age_us_max, 120000000);
    config_cutover_options(config, &cutover);
    assert_int_equal(cutover.pause_us_max, 250000);
    assert_int_equal(cutover.lock_tries, 4);
    config_free(config);
}

static void test_rollout_refusals(void **state)
{
    (void)state;
    refused("domain: d\ndata: f\ngateway:\n  upstream: http://a:1\n", "no source", 0);
    refused(SOURCE "gateway:\n  listen: 'a:1'\n", "upstream", 0);
    refused(SOURCE "gateway:\n  upstream: https://a:1\n", "upstream", 0);
    refused(SOURCE "gateway:\n  upstream: http://a:1\n  hold_ms_max: 60001\n", "hold_ms_max", 0);
    refused(SOURCE "gateway:\n  upstream: http://a:1\n  hold_ms_max: 900\n", "pause_ms_max", 0);
    refused(SOURCE "gateway:\n  upstream: http://a:1\n  ignored: [a]\n", "ignored", 0);
    refused(SOURCE "rollout:\n  steps_percent: [5, 5]\n", "increase", 0);
    refused(SOURCE "rollout:\n  steps_percent: [0]\n", "steps_percent", 0);
    refused(SOURCE "rollout:\n  steps_percent: [100.5]\n", "steps_percent", 0);
    refused(SOURCE "rollout:\n  steps_percent: [1, 2, 3, 4, 5, 6, 7, 8, 9]\n", "", 0);
    refused(SOURCE "rollout:\n  steps_percent: []\n", "", 0);
    refused(SOURCE "rollout:\n  samples_min: 0\n", "samples_min", 0);
    refused(SOURCE "rollout:\n  window_seconds: 61\n", "window_seconds", 0);
    refused(SOURCE "rollout:\n  failures_percent_max: -1\n", "failures_percent_max", 0);
    refused(SOURCE "rollout:\n  mismatch_percent_max: .nan\n", "", 6);
    refused(SOURCE "rollout:\n  lag_ms_max: 500\n  lag_ms_breach: 400\n", "lag_ms_breach", 0);
    refused(SOURCE "rollout:\n  colour: 1\n", "colour", 6);
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
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_rollout_defaults), cmocka_unit_test(test_rollout_values),
        cmocka_unit_test(test_rollout_refusals), cmocka_unit_test(test_no_file),
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
