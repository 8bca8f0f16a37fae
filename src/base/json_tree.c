/* SPDX-License-Identifier: Apache-2.0 */
/* See banyan/json.h.  The depth is bounded by jtext. */
#include "banyan/json.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "base/jtext.h"

struct parse {
    struct jtext_input in;
    struct banyan_arena *arena;
};

static bool parse_value(struct parse *parse, struct banyan_json *ret);

/* Nearly all strings have no escape: they are borrowed. */
static bool parse_text(struct parse *parse, struct banyan_str raw, struct banyan_str *ret)
{
    struct banyan_buf text = BANYAN_BUF_INIT(raw.size + 1);
    bool whole;

    *ret = raw;
    if (memchr(raw.data, '\\', raw.size) == NULL)
        return true;
    whole = jtext_unescape(raw, &text) && memchr(text.data == NULL ? "" : text.data, '\0', text.size) == NULL;
    *ret = banyan_arena_str(parse->arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return whole || jtext_fault(&parse->in, "a text has half a character or U+0000");
}

static int compare_names(const void *a, const void *b)
{
    const struct banyan_str *x = a, *y = b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return memcmp(x->data, y->data, x->size);
}

static bool names_differ(struct parse *parse, const struct banyan_json *object)
{
    struct banyan_str *names = banyan_arena_alloc(parse->arena, (object->count + 1) * sizeof(*names));
    size_t count = 0;

    for (const struct banyan_json *member = object->first; member != NULL; member = member->next)
        names[count++] = member->name;
    qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (compare_names(&names[i - 1], &names[i]) == 0)
            return jtext_fault(&parse->in, "two members have one name");
    }
    return true;
}

static bool parse_items(struct parse *parse, struct banyan_json *ret)
{
    bool object = ret->kind == BANYAN_JSON_OBJECT;
    struct banyan_json *last = NULL, *item;
    struct banyan_str raw = {"", 0};

    while (object ? jtext_member(&parse->in, &raw) : jtext_element(&parse->in)) {
        item = banyan_arena_zalloc(parse->arena, sizeof(*item));
        if ((object && !parse_text(parse, raw, &item->name)) || !parse_value(parse, item))
            return false;
        if (last == NULL)
            ret->first = item;
        else
            last->next = item;
        last = item;
        ret->count++;
    }
    return parse->in.fault == NULL && (!object || names_differ(parse, ret));
}

static bool parse_value(struct parse *parse, struct banyan_json *ret)
{
    struct banyan_str raw;
    bool truth;

    switch (jtext_peek(&parse->in)) {
    case JTEXT_NULL:
        ret->kind = BANYAN_JSON_NULL;
        return jtext_null(&parse->in);
    case JTEXT_BOOLEAN:
        if (!jtext_boolean(&parse->in, &truth))
            return false;
        ret->kind = truth ? BANYAN_JSON_TRUE : BANYAN_JSON_FALSE;
        return true;
    case JTEXT_NUMBER:
        ret->kind = BANYAN_JSON_NUMBER;
        return jtext_number(&parse->in, &ret->text);
    case JTEXT_STRING:
        ret->kind = BANYAN_JSON_STRING;
        return jtext_string(&parse->in, &raw) && parse_text(parse, raw, &ret->text);
    case JTEXT_ARRAY:
        ret->kind = BANYAN_JSON_ARRAY;
        return jtext_array(&parse->in) && parse_items(parse, ret);
    case JTEXT_OBJECT:
        ret->kind = BANYAN_JSON_OBJECT;
        return jtext_object(&parse->in) && parse_items(parse, ret);
    case JTEXT_NONE:
        break;
    }
    return false;
}

bool banyan_json_parse(struct banyan_str text, struct banyan_arena *arena, struct banyan_json *ret)
{
    struct parse parse = {jtext_input(text), arena};

    *ret = (struct banyan_json){.kind = BANYAN_JSON_NONE};
    return parse_value(&parse, ret) && jtext_end(&parse.in);
}

const struct banyan_json *banyan_json_member(const struct banyan_json *object, const char *name)
{
    const struct banyan_json *member = object == NULL || object->kind != BANYAN_JSON_OBJECT ? NULL : object->first;

    while (member != NULL && !banyan_str_equal(member->name, banyan_str_of(name)))
        member = member->next;
    return member;
}

bool banyan_json_int(const struct banyan_json *value, int64_t *ret)
{
    bool negative;
    uint64_t number = 0, max;

    if (value == NULL || value->kind != BANYAN_JSON_NUMBER)
        return false;
    negative = value->text.data[0] == '-';
    max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    for (size_t i = negative; i < value->text.size; i++) {
        unsigned digit = (unsigned char)value->text.data[i] - (unsigned)'0';

        if (digit > 9 || number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}
