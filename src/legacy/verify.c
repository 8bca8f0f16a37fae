/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares a legacy table with the read model that mirrors it, while both change.
 *
 *      legacy            WAL               read model
 *        │ snapshot S      │                   │
 *        │ rows of range   │                   │
 *        ├──── fence ─────▶│ ···· captured ··▶ │ has all that S saw, and what came since
 *        │                 │                   │ rows of the same range
 *        └────────── merged by key: what differs is only suspected ──────────┘
 *
 * The read model is never older than S, but it may be newer, so an unequal pair proves nothing by itself.  A suspected
 * key is looked at again with a new snapshot and a new fence.  A look speaks against the key when
 *   1. its legacy row is the one of the look before, and so is the read model's row, and they differ, and
 *   2. every transaction that the read model could know of before is finished in the new snapshot: a commit is in the
 *      WAL, and so captured, before other sessions see it (waiting for a synchronous standby, it may take seconds).
 * For 2 a transaction id is taken between the looks; the new snapshot's xmin has to be beyond it.  Two such looks in a
 * row are a difference (one could be a row that went there and back between the snapshots).  Where an older writer
 * stays open through all rounds, a pair that did not change in the last one is reported nevertheless.
 *
 * Ranges come from the keys that legacy has, and cover all keys: rows that only the read model has are in one of them.
 * Memory: the rows of one range, and those of the suspected keys.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/tables.h"
#include "legacy/verify.h"
#include "os/clock.h"
#include "os/retry.h"
#include "pg/conn.h"
#include "pg/copy.h"

enum {
    RANGE_ROWS_DEFAULT = 10000,
    ROUNDS_DEFAULT = 10,
    AGAINST_NEEDED = 2,
    SUSPECTS_AT_ONCE = 1000, /* keys of one statement; more suspects are looked at before the next range */
    SQL_MAX = 1 << 20,
};

static const int64_t view_timeout_us = INT64_C(600) * 1000000; /* the caller's wait may give up earlier */
static const int64_t settle_timeout_us = INT64_C(500) * 1000;  /* for older writers to end, each round */
static const int64_t round_pause_us = 10 * 1000, round_pause_us_max = 1000 * 1000;

/* A key whose rows differed. */
struct suspect {
    int64_t key;
    const void *legacy; /* row in the last snapshot, in memory of the suspects; NULL: none */
    const void *view;   /* row then; NULL: none */
    bool same;          /* that was the row in the snapshot before, too */
    bool seen;          /* view was read for it at least once */
    bool still;         /* neither row changed since the look before */
    unsigned against;   /* looks in a row that speak against it */
};

struct verify {
    const struct verify_options *options;
    struct verify_report *report;
    struct pg_conn *reader; /* snapshots */
    struct pg_conn *fences; /* a fence has to commit while a snapshot may be open */
    struct legacy_table resolved;
    const struct legacy_table *table;   /* the mirrored one; its key is the view's */
    const struct banyan_record *record; /* of the table */
    const struct banyan_record *view_record;
    size_t view_fields[BANYAN_FIELDS_MAX]; /* index in view_record of each field of record */
    void *scratch;                         /* a row of record */

    struct banyan_arena range_arena;
    void **rows; /* of the range; pointers are heap memory, rows in range_arena */
    size_t row_count, row_capacity;

    struct banyan_arena arenas[2]; /* suspects' rows: of the last look and of this one, in turn */
    unsigned now;
    struct suspect *suspects;
    size_t suspect_count, suspect_capacity;
};

/* ---- rows ---- */

/* Fields of the same name must be of one kind and scale, so that equal means equal. */
static enum banyan_status map_fields(struct verify *verify, struct banyan_error *err)
{
    const char *view = verify->options->projection->name;

