/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections `gateway:` and `rollout:` of banyan.yaml.
 *
 * A threshold that is not written is NULL here, so that 0 can be written; the defaults are those of the room rollout
 * and stand there alone.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/config_int.h"

enum {
    IGNORED_MAX = 64,
    PPM_OF_PERCENT = 10000,
    MS = 1000,
    SECOND = 1000 * 1000,
    MINUTE = 60 * SECOND,
};

static const cyaml_schema_value_t ignored_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, 512),
};

const cyaml_schema_field_t config_gateway_fields[] = {
    CYAML_FIELD_STRING_PTR("listen", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_gateway, listen, 1, 255),
    CYAML_FIELD_STRING_PTR("upstream", CYAML_FLAG_POINTER, struct config_gateway, upstream, 1, 1024),
    CYAML_FIELD_UINT("threads", CYAML_FLAG_OPTIONAL, struct config_gateway, threads),
    CYAML_FIELD_UINT("connections_max", CYAML_FLAG_OPTIONAL, struct config_gateway, connections_max),
    CYAML_FIELD_UINT("upstream_connections_max", CYAML_FLAG_OPTIONAL, struct config_gateway, upstream_connections_max),
    CYAML_FIELD_UINT("upstream_timeout_seconds", CYAML_FLAG_OPTIONAL, struct config_gateway, upstream_timeout_seconds),
    CYAML_FIELD_UINT("request_kib_max", CYAML_FLAG_OPTIONAL, struct config_gateway, request_kib_max),
    CYAML_FIELD_UINT("compare_kib_max", CYAML_FLAG_OPTIONAL, struct config_gateway, compare_kib_max),
    CYAML_FIELD_UINT("hold_ms_max", CYAML_FLAG_OPTIONAL, struct config_gateway, hold_ms_max),
    CYAML_FIELD_UINT("drain_seconds", CYAML_FLAG_OPTIONAL, struct config_gateway, drain_seconds),
    CYAML_FIELD_BOOL("split", CYAML_FLAG_OPTIONAL, struct config_gateway, split),
    CYAML_FIELD_BOOL("tell_side", CYAML_FLAG_OPTIONAL, struct config_gateway, tell_side),
    CYAML_FIELD_SEQUENCE("ignored", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_gateway, ignored,
                         &ignored_schema, 0, IGNORED_MAX),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t step_schema = {
    CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double),
};

#define OPTIONAL CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL
const cyaml_schema_field_t config_rollout_fields[] = {
    CYAML_FIELD_SEQUENCE("steps_percent", OPTIONAL, struct config_rollout, steps_percent, &step_schema, 1,
                         MACHINE_STEPS_MAX),
    CYAML_FIELD_BOOL("automatic", CYAML_FLAG_OPTIONAL, struct config_rollout, automatic),
    CYAML_FIELD_UINT_PTR("samples_min", OPTIONAL, struct config_rollout, samples_min),
    CYAML_FIELD_UINT_PTR("window_seconds", OPTIONAL, struct config_rollout, window_seconds),
    CYAML_FIELD_UINT_PTR("step_seconds_min", OPTIONAL, struct config_rollout, step_seconds_min),
    CYAML_FIELD_FLOAT_PTR("failures_percent_max", OPTIONAL, struct config_rollout, failures_percent_max),
    CYAML_FIELD_UINT_PTR("latency_p99_percent_max", OPTIONAL, struct config_rollout, latency_p99_percent_max),
    CYAML_FIELD_UINT_PTR("latency_p50_percent_max", OPTIONAL, struct config_rollout, latency_p50_percent_max),
    CYAML_FIELD_UINT_PTR("latency_floor_ms", OPTIONAL, struct config_rollout, latency_floor_ms),
    CYAML_FIELD_FLOAT_PTR("mismatch_percent_max", OPTIONAL, struct config_rollout, mismatch_percent_max),
    CYAML_FIELD_UINT_PTR("lag_ms_max", OPTIONAL, struct config_rollout, lag_ms_max),
    CYAML_FIELD_UINT_PTR("lag_ms_breach", OPTIONAL, struct config_rollout, lag_ms_breach),
    CYAML_FIELD_UINT_PTR("mirror_backlog_max", OPTIONAL, struct config_rollout, mirror_backlog_max),
    CYAML_FIELD_UINT_PTR("conflicts_max", OPTIONAL, struct config_rollout, conflicts_max),
    CYAML_FIELD_UINT_PTR("verify_age_minutes_max", OPTIONAL, struct config_rollout, verify_age_minutes_max),
    CYAML_FIELD_UINT_PTR("verify_every_minutes", OPTIONAL, struct config_rollout, verify_every_minutes),
    CYAML_FIELD_UINT_PTR("pause_ms_max", OPTIONAL, struct config_rollout, pause_ms_max),
    CYAML_FIELD_UINT_PTR("lock_tries", OPTIONAL, struct config_rollout, lock_tries),
    CYAML_FIELD_UINT_PTR("keys_block", OPTIONAL, struct config_rollout, keys_block),
    CYAML_FIELD_END,
};
#undef OPTIONAL

