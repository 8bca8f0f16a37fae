/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compatibility: pairs of schemas, each asked both ways, from "Schema Resolution" of the specification; then the rules.
 *
 * Schemas are written with ' for " to keep the tables legible.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/avro.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct avro_schema *parsed(const char *text)
{
    struct avro_schema *schema = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    char *copy = strdup(text);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    if (avro_parse(banyan_str_of(copy), &schema, &err) != BANYAN_OK)
        fail_msg("%s\n  in %s", err.message, text);
    free(copy);
    return schema;
}

/* *says*: NULL when the reader can read the writer, else a part of the message. */
static void expect(const char *reader, const char *writer, const char *says)
{
    struct avro_schema *a = parsed(reader), *b = parsed(writer);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = avro_can_read(a, b, &err);
    if (says == NULL && st != BANYAN_OK)
        fail_msg("%s\n  should read %s\n  but: %s", reader, writer, err.message);
    if (says != NULL && st == BANYAN_OK)
        fail_msg("%s\n  should not read %s", reader, writer);
    if (says != NULL && (st != BANYAN_CONFLICT || strstr(err.message, says) == NULL))
        fail_msg("%s\n  does not read %s\n  but says: %s\n  not: %s", reader, writer, err.message, says);
    avro_schema_free(a);
    avro_schema_free(b);
}

static void primitives(void **state)
{
    (void)state;
    static const char *const names[] = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"};
    /* reads[reader][writer] */
    static const char *const reads[] = {
        "x.......", ".x......", "..x.....", "..xx....", "..xxx...", "..xxxx..", "......xx", "......xx",
    };
    for (size_t reader = 0; reader < COUNT(names); reader++) {
        for (size_t writer = 0; writer < COUNT(names); writer++) {
            char a[32], b[32];
            (void)snprintf(a, sizeof(a), "'%s'", names[reader]);
            (void)snprintf(b, sizeof(b), "'%s'", names[writer]);
            expect(a, b, reads[reader][writer] == 'x' ? NULL : "the types differ");
        }
    }
}

#define REC(fields) "{'type':'record','name':'R','fields':[" fields "]}"
#define ENUM(name, symbols, more) "{'type':'enum','name':'" name "','symbols':[" symbols "]" more "}"
#define DEC(base, p, s) "{" base ",'logicalType':'decimal','precision':" #p ",'scale':" #s "}"
#define LOGICAL(base, name) "{'type':'" base "','logicalType':'" name "'}"
#define LIST(type, rest)                                                                                               \
    "{'type':'record','name':'L','fields':[{'name':'v','type':'" type "'},{'name':'next','type':['null','L']}" rest "]}"

struct pair {
    const char *a, *b;
    const char *a_reads_b, *b_reads_a; /* NULL: yes; else what the message says */
};

static void check_pairs(const struct pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect(pairs[i].a, pairs[i].b, pairs[i].a_reads_b);
        expect(pairs[i].b, pairs[i].a, pairs[i].b_reads_a);
        expect(pairs[i].a, pairs[i].a, NULL);
        expect(pairs[i].b, pairs[i].b, NULL);
    }
}

static void records(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        /* A new field needs a default to be read from old data; old readers pass over it. */
        {REC("{'name':'a','type':'int'},{'name':'b','type':'int'}"), REC("{'name':'a','type':'int'}"),
         "b: the reader's field has no default", NULL},
        {REC("{'name':'a','type':'int'},{'name':'b','type':'int','default':0}"), REC("{'name':'a','type':'int'}"), NULL,
         NULL},
        /* The order of fields does not matter. */
        {REC("{'name':'a','type':'int'},{'name':'b','type':'int'}"),
         REC("{'name':'b','type':'int'},{'name':'a','type':'int'}"), NULL, NULL},
        /* A renamed field is found by its alias, one way. */
        {REC("{'name':'new','type':'int','aliases':['other','old']}"), REC("{'name':'old','type':'int'}"), NULL,
         "old: the reader's field has no default"},
        /* Wider one way. */
        {REC("{'name':'a','type':'long'}"), REC("{'name':'a','type':'int'}"), NULL,
         "a: written as long, read as int: the types differ"},
        /* Deep inside. */
        {REC("{'name':'a','type':{'type':'array','items':{'type':'map','values':{'type':'record','name':'S','fields':"
             "[{'name':'x','type':'string'}]}}}}"),
         REC("{'name':'a','type':{'type':'array','items':{'type':'map','values':{'type':'record','name':'S','fields':"
             "[{'name':'x','type':'int'}]}}}}"),
         "a[]{}.x: written as int, read as string", "a[]{}.x: written as string, read as int"},
        /* Names: by the last part, or by an alias. */
        {"{'type':'record','name':'n.R','fields':[]}", "{'type':'record','name':'R','fields':[]}", NULL, NULL},
        {"{'type':'record','name':'R','fields':[]}", "{'type':'record','name':'S','fields':[]}",
         "the whole value: written as record S, read as record R: the names differ",
         "written as record R, read as record S: the names differ"},
        {"{'type':'record','name':'R','aliases':['m.S'],'fields':[]}", "{'type':'record','name':'m.S','fields':[]}",
         NULL, "the names differ"},
        /* Kinds. */
        {REC(""), "{'type':'map','values':'int'}", "the types differ", "the types differ"},
        {"{'type':'array','items':'int'}", "{'type':'map','values':'int'}", "the types differ", "the types differ"},
        {"{'type':'array','items':'long'}", "{'type':'array','items':'int'}", NULL, "[]: written as long"},
        {"{'type':'map','values':'string'}", "{'type':'map','values':'bytes'}", NULL, NULL},
    };
    check_pairs(pairs, COUNT(pairs));
}