    for (size_t i = 0; i < verify->record->field_count; i++) {
        const struct banyan_field *field = &verify->record->fields[i];
        const struct banyan_field *other = banyan_record_field(verify->view_record, banyan_str_of(field->name));

        if (other == NULL || other->kind != field->kind || other->scale != field->scale)
            return banyan_error_set(err, BANYAN_INVALID, "view %s has no column %s like that of table %s", view,
                                    field->name, verify->table->spec->name);
        verify->view_fields[i] = (size_t)(other - verify->view_record->fields);
    }
    return BANYAN_OK;
}

static size_t field_bytes(enum banyan_field_kind kind)
{
    switch (kind) {
    case BANYAN_FIELD_STRING:
        return sizeof(struct banyan_str);
    case BANYAN_FIELD_INT:
        return sizeof(int64_t);
    case BANYAN_FIELD_BOOL:
        return sizeof(bool);
    case BANYAN_FIELD_TIME:
        return sizeof(struct banyan_time);
    case BANYAN_FIELD_DECIMAL:
        return sizeof(struct banyan_decimal);
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return 0;
}

/* A row of the view as one of the legacy table, strings borrowed; valid until the next call. */
static const void *as_legacy_row(struct verify *verify, const void *view_row)
{
    if (verify->view_record == verify->record)
        return view_row;
    for (size_t i = 0; i < verify->record->field_count; i++) {
        const struct banyan_field *to = &verify->record->fields[i];
        const struct banyan_field *from = &verify->view_record->fields[verify->view_fields[i]];

        memcpy((char *)verify->scratch + to->offset, (const char *)view_row + from->offset, field_bytes(to->kind));
    }
    return verify->scratch;
}

/* Two rows of the table's record, or none. */
static bool same_row(const struct verify *verify, const void *a, const void *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return banyan_record_diff(verify->record, a, b) == 0;
}

static const void *keep_row(struct verify *verify, struct banyan_arena *arena, const void *row)
{
    void *copy;

    if (row == NULL)
        return NULL;
    copy = banyan_arena_alloc(arena, verify->record->size);
    banyan_record_copy(verify->record, copy, row, arena);
    return copy;
}

/* ---- legacy side ---- */

/* Rows of *select* into verify->rows; they live in *arena*. */
static enum banyan_status copy_rows(struct verify *verify, const struct banyan_buf *select, struct banyan_arena *arena,
                                    struct banyan_error *err)
{
    struct pg_copy_out copy;
    enum banyan_status st;

    verify->row_count = 0;
    if (select->overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "the statement that reads the legacy rows is too long");
    st = pg_copy_out_begin(&copy, verify->reader, select->data, verify->record, verify->table->column_oids, err);
    if (st != BANYAN_OK)
        return st;
    for (;;) {
        void *row = banyan_arena_alloc(arena, verify->record->size);

        st = pg_copy_out_row(&copy, arena, row, err);
        if (st != BANYAN_OK)
            break;
        if (verify->row_count == verify->row_capacity) {
            verify->row_capacity = verify->row_capacity == 0 ? 1024 : 2 * verify->row_capacity;
            verify->rows = alloc_resized(verify->rows, verify->row_capacity, sizeof(*verify->rows));
        }
        verify->rows[verify->row_count++] = row;
    }
    pg_copy_out_end(&copy);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

/* One transaction with one snapshot; *ret_xmin: all older transactions are finished in it. */
static enum banyan_status read_legacy(struct verify *verify, const struct banyan_buf *select,
                                      struct banyan_arena *arena, uint64_t *ret_xmin, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_run(verify->reader, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);

    if (st != BANYAN_OK)
        return st;
    st = pg_exec(verify->reader, "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())", NULL, 0,
                 &result, err);
    if (st == BANYAN_OK) {
        *ret_xmin = (uint64_t)pg_int(result, 0, 0);
        st = copy_rows(verify, select, arena, err);
    }
    pg_result_free(result);
    if (st == BANYAN_OK)
        return pg_run(verify->reader, "COMMIT", err);
    if (pg_run(verify->reader, "ROLLBACK", NULL) != BANYAN_OK)
        return st; /* the connection is gone with it: the first error says why */
    return st;
}

/* A message in the WAL behind everything that a snapshot taken before could see; waits until the view has it. */
static enum banyan_status pass_fence(struct verify *verify, struct banyan_error *err)
{
    const struct verify_options *options = verify->options;
    struct pg_result *result = NULL;
    uint64_t lsn = 0;
    enum banyan_status st =
        pg_exec(verify->fences, "SELECT pg_catalog.pg_logical_emit_message(true, 'banyan.fence', 'verify')", NULL, 0,
                &result, err);

    if (st == BANYAN_OK && !pg_lsn_parse(pg_text(result, 0, 0), &lsn))
        st = banyan_error_set(err, BANYAN_PROTOCOL, "the position of a fence is not readable");
    pg_result_free(result);
    if (st == BANYAN_OK)
        st = options->wait(options->wait_context, lsn, view_timeout_us, err);
    if (st == BANYAN_OK)
        verify->report->fence_lsn = lsn;
    return st;
}

static bool stopped(const struct verify *verify)
{
    return verify->options->stop != NULL && os_stop_requested(verify->options->stop);
}

/* ---- first look: range by range ---- */

static void suspect_add(struct verify *verify, int64_t key, const void *legacy)
{
    struct suspect *suspect;

    if (verify->suspect_count == verify->suspect_capacity) {
        verify->suspect_capacity = verify->suspect_capacity == 0 ? 64 : 2 * verify->suspect_capacity;
        verify->suspects = alloc_resized(verify->suspects, verify->suspect_capacity, sizeof(*verify->suspects));
    }
    suspect = &verify->suspects[verify->suspect_count++];
    *suspect = (struct suspect){.key = key, .legacy = keep_row(verify, &verify->arenas[verify->now], legacy)};
    verify->report->looked_again++;
}

/* Merging the view's rows, which come one by one, with the range's legacy rows. */
struct merge {
    struct verify *verify;
    size_t next; /* legacy row that is not compared yet */
};

static void only_legacy_until(struct merge *merge, int64_t key, bool all)
{
    struct verify *verify = merge->verify;

    for (; merge->next < verify->row_count; merge->next++) {
        const void *row = verify->rows[merge->next];
        int64_t at = legacy_table_key(verify->table, row);

        if (!all && at >= key)
            return;
        verify->report->rows++;
        suspect_add(verify, at, row);
    }
}

static enum banyan_status merge_view_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct merge *merge = context;
    struct verify *verify = merge->verify;
    const void *legacy = NULL;

    (void)err; /* nothing here fails */
    only_legacy_until(merge, key, false);
    if (merge->next < verify->row_count && legacy_table_key(verify->table, verify->rows[merge->next]) == key)
        legacy = verify->rows[merge->next++];
    verify->report->rows++;
    if (legacy != NULL)
        verify->report->cells += verify->record->field_count;
    if (!same_row(verify, legacy, as_legacy_row(verify, row)))
        suspect_add(verify, key, legacy);
    return BANYAN_OK;
}

static enum banyan_status compare_range(struct verify *verify, int64_t lo, int64_t hi, struct banyan_error *err)
{
    struct sink_view *view = verify->options->view;
    struct banyan_buf select = BANYAN_BUF_INIT(SQL_MAX);
    struct merge merge = {.verify = verify};
    struct sink_checkpoint checkpoint;
    uint64_t xmin;
    enum banyan_status st;

    banyan_arena_reset(&verify->range_arena);
    legacy_tables_select(verify->table, lo, hi, &select);
    st = read_legacy(verify, &select, &verify->range_arena, &xmin, err);
    if (st == BANYAN_OK)
        st = pass_fence(verify, err);
    if (st == BANYAN_OK)
        st = view->ops->range(view, 0, lo, hi, &checkpoint, merge_view_row, &merge, err);
    if (st == BANYAN_OK)
        only_legacy_until(&merge, 0, true);
    banyan_buf_release(&select);
    return st;
}

/* Where the range that begins at *lo* ends; INT64_MAX: with the last key. */
static enum banyan_status find_border(struct verify *verify, int64_t lo, int64_t *ret, struct banyan_error *err)
{
    uint64_t rows = verify->options->range_rows == 0 ? RANGE_ROWS_DEFAULT : verify->options->range_rows;
    struct banyan_buf select = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st;

    legacy_tables_select_border(verify->table, lo, rows, &select);
    st = pg_exec(verify->reader, select.data, NULL, 0, &result, err);
    if (st == BANYAN_OK)
        *ret = pg_rows(result) == 0 ? INT64_MAX : pg_int(result, 0, 0);
    pg_result_free(result);
    banyan_buf_release(&select);
    return st;
}

/* ---- looking again ---- */

/* Take a transaction id, and wait a little until no older transaction runs: then the next snapshot sees all that the
 * view can know now. */
static enum banyan_status settle(struct verify *verify, uint64_t *ret_xid, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 1000, .pause_us_max = 20000, .total_us_max = settle_timeout_us};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(verify->fences, "SELECT pg_catalog.pg_current_xact_id()", NULL, 0, &result, err);
    uint64_t xmin;

    if (st != BANYAN_OK)
        return st;
    *ret_xid = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    for (;;) {
        result = NULL;
        st = pg_exec(verify->fences, "SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())", NULL, 0,
                     &result, err);
        if (st != BANYAN_OK)
            return st;
        xmin = (uint64_t)pg_int(result, 0, 0);
        pg_result_free(result);
        if (xmin > *ret_xid || !os_retry_pause(&retry, verify->options->stop))
            return BANYAN_OK;
    }
}

