/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See difference.h.
 *
 *   equal head │ middle: longest common subsequence, by a table of lengths │ equal tail
 *
 * What an edit leaves alone is mostly head and tail, so that the table is small; where it would not be, the middle is
 * shown as taken out and put in as a whole.
 */
#include "migrate/difference.h"

#include <stdlib.h>

#include "base/alloc.h"

struct lines {
    struct banyan_str *at; /* without their ends; owned */
    size_t count;
};

struct edit {
    char kind; /* ' ', '-', '+' */
    struct banyan_str line;
};

struct script {
    struct edit *edits; /* owned */
    size_t count;
};

static struct lines split(struct banyan_str text)
{
    struct lines ret = {.count = 0};
    size_t from = 0, ends = 1;

    for (size_t i = 0; i < text.size; i++)
        ends += text.data[i] == '\n';
    ret.at = alloc_zeroed(ends, sizeof(*ret.at));
    for (size_t i = 0; i <= text.size; i++) {
        if (i < text.size && text.data[i] != '\n')
            continue;
        if (i < text.size || i > from)
            ret.at[ret.count++] = (struct banyan_str){text.data + from, i - from};
        from = i + 1;
    }
    return ret;
}

static void put(struct script *script, char kind, struct banyan_str line)
{
    script->edits[script->count++] = (struct edit){kind, line};
}

/* lengths[i * (b + 1) + j]: of the longest common subsequence of what stands behind line i and line j. */
static uint32_t *table_of(const struct banyan_str *a, size_t a_count, const struct banyan_str *b, size_t b_count)
{
    size_t width = b_count + 1;
    uint32_t *lengths = alloc_zeroed((a_count + 1) * width, sizeof(*lengths));

    for (size_t i = a_count; i-- > 0;) {
        for (size_t j = b_count; j-- > 0;) {
            uint32_t down = lengths[(i + 1) * width + j], right = lengths[i * width + j + 1];

            if (banyan_str_equal(a[i], b[j]))
                lengths[i * width + j] = lengths[(i + 1) * width + j + 1] + 1;
            else
                lengths[i * width + j] = down > right ? down : right;
        }
    }
    return lengths;
}

static void middle(struct script *script, const struct banyan_str *a, size_t a_count, const struct banyan_str *b,
                   size_t b_count)
{
    uint32_t *lengths = NULL;
    size_t i = 0, j = 0;

    if (a_count > 0 && b_count > 0 && a_count <= DIFFERENCE_CELLS_MAX / b_count)
        lengths = table_of(a, a_count, b, b_count);
    while (lengths != NULL && i < a_count && j < b_count) {
        if (banyan_str_equal(a[i], b[j])) {
            put(script, ' ', a[i]);
            i++, j++;
        } else if (lengths[(i + 1) * (b_count + 1) + j] >= lengths[i * (b_count + 1) + j + 1]) {
            put(script, '-', a[i++]);
        } else {
            put(script, '+', b[j++]);
        }
    }
    while (i < a_count)
        put(script, '-', a[i++]);
    while (j < b_count)
        put(script, '+', b[j++]);
    free(lengths);
}

static struct script script_of(const struct lines *a, const struct lines *b)
{
    struct script script = {.edits = alloc_zeroed(a->count + b->count + 1, sizeof(struct edit))};
    size_t head = 0, tail = 0;

    while (head < a->count && head < b->count && banyan_str_equal(a->at[head], b->at[head]))
        head++;
    while (tail < a->count - head && tail < b->count - head &&
           banyan_str_equal(a->at[a->count - tail - 1], b->at[b->count - tail - 1]))
        tail++;
    for (size_t i = 0; i < head; i++)
        put(&script, ' ', a->at[i]);
    middle(&script, a->at + head, a->count - head - tail, b->at + head, b->count - head - tail);
    for (size_t i = a->count - tail; i < a->count; i++)
        put(&script, ' ', a->at[i]);
    return script;
}

/* One piece, from edit *from* up to *to*, that begins at these lines (from 1). */
static void hunk(struct banyan_buf *ret, const struct script *script, size_t from, size_t to, size_t a_line,
                 size_t b_line)
{
    size_t a_count = 0, b_count = 0;

    for (size_t i = from; i < to; i++) {
        a_count += script->edits[i].kind != '+';
        b_count += script->edits[i].kind != '-';
    }
    /* An empty side is told by the line before it. */
    banyan_buf_printf(ret, "@@ -%zu,%zu +%zu,%zu @@\n", a_count == 0 ? a_line - 1 : a_line, a_count,
                      b_count == 0 ? b_line - 1 : b_line, b_count);
    for (size_t i = from; i < to; i++) {
        banyan_buf_add_char(ret, script->edits[i].kind);
        banyan_buf_add_str(ret, script->edits[i].line);
        banyan_buf_add_char(ret, '\n');
    }
}

void difference_add(struct banyan_buf *ret, struct banyan_str before, struct banyan_str after)
{
    struct lines a = split(before), b = split(after);
    struct script script = script_of(&a, &b);
    size_t done = 0, a_line = 1, b_line = 1; /* the first edit that is not shown or passed, and its lines */

    for (size_t i = 0; i < script.count;) {
        size_t from, to, last;

        if (script.edits[i].kind == ' ') {
            i++;
            continue;
        }
        from = i > done + DIFFERENCE_AROUND ? i - DIFFERENCE_AROUND : done;
        last = i;
        for (to = i; to < script.count && to <= last + 2 * DIFFERENCE_AROUND; to++)
            last = script.edits[to].kind == ' ' ? last : to;
        to = last + 1 + DIFFERENCE_AROUND < script.count ? last + 1 + DIFFERENCE_AROUND : script.count;
        for (; done < from; done++)
            a_line++, b_line++; /* what is between two pieces is equal */
        hunk(ret, &script, from, to, a_line, b_line);
        for (; done < to; done++) {
            a_line += script.edits[done].kind != '+';
            b_line += script.edits[done].kind != '-';
        }
        i = to;
    }
    free(script.edits);
    free(a.at);
    free(b.at);
}
