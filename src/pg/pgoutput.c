/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of pgoutput messages, protocols 1 and 2.
 *
 *     BEGIN  (ORIGIN) (RELATION | TYPE | INSERT | UPDATE | DELETE | TRUNCATE | MESSAGE)*  COMMIT
 *     STREAM_START  (ORIGIN) (the same, each with a transaction id in front)*  STREAM_STOP     several times a
 *     transaction, then  STREAM_COMMIT  or  STREAM_ABORT  (which may come for a sub-transaction before)
 *
 * Invariants:
 *   1. No byte is read that is not there: all reading goes through struct reader, whose failure is sticky, and a
 *      message with bytes left over is refused.
 *   2. A tuple has exactly as many cells as its relation has columns, so that callers may use one index for both.
 *   3. A struct of the relation cache is not changed once it was handed out.
 */
#include "pg/pgoutput.h"

#include <stdlib.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "pg/wire.h"

struct pgoutput {
    unsigned protocol;
    bool in_stream;                              /* between STREAM_START and STREAM_STOP */
    uint32_t stream_xid;                         /* of the block */
    struct hash relations;                       /* id → struct pgoutput_relation, the newest shape */
    struct banyan_arena arena;                   /* relations of all shapes */
    struct pgoutput_cell *old_cells, *new_cells; /* cells_max each */
    size_t cells_max;
    const struct pgoutput_relation **truncated; /* truncated_max */
    size_t truncated_max;
};

/* ---- reading bytes ---- */

struct reader {
    const char *at, *end;
    bool failed; /* sticky: something was missing */
};

static const char *take(struct reader *reader, size_t size)
{
    const char *at = reader->at;

    if (reader->failed || size > (size_t)(reader->end - at)) {
        reader->failed = true;
        return NULL;
    }
    reader->at += size;
    return at;
}

static uint8_t take_u8(struct reader *reader)
{
    const char *at = take(reader, 1);

    return at == NULL ? 0 : (uint8_t)*at;
}

static uint16_t take_u16(struct reader *reader)
{
    const char *at = take(reader, 2);

    return at == NULL ? 0 : pg_get_u16(at);
}

static uint32_t take_u32(struct reader *reader)
{
    const char *at = take(reader, 4);

    return at == NULL ? 0 : pg_get_u32(at);
}

static uint64_t take_u64(struct reader *reader)
{
    const char *at = take(reader, 8);

    return at == NULL ? 0 : pg_get_u64(at);
}

static struct banyan_time take_time(struct reader *reader)
{
    int64_t us = (int64_t)take_u64(reader), shifted;

    if (__builtin_add_overflow(us, PG_EPOCH_US, &shifted))
        shifted = BANYAN_TIME_INFINITY;
    return (struct banyan_time){shifted};
}

/* Text up to its NUL. */
static struct banyan_str take_text(struct reader *reader)
{
    const char *start = reader->at, *nul;

    if (reader->failed || reader->at == reader->end ||
        (nul = memchr(start, '\0', (size_t)(reader->end - start))) == NULL) {
        reader->failed = true;
        return (struct banyan_str){"", 0};
    }
    reader->at = nul + 1;
    return (struct banyan_str){start, (size_t)(nul - start)};
}

/* ---- relations ---- */

static bool same_shape(const struct pgoutput_relation *a, const struct pgoutput_relation *b)
{
    if (!banyan_str_equal(a->schema, b->schema) || !banyan_str_equal(a->name, b->name) || a->identity != b->identity ||
        a->column_count != b->column_count)
        return false;
    for (size_t i = 0; i < a->column_count; i++) {
        const struct pgoutput_column *x = &a->columns[i], *y = &b->columns[i];

        if (!banyan_str_equal(x->name, y->name) || x->type != y->type || x->modifier != y->modifier ||
            x->identity != y->identity)
            return false;
    }
    return true;
}

/* A copy in the cache's own memory. */
static struct pgoutput_relation *keep(struct pgoutput *decoder, const struct pgoutput_relation *relation)
{
    struct pgoutput_relation *kept = banyan_arena_alloc(&decoder->arena, sizeof(*kept));

    *kept = *relation;
    kept->schema = banyan_arena_str(&decoder->arena, relation->schema);
    kept->name = banyan_arena_str(&decoder->arena, relation->name);
    kept->columns = banyan_arena_alloc(&decoder->arena, (relation->column_count + 1u) * sizeof(*kept->columns));
    for (size_t i = 0; i < relation->column_count; i++) {
        kept->columns[i] = relation->columns[i];
        kept->columns[i].name = banyan_arena_str(&decoder->arena, relation->columns[i].name);
    }
    if (relation->column_count > decoder->cells_max) {
        size_t max = relation->column_count;

        decoder->old_cells = alloc_resized(decoder->old_cells, max, sizeof(*decoder->old_cells));
        decoder->new_cells = alloc_resized(decoder->new_cells, max, sizeof(*decoder->new_cells));
        decoder->cells_max = max;
    }
    (void)hash_put(&decoder->relations, relation->id, kept); /* the earlier shape stays in the arena */
    return kept;
}