/* The view's row of one key, kept in *arena*. */
struct view_look {
    struct verify *verify;
    struct banyan_arena *arena;
    int64_t key;
    const void *row;
};

static enum banyan_status take_view_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct view_look *look = context;

    (void)err; /* nothing here fails */
    if (key == look->key)
        look->row = keep_row(look->verify, look->arena, as_legacy_row(look->verify, row));
    return BANYAN_OK;
}

static enum banyan_status look_at_view(struct verify *verify, int64_t key, const void **ret, struct banyan_error *err)
{
    struct view_look look = {verify, &verify->arenas[verify->now], key, NULL};
    struct sink_view *view = verify->options->view;
    struct sink_checkpoint checkpoint;
    int64_t lo = key == INT64_MAX ? key - 1 : key; /* the last key has no successor, but the open end includes it */
    enum banyan_status st = view->ops->range(view, 0, lo, lo + 1, &checkpoint, take_view_row, &look, err);

    if (st == BANYAN_OK)
        *ret = look.row;
    return st;
}

/* New legacy rows of the suspects [first, first + count), which are in key order. */
static enum banyan_status look_at_legacy(struct verify *verify, size_t first, size_t count, uint64_t *ret_xmin,
                                         struct banyan_error *err)
{
    struct banyan_buf select = BANYAN_BUF_INIT(SQL_MAX);
    int64_t keys[SUSPECTS_AT_ONCE];
    size_t row = 0;
    enum banyan_status st;

