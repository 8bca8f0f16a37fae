/* SPDX-License-Identifier: Apache-2.0 */
/* See event_text.h. */
#include "cli/event_text.h"

#include <stdio.h>
#include <string.h>

#include "base/jtext.h"

/* The members of an event that people see; spans of its text. */
struct parts {
    struct banyan_str position, stream, version, at, type, payload, provenance, reason;
};

/* A string without its quotes, escapes as they are; other values as they stand. */
static bool get_value(struct jtext_input *in, struct banyan_str *ret)
{
    return jtext_peek(in) == JTEXT_STRING ? jtext_string(in, ret) : jtext_skip(in, ret);
}

static bool get_reason(struct jtext_input *in, struct banyan_str *ret)
{
    struct banyan_str name, other;

    if (jtext_peek(in) != JTEXT_OBJECT)
        return jtext_skip(in, &other);
    if (!jtext_object(in))
        return false;
    while (jtext_member(in, &name)) {
        if (!get_value(in, jtext_is(name, "reason") ? ret : &other))
            return false;
    }
    return in->fault == NULL;
}

static bool get_parts(struct banyan_str event, struct parts *ret)
{
    const struct {
        const char *name;
        struct banyan_str *value;
    } wanted[] = {
        {"position", &ret->position}, {"stream", &ret->stream},         {"version", &ret->version}, {"at", &ret->at},
        {"type", &ret->type},         {"provenance", &ret->provenance},
    };
    struct jtext_input in = jtext_input(event);
    struct banyan_str name, other;

    if (!jtext_object(&in))
        return false;
    while (jtext_member(&in, &name)) {
        struct banyan_str *value = &other;
        bool good;

        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
            if (jtext_is(name, wanted[i].name))
                value = wanted[i].value;
        }
        if (jtext_is(name, "payload"))
            good = jtext_skip(&in, &ret->payload);
        else
            good = jtext_is(name, "meta") ? get_reason(&in, &ret->reason) : get_value(&in, value);
        if (!good)
            return false;
    }
    return jtext_end(&in);
}

static void print_str(struct banyan_str text)
{
    (void)fwrite(text.data, 1, text.size, stdout); /* to standard output: nobody else to tell */
}

/* Fields of an object as name=value; anything else as it is. */
static void print_payload(struct banyan_str payload)
{
    struct jtext_input in = jtext_input(payload);
    struct banyan_str name, value;

    if (jtext_peek(&in) != JTEXT_OBJECT) {
        putchar(' ');
        print_str(payload);
        return;
    }
    if (!jtext_object(&in))
        return;
    while (jtext_member(&in, &name) && get_value(&in, &value)) {
        if (value.size == 4 && memcmp(value.data, "null", 4) == 0)
            continue; /* "no value" says nothing to people */
        putchar(' ');
        print_str(name);
        putchar('=');
        print_str(value);
    }
}

static int width(struct banyan_str text)
{
    return text.data == NULL ? 0 : (int)text.size;
}

bool event_text_print(struct banyan_str event, bool json, bool anywhere)
{
    struct parts parts = {.payload = {"", 0}};

    if (json) {
        print_str(event);
        putchar('\n');
        return true;
    }
    if (!get_parts(event, &parts))
        return false;
    if (anywhere)
        printf("%8.*s  %-20.*s ", width(parts.position), parts.position.data, width(parts.stream), parts.stream.data);
    printf("%4.*s  %.*s  %-22.*s", width(parts.version), parts.version.data, width(parts.at), parts.at.data,
           width(parts.type), parts.type.data);
    print_payload(parts.payload);
    if (parts.provenance.size > 0 && !jtext_is(parts.provenance, "exact") && !jtext_is(parts.provenance, "none"))
        printf("  [%.*s%s%.*s]", width(parts.provenance), parts.provenance.data, parts.reason.size > 0 ? ": " : "",
               width(parts.reason), parts.reason.data);
    putchar('\n');
    return true;
}