static void take_relation(struct pgoutput *decoder, struct reader *reader, struct pgoutput_message *ret)
{
    struct pgoutput_column columns[PGOUTPUT_COLUMNS_MAX];
    struct pgoutput_relation sent = {.columns = columns};
    const struct pgoutput_relation *known;

    sent.id = take_u32(reader);
    sent.schema = take_text(reader);
    sent.name = take_text(reader);
    sent.identity = (char)take_u8(reader);
    sent.column_count = take_u16(reader);
    if (sent.column_count > PGOUTPUT_COLUMNS_MAX)
        reader->failed = true;
    for (size_t i = 0; i < sent.column_count && !reader->failed; i++) {
        columns[i].identity = (take_u8(reader) & 1) != 0;
        columns[i].name = take_text(reader);
        columns[i].type = take_u32(reader);
        columns[i].modifier = (int32_t)take_u32(reader);
    }
    if (reader->failed || reader->at != reader->end)
        return; /* refused by the caller; the cache keeps what it has */
    if (sent.schema.size == 0)
        sent.schema = BANYAN_STR("pg_catalog"); /* as the protocol says */
    known = hash_get(&decoder->relations, sent.id);
    if (known == NULL || !same_shape(known, &sent)) {
        sent.generation = known == NULL ? 1 : known->generation + 1;
        known = keep(decoder, &sent);
    }
    ret->relation = known;
}

static const struct pgoutput_relation *take_known(struct pgoutput *decoder, struct reader *reader)
{
    const struct pgoutput_relation *relation = hash_get(&decoder->relations, take_u32(reader));

    if (relation == NULL)
        reader->failed = true;
    return relation;
}

/* ---- rows ---- */

static void take_tuple(struct reader *reader, const struct pgoutput_relation *relation, struct pgoutput_cell *cells,
                       struct pgoutput_tuple *ret)
{
    uint16_t count = take_u16(reader);

    if (reader->failed || count != relation->column_count) {
        reader->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t kind = take_u8(reader);
        uint32_t size;

        cells[i] = (struct pgoutput_cell){.kind = kind};
        switch (kind) {
        case PGOUTPUT_CELL_NULL:
        case PGOUTPUT_CELL_UNCHANGED:
            break;
        case PGOUTPUT_CELL_TEXT:
        case PGOUTPUT_CELL_BINARY:
            size = take_u32(reader);
            cells[i].data = (struct banyan_str){take(reader, size), size};
            break;
        default:
            reader->failed = true;
        }
        if (reader->failed)
            return;
    }
    *ret = (struct pgoutput_tuple){count, cells};
}

static void take_row(struct pgoutput *decoder, struct reader *reader, struct pgoutput_message *ret)
{
    uint8_t part;

    ret->relation = take_known(decoder, reader);
    part = take_u8(reader);
    if (reader->failed)
        return;
    if (ret->kind != PGOUTPUT_INSERT && (part == 'K' || part == 'O')) {
        ret->old_kind = (char)part;
        take_tuple(reader, ret->relation, decoder->old_cells, &ret->old);
        if (ret->kind == PGOUTPUT_DELETE)
            return;
        part = take_u8(reader);
    }
    if (part != 'N' || ret->kind == PGOUTPUT_DELETE)
        reader->failed = true;
    else if (!reader->failed)
        take_tuple(reader, ret->relation, decoder->new_cells, &ret->new);
}

static void take_truncate(struct pgoutput *decoder, struct reader *reader, struct pgoutput_message *ret)
{
    uint32_t count = take_u32(reader);

    (void)take_u8(reader); /* CASCADE, RESTART IDENTITY: nothing to us */
    if (reader->failed || count > (size_t)(reader->end - reader->at) / 4) {
        reader->failed = true;
        return;
    }
    if (count > decoder->truncated_max) {
        decoder->truncated = alloc_resized(decoder->truncated, count, sizeof(*decoder->truncated));
        decoder->truncated_max = count;
    }
    for (uint32_t i = 0; i < count; i++)
        decoder->truncated[i] = take_known(decoder, reader);
    ret->truncated = decoder->truncated;
    ret->truncated_count = count;
}

/* ---- messages ---- */

static void take_logical(struct reader *reader, struct pgoutput_message *ret)
{
    uint32_t size;

    ret->transactional = (take_u8(reader) & 1) != 0;
    ret->lsn = take_u64(reader);
    ret->prefix = take_text(reader);
    size = take_u32(reader);
    ret->content = (struct banyan_str){take(reader, size), size};
}

static void take_commit(struct reader *reader, struct pgoutput_message *ret)
{
    if (take_u8(reader) != 0) /* flags: none are defined */
        reader->failed = true;
    ret->lsn = take_u64(reader);
    ret->end_lsn = take_u64(reader);
    ret->commit_time = take_time(reader);
}