    for (size_t i = 0; i < count; i++)
        keys[i] = verify->suspects[first + i].key;
    legacy_tables_select_keys(verify->table, keys, count, &select);
    st = read_legacy(verify, &select, &verify->arenas[verify->now], ret_xmin, err);
    banyan_buf_release(&select);
    for (size_t i = 0; st == BANYAN_OK && i < count; i++) {
        struct suspect *suspect = &verify->suspects[first + i];
        const void *now = NULL;

        while (row < verify->row_count && legacy_table_key(verify->table, verify->rows[row]) < suspect->key)
            row++;
        if (row < verify->row_count && legacy_table_key(verify->table, verify->rows[row]) == suspect->key)
            now = verify->rows[row];
        suspect->same = same_row(verify, suspect->legacy, now);
        suspect->legacy = now;
    }
    return st;
}

static void report_difference(struct verify *verify, const struct suspect *suspect)
{
    const struct verify_options *options = verify->options;
    struct verify_difference difference = {suspect->key, suspect->legacy, suspect->view, 0};
    struct verify_report *report = verify->report;

    report->differences++;
    if (suspect->view == NULL) {
        report->missing_in_view++;
    } else if (suspect->legacy == NULL) {
        report->missing_in_legacy++;
    } else {
        report->unequal++;
        difference.fields = banyan_record_diff(verify->record, suspect->legacy, suspect->view);
    }
    if (options->difference != NULL)
        options->difference(options->context, &difference);
}

