/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random Avro schemas in pairs, a writer's and a reader's that mostly can read it, and random values of a schema: for
 * property tests (choices from a generator of random numbers) and fuzzers (choices from the input).
 */
#ifndef SUPPORT_RANDOM_AVRO_H
#define SUPPORT_RANDOM_AVRO_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "banyan/buf.h"
#include "os/random.h"
#include "schema/avro_int.h"
#include "schema/wire.h"

enum {
    RANDOM_AVRO_BYTES_MAX = 16 * 1024 * 1024,
    RANDOM_AVRO_FIELDS_MAX = 5,
};

/* Where choices come from: *random*, else the bytes, else (they are used up) always 0. */
struct random_avro {
    struct os_random *random;
    const unsigned char *at, *end;
    unsigned names;    /* named types so far */
    unsigned strange;  /* one of so many choices makes reader and writer differ in any way; 0: never */
    const char *outer; /* name of the record around, for recursion; NULL: none */
};

static inline uint64_t random_avro_bits(struct random_avro *r)
{
    uint64_t bits = 0;
    if (r->random != NULL)
        return os_random_next(r->random);
    for (int i = 0; i < 8 && r->at < r->end; i++)
        bits = bits << 8 | *r->at++;
    return bits;
}

static inline unsigned random_avro_below(struct random_avro *r, unsigned limit)
{
    if (r->random != NULL)
        return (unsigned)os_random_below(r->random, limit);
    return r->at < r->end ? *r->at++ % limit : 0;
}

/* ---- schemas ---- */

static inline void random_avro_type(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader,
                                    unsigned depth);

static inline void random_avro_both(struct banyan_buf *writer, struct banyan_buf *reader, const char *text)
{
    banyan_buf_add_text(writer, text);
    banyan_buf_add_text(reader, text);
}

static inline void random_avro_scalar(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader)
{
    static const char *const numbers[] = {"\"int\"", "\"long\"", "\"float\"", "\"double\""};
    static const char *const others[] = {
        "\"null\"",
        "\"boolean\"",
        "\"string\"",
        "\"bytes\"",
        "{\"type\":\"int\",\"logicalType\":\"date\"}",
        "{\"type\":\"int\",\"logicalType\":\"time-millis\"}",
        "{\"type\":\"long\",\"logicalType\":\"time-micros\"}",
        "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}",
        "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}",
        "{\"type\":\"long\",\"logicalType\":\"local-timestamp-millis\"}",
        "{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}",
        "{\"type\":\"string\",\"logicalType\":\"uuid\"}",
    };
    unsigned kind = random_avro_below(r, 20);
    if (kind < 4) {
        unsigned wider = kind + random_avro_below(r, 4 - kind);
        banyan_buf_add_text(writer, numbers[kind]);
        banyan_buf_add_text(reader, numbers[wider]);
    } else if (kind < 16) {
        random_avro_both(writer, reader, others[kind - 4]);
    } else if (kind < 18) {
        unsigned precision = 1 + random_avro_below(r, 38), scale = random_avro_below(r, precision + 1);
        char text[128];
        (void)snprintf(text, sizeof(text),
                       "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":%u,\"scale\":%u}", precision,
                       scale);
        random_avro_both(writer, reader, text);
    } else if (kind == 18) {
        bool string = random_avro_below(r, 2) == 0;
        banyan_buf_add_text(writer, string ? "\"string\"" : "\"bytes\"");
        banyan_buf_add_text(reader, string ? "\"bytes\"" : "\"string\"");
    } else {
        bool decimal = random_avro_below(r, 2) == 0;
        char text[160];
        (void)snprintf(text, sizeof(text), "{\"type\":\"fixed\",\"name\":\"N%u\",\"size\":%u%s}", r->names++,
                       decimal ? 17 : random_avro_below(r, 5),
                       decimal ? ",\"logicalType\":\"decimal\",\"precision\":20,\"scale\":3" : "");
        random_avro_both(writer, reader, text);
    }
}

