/* SPDX-License-Identifier: Apache-2.0 */
/* What all four aggregates share. */
#include "values.h"

bool commerce_parse_key(struct banyan_str key, int64_t *ret)
{
    int64_t id = 0;

    if (key.size == 0 || key.data[0] == '0')
        return false;
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] < '0' || key.data[i] > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, key.data[i] - '0', &id))
            return false;
    }
    *ret = id;
    return true;
}

bool commerce_refuse(struct banyan_refusal *ret, const char *code, const char *text)
{
    *ret = (struct banyan_refusal){code, banyan_str_of(text)};
    return false;
}

void commerce_emit(struct banyan_emitter *out, const struct banyan_command *command, unsigned type, const void *payload)
{
    struct banyan_emit event = {
        .type = type,
        .payload = payload,
        .at = command->now,
        .provenance = BANYAN_EXACT,
    };

    banyan_emit(out, &event);
}