/* The view's row of this look is *view* and differs. */
static void judge(const struct verify *verify, struct suspect *suspect, const void *view, bool settled)
{
    suspect->still = suspect->same && suspect->seen && same_row(verify, suspect->view, view);
    suspect->against = suspect->same && settled && (suspect->still || !suspect->seen) ? suspect->against + 1 : 0;
    suspect->view = view;
    suspect->seen = true;
}

/* One more look at all suspects; those that are settled either way leave.  *xid* was taken after the look before. */
static enum banyan_status look_again(struct verify *verify, uint64_t xid, bool last, struct banyan_error *err)
{
    size_t left = 0, count = 0;
    uint64_t xmin = 0;
    enum banyan_status st = BANYAN_OK;

    for (size_t first = 0; first < verify->suspect_count; first += count) {
        count = verify->suspect_count - first;
        if (count > SUSPECTS_AT_ONCE)
            count = SUSPECTS_AT_ONCE;
        st = look_at_legacy(verify, first, count, &xmin, err);
        if (st == BANYAN_OK)
            st = pass_fence(verify, err);
        for (size_t i = first; st == BANYAN_OK && i < first + count; i++) {
            struct suspect suspect = verify->suspects[i];
            const void *view = NULL;

            st = look_at_view(verify, suspect.key, &view, err);
            if (st != BANYAN_OK)
                break;
            if (same_row(verify, suspect.legacy, view))
                continue;
            judge(verify, &suspect, view, xmin > xid);
            if (suspect.against >= AGAINST_NEEDED || (last && suspect.still))
                report_difference(verify, &suspect);
            else if (last)
                verify->report->unsettled++;
            else
                verify->suspects[left++] = suspect;
        }
        if (st != BANYAN_OK)
            return st;
    }
    verify->suspect_count = left;
    return BANYAN_OK;
}

static enum banyan_status resolve_suspects(struct verify *verify, struct banyan_error *err)
{
    unsigned rounds = verify->options->rounds_max == 0 ? ROUNDS_DEFAULT : verify->options->rounds_max;
    struct os_retry retry = {.first_us = round_pause_us, .pause_us_max = round_pause_us_max};
    enum banyan_status st = BANYAN_OK;
    uint64_t xid;

    for (unsigned round = 1; verify->suspect_count > 0 && round <= rounds; round++) {
        st = settle(verify, &xid, err);
        if (st != BANYAN_OK)
            return st;
        verify->now ^= 1;
        banyan_arena_reset(&verify->arenas[verify->now]);
        st = look_again(verify, xid, round == rounds, err);
        if (st != BANYAN_OK)
            return st;
        if (verify->suspect_count > 0 && round < rounds && !os_retry_pause(&retry, verify->options->stop))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while looking again at keys that changed");
    }
    banyan_arena_reset(&verify->arenas[0]);
    banyan_arena_reset(&verify->arenas[1]);
    return BANYAN_OK;
}