static inline void random_avro_enum(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader)
{
    unsigned count = 1 + random_avro_below(r, 4), turn = random_avro_below(r, count), name = r->names++;
    unsigned lost = random_avro_below(r, 4) == 0 && count > 1;
    banyan_buf_printf(writer, "{\"type\":\"enum\",\"name\":\"N%u\",\"symbols\":[", name);
    banyan_buf_printf(reader, "{\"type\":\"enum\",\"name\":\"N%u\",\"symbols\":[", name);
    for (unsigned i = 0; i < count; i++)
        banyan_buf_printf(writer, "%s\"S%u\"", i > 0 ? "," : "", i);
    for (unsigned i = lost; i < count; i++)
        banyan_buf_printf(reader, "%s\"S%u\"", i > lost ? "," : "", (i + turn) % count);
    banyan_buf_add_text(writer, "]}");
    if (lost != 0)
        banyan_buf_printf(reader, "],\"default\":\"S%u\"}", (lost + turn) % count);
    else
        banyan_buf_add_text(reader, "]}");
}

/* Fields as texts apart, so that the reader can have them in another order, fewer or more. */
static inline void random_avro_record(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader,
                                      unsigned depth)
{
    static const char *const more[] = {
        "\"type\":\"int\",\"default\":-3",
        "\"type\":[\"null\",\"string\"],\"default\":null",
        "\"type\":{\"type\":\"map\",\"values\":\"double\"},\"default\":{\"k\":0.5}",
        "\"type\":{\"type\":\"array\",\"items\":\"string\"},\"default\":[\"a\",\"b\"]",
        ("\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":4,\"scale\":2},\"default\":"
         "\"\\u0001\\u0000\""),
    };
    unsigned count = random_avro_below(r, RANDOM_AVRO_FIELDS_MAX + 1), order = random_avro_below(r, 3), first = 0;
    struct banyan_buf written = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), read = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    struct banyan_buf rest = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    const char *outer = r->outer;
    char name[16];
    (void)snprintf(name, sizeof(name), "N%u", r->names++);
    banyan_buf_printf(writer, "{\"type\":\"record\",\"name\":\"%s\",\"fields\":[", name);
    banyan_buf_printf(reader, "{\"type\":\"record\",\"name\":\"%s\",\"fields\":[", name);
    r->outer = name;
    for (unsigned i = 0; i < count; i++) {
        bool renamed = random_avro_below(r, 6) == 0;
        banyan_buf_reset(&written);
        banyan_buf_reset(&read);
        random_avro_type(r, &written, &read, depth - 1);
        banyan_buf_printf(writer, "%s{\"name\":\"f%u\",\"type\":%s}", i > 0 ? "," : "", i, written.data);
        /* Named types must be defined before they are used, so fields that define some keep their place; only the
         * last fields without any come first. */
        bool plain = strstr(read.data, "\"N") == NULL;
        if (plain && random_avro_below(r, 8) == 0)
            continue;
        struct banyan_buf *to = plain && order == 1 ? &rest : reader;
        if (to == reader && first++ > 0)
            banyan_buf_add_char(reader, ',');
        else if (to == &rest)
            banyan_buf_add_char(&rest, ',');
        banyan_buf_printf(to, "{\"name\":\"%s%u\"%s%u%s,\"type\":%s}", renamed ? "g" : "f", i,
                          renamed ? ",\"aliases\":[\"f" : ",\"doc\":\"", i, renamed ? "\"]" : "\"", read.data);
    }
    if (random_avro_below(r, 3) == 0)
        banyan_buf_printf(reader, "%s{\"name\":\"new\",%s}", first++ > 0 ? "," : "",
                          more[random_avro_below(r, sizeof(more) / sizeof(more[0]))]);
    if (rest.size > 0)
        banyan_buf_add_text(reader, rest.data + (first == 0));
    random_avro_both(writer, reader, "]}");
    r->outer = outer;
    banyan_buf_release(&written);
    banyan_buf_release(&read);
    banyan_buf_release(&rest);
}