static void recursion(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {LIST("long", ""), LIST("int", ""), NULL, "v: written as long, read as int"},
        {LIST("int", ",{'name':'w','type':'int','default':1}"), LIST("int", ""), NULL, NULL},
    };
    check_pairs(pairs, COUNT(pairs));
    /* Two that go through each other, one of them with a fault in the second. */
    static const struct pair mutual[] = {
        {"{'type':'record','name':'A','fields':[{'name':'b','type':['null',{'type':'record','name':'B','fields':"
         "[{'name':'a','type':['null','A']},{'name':'x','type':'int'}]}]}]}",
         "{'type':'record','name':'A','fields':[{'name':'b','type':['null',{'type':'record','name':'B','fields':"
         "[{'name':'a','type':['null','A']}]}]}]}",
         "b.x: the reader's field has no default", NULL},
    };
    check_pairs(mutual, COUNT(mutual));
}

static void enums_and_fixed(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {ENUM("E", "'A','B'", ""), ENUM("E", "'B'", ""), NULL, "the reader's enum E has no \"A\" and no default"},
        {ENUM("E", "'A','B'", ""), ENUM("E", "'B'", ",'default':'B'"), NULL, NULL},
        {ENUM("E", "'A'", ""), ENUM("F", "'A'", ""), "the names differ", "the names differ"},
        {ENUM("E", "'A'", ",'aliases':['F']"), ENUM("F", "'A'", ""), NULL, "the names differ"},
        {ENUM("E", "'A'", ""), "'string'", "the types differ", "the types differ"},
        {"{'type':'fixed','name':'F','size':2}", "{'type':'fixed','name':'F','size':3}", "the sizes differ",
         "the sizes differ"},
        {"{'type':'fixed','name':'F','size':2}", "{'type':'fixed','name':'G','size':2}", "the names differ",
         "the names differ"},
        {"{'type':'fixed','name':'F','size':2}", "'bytes'", "the types differ", "the types differ"},
    };
    check_pairs(pairs, COUNT(pairs));
}

static void unions(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {"['null','int']", "'int'", NULL, "written as null, read as int"},
        {"['null','long']", "'int'", NULL, "written as null, read as int"},
        {"['null','int']", "['int','null']", NULL, NULL},
        {"['null','int','string']", "['null','int']", NULL,
         "written as string: no branch of the reader's union takes it"},
        {"['null','long']", "['null','int']", NULL, "written as long: no branch of the reader's union"},
        /* Every branch of a writer's union must fit a reader that is none. */
        {"'double'", "['int','long']", NULL, "written as double: no branch"},
        {"'bytes'", "['string','bytes']", NULL, NULL},
        /* The branch is taken by the name; then it must fit. */
        {"['null'," REC("{'name':'a','type':'int'}") "]", "['null'," REC("") "]",
         "a: the reader's field has no default", NULL},
        /* Of two records, the one with the very same name; the other way both are read as n.R. */
        {"[{'type':'record','name':'m.R','fields':[{'name':'x','type':'int'}]},{'type':'record','name':'n.R','fields':["
         "]}]",
         "{'type':'record','name':'n.R','fields':[]}", NULL, NULL},
        {"['null'," DEC("'type':'bytes'", 9, 2) "]", "['null'," DEC("'type':'bytes'", 9, 3) "]",
         "written as decimal(9, 3), read as decimal(9, 2)", "precision and scale of the decimals differ"},
    };
    check_pairs(pairs, COUNT(pairs));
}