/* ---- all ---- */

static enum banyan_status open_connections(struct verify *verify, struct banyan_error *err)
{
    const struct legacy_options *legacy = verify->options->legacy;
    struct pg_options options = {
        .conninfo = legacy->conninfo, .application_name = "banyan verify", .stop = verify->options->stop};
    enum banyan_status st = pg_connect(&options, &verify->reader, err);

    if (st == BANYAN_OK)
        st = pg_connect(&options, &verify->fences, err);
    /* A fence must be flushed to be streamed, but need not wait for standbys. */
    if (st == BANYAN_OK)
        st = pg_run(verify->fences, "SET synchronous_commit = local", err);
    if (st == BANYAN_OK)
        st = legacy_table_resolve(verify->reader, verify->options->projection->mirrors, true, &verify->resolved, err);
    return st;
}

static enum banyan_status estimate_rows(struct verify *verify, uint64_t *ret, struct banyan_error *err)
{
    struct banyan_buf oid = BANYAN_BUF_INIT(32);
    struct pg_param param;
    struct pg_result *result = NULL;
    enum banyan_status st;

    banyan_buf_printf(&oid, "%u", verify->table->oid);
    param.text = banyan_buf_str(&oid);
    st = pg_exec(verify->reader,
                 "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_catalog.pg_class c WHERE"
                 " c.oid = $1::oid OR c.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree($1::oid::regclass)"
                 " WHERE isleaf)",
                 &param, 1, &result, err);
    if (st == BANYAN_OK)
        *ret = (uint64_t)pg_int(result, 0, 0);
    pg_result_free(result);
    banyan_buf_release(&oid);
    return st;
}

static enum banyan_status compare_all(struct verify *verify, struct banyan_error *err)
{
    const struct verify_options *options = verify->options;
    int64_t lo = INT64_MIN, hi = INT64_MIN;
    uint64_t estimated = 0;
    enum banyan_status st = estimate_rows(verify, &estimated, err);

    while (st == BANYAN_OK && hi != INT64_MAX) {
        if (stopped(verify))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped before all rows were compared");
        st = find_border(verify, lo, &hi, err);
        if (st == BANYAN_OK)
            st = compare_range(verify, lo, hi, err);
        if (st == BANYAN_OK && (verify->suspect_count >= SUSPECTS_AT_ONCE || hi == INT64_MAX))
            st = resolve_suspects(verify, err);
        if (st == BANYAN_OK && options->progress != NULL)
            options->progress(options->context, verify->report->rows, estimated);
        lo = hi;
    }
    return st;
}

enum banyan_status legacy_verify(const struct verify_options *options, struct verify_report *ret,
                                 struct banyan_error *err)
{
    struct verify_report report = {.rows = 0};
    struct verify verify = {.options = options, .report = &report, .view_record = options->projection->tables[0].row};
    int64_t started_us = os_clock_monotonic_us(os_clock_real());
    enum banyan_status st;

    if (options->projection->mirrors == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "view %s does not mirror a legacy table",
                                options->projection->name);
    st = open_connections(&verify, err);
    if (st != BANYAN_OK)
        goto out;
    verify.table = &verify.resolved;
    verify.record = verify.table->spec->row;
    verify.scratch = alloc_zeroed(1, verify.record->size);
    st = map_fields(&verify, err);
    if (st == BANYAN_OK)
        st = compare_all(&verify, err);
    if (st != BANYAN_OK)
        goto out;
    report.elapsed_us = os_clock_monotonic_us(os_clock_real()) - started_us;
    *ret = report;
out:
    banyan_arena_release(&verify.range_arena);
    banyan_arena_release(&verify.arenas[0]);
    banyan_arena_release(&verify.arenas[1]);
    free(verify.suspects);
    free(verify.rows);
    free(verify.scratch);
    pg_close(verify.fences);
    pg_close(verify.reader);
    return st;
}
