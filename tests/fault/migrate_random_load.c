/* SPDX-License-Identifier: Apache-2.0 */
/* Each writer has its own keys, so that what a row becomes does not depend on who was faster. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "migrate_random.h"
#include "os/clock.h"

enum {
    OPS_MAX = 200000,
    PAUSE_US = 300,
    OP_INSERT = 0,
    OP_UPDATE,
    OP_DELETE,
};

struct op {
    uint8_t kind, column;
    bool is_new, behind;
    int64_t key;
    uint64_t value;
};
struct writer {
    struct load *load;
    unsigned number;
    struct os_thread thread;
    struct pg_conn *conn;
    struct os_random random;
    struct op *ops;
    size_t count;
    int64_t first_key, inserted; /* its own keys */
};
struct load {
    struct table table; /* as it was when it began */
    struct writer writers[WRITERS];
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        enum load_form form;
        bool behind, stop;
        unsigned busy; /* statements under way */
    } shared;
};

/* ---- statements ---- */

static bool has(const struct column *column, bool is_new)
{
    return is_new ? column->in_new : column->in_old;
}

static void add_value(char *sql, const struct op *op, unsigned column, const struct table *table)
{
    char value[64];

    if (column == 0)
        (void)snprintf(value, sizeof(value), "%" PRId64, op->key); /* fits */
    else
        value_text(table->columns[column].kind, op->value + column * UINT64_C(0x9E3779B97F4A7C15), value);
    text_add(sql, "%s", value);
}

/* The columns that both the form and the one who wrote it know. */
static void insert_text(const struct table *table, const struct op *op, bool is_new, char *ret)
{
    unsigned count = 0;

    text_add(ret, "INSERT INTO %s (", is_new ? table->after : table->name);
    for (unsigned i = 0; i < table->column_count; i++)
        if (has(&table->columns[i], is_new) && has(&table->columns[i], op->is_new))
            text_add(ret, "%s%s", count++ > 0 ? ", " : "", is_new ? table->columns[i].after : table->columns[i].name);
    text_add(ret, ") VALUES (");
    count = 0;
    for (unsigned i = 0; i < table->column_count; i++)
        if (has(&table->columns[i], is_new) && has(&table->columns[i], op->is_new)) {
            text_add(ret, count++ > 0 ? ", " : "");
            add_value(ret, op, i, table);
        }
    text_add(ret, ")");
}

static const char *name_of(const struct column *column, bool is_new)
{
    return is_new ? column->after : column->name;
}

/* What *op* is in one form; empty where that form does not know what it wrote. */
static void op_text(const struct table *table, const struct op *op, bool is_new, char *ret)
{
    const char *name = is_new ? table->after : table->name;

    ret[0] = '\0';
    if (op->kind == OP_INSERT) {
        insert_text(table, op, is_new, ret);
    } else if (op->kind == OP_DELETE) {
        text_add(ret, "DELETE FROM %s WHERE %s = %" PRId64, name, name_of(&table->columns[0], is_new), op->key);
    } else if (has(&table->columns[op->column], is_new)) {
        text_add(ret, "UPDATE %s SET %s = ", name, name_of(&table->columns[op->column], is_new));
        add_value(ret, op, op->column, table);
        text_add(ret, " WHERE %s = %" PRId64, name_of(&table->columns[0], is_new), op->key);
    }
}

/* The values of *op* that only new code knows, as an UPDATE. */
static void extra_text(const struct table *table, const struct op *op, char *ret)
{
    unsigned count = 0;

    ret[0] = '\0';
    if (!op->is_new || op->kind == OP_DELETE)
        return;
    for (unsigned i = 0; i < table->column_count; i++) {
        if (table->columns[i].in_old || (op->kind == OP_UPDATE && op->column != i))
            continue;
        if (count++ == 0)
            text_add(ret, "UPDATE %s SET ", table->after);
        text_add(ret, "%s%s = ", count > 1 ? ", " : "", table->columns[i].after);
        add_value(ret, op, i, table);
    }
    if (count > 0)
        text_add(ret, " WHERE %s = %" PRId64, table->columns[0].after, op->key);
}

/* ---- writers ---- */

static bool next_op(struct writer *writer, bool is_new, struct op *ret)
{
    const struct table *table = &writer->load->table;
    uint64_t dice = os_random_below(&writer->random, 10);
    int64_t own = writer->first_key;

    *ret = (struct op){.is_new = is_new, .value = os_random_next(&writer->random) >> 1};
    if (dice < 2) {
        ret->kind = OP_INSERT;
        do
            ret->key = own + writer->inserted++;
        while (ret->key % 3 == 0);
        return true;
    }
    if (writer->inserted > 0 && os_random_below(&writer->random, 3) == 0)
        ret->key = own + (int64_t)os_random_below(&writer->random, (uint64_t)writer->inserted);
    else
        ret->key =
            1 + writer->number + WRITERS * (int64_t)os_random_below(&writer->random, (uint64_t)table->rows / WRITERS);
    ret->kind = dice == 2 ? OP_DELETE : OP_UPDATE;
    ret->column = (uint8_t)os_random_below(&writer->random, table->column_count);
    return ret->kind == OP_DELETE ||
           (table->columns[ret->column].use == USE_WRITTEN && has(&table->columns[ret->column], is_new));
}

