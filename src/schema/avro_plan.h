/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan: writer and reader compared once, so that values need no names looked up.
 *
 * Operations refer to each other by number, so a recursive type is an operation that comes to itself again.  One
 * operation turns a value of one writer's type into one of one reader's type:
 *
 *     SCALAR   ─ read as the writer's kind, promote, write as the reader's
 *     ENUM     ─ numbers[writer's symbol] is the reader's
 *     ARRAY, MAP ─ each item by operation *first*
 *     RECORD   ─ steps[first … first + count)
 *     SELECT   ─ the writer has a union: its branch n by operation numbers[first + n]
 *     WRAP     ─ the reader has a union: its branch *branch*, the value by operation *first*
 */
#ifndef SCHEMA_AVRO_PLAN_H
#define SCHEMA_AVRO_PLAN_H

#include "schema/avro_int.h"

enum avro_op_kind {
    AVRO_OP_NONE = 0,
    AVRO_OP_SCALAR,
    AVRO_OP_ENUM,
    AVRO_OP_ARRAY,
    AVRO_OP_MAP,
    AVRO_OP_RECORD,
    AVRO_OP_SELECT,
    AVRO_OP_WRAP,
};

enum {
    AVRO_OPS_MAX = 256 * 1024,    /* of one plan */
    AVRO_PARTS_MAX = 1024 * 1024, /* steps, and numbers, of one plan */
};

struct avro_op {
    enum avro_op_kind kind;
    bool same;     /* writer and reader have the same bytes: a value in its one form is just copied */
    bool converts; /* SCALAR: kind or meaning differ */
    bool bare;     /* WRAP: in JSON the value alone, without the name of its branch */
    bool own;      /* the writer's type is of the reader's schema, too: a default, or a plan of one schema */
    uint32_t first, count;
    uint32_t branch;                         /* WRAP */
    uint32_t marks;                          /* RECORD: places to note */
    struct banyan_str key;                   /* WRAP that is not bare: {"name": */
    const struct avro_type *writer, *reader; /* of a WRAP: its union */
};

enum avro_step_kind {
    AVRO_STEP_NONE = 0,
    AVRO_STEP_SKIP,    /* step over the writer's field */
    AVRO_STEP_VALUE,   /* the writer's field, which comes next, by operation *op* */
    AVRO_STEP_DEFAULT, /* the reader's default; by operation *op* where it is to be JSON */
    /* Where the reader's fields are in another order, the place of each of the writer's is noted first. */
    AVRO_STEP_MARK, /* note the place as number *mark*, step over the writer's field (NULL: there is none left) */
    AVRO_STEP_GO,   /* go to the place *mark* */
};

struct avro_step {
    enum avro_step_kind kind;
    uint32_t op;
    uint32_t mark;
    const struct avro_field *field; /* SKIP, MARK: the writer's; VALUE, DEFAULT: the reader's */
    struct banyan_str key;          /* VALUE, DEFAULT: ,"name": */
};

struct avro_plan {
    struct banyan_arena arena; /* texts */
    struct avro_op *ops;       /* owned, as the arrays below; ops[0] is the value itself */
    struct avro_step *steps;
    uint32_t *numbers;
    size_t op_count, step_count, number_count;
};

/* The name of a union's branch in JSON. */
struct banyan_str avro_branch_name(const struct avro_type *branch);
/* {"name": */
struct banyan_str avro_branch_key(struct banyan_arena *arena, const struct avro_type *branch);
/* Is a union's value written without the name of its branch?  Yes where there is one branch beside null. */
bool avro_union_is_bare(const struct avro_type *type);

#endif