static inline void random_avro_union(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader)
{
    static const char *const unions[][2] = {
        {"[\"null\",\"string\"]", "[\"null\",\"string\"]"},
        {"[\"null\",\"int\"]", "[\"long\",\"null\"]"},
        {"[\"int\"]", "\"long\""},
        {"\"int\"", "[\"null\",\"double\"]"},
        {"[\"int\",\"string\"]", "[\"string\",\"null\",\"int\"]"},
        {"[\"null\",\"boolean\",{\"type\":\"array\",\"items\":\"int\"}]",
         "[\"null\",\"boolean\",{\"type\":\"array\",\"items\":\"float\"}]"},
        {"[{\"type\":\"map\",\"values\":\"bytes\"},\"null\",\"double\"]",
         "[{\"type\":\"map\",\"values\":\"bytes\"},\"null\",\"double\"]"},
        {"[\"string\",\"bytes\"]", "[\"bytes\",\"string\"]"},
    };
    if (r->outer != NULL && random_avro_below(r, 3) == 0) {
        banyan_buf_printf(writer, "[\"null\",\"%s\"]", r->outer);
        banyan_buf_printf(reader, "[\"null\",\"%s\"%s]", r->outer, random_avro_below(r, 2) == 0 ? ",\"int\"" : "");
        return;
    }
    unsigned which = random_avro_below(r, sizeof(unions) / sizeof(unions[0]));
    banyan_buf_add_text(writer, unions[which][0]);
    banyan_buf_add_text(reader, unions[which][1]);
}

static inline void random_avro_type(struct random_avro *r, struct banyan_buf *writer, struct banyan_buf *reader,
                                    unsigned depth)
{
    unsigned kind = random_avro_below(r, depth == 0 ? 4 : 10);
    if (r->strange > 0 && random_avro_below(r, r->strange) == 0) {
        struct banyan_buf nothing = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
        random_avro_scalar(r, writer, &nothing);
        random_avro_scalar(r, &nothing, reader);
        banyan_buf_release(&nothing);
        return;
    }
    if (kind < 3) {
        random_avro_scalar(r, writer, reader);
    } else if (kind == 3) {
        random_avro_enum(r, writer, reader);
    } else if (kind == 4) {
        random_avro_both(writer, reader, "{\"type\":\"array\",\"items\":");
        random_avro_type(r, writer, reader, depth - 1);
        random_avro_both(writer, reader, "}");
    } else if (kind == 5) {
        random_avro_both(writer, reader, "{\"type\":\"map\",\"values\":");
        random_avro_type(r, writer, reader, depth - 1);
        random_avro_both(writer, reader, "}");
    } else if (kind < 8) {
        random_avro_record(r, writer, reader, depth);
    } else {
        random_avro_union(r, writer, reader);
    }
}

/* ---- values ---- */

static inline void random_avro_long(struct banyan_buf *ret, int64_t value)
{
    unsigned char bytes[WIRE_LONG_BYTES_MAX];
    banyan_buf_add(ret, bytes, (size_t)(wire_put_long(bytes, value) - bytes));
}

static inline int64_t random_avro_integer(struct random_avro *r, const struct avro_type *type)
{
    unsigned shift = random_avro_below(r, 64);
    int64_t value = (int64_t)(random_avro_bits(r) >> shift);
    if (type->logical == AVRO_TIME_MILLIS || type->logical == AVRO_TIME_MICROS)
        return llabs(value % (type->logical == AVRO_TIME_MILLIS ? INT64_C(86400000) : INT64_C(86400000000)));
    if (random_avro_below(r, 2) == 0)
        value = ~value;
    return type->kind == AVRO_INT ? (int32_t)value : value;
}

static inline void random_avro_decimal(struct random_avro *r, const struct avro_type *type, struct banyan_buf *ret)
{
    unsigned char bytes[1 + WIRE_DECIMAL_BYTES_MAX + 8];
    unsigned __int128 limit = 1;
    for (unsigned digits = random_avro_below(r, type->precision + 1); digits > 0; digits--)
        limit *= 10;
    uint64_t high = random_avro_bits(r);
    __int128 units = (__int128)(((unsigned __int128)high << 64 | random_avro_bits(r)) % limit);
    if (random_avro_below(r, 2) == 0)
        units = -units;
    if (type->kind == AVRO_BYTES && random_avro_below(r, 16) == 0) {
        banyan_buf_add_char(ret, 0); /* not a number */
    } else if (type->kind == AVRO_BYTES) {
        banyan_buf_add(ret, bytes, (size_t)(wire_put_units(bytes, units) - bytes));
    } else {
        for (size_t i = type->size; i-- > 0;)
            banyan_buf_add_char(ret, (char)(units >> (i > 15 ? 127 : 8 * i)));
    }
}