/* ---- check ---- */

static enum banyan_status out_of_range(const char *path, const char *key, double value, double min, double max,
                                       struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_CONFIG, "%s: %s: %g is not from %g to %g", path, key, value, min, max);
}

static enum banyan_status check_gateway(const struct config *config, const char *path, struct banyan_error *err)
{
    struct config_gateway *gateway = config->gateway;
    const struct {
        const char *key;
        uint32_t *value, fallback, max;
    } numbers[] = {
        {"gateway.threads", &gateway->threads, 1, 64},
        {"gateway.connections_max", &gateway->connections_max, 1000, 1000000},
        {"gateway.upstream_connections_max", &gateway->upstream_connections_max, 64, 10000},
        {"gateway.upstream_timeout_seconds", &gateway->upstream_timeout_seconds, 30, 3600},
        {"gateway.request_kib_max", &gateway->request_kib_max, 1024, 1024 * 1024},
        {"gateway.compare_kib_max", &gateway->compare_kib_max, 1024, 1024 * 1024},
        {"gateway.hold_ms_max", &gateway->hold_ms_max, 5000, 60000},
        {"gateway.drain_seconds", &gateway->drain_seconds, 10, 3600},
    };
    if (config->source == NULL) {
        banyan_error_set(err, BANYAN_CONFIG, "%s: there is a gateway, but no source", path);
        banyan_error_hint(err, "the gateway stands in front of the application whose database is the source");
        return BANYAN_CONFIG;
    }
    if (gateway->listen == NULL)
        gateway->listen = alloc_text("127.0.0.1:7080");
    if (strncmp(gateway->upstream, "http://", 7) != 0 || gateway->upstream[7] == '\0')
        return banyan_error_set(err, BANYAN_CONFIG, "%s: gateway.upstream: \"%s\" is not http://host:port", path,
                                gateway->upstream);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (*numbers[i].value == 0)
            *numbers[i].value = numbers[i].fallback;
        if (*numbers[i].value > numbers[i].max)
            return out_of_range(path, numbers[i].key, *numbers[i].value, 1, numbers[i].max, err);
    }
    for (unsigned i = 0; i < gateway->ignored_count; i++)
        if (gateway->ignored[i][0] != '/')
            return banyan_error_set(err, BANYAN_CONFIG, "%s: gateway.ignored: \"%s\" is no JSON pointer, as /a/b", path,
                                    gateway->ignored[i]);
    return BANYAN_OK;
}

static enum banyan_status check_steps(const struct config_rollout *rollout, const char *path, struct banyan_error *err)
{
    for (unsigned i = 0; i < rollout->steps_percent_count; i++) {
        double step = rollout->steps_percent[i];
        if (!(step >= 0.01 && step <= 100))
            return out_of_range(path, "rollout.steps_percent", step, 0.01, 100, err);
        if (i > 0 && !(step > rollout->steps_percent[i - 1]))
            return banyan_error_set(err, BANYAN_CONFIG, "%s: rollout.steps_percent: %g does not follow %g: increase",
                                    path, step, rollout->steps_percent[i - 1]);
    }
    return BANYAN_OK;
}

static enum banyan_status check_thresholds(const struct config_rollout *rollout, const char *path,
                                           struct banyan_error *err)
{
    const struct {
        const char *key;
        const uint32_t *value;
        uint32_t min, max;
    } numbers[] = {
        {"rollout.samples_min", rollout->samples_min, 1, 1000000},
        {"rollout.window_seconds", rollout->window_seconds, 1, 60},
        {"rollout.step_seconds_min", rollout->step_seconds_min, 0, 30 * 86400},
        {"rollout.latency_p99_percent_max", rollout->latency_p99_percent_max, 100, 100000},
        {"rollout.latency_p50_percent_max", rollout->latency_p50_percent_max, 100, 100000},
        {"rollout.latency_floor_ms", rollout->latency_floor_ms, 0, 60000},
        {"rollout.lag_ms_max", rollout->lag_ms_max, 1, 3600000},
        {"rollout.lag_ms_breach", rollout->lag_ms_breach, 1, 86400000},
        {"rollout.mirror_backlog_max", rollout->mirror_backlog_max, 0, 100000000},
        {"rollout.conflicts_max", rollout->conflicts_max, 0, 1000000},
        {"rollout.verify_age_minutes_max", rollout->verify_age_minutes_max, 1, 525600},
        {"rollout.verify_every_minutes", rollout->verify_every_minutes, 1, 525600},
        {"rollout.pause_ms_max", rollout->pause_ms_max, 10, 60000},
        {"rollout.lock_tries", rollout->lock_tries, 1, 10000},
        {"rollout.keys_block", rollout->keys_block, 1, 1000000},
    };
    const struct {
        const char *key;
        const double *value;
    } percents[] = {
        {"rollout.failures_percent_max", rollout->failures_percent_max},
        {"rollout.mismatch_percent_max", rollout->mismatch_percent_max},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].value != NULL && (*numbers[i].value < numbers[i].min || *numbers[i].value > numbers[i].max))
            return out_of_range(path, numbers[i].key, *numbers[i].value, numbers[i].min, numbers[i].max, err);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        if (percents[i].value != NULL && !(*percents[i].value >= 0 && *percents[i].value <= 100))
            return out_of_range(path, percents[i].key, *percents[i].value, 0, 100, err);
    return BANYAN_OK;
}

