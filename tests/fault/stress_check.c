/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging a capture against the truth.
 *
 * Triggers wrote every version of every item into table truth, under the row's lock, so that the order of tid is the
 * order of a row's versions.  A capture of a key is right when it is one base version followed by exactly the versions
 * after it, or, where the key had no row when it was read, exactly the versions since some moment without a row.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "pg/conn.h"
#include "stress.h"

struct truth {
    int64_t key;
    bool gone;
    int64_t v;
};

void seen_add(struct seen_list *list, struct seen seen)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 4096 : 2 * list->capacity;
        list->items = alloc_resized(list->items, list->capacity, sizeof(seen));
    }
    list->items[list->count++] = seen;
}

void seen_release(struct seen_list *list)
{
    free(list->items);
    *list = (struct seen_list){NULL, 0, 0};
}

static int seen_compare(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static struct truth *truth_load(const char *conninfo, size_t *ret_count)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;
    struct pg_result *result = NULL;
    if (pg_connect(&(struct pg_options){.conninfo = conninfo, .application_name = "truth"}, &conn, &err) != BANYAN_OK ||
        pg_exec(conn, "SELECT id, op, v FROM truth ORDER BY id, tid", NULL, 0, &result, &err) != BANYAN_OK) {
        fprintf(stderr, "truth: %s\n", err.message);
        exit(1);
    }
    size_t count = pg_rows(result);
    struct truth *truth = alloc_zeroed(count + 1, sizeof(*truth));
    for (size_t i = 0; i < count; i++)
        truth[i] = (struct truth){pg_int(result, i, 0), pg_text(result, i, 1).data[0] == 'D', pg_int(result, i, 2)};
    pg_result_free(result);
    pg_close(conn);
    *ret_count = count;
    return truth;
}

static bool same(const struct truth *truth, const struct seen *seen)
{
    return truth->gone ? seen->kind == SEEN_GONE : seen->kind == SEEN_SET && seen->v == truth->v;
}

/* How often *truth*, known to be one that has to be seen, is among the captured ones. */
static size_t times_seen(const struct truth *truth, const struct seen *seen, size_t count)
{
    size_t times = 0;
    for (size_t i = 0; i < count; i++)
        times += same(truth, &seen[i]);
    return times;
}

static void count_faults(const struct truth *truth, size_t truths, const struct seen *seen, size_t count,
                         struct verdict *verdict)
{
    uint64_t lost = 0, doubled = 0;
    for (size_t i = 0; i < truths; i++) {
        if (truth[i].gone)
            continue; /* has no identity of its own: counted below */
        size_t times = times_seen(&truth[i], seen, count);
        lost += times == 0;
        doubled += times > 1 ? times - 1 : 0;
    }
    if (lost == 0 && doubled == 0 && count > truths)
        doubled = count - truths;
    if (lost == 0 && doubled == 0 && count < truths)
        lost = truths - count;
    if (lost == 0 && doubled == 0)
        verdict->disordered++;
    verdict->lost += lost;
    verdict->doubled += doubled;
}

static bool equal(const struct truth *truth, size_t truths, const struct seen *seen, size_t count)
{
    if (truths != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!same(&truth[i], &seen[i]))
            return false;
    return true;
}

static void explain_key(const struct truth *truth, size_t truths, const struct seen *seen, size_t count)
{
    printf("# key %lld: truth", (long long)seen[0].key);
    for (size_t i = 0; i < truths && i < 40; i++)
        printf(" %s%lld", truth[i].gone ? "D" : "", (long long)truth[i].v);
    printf("; seen");
    for (size_t i = 0; i < count && i < 40; i++)
        printf(" %s%lld", seen[i].kind == SEEN_BASE ? "B" : seen[i].kind == SEEN_GONE ? "D" : "", (long long)seen[i].v);
    printf("\n");
}

/* One key.  Where the capture begins is given by its base, else by a moment without a row. */
static bool check_key(const struct truth *truth, size_t truths, const struct seen *seen, size_t count,
                      struct verdict *verdict)
{
    size_t from = 0, extra_bases = 0;
    bool based = count > 0 && seen[0].kind == SEEN_BASE;
    for (size_t i = 1; i < count; i++)
        extra_bases += seen[i].kind == SEEN_BASE;
    verdict->doubled += extra_bases;
    if (based) {
        while (from < truths && (truth[from].gone || truth[from].v != seen[0].v))
            from++;
        if (from == truths)
            verdict->doubled++; /* a base that never was: a phantom */
        from = from < truths ? from + 1 : 0;
        seen++, count--;
    } else {
        /* The longest suffix that begins after a moment without a row and is not longer than what was seen. */
        size_t least = truths > count ? truths - count : 0;
        from = truths;
        for (size_t i = least; i <= truths; i++)
            if (i == 0 || truth[i - 1].gone) {
                from = i;
                break;
            }
        if (from == truths && truths > 0 && !truth[truths - 1].gone)
            for (from = truths; from > 0 && !truth[from - 1].gone;)
                from--;
    }
    if (equal(truth + from, truths - from, seen, count))
        return extra_bases == 0;
    count_faults(truth + from, truths - from, seen, count, verdict);
    return false;
}

struct verdict check_items(const char *conninfo, struct seen_list *list, bool explain)
{
    struct verdict verdict = {.keys = 0};
    size_t truths = 0, t = 0, s = 0;
    unsigned explained = 0;
    struct truth *truth = truth_load(conninfo, &truths);
    if (list->count > 0)
        qsort(list->items, list->count, sizeof(struct seen), seen_compare);
    verdict.versions = truths;
    while (t < truths || s < list->count) {
        int64_t key =
            t == truths || (s < list->count && list->items[s].key < truth[t].key) ? list->items[s].key : truth[t].key;
        size_t t_end = t, s_end = s;
        while (t_end < truths && truth[t_end].key == key)
            t_end++;
        while (s_end < list->count && list->items[s_end].key == key)
            s_end++;
        verdict.keys++;
        bool right = check_key(truth + t, t_end - t, list->items + s, s_end - s, &verdict);
        if (!right && explain && explained++ < 10 && s_end > s)
            explain_key(truth + t, t_end - t, list->items + s, s_end - s);
        t = t_end;
        s = s_end;
    }
    free(truth);
    return verdict;
}
