/* SPDX-License-Identifier: Apache-2.0 */
/* Is it a value of the schema, and in its one form? */
#include "schema/avro_value.h"

static bool step_over_record(struct avro_walk *walk, const struct avro_type *type, unsigned depth)
{
    for (size_t i = 0; i < type->field_count; i++) {
        if (!avro_step_over(walk, type->fields[i].type, depth))
            return avro_fault_in_field(&walk->fault, type->fields[i].name);
    }
    return true;
}

static bool step_over_items(struct avro_walk *walk, const struct avro_type *type, unsigned depth)
{
    struct avro_blocks blocks;
    struct banyan_str key;
    avro_blocks_open(walk, &blocks);
    while (avro_blocks_more(walk, &blocks)) {
        if (type->kind == AVRO_MAP && !avro_blocks_key(walk, &blocks, &key))
            return false;
        if (!avro_step_over(walk, type->items, depth))
            return type->kind == AVRO_MAP ? avro_fault_in_key(&walk->fault, key)
                                          : avro_fault_in_item(&walk->fault, blocks.index - 1);
    }
    return avro_blocks_close(walk, &blocks);
}

bool avro_read_branch(struct avro_walk *walk, size_t count, size_t *ret)
{
    int64_t branch = 0;
    const char *fault = wire_get_long(&walk->in, &branch);
    if (fault == NULL && (branch < 0 || (uint64_t)branch >= count))
        fault = "the union has no such branch";
    *ret = (size_t)branch;
    return avro_accept(walk, fault);
}

bool avro_step_over(struct avro_walk *walk, const struct avro_type *type, unsigned depth)
{
    struct avro_scalar scalar;
    size_t branch;
    if (!avro_enter(walk, depth))
        return false;
    switch (type->kind) {
    case AVRO_RECORD:
        return step_over_record(walk, type, depth - 1);
    case AVRO_ARRAY:
    case AVRO_MAP:
        return step_over_items(walk, type, depth - 1);
    case AVRO_UNION:
        return avro_read_branch(walk, type->branch_count, &branch) &&
               avro_step_over(walk, type->branches[branch], depth - 1);
    default:
        return avro_read_scalar(walk, type, &scalar);
    }
}

enum banyan_status avro_check(const struct avro_schema *schema, struct banyan_str binary, struct banyan_error *err)
{
    struct avro_walk walk;
    enum banyan_status st = BANYAN_OK;
    avro_walk_open(&walk, binary);
    walk.strict = true;
    if (!avro_step_over(&walk, schema->root, AVRO_VALUE_DEPTH_MAX))
        st = avro_walk_error(&walk, err);
    else if (walk.in.at != walk.in.end)
        st = banyan_error_set(err, BANYAN_CORRUPT, "%zu bytes follow the value", (size_t)(walk.in.end - walk.in.at));
    avro_walk_release(&walk);
    return st;
}
