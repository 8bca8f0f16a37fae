/* SPDX-License-Identifier: Apache-2.0 */
/* Two answers to one read: equal in what they mean, not in how they are written. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/facade.h"

enum {
    DEPTH_MAX = 64, /* of pointers that are looked at */
};

/* Where in the document the comparison is: one token a level. */
struct place {
    const struct place *up;
    const char *token; /* a member's name; NULL: an element */
    size_t index;
    unsigned depth;
};

/* Is the next token of *pointer* the one of *place*?  *pointer* moves on. */
static bool token_fits(const char **pointer, const struct place *place)
{
    const char *from = *pointer + 1, *to = from + strcspn(from, "/");
    char text[256], number[24];
    size_t size = 0;
    *pointer = to;
    if (to - from == 1 && *from == '*')
        return true;
    if ((size_t)(to - from) >= sizeof(text))
        return false;
    for (; from < to; from++) {
        bool escape = *from == '~' && from + 1 < to;
        text[size++] = (char)(!escape ? *from : from[1] == '1' ? '/' : '~');
        from += escape;
    }
    text[size] = '\0';
    (void)snprintf(number, sizeof(number), "%zu", place->index); /* fits */
    return strcmp(text, place->token != NULL ? place->token : number) == 0;
}

static bool points_to(const char *pointer, const struct place *place)
{
    const struct place *chain[DEPTH_MAX];
    unsigned depth = place->depth;
    if (depth > DEPTH_MAX)
        return false;
    for (const struct place *at = place; at->depth > 0; at = at->up)
        chain[at->depth - 1] = at;
    for (unsigned i = 0; i < depth; i++)
        if (*pointer != '/' || !token_fits(&pointer, chain[i]))
            return false;
    return *pointer == '\0';
}

static bool is_ignored(const struct place *place, const char *const *const lists[2])
{
    for (size_t i = 0; i < 2; i++)
        for (const char *const *at = lists[i]; at != NULL && *at != NULL; at++)
            if (points_to(*at, place))
                return true;
    return false;
}

static bool equal_values(const json_t *a, const json_t *b, const struct place *place,
                         const char *const *const lists[2]);

/* A member that one side lacks is a difference, unless it is ignored. */
static bool has_all(const json_t *a, const json_t *b, const struct place *place, const char *const *const lists[2],
                    bool compare)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)a, name, value) {
        struct place at = {.up = place, .token = name, .depth = place->depth + 1};
        const json_t *other = json_object_get(b, name);
        if (is_ignored(&at, lists))
            continue;
        if (other == NULL || (compare && !equal_values(value, other, &at, lists)))
            return false;
    }
    return true;
}

static bool equal_values(const json_t *a, const json_t *b, const struct place *place, const char *const *const lists[2])
{
    if (json_is_number(a) && json_is_number(b) && (json_is_real(a) || json_is_real(b)))
        return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_object(a))
        return has_all(a, b, place, lists, true) && has_all(b, a, place, lists, false);
    if (!json_is_array(a))
        return json_equal(a, b);
    if (json_array_size(a) != json_array_size(b))
        return false;
    for (size_t i = 0; i < json_array_size(a); i++) {
        struct place at = {.up = place, .index = i, .depth = place->depth + 1};
        if (!is_ignored(&at, lists) && !equal_values(json_array_get(a, i), json_array_get(b, i), &at, lists))
            return false;
    }
    return true;
}

bool compare_bodies(struct banyan_str a, struct banyan_str b, const char *const *ignored, const char *const *more)
{
    const char *const *const lists[2] = {ignored, more};
    const struct place top = {.depth = 0};
    bool equal = a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
    if (equal)
        return true;
    json_t *left = json_loadb(a.data, a.size, JSON_DECODE_ANY, NULL);
    json_t *right = left == NULL ? NULL : json_loadb(b.data, b.size, JSON_DECODE_ANY, NULL);
    equal = left != NULL && right != NULL && equal_values(left, right, &top, lists);
    json_decref(left);
    json_decref(right);
    return equal;
}