static void logical_types(void **state)
{
    (void)state;
    static const struct pair pairs[] = {
        {DEC("'type':'bytes'", 9, 2), DEC("'type':'bytes'", 9, 2), NULL, NULL},
        {DEC("'type':'bytes'", 9, 2), DEC("'type':'bytes'", 10, 2), "precision and scale", "precision and scale"},
        {DEC("'type':'bytes'", 9, 2), DEC("'type':'bytes'", 9, 3), "precision and scale", "precision and scale"},
        {DEC("'type':'bytes'", 9, 2), "'bytes'", "only one of them is a decimal", "only one of them is a decimal"},
        {DEC("'type':'bytes'", 9, 2), "'string'", "only one of them is a decimal", "only one of them is a decimal"},
        {DEC("'type':'fixed','name':'F','size':8", 9, 2), DEC("'type':'fixed','name':'F','size':8", 9, 2), NULL, NULL},
        {DEC("'type':'fixed','name':'F','size':8", 9, 2), DEC("'type':'bytes'", 9, 2), "the types differ",
         "the types differ"},
        {LOGICAL("long", "timestamp-micros"), "'long'", NULL, NULL},
        {LOGICAL("long", "timestamp-micros"), LOGICAL("long", "timestamp-millis"), "the logical types differ",
         "the logical types differ"},
        {LOGICAL("long", "timestamp-micros"), LOGICAL("int", "date"), "the logical types differ", "the types differ"},
        {"'long'", LOGICAL("int", "date"), NULL, "the types differ"},
        {LOGICAL("string", "uuid"), "'string'", NULL, NULL},
    };
    check_pairs(pairs, COUNT(pairs));
}

/* v1 {a}, v2 {a, b = 0}, v3 {a, b}: each step is fine by some rules, the way around is not. */
static void rules(void **state)
{
    (void)state;
    static const char *const v1 = REC("{'name':'a','type':'int'}");
    static const char *const v2 = REC("{'name':'a','type':'int'},{'name':'b','type':'int','default':0}");
    static const char *const v3 = REC("{'name':'a','type':'int'},{'name':'b','type':'int'}");
    static const char *const wide = REC("{'name':'a','type':'long'},{'name':'b','type':'int','default':0}");
    static const struct {
        enum avro_compatibility rule;
        const char *versions[2], *next, *says;
    } cases[] = {
        {AVRO_BACKWARD, {v1, v2}, v3, NULL},
        {AVRO_BACKWARD_TRANSITIVE,
         {v1, v2},
         v3,
         "not BACKWARD_TRANSITIVE compatible: the new schema cannot read version 1: b: the reader's field has no "
         "default"},
        {AVRO_FORWARD, {v1, v2}, v3, NULL},
        {AVRO_FORWARD_TRANSITIVE, {v1, v2}, v3, NULL},
        {AVRO_FORWARD, {v3, v2}, v1, NULL},
        {AVRO_FORWARD_TRANSITIVE,
         {v3, v2},
         v1,
         "not FORWARD_TRANSITIVE compatible: version 1 cannot read the new schema: b: the reader's field"},
        {AVRO_BACKWARD, {v1, v2}, wide, NULL},
        {AVRO_FORWARD, {v1, v2}, wide, "version 2 cannot read the new schema: a: written as long, read as int"},
        {AVRO_FULL, {v1, v2}, wide, "not FULL compatible: version 2 cannot read the new schema: a"},
        {AVRO_FULL, {v1, v3}, v2, NULL},
        {AVRO_FULL, {v1, v1}, v3, "not FULL compatible: the new schema cannot read version 2: b"},
        {AVRO_FULL, {v1, v2}, v3, NULL},
        {AVRO_FULL_TRANSITIVE, {v1, v2}, v3, "not FULL_TRANSITIVE compatible: the new schema cannot read version 1: b"},
        {AVRO_COMPATIBILITY_NONE, {v1, v2}, "'string'", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct avro_schema *versions[2] = {parsed(cases[i].versions[0]), parsed(cases[i].versions[1])};
        struct avro_schema *next = parsed(cases[i].next);
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st =
            avro_compatible(cases[i].rule, next, (const struct avro_schema *const *)versions, 2, &err);
        if (cases[i].says == NULL && st != BANYAN_OK)
            fail_msg("case %zu: %s", i, err.message);
        if (cases[i].says != NULL && (st != BANYAN_CONFLICT || strstr(err.message, cases[i].says) == NULL))
            fail_msg("case %zu: %d %s", i, (int)st, err.message);
        assert_int_equal(avro_compatible(cases[i].rule, next, NULL, 0, NULL), BANYAN_OK);
        avro_schema_free(versions[0]);
        avro_schema_free(versions[1]);
        avro_schema_free(next);
    }
}

static void names_of_rules(void **state)
{
    (void)state;
    enum avro_compatibility rule;
    for (unsigned i = 0; i < AVRO_COMPATIBILITIES; i++) {
        assert_true(avro_compatibility_of(banyan_str_of(avro_compatibility_name((enum avro_compatibility)i)), &rule));
        assert_int_equal(rule, i);
    }
    assert_true(avro_compatibility_of(BANYAN_STR("full_transitive"), &rule));
    assert_int_equal(rule, AVRO_FULL_TRANSITIVE);
    assert_false(avro_compatibility_of(BANYAN_STR("FUL"), &rule));
    assert_null(avro_compatibility_name(AVRO_COMPATIBILITIES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primitives),      cmocka_unit_test(records),        cmocka_unit_test(recursion),
        cmocka_unit_test(enums_and_fixed), cmocka_unit_test(unions),         cmocka_unit_test(logical_types),
        cmocka_unit_test(rules),           cmocka_unit_test(names_of_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