/* Messages that only stand between transactions and blocks.  False when it is none of them. */
static bool take_control(struct pgoutput *decoder, char letter, struct reader *reader, struct pgoutput_message *ret)
{
    switch (letter) {
    case 'B':
        ret->kind = PGOUTPUT_BEGIN;
        ret->lsn = take_u64(reader);
        ret->commit_time = take_time(reader);
        ret->xid = take_u32(reader);
        break;
    case 'C':
        ret->kind = PGOUTPUT_COMMIT;
        take_commit(reader, ret);
        break;
    case 'S':
        ret->kind = PGOUTPUT_STREAM_START;
        ret->xid = take_u32(reader);
        ret->first_segment = take_u8(reader) != 0;
        reader->failed |= decoder->protocol < 2;
        break;
    case 'E':
        ret->kind = PGOUTPUT_STREAM_STOP;
        ret->xid = decoder->stream_xid;
        reader->failed |= !decoder->in_stream;
        return true;
    case 'c':
        ret->kind = PGOUTPUT_STREAM_COMMIT;
        ret->xid = take_u32(reader);
        take_commit(reader, ret);
        break;
    case 'A': /* some servers send a stray one even in protocol 1 */
        ret->kind = PGOUTPUT_STREAM_ABORT;
        ret->xid = take_u32(reader);
        ret->subxid = take_u32(reader);
        break;
    default:
        return false;
    }
    reader->failed |= decoder->in_stream; /* a block was not closed */
    return true;
}

/* Messages within a transaction or a block.  False when it is none of them. */
static bool take_content(struct pgoutput *decoder, char letter, struct reader *reader, struct pgoutput_message *ret)
{
    static const struct {
        char letter;
        enum pgoutput_kind kind;
    } kinds[] = {
        {'I', PGOUTPUT_INSERT},   {'U', PGOUTPUT_UPDATE},  {'D', PGOUTPUT_DELETE}, {'R', PGOUTPUT_RELATION},
        {'T', PGOUTPUT_TRUNCATE}, {'M', PGOUTPUT_MESSAGE}, {'Y', PGOUTPUT_TYPE},   {'O', PGOUTPUT_ORIGIN},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].letter == letter)
            ret->kind = kinds[i].kind;
    }
    if (decoder->in_stream && ret->kind != PGOUTPUT_ORIGIN)
        ret->xid = take_u32(reader);
    switch (ret->kind) {
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
        take_row(decoder, reader, ret);
        return true;
    case PGOUTPUT_RELATION:
        take_relation(decoder, reader, ret);
        return true;
    case PGOUTPUT_TRUNCATE:
        take_truncate(decoder, reader, ret);
        return true;
    case PGOUTPUT_MESSAGE:
        take_logical(reader, ret);
        return true;
    case PGOUTPUT_TYPE: /* the type's name is of no use to us */
        (void)take_u32(reader);
        (void)take_text(reader);
        (void)take_text(reader);
        return true;
    case PGOUTPUT_ORIGIN:
        ret->lsn = take_u64(reader);
        ret->prefix = take_text(reader);
        return true;
    default:
        return false;
    }
}

struct pgoutput *pgoutput_new(unsigned protocol)
{
    struct pgoutput *decoder = alloc_zeroed(1, sizeof(*decoder));

    decoder->protocol = protocol;
    return decoder;
}

void pgoutput_free(struct pgoutput *decoder)
{
    if (decoder == NULL)
        return;
    hash_release(&decoder->relations);
    banyan_arena_release(&decoder->arena);
    free(decoder->old_cells);
    free(decoder->new_cells);
    free(decoder->truncated);
    free(decoder);
}

static enum banyan_status refuse(struct banyan_str data, const struct reader *reader, struct banyan_error *err)
{
    char letter = data.size > 0 ? data.data[0] : 0;
    enum banyan_status st = banyan_error_set(
        err, BANYAN_PROTOCOL, "a replication message of type '%c' (0x%02x), %zu bytes, is malformed%s",
        letter >= ' ' && letter <= '~' ? letter : '?', (uint8_t)letter, data.size, reader->failed ? "" : " or unknown");

    banyan_error_hint(err, "Rows that do not fit their table come from servers 15.0 and 15.1 with column lists: update "
                           "the server.  Otherwise report this with the server's version.");
    return st;
}

enum banyan_status pgoutput_decode(struct pgoutput *decoder, struct banyan_str data, struct pgoutput_message *ret,
                                   struct banyan_error *err)
{
    struct pgoutput_message message = {.kind = PGOUTPUT_NONE};
    struct reader reader;

    if (data.size == 0)
        return refuse(data, &(struct reader){.failed = true}, err);
    reader = (struct reader){.at = data.data + 1, .end = data.data + data.size};
    if (!take_control(decoder, data.data[0], &reader, &message) &&
        !take_content(decoder, data.data[0], &reader, &message))
        return refuse(data, &reader, err);
    if (reader.failed || reader.at != reader.end)
        return refuse(data, &reader, err);
    if (message.kind == PGOUTPUT_STREAM_START || message.kind == PGOUTPUT_STREAM_STOP) {
        decoder->in_stream = message.kind == PGOUTPUT_STREAM_START;
        decoder->stream_xid = decoder->in_stream ? message.xid : 0;
    }
    *ret = message;
    return BANYAN_OK;
}
