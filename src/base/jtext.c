/* SPDX-License-Identifier: Apache-2.0 */
/* See jtext.h. */
#include "base/jtext.h"

#include <string.h>

#include "base/utf8.h"

bool jtext_fault(struct jtext_input *in, const char *fault)
{
    if (in->fault == NULL)
        in->fault = fault;
    return false;
}

void jtext_place(const struct jtext_input *in, unsigned *ret_line, unsigned *ret_column)
{
    const char *line = in->begin;

    *ret_line = 1;
    for (const char *at = in->begin; at < in->at; at++) {
        if (*at == '\n') {
            ++*ret_line;
            line = at + 1;
        }
    }
    *ret_column = (unsigned)(in->at - line) + 1;
}

static void skip_space(struct jtext_input *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

enum jtext_kind jtext_peek(struct jtext_input *in)
{
    if (in->fault != NULL)
        return JTEXT_NONE;
    skip_space(in);
    if (in->at == in->end)
        return JTEXT_NONE;
    switch (*in->at) {
    case '{':
        return JTEXT_OBJECT;
    case '[':
        return JTEXT_ARRAY;
    case '"':
        return JTEXT_STRING;
    case 't':
    case 'f':
        return JTEXT_BOOLEAN;
    case 'n':
        return JTEXT_NULL;
    default:
        return *in->at == '-' || (*in->at >= '0' && *in->at <= '9') ? JTEXT_NUMBER : JTEXT_NONE;
    }
}

static bool expect(struct jtext_input *in, enum jtext_kind kind, const char *fault)
{
    enum jtext_kind found = jtext_peek(in);

    if (found == kind)
        return true;
    return jtext_fault(in, in->at == in->end ? "the text ends too early" : found == JTEXT_NONE ? "no value" : fault);
}

/* ---- objects and arrays ---- */

static bool enter(struct jtext_input *in)
{
    if (in->depth == JTEXT_DEPTH_MAX)
        return jtext_fault(in, "too many levels");
    in->at++;
    in->depth++;
    in->first = true;
    return true;
}

bool jtext_object(struct jtext_input *in)
{
    return expect(in, JTEXT_OBJECT, "an object is expected") && enter(in);
}

bool jtext_array(struct jtext_input *in)
{
    return expect(in, JTEXT_ARRAY, "an array is expected") && enter(in);
}

/* Step over the comma; false behind the closing *bracket*. */
static bool next_item(struct jtext_input *in, char bracket)
{
    if (in->fault != NULL)
        return false;
    skip_space(in);
    if (in->at == in->end)
        return jtext_fault(in, "the text ends too early");
    if (*in->at == bracket) {
        in->at++;
        in->depth--;
        in->first = false; /* the outer one has at least this */
        return false;
    }
    if (!in->first) {
        if (*in->at != ',')
            return jtext_fault(in, "a comma is missing");
        in->at++;
    }
    in->first = false;
    return true;
}

bool jtext_element(struct jtext_input *in)
{
    return next_item(in, ']') && (jtext_peek(in) != JTEXT_NONE || jtext_fault(in, "no value"));
}

bool jtext_member(struct jtext_input *in, struct banyan_str *ret_name)
{
    if (!next_item(in, '}') || !expect(in, JTEXT_STRING, "the name of a member is expected") ||
        !jtext_string(in, ret_name))
        return false;
    skip_space(in);
    if (in->at == in->end || *in->at != ':')
        return jtext_fault(in, "a colon is missing");
    in->at++;
    return true;
}

bool jtext_member_is(struct jtext_input *in, struct banyan_str name)
{
    struct jtext_input ahead = *in;

    if (in->fault != NULL)
        return false;
    skip_space(&ahead);
    if (!in->first) {
        if (ahead.at == in->end || *ahead.at != ',')
            return false;
        ahead.at++;
        skip_space(&ahead);
    }
    if ((size_t)(in->end - ahead.at) < name.size + 3 || ahead.at[0] != '"' || ahead.at[name.size + 1] != '"' ||
        memcmp(ahead.at + 1, name.data, name.size) != 0)
        return false;
    ahead.at += name.size + 2;
    skip_space(&ahead);
    if (ahead.at == in->end || *ahead.at != ':')
        return false;
    in->at = ahead.at + 1;
    in->first = false;
    return true;
}

/* ---- scalars ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Bytes of the escape at *at*; 0: none. */
static size_t escape_size(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    if (at[1] != 'u')
        return strchr("\"\\/bfnrt", at[1]) != NULL && at[1] != '\0' ? 2 : 0;
    if (end - at < 6 || !is_hex(at[2]) || !is_hex(at[3]) || !is_hex(at[4]) || !is_hex(at[5]))
        return 0;
    return 6;
}

bool jtext_string(struct jtext_input *in, struct banyan_str *ret_raw)
{
    const char *at;

    if (!expect(in, JTEXT_STRING, "a string is expected"))
        return false;
    for (at = in->at + 1;;) {
        size_t size;

        at += utf8_json_run((const unsigned char *)at, (size_t)(in->end - at));
        if (at == in->end)
            return jtext_fault(in, "a string does not end");
        if (*at == '"')
            break;
        if ((unsigned char)*at < 0x20)
            return jtext_fault(in, "a string holds a control character that is not escaped");
        size = *at == '\\' ? escape_size(at, in->end) : utf8_size((const unsigned char *)at, (size_t)(in->end - at));
        if (size == 0) {
            in->at = at;
            return jtext_fault(in, *at == '\\' ? "no such escape" : "a string is not UTF-8");
        }
        at += size;
    }
    *ret_raw = (struct banyan_str){in->at + 1, (size_t)(at - in->at - 1)};
    in->at = at + 1;
    return true;
}

static const char *digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

bool jtext_number(struct jtext_input *in, struct banyan_str *ret_text)
{
    const char *at, *begin;

    if (!expect(in, JTEXT_NUMBER, "a number is expected"))
        return false;
    begin = in->at + (*in->at == '-');
    at = digits(begin, in->end);
    if (at == begin || (*begin == '0' && at - begin > 1))
        return jtext_fault(in, "no number");
    if (at < in->end && *at == '.') {
        begin = at + 1;
        at = digits(begin, in->end);
        if (at == begin)
            return jtext_fault(in, "a number has no digit behind its point");
    }
    if (at < in->end && (*at == 'e' || *at == 'E')) {
        begin = at + 1;
        begin += begin < in->end && (*begin == '+' || *begin == '-');
        at = digits(begin, in->end);
        if (at == begin)
            return jtext_fault(in, "a number has no exponent");
    }
    *ret_text = (struct banyan_str){in->at, (size_t)(at - in->at)};
    in->at = at;
    return true;
}

static bool word(struct jtext_input *in, const char *text)
{
    size_t size = strlen(text);

    if ((size_t)(in->end - in->at) < size || memcmp(in->at, text, size) != 0)
        return jtext_fault(in, "no value");
    in->at += size;
    return true;
}

bool jtext_boolean(struct jtext_input *in, bool *ret)
{
    if (!expect(in, JTEXT_BOOLEAN, "true or false is expected"))
        return false;
    *ret = *in->at == 't';
    return word(in, *ret ? "true" : "false");
}

bool jtext_null(struct jtext_input *in)
{
    return expect(in, JTEXT_NULL, "null is expected") && word(in, "null");
}

/* ---- whole values ---- */

static bool skip_scalar(struct jtext_input *in, enum jtext_kind kind)
{
    struct banyan_str text;
    bool truth;

    switch (kind) {
    case JTEXT_NULL:
        return jtext_null(in);
    case JTEXT_BOOLEAN:
        return jtext_boolean(in, &truth);
    case JTEXT_NUMBER:
        return jtext_number(in, &text);
    case JTEXT_STRING:
        return jtext_string(in, &text);
    default:
        return expect(in, JTEXT_STRING, "a value is expected"); /* words the fault */
    }
}

bool jtext_skip(struct jtext_input *in, struct banyan_str *ret_raw)
{
    uint8_t objects[JTEXT_DEPTH_MAX / 8 + 1] = {0}; /* a bit a level: it is an object */
    uint16_t outer = in->depth;
    struct banyan_str name;
    const char *begin;

    (void)jtext_peek(in); /* only to skip space */
    begin = in->at;
    do {
        enum jtext_kind kind = jtext_peek(in);

        if (kind == JTEXT_OBJECT || kind == JTEXT_ARRAY) {
            if (!enter(in))
                return false;
            objects[in->depth / 8] = (uint8_t)(objects[in->depth / 8] & ~(1u << in->depth % 8));
            objects[in->depth / 8] |= (uint8_t)((unsigned)(kind == JTEXT_OBJECT) << in->depth % 8);
        } else if (!skip_scalar(in, kind)) {
            return false;
        }
        /* Leave what ends here; stop in front of the next value. */
        while (in->fault == NULL && in->depth > outer) {
            bool object = (objects[in->depth / 8] >> in->depth % 8 & 1) != 0;

            if (object ? jtext_member(in, &name) : jtext_element(in))
                break;
        }
    } while (in->fault == NULL && in->depth > outer);
    *ret_raw = (struct banyan_str){begin, (size_t)(in->at - begin)};
    return in->fault == NULL;
}

bool jtext_end(struct jtext_input *in)
{
    if (in->fault != NULL)
        return false;
    skip_space(in);
    return in->at == in->end || jtext_fault(in, "there is more text behind the value");
}

/* ---- strings ---- */

static uint32_t hex4(const char *at)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++) {
        char c = at[i];

        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void add_character(struct banyan_buf *ret, uint32_t c)
{
    if (c < 0x80) {
        banyan_buf_add_char(ret, (char)c);
    } else if (c < 0x800) {
        banyan_buf_add_char(ret, (char)(0xC0 | c >> 6));
        banyan_buf_add_char(ret, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        banyan_buf_add_char(ret, (char)(0xE0 | c >> 12));
        banyan_buf_add_char(ret, (char)(0x80 | (c >> 6 & 0x3F)));
        banyan_buf_add_char(ret, (char)(0x80 | (c & 0x3F)));
    } else {
        banyan_buf_add_char(ret, (char)(0xF0 | c >> 18));
        banyan_buf_add_char(ret, (char)(0x80 | (c >> 12 & 0x3F)));
        banyan_buf_add_char(ret, (char)(0x80 | (c >> 6 & 0x3F)));
        banyan_buf_add_char(ret, (char)(0x80 | (c & 0x3F)));
    }
}

/* The escape at *at*, which is complete; returns what is behind it.  *ret_lone* is set by half a pair of surrogates. */
static const char *add_escape(struct banyan_buf *ret, const char *at, const char *end, bool *ret_lone)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *found;
    uint32_t c;

    if (at[1] != 'u') {
        found = strchr(from, at[1]);
        banyan_buf_add_char(ret, found == NULL ? at[1] : to[found - from]);
        return at + 2;
    }
    c = hex4(at + 2);
    at += 6;
    if (c >= 0xD800 && c < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        uint32_t low = hex4(at + 2);

        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
        }
    }
    bool lone = c >= 0xD800 && c < 0xE000;
    *ret_lone = *ret_lone || lone;
    add_character(ret, lone ? 0xFFFD : c);
    return at;
}

bool jtext_unescape(struct banyan_str raw, struct banyan_buf *ret)
{
    const char *at = raw.data, *end = raw.data + raw.size;
    bool lone = false;

    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));

        banyan_buf_add(ret, at, (size_t)((slash == NULL ? end : slash) - at));
        at = slash == NULL ? end : add_escape(ret, slash, end, &lone);
    }
    return !lone;
}

bool jtext_is(struct banyan_str raw, const char *text)
{
    struct banyan_buf plain = BANYAN_BUF_INIT(256);
    bool same;

    if (memchr(raw.data, '\\', raw.size) == NULL)
        return raw.size == strlen(text) && memcmp(raw.data, text, raw.size) == 0;
    (void)jtext_unescape(raw, &plain); /* a replaced half is no ASCII either */
    same = !plain.overflow && banyan_str_equal(banyan_buf_str(&plain), banyan_str_of(text));
    banyan_buf_release(&plain);
    return same;
}