enum banyan_status config_rollout_check(struct config *config, const char *path, struct banyan_error *err)
{
    struct machine_policy policy;
    struct cutover_options cutover;
    enum banyan_status st = config->gateway == NULL ? BANYAN_OK : check_gateway(config, path, err);
    if (st == BANYAN_OK && config->rollout != NULL)
        st = check_steps(config->rollout, path, err);
    if (st == BANYAN_OK && config->rollout != NULL)
        st = check_thresholds(config->rollout, path, err);
    if (st != BANYAN_OK)
        return st;
    config_rollout_policy(config, &policy);
    config_cutover_options(config, &cutover);
    if (policy.limits.lag_us_breach < policy.limits.lag_us_max)
        return banyan_error_set(err, BANYAN_CONFIG, "%s: rollout.lag_ms_breach is less than lag_ms_max", path);
    if (config->gateway != NULL && (int64_t)config->gateway->hold_ms_max * MS < cutover.pause_us_max) {
        banyan_error_set(err, BANYAN_CONFIG, "%s: gateway.hold_ms_max is less than rollout.pause_ms_max", path);
        banyan_error_hint(err, "the gateway would refuse writes before the pause is over");
        return BANYAN_CONFIG;
    }
    return BANYAN_OK;
}

/* ---- what other rooms want ---- */

static void take_32(const uint32_t *value, uint32_t *ret)
{
    if (value != NULL)
        *ret = *value;
}

static void take_64(const uint32_t *value, uint64_t *ret)
{
    if (value != NULL)
        *ret = *value;
}

static void take_us(const uint32_t *value, int64_t unit_us, int64_t *ret)
{
    if (value != NULL)
        *ret = (int64_t)*value * unit_us;
}

static void take_ppm(const double *value, uint32_t *ret)
{
    if (value != NULL)
        *ret = (uint32_t)(*value * PPM_OF_PERCENT + 0.5);
}

void config_rollout_policy(const struct config *config, struct machine_policy *ret)
{
    const struct config_rollout *rollout = config->rollout;
    struct guards_limits *limits = &ret->limits;
    machine_policy_init(ret);
    if (rollout == NULL)
        return;
    for (unsigned i = 0; i < rollout->steps_percent_count; i++)
        ret->steps[i] = (uint32_t)(rollout->steps_percent[i] * (ROUTING_SHARE_ALL / 100) + 0.5);
    if (rollout->steps_percent_count > 0)
        ret->step_count = rollout->steps_percent_count;
    ret->automatic = rollout->automatic;
    take_32(rollout->samples_min, &limits->samples_min);
    take_us(rollout->window_seconds, SECOND, &limits->window_us);
    take_us(rollout->step_seconds_min, SECOND, &limits->step_us_min);
    take_ppm(rollout->failures_percent_max, &limits->failures_ppm_max);
    take_32(rollout->latency_p99_percent_max, &limits->latency_p99_percent_max);
    take_32(rollout->latency_p50_percent_max, &limits->latency_p50_percent_max);
    take_us(rollout->latency_floor_ms, MS, &limits->latency_us_floor);
    take_ppm(rollout->mismatch_percent_max, &limits->mismatch_ppm_max);
    take_us(rollout->lag_ms_max, MS, &limits->lag_us_max);
    take_us(rollout->lag_ms_breach, MS, &limits->lag_us_breach);
    take_64(rollout->mirror_backlog_max, &limits->mirror_backlog_max);
    take_64(rollout->conflicts_max, &limits->conflicts_max);
    take_us(rollout->verify_age_minutes_max, MINUTE, &limits->verify_age_us_max);
}

void config_cutover_options(const struct config *config, struct cutover_options *ret)
{
    *ret = (struct cutover_options){.pause_us_max = SECOND, .lock_tries = 20};
    if (config->rollout == NULL)
        return;
    take_us(config->rollout->pause_ms_max, MS, &ret->pause_us_max);
    if (config->rollout->lock_tries != NULL)
        ret->lock_tries = *config->rollout->lock_tries;
}

uint32_t config_rollout_keys_block(const struct config *config)
{
    return config->rollout == NULL || config->rollout->keys_block == NULL ? 0 : *config->rollout->keys_block;
}

int64_t config_rollout_verify_every_us(const struct config *config)
{
    return config->rollout == NULL || config->rollout->verify_every_minutes == NULL
               ? 0
               : (int64_t)*config->rollout->verify_every_minutes * MINUTE;
}