static inline void random_avro_string(struct random_avro *r, const struct avro_type *type, struct banyan_buf *ret)
{
    static const char *const parts[] = {"a",      "Zz",     "\"",         "\\",          "\n", "\x01",
                                        "\u00e9", "\u20ac", "\U0001F333", "plain text ", "/"};
    struct banyan_buf text = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    if (type->logical == AVRO_UUID)
        banyan_buf_printf(&text, "%08x-0000-7000-8000-000000000000", (unsigned)random_avro_bits(r));
    else
        for (unsigned count = random_avro_below(r, 8); count > 0; count--)
            banyan_buf_add_text(&text, parts[random_avro_below(r, sizeof(parts) / sizeof(parts[0]))]);
    random_avro_long(ret, (int64_t)text.size);
    banyan_buf_add_str(ret, banyan_buf_str(&text));
    banyan_buf_release(&text);
}

static inline void random_avro_float(struct random_avro *r, const struct avro_type *type, struct banyan_buf *ret)
{
    uint64_t bits = random_avro_bits(r);
    double number;
    float single;
    if (random_avro_below(r, 2) == 0) { /* one of few digits */
        number = (double)(int32_t)bits / 1000;
        single = (float)number;
    } else {
        memcpy(&number, &bits, sizeof(number));
        memcpy(&single, &bits, sizeof(single));
    }
    if (type->kind == AVRO_FLOAT)
        banyan_buf_add(ret, isnan(single) ? "\x00\x00\xc0\x7f" : (void *)&single, sizeof(single));
    else
        banyan_buf_add(ret, isnan(number) ? "\x00\x00\x00\x00\x00\x00\xf8\x7f" : (void *)&number, sizeof(number));
}

/* A value in its one form; *depth* bounds recursion, where the first branch of a union ends it. */
static inline void random_avro_value(struct random_avro *r, const struct avro_type *type, unsigned depth,
                                     struct banyan_buf *ret)
{
    size_t branch, count;
    switch (type->kind) {
    case AVRO_BOOLEAN:
        banyan_buf_add_char(ret, (char)random_avro_below(r, 2));
        break;
    case AVRO_INT:
    case AVRO_LONG:
        random_avro_long(ret, random_avro_integer(r, type));
        break;
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        random_avro_float(r, type, ret);
        break;
    case AVRO_STRING:
        random_avro_string(r, type, ret);
        break;
    case AVRO_BYTES:
    case AVRO_FIXED:
        if (type->logical == AVRO_DECIMAL) {
            random_avro_decimal(r, type, ret);
            break;
        }
        count = type->kind == AVRO_FIXED ? type->size : random_avro_below(r, 20);
        if (type->kind == AVRO_BYTES)
            random_avro_long(ret, (int64_t)count);
        for (size_t i = 0; i < count; i++)
            banyan_buf_add_char(ret, (char)random_avro_bits(r));
        break;
    case AVRO_ENUM:
        random_avro_long(ret, random_avro_below(r, (unsigned)type->symbol_count));
        break;
    case AVRO_RECORD:
        for (size_t i = 0; i < type->field_count; i++)
            random_avro_value(r, type->fields[i].type, depth - 1, ret);
        break;
    case AVRO_ARRAY:
    case AVRO_MAP:
        count = depth < 4 ? 0 : random_avro_below(r, random_avro_below(r, 16) == 0 ? 80 : 4);
        if (count > 0)
            random_avro_long(ret, (int64_t)count);
        for (size_t i = 0; i < count; i++) {
            if (type->kind == AVRO_MAP)
                banyan_buf_printf(ret, "%ck%02u", 6, (unsigned)(i * 7 % 80)); /* three characters */
            random_avro_value(r, type->items, depth - 1, ret);
        }
        banyan_buf_add_char(ret, 0);
        break;
    case AVRO_UNION:
        branch = depth < 4 ? 0 : random_avro_below(r, (unsigned)type->branch_count);
        random_avro_long(ret, (int64_t)branch);
        random_avro_value(r, type->branches[branch], depth - 1, ret);
        break;
    default:
        break;
    }
}

#endif