/* The form of the next statement, which is under way from now on; false: it is over. */
static bool take_turn(struct writer *writer, bool *is_new, bool *behind)
{
    struct load *load = writer->load;
    bool goes_on;

    (void)pthread_mutex_lock(&load->shared.lock);
    while (!load->shared.stop && load->shared.form == LOAD_REST)
        (void)pthread_cond_wait(&load->shared.changed, &load->shared.lock);
    goes_on = !load->shared.stop;
    *is_new =
        load->shared.form == LOAD_NEW || (load->shared.form == LOAD_BOTH && os_random_below(&writer->random, 2) == 0);
    *behind = load->shared.behind;
    load->shared.busy += goes_on;
    (void)pthread_mutex_unlock(&load->shared.lock);
    return goes_on;
}

static void end_turn(struct load *load)
{
    (void)pthread_mutex_lock(&load->shared.lock);
    load->shared.busy--;
    (void)pthread_cond_broadcast(&load->shared.changed);
    (void)pthread_mutex_unlock(&load->shared.lock);
}

static void write_on(void *argument)
{
    struct writer *writer = argument;
    char *sql = alloc_zeroed(1, TEXT_SIZE);
    bool is_new, behind;

    while (take_turn(writer, &is_new, &behind)) {
        struct op op;

        if (next_op(writer, is_new, &op)) {
            op.behind = behind;
            op_text(&writer->load->table, &op, is_new, sql);
            random_run(writer->conn, sql);
            MUST(writer->count < OPS_MAX, "more writes than are remembered");
            writer->ops[writer->count++] = op;
        }
        end_turn(writer->load);
        os_clock_real()->sleep_us(os_clock_real(), PAUSE_US);
    }
    free(sql);
}

struct load *load_start(const char *conninfo, const struct table *table, unsigned number, uint64_t seed)
{
    struct load *load = alloc_zeroed(1, sizeof(*load));

    load->table = *table;
    (void)pthread_mutex_init(&load->shared.lock, NULL);
    (void)pthread_cond_init(&load->shared.changed, NULL);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = &load->writers[i];

        *writer = (struct writer){.load = load, .number = i, .ops = alloc_zeroed(OPS_MAX, sizeof(struct op))};
        writer->first_key = (int64_t)(i + 1) * KEYS_A_WRITER + (int64_t)number * OPS_MAX;
        writer->conn = random_connect(conninfo, "real");
        os_random_seed(&writer->random, seed + i);
        os_thread_start(&writer->thread, "writer", write_on, writer);
    }
    return load;
}

void load_form(struct load *load, enum load_form form)
{
    enum load_form before;

    (void)pthread_mutex_lock(&load->shared.lock);
    before = load->shared.form;
    load->shared.form = form == LOAD_BOTH && before == LOAD_REST ? LOAD_BOTH : LOAD_REST;
    while (load->shared.busy > 0)
        (void)pthread_cond_wait(&load->shared.changed, &load->shared.lock);
    load->shared.form = form;
    (void)pthread_cond_broadcast(&load->shared.changed);
    (void)pthread_mutex_unlock(&load->shared.lock);
}

void load_mark(struct load *load)
{
    (void)pthread_mutex_lock(&load->shared.lock);
    load->shared.behind = true;
    (void)pthread_mutex_unlock(&load->shared.lock);
}

uint64_t load_count(const struct load *load)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < WRITERS; i++)
        count += load->writers[i].count;
    return count;
}

void load_replay(const struct load *load, struct pg_conn *conn, bool behind, bool is_new, bool extra)
{
    char *sql = alloc_zeroed(1, TEXT_SIZE);

    random_run(conn, "BEGIN");
    for (unsigned i = 0; i < WRITERS; i++)
        for (size_t at = 0; at < load->writers[i].count; at++) {
            const struct op *op = &load->writers[i].ops[at];

            if (op->behind != behind)
                continue;
            if (extra)
                extra_text(&load->table, op, sql);
            else
                op_text(&load->table, op, is_new, sql);
            if (sql[0] != '\0')
                random_run(conn, sql);
        }
    random_run(conn, "COMMIT");
    free(sql);
}

void load_end(struct load *load)
{
    (void)pthread_mutex_lock(&load->shared.lock);
    load->shared.stop = true;
    (void)pthread_cond_broadcast(&load->shared.changed);
    (void)pthread_mutex_unlock(&load->shared.lock);
    for (unsigned i = 0; i < WRITERS; i++) {
        os_thread_join(&load->writers[i].thread);
        pg_close(load->writers[i].conn);
        free(load->writers[i].ops);
    }
    free(load);
}
